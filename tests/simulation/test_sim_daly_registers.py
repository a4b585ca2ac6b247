"""The simulated D2 and 81/51 boards say what their pack says, and keep to the captured rules."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

import bmslink
from bmslink.errors import LinkTimeout, TargetError
from bmslink.model import Condition, Identity, Reading, Switch
from bmslink.protocols.base import Options
from bmslink.protocols.common.rtu import WRITE, WRITE_MANY, RTUFrame
from bmslink.protocols.daly.a5.layouts import FAILURES
from bmslink.protocols.daly.registers.codec import Block
from bmslink.protocols.daly.registers.d2 import DalyD2
from bmslink.protocols.daly.registers.driver import DalyRegisters
from bmslink.protocols.daly.registers.framing import read_request
from bmslink.protocols.daly.registers.p81 import FLAGS, LEVELS, DalyP81
from bmslink.simulation.boards.daly_d2 import DalyD2Responder
from bmslink.simulation.boards.daly_p81 import DalyP81Responder
from bmslink.simulation.boards.daly_registers import DalyRegisterResponder
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.transport import SimTransport
from support import virtual_run

UNITS = {"daly-d2": (0xD2, 0xD2), "daly-p81": (0x81, 0x51)}
DRIVERS: dict[str, type[DalyRegisters]] = {"daly-d2": DalyD2, "daly-p81": DalyP81}
LIVE = {"daly-d2": Block(0x00, 0x3E), "daly-p81": Block(0x40, 0x3F)}
SETTINGS = {"daly-d2": Block(0x80, 0x29), "daly-p81": Block(0x100, 0x51)}
each = pytest.mark.parametrize("name", UNITS)


def board(name: str, **pack: Any) -> DalyRegisterResponder:
    make = {"daly-d2": DalyD2Responder, "daly-p81": DalyP81Responder}[name]
    return make(Pack(**{"load": "idle", **pack}))


def ask(device: DalyRegisterResponder, request: RTUFrame) -> RTUFrame | None:
    framer = device.dialect.framer()
    answers = device.receive(framer.encode(request))
    if not answers:
        return None
    (answer,) = answers
    assert 0 < answer.delay < 0.2
    (frame,) = framer.feed(answer.data)
    return frame


def read(device: DalyRegisterResponder, name: str, register: int, count: int) -> list[int] | None:
    asking, answering = UNITS[name]
    frame = ask(device, read_request(asking, register, count))
    if frame is None:
        return None
    assert (frame.shape, frame.unit, len(frame.data)) == ("data", answering, 2 * count)
    return frame.words


def write(name: str, register: int, value: int) -> RTUFrame:
    return RTUFrame(
        unit=UNITS[name][0], function=WRITE, shape="write", register=register, count=value
    )


# ------------------------------------------------------------------------------ live values


async def poll(target: str, hours: float = 0.0, prepare: Any = None) -> tuple[Reading, Reading]:
    async with bmslink.connect(target).board as device:
        transport = device.link.transport
        assert isinstance(transport, SimTransport)
        pack = transport.device.pack
        pack.advance(3600 * hours)
        if prepare is not None:
            prepare(pack)
            pack.advance(1)
        reading = await device.read()
        return reading, pack.truth()


QUERIES = [
    "",
    "cells=4&soc=97&seed=5",
    "cells=1&chemistry=lto",
    "cells=32&chemistry=nmc&soc=3",
    "cells=48&soc=99.5",
]


@each
@pytest.mark.parametrize("hours", [0.1, 13])
@pytest.mark.parametrize("query", QUERIES)
async def test_readings_are_the_truth(name: str, query: str, hours: float) -> None:
    reading, truth = await poll(f"{name}+sim://?{query}", hours)
    assert reading.protocol == name
    # the truth is that of the end of the poll
    assert reading.cell_voltages == pytest.approx(truth.cell_voltages, abs=0.0031)
    if truth.voltage >= 1:
        assert reading.voltage == pytest.approx(truth.voltage, abs=0.051)
    assert reading.current == pytest.approx(truth.current, abs=0.051)
    assert reading.soc == pytest.approx(truth.soc, abs=0.051)
    assert reading.remaining_capacity == pytest.approx(truth.remaining_capacity, abs=0.051)
    assert reading.cycles == truth.cycles
    assert reading.temperatures["sensor_1"] == round(truth.temperatures["cell_1"])
    assert reading.temperatures["sensor_2"] == round(truth.temperatures["cell_2"])
    assert reading.temperatures["mosfet"] == round(truth.temperatures["mosfet"])
    assert reading.temperatures["board"] is None
    assert reading.charging_allowed == truth.charging_allowed
    assert reading.discharging_allowed == truth.discharging_allowed
    assert reading.balancing_active == truth.balancing_active
    assert reading.protections == truth.protections
    assert reading.alarms == truth.alarms
    assert reading.faults == truth.faults
    if name == "daly-p81":
        assert reading.uptime == int(truth.uptime)
        assert reading.heater is False


@each
async def test_a_balancing_pack(name: str) -> None:
    def lift(pack: Pack) -> None:
        for cell in (2, 8, 18):
            pack.set_cell_voltage(cell, 3.6)

    reading, truth = await poll(f"{name}+sim://?cells=20&load=idle", 0, lift)
    assert truth.balancing_cells == (2, 8, 18)
    assert reading.balancing_active is True
    assert reading.balancing_cells is None  # neither map says so for sure
    assert reading.balance_current == (0.5 if name == "daly-p81" else None)
    if name == "daly-p81":
        assert reading.raw["balance_words"] == [0x8200, 0x0200, 0]


@pytest.mark.parametrize(
    ("name", "severity", "condition"),
    [("daly-d2", s, c) for s, c in dict.fromkeys(FAILURES.values())]
    + [("daly-p81", s, c) for s, c in dict.fromkeys(FLAGS.values())]
    + [("daly-p81", "alarm", c) for c, _ in LEVELS.values()]
    + [("daly-p81", "protection", c) for c, trips in LEVELS.values() if trips],
)
async def test_every_condition_that_the_registers_can_say(
    name: str, severity: str, condition: Condition
) -> None:
    if condition is Condition.SOFTWARE_LOCK:
        return  # not raised, but switched: below
    reading, _ = await poll(
        f"{name}+sim://", 0, lambda pack: pack.raise_condition(severity, condition)
    )
    lists = {"alarm": reading.alarms, "protection": reading.protections, "fault": reading.faults}
    assert lists[severity] == (condition,)


@each
async def test_a_broken_probe(name: str) -> None:
    reading, _ = await poll(f"{name}+sim://", 0, lambda pack: pack.break_probe("cell_2"))
    assert reading.temperatures["sensor_2"] is None
    assert reading.faults == (Condition.TEMPERATURE_SENSE,)


@each
def test_identity(name: str) -> None:
    async def identify() -> Identity:
        async with bmslink.connect(
            f"{name}+sim://?cells=8&firmware=20_250101_AB12"
        ).board as device:
            return await device.identify()

    identity = virtual_run(identify())
    assert identity.vendor == "Daly"
    assert identity.firmware == "20_250101_AB12"
    assert identity.cell_count == 8
    assert identity.model
    assert identity.chemistry == ("lfp" if name == "daly-d2" else None)
    assert identity.serial_number == (None if name == "daly-d2" else "SIM25876360")


async def test_several_boards_on_one_line() -> None:
    reading, truth = await poll("daly-p81+sim://?address=7&cells=5")
    assert reading.cell_voltages == truth.cell_voltages
    device = DalyP81Responder(Pack(), address=7)
    assert ask(device, read_request(0x81, 0, 0x40)) is None
    frame = ask(device, read_request(0x87, 0, 0x40))
    assert frame is not None
    assert frame.unit == 0x57


@each
def test_a_poll_keeps_its_distance(name: str) -> None:
    async def timed() -> float:
        async with bmslink.connect(f"{name}+sim://").board as device:
            await device.read()
            start = asyncio.get_running_loop().time()
            await device.read()
            return asyncio.get_running_loop().time() - start

    requests = 2 if name == "daly-d2" else 3
    assert virtual_run(timed()) >= requests * 0.12


@each
async def test_faults_of_the_wire_are_survived(name: str) -> None:
    async def many(fault: str) -> None:
        async with bmslink.connect(f"{name}+sim://?cells=8&fault={fault}").board as device:
            for _ in range(5):
                try:
                    reading = await device.read()
                except LinkTimeout:
                    continue
                assert len(reading.cell_voltages) == 8
                assert all(3.0 < v < 3.6 for v in reading.cell_voltages if v is not None)

    for fault in ("corrupt", "cut", "glue", "noise", "duplicate", "late", "chunk"):
        await many(fault)


# -------------------------------------------------------------------------------- registers


@each
def test_unknown_registers_in_a_known_block(name: str) -> None:
    device = board(name)
    words = read(device, name, *LIVE[name])
    assert words is not None
    if name == "daly-d2":
        assert read(device, name, 0x44, 4) == [0xFFFF] * 3 + [0]
    else:
        assert read(device, name, 0x48, 4) == [0, 0xFFFF, 0xFFFF, words[0x0B]]


@each
def test_unknown_blocks_are_silent(name: str) -> None:
    device = board(name)
    gap = (0x57, 0x0C) if name == "daly-d2" else (0xD0, 0x10)
    for register, count in (gap, (0x1C3, 0x20), (0xF05, 2), (0xFFFF, 1)):
        assert read(device, name, register, count) is None
    assert read(device, name, 0, 0) is None
    assert read(device, name, 0, 126) is not None
    assert ask(device, read_request(UNITS[name][0], 0, 127)) is None


@each
def test_a_block_may_begin_and_end_anywhere(name: str) -> None:
    device = board(name)
    first, count = LIVE[name]
    whole = read(device, name, first, count)
    assert whole is not None
    for start in range(count):
        length = 1 + start % (count - start)
        part = read(device, name, first + start, length)
        assert part in (whole[start : start + length], None)


@each
def test_settings_are_those_of_the_pack(name: str) -> None:
    device = board(name, capacity=314, cells=16)
    driver = DRIVERS[name]
    codec = driver.make_codec(Options())
    block = SETTINGS[name]
    codec.decode(read_request(UNITS[name][0], *block), sent=True)
    words = read(device, name, *block)
    assert words is not None
    data = b"".join(word.to_bytes(2, "big") for word in words)
    values = codec.decode(RTUFrame(unit=UNITS[name][1], shape="data", data=data)).values
    for key in ("cell_ovp", "cell_uvp", "pack_ovp", "charge_otp", "balance_delta"):
        assert values[key] == pytest.approx(device.pack.settings[key], abs=0.051), key
    for key in ("charge_ocp", "discharge_ocp"):
        assert values[key] == pytest.approx(device.pack.settings[key], abs=0.051), key
    assert values["nominal_capacity"] == 314.0
    assert values["daly_board_1_cells"] == 16
    assert values["sleep_delay"] == 3600
    assert "implausible" not in values
    device.pack.settings["cell_ovp"] = 3.6
    assert 3600 in (read(device, name, *block) or [])


@each
def test_a_password_is_not_there(name: str) -> None:
    assert read(board(name), name, 0xC9 if name == "daly-d2" else 0x126, 3) is None


# --------------------------------------------------------------------------------- switches

REGISTERS = {
    "daly-d2": {0xA5: Switch.CHARGE, 0xA6: Switch.DISCHARGE},
    "daly-p81": {
        0x121: Switch.CHARGE,
        0x122: Switch.DISCHARGE,
        0x119: Switch.BALANCE,
        0xF6: Switch.BALANCE,
    },
}
EACH_SWITCH = [(name, r, s) for name, found in REGISTERS.items() for r, s in found.items()]


@pytest.mark.parametrize(("name", "register", "switch"), EACH_SWITCH)
def test_a_switch_is_written_and_echoed(name: str, register: int, switch: Switch) -> None:
    device = board(name)
    for on in (0, 1, 0):
        echo = ask(device, write(name, register, on))
        assert echo is not None
        assert (echo.shape, echo.unit) == ("write", UNITS[name][1])
        assert (echo.register, echo.count) == (register, on)
        assert device.pack.switches[switch] is bool(on)
        if register != 0xF6:  # written only
            assert read(device, name, register, 1) == [on]
    others = {s: on for s, on in device.pack.switches.items() if s is not switch}
    assert all(others.values())


@each
def test_several_switches_at_once_without_a_byte_count(name: str) -> None:
    device = board(name)
    first = min(r for r, s in REGISTERS[name].items() if s is Switch.CHARGE)
    request = RTUFrame(
        unit=UNITS[name][0],
        function=WRITE_MANY,
        shape="write_bare",
        register=first,
        count=2,
        data=b"\0\0\0\1",
    )
    done = ask(device, request)
    assert done is not None
    assert (done.shape, done.unit, done.register) == ("written", UNITS[name][1], first)
    assert done.count == (2 if name == "daly-d2" else 0xAAAA)
    assert device.pack.switches[Switch.CHARGE] is False
    assert device.pack.switches[Switch.DISCHARGE] is True
    mixed = request.replace(count=3, data=b"\0\1\0\0\0\0")
    assert ask(device, mixed) is None  # one register too many: nothing is written
    assert device.pack.switches[Switch.DISCHARGE] is True


@each
def test_other_writes_do_nothing(name: str) -> None:
    device = board(name)
    first = min(REGISTERS[name])
    before = dict(device.pack.settings), dict(device.pack.switches)
    for register, value in ((first, 2), (first, 0xFFFF), (0x28, 1), (0x12E, 1), (0xF1, 1)):
        assert ask(device, write(name, register, value)) is None
    assert (device.pack.settings, device.pack.switches) == before


@each
async def test_switched_off_is_a_state_and_no_protection(name: str) -> None:
    reading, _ = await poll(
        f"{name}+sim://", 0, lambda pack: pack.switch(Switch.DISCHARGE, on=False)
    )
    assert reading.alarms == (Condition.SOFTWARE_LOCK,)
    assert reading.protections == reading.faults == ()
    assert reading.discharging_allowed is False
    assert reading.charging_allowed is True


# ------------------------------------------------------------------------------ hostile input


@each
def test_a_torn_request_does_not_swallow_the_next(name: str) -> None:
    device = board(name)
    framer = device.dialect.framer()
    request = framer.encode(read_request(UNITS[name][0], *LIVE[name]))
    long_write = bytes((UNITS[name][0], WRITE_MANY, 0, 0, 0, 100))
    for torn in (*(request[:n] for n in range(len(request))), long_write):
        assert device.receive(torn) == []
        assert len(device.receive(request)) == 1, torn.hex()


@each
def test_damaged_requests_are_not_answered(name: str) -> None:
    first = min(REGISTERS[name])
    for request in (read_request(UNITS[name][0], *LIVE[name]), write(name, first, 0)):
        raw = DRIVERS[name].make_framer().encode(request)
        for bit in range(8 * len(raw)):
            device = board(name)
            damaged = bytearray(raw)
            damaged[bit // 8] ^= 1 << bit % 8
            assert device.receive(bytes(damaged)) == []
            assert all(device.pack.switches.values())


@each
def test_answers_of_other_boards_are_not_answered(name: str) -> None:
    device = board(name)
    answer = RTUFrame(unit=UNITS[name][1], shape="data", data=bytes(20))
    assert ask(device, answer) is None


@each
def test_junk_breaks_nothing(name: str) -> None:
    draw = random.Random(7)
    device = board(name)
    request = device.dialect.framer().encode(read_request(UNITS[name][0], *LIVE[name]))
    for _ in range(200):
        device.receive(draw.randbytes(draw.randrange(300)))
        assert device.receive(request)
    assert all(device.pack.switches.values())


def test_what_no_board_can_be() -> None:
    with pytest.raises(TargetError, match="no address"):
        DalyD2Responder(Pack(), address=1)
    for address in (0, 25):
        with pytest.raises(TargetError, match="1 to 24"):
            DalyP81Responder(Pack(), address=address)
    for make in (DalyD2Responder, DalyP81Responder):
        for firmware in ("", "x" * 15, "grün", "a b"):
            with pytest.raises(TargetError, match="firmware"):
                make(Pack(), firmware=firmware)


@each
def test_what_a_register_cannot_hold_is_absent(name: str) -> None:
    device = board(name, capacity=9000, soc=90.0)
    words = read(device, name, *LIVE[name])
    assert words is not None
    assert words[(0x30 if name == "daly-d2" else 0x4B) - LIVE[name].register] == 0xFFFF
