"""One check, and what the checks look at."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from typing import Any, NamedTuple

from bmslink.config.checks.cells import KnownCells
from bmslink.config.files.backup import Backup
from bmslink.errors import GateError, UsageError
from bmslink.model import Identity, Reading
from bmslink.packs import NamedPack
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.settings.setting import ASKING, Value

__all__ = [
    "ALIASES",
    "WAIVERS",
    "Check",
    "Draft",
    "Health",
    "known_waivers",
    "number",
    "refuse",
    "require_waivers",
]

WAIVERS: Mapping[str, str] = {
    "untested": "write what no recording proves for this board and firmware",
    "partial": "leave out what this pack does not have or cannot change",
    "clone": "restore the backup of another board of the same kind",
    "limits": "restore values outside the limits (never: set them)",
    "rating": "set a limit beyond what the pack or the board is rated for",
    "rules": "leave settings that contradict each other",
    "chemistry": "leave what these cells are not made for",
    "order": "pass through a state that contradicts itself on the way",
    "trip": "set what cuts the pack off now",
    "health": "write over a line that is disturbed, or beside readings that make no sense",
    "protection": "write while a protection is active",
    "unchanged": "resume or undo although settings changed since, and set them back as well",
    "twin": "it is another board than the one that looks the same, whose change was cut off",
    "place": "resume or undo over another port than the change was made over, without a number",
    "load": "change what all protection depends on while current flows",
    "join": "switch on beside the other packs of a bank, whatever flows between them then",
    "soc": "set a state of charge that the cells, the current or the board's own count contradict",
}
"""Waiver -> what it allows. The key of a setting that asks for it (`setting.ASKING`) is one too."""


ALIASES: Mapping[str, str] = {"supported": "partial", "tested": "untested", "backup": "clone"}
"""Check -> its waiver, where that is called otherwise: both names are taken."""

_NEVER = ("identity", "map", "plausible", "journal", "unfinished", "session", "lock", "held")
"""Checks that nothing waives."""


def require_waivers(waive: Collection[str], keys: Collection[str] = ASKING.keys()) -> set[str]:
    """The waivers, by the names of `WAIVERS`, or `UsageError` for one that does not exist.

    `keys`: the settings that ask by their own name; none where no setting is changed. The name of
    every check that can be waived is taken.
    """
    found = {ALIASES.get(name, name) for name in waive}
    if unknown := sorted(found - WAIVERS.keys() - set(keys)):
        raise UsageError(_no_waiver(unknown[0][:40], keys))
    return found


def _no_waiver(name: str, keys: Collection[str]) -> str:
    known = [*WAIVERS, *keys]
    if name in _NEVER:
        return f"Nothing waives the check {name}; these can be: {', '.join(known)}."
    near = get_close_matches(name, [*known, *ALIASES], n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    return f"There is no waiver {name!r}{hint} There are: {', '.join(known)}."


def known_waivers(names: Iterable[str]) -> frozenset[str]:
    """Those of these names that are waivers."""
    return frozenset(ALIASES.get(name, name) for name in names) & (WAIVERS.keys() | ASKING.keys())


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must hold."""

    name: str
    """What `waive` and `--waive` call it, or `identity`, `map`, …"""
    passed: bool | None
    """`None`: not applicable."""
    sentence: str
    """What was found, for people."""
    waiver: str = ""
    """The name that lets it pass all the same; empty: nothing does."""
    waived: bool = False
    """Whether it failed and was named in `waive`."""

    @property
    def blocks(self) -> bool:
        """Whether it blocks the change."""
        return self.passed is False and not self.waived

    def to_dict(self) -> dict[str, Any]:
        """Its JSON object."""
        return asdict(self) | {"blocks": self.blocks}


def refuse(sentence: str, name: str, waiver: str = "") -> GateError:
    """A refusal with the one check that makes it."""
    return GateError(sentence, [Check(name=name, passed=False, sentence=sentence, waiver=waiver)])


class Health(NamedTuple):
    """How the line did while the pack was read."""

    frames: int
    bad: int
    """Frames that failed their checksum."""
    still: float = 0.0
    """How long the board's seconds did not advance, s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What the checks look at."""

    table: SettingsSnapshot
    after: Mapping[str, Value | None]
    """All values as they will be."""
    keys: Collection[str]
    """The settings that change."""
    wrong: Mapping[str, str]
    """Key -> why its value is not possible."""
    unsupported: Mapping[str, str]
    """Key -> why this pack cannot change it."""
    outside: Mapping[str, str]
    """Key -> why raw bytes that are brought back hold no value that may be set."""
    identity: Identity
    reading: Reading | None
    backup: Backup | None = None
    """What is restored."""
    unusable_reason: str = ""
    """Why no board like this one can take the backup."""
    foreign_reason: str = ""
    """Why the backup is not of this very board."""
    restore: bool = False
    """Raw bytes of a backup are brought back, now or when the change was begun."""
    by_name: Collection[str] = ()
    """The switches that somebody asks for by name, as with `bmslink switch`."""
    cells: KnownCells = field(default_factory=KnownCells)
    """What they are made of, and who says so."""
    named: NamedPack | None = None
    """What bmslink.toml says of the pack."""
    health: Health | None = None
    clumsy: Sequence[str] = ()
    """Rules that no order of writing can keep on the way."""
    possible: bool = True
    """Whether anything of what is asked can be set here."""
    blocked: Mapping[str, str] = field(default_factory=dict)
    """Check -> why it fails, of what only the caller can know: journal, unfinished."""

    @property
    def chemistry(self) -> str | None:
        """By what the settings are judged."""
        return self.cells.chemistry


def number(value: Value | None) -> float | None:
    """A value that is a number; `None` for all others."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None
