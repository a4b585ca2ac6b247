"""The matrix: every dialect, every quirk, every command. `cells` lists it.

`hostile.world` runs a cell, `hostile.judge` says whether its command was truthful.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hostile.board import Board
from hostile.line import BOARDS

__all__ = [
    "COMMANDS",
    "DIALECTS",
    "NOT_LOOKED_FOR",
    "OPEN_CELLS",
    "QUIRKS",
    "READING",
    "Cell",
    "Command",
    "Dialect",
    "Memory",
    "all_asked",
    "asked_of",
    "cells",
    "open_cells",
    "quick_part",
]

Memory = dict[int, bytes]

OPEN_CELLS = Path(__file__).parent / "open_cells.txt"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What is asked of a board: setting -> (text for the command line, its register, its bytes)."""

    asked: dict[str, tuple[str, int, bytes]]
    charge: tuple[int, bytes, bytes]
    """The register of the charge switch, and its bytes for on and off."""
    words: dict[str, str] = field(default_factory=dict)
    """What the quirks' `{neighbour}` and so on are called here."""
    follows: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """What goes with the limits where a profile asks for them: setting -> its register, its
    bytes."""


def _number(number: int, size: int = 2) -> bytes:
    return number.to_bytes(size, "big")


DIALECTS: dict[str, Dialect] = {
    "jbd": Dialect(
        {
            "cell_ovp": ("3.62", 0x24, _number(3620)),
            "charge_otp": ("62", 0x18, _number(2731 + 620)),
            "balance_start_voltage": ("3.39", 0x2A, _number(3390)),
        },
        (0xE1, b"\0\0", b"\0\1"),
        {"wiring": "shunt"},
    ),
    "daly-d2": Dialect(
        {
            "cell_ovp": ("3.59", 0x8C, _number(3590)),
            "charge_otp": ("64", 0x98, _number(104)),
            "balance_start_voltage": ("3.39", 0xA3, _number(3390)),
        },
        (0xA5, b"\0\1", b"\0\0"),
        {"wiring": "boards"},
        {
            "cell_ovp_warning": (0x8B, _number(3490)),
            "charge_otp_warning": (0x97, _number(99)),
        },
    ),
    "jk-modbus": Dialect(
        {
            "cell_ovp": ("3.61", 0x100C, _number(3610, 4)),
            "charge_otp": ("34", 0x104C, _number(340, 4)),
            "balance_start_voltage": ("3.43", 0x1084, _number(3430, 4)),
        },
        (0x1070, _number(1, 4), _number(0, 4)),
        {"wiring": "device_address"},
    ),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """The quirks of a row."""

    kind: str
    """What the board does, for the page."""
    quirks: str


QUIRKS: dict[str, Recipe] = {
    "none": Recipe("nothing: a healthy board", ""),
    "late by one": Recipe("answers late by one", "late-by-one"),
    "late by one after 5": Recipe("answers late by one", "late-by-one=after:5"),
    "late by one after 12": Recipe("answers late by one", "late-by-one=after:12"),
    "late by one after 24": Recipe("answers late by one", "late-by-one=after:24"),
    "late 0.35 s": Recipe("answers late by a time", "late=seconds:0.35"),
    "late 0.7 s": Recipe("answers late by a time", "late=seconds:0.7"),
    "late 1.6 s": Recipe("answers late by a time", "late=seconds:1.6"),
    "late 0.9 s for a while": Recipe("answers late by a time", "late=seconds:0.9,first:8,last:14"),
    "answers twice": Recipe("answers twice", "answers-twice"),
    "answers twice, 0.4 s apart": Recipe("answers twice", "answers-twice=seconds:0.4"),
    "garbage before": Recipe("noise around answers", "garbage=before:yes"),
    "garbage after": Recipe("noise around answers", "garbage=before:no,every:3"),
    "flickers": Recipe("reads differ from what is held", "flickers=register:cell_uvp,add:40"),
    "shows another value from 20 on": Recipe(
        "reads differ from what is held", "flickers=register:cell_uvp,add:40,after:20,always:yes"
    ),
    "implausible temperature": Recipe(
        "holds nonsense (355 °C, 3200 s)", "implausible=register:charge_otp"
    ),
    "implausible delay": Recipe("holds nonsense (355 °C, 3200 s)", "implausible=register:delay"),
    "truncates texts": Recipe("cuts its texts short", "truncates-texts=after:9"),
    "truncates texts after a write": Recipe("cuts its texts short", "truncates-texts=nth:1"),
    "delayed view": Recipe("shows the old value for a while", "delayed-view=low:4,high:6"),
    "delayed view 2 s": Recipe("shows the old value for a while", "delayed-view=low:2,high:2"),
    "forgets after 1.5 s": Recipe("forgets a write", "forgets=seconds:1.5"),
    "forgets after 3 s": Recipe("forgets a write", "forgets=seconds:3"),
    "forgets again and again": Recipe("forgets a write", "forgets=seconds:2,every:yes"),
    "forgets the second write": Recipe("forgets a write", "forgets=seconds:3,nth:2"),
    "forgets after 40 s": Recipe("forgets a write", "forgets=seconds:40"),
    "ignores all": Recipe("acknowledges and ignores", "acks-and-ignores"),
    "ignores one register": Recipe(
        "acknowledges and ignores", "acks-and-ignores=register:cell_ovp"
    ),
    "ignores once": Recipe("acknowledges and ignores", "acks-and-ignores=times:1"),
    "ignores switches": Recipe("ignores a switch, always or at 20 A", "ignores-switches"),
    "ignores switches at 20 A": Recipe(
        "ignores a switch, always or at 20 A", "ignores-switches=above:10"
    ),
    "rounds": Recipe("rounds or clamps", "rounds=step:16"),
    "clamps": Recipe("rounds or clamps", "clamps=share:0.5"),
    "writes cell count too": Recipe(
        "writes a neighbour too", "neighbour=register:cell_count,add:-1"
    ),
    "writes wiring too": Recipe("writes a neighbour too", "neighbour=register:{wiring},add:1"),
    "writes wiring too, again and again": Recipe(
        "writes a neighbour too", "neighbour=register:{wiring},add:1,every:yes"
    ),
    "writes another limit too": Recipe(
        "writes a neighbour too", "neighbour=register:charge_utp,add:-5"
    ),
    "writes another limit later": Recipe(
        "writes a neighbour too", "neighbour=register:charge_utp,add:-5,seconds:3.5"
    ),
    "refuses the first write": Recipe("refuses", "refuses=nth:1"),
    "refuses from the second write on": Recipe("refuses", "refuses=nth:2"),
    "refuses the second register": Recipe("refuses", "refuses=nth:2,stuck:yes"),
    "refuses the second time": Recipe("refuses", "refuses=register:cell_ovp,nth:2"),
    "loses link before write 1": Recipe("loses the link", "loses-link=applied:no"),
    "loses link after write 1": Recipe("loses the link", "loses-link=applied:yes"),
    "loses link before write 2": Recipe("loses the link", "loses-link=nth:2,applied:no"),
    "loses link after write 2": Recipe("loses the link", "loses-link=nth:2,applied:yes"),
    "loses link for a minute": Recipe("loses the link", "loses-link=applied:yes,seconds:60"),
    "deaf after write 1": Recipe("loses the link", "loses-link=applied:yes,hangs_up:no,seconds:4"),
    "twin after write 1": Recipe("another board after a lost link", "swaps=seconds:1"),
    "twin after write 2": Recipe("another board after a lost link", "swaps=nth:2,seconds:1"),
    "other board after write 1": Recipe(
        "another board after a lost link", "swaps=seconds:1,different:yes"
    ),
    "other board after write 2": Recipe(
        "another board after a lost link", "swaps=nth:2,seconds:1,different:yes"
    ),
    "other board, no hang-up": Recipe(
        "another board after a lost link", "swaps=hangs_up:no,seconds:1.2,different:yes"
    ),
    "foreign master": Recipe("another master writes", "foreign-master=register:cell_uvp,add:20"),
    "foreign master in the same register": Recipe(
        "another master writes", "foreign-master=register:cell_ovp,add:-7,seconds:1"
    ),
    "restarts": Recipe("restarts and loses what it had", "restarts"),
    "restarts after write 2": Recipe("restarts and loses what it had", "restarts=nth:2"),
    "factory mode stays": Recipe("JBD: factory mode does not end", "factory-stays"),
    "kept on exit only": Recipe("JBD: keeps only what ends with 2828", "commits-on-exit"),
    "lost link and truncated text": Recipe(
        "two of these at once", "loses-link=applied:yes truncates-texts=nth:1"
    ),
    "delayed view and lost link": Recipe(
        "two of these at once", "delayed-view=low:4,high:6 loses-link=nth:2,applied:yes"
    ),
    "delayed view and refusal": Recipe(
        "two of these at once", "delayed-view=low:4,high:6 refuses=nth:2,stuck:yes"
    ),
    "late by one and ignores": Recipe(
        "two of these at once", "late-by-one=after:12 acks-and-ignores=times:1"
    ),
    "twice and foreign master": Recipe(
        "two of these at once", "answers-twice foreign-master=register:cell_uvp,add:20"
    ),
}
"""Name -> the quirks it is made of."""

SEEN_LATER = {"forgets after 40 s": "config verify"}
"""By then the command that wrote has ended: only this one can see it."""
READING = (
    "none", "late", "answers", "garbage", "flickers", "implausible", "truncates texts", "factory",
)  # fmt: skip
"""Beginnings of the names of those that matter to who only reads."""
ONLY = {
    "factory mode stays": "jbd",
    "kept on exit only": "jbd",
    "implausible delay": "jk-modbus",  # the delays of the others cannot hold what is impossible
}
NOT_LOOKED_FOR = {
    "jbd": ("switch off", "switch on"),
    "daly-d2": ("switch off",),
    "jk-modbus": ("switch off",),
}
"""Commands before which nobody reads the settings: off is never delayed, and a switch of JBD is no
setting. What somebody else does to settings meanwhile cannot show, and they have to say so."""


# ------------------------------------------------------------------------------------- commands


@dataclass(frozen=True, slots=True)
class Command:
    """A command line and what it asks for."""

    argv: tuple[str, ...]
    goal: Callable[[Dialect, Memory], Memory]
    """What the board holds when it is done, from what it held when it left the factory."""
    start: str = "fresh"
    """`fresh`; `off`: charging is switched off; `cut`: a change was cut off; `done`: it went
    through `config apply` while it was healthy; `changed`: the same board, with the same quirks,
    went through `config apply` a minute ago."""
    reads: bool = False
    restores: bool = False
    """Whether it brings back what a backup or the journal holds, whatever the board holds."""
    dialects: tuple[str, ...] = tuple(DIALECTS)


def _with(memory: Memory, board: type[Board], register: int, data: bytes) -> Memory:
    step = 2 if board.name == "jk-modbus" else 1
    parts = {register + step * at: data[2 * at : 2 * at + 2] for at in range(len(data) // 2)}
    return {**memory, **parts}


def _board_of(dialect: Dialect) -> type[Board]:
    return BOARDS[next(name for name, each in DIALECTS.items() if each is dialect)]


def _first_asked(dialect: Dialect, memory: Memory) -> Memory:
    _, register, data = next(iter(dialect.asked.values()))
    return _with(memory, _board_of(dialect), register, data)


def all_asked(dialect: Dialect, memory: Memory) -> Memory:
    """What a board holds where all that is asked of its dialect is done."""
    asked = [(register, data) for _, register, data in dialect.asked.values()]
    for register, data in (*asked, *dialect.follows.values()):
        memory = _with(memory, _board_of(dialect), register, data)
    return memory


def asked_of(name: str) -> dict[str, Memory]:
    """Setting -> the registers that hold what is asked of it in a dialect."""
    asked = {key: (at, data) for key, (_, at, data) in DIALECTS[name].asked.items()}
    return {
        key: _with({}, BOARDS[name], register, data)
        for key, (register, data) in (asked | DIALECTS[name].follows).items()
    }


def _charge(on: bool, dialect: Dialect, memory: Memory) -> Memory:
    register, closed, opened = dialect.charge
    return _with(memory, _board_of(dialect), register, closed if on else opened)


def _same(dialect: Dialect, memory: Memory) -> Memory:
    return memory


_AGREED = ("--yes", "--untested", "--json")
COMMANDS: dict[str, Command] = {
    "settings set": Command(
        ("settings", "set", "T", "{set}", "--chemistry", "lfp", *_AGREED), _first_asked
    ),
    "config apply": Command(
        ("config", "apply", "{profile}", "T", "--chemistry", "lfp", *_AGREED), all_asked
    ),
    "config restore": Command(
        ("config", "restore", "{backup}", "T", "--chemistry", "lfp", *_AGREED),
        all_asked,
        restores=True,
    ),
    "config undo": Command(
        ("config", "undo", "T", "--chemistry", "lfp", *_AGREED), _same, "done", restores=True
    ),
    "resume": Command(("config", "resume", "T", "--yes", "--json"), all_asked, "cut"),
    "resume --rollback": Command(
        ("config", "resume", "T", "--rollback", "--yes", "--json"), _same, "cut"
    ),
    "switch off": Command(("switch", "T", "charge", "off", *_AGREED), partial(_charge, False)),
    "switch on": Command(("switch", "T", "charge", "on", *_AGREED), partial(_charge, True), "off"),
    "clock": Command(("settings", "set", "T", "clock=now", *_AGREED), _same, dialects=("daly-d2",)),
    "settings show": Command(("settings", "show", "T", "--json"), _same, reads=True),
    "config backup": Command(
        ("config", "backup", "T", "-o", "{out}", "--force", "--json"), _same, reads=True
    ),
    "config verify": Command(("config", "verify", "T", "--json"), all_asked, "changed"),
}


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One field of the matrix."""

    dialect: str
    quirk: str
    command: str

    def __str__(self) -> str:
        return f"{self.dialect} / {self.quirk} / {self.command}"


def cells() -> Iterator[Cell]:
    """Every cell."""
    for dialect in DIALECTS:
        for quirk in QUIRKS:
            if ONLY.get(quirk, dialect) != dialect:
                continue
            for name, command in COMMANDS.items():
                if dialect not in command.dialects:
                    continue
                if command.reads and not quirk.startswith(READING):
                    continue
                if SEEN_LATER.get(quirk, name) != name:
                    continue
                yield Cell(dialect, quirk, name)


def quick_part() -> Iterator[Cell]:
    """A part of these, always the same: each quirk on each dialect, each kind of quirk with each
    command, each command on each dialect, and all of a quirk that only one of them can see."""
    drawn = list(cells())
    random.Random(4).shuffle(drawn)
    part: set[Cell] = set()
    met: set[tuple[str, str]] = set()
    for cell in drawn:
        kind = QUIRKS[cell.quirk].kind
        pairs = {
            (cell.quirk, cell.dialect),
            (kind, cell.command),
            (cell.command, cell.dialect),
        }
        if not pairs <= met or cell.quirk in {*ONLY, *SEEN_LATER}:
            part.add(cell)
            met |= pairs
    yield from (cell for cell in cells() if cell in part)


def open_cells() -> set[str]:
    """The cells that are not true yet, each to be mended; the file is to become empty."""
    lines = OPEN_CELLS.read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line and not line.startswith("#")}
