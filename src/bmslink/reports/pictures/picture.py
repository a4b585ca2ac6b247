"""What a picture of packs over time shows, before it is drawn: plain values, for every writer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from bmslink.events import EventSeverity
from bmslink.moments import utc_now

__all__ = [
    "CellView",
    "Curve",
    "Lane",
    "LimitLine",
    "Marker",
    "Panel",
    "Picture",
    "TimeBand",
    "Timeline",
]

CellView = Literal["deviation", "voltage"]


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """The moments that the curves of one pack share, s since 1970 UTC, in their order."""

    times: Sequence[float]


@dataclass(frozen=True, slots=True)
class Curve:
    """One value over time."""

    title: str
    timeline: Timeline
    values: Sequence[float | None]
    """As many as the timeline has moments; `None` is unknown or a gap, and no line crosses it."""
    pack: str = ""
    limit: bool = False
    """A limit that changes with time, as policies set it, and no measurement."""

    def known(self) -> Iterator[float]:
        """The values that are known."""
        return (value for value in self.values if value is not None)


@dataclass(frozen=True, slots=True)
class LimitLine:
    """A limit that holds all the time: a setting of the board."""

    title: str
    value: float


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves with one unit on one scale."""

    title: str
    unit: str
    digits: int
    """Digits after the point that are shown."""
    curves: Sequence[Curve]
    limits: Sequence[LimitLine] = ()
    zero: bool = False
    """Whether 0 is always on the scale."""
    least: float = 0.0
    """The smallest range of values that fills the height, so that noise stays small."""
    pack: str = ""
    """Empty: it is about all packs."""
    view: CellView | None = None
    """Of a panel of cells: which of the two views it is."""


@dataclass(frozen=True, slots=True)
class TimeBand:
    """A time during which something was so, s since 1970."""

    start: float
    end: float
    text: str = ""
    lasting: bool = False
    """Its end was not seen: it lasted at the end of the readings, or of what is stored."""


@dataclass(frozen=True, slots=True)
class Lane:
    """What came and went, of one kind and one pack."""

    title: str
    severity: EventSeverity
    bands: Sequence[TimeBand]
    pack: str = ""


@dataclass(frozen=True, slots=True)
class Marker:
    """Something that happened at a moment."""

    time: float
    text: str
    severity: EventSeverity
    pack: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it."""

    title: str
    start: float
    """The first moment shown, s since 1970."""
    end: float
    """The last one."""
    packs: Sequence[str]
    panels: Sequence[Panel]
    lanes: Sequence[Lane] = ()
    markers: Sequence[Marker] = ()
    notes: Sequence[str] = ()
    """What a reader has to know: what was skipped, what is thinned."""
    dated: bool = True
    """False: times are counted from the beginning of a recording that does not say when it was."""
    cells: CellView = "deviation"
    """Which view of the cells is shown first."""
    made: datetime = field(default_factory=utc_now)

    def shown(self) -> list[Panel]:
        """The panels of a picture that cannot be changed by its reader: one view of the cells."""
        return [each for each in self.panels if each.view in (None, self.cells)]
