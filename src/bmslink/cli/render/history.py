"""Stored readings and events, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from bmslink.cli.render.clean import clean
from bmslink.cli.render.fit import Column, Table
from bmslink.cli.render.text import duration

__all__ = ["event_lines", "event_text", "table", "when"]


def table(page: Mapping[str, Any], *, whole: bool) -> Table:
    """Rows of a pack, by the clock of this computer; `whole`: no column is left out, however
    narrow the terminal."""
    names = page["fields"][1:]
    values = (
        Column(name=_title(name), right=True, labelled=True, spare=not whole and n > _ALWAYS)
        for n, name in enumerate(names)
    )
    found = Table(Column(name="time"), *values)
    for time, *row in page["rows"]:
        found.add(_local(time), *map(_cell, row))
    return found


_ALWAYS = 3
"""Columns after this one are left out where there is no room."""


def _title(name: str) -> str:
    return clean(name.replace("_", " "))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return clean(" ".join(map(str, value)))
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else clean(str(value))


def event_lines(events: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """One line for each event, by the clock of this computer."""
    for event in events:
        yield clean(f"{when(event)}  {event_text(event)}")


def when(event: Mapping[str, Any]) -> str:
    """The moment of an event, or from when to when a condition lasted."""
    since, until = event.get("since"), event.get("until")
    begun = _local(since or event.get("time"))
    if since and until:
        sure = "" if event.get("until_known", True) else "?"
        return f"{begun} to {_local(until, since)}{sure} ({_span(since, until)})"
    return f"{begun} until now" if since else begun


def event_text(event: Mapping[str, Any]) -> str:
    """What happened, how bad that is, and to which pack."""
    pack = f"{event.get('pack')}: " if event.get("pack") else ""
    count = int(event.get("count") or 1)
    often = f" ({count} times)" if count > 1 else ""
    severity = str(event.get("severity") or "info")
    mark = "" if severity == "info" else f"{severity.upper()}: "
    return f"{mark}{pack}{event.get('text')}{often}"


def _local(text: object, beside: object = None) -> str:
    """A time; without its day where that is the same as of another beside it."""
    try:
        moment = datetime.fromisoformat(str(text)).astimezone()
        other = None if beside is None else datetime.fromisoformat(str(beside)).astimezone()
    except ValueError:
        return "?"
    if other is not None and other.date() == moment.date():
        return f"{moment:%H:%M:%S}"
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _span(since: object, until: object) -> str:
    try:
        first, last = datetime.fromisoformat(str(since)), datetime.fromisoformat(str(until))
    except ValueError:
        return "?"
    return duration(max(0.0, (last - first).total_seconds()))
