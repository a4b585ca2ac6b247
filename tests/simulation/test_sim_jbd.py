"""The simulated JBD board says what its pack says, and minds its registers as real boards do."""

from __future__ import annotations

import random

import pytest

import bmslink
from bmslink.errors import SettingError, TargetError
from bmslink.model import Condition, Identity, Reading, Switch
from bmslink.protocols.common.fields import build, parse
from bmslink.protocols.common.settings_map import SettingsMap
from bmslink.protocols.jbd.driver import JBDCodec
from bmslink.protocols.jbd.framing import JBDFrame, JBDFramer, read_request, write_request
from bmslink.protocols.jbd.layouts import COUNTERS
from bmslink.simulation.boards.jbd import JBDResponder
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.transport import SimTransport
from support import virtual_run

ENTER = write_request(0x00, b"\x56\x78")
KEEP, PLAIN = write_request(0x01, b"\x28\x28"), write_request(0x01, b"\0\0")


def board(**pack: object) -> JBDResponder:
    return JBDResponder(Pack(load="idle", **pack))


def ask(device: JBDResponder, request: JBDFrame) -> JBDFrame | None:
    answers = device.receive(JBDFramer().encode(request))
    if not answers:
        return None
    (answer,) = answers
    assert 0 < answer.delay <= 0.071
    (frame,) = JBDFramer().feed(answer.data)
    return frame


def read(device: JBDResponder, register: int) -> bytes:
    frame = ask(device, read_request(register))
    assert frame is not None
    assert (frame.mark, frame.code) == (register, 0)
    return frame.data


def status(device: JBDResponder, request: JBDFrame) -> int:
    frame = ask(device, request)
    assert frame is not None
    assert (frame.mark, frame.data) == (request.code, b"")
    return frame.code


def factory(**pack: object) -> JBDResponder:
    device = board(**pack)
    assert status(device, ENTER) == 0
    return device


# ------------------------------------------------------------------------------ live values


async def poll(query: str, hours: float = 0.0, prepare: object = None) -> tuple[Reading, ...]:
    async with bmslink.connect(
        f"jbd+sim://?{query}&speed=0.000001".replace("?&", "?")
    ).board as device:
        transport = device.link.transport
        assert isinstance(transport, SimTransport)
        transport.pack.advance(3600 * hours)
        if callable(prepare):
            prepare(transport.pack)
        return await device.read(), transport.pack.truth()


def assert_same(reading: Reading, truth: Reading, amount: float = 0.01) -> None:
    """Everything a JBD board can say, to the resolution of its registers."""
    for name, step in (
        ("voltage", 0.01),
        ("current", amount),
        ("soc", 1.0),
        ("remaining_capacity", amount),
        ("full_capacity", amount),
        ("nominal_capacity", amount),
        ("balance_current", 0.001),
    ):
        assert getattr(reading, name) == pytest.approx(getattr(truth, name), abs=step / 2 + 1e-9)
    for name in (
        "cycles",
        "cell_voltages",
        "balancing_active",
        "balancing_cells",
        "charging_allowed",
        "discharging_allowed",
    ):
        assert getattr(reading, name) == getattr(truth, name), name


@pytest.mark.parametrize("hours", [0.1, 4, 13, 30])
@pytest.mark.parametrize(
    "query", ["", "cells=4&soc=97&seed=5", "cells=1&chemistry=lto", "cells=32&chemistry=nmc&soc=3"]
)
async def test_readings_are_the_truth(query: str, hours: float) -> None:
    reading, truth = await poll(query, hours)
    assert_same(reading, truth)
    assert list(reading.temperatures.values()) == list(truth.temperatures.values())
    assert reading.protections == truth.protections


@pytest.mark.parametrize("load", ["200", "-250.04"])
async def test_a_large_pack_counts_tenfold(load: str) -> None:
    reading, truth = await poll(f"capacity=628&cells=4&load={load}", 0.3)
    assert_same(reading, truth, 0.1)
    assert reading.raw["tenfold"] is True
    assert reading.nominal_capacity == 628.0


def test_what_a_large_pack_says_is_built_again_to_the_byte() -> None:
    for capacity in (100, 628):
        data = read(board(capacity=capacity, cells=4), 0x03)
        assert len(data) == 0x26
        assert data[29] == (0x80 if capacity == 628 else 0)
        payload = JBDCodec().payload(JBDFrame(mark=0x03, code=0, data=data))
        assert payload is not None
        assert build(payload.layout, parse(payload.layout, data, "03"), "03") == data


def test_the_registers_of_a_large_pack_count_tenfold_too() -> None:
    device = factory(capacity=628)
    assert read(device, 0x10).hex() == "1888"  # 628.0 Ah
    assert read(device, 0x2D)[0] & 0x10
    assert status(device, write_request(0x28, b"\x0b\xb8")) == 0
    assert device.pack.settings["charge_ocp"] == 300.0
    assert read(device, 0x28).hex() == "0bb8"


@pytest.mark.parametrize(
    ("capacity", "function", "locked"),
    [
        (628, 0x1006, ""),
        (628, 0x0006, "count singly, the live values count tenfold"),
        (100, 0x0006, ""),
        (100, 0x1006, "count tenfold, the live values count singly"),
    ],
)
def test_where_the_two_tenfold_flags_disagree_nothing_is_written(
    capacity: int, function: int, locked: str
) -> None:
    async def main() -> tuple[SettingsMap, dict[str, object]]:
        async with bmslink.connect(f"jbd+sim://?capacity={capacity}&cells=4").board as device:
            transport = device.link.transport
            assert isinstance(transport, SimTransport)
            responder = transport.device.responder
            assert isinstance(responder, JBDResponder)
            responder._board.words["jbd_function_bits"] = function
            found = await device.settings_map(await device.identify())
            return found, dict((await device.settings(found)).values())

    found, values = virtual_run(main())
    assert locked in found.read_only_reason
    assert bool(found.read_only_reason) == bool(locked)
    if capacity == 628 and not locked:
        assert values["nominal_capacity"] == 628.0
    if locked:
        with pytest.raises(SettingError, match="the live values count"):
            found.encode({0x24: b"\x0e\x42"}, {"cell_ovp": 3.6})


async def test_a_balancing_pack_names_its_cells() -> None:
    def lift(pack: Pack) -> None:
        for cell in (2, 8, 18, 32):
            pack.set_cell_voltage(cell, 3.6)

    reading, truth = await poll("cells=32&load=idle", 0, lift)
    assert truth.balancing_cells == (2, 8, 18, 32)
    assert_same(reading, truth)


@pytest.mark.parametrize("condition", COUNTERS)
async def test_a_trip_shows_and_is_counted(condition: Condition) -> None:
    reading, _ = await poll("", 0, lambda p: p.raise_condition("protection", condition))
    assert reading.protections == (condition,)
    device = board()
    device.pack.raise_condition("protection", condition)
    for _ in range(3):
        counts = read(device, 0xAA)
        assert len(counts) == 24
        assert counts.hex() == "".join("0001" if c is condition else "0000" for c in COUNTERS) + (
            "0000"
        )
    device.pack.clear_condition(condition)
    read(device, 0x03)
    device.pack.raise_condition("protection", condition)
    assert sum(read(device, 0xAA)) == 2
    assert status(device, PLAIN) == 0
    assert sum(read(device, 0xAA)) == 2
    assert status(device, KEEP) == 0  # 2828 clears them
    assert sum(read(device, 0xAA)) == 0


async def test_faults_alarms_and_a_missing_probe_show() -> None:
    def spoil(pack: Pack) -> None:
        pack.raise_condition("fault", Condition.AFE)
        pack.raise_condition("alarm", Condition.CELL_DELTA)
        pack.break_probe("cell_2")

    reading, _ = await poll("", 0, spoil)
    assert reading.faults == (Condition.AFE,)
    assert reading.alarms == (Condition.CELL_DELTA,)
    assert reading.temperatures["sensor_2"] is None
    assert reading.temperatures["sensor_1"] is not None


@pytest.mark.counted
def test_identity() -> None:
    async def identify(query: str) -> Identity:
        async with bmslink.connect(f"jbd+sim://?{query}").board as device:
            return await device.identify()

    identity = virtual_run(identify("cells=8&firmware=2.10"))
    assert (identity.model, identity.firmware, identity.cell_count, identity.variant) == (
        "JBD-SP08S020-L8S-100A",
        "2.10",
        8,
        "classic",
    )
    addressed = virtual_run(identify("address=3"))
    assert (addressed.variant, addressed.model) == ("addressed", None)


def test_the_addressed_form_gives_the_same_values() -> None:
    reading, truth = virtual_run(poll("address=1", 5))
    assert reading.cell_voltages == truth.cell_voltages
    assert reading.voltage == pytest.approx(truth.voltage, abs=0.005)
    assert reading.temperatures == {
        "sensor_1": truth.temperatures["cell_1"],
        "sensor_2": truth.temperatures["cell_2"],
        "mosfet": truth.temperatures["mosfet"],
        "ambient": None,
    }
    hot, _ = virtual_run(
        poll("address=1", 0, lambda p: p.raise_condition("alarm", Condition.CELL_UNDERVOLTAGE))
    )
    assert hot.alarms == (Condition.CELL_UNDERVOLTAGE,)


def test_an_addressed_board_hears_only_what_is_meant_for_it() -> None:
    device = JBDResponder(Pack(), address=2)
    assert ask(device, read_request(0x03)) is None
    assert ask(device, read_request(0x03, 1)) is None
    assert ask(device, write_request(0xE1, b"\0\3", 2)) is None
    frame = ask(device, read_request(0x03, 2))
    assert frame is not None
    assert frame.address == 2
    assert ask(board(), read_request(0x03, 2)) is None


def test_what_no_jbd_board_can_be() -> None:
    with pytest.raises(TargetError, match="32"):
        JBDResponder(Pack(cells=33))
    with pytest.raises(TargetError, match="address"):
        JBDResponder(Pack(), address=0x21)
    for firmware in ("", "2", "1.16", "v2.1", "2.1.0"):
        with pytest.raises(TargetError, match="firmware"):
            JBDResponder(Pack(), firmware=firmware)


def test_values_beyond_a_word_stop_at_its_end() -> None:
    device = JBDResponder(Pack(capacity=500, load=-400.0, cells=4))
    device.pack.advance(5)
    assert read(device, 0x03)[2:4].hex() == "8000"
    device = JBDResponder(Pack(capacity=10_000, cells=4, soc=97))
    assert read(device, 0x03)[4:8].hex() == "ffffffff"


# --------------------------------------------------------------------------------- commands


@pytest.mark.parametrize("lock", range(4))
def test_fets_are_switched_without_factory_mode(lock: int) -> None:
    device = board()
    assert status(device, write_request(0xE1, bytes((0, lock)))) == 0
    assert device.pack.switches[Switch.CHARGE] is not bool(lock & 1)
    assert device.pack.switches[Switch.DISCHARGE] is not bool(lock & 2)
    basic = read(device, 0x03)
    assert basic[20] == 3 & ~lock  # after E1=1 the byte reads 2 (jbd-syssi-sp04s034-btsnoop-mos-1)
    assert bool(basic[16] & 0x10) is bool(lock)


async def test_a_software_lock_is_no_protection() -> None:
    reading, _ = await poll("", 0, lambda p: p.switch(Switch.CHARGE, on=False))
    assert reading.alarms == (Condition.SOFTWARE_LOCK,)
    assert reading.protections == ()
    assert reading.charging_allowed is False


def test_settings_are_closed_outside_factory_mode() -> None:
    device = board()
    for register in (0x10, 0x24, 0x3F, 0xA0, 0xA2):
        assert status(device, read_request(register)) == 0x81
        assert status(device, write_request(register, b"\1\0")) == 0x81
    assert status(device, write_request(0x00, b"\x12\x34")) == 0x81
    assert status(device, read_request(0x24)) == 0x81
    assert status(device, ENTER) == 0
    assert read(device, 0x24) == (3650).to_bytes(2, "big")
    assert read(device, 0x03)
    assert status(device, write_request(0x01, b"\1\1")) == 0x81
    assert read(device, 0x24)
    assert status(device, PLAIN) == 0
    assert status(device, read_request(0x24)) == 0x81


@pytest.mark.parametrize("register", [0x00, 0x02, 0x06, 0x0A, 0x40, 0x47, 0xA3, 0xFA, 0xFF])
def test_unknown_registers_are_refused(register: int) -> None:
    assert status(factory(), read_request(register)) == 0x80


def test_unknown_commands_are_refused() -> None:
    for command in (0x03, 0x07, 0x09, 0x0A, 0x40, 0xE3, 0xAD):
        assert status(factory(), write_request(command, b"\0\0")) == 0x80


def test_a_pin_is_wrong_where_there_is_none() -> None:
    assert status(board(), write_request(0x06, bytes((6, 0, 0, 0, 0, 0, 0)))) == 0
    assert status(board(), write_request(0x06, b"\x06123456")) == 0x83
    assert status(board(), write_request(0xE1, b"\0")) == 0x81


@pytest.mark.parametrize("register", range(0x10, 0x40))
def test_every_word_that_is_written_reads_back(register: int) -> None:
    device = factory()
    for word in (0x0001, 0x1234, 0x7FFF, 0x8000, 0xFFFF, 0x0000):
        data = word.to_bytes(2, "big")
        assert status(device, write_request(register, data)) == 0
        if register == 0x17 and word > 0x7FFF:
            continue
        assert read(device, register) == data
    assert status(device, write_request(register, b"\1")) == 0x81


def test_a_second_line_sees_what_the_first_wrote_but_not_its_factory_mode() -> None:
    first = factory()
    second = first.line()
    for register, data in ((0xA1, b"\5Green"), (0x31, b"\0\x1e"), (0x24, b"\x0e\x10")):
        assert status(first, write_request(register, data)) == 0
        assert status(second, read_request(register)) == 0x81
    assert status(second, ENTER) == 0
    assert read(second, 0xA1) == b"\5Green"
    assert read(second, 0x05) == b"Green"
    assert read(second, 0x31) == b"\0\x1e"
    assert second.pack.settings["cell_ovp"] == 3.6
    assert first.pack is second.pack


@pytest.mark.parametrize("data", [b"", b"\1", b"\2a", b"\0a", b"\x20" + bytes(32)])
def test_a_string_of_the_wrong_length_is_refused(data: bytes) -> None:
    device = factory()
    before = read(device, 0xA1)
    assert status(device, write_request(0xA1, data)) == 0x81
    assert read(device, 0xA1) == before


def test_a_new_limit_is_obeyed_at_once() -> None:
    device = factory(cells=4)
    limit = round(1000 * max(device.pack.truth().cell_voltages) - 10)
    for register, word in ((0x24, limit), (0x25, limit - 50)):
        assert status(device, write_request(register, word.to_bytes(2, "big"))) == 0
    device.pack.advance(10)
    basic = read(device, 0x03)
    assert basic[17] & 1  # cell over-voltage
    assert basic[20] == 2  # and the charge FET is open


def test_the_balance_bit_is_the_balance_switch() -> None:
    device = factory()
    assert read(device, 0x2D) == b"\0\6"
    assert status(device, write_request(0x2D, b"\0\2")) == 0
    assert device.pack.switches[Switch.BALANCE] is False
    device.pack.switch(Switch.BALANCE, on=True)
    assert read(device, 0x2D) == b"\0\6"


def test_the_cycle_count_that_was_written_counts_on() -> None:
    device = factory()
    assert status(device, write_request(0x17, b"\0\7")) == 0
    assert read(device, 0x17) == b"\0\7" == read(device, 0x03)[8:10]


# ------------------------------------------------------------------------------ hostile input


def test_a_torn_request_does_not_swallow_the_next() -> None:
    device = board()
    request = JBDFramer().encode(read_request(0x03))
    for length in range(len(request)):
        assert device.receive(request[:length]) == []
        assert len(device.receive(request)) == 1, length


def test_a_request_may_come_byte_by_byte() -> None:
    device = board()
    request = JBDFramer().encode(read_request(0x04))
    answers = [device.receive(bytes((byte,))) for byte in request]
    assert [len(a) for a in answers] == [0] * (len(request) - 1) + [1]


def test_damaged_requests_are_not_answered() -> None:
    request = JBDFramer().encode(write_request(0xE1, b"\0\3"))
    for bit in range(16, 8 * (len(request) - 1)):
        device = board()
        damaged = bytearray(request)
        damaged[bit // 8] ^= 1 << bit % 8
        assert device.receive(bytes(damaged)) == []
        assert all(device.pack.switches.values())


def test_no_write_and_no_junk_breaks_it() -> None:
    draw = random.Random(3)
    device = factory()
    for _ in range(200):
        word = draw.choice([b"\0\0", b"\xff\xff", b"\x80\0", draw.randbytes(2)])
        assert status(device, write_request(draw.randrange(0x10, 0x40), word)) == 0
        device.pack.advance(draw.choice([0.1, 1, 60]))
        assert len(read(device, 0x04)) == 32
        assert len(read(device, 0x03)) == 38
        device.receive(draw.randbytes(draw.randrange(300)))
        for _ in range(3):  # junk may look like the beginning of a long request
            device.receive(JBDFramer().encode(PLAIN))
        assert status(device, ENTER) == 0
