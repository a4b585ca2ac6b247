"""Simulated JK boards on RS485, by registers and on the parallel bus, and both read end to end."""

from __future__ import annotations

from typing import Any

import pytest

from bmslink.device import connect
from bmslink.errors import LinkTimeout, TargetError
from bmslink.model import Identity, Reading, Switch
from bmslink.protocols.common.rtu import MODBUS_SHAPES, RTUFrame, RTUFramer
from bmslink.protocols.jk.bus.driver import JKBus, JKBusCodec
from bmslink.protocols.jk.bus.framing import JKBusFramer, trigger
from bmslink.protocols.jk.jk02.framing import CELLS, INFO, SETTINGS, JK02Frame
from bmslink.simulation.boards.jk_bus import JKBusResponder
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import Responder, make_responder
from bmslink.simulation.transport import SimTransport
from support import virtual_run


def board(protocol: str = "jk-modbus", **options: Any) -> Responder:
    named = {k: options.pop(k) for k in ("address", "firmware") if k in options}
    return make_responder(protocol, Pack(**options), **named)


def ask(device: Responder, frame: RTUFrame, *, wait: float = 0.1) -> RTUFrame | None:
    device.pack.advance(wait)
    framer = RTUFramer(MODBUS_SHAPES)
    answers = device.receive(framer.encode(frame))
    found = [f for a in answers for f in framer.feed(a.data)]
    assert framer.skipped_bytes == framer.pending == 0
    return found[0] if found else None


def read(device: Responder, register: int, count: int = 1, unit: int = 1) -> RTUFrame | None:
    return ask(device, RTUFrame(unit=unit, register=register, count=count))


def number(device: Responder, register: int, count: int) -> int:
    found = read(device, register, count)
    assert found is not None
    return int.from_bytes(found.data, "big")


# ------------------------------------------------------------------------------------ registers


def test_registers_hold_what_the_documents_say() -> None:
    device = board(cells=8, soc=60, load=-12.5)
    truth = device.pack.truth()
    assert number(device, 0x1290, 2) == round(1000 * (truth.voltage or 0))
    assert number(device, 0x1298, 2) == (1 << 32) - 12_500
    assert number(device, 0x12A6, 1) & 0xFF == 60
    assert number(device, 0x1240, 2) == 0xFF  # eight cells
    assert number(device, 0x1200, 1) == round(1000 * (truth.cell_voltages[0] or 0))
    assert number(device, 0x106C, 2) == 8
    assert number(device, 0x1108, 2) == 1
    device.pack.switch(Switch.CHARGE, False)
    assert (number(device, 0x1070, 2), number(device, 0x1078, 2)) == (0, 1)
    found = read(device, 0x1400, 7)
    assert found is not None
    assert found.data == b"JK_PB2A16S20P\0"


@pytest.mark.parametrize(
    ("register", "count"),
    [
        (0x0FFE, 1),
        (0x1600, 1),
        (0x1201, 1),  # odd
        (0x1200, 0),
        (0x1200, 123),  # too many at once
        (0x1326, 1),  # behind the table
        (0x14F0, 3),  # across the end of a shorter one
    ],
)
def test_what_is_not_there_is_refused(register: int, count: int) -> None:
    found = read(board(), register, count)
    assert found is not None
    assert (found.function, found.shape, found.code) == (0x83, "exception", 2)


def test_the_whole_of_every_table_can_be_read() -> None:
    device = board()
    for base, size in ((0x1000, 294), (0x1200, 294), (0x1400, 244)):
        for start in range(0, size, 64):
            count = min(32, (size - start) // 2)
            found = read(device, base + start, count)
            assert found is not None
            assert len(found.data) == 2 * count


@pytest.mark.parametrize("register", [0x1072, 0x1110, 0x1298, 0x1470, 0x160E, 0x1626])
def test_writes_of_anything_but_settings_are_refused(register: int) -> None:
    device = board()
    before = dict(device.pack.switches)
    written = RTUFrame(function=0x10, shape="write_many", register=register, count=1, data=bytes(2))
    found = ask(device, written)
    assert found is not None
    assert (found.function, found.code) == (0x90, 2)
    found = ask(device, RTUFrame(function=0x06, shape="write", register=0x1070, count=0))
    assert found is not None
    assert (found.function, found.code) == (0x86, 1)
    assert device.pack.switches == before


def test_silence_for_others_and_damage() -> None:
    device = board(address=3)
    assert read(device, 0x1200, unit=1) is None
    assert read(device, 0x1200, unit=0) is None
    request = RTUFramer(MODBUS_SHAPES).encode(RTUFrame(unit=3, register=0x1200, count=1))
    device.pack.advance(1)
    assert device.receive(request[:-1] + b"\0") == []
    device = board(address=3)
    device.pack.advance(1)
    assert [bool(device.receive(bytes([b]))) for b in request] == [False] * 7 + [True]


@pytest.mark.parametrize(("pause", "heard"), [(0.002, False), (0.015, False), (0.03, True)])
def test_it_is_deaf_right_after_an_answer(pause: float, heard: bool) -> None:
    device = board()
    request = RTUFramer(MODBUS_SHAPES).encode(RTUFrame(register=0x1200, count=1))
    device.pack.advance(1)
    (first,) = device.receive(request)
    device.pack.advance(first.delay + len(first.data) * 10 / 115200 + pause)
    assert bool(device.receive(request)) is heard


@pytest.mark.parametrize("protocol", ["jk-modbus", "jk-bus"])
def test_a_board_without_that_port(protocol: str) -> None:
    with pytest.raises(TargetError, match=r"10\.07"):
        board(protocol, firmware="10.07")


# ------------------------------------------------------------------------------------ bus


def heard(device: Responder, request: RTUFrame) -> bytes:
    return b"".join(a.data for a in device.receive(JKBusFramer().encode(request)))


@pytest.mark.parametrize(("firmware", "padding"), [("15.41", 1), ("14.20", 0)])
def test_a_trigger_gives_a_record_and_an_acknowledgement(firmware: str, padding: int) -> None:
    device = board("jk-bus", address=3, firmware=firmware)
    for code in (INFO, SETTINGS, CELLS):
        said = heard(device, trigger(3, code))
        framer = JKBusFramer()
        first, ack = framer.feed(said)
        assert isinstance(first, JK02Frame)
        assert isinstance(ack, RTUFrame)
        assert (first.code, first.counter, framer.skipped_bytes) == (code, 0, padding)
        assert (ack.unit, ack.register) == (3, trigger(3, code).register)
    assert heard(device, trigger(4, CELLS)) == b""
    assert device.stream() == b""


def test_other_writes_on_the_bus_are_refused() -> None:
    device = board("jk-bus")
    for register, data in ((0x1078, bytes(4)), (0x1626, bytes(2)), (0x1620, b"\0\1")):
        frame = RTUFrame(
            function=0x10, shape="write_many", register=register, count=len(data) // 2, data=data
        )
        (refusal,) = JKBusFramer().feed(heard(device, frame))
        assert isinstance(refusal, RTUFrame)
        assert (refusal.function, refusal.code) == (0x90, 2)


def test_a_master_asks_all_and_pushes_its_own() -> None:
    device = board("jk-bus", address=0)
    assert heard(device, trigger(1, CELLS)) == b""
    device.pack.advance(5)
    framer = JKBusFramer()
    found = framer.feed(device.stream())
    assert framer.pending == 0
    asked = {f.unit for f in found if isinstance(f, RTUFrame) and f.shape == "write_many"}
    assert asked == set(range(1, 16))
    codec = JKBusCodec()
    signed = [r.values["address"] for r in map(codec.decode, found) if r.part == "address"]
    assert signed == [1, 2, 0]


def test_packs_on_the_bus_are_of_one_time_but_not_one_pack() -> None:
    device = board("jk-bus", address=0)
    assert isinstance(device, JKBusResponder)
    device.pack.advance(100)
    device.stream()
    truths = [pack.truth() for pack in device.packs.values()]
    assert {t.uptime for t in truths} == {100.0}
    assert len({t.cell_voltages for t in truths}) == 3
    twin = device.line()
    assert isinstance(twin, JKBusResponder)
    assert twin.packs is device.packs


# ------------------------------------------------------------------------------------ end to end


def poll(target: str, times: int = 1) -> tuple[Identity, list[Reading], Pack]:
    async def main() -> tuple[Identity, list[Reading], Pack]:
        async with connect(target).board as device:
            identity = await device.identify()
            readings = [await device.read() for _ in range(times)]
            assert isinstance(device.link.transport, SimTransport)
            return identity, readings, device.link.transport.pack

    result: tuple[Identity, list[Reading], Pack] = virtual_run(main())
    return result


@pytest.mark.parametrize("protocol", ["jk-modbus", "jk-bus"])
@pytest.mark.parametrize("address", [1, 15])
def test_a_simulated_pack_is_read_like_a_real_one(protocol: str, address: int) -> None:
    target = f"{protocol}+sim://?cells=8&load=-20&chemistry=nmc&address={address}"
    identity, (reading,), pack = poll(target)
    truth = pack.truth()
    assert (identity.model, identity.firmware) == ("JK_PB2A16S20P", "15.41")
    assert (identity.cell_count, identity.chemistry) == (8, "nmc")
    assert identity.variant == ("v1.1" if protocol == "jk-modbus" else "32s")
    assert (reading.protocol, reading.raw["address"], reading.target) == (protocol, address, target)
    assert reading.current == truth.current == -20.0
    assert reading.voltage == pytest.approx(truth.voltage, abs=0.01)
    assert reading.nominal_capacity == truth.nominal_capacity
    assert (reading.charge_switch, reading.heater) == (True, truth.heater)
    assert truth.temperatures.items() <= reading.temperatures.items()


def test_an_older_board_has_the_older_map() -> None:
    identity, (reading,), _ = poll("jk-modbus+sim://?firmware=14.20")
    assert (identity.variant, identity.firmware, identity.chemistry) == ("v1.0", "14.20", None)
    assert len(reading.cell_voltages) == 16


@pytest.mark.parametrize("protocol", ["jk-modbus", "jk-bus"])
@pytest.mark.parametrize(
    "fault",
    ["noise", "echo", "corrupt", "cut", "glue", "late", "late:0.6", "chunk", "duplicate", "sleepy"],
)
def test_a_bad_line_gives_readings_all_the_same(protocol: str, fault: str) -> None:
    _, readings, pack = poll(f"{protocol}+sim://?cells=8&load=-20&fault={fault}", times=3)
    for reading in readings:
        assert (reading.current, reading.soc, len(reading.cell_voltages)) == (-20.0, 60.0, 8)
        assert reading.voltage == pytest.approx(pack.truth().voltage, abs=0.05)


@pytest.mark.parametrize("fault", ["foreign"])
def test_another_device_on_the_line(fault: str) -> None:
    _, readings, _ = poll(f"jk-modbus+sim://?cells=8&fault={fault}", times=2)
    assert [len(r.cell_voltages) for r in readings] == [8, 8]

    async def main() -> None:
        async with connect(f"jk-bus+sim://?fault={fault}").board as device:
            assert isinstance(device.driver, JKBus)
            with pytest.raises(LinkTimeout):
                await device.read()
            assert device.driver.listens  # it would disturb whoever asked that device

    virtual_run(main())


def test_the_master_is_read_by_listening() -> None:
    identity, readings, pack = poll("jk-bus+sim://?address=0&load=-20", times=2)
    assert (identity.cell_count, identity.model) == (16, None)
    assert [(r.raw["address"], r.current) for r in readings] == [(0, -20.0)] * 2
    assert readings[1].uptime == int(pack.uptime)


def test_turnaround_is_learned_from_a_simulated_board() -> None:
    async def main() -> tuple[float, float]:
        async with connect("jk-modbus+sim://?gap=0.002").board as device:
            for _ in range(2):
                await device.read()
            learned = device.link.timing.gap
            for _ in range(3):
                await device.read()
            return learned, device.link.timing.gap

    learned, later = virtual_run(main())
    assert 0.02 <= learned == later < 0.04
