"""What the records of a change say, read with care: they may be of another version, or damaged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["adjusted", "changes_of", "edits_of", "value_in_words"]

Record = Mapping[str, Any]


def changes_of(records: Iterable[Record]) -> list[tuple[Record, Record | None]]:
    """The beginning of each change, oldest first, with its end; `None`: it was cut off."""
    begun: dict[str, Record] = {}
    ends: dict[str, Record] = {}
    for record in records:
        name = record.get("id")
        if not isinstance(name, str):
            continue
        if record.get("event") == "begin":
            begun[name] = record
        elif record.get("event") == "end":
            ends[name] = record
    return [(record, ends.get(name)) for name, record in begun.items()]


def edits_of(begin: Record) -> Iterator[Record]:
    """The settings that a change is about: `key`, `old`, `new`, `unit`."""
    for change in _rows(begin.get("changes")):
        yield from _rows(change.get("settings"))


def adjusted(begin: Record) -> str:
    """The clock or the state of charge that it sets, in words; empty: neither."""
    found = begin.get("adjust")
    if not isinstance(found, dict):
        return ""
    return ", ".join(f"{key} {value}" for key, value in found.items() if value is not None)


def value_in_words(value: object, unit: object, unknown: str = "unknown") -> str:
    """A value of a setting, with its unit."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        return f"{value:.6g} {unit or ''}".rstrip()
    return unknown if value is None else str(value)


def _rows(value: object) -> Iterator[Record]:
    yield from (row for row in (value if isinstance(value, list) else ()) if isinstance(row, dict))
