"""Changing a setting from the dashboard: plan, checks, question, progress, proof; the road of
`bmslink settings set`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from rich.text import Text

from bmslink.cli.change import count, value_of
from bmslink.cli.dashboard.desk import Desk, Dialog, LineInput
from bmslink.cli.dashboard.pages.fit import wrapped
from bmslink.cli.dashboard.watching.follower import PackFollower
from bmslink.cli.output import lines_of
from bmslink.cli.render import config as render
from bmslink.cli.render.text import Glyphs
from bmslink.config import Plan
from bmslink.device import Device
from bmslink.errors import BmsError
from bmslink.events import EventSeverity
from bmslink.protocols.common.settings_now import Settings

__all__ = ["change_setting"]

Draw = Callable[[], None]


async def change_setting(
    desk: Desk, follower: PackFollower, key: str, g: Glyphs, draw: Draw
) -> None:
    """From the typed value to the outcome; a person may give it up before anything is sent."""
    pack = follower.pack
    held = Settings(pack.settings)[key]
    if not held.writable:
        desk.say(f"{key} cannot be written: {held.reason or 'it is read-only'}.", "bold yellow")
        return
    between = "" if held.minimum is None else f", {held.minimum:g} to {held.maximum:g}"
    choices = f" ({', '.join(held.choices)})" if held.choices else ""
    unit = f" in {held.unit}" if held.unit else ""
    typed = await _typed(desk, f"{key}, now {held}{choices}: new value{unit}{between}: ", draw)
    if typed is None or not typed.strip():
        desk.say("Nothing was changed.")
        return
    title = f"{pack.name}: {key}"
    try:
        wish = {key: value_of(held.setting.kind, held.unit, typed.strip(), name=key)}
        device = Device(follower.opened())
        plan = await _planned(desk, device, wish, title, g, draw)
        if plan is None:
            return
        outcome_text = await _applied(desk, device, plan, title, draw)
        severity = EventSeverity.INFO
    except BmsError as error:
        outcome_text, severity = str(error), EventSeverity.ALARM
    pack.tell("change", f"{key}, from here: {outcome_text}", _clock(), severity)
    style = "bold green" if severity is EventSeverity.INFO else "bold red"
    await _read(desk, Dialog(title, wrapped(outcome_text, desk.columns, style)), draw)


async def _planned(
    desk: Desk, device: Device, wish: dict[str, object], title: str, g: Glyphs, draw: Draw
) -> Plan | None:
    """The plan that a person said yes to; `None`: no, or a check stops it."""
    waive: set[str] = set()
    chemistry: str | None = None
    while True:
        desk.dialog = Dialog(title, busy="reading the pack and planning ...")
        draw()
        try:
            plan = await device.plan(wish, waive=waive, chemistry=chemistry)
        finally:
            desk.dialog = None
        lines = lines_of(render.plan(plan, g), desk.columns)
        if plan.needs_chemistry and chemistry is None:
            said = await _typed(desk, "What are the cells made of (lfp, nmc, lto, na-ion)? ", draw)
            chemistry = (said or "").strip() or None
            if chemistry is not None:
                continue
        if plan.blocked:
            more = await _waived(desk, plan, title, lines, draw)
            if not more:
                return None
            waive |= more
            continue
        if not plan.changes:
            await _read(desk, Dialog(title, lines), draw)
            return None
        question = f"Write {count(plan)} to {device.target.label}?"
        if await _read(desk, Dialog(title, lines, question), draw):
            return plan
        desk.say("Declined: nothing was sent.")
        return None


async def _waived(desk: Desk, plan: Plan, title: str, lines: list[Text], draw: Draw) -> set[str]:
    """The checks that a person lets pass by their names, as `--waive` does; empty: none."""
    names = ", ".join(check.name for check in plan.blocked)
    told = wrapped(f"Nothing was sent: stopped by {names}.", desk.columns, "bold red")
    waivers = [check.waiver for check in plan.blocked]
    desk.dialog = Dialog(title, [*lines, *told])
    if not all(waivers):  # nothing helps
        await _read(desk, desk.dialog, draw)
        return set()
    wanted = " ".join(waivers)
    typed = await _typed(desk, f"To go on all the same, type {wanted} (it is written down): ", draw)
    desk.dialog = None
    if (typed or "").replace(",", " ").split() != waivers:
        desk.say("Nothing was sent.")
        return set()
    return set(waivers)


async def _applied(desk: Desk, device: Device, plan: Plan, title: str, draw: Draw) -> str:
    """Write it; gives back how it ended."""
    dialog = desk.dialog = Dialog(title, busy="writing ...")

    def progress(doing: str, done: int, total: int) -> None:
        dialog.busy = f"{doing} {done} of {total} ..."
        draw()

    board = device.board
    board.on_progress = progress
    draw()
    try:
        outcome = await device.apply(plan)
    finally:
        board.on_progress = None
        desk.dialog = None
    return " ".join([outcome.sentence, *outcome.notes])


async def _typed(desk: Desk, prompt: str, draw: Draw) -> str | None:
    answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    desk.typing = LineInput(prompt, answer.set_result)
    draw()
    return await answer


async def _read(desk: Desk, dialog: Dialog, draw: Draw) -> bool:
    """Show something until a key; whether that was a yes."""
    answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    dialog.done = answer.set_result
    desk.dialog = dialog
    draw()
    return await answer


def _clock() -> datetime:
    return datetime.now().astimezone()
