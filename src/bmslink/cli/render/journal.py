"""What was changed, for people: one line for each change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bmslink.cli.render.text import clean

__all__ = ["lines"]


def lines(records: Iterable[Mapping[str, Any]], target: str | None = None) -> list[str]:
    """The changes, oldest first; of one pack where a target is given."""
    begun: dict[str, Mapping[str, Any]] = {}
    ends: dict[str, Mapping[str, Any]] = {}
    for record in records:
        name = record.get("id")
        if not isinstance(name, str):
            continue
        if record.get("event") == "begin":
            begun[name] = record
        elif record.get("event") == "end":
            ends[name] = record
    return [
        _line(name, record, ends.get(name))
        for name, record in begun.items()
        if target in (None, record.get("target"))
    ]


def _line(name: str, begin: Mapping[str, Any], end: Mapping[str, Any] | None) -> str:
    what = begin.get("switch")
    changes = begin.get("changes")
    if what is not None:
        did = f"{what} {'on' if begin.get('on') else 'off'}"
    else:
        count = len(changes) if isinstance(changes, list) else 0
        did = f"{count} write{'s' * (count != 1)}"
    waived = begin.get("waived")
    who = str(begin.get("user") or "somebody")
    if isinstance(waived, list) and waived:
        who += f", waived: {', '.join(map(str, waived))}"
    how = "cut off" if end is None else str(end.get("outcome"))
    when = str(begin.get("time"))[:19]
    return clean(f"{when}  {begin.get('target')}  {did}: {how} ({who})  {name}")
