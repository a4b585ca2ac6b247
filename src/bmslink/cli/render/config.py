"""Settings, plans and differences, for people and as JSON objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from bmslink.cli.render.text import Glyphs, clean
from bmslink.protocols.settings import Table
from bmslink.setting import Setting, Value

if TYPE_CHECKING:
    from bmslink.config import Check, Plan
    from bmslink.config.compare import Difference

__all__ = ["differences", "one_line", "plan", "setting_object", "settings"]


def setting_object(table: Table, row: Setting) -> dict[str, Any]:
    """The JSON object of one setting."""
    raw = table.raw(row.key)
    writable, reason = _writable(table, row)
    return {
        "key": row.key,
        "title": row.title,
        "value": table.values()[row.key],
        "unit": row.unit,
        "minimum": row.minimum,
        "maximum": row.maximum,
        "choices": list(row.choices.values()) or None,
        "writable": writable,
        "reason": reason,
        "danger": str(row.danger),
        "evidence": str(row.evidence),
        "raw": None if raw is None else raw.hex(),
    }


def _writable(table: Table, row: Setting) -> tuple[bool, str]:
    """Whether it may be written, and why not (or what it takes)."""
    if table.map.locked:
        return False, table.map.locked
    if row.slot not in table.image:
        return False, "the board does not answer for it"
    if not row.writable:
        return False, row.reason or "nothing proves how it is written"
    if table.map.untested:
        return True, f"with --untested: {table.map.untested}"
    if row.evidence == "document":
        return True, "with --untested: known from a document only"
    return True, ""


def _shown(row: Setting, value: Value | None, g: Glyphs) -> str:
    return g.none if value is None else clean(row.show(value))


def _limits(row: Setting) -> str:
    if row.kind == "choice":
        return ", ".join(row.choices.values())
    if row.kind != "number" or row.minimum is None or row.maximum is None:
        return ""
    return f"{row.minimum:g} to {row.maximum:g}"


def one_line(table: Table, row: Setting, g: Glyphs) -> str:
    """Name and value."""
    return f"{row.key} = {_shown(row, table.values()[row.key], g)}"


def settings(table: Table, g: Glyphs) -> RenderableType:
    """All settings, one line each."""
    values = table.values()
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    for name in ("setting", "value", "limits", "", ""):
        grid.add_column(name, no_wrap=name != "", overflow="fold")
    for row in table.map.settings:
        writable, reason = _writable(table, row)
        mark = Text("") if writable else Text("read-only", "yellow")
        if writable and row.danger:
            mark = Text(str(row.danger), "magenta")
        grid.add_row(
            row.key,
            Text(_shown(row, values[row.key], g)),
            _limits(row) if writable else "",
            mark,
            Text(clean(reason), "dim"),
        )
    head = Text(f"{table.map.name}: {clean(table.map.evidence)}", "dim")
    return Group(head, grid)


# ------------------------------------------------------------------------------------- plans


def plan(plan: Plan, g: Glyphs, *, frames: bool = False) -> RenderableType:
    """What would change, whether it may, and with `frames` every byte of it."""
    who = " ".join(
        clean(part)
        for part in (plan.identity.vendor, plan.identity.model, plan.identity.firmware)
        if part
    )
    parts: list[RenderableType] = [Text(f"{plan.target}: {who} ({plan.table.map.name})", "bold")]
    if plan.changes:
        parts.append(_changes(plan, g))
    else:
        parts.append(Text("Nothing would change."))
    for key, why in plan.unsupported.items():
        parts.append(Text(f"not on this pack: {key} ({clean(why)})", "yellow"))
    parts += [_check(check) for check in plan.checks if check.passed is not None]
    parts += [Text(clean(remark), "dim") for remark in plan.remarks]
    if frames and plan.frames:
        parts.append(Text("Frames, in order:", "dim"))
        parts += [Text(f"  {frame.hex(' ')}") for frame in plan.frames]
    return Group(*parts)


def _changes(plan: Plan, g: Glyphs) -> RenderableType:
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    for name in ("", "setting", "now", "", "then", ""):
        grid.add_column(name, no_wrap=True)
    number = 0
    for change in plan.changes:
        for edit in change.edits:
            number += 1
            row = plan.table.map.setting(edit.key)
            rounded = isinstance(edit.asked, float) and edit.asked != edit.new
            grid.add_row(
                f"{number}.",
                edit.key,
                Text(_shown(row, edit.old, g)),
                Text(">"),
                Text(_shown(row, edit.new, g), "bold"),
                Text(f"(asked {edit.asked:g})" if rounded else "", "yellow"),
            )
    return grid


def _check(check: Check) -> Text:
    if check.passed:
        return Text("ok    ", "green").append(clean(check.sentence), "dim")
    if check.waived:
        return Text("waived ", "yellow").append(clean(check.sentence), "none")
    text = Text("STOP  ", "bold red").append(clean(check.sentence), "none")
    if check.waiver:
        text.append(f" (--waive {check.waiver} goes on all the same)", "dim")
    return text


# ------------------------------------------------------------------------------- differences


def differences(found: Sequence[Difference], names: Sequence[str], g: Glyphs) -> RenderableType:
    """What differs, a column for each side."""
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    grid.add_column("setting", no_wrap=True)
    for name in names:
        grid.add_column(clean(name), overflow="fold")
    for each in found:
        shown = [g.none if v is None else clean(v) for v in each.shown]
        grid.add_row(each.key, *(Text(text) for text in shown))
    return grid
