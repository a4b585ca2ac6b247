"""The settings of a board, for people and as JSON objects."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from bmslink.cli.render.fit import Column, Prose, Table
from bmslink.cli.render.text import Glyphs, clean
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.protocols.common.settings_now import Settings
from bmslink.settings.groups import grouped
from bmslink.settings.packed import words_of
from bmslink.settings.setting import Danger, Evidence, Setting, Value

__all__ = ["bare", "limits", "settings", "shown"]


def shown(row: Setting, value: Value | None, g: Glyphs) -> str:
    """A value with its unit, or the sign for "the board does not say"."""
    return g.none if value is None else clean(row.show(value))


def limits(row: Setting) -> str:
    """What it may be set to, in words; empty where that needs none."""
    if row.kind == "choice":
        return ", ".join(row.choices.values())
    if row.kind != "number" or row.minimum is None or row.maximum is None:
        return ""
    return f"{row.minimum:g} to {row.maximum:g} {row.unit}".rstrip()


def bare(row: Setting, value: Value | None) -> str:
    """A value as `settings set` takes it: the number alone, in the setting's own unit."""
    if value is None:
        return "unknown"
    if isinstance(value, float):
        return f"{value:.9g}"
    return clean(row.show(value))


_PROVEN = {
    Evidence.CAPTURE: ("C", "C: a recorded write is the same, byte for byte."),
    Evidence.APP: ("A", "A: the vendor's software, or tools long in use, write it like this."),
    Evidence.DOCUMENT: ("D", "D: only a document says so; it takes --untested."),
}
"""How well writing is proven: its mark, and what the mark means."""

_DANGERS = {
    Danger.COMMISSIONING: "all protection depends on it.",
    Danger.POWER: "it can cut the load or the charger off at once.",
    Danger.PROTECTION: "it takes a protection away.",
    Danger.LINK: "it can cut the link that it is written over.",
}


def settings(table: SettingsSnapshot, g: Glyphs, label: str = "") -> RenderableType:
    """All settings by what they protect, one line each; what the marks mean follows below, and
    why one cannot be written, once for all."""
    notes, held = dict[str, int](), Settings(table)
    grid = Table(
        Column(name="setting"),
        Column(name="title", spare=True),
        Column(name="value"),
        Column(name="limits", prose=True),
        Column(name="ev"),
        Column(),
    )
    marks: set[str] = set()
    for subject, keys in grouped(table.map.by_key):
        grid.head(subject.heading)
        for row in map(table.map.setting, keys):
            now = held[row.key]
            value, writable, reason = now.value, now.writable, now.reason
            proven = _PROVEN[row.evidence][0] if writable else ""
            marks |= {proven, str(row.danger) if writable else "", g.none * (value is None)}
            grid.add(
                row.key,
                row.title,
                Text(shown(row, value, g)),
                words_of(row.key, value) or (limits(row) if writable else ""),
                proven,
                _mark(row, writable, reason, notes),
            )
    head = f"{table.map.name}: {clean(table.map.evidence)}"
    lines = [*_legend(marks, g), *(f"({n}) {clean(why)}" for why, n in notes.items())]
    return Group(
        *((Prose(label, "bold"),) if label else ()),
        Prose(head, "dim"),
        grid,
        *(Prose(line, "dim") for line in lines),
    )


def _mark(row: Setting, writable: bool, reason: str, notes: dict[str, int]) -> Text:
    mark = Text() if writable else Text("read-only", "yellow")
    if writable and row.danger:
        mark = Text(str(row.danger), "magenta")
    if reason:
        number = notes.setdefault(reason, len(notes) + 1)
        mark.append(f"{' ' * bool(mark.plain)}({number})", "dim")
    return mark


def _legend(marks: set[str], g: Glyphs) -> Iterator[str]:
    """What the marks mean that were used."""
    proven = [sentence for letter, sentence in _PROVEN.values() if letter in marks]
    if proven:
        yield "ev, how well writing it is proven:"
        yield from (f"  {sentence}" for sentence in proven)
    for danger, sentence in _DANGERS.items():
        if danger in marks:
            yield f"{danger}: {sentence}"
    if g.none in marks:
        yield f"{g.none}: the board does not say."
