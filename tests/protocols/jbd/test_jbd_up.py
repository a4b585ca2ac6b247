"""JBD UP: frames and blocks by capture, hostile bytes, the driver, and the simulated rack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bmslink
from bmslink.errors import FrameError, LinkTimeout, SettingError, TargetError
from bmslink.link.capture import open_capture
from bmslink.link.link import Link
from bmslink.model import Condition, Reading
from bmslink.protocols.base import Options
from bmslink.protocols.common.fields import build, parse
from bmslink.protocols.jbd.up.driver import CAPACITY, JBDUP, PRODUCT, STATUS, JBDUPCodec
from bmslink.protocols.jbd.up.framing import INDIVIDUAL, WRITE, UPFrame, UPFramer, read_request
from bmslink.protocols.jbd.up.layouts import ALARMS, FAULTS, status_layout
from bmslink.protocols.jbd.up.map import SETTINGS_BLOCKS, up_map
from bmslink.simulation.boards.jbd_up import JBDUPResponder
from bmslink.simulation.pack.pack import Pack
from scripted import ScriptedTransport
from support import FIXTURES, virtual_run

TWO = "jbd-syssi-up16s020-two-devices"
RACK = "jbd-dbus-up16s015-testframes"


def captured(name: str, start: str) -> list[UPFrame]:
    """The answers of a capture whose bytes begin so, each once."""
    _, pieces = open_capture(FIXTURES / "jbd-up" / f"{name}.jsonl")
    data = dict.fromkeys(p.data for p in pieces if not p.sent and p.hex.startswith(start))
    return [frame for raw in data for frame in UPFramer().feed(raw)]


def values(name: str, start: str) -> Any:
    return JBDUPCodec().decode(captured(name, start)[0]).values


def reading(*frames: UPFrame) -> Reading:
    codec = JBDUPCodec()
    return codec.reading([codec.decode(frame) for frame in frames])


def changed(frame: UPFrame, **fields: Any) -> UPFrame:
    """A pack status that says something else."""
    layout = status_layout(frame.data)
    data = build(layout, parse(layout, frame.data, "status") | fields, "status")
    return UPFrame(address=frame.address, start=frame.start, end=frame.end, data=data)


MASTER, SLAVE = captured(TWO, "017810")[0], captured(TWO, "027810")[0]


# ---------------------------------------------------------------------------------- framing


def test_requests_to_the_byte() -> None:
    assert UPFramer().encode(read_request(STATUS)).hex() == "0178100010a000007fb2"
    assert UPFramer().encode(read_request(STATUS, 2)).hex() == "0278100010a000003fa7"
    assert UPFramer().encode(read_request(CAPACITY)).hex() == "01782006201800007d67"
    assert UPFramer().encode(read_request(PRODUCT)).hex() == "01782810283c00007787"


def test_requests_and_answers_are_told_apart() -> None:
    assert not read_request(STATUS).is_answer
    assert MASTER.is_answer
    written = UPFrame(function=WRITE, start=0x2006, end=0x2008)
    assert written.is_answer
    assert not UPFrame(function=WRITE, start=0x2006, end=0x2008, data=b"\x11JBD\0\0").is_answer


@given(st.binary(max_size=700), st.integers(1, 700))
@settings(max_examples=150, deadline=None)
def test_any_bytes(data: bytes, size: int) -> None:
    framer = UPFramer()
    found = []
    for start in range(0, len(data), size):
        found += framer.feed(data[start : start + size])
        assert framer.pending <= framer.longest
    found += framer.flush()
    assert sum(len(f.raw) for f in found) + framer.skipped_bytes == len(data)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_payload_behind_a_right_crc(data: st.DataObject) -> None:
    start = data.draw(st.sampled_from([0x1000, 0, 0x1800, 0x1C00, 0x2000, 0x2006, 0x2810, 0x2902]))
    function = data.draw(st.sampled_from([0x78, 0x79, 0x45, 0x42]))
    body = data.draw(st.binary(max_size=256))
    frame = UPFrame(address=3, function=function, start=start, end=start + 9, data=body)
    (found,) = UPFramer().feed(UPFramer().encode(frame))
    codec = JBDUPCodec()
    try:
        payload = codec.payload(found)
        record = codec.decode(found)
    except FrameError:
        return
    if payload is not None:
        built = payload.layout.build(payload.layout.parse(payload.data))
        assert built == payload.data
    if record.role == "reading":
        codec.reading([record]).to_dict()
        codec.identity([record])


# ---------------------------------------------------------------------------------- meaning


def test_signs_flags_and_limits_of_the_status() -> None:
    found = reading(captured(RACK, "017810")[0])
    assert found.current == 3.12  # charging
    assert reading(changed(MASTER, current=-12.34)).current == -12.34
    # bit 0 is discharge and bit 1 charge, the other way round than in `DD` frames
    assert (found.discharging_allowed, found.charging_allowed) == (True, False)
    off = reading(changed(MASTER, flags=2 | 8 | 16))
    assert (off.discharging_allowed, off.charging_allowed, off.heater) == (False, True, True)
    assert off.raw["flag_bits"] == [4]
    assert found.raw["charge_current_limit"] == 240.0
    assert found.balancing_cells == (3,)
    assert found.balancing_active is True


@pytest.mark.parametrize(("field", "table"), [("faults", FAULTS), ("alarms", ALARMS)])
def test_condition_bits(field: str, table: dict[int, tuple[str, Condition]]) -> None:
    for bit in range(32):
        found = reading(changed(MASTER, **{field: 1 << bit}))
        said = {"alarm": found.alarms, "protection": found.protections, "fault": found.faults}
        level, condition = table.get(bit, ("", Condition.OTHER))
        for name, conditions in said.items():
            assert conditions == ((condition,) if name == level else ())
        named = bit in table and condition is not Condition.OTHER
        assert found.raw.get(f"{field[:-1]}_bits") == (None if named else [bit])


def test_a_cell_of_zero_volts_is_a_fault() -> None:
    cells = parse(status_layout(MASTER.data), MASTER.data, "status")["cell_voltages"]
    found = reading(changed(MASTER, cell_voltages=[*cells[:15], 0.0]))
    assert (found.min_cell_voltage, found.faults) == (0.0, (Condition.VOLTAGE_SENSE,))


def test_the_individual_status_swaps_the_bytes_of_its_serial_number() -> None:
    found = values(TWO, "0145")
    assert found["serial_number"] == values(TWO, "017810")["serial_number"] == "JBD48100000"
    alone = reading(captured(TWO, "0145")[0])
    assert (alone.voltage, alone.current, alone.soc) == (53.17, 0.0, 60.0)
    assert alone.temperatures == reading(MASTER).temperatures  # on another scale
    assert alone.charging_allowed is None
    assert reading(captured(RACK, "0145")[0]).current == 3.07


def test_protection_parameters_fall_into_place() -> None:
    found = values(TWO, "017818")
    expected = {
        "cell_ovp_alarm": 3.6, "cell_ovp": 3.65, "cell_ovp_release": 3.4, "cell_ovp_delay": 3.0,
        "cell_uvp": 2.5, "pack_ovp": 58.4, "pack_uvp": 40.0, "charge_ocp": 120.0,
        "charge_ocp_2": 130.0, "charge_ocp_2_delay": 0.5, "discharge_ocp_2": 140.0,
        "discharge_ocp_count": 10, "charge_otp": 65.0, "charge_utp": 0.0, "charge_utp_release": 5.0,
        "discharge_utp": -20.0, "mosfet_otp": 105.0, "ambient_utp_release": -15.0,
        "cell_delta": 0.8, "cell_delta_delay": 8.0, "soc_low": 3, "soc_low_delay": 2.0,
    }  # fmt: skip
    assert {key: found[f"jbd_up_{key}"] for key in expected} == expected


def test_the_other_blocks() -> None:
    assert values(TWO, "017820")["jbd_up_soc_points"] == [30, 3100, 20, 3200, 30, 3450, 80, 3550]
    clock = values(TWO, "01782800")
    assert [clock[k] for k in ("year", "month", "day", "hour")] == [2026, 6, 6, 17]
    product = values(RACK, "01782810")
    assert (product["model"], product["project"]) == ("UP16S015.16S200A", "JBD")
    codec = JBDUPCodec()
    write = UPFramer().feed(bytes.fromhex("0179200620080006114a42442710427a"))[0]
    assert codec.decode(write, sent=True).values["soc"] == 100.0
    (acknowledged,) = UPFramer().feed(bytes.fromhex("01792006200800006c62"))
    assert codec.decode(acknowledged).role == "ack"


def test_a_key_that_is_none_is_refused() -> None:
    frame = UPFrame(function=WRITE, start=0x2006, end=0x2008, data=b"\x11JBX\0\0")
    with pytest.raises(FrameError, match="key is"):
        JBDUPCodec().decode(frame, sent=True)


def test_two_packs_on_one_line_are_two_packs() -> None:
    path = FIXTURES / "jbd-up" / f"{TWO}.jsonl"
    found = bmslink.decode(path)
    assert [r.raw["address"] for r in found] == [1, 2] * 8
    assert {(r.raw["address"], r.nominal_capacity, r.cycles) for r in found} == {
        (1, 100.0, 12),
        (2, 100.0, 2),
    }
    assert all(("total_charge" in r.raw) == (r.raw["address"] == 1) for r in found)
    counters = captured(RACK, "01782006")[0]
    assert "total_charge" not in reading(SLAVE, counters).raw
    assert reading(counters, MASTER).raw["total_charge"] == 651.6


def test_the_finer_soc_is_that_of_the_counters() -> None:
    status, counters = captured(RACK, "017810")[0], captured(RACK, "01782006")[0]
    assert reading(status).soc == 62.0
    assert reading(status, counters).soc == 62.85


@pytest.mark.parametrize(
    ("start", "body", "why"),
    [
        (0x1000, bytes(67), "too short"),
        (0x1000, MASTER.data[:66] + b"\0\xff" + MASTER.data[68:], "255 cells do not fit"),
        (0x1000, MASTER.data[:100] + b"\0\x40" + MASTER.data[102:], "64 sensors do not fit"),
        (0, b"\0", "too short"),
        (0, b"\0\xff" + bytes(100), "255 cells do not fit"),
        (0, captured(TWO, "0145")[0].data + b"\0", "do not make 117 bytes"),
    ],
)
def test_counts_that_do_not_fit_are_refused(start: int, body: bytes, why: str) -> None:
    frame = UPFrame(function=0x78 if start else INDIVIDUAL, start=start, end=start + 1, data=body)
    with pytest.raises(FrameError, match=why):
        JBDUPCodec().decode(frame)


# ---------------------------------------------------------------------------------- driver


class Board(ScriptedTransport):
    """Answers a request with a captured frame, or not at all."""

    def __init__(self, *answers: UPFrame) -> None:
        super().__init__()
        self.answers = {(f.address, f.function, f.start): f for f in answers}
        self.asked: list[tuple[int, int]] = []
        self.noise = b""

    def heard(self, data: bytes) -> None:
        for frame in UPFramer().feed(data):
            self.asked.append((frame.address, frame.start))
            answer = self.answers.get((frame.address, frame.function, frame.start))
            raw = self.noise if answer is None else UPFramer().encode(answer)
            self.say(raw, after=0.25)


def drive(board: Board, test: Callable[[JBDUP], Any], **options: Any) -> None:
    async def go() -> None:
        link = Link(board, UPFramer(), JBDUP.timing)
        driver = JBDUP(link, Options(**options))
        await link.open()
        await driver.start()
        await test(driver)
        await link.close()

    virtual_run(go())


RACK_FRAMES = [captured(RACK, start)[0] for start in ("017810", "01782006", "01782810")]


def test_the_capacity_is_never_read_from_2000() -> None:
    board = Board(*RACK_FRAMES)

    async def test(driver: JBDUP) -> None:
        for _ in range(2):
            found = await driver.read()
            assert (found.soc, found.raw["total_discharge"]) == (62.85, 791.4)
        identity = await driver.identify()
        assert (identity.model, identity.firmware) == ("UP16S015.16S200A", "12.1.7")
        assert (identity.serial_number, identity.variant) == ("JBD87654321", "direct")

    drive(board, test)
    assert board.asked == [(1, 0x1000), (1, 0x2006)] * 2 + [(1, 0x1000), (1, 0x2810)]


def test_a_pack_behind_the_master_is_asked_for_its_status_only() -> None:
    board = Board(SLAVE)

    async def test(driver: JBDUP) -> None:
        assert (await driver.read()).raw["address"] == 2
        identity = await driver.identify()
        assert (identity.variant, identity.firmware) == ("relayed", None)

    drive(board, test, address=2)
    assert board.asked == [(2, 0x1000)] * 2


def test_old_firmware_is_not_asked_for_counters() -> None:
    board = Board(changed(MASTER, version=0x0B04))

    async def test(driver: JBDUP) -> None:
        assert (await driver.read()).soc == 60.95

    drive(board, test)
    assert board.asked == [(1, 0x1000)]


def test_what_is_not_answered_is_asked_for_twice_only() -> None:
    board = Board(MASTER)

    async def test(driver: JBDUP) -> None:
        for _ in range(3):
            assert (await driver.read()).soc == 60.95
        assert (await driver.identify()).firmware == "12.4"

    drive(board, test)
    assert board.asked.count((1, 0x2006)) == 4  # each with one repetition


def test_noise_is_no_proof_that_a_block_is_missing() -> None:
    board = Board(MASTER)
    board.noise = b"\x55\xaa"

    async def test(driver: JBDUP) -> None:
        await driver.read()
        board.answers[1, 0x78, 0x2006] = RACK_FRAMES[1]
        assert (await driver.read()).soc == 62.85

    drive(board, test)


def test_an_answer_of_another_address_is_none() -> None:
    board = Board()
    board.answers[1, 0x78, 0x1000] = SLAVE

    async def test(driver: JBDUP) -> None:
        with pytest.raises(LinkTimeout, match="Only other frames"):
            await driver.read()

    drive(board, test)


@pytest.mark.parametrize("address", [0, 255])
def test_addresses_that_cannot_be(address: int) -> None:
    with pytest.raises(TargetError, match="1 to 254"):
        bmslink.connect(f"jbd-up+tcp://127.0.0.1:1?address={address}")


# ---------------------------------------------------------------------------------- simulator


async def poll(
    query: str, prepare: Callable[[Pack], None] = lambda pack: None
) -> tuple[Reading, Reading]:
    async with bmslink.connect(f"jbd-up+sim://?{query}&speed=0.000001").board as device:
        pack = device.link.transport.pack
        prepare(pack)
        return await device.read(), pack.truth()


@pytest.mark.parametrize("hours", [0.1, 4, 13, 30])
@pytest.mark.parametrize(
    "query", ["cells=16", "cells=8&soc=97&seed=5", "address=2", "cells=15&soc=3"]
)
async def test_readings_are_the_truth(query: str, hours: float) -> None:
    found, truth = await poll(query, lambda pack: pack.advance(3600 * hours))
    for name in (
        "voltage",
        "current",
        "remaining_capacity",
        "full_capacity",
        "nominal_capacity",
    ):
        assert getattr(found, name) == pytest.approx(getattr(truth, name), abs=0.0051)
    assert found.soc == pytest.approx(truth.soc, abs=0.5 if "address" in query else 0.0051)
    for name in (
        "soh", "cycles", "cell_voltages", "balancing_active", "balancing_cells", "heater",
        "charging_allowed", "discharging_allowed", "protections",
    ):  # fmt: skip
        assert getattr(found, name) == getattr(truth, name), name
    sensors = [t for name, t in found.temperatures.items() if name.startswith("sensor")]
    assert sensors == [truth.temperatures["cell_1"], truth.temperatures["cell_2"]]
    assert found.temperatures["mosfet"] == truth.temperatures["mosfet"]


@pytest.mark.parametrize(
    "fault", ["echo", "noise", "glue", "foreign", "duplicate", "chunk", "late", "sleepy", "cut"]
)
async def test_faults_on_the_wire(fault: str) -> None:
    found, truth = await poll(f"fault={fault}&load=idle")
    assert (found.voltage, found.cell_voltages) == (
        pytest.approx(truth.voltage, abs=0.0051),
        truth.cell_voltages,
    )


@pytest.mark.parametrize("level", ["alarm", "protection", "fault"])
async def test_conditions_show(level: str) -> None:
    for condition in {c for lv, c in (*FAULTS.values(), *ALARMS.values()) if lv == level}:
        found, _ = await poll("cells=16", lambda p, c=condition: p.raise_condition(level, c))
        assert condition in getattr(found, f"{level}s")


def ask(board: JBDUPResponder, frame: UPFrame) -> list[UPFrame]:
    answers = board.receive(UPFramer().encode(frame))
    assert all(0.15 <= a.delay <= 0.35 for a in answers)
    return [f for a in answers for f in UPFramer().feed(a.data)]


def test_only_the_master_answers_more_than_its_status() -> None:
    individual = UPFrame(function=INDIVIDUAL, start=0, end=0x54)
    for block, length in ((STATUS, 0x9A), (CAPACITY, 0x12), (PRODUCT, 0x2C)):
        (answer,) = ask(JBDUPResponder(Pack()), read_request(block))
        assert len(answer.data) == length
        slave = ask(JBDUPResponder(Pack(), address=2), read_request(block, 2))
        assert len(slave) == (block == STATUS)
    (answer,) = ask(JBDUPResponder(Pack()), individual)
    found = JBDUPCodec().decode(answer).values
    assert found["serial_number"] == "SIM75463542"
    assert ask(JBDUPResponder(Pack()), read_request((0x2000, 0x2050))) == []
    assert ask(JBDUPResponder(Pack()), read_request(STATUS, 2)) == []


def test_writes_of_the_fets_and_the_charge() -> None:
    pack = Pack(load="idle")
    board = JBDUPResponder(pack)
    flags = UPFrame(function=WRITE, start=0x2902, end=0x2904, data=b"\x11JBD\0\x02")
    (answer,) = ask(board, flags)
    assert answer.data == b""
    truth = pack.truth()
    assert (truth.charging_allowed, truth.discharging_allowed) == (True, False)
    ask(board, UPFrame(function=WRITE, start=0x2006, end=0x2008, data=b"\x11JBD\x13\x88"))
    assert pack.truth().soc == 50.0
    wrong = UPFrame(function=WRITE, start=0x2902, end=0x2904, data=b"\x11JBE\0\x01")
    assert ask(board, wrong) == []
    assert pack.truth().discharging_allowed is False


def test_a_torn_request_does_not_make_the_board_deaf() -> None:
    board = JBDUPResponder(Pack())
    assert board.receive(bytes.fromhex("0178100010a000ff")) == []
    assert len(ask(board, read_request(STATUS))) == 1


@pytest.mark.parametrize("query", ["cells=17", "address=17", "address=0", "firmware=twelve"])
def test_boards_that_do_not_exist(query: str) -> None:
    with pytest.raises(TargetError):
        bmslink.connect(f"jbd-up+sim://?{query}")


def test_of_nothing_there_is_an_empty_reading() -> None:
    assert JBDUPCodec().reading([]) == Reading(protocol="jbd-up")


def test_a_settings_block_of_another_length_is_not_had() -> None:
    """Bytes that fit no layout are no settings, whichever block they claim to be."""
    slot = up_map().slots[0]
    size = slot.layout.sizeof()
    block = {"address": 1, "start": slot.address, "end": SETTINGS_BLOCKS[slot.address]}
    short = Board(UPFrame(**block, data=b"\1" * (size - 2)))
    whole = Board(UPFrame(**block, data=b"\1" * size))

    async def none(driver: JBDUP) -> None:
        with pytest.raises(LinkTimeout, match="answers for none of its settings"):
            await driver.settings.fetch([slot])

    async def one(driver: JBDUP) -> None:
        assert await driver.settings.fetch([slot]) == {slot.address: b"\1" * size}

    drive(short, none)
    drive(whole, one)


def test_no_setting_of_such_a_pack_is_written_checked_or_not() -> None:
    slot = up_map().slots[0]
    data = bytes(slot.layout.sizeof())

    async def use(driver: JBDUP) -> None:
        for write in (driver.settings.write_command, driver.settings._make_write):
            with pytest.raises(SettingError):
                write(slot, data)

    drive(Board(), use)
