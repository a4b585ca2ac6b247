"""Settings, plans and differences, for people and as JSON objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from bmslink.cli.render.text import Glyphs, clean
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.settings.setting import Setting, Value

if TYPE_CHECKING:
    from bmslink.config import AdjustmentPlan, Check, Edit, Plan
    from bmslink.config import Deviation as Changed
    from bmslink.config.files.compare import Difference

__all__ = [
    "adjustment",
    "bare",
    "checks",
    "differences",
    "plan",
    "setting_object",
    "settings",
    "verification",
]


def setting_object(table: SettingsSnapshot, row: Setting) -> dict[str, Any]:
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


def _writable(table: SettingsSnapshot, row: Setting) -> tuple[bool, str]:
    """Whether it may be written, and why not (or what it takes)."""
    if table.map.read_only_reason:
        return False, table.map.read_only_reason
    if row.slot not in table.image:
        return False, "the board does not answer for it"
    if not row.writable:
        return False, row.reason or "nothing proves how it is written"
    if table.map.untested_reason:
        return True, f"with --untested: {table.map.untested_reason}"
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


def bare(row: Setting, value: Value | None) -> str:
    """A value as `settings set` takes it: the number alone, in the setting's own unit."""
    if value is None:
        return "unknown"
    if isinstance(value, float):
        return f"{value:.9g}"
    return clean(row.show(value))


def settings(table: SettingsSnapshot, g: Glyphs) -> RenderableType:
    """All settings, one line each; why one cannot be written follows below, once for all."""
    values = table.values()
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    for name in ("setting", "value", "limits", ""):
        grid.add_column(name, no_wrap=name != "limits", overflow="fold")
    notes: dict[str, int] = {}
    for row in table.map.settings:
        writable, reason = _writable(table, row)
        mark = Text() if writable else Text("read-only", "yellow")
        if writable and row.danger:
            mark = Text(str(row.danger), "magenta")
        if reason:
            number = notes.setdefault(reason, len(notes) + 1)
            mark.append(f"{' ' * bool(mark.plain)}({number})", "dim")
        limits = _limits(row) if writable else ""
        grid.add_row(row.key, Text(_shown(row, values[row.key], g)), limits, mark)
    head = Text(f"{table.map.name}: {clean(table.map.evidence)}", "dim")
    return Group(head, grid, *(Text(f"({n}) {clean(why)}", "dim") for why, n in notes.items()))


# ------------------------------------------------------------------------------------- plans


def plan(plan: Plan, g: Glyphs, *, whole: bool = False) -> RenderableType:
    """What would change and whether it may; `whole`: with every check's sentence and every byte."""
    parts: list[RenderableType] = [_head(plan)]
    if plan.changes:
        parts.append(_changes(plan, g))
    else:
        parts.append(Text("Nothing can be planned." if plan.blocked else "Nothing would change."))
    for why, keys in _left_out(plan).items():
        parts.append(Text(f"Left out, {clean(why)}: {', '.join(keys)}", "yellow"))
    parts.append(checks(plan.checks, whole=whole))
    parts += [Text(clean(remark), "dim") for remark in plan.remarks]
    if whole:
        parts += _frames(plan)
    return Group(*parts)


def adjustment(wanted: AdjustmentPlan, g: Glyphs, *, whole: bool = False) -> RenderableType:
    """The same for the clock and the state of charge."""
    lines = []
    if wanted.wish.clock is not None:
        then = f"{wanted.wish.clock.astimezone():%Y-%m-%d %H:%M:%S}"
        now = g.none if wanted.clock is None else f"{wanted.clock:%Y-%m-%d %H:%M:%S}"
        lines.append(Text(f"clock  {now} > {then}"))
    if wanted.wish.soc is not None:
        now = g.none if wanted.soc is None else f"{wanted.soc:g} %"
        lines.append(Text(f"soc    {now} > {wanted.wish.soc:g} %"))
    frames = _frames(wanted.plan) if whole else []
    return Group(_head(wanted.plan), *lines, checks(wanted.plan.checks, whole=whole), *frames)


def _head(plan: Plan) -> Text:
    who = " ".join(
        clean(part)
        for part in (plan.identity.vendor, plan.identity.model, plan.identity.firmware)
        if part
    )
    return Text(f"{plan.target}: {who} ({plan.table.map.name})", "bold")


def _frames(plan: Plan) -> list[RenderableType]:
    """Every byte, in order; the number of a frame is in the rows that it sets."""
    if not plan.frames:
        return []
    grid = Grid(box=None, pad_edge=False, show_header=False)
    for overflow in ("ignore", "fold", "fold"):
        grid.add_column(no_wrap=overflow == "ignore", overflow="fold")
    for number, frame, keys in plan.numbered():
        grid.add_row(f" {number}", Text(frame.hex(" ")), Text(", ".join(keys), "dim"))
    return [Text("Frames, in order:", "dim"), grid]


def _left_out(plan: Plan) -> dict[str, list[str]]:
    """Reason -> settings, of what is asked and this pack cannot, and of switches that stay."""
    found: dict[str, list[str]] = {}
    for key, why in (*plan.unsupported.items(), *plan.left_out.items()):
        found.setdefault(why, []).append(key)
    return found


def _changes(plan: Plan, g: Glyphs) -> RenderableType:
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    for name in ("", "setting", "now", "", "then"):
        grid.add_column(name, no_wrap=True)
    if plan.frame_of:
        grid.add_column("frame", no_wrap=True)
    grid.add_column("")
    values, number = plan.table.values(), 0
    for change in plan.changes:
        frame = plan.frame_of.get(change.slot)
        told = [(e.key, e.old, e.new, _remark(e)) for e in change.edits]
        told += [(k, values[k], values[k], "(as it is: the board moves it)") for k in change.kept]
        for key, old, new, remark in told:
            number += 1
            row = plan.table.map.setting(key)
            grid.add_row(
                f"{number}.",
                key,
                Text(_shown(row, old, g)),
                Text(">"),
                Text(_shown(row, new, g), "bold"),
                *([Text("" if frame is None else str(frame), "dim")] if plan.frame_of else []),
                Text(remark, "yellow"),
            )
    return grid


def _remark(edit: Edit) -> str:
    """Why it is not what was asked for."""
    told = []
    if isinstance(edit.asked, float) and edit.asked != edit.new:
        told.append(f"asked {edit.asked:g}")
    if edit.follows:
        told.append(f"follows {clean(edit.follows)}")
    return f"({', '.join(told)})" if told else ""


def checks(made: Sequence[Check], *, whole: bool) -> RenderableType:
    """Every check by its name; `whole`: also what the passed ones found."""
    grid = Grid(box=None, pad_edge=False, show_header=False)
    grid.add_column(no_wrap=True)
    grid.add_column()
    told = [c for c in made if c.passed is not None]
    quiet = [c for c in told if c.passed and not whole and not c.sentence.startswith(_ODD)]
    if quiet:
        grid.add_row(Text("ok", "green"), Text(", ".join(c.name for c in quiet), "dim"))
    for check in told:
        if check not in quiet:
            grid.add_row(_mark(check), _sentence(check))
    return grid


_ODD = "Unusual:"


def _mark(check: Check) -> Text:
    if check.passed:
        odd = check.sentence.startswith(_ODD)
        return Text("note", "yellow") if odd else Text("ok", "green")
    return Text("waived", "yellow") if check.waived else Text("STOP", "bold red")


_OPTIONS = {"untested": "--untested", "clone": "--clone"}
"""Waivers with an option of their own."""


def _sentence(check: Check) -> Text:
    text = Text(f"{check.name}: {clean(check.sentence)}", "dim" if check.passed else "none")
    if check.blocks and check.waiver:
        option = _OPTIONS.get(check.waiver, f"--waive {check.waiver}")
        text.append(f" {option} goes on all the same.", "bold")
    return text


def verification(found: Sequence[Changed]) -> RenderableType:
    """What is not as it was written, a setting a line."""
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    for column in ("setting", "written", "now"):
        grid.add_column(column)
    for each in found:
        grid.add_row(each.key, *(_value(v, each.unit) for v in (each.written, each.now)))
    return grid


def _value(value: Value | None, unit: str) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        return f"{value:.6g} {unit}".rstrip()
    return "unknown" if value is None else clean(value)


# ------------------------------------------------------------------------------- differences


def differences(found: Sequence[Difference], names: Sequence[str], g: Glyphs) -> RenderableType:
    """What differs, a column for each side; long names are numbered and listed above."""
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    grid.add_column("setting", no_wrap=True)
    numbered = len(names) > _WIDE or any(len(name) > _LONG for name in names)
    head = [Text(f"[{n}] {clean(name)}", "dim") for n, name in enumerate(names, 1)]
    for number, name in enumerate(names, 1):
        grid.add_column(Text(f"[{number}]" if numbered else clean(name)), overflow="fold")
    for each in found:
        shown = [g.none if v is None else clean(v) for v in each.shown]
        grid.add_row(each.key, *(Text(text) for text in shown))
    return Group(*(head if numbered else ()), grid)


_WIDE, _LONG = 3, 20
"""More sides, or longer names, do not fit beside each other on 80 columns."""
