"""Several simulated packs on one line, and another master beside us on it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from test_serve import serving

import bmslink
from bmslink.errors import LinkTimeout, TargetError
from bmslink.model import Reading
from bmslink.protocols.common.rtu import MODBUS_SHAPES, RTUFrame, RTUFramer
from bmslink.protocols.daly.a5.codec import DalyA5Framer
from bmslink.protocols.jk.bus.framing import JKBusFramer, trigger
from bmslink.protocols.jk.jk02.framing import CELLS, SETTINGS
from bmslink.simulation.bus import Bus
from bmslink.simulation.console import COMMANDS, execute_on
from bmslink.simulation.responder import RESPONDERS, responder_class
from bmslink.simulation.transport import SimDevice, SimLine, SimTransport, make_device
from support import virtual_run

WITH_ADDRESSES = ("jk-modbus", "jk-bus", "daly-a5", "daly-p81", "jbd", "jbd-up")


def bus(protocol: str = "jk-modbus", *addresses: int, **options) -> SimDevice:
    return make_device(protocol, address=addresses or (1, 2), **{"load": "idle", **options})


# ------------------------------------------------------------------------------- addresses


async def read_all(protocol: str, device: SimDevice) -> dict[int, Reading]:
    """Every pack by its address, each on a line of its own to the same bus."""
    found = {}
    for number in device.packs:
        async with bmslink.connect(f"{protocol}+sim://?address={number}").board as client:
            transport = client.link.transport
            assert isinstance(transport, SimTransport)
            await transport.close()
            transport.device = device
            await client.reopen()
            found[number] = await client.read()
    return found


@pytest.mark.parametrize("protocol", WITH_ADDRESSES)
async def test_each_address_is_a_pack_of_its_own(protocol: str) -> None:
    device = bus(protocol, 1, 3, cells=8)
    device.packs[1].set_cell_voltage(2, 3.111)
    device.packs[3].set_cell_voltage(2, 3.333)
    found = await read_all(protocol, device)
    assert [r.cell_voltages[1] for r in found.values()] == [3.111, 3.333]
    for number, reading in found.items():
        truth = device.packs[number].truth()
        assert reading.cell_voltages == truth.cell_voltages
        assert reading.voltage == pytest.approx(truth.voltage, abs=0.06)


@pytest.mark.real_time
async def test_all_are_on_one_terminal(tmp_path: Path) -> None:
    """The same target but for the address: two users share the port and take turns."""

    async with serving(2, "jk-modbus", pty=str(tmp_path / "p"), address=(1, 2)) as served:
        link = f"jk-modbus+serial://{tmp_path / 'p'}"
        assert served.targets == [f"{link}?address=1", f"{link}?address=2"]
        assert served.device is not None
        assert await served.command("@2 cell 3 3.7") == "ok"
        first, second = (bmslink.connect(target).board for target in served.targets)
        async with first, second:
            found = await asyncio.gather(first.read(), second.read())
        truths = [pack.truth().cell_voltages for pack in served.device.packs.values()]
        assert [r.cell_voltages for r in found] == truths
        assert found[1].cell_voltages[2] == 3.7


def test_seeds_differ_by_the_address() -> None:
    packs = bus("jbd", 3, 9, seed=5).packs
    assert {number: pack.seed for number, pack in packs.items()} == {3: 8, 9: 14}
    (alone,) = make_device("jbd", address=[3], seed=5).packs.values()
    assert alone.seed == 5


async def test_time_passes_for_all() -> None:
    device = bus(speed=100.0)
    device.tick()
    await asyncio.sleep(2)
    device.tick()
    assert [pack.uptime for pack in device.packs.values()] == [200.0, 200.0]


def test_only_the_one_that_is_meant_answers() -> None:
    device = bus("jk-modbus", 4, 7)
    framer = RTUFramer(MODBUS_SHAPES)
    for unit in (4, 7):
        (answer,) = device.responder.line().receive(
            framer.encode(RTUFrame(unit=unit, register=0x1290, count=2))
        )
        (frame,) = framer.feed(answer.data)
        voltage = device.packs[unit].truth().voltage
        assert voltage is not None
        assert (frame.unit, int.from_bytes(frame.data, "big")) == (unit, round(voltage * 1000))
    stranger = RTUFrame(unit=5, register=0x1290, count=2)
    assert device.responder.line().receive(framer.encode(stranger)) == []


@pytest.mark.parametrize("protocol", sorted(set(RESPONDERS) - set(WITH_ADDRESSES)))
def test_protocols_without_addresses_have_one_pack(protocol: str) -> None:
    with pytest.raises(TargetError, match=f"{protocol} knows no addresses"):
        bus(protocol)


@pytest.mark.parametrize(
    ("protocol", "addresses", "words"),
    [
        ("jbd", (1, 1), "both have the address 1"),
        ("jbd", (1, 2, 300), "0 to 255, not 300"),
        ("jbd", (1, 40), "not 40"),
        ("daly-a5", (0, 1), "not 0"),
        ("jbd-up", (1, 17), "not 17"),
    ],
)
def test_addresses_that_cannot_be(protocol: str, addresses: tuple[int, ...], words: str) -> None:
    with pytest.raises(TargetError, match=words):
        bus(protocol, *addresses)


async def test_the_master_of_a_jk_bus_finds_the_packs_that_are_there() -> None:
    device = bus("jk-bus", 2, 0, 5)
    for number, pack in device.packs.items():
        pack.set_cell_voltage(1, 3 + number / 10)
    framer = JKBusFramer()
    heard = framer.feed(device.responder.line().stream())
    assert framer.skipped_bytes <= 3 * 2  # the padding of 15.41 at most
    signed = [f.unit for f in heard if isinstance(f, RTUFrame) and f.shape == "written"]
    assert signed == [2, 2, 5, 5, 0, 0]

    for number, reading in (await read_all("jk-bus", device)).items():
        assert reading.raw["address"] == number
        assert reading.cell_voltages[0] == pytest.approx(3 + number / 10)
    # they answer to others too, but the master does not
    answers = device.responder.line().receive(framer.encode(trigger(5, CELLS)))
    assert len(answers) == 1
    master = RTUFrame(unit=0, function=0x10, shape="write_many", register=0x1620, count=1)
    assert device.responder.line().receive(framer.encode(master)) == []


def test_cells_come_from_the_protocol_unless_somebody_says() -> None:
    for protocol in RESPONDERS:
        kind = responder_class(protocol)
        assert make_device(protocol).pack.cell_count == kind.default_cells
    assert make_device("jbd").pack.cell_count == 16
    assert make_device("daly-sinowealth").pack.cell_count == 8
    assert make_device("daly-sinowealth", cells=5).pack.cell_count == 5
    with pytest.raises(TargetError):
        make_device("jbd", cells=0)

    async def main() -> int:
        async with bmslink.connect("sim://daly-sinowealth").board as device:
            return len((await device.read()).cell_voltages)

    assert virtual_run(main()) == 8


# --------------------------------------------------------------------------------- console


def test_a_command_is_for_the_first_pack_or_the_one_it_names() -> None:
    device = bus("jbd", 4, 2)
    assert execute_on(device, "@2 cell 3 3.7") == execute_on(device, "cell 3 3.1") == "ok"
    assert execute_on(device, " @4 soc 12 ") == "ok"
    states = [json.loads(execute_on(device, line)) for line in ("state", "@4 state", "@2 state")]
    assert states[0] == states[1] == device.packs[4].truth().to_dict()
    assert states[2] == device.packs[2].truth().to_dict()
    assert [s["cell_voltages"][2] for s in states] == [3.1, 3.1, 3.7]
    assert [s["soc"] for s in states] == [12.0, 12.0, 60.0]


def test_help_names_the_prefix_where_there_are_several() -> None:
    lines = execute_on(bus(), "help").splitlines()
    assert [line.split()[0] for line in lines] == [*COMMANDS, "@N"]
    assert len(execute_on(make_device("jbd"), "help").splitlines()) == len(COMMANDS)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("@3 state", "no pack @3 here; there are @1, @2."),
        ("@ state", "no pack @ here"),
        ("@x state", "no pack @x here"),
        ("@-1 state", "no pack @-1"),
        ("@٣ state", "no pack"),
        ("@" + "9" * 5000, "no pack @999"),
        ("@2 frob", "no command 'frob'"),
        ("@2 fault noise", "leave the @ away"),
    ],
)
def test_wrong_lines_are_one_sentence(line: str, words: str) -> None:
    device = bus()
    answer = execute_on(device, line)
    assert answer.startswith("error: ")
    assert words in answer
    assert "\n" not in answer
    assert device.faults.active == {}


def test_one_pack_can_be_named_only_by_its_address() -> None:
    assert execute_on(make_device("jbd", address=3), "@3 soc 7") == "ok"
    assert "no pack @1 here." in execute_on(make_device("jbd"), "@1 state")
    device = bus()
    assert execute_on(device, "@1 fault noise") == "ok"
    assert execute_on(device, "@2") == ""


# --------------------------------------------------------------------------- second master


def overheard(
    protocol: str, seconds: float, *addresses: int, fault: str = "second_master"
) -> bytes:
    """What a client hears who says nothing."""

    async def main() -> bytes:
        device = bus(protocol, *addresses)
        heard = bytearray()
        line = SimLine(device, heard.extend)
        device.faults.enable(fault)
        await asyncio.sleep(seconds)
        line.close()
        await asyncio.sleep(10)
        return bytes(heard)

    return virtual_run(main())


def test_another_masters_requests_and_answers_come_by() -> None:
    framer = RTUFramer(MODBUS_SHAPES)
    frames = framer.feed(overheard("jk-modbus", 4.5, 1, 2))
    assert framer.skipped_bytes == framer.pending == 0
    kinds = [(f.shape, f.unit, f.register) for f in frames]
    assert kinds == [
        ("read", 1, 0x1200), ("data", 1, 0), ("read", 2, 0x1200), ("data", 2, 0),
        ("read", 1, 0x1000), ("data", 1, 0), ("read", 2, 0x1000), ("data", 2, 0),
    ]  # fmt: skip
    often = RTUFramer(MODBUS_SHAPES).feed(overheard("jk-modbus", 5, fault="second_master:0.5"))
    assert len(often) > len(frames)


def test_each_protocol_has_frames_of_its_own() -> None:
    daly = DalyA5Framer()
    ids = [f.id for f in daly.feed(overheard("daly-a5", 4.5, 2, 3)) if not f.is_answer]
    assert ids == [0x90, 0x90, 0x91, 0x91]
    jk = JKBusFramer()
    asked = [f.register for f in jk.feed(overheard("jk-bus", 2.5, 2)) if f.raw[1:3] == b"\x10\x16"]
    assert asked[::2] == [trigger(2, CELLS).register, trigger(2, SETTINGS).register]


@pytest.mark.parametrize("protocol", ["jk02", "jk04", "jk-nw", "jbd", "daly-d2", "jbd-up"])
def test_where_there_is_no_room_for_it(protocol: str) -> None:
    with pytest.raises(TargetError, match="no room for a second master"):
        make_device(protocol, faults=["second_master"])
    with pytest.raises(TargetError, match="no room"):
        make_device("jk-bus", address=0, faults=["second_master"])


@pytest.mark.parametrize("protocol", ["jk-modbus", "jk-bus", "daly-a5", "daly-p81"])
@pytest.mark.parametrize("often", [0.07, 0.13, 0.2333, 0.4525, 1.0])
async def test_a_second_master_never_makes_a_wrong_reading(protocol: str, often: float) -> None:
    """The answers to the other one's questions are as long as those to ours."""

    target = f"{protocol}+sim://?load=idle&fault=second_master:{often}"
    async with bmslink.connect(target).board as device:
        transport = device.link.transport
        assert isinstance(transport, SimTransport)
        good = 0
        for _ in range(10):
            try:
                reading = await device.read()
            except LinkTimeout as error:
                assert error.heard == "other"
                continue
            good += 1
            truth = transport.pack.truth()
            assert reading.cell_voltages == truth.cell_voltages
            assert reading.soc == truth.soc
        assert good == 10 or often < 0.2


def test_a_bus_is_one_line_to_the_outside() -> None:
    device = bus("jk-modbus", 1, 2)
    assert isinstance(device.responder, Bus)
    assert (device.responder.baudrate, device.responder.period) == (115200, None)
    assert device.pack is device.packs[1]
