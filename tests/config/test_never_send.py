"""What bricks, calibrates, erases, locks or flashes a board cannot be made to be sent.

`forbidden` is the list of the fact sheets, by literal bytes and without any of our own tables.
Everything that our public calls can make is held against it: every setting of every board with
every kind of value, switches, clocks, sessions, rehearsals, and settings that somebody forged.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from construct import Bytes, Int16ub, Struct
from hypothesis import example, given, settings
from hypothesis import strategies as st

import bmslink
from bmslink.board import Board
from bmslink.config import WAIVERS, apply, draft, draft_undo, undo
from bmslink.errors import BmsError, SettingError
from bmslink.link.capture import open_capture
from bmslink.link.link import Link
from bmslink.link.transport import parse_target
from bmslink.model import Adjustment, Command, Switch
from bmslink.places import place_of, where
from bmslink.protocols import DRIVERS, load_driver
from bmslink.protocols.abilities import can_switch, clock_soc_of, settings_of, switches_of
from bmslink.protocols.base import Driver, Options
from bmslink.protocols.common.settings_map import SeenSettings, SettingsMap, Slot, check_writable
from bmslink.settings.setting import Evidence, Setting, Value
from bmslink.simulation.transport import SimTransport
from bmslink.storage.journal import Journal, Transaction
from known_boards import BOARDS, SILENT, frame_of, met
from support import virtual_run

# ------------------------------------------------------------------------- the fact sheets' lists

JBD_WRITES = frozenset((
    *range(0x02, 0x10),  # 06, 07, 09 PIN; 0A control; 0B history; 0E restart; 0F factory word
    *range(0x14, 0x18),  # dates, serial number, cycles: the maker's and the battery's history
    0x2C, 0x2E, 0x2F, 0x30,  # shunt, probes, cell count, FET control time
    0x38, 0x39,  # short circuit, by a chip that nobody knows
    0x40, 0x41,  # GPS
    *range(0x48, 0xE1),  # strings A0-A2, calibration B0-CF, D0-D7, AD-AF, counters AA, capacity E0
    *range(0xE2, 0x100),  # balance test, resets, FA parameters, FB, FC, F6 and what else there is
))  # fmt: skip
JK_NATIVE = frozenset((
    0x40,  # another tool sends it, no firmware has it
    0x64, 0x67,  # calibrations of 32S boards
    0x65, 0x66, 0x68, 0x69, 0x6A, 0x6B,  # off, restart, presets over all limits, emergency
    *range(0x98, 0xA1), 0xA2, 0xA3, 0xA4,  # reset, names, passwords, user data, erase
    0xA5, 0xA6, 0xA8, 0xB6,  # protocols of its ports
    0xFF,  # boot loader
))  # fmt: skip
JK_24S = JK_NATIVE | {0x21, 0x24, *range(0x27, 0x40)}  # calibrations, wire resistances
JK04 = (JK_NATIVE | {0x44, 0x58, 0x5C}) - {0x64, 0x68}  # calibration, an unsure one
JK_TABLE = range(0x1000, 0x1126)
NW_TAGS = (0xAB, 0xAC)
A5_IDS = frozenset((
    *range(0x10),  # 00 restart, 06 factory mode, 08 and others unknown
    0x11, 0x12, *range(0x14, 0x19), 0x22,  # wiring, counters, texts, board number
    *range(0x23, 0x50),  # heater, balancer, inverter, serial number, levels, compensation
    *range(0xD0, 0xD9), *range(0xDB, 0x100),  # calibrations, tests, sleep, logs, acceleration
))  # fmt: skip
D2_REGISTERS = frozenset((
    *range(0x80),  # live values; 0C and 0D are said to switch, and do nothing
    *range(0x82, 0x89),  # wiring
    0xA7, 0xA8,  # live charge, unsure temperature
    *range(0xA9, 0xD4),  # texts, password, dates, server
    *range(0xD7, 0x10000),  # F0 restart, F1 off, F2 calibration, F3 reset, and the other map
))  # fmt: skip
P81_REGISTERS = frozenset((
    *range(0x100),  # live values, F0 restart, F6 and F7 that nobody can read back
    *range(0x100, 0x109), 0x10B, 0x10C,  # address and wiring
    *range(0x10D, 0x114),  # counters, what is not known
    0x116, 0x118,  # live charge
    *range(0x11C, 0x121), *range(0x126, 0x130),  # unknown, password, dates, 12E forced closure
    *range(0x16A, 0x16E), *range(0x16F, 0x1FB), *range(0x1FC, 0x227),  # unsure, texts, heartbeat
    *range(0x22B, 0x10000),  # F05 upgrade and what else there is
))  # fmt: skip


def forbidden(name: str, raw: bytes) -> str | None:
    """Why a frame must never be sent to this kind of board; `None` where nothing speaks against
    it. Reads bytes, and nothing of ours."""
    protocol = BOARDS[name].protocol if name in BOARDS else name
    return _FORBIDDEN[protocol](name, raw)


def _jbd(name: str, raw: bytes) -> str | None:
    if raw[0] != 0xDD or raw[1] not in (0xA5, 0x5A):
        return "a frame of the Bluetooth module, or an addressed one"
    code, data = raw[2], raw[4:-3]
    if raw[1] == 0xA5:
        return None
    if code in JBD_WRITES:
        return f"write {code:02X}"
    if code in (0x00, 0x01):
        known = data in (b"\x56\x78",) if code == 0 else data in (b"\0\0", b"\x28\x28")
        return None if known else "an unknown key"
    if code == 0xE1:
        return None if len(data) == 2 and data[0] == 0 and data[1] < 4 else "an unknown lock"
    return None if len(data) == 2 else "a register of another length"


def _native(name: str, raw: bytes) -> str | None:
    assert raw[:4] == b"\xaa\x55\x90\xeb"
    assert len(raw) == 20
    banned = {"jk02-24s": JK_24S, "jk04": JK04}.get(name, JK_NATIVE)
    return f"command {raw[4]:02X}" if raw[4] in banned and raw[4] not in (0x96, 0x97) else None


def _modbus(name: str, raw: bytes) -> str | None:
    register = int.from_bytes(raw[2:4], "big")
    if raw[0] == 0:
        return "a broadcast"
    if raw[1] == 3:
        return None
    if raw[1] != 0x10 or register not in JK_TABLE:
        return f"write {register:04X}"
    end = register + 2 * int.from_bytes(raw[4:6], "big")
    return None if end <= JK_TABLE.stop + 2 else "beyond the settings"


def _bus(name: str, raw: bytes) -> str | None:
    known = (b"\x10\x16\x1c", b"\x10\x16\x1e", b"\x10\x16\x20")
    return None if raw[1:4] in known and raw[4:9] == b"\0\1\2\0\0" and raw[0] else "a write"


def _nw(name: str, raw: bytes) -> str | None:
    command, data = raw[8], raw[11:-9]
    if command in (3, 6):
        return None
    switch = command == 2 and len(data) == 2 and data[0] in NW_TAGS and data[1] < 2
    return None if switch else f"command {command:02X} of {data[:1].hex()}"


def _a5(name: str, raw: bytes) -> str | None:
    return f"id {raw[2]:02X}" if raw[2] in A5_IDS else None


def _registers(name: str, raw: bytes) -> str | None:
    d2 = name.startswith("daly-d2")
    banned = D2_REGISTERS if d2 else P81_REGISTERS
    if not (raw[0] == 0xD2 if d2 else 0x81 <= raw[0] <= 0x98):
        return "a broadcast, or somebody else's board"
    if raw[1] == 3:
        return None
    first = int.from_bytes(raw[2:4], "big")
    count = int.from_bytes(raw[4:6], "big") if raw[1] == 0x10 else 1
    for register in range(first, first + count):
        if register in banned:
            return f"write {register:04X}"
    return None


def _up(name: str, raw: bytes) -> str | None:
    return None if raw[1] in (0x78, 0x45) else f"function {raw[1]:02X}"


def _sinowealth(name: str, raw: bytes) -> str | None:
    return None if raw[0] == 0x0A and raw[1] < 0x19 else "not a question"


_FORBIDDEN: dict[str, Callable[[str, bytes], str | None]] = {
    "jbd": _jbd,
    "jbd-up": _up,
    "jk02": _native,
    "jk04": _native,
    "jk-modbus": _modbus,
    "jk-bus": _bus,
    "jk-nw": _nw,
    "daly-a5": _a5,
    "daly-d2": _registers,
    "daly-p81": _registers,
    "daly-sinowealth": _sinowealth,
}


def test_every_protocol_has_its_list() -> None:
    assert _FORBIDDEN.keys() == DRIVERS.keys()
    assert {board.protocol for board in BOARDS.values()} | {*SILENT} == DRIVERS.keys()


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("jbd", "dd5a2c020002ffd077"),
        ("jbd", "dd5a0a021881ff5b77"),
        ("jbd", "dd5ae3024321feb777"),
        ("jbd", "dd5a0907064a31423244 34fe8377"),
        ("jbd", "ffaa0703 58595a15"),
        ("jk-modbus", "01101626000102 0000d697"),
        ("jk-modbus", "00101078000204 0000000037a9"),
        ("jk04", "aa5590eb440466ef40406b4e58a47af6397058bd"),
        ("daly-p81", "8106012e0001363f"),
        ("daly-d2", "d20600cf0000aa56"),
        ("daly-a5", "a540d4080000000000000000c1"),
        ("jk-nw", "4e57001400000000020300bb0000000000680000 01d1"),
        ("jbd-up", "017920062008000611 4a42442710427a"),
    ],
)
def test_the_lists_know_the_recorded_horrors(name: str, raw: str) -> None:
    assert forbidden(name, bytes.fromhex(raw))


# ------------------------------------------------------------------------------- every setting

each_board = pytest.mark.parametrize("name", BOARDS)
FILLINGS = (b"\0", b"\xff", b"\x5a", b"\x01")


def choices_of(row: Setting) -> Sequence[Value]:
    """What can be asked for: both ends and the middle, and every word."""
    if row.kind == "switch":
        return (False, True)
    if row.kind == "choice":
        return tuple(row.choices.values())
    low, high = row.minimum or 0.0, row.maximum or 0.0
    return (low, (low + high) / 2, high)


def frames_for(name: str, image: dict[int, bytes], wanted: dict[str, Value]) -> Iterator[bytes]:
    """The frames of a change, as the plan makes them and the device sends them."""
    board = BOARDS[name]
    for address, data in board.map.encode(image, wanted).items():
        yield frame_of(name, board.map.by_address[address], data, image[address])


@each_board
def test_no_setting_with_any_value(name: str) -> None:
    board = BOARDS[name]
    sent = 0
    images = [
        {s.address: filling * s.layout.sizeof() for s in board.map.slots} for filling in FILLINGS
    ]
    for row, image in itertools.product(board.map.settings, images):
        for value in choices_of(row):
            if not row.writable or board.map.read_only_reason:
                with pytest.raises(SettingError):
                    list(frames_for(name, image, {row.key: value}))
                continue
            for raw in frames_for(name, image, {row.key: value}):
                assert forbidden(name, raw) is None, f"{row.key} = {value}: {raw.hex(' ')}"
                sent += 1
    assert bool(sent) is bool(board.slots())


WRONG = (-1e9, 1e9, float("nan"), float("inf"), -0.5e-3, 10**400, None, "", "on", b"1", [1], {})


@each_board
def test_no_value_beyond_the_limits_or_of_another_kind(name: str) -> None:
    board = BOARDS[name]
    image = {s.address: bytes(s.layout.sizeof()) for s in board.map.slots}
    for row in board.map.settings:
        wrong = [True, *WRONG] if row.kind == "number" else [0, 1, 0.0, *WRONG]
        for value in wrong:
            if value == -0.5e-3 and row.kind == "number" and (row.minimum or 0.0) < 0:
                continue  # of a temperature it is a value
            with pytest.raises(SettingError):
                board.map.encode(image, {row.key: value})


@st.composite
def changes(draw: st.DrawFn) -> tuple[str, dict[int, bytes], dict[str, Value]]:
    """A board, what it holds, and several wishes at once."""
    name = draw(st.sampled_from([n for n, board in BOARDS.items() if board.slots()]))
    board = BOARDS[name]
    filling = draw(st.binary(min_size=1, max_size=16))
    image = {s.address: (filling * s.layout.sizeof())[: s.layout.sizeof()] for s in board.map.slots}
    writable = [row for row in board.map.settings if row.writable]
    rows = draw(st.lists(st.sampled_from(writable), max_size=9))
    return name, image, {row.key: draw(value_of(row)) for row in rows}


def value_of(row: Setting) -> st.SearchStrategy[Value]:
    if row.kind != "number":
        return st.sampled_from(choices_of(row))
    return st.floats(row.minimum or 0.0, row.maximum or 0.0)


@given(changes())
def test_no_change_of_several_settings(
    change: tuple[str, dict[int, bytes], dict[str, Value]],
) -> None:
    name, image, wanted = change
    for raw in frames_for(name, image, wanted):
        assert forbidden(name, raw) is None, raw.hex(" ")


@given(st.integers(0, 0xFFFF), st.sets(st.integers(0, 5)))
def test_of_jbd_function_bits_only_the_known_ones_change(word: int, chosen: set[int]) -> None:
    """Bit 12 makes every current count tenfold; 6 to 15 mean different things to different
    boards."""
    settings_map = BOARDS["jbd"].map
    rows = [r for r in settings_map.settings if r.slot == 0x2D and r.writable and r.bit in chosen]
    held = settings_map.decode({0x2D: word.to_bytes(2, "big")})
    wanted = {row.key: not held[row.key] for row in rows}
    new = settings_map.encode({0x2D: word.to_bytes(2, "big")}, wanted).get(0x2D)
    assert (word if new is None else int.from_bytes(new, "big")) ^ word == sum(
        1 << bit for bit in chosen
    )


# ----------------------------------------------------------------------------- forged settings


def forgeries(name: str) -> Iterator[tuple[int, int]]:
    """Addresses with sizes: every one that a single byte can name, the neighbours of all real
    ones, and all that the lists name beyond."""
    board = BOARDS[name]
    real = {s.address for s in board.map.slots}
    near = {at + step for at in real for step in (-2, -1, 0, 1, 2)}
    far = {*range(0x1600, 0x1630), *range(0x12A, 0x130), 0xF05, 0x174, 0x2006, 0x2902, 0xFFFF}
    for address in sorted({*range(0x100), *near, *far}):
        for size in (0, 1, 2, 3, 4, 8):
            yield address, size


@each_board
def test_no_forged_setting(name: str) -> None:
    """A slot that is no setting of this board, or of another size, makes no frame."""
    board = BOARDS[name]
    writable = {(s.address, s.layout.sizeof()) for s in board.slots()}
    for address, size in forgeries(name):
        forged = Slot(address=address, layout=Struct("anything" / Bytes(size)))
        for filling in (b"\0", b"\1"):
            try:
                raw = frame_of(name, forged, filling * size)
            except SettingError:  # by its value at least: another test asks for good ones
                pass
            else:
                assert (address, size) in writable, f"{address:04X} with {size} bytes"
                assert forbidden(name, raw) is None, raw.hex(" ")


def unmet(protocol: str, options: Options | None = None) -> Driver[Any]:
    """A driver that has never heard of its board."""
    kind = load_driver(protocol)
    line = SimTransport(parse_target(f"sim://{protocol}"))
    return kind(Link(line, kind.make_framer(), kind.timing), options or Options())


def test_no_register_of_a_jk_board_whose_kind_is_not_known() -> None:
    """25 is a delay on one, the pre-charge time on the other; 21 calibrates the first."""
    driver = unmet("jk02")
    for name in ("jk02-24s", "jk02-32s"):
        for slot in BOARDS[name].slots():
            with pytest.raises(SettingError):
                driver.settings.write_command(slot, bytes(slot.layout.sizeof()))


def test_no_register_behind_an_address_of_jbd() -> None:
    driver = unmet("jbd", Options(address=1))
    for slot in BOARDS["jbd"].slots():
        with pytest.raises(SettingError):
            driver.settings.write_command(slot, bytes(2))


@pytest.mark.parametrize("protocol", [*SILENT, "jbd-up"])
def test_nothing_at_all_where_nothing_is_proven(protocol: str) -> None:
    driver = unmet(protocol)
    slot = Slot(address=0x24, layout=Struct("cell_ovp" / Bytes(2)))
    with pytest.raises(SettingError):
        settings_of(driver).write_command(slot, bytes(2))
    for switch in Switch:
        assert not can_switch(driver, switch).supported
        with pytest.raises(SettingError):
            virtual_run(switches_of(driver).command(Command(switch, True)))
    with pytest.raises(SettingError):
        virtual_run(clock_soc_of(driver).command(Adjustment(soc=50.0)))


@each_board
def test_no_switch_that_a_protocol_does_not_have(name: str) -> None:
    """JBD's lock of the discharge FET is not what balancing means."""
    driver = met(BOARDS[name].target)
    for switch, on in itertools.product(Switch, (False, True)):
        if not can_switch(driver, switch).supported:
            with pytest.raises(SettingError):
                virtual_run(switches_of(driver).command(Command(switch, on)))


@pytest.mark.parametrize("soc", [-0.1, 100.1, 6553.5, 1e300, float("nan"), float("inf")])
def test_no_state_of_charge_that_cannot_be(soc: float) -> None:
    driver = met(BOARDS["daly-a5"].target)
    with pytest.raises(SettingError):
        virtual_run(driver.clock_soc.command(Adjustment(clock=NOON, soc=soc)))


# ------------------------------------------------------------------------------- public calls

LFP = {"chemistry": "lfp"}
NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)

TARGETS = sorted({b.target for b in BOARDS.values()} | {f"sim://{name}" for name in SILENT})


async def attempt(call: Awaitable[Any]) -> Any:
    """A public call that this board may refuse, with one of our own errors."""
    try:
        return await call
    except BmsError:
        return None


async def everything(device: Board, transaction: Transaction) -> list[bytes]:
    """Every public call that can send; gives the frames of the rehearsals."""
    held: list[bytes] = []
    await device.identify()
    await device.read()
    table = await attempt(device.settings())
    wishes = [Adjustment(clock=NOON), Adjustment(soc=55.0), Adjustment(clock=NOON, soc=55.0)]
    commands = [Command(switch, on) for switch in Switch for on in (False, True)]
    for wish in wishes:
        held += await attempt(device.rehearse([], adjustment=wish)) or []
        await attempt(device.adjust(wish, transaction))
    for command in commands:
        held += await attempt(device.rehearse([], command=command)) or []
        await attempt(device.send(command, transaction))
    forged = Slot(address=0x1626, layout=Struct("boot" / Bytes(2)))
    held += await attempt(device.rehearse([(forged, bytes(2))])) or []
    if table is None:
        return held
    held += await device.rehearse([])
    for slot in table.map.slots:
        raw = table.image.get(slot.address)
        if raw is not None:
            held += await attempt(device.rehearse([(slot, raw)])) or []
    async with device.writing():
        await attempt(device.store(table.map, forged, bytes(2), transaction))
        for slot in table.map.slots:
            if slot.address in table.image:
                again = table.image[slot.address]
                await attempt(device.store(table.map, slot, again, transaction))
    for end in (0, -1):
        wanted = {row.key: choices_of(row)[end] for row in table.map.settings}
        plan = await attempt(draft(device, wanted, waive=WAIVERS))
        held += list(plan.frames) if plan else []
    return held + await going_back(device)


async def going_back(device: Board) -> list[bytes]:
    """A change that this board takes, and undone; gives the frames of the plans."""
    table, held = await device.settings(), []
    for row in table.map.settings:
        now = table.values()[row.key]
        if row.kind != "number" or not row.writable or not isinstance(now, float):
            continue
        plan = await attempt(draft(device, {row.key: now + row.step}, waive=WAIVERS, **LFP))
        if plan and plan.changes and not plan.blocked and await attempt(apply(device, plan)):
            back = await draft_undo(device, waive=WAIVERS, **LFP)
            assert (await undo(device, waive=WAIVERS, **LFP)).result == "done"
            assert not table.map.differing(table.image, (await device.settings()).image)
            return [*held, *plan.frames, *back.frames]
    assert table.map.read_only_reason or device.driver.name in ("jk-nw", "jk-bus"), "nothing undone"
    return held


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_no_public_call(target: str, tmp_path: Path) -> None:
    """All that goes out, as recorded, and all that rehearsals show."""
    path = tmp_path / "all.jsonl"
    journal = Journal(tmp_path)

    async def main() -> tuple[str, list[bytes]]:
        with path.open("wb") as record:
            async with bmslink.connect(target, record=record).board as device:
                transaction = journal.begin(target, {}, [])
                return device.driver.name, await everything(device, transaction)

    protocol, held = virtual_run(main())
    name = next((n for n, board in BOARDS.items() if board.target == target), protocol)
    _, pieces = open_capture(path)
    sent = [piece.data for piece in pieces if piece.sent]
    assert sent
    for raw in (*sent, *held):
        assert forbidden(name, raw) is None, raw.hex(" ")
    if name in BOARDS and BOARDS[name].slots():
        assert len(held) > len(BOARDS[name].slots()) / 2  # it did rehearse


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, board in BOARDS.items() if board.slots()])
def test_no_undo_of_a_record_that_somebody_forged(name: str, tmp_path: Path) -> None:
    """Its checksums are right, and it says of every slot that other bytes were in it before."""
    board, journal = BOARDS[name], Journal(tmp_path)

    async def main(filling: bytes) -> list[bytes]:
        async with bmslink.connect(board.target).board as device:
            identity = await device.identify()
            table = await attempt(device.settings())
            if table is None:
                return []
            changes = []
            for address, raw in table.image.items():
                old = (filling * len(raw))[: len(raw)]
                changes.append({"slot": address, "old": old.hex(), "new": raw.hex()})
            place = where(device).to_dict()
            pack = {"vendor": identity.vendor, "firmware": identity.firmware}
            begun = journal.begin(
                place_of(device.target), pack, changes, place=place, map=table.map.name
            )
            begun.end("done")
            plan = await attempt(draft_undo(device, waive=WAIVERS, journal=journal, **LFP))
            if plan is None:
                return []
            for change in plan.changes:
                rows = [r for r in table.map.settings if r.slot == change.slot and r.writable]
                assert rows and not table.map.read_only_reason
            return list(plan.frames)

    frames = [raw for filling in FILLINGS[:2] for raw in virtual_run(main(filling))]
    assert frames or name == "jk-nw"
    assert [raw for raw in frames if forbidden(name, raw) is not None] == []


@each_board
def test_a_switch_that_is_a_setting_is_one(name: str) -> None:
    board = BOARDS[name]
    for switch in Switch:
        able = can_switch(met(board.target), switch)
        if not able.supported and "it is a setting here" in able.reason:
            assert able.reason.endswith(f"{switch}_switch")
            assert f"{switch}_switch" in board.map.by_key


# ---------------------------------------------------------------------- tables that were made up


def opened(row: Setting) -> Setting:
    """The row as somebody may replace it: all of it may be written, with any value."""
    return replace(
        row,
        reason="",
        evidence=Evidence.CAPTURE,
        minimum=None,
        maximum=None,
        absent=(),
        lowest=None,
    )


@st.composite
def forged_bytes(draw: st.DrawFn) -> tuple[str, Slot, bytes, bytes | None]:
    """A real address, any bytes for it, and what the board holds there, if that was read."""
    name = draw(st.sampled_from([n for n, board in BOARDS.items() if board.slots()]))
    slot = draw(st.sampled_from(BOARDS[name].map.slots))
    size = slot.layout.sizeof()
    data = draw(st.binary(min_size=size, max_size=size))
    return name, slot, data, draw(st.none() | st.binary(min_size=size, max_size=size))


@pytest.mark.slow
@given(forged_bytes())
@example(("jk-nw", BOARDS["jk-nw"].map.by_address[0xAB], b"\x02", b"\x02"))
@settings(max_examples=400)
def test_no_bytes_that_the_shipped_table_does_not_allow(
    forged: tuple[str, Slot, bytes, bytes | None],
) -> None:
    """Whatever encodes them: what is no setting stays as the board holds it, and what is one is
    within its limits, or as the board holds it."""
    name, slot, data, held = forged
    settings_map = BOARDS[name].map
    try:
        raw = frame_of(name, slot, data, held)
    except BmsError:
        return
    assert forbidden(name, raw) is None
    fields, before = slot.values(data), {} if held is None else slot.values(held)
    rows = [r for r in settings_map.settings if r.slot == slot.address and r.writable]
    assert rows
    for field, value in fields.items():
        own = [r for r in rows if r.field == field]
        if not own and not field.startswith(("reserved", "residue")):
            assert value == before[field]
        elif own and own[0].bit is not None:
            assert (value ^ before[field]) & ~sum(1 << (r.bit or 0) for r in own) == 0
        elif own and value != before.get(field):
            own[0].check(settings_map.decode({slot.address: data})[own[0].key])


@pytest.mark.slow
@each_board
def test_no_row_that_was_replaced(name: str) -> None:
    """With every row opened and every value asked for that its wire can hold."""
    board = BOARDS[name]
    wide = replace(
        board.map, read_only_reason="", settings=tuple(opened(r) for r in board.map.settings)
    )
    for slot, filling in itertools.product(board.map.slots, FILLINGS):
        held = (filling * slot.layout.sizeof())[: slot.layout.sizeof()]
        for row in (r for r in wide.settings if r.slot == slot.address):
            for value in (0.0, 1.0, 5.0, 120.0, 255.0, 65535.0, True, False):
                try:
                    new = wide.encode({slot.address: held}, {row.key: value}).get(slot.address)
                except BmsError:
                    continue
                if new is None:
                    continue
                real = board.map.by_key[row.key]
                try:
                    frame_of(name, slot, new, held)
                except SettingError:
                    continue
                assert not board.map.read_only_reason
                bits = [r for r in board.map.settings if r.field == row.field and r.bit is not None]
                if bits:  # a word of switches: only those that are settings can have changed
                    mask = sum(1 << (r.bit or 0) for r in bits if r.writable)
                    assert (int.from_bytes(new, "big") ^ int.from_bytes(held, "big")) & ~mask == 0
                    continue
                assert real.writable, f"{row.key} = {value}"
                real.check(board.map.decode({slot.address: new})[row.key])


async def test_no_shunt_and_no_function_word_of_a_plan_with_other_rows(tmp_path: Path) -> None:
    """By `draft` and `apply`, and by `Slot.encode` and `Device.store`."""
    attacks = (
        ("sim://daly-a5", 0x60, "daly_shunt_resistance", 0.00065),
        ("sim://jbd?firmware=2.1", 0x2D, "jbd_function_bits", 65535.0),
        ("sim://jbd?firmware=2.1", 0x24, "cell_ovp", 9.0),
    )

    async def attack(target: str, address: int, key: str, value: float) -> None:
        path, journal = tmp_path / f"{key}.jsonl", Journal(tmp_path)
        with path.open("wb") as record:
            async with bmslink.connect(target, record=record).board as device:
                table = await device.settings()
                wide = replace(table.map, settings=tuple(opened(row) for row in table.map.settings))
                slot = table.map.by_address[address]
                new = slot.encode(
                    table.image[address], {key: int(value) if "bits" in key else value}
                )
                async with device.writing():
                    with pytest.raises(SettingError):
                        transaction = journal.begin(target, {}, [])
                        await device.store(wide, slot, new, transaction)
                    transaction.end("refused")
                with pytest.raises(BmsError):
                    await draft(device, {key: value}, settings=wide, waive=WAIVERS, journal=journal)
                good = await draft(device, {}, waive=WAIVERS, journal=journal)
                for raw in (None, {address: new}):
                    forged = replace(
                        good,
                        table=replace(table, map=wide),
                        wanted={} if raw else {key: value},
                        raw=raw,
                        checks=(),
                    )
                    with suppress(BmsError):
                        await apply(device, forged, confirm=lambda plan: True, journal=journal)
                assert (await device.settings()).image[address] != new
        sent = [piece.data for piece in open_capture(path)[1] if piece.sent]
        assert new not in [data[4:-3] if "jbd" in target else data[4:12] for data in sent]

    for each in attacks:
        await attack(*each)


def test_what_is_vouched_for_lifts_limits_and_opens_nothing() -> None:
    """A factory value outside our limits may come back; a shunt may not."""
    for name, address, field, value, may in (
        ("jbd", 0x24, "cell_ovp", 4.8, True),
        ("jbd", 0x2C, "jbd_shunt", 7, False),
        ("jbd", 0x2D, "jbd_function_bits", 0xFFFF, False),
        ("daly-a5", 0x60, "daly_shunt_resistance", 0.00065, False),
        ("daly-a5", 0x59, "cell_ovp", 6.0, True),
    ):
        slot = BOARDS[name].map.by_address[address]
        held = bytes(slot.layout.sizeof())
        data = slot.encode(held, {field: value})
        driver = met(BOARDS[name].target)
        with pytest.raises(SettingError):
            frame_of(name, slot, data, held)
        with driver.settings.seen.vouching({address: data}):
            if may:
                assert driver.settings.write_command(slot, data)
            else:
                with pytest.raises(SettingError):
                    driver.settings.write_command(slot, data)
        with pytest.raises(SettingError):
            driver.settings.write_command(slot, data)


@pytest.mark.counted
def test_the_last_look_refuses_a_locked_table_and_bytes_without_a_meaning() -> None:
    row = Setting(
        key="cell_ovp", title="", slot=1, unit="V", minimum=1, maximum=5, evidence=Evidence.CAPTURE
    )
    slot = Slot(address=1, layout=Struct("cell_ovp" / Int16ub, "reserved" / Bytes(2)))
    table = SettingsMap(name="x", evidence="", slots=(slot,), settings=(row,))
    check_writable(table, 1, b"\0\4\0\0", SeenSettings())
    for shipped, data, told in (
        (table, b"\0\4\1\0", "bytes without a meaning must be 0"),
        (table, b"\0\4\0", "4 bytes long, not 3"),
        (table, b"\0\6\0\0", "cell_ovp"),
        (
            replace(table, read_only_reason="nobody wrote it"),
            b"\0\4\0\0",
            "read-only: nobody wrote it",
        ),
        (replace(table, settings=()), b"\0\4\0\0", "not one that is ever written"),
    ):
        with pytest.raises(SettingError, match=told):
            check_writable(shipped, 1, data, SeenSettings())
