"""Plans and differences, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from bmslink.cli.render.fit import Column, Prose, Table
from bmslink.cli.render.settings import shown
from bmslink.cli.render.text import Glyphs, clean
from bmslink.settings.setting import Value

if TYPE_CHECKING:
    from bmslink.config import AdjustmentPlan, Check, Edit, Plan
    from bmslink.config import Deviation as Changed

__all__ = [
    "adjustment",
    "checks",
    "plan",
    "verification",
]


# ------------------------------------------------------------------------------------- plans


def plan(plan: Plan, g: Glyphs, *, whole: bool = False) -> RenderableType:
    """What would change and whether it may; `whole`: with every check's sentence and every byte."""
    parts: list[RenderableType] = [_head(plan)]
    if plan.undoes:
        parts.append(Text(f"Undoes {clean(plan.undoes.sentence)}."))
    if plan.changes:
        parts.append(_changes(plan, g))
    else:
        parts.append(Text("Nothing can be planned." if plan.blocked else "Nothing would change."))
    for why, keys in _left_out(plan).items():
        parts.append(Prose(f"Left out, {clean(why)}: {', '.join(keys)}", "yellow"))
    parts.append(checks(plan.checks, whole=whole))
    parts += [Prose(clean(remark), "dim") for remark in plan.remarks]
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


def _head(plan: Plan) -> Prose:
    who = " ".join(
        clean(part)
        for part in (plan.identity.vendor, plan.identity.model, plan.identity.firmware)
        if part
    )
    label = f"{plan.name} ({plan.target})" if plan.name else plan.target
    return Prose(f"{label}: {who} ({plan.table.map.name})", "bold")


def _frames(plan: Plan) -> list[RenderableType]:
    """Every byte, in order; the number of a frame is in the rows that it sets."""
    if not plan.frames:
        return []
    grid = Table(Column(), Column(prose=True), Column(prose=True))
    for number, frame, keys in plan.numbered():
        grid.add(f" {number}", frame.hex(" "), Text(", ".join(keys), "dim"))
    return [Text("Frames, in order:", "dim"), grid]


def _left_out(plan: Plan) -> dict[str, list[str]]:
    """Reason -> settings, of what is asked and this pack cannot, and of switches that stay."""
    found: dict[str, list[str]] = {}
    for key, why in (*plan.unsupported.items(), *plan.left_out.items()):
        found.setdefault(why, []).append(key)
    return found


def _changes(plan: Plan, g: Glyphs) -> RenderableType:
    names = ("", "setting", "now", "", "then", "frame" if plan.frame_of else "")
    grid = Table(
        *(Column(name=name, labelled=name == "frame") for name in names), Column(prose=True)
    )
    values, number = plan.table.values(), 0
    for change in plan.changes:
        frame = plan.frame_of.get(change.slot)
        told = [(e.key, e.old, e.new, _remark(e)) for e in change.edits]
        told += [(k, values[k], values[k], "(as it is: the board moves it)") for k in change.kept]
        for key, old, new, remark in told:
            number += 1
            row = plan.table.map.setting(key)
            grid.add(
                f"{number}.",
                key,
                Text(shown(row, old, g)),
                Text(">"),
                Text(shown(row, new, g), "bold"),
                Text("" if frame is None else str(frame), "dim"),
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
    grid = Table(Column(), Column(prose=True))
    told = [c for c in made if c.passed is not None]
    quiet = [c for c in told if c.passed and not whole and not c.sentence.startswith(_ODD)]
    if quiet:
        grid.add(Text("ok", "green"), Text(", ".join(c.name for c in quiet), "dim"))
    for check in told:
        if check not in quiet:
            grid.add(_mark(check), _sentence(check))
    return grid


_ODD = "Unusual:"


def _mark(check: Check) -> Text:
    if check.passed:
        odd = check.sentence.startswith(_ODD)
        return Text("note", "yellow") if odd else Text("ok", "green")
    return Text("waived", "yellow") if check.waived else Text("STOP", "bold red")


_OPTIONS = {"untested": "--untested", "clone": "--clone", "unchanged": "--overwrite"}
"""Waivers with an option of their own."""


def _sentence(check: Check) -> Text:
    text = Text(f"{check.name}: {clean(check.sentence)}", "dim" if check.passed else "none")
    if check.blocks and check.waiver:
        option = _OPTIONS.get(check.waiver, f"--waive {check.waiver}")
        text.append(f" {option} goes on all the same.", "bold")
    return text


def verification(found: Sequence[Changed]) -> RenderableType:
    """What is not as it was written, a setting a line."""
    written, now = (Column(name=name, labelled=True) for name in ("written", "now"))
    grid = Table(Column(name="setting"), written, now)
    for each in found:
        grid.add(each.key, *(_value(v, each.unit) for v in (each.written, each.now)))
    return grid


def _value(value: Value | None, unit: str) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        return f"{value:.6g} {unit}".rstrip()
    return "unknown" if value is None else clean(value)
