"""What a board remembers, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bmslink.cli.render.clean import clean
from bmslink.cli.render.fit import Column, Table
from bmslink.cli.render.history import event_text, when
from bmslink.cli.render.text import duration
from bmslink.past import BoardCounter, BoardEvent

__all__ = [
    "clock_remark",
    "counter_lines",
    "event_table",
    "missing_lines",
    "now_lines",
    "sample_table",
]

_MARKS = {"reckoned": ("≈ ", "~ "), "latest": ("≤ ", "<= ")}


def event_table(
    seen: Sequence[Mapping[str, Any]],
    board: Sequence[BoardEvent],
    limit: int,
    *,
    ascii_only: bool = False,
) -> Table | None:
    """Both in one table, the oldest first; what nobody can date comes before. `None`: nothing."""
    rows: list[tuple[datetime, str, str, str]] = [
        (_seen_at(event), when(event), "bmslink", event_text(event)) for event in seen
    ]
    rows += [
        (_board_at(e), _board_when(e, ascii_only), f"board, {_log(e)}", _marked(e)) for e in board
    ]
    if not rows:
        return None
    rows.sort(key=lambda row: row[0])
    table = Table(
        Column(name="time"), Column(name="source", spare=True), Column(name="event", prose=True)
    )
    for _, moment, source, text in rows[-limit:]:
        table.add(clean(moment), clean(source), clean(text))
    return table


def _seen_at(event: Mapping[str, Any]) -> datetime:
    try:
        return datetime.fromisoformat(str(event.get("since") or event.get("time")))
    except ValueError:
        return _NEVER


_NEVER = datetime.min.replace(tzinfo=UTC)


def _board_at(event: BoardEvent) -> datetime:
    return event.time or _NEVER


def _board_when(event: BoardEvent, ascii_only: bool) -> str:
    """Its time, marked where it is reckoned; else how long the board had been running."""
    if event.time is None:
        return "-" if event.running is None else f"after {duration(event.running)} running"
    mark = _MARKS.get(event.time_source or "", ("", ""))[ascii_only]
    return f"{mark}{event.time.astimezone():%Y-%m-%d %H:%M:%S}"


def _log(event: BoardEvent) -> str:
    return event.log.replace("_", " ")


def _marked(event: BoardEvent) -> str:
    mark = "" if event.severity == "info" else f"{event.severity.upper()}: "
    return f"{mark}{event.text}{_measured(event.values)}"


def _measured(values: Mapping[str, Any]) -> str:
    """What says most about a trip: the extreme cells and the current."""
    told = []
    low, high, current = (
        values.get(name) for name in ("min_cell_voltage", "max_cell_voltage", "current")
    )
    if low is not None and high is not None:
        told.append(f"cells {low:.3f} to {high:.3f} V")
    if current is not None:
        told.append(f"{current:.1f} A")
    return f" ({', '.join(told)})" if told else ""


_SAMPLED = (
    ("V", "voltage", 2),
    ("A", "current", 1),
    ("min V", "min_cell_voltage", 3),
    ("max V", "max_cell_voltage", 3),
    ("Ah", "remaining_capacity", 1),
    ("°C", "max_temperature", 0),
    ("FET °C", "mosfet_temperature", 0),
)


def sample_table(samples: Iterable[BoardEvent]) -> Table:
    """What the log measured."""
    table = Table(
        Column(name="measured by the board"),
        *(Column(name=name, right=True, labelled=True) for name, _, _ in _SAMPLED),
    )
    for each in samples:
        values = [each.values.get(key) for _, key, _ in _SAMPLED]
        digits = [digits for _, _, digits in _SAMPLED]
        cells = ["-" if v is None else f"{v:.{d}f}" for v, d in zip(values, digits, strict=True)]
        table.add(_board_when(each, ascii_only=False), *cells)
    return table


def now_lines(now: Sequence[BoardEvent], *, known: bool) -> Iterator[str]:
    """What the board reports now."""
    if not known:
        yield "now: the board does not say whether anything is wrong"
    elif not now:
        yield "now: nothing is reported"
    else:
        yield clean(f"now: {'; '.join(event.text for event in now)}")


def counter_lines(counters: Sequence[BoardCounter]) -> Iterator[str]:
    """The counters that count something; that the others are 0 is said once."""
    if not counters:
        return
    counted = [f"{each.text} {each.count}" for each in counters if each.count]
    rest = len(counters) - len(counted)
    zero = f"{'the other ' if counted else 'all '}{rest} are 0" if rest else ""
    yield clean(f"counters: {'; '.join(filter(None, [*counted, zero]))}")


def missing_lines(missing: Mapping[str, str]) -> Iterator[str]:
    """What is not here, and why."""
    for name, reason in missing.items():
        yield clean(f"no {name.replace('_', ' ')}: {reason}")


def clock_remark(off: timedelta) -> str:
    """That the clock which dates a log is wrong."""
    seconds = off.total_seconds()
    way = "ahead" if seconds > 0 else "behind"
    return (
        f"The board's clock is {duration(abs(seconds))} {way}; the times of its detail log are "
        "corrected by that here."
    )
