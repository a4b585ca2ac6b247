"""What the dashboard shows at the moment, and where its cursor is: pure, without a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

from bmslink.cli.dashboard.model.bounds import CellBound, PolicyMargin, board_bounds
from bmslink.cli.dashboard.model.memory import SeenHistory
from bmslink.cli.dashboard.model.pack import WatchedPack
from bmslink.cli.dashboard.model.ranking import PackTrouble, in_order, matching, summary, trouble
from bmslink.cli.dashboard.pages.linkage import RawPiece
from bmslink.events import PackEvent

__all__ = [
    "INTERVALS",
    "TABS",
    "Desk",
    "Dialog",
    "KeyWish",
    "LineInput",
    "OffQuestion",
    "PackExtras",
]

TABS = ("live", "over time", "settings", "policies", "events", "link")
INTERVALS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""s between two readings, as + and - go through them."""


@dataclass(frozen=True, slots=True)
class KeyWish:
    """What a key asks of the program behind the screen."""

    do: str
    """`quit`, `interrupt`, `suspend`, `off`, `edit`, `settings`, `interval`, `raw`, `accept`,
    `seek`, `speed`, `hold`."""
    pack: WatchedPack | None = None
    value: Any = None


@dataclass(slots=True)
class OffQuestion:
    """What to switch off, and on which pack; a further key answers."""

    pack: WatchedPack


@dataclass(slots=True)
class LineInput:
    """A line that is being typed."""

    prompt: str
    done: Callable[[str | None], None]
    """Gets the line, or `None` where it was given up."""
    text: str = ""
    live: bool = False
    """Each key counts, and not only Enter."""


@dataclass(slots=True)
class Dialog:
    """Something to read, with a question at its end, over everything else."""

    title: str
    lines: list[Text] = field(default_factory=list)
    question: str = ""
    """Answered by y; anything else but moving is a no. Empty: any key closes it."""
    done: Callable[[bool], None] = lambda yes: None
    busy: str = ""
    """What is being done, and how far; keys wait for its end."""
    top: int = 0


@dataclass(slots=True)
class PackExtras:
    """What is shown of a pack besides its readings; filled in by who reads it."""

    margins: list[PolicyMargin] = field(default_factory=list)
    bounds: list[CellBound] = field(default_factory=list)
    """Where its policies act."""
    raw: Sequence[RawPiece] | None = None
    """The latest bytes, while they are asked for."""
    stored: SeenHistory | None = None
    """What the service kept."""
    stored_from: str = ""
    events: list[PackEvent] = field(default_factory=list)
    """What the service saw."""


@dataclass(slots=True)
class Desk:
    """The whole state of the screen."""

    packs: list[WatchedPack]
    interval: float = 1.0
    zoomed: WatchedPack | None = None
    tab: str = TABS[0]
    sort: str = "worst"
    words: str = ""
    """Of the filter."""
    chosen: WatchedPack | None = None
    """`None`: the first, whichever that is."""
    top: int = 0
    """The first line, or the first pack, that is shown."""
    span: float = 300.0
    setting: str = ""
    """The key of the setting the cursor is on."""
    setting_keys: list[str] = field(default_factory=list)
    helping: bool = False
    question: OffQuestion | None = None
    typing: LineInput | None = None
    dialog: Dialog | None = None
    message: str = ""
    message_style: str = ""
    keys: bool = True
    extras: dict[int, PackExtras] = field(default_factory=dict)
    held_at: float | None = None
    """Since when the screen is held still."""
    held: dict[int, WatchedPack] = field(default_factory=dict)
    page_rows: int = 10
    """How many lines the page has; known once it was drawn."""
    page_length: int = 0
    columns: int = 80
    """How wide it is, as drawn last."""

    def __post_init__(self) -> None:
        if len(self.packs) == 1:
            self.zoomed = self.chosen = self.packs[0]

    def shown(self, pack: WatchedPack) -> WatchedPack:
        """The pack as it is shown: as it was, while the screen is held."""
        return self.held.get(id(pack), pack)

    def more(self, pack: WatchedPack) -> PackExtras:
        """What else is known of a pack."""
        return self.extras.setdefault(id(pack), PackExtras())

    def bounds_of(self, pack: WatchedPack) -> list[CellBound]:
        """The limits of its cells: the board's, then those of policies."""
        own = [] if pack.settings is None else board_bounds(pack.settings.values())
        return [*own, *self.more(pack).bounds]

    def listed(self, now: float) -> list[WatchedPack]:
        """The packs of the list, in its order."""
        found = matching([self.shown(p) for p in self.packs], self.words, now)
        back = {id(self.shown(p)): p for p in self.packs}
        return [back[id(pack)] for pack in in_order(found, self.sort, now)]

    def current(self, now: float) -> WatchedPack | None:
        """The pack that a key is about."""
        if self.zoomed is not None:
            return self.zoomed
        listed = self.listed(now)
        if self.chosen in listed:
            return self.chosen
        return next(iter(listed), None)

    def say(self, message: str, style: str = "") -> None:
        """A sentence above the keys, until the next one."""
        self.message, self.message_style = message, style

    def hold(self, now: float) -> None:
        """Hold the screen still, or let it go."""
        if self.held_at is None:
            self.held_at = now
            self.held = {id(pack): pack.frozen() for pack in self.packs}
        else:
            self.held_at, self.held = None, {}

    def worse(self, now: float) -> list[str]:
        """What got worse while the screen is held, in a few words each."""
        found = []
        for pack in self.packs:
            before = self.held.get(id(pack))
            if before is None or self.held_at is None:
                continue
            then = trouble(before, self.held_at)
            if trouble(pack, now) > max(then, PackTrouble.QUIET):
                found.append(f"{pack.name} {', '.join(summary(pack, now)[:2])}")
        return found
