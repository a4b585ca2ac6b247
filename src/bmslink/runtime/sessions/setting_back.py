"""Everything back as it was before a session, by the road of every change; may be repeated."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from bmslink import config
from bmslink.board import Board
from bmslink.config.outcome import Outcome
from bmslink.control.sessions.kept import KeptSession, Value
from bmslink.control.sessions.report import Set, SetBack
from bmslink.errors import (
    BmsError,
    GateError,
    RollbackError,
    SettingError,
    TransportError,
    VerifyError,
)
from bmslink.model import Switch
from bmslink.runtime.acting.start import pack_key
from bmslink.storage.journal import Journal

__all__ = ["SwitchBalancer", "not_yet_set", "passes", "set_back", "what_remains"]

SwitchBalancer = Callable[[bool], Awaitable[Outcome]]
"""Sets the balancer's switch, by the road of whoever has the board."""

TakeTurn = Callable[[str], AbstractAsyncContextManager[Board]]
"""Gives the board for a command."""

_WHAT = "a balancing session is set back"
_SWITCH = Switch.BALANCE.key
_LOOKS, _TICK = 3, 0.3
"""How often who answers is asked where it differs, and how far apart, s."""
_WORD = "_bits"
"""A whole word, of which a switch is one bit."""


async def set_back(
    turn: TakeTurn, kept: KeptSession, switch: SwitchBalancer, journal: Journal | None = None
) -> SetBack:
    """Set back what the session set and nobody else changed since, and compare all settings.

    Raises `GateError` where another board answers or somebody else's change was cut off, and what
    reading, `config.apply` and switching raise: then it is to be repeated.
    """
    journal = journal or Journal()
    async with turn(_WHAT) as board:
        await _require_same(board, kept)
        await _end_cut_off(board, kept, journal)
        back, left = _sorted_out(kept, await _values(board) if kept.before else {})
        if back:
            await _write(board, back, kept, journal)
        shown = await _switch_shown(board)
    writes = len(back) + await _switch_back(kept, shown, switch, left)
    async with turn(_WHAT) as board:
        return await _compared(board, kept, left, writes)


async def not_yet_set(board: Board, kept: KeptSession, journal: Journal) -> dict[str, Value]:
    """What a session that was cut off had not come to set: what still is as it was. What somebody
    else set meanwhile stays. Raises as `set_back`."""
    await _require_same(board, kept)
    await _end_cut_off(board, kept, journal)
    values = await _values(board)
    return {
        key: value
        for key, value in kept.plan.settings.items()
        if _same(values.get(key), kept.before.get(key))
    }


async def _require_same(board: Board, kept: KeptSession) -> None:
    """Asked again where another one seems to answer: a serial number may arrive cut short."""
    for left in reversed(range(_LOOKS)):
        key = pack_key(board, await board.identify())
        if key == kept.pack:
            return
        await asyncio.sleep(_TICK if left else 0)
    raise GateError(
        f"Nothing was sent: {key} answers, and the balancing session is of {kept.pack}."
    )


async def _end_cut_off(board: Board, kept: KeptSession, journal: Journal) -> None:
    """A change of ours that was cut off goes back first. Raises `GateError` for somebody else's."""
    found = await config.cut_off_change(board, journal=journal)
    if found is None:
        return
    ours = {*kept.before, _SWITCH}
    about = set(found.stands) or {f"{found.begin.get('switch')}_switch"}
    if found.damage or not about <= ours:
        raise GateError(f"Nothing was sent. {found.sentence}")
    again = partial(config.resume, board, agreed=True, waive=("unchanged",), journal=journal)
    try:
        await again(rollback=True)
    except GateError as error:
        if [check.name for check in error.checks if not check.passed] != ["unchanged"]:
            raise
        await again(keep=True)  # somebody else set it since: comparing finds what is left of ours


async def _values(board: Board) -> Mapping[str, Any]:
    return (await _values_and_live(board))[0]


async def _values_and_live(board: Board) -> tuple[Mapping[str, Any], set[str]]:
    """All settings, and those that a board counts by itself."""
    try:
        table = await board.settings()
    except SettingError:
        return {}, set()
    return table.values(), {row.key for row in table.map.settings if row.live}


def _sorted_out(
    kept: KeptSession, values: Mapping[str, Any]
) -> tuple[dict[str, Value], dict[str, str]]:
    """What is to be set back, and what somebody else has changed."""
    back: dict[str, Value] = {}
    left: dict[str, str] = {}
    for key, old in kept.before.items():
        found, ours = values.get(key), kept.plan.settings.get(key)
        if _same(found, old):
            continue
        if _same(found, ours):
            back[key] = old
        else:
            left[key] = (
                f"{key} is {found}: somebody else set it. It was {old} before, and stays as it is."
            )
    return back, left


async def _write(
    board: Board, back: Mapping[str, Value], kept: KeptSession, journal: Journal
) -> None:
    """As the board held these values before, they may go back whatever speaks against them."""
    waive = set(kept.options.waive)
    kind = kept.plan.chemistry
    plan = await config.draft(board, back, waive=waive, chemistry=kind, journal=journal)
    against = {check.waiver for check in plan.blocked if check.waiver}
    if against:
        waive |= against
        plan = await config.draft(board, back, waive=waive, chemistry=kind, journal=journal)
    await config.apply(board, plan, journal=journal, command="balance session: set back")


async def _switch_back(
    kept: KeptSession, shown: bool | None, switch: SwitchBalancer, left: dict[str, str]
) -> int:
    """Outside of every turn, because switching takes its own."""
    before = kept.switch_before
    if not kept.switched or before is None or shown is before:
        return 0
    name = "" if kept.end is None else kept.end.name
    if name == "switched":
        way = "on" if shown else "off"
        left[_SWITCH] = f"Balancing stays {way}: somebody switched it meanwhile."
        return 0
    if name == "stopped" and before:
        left[_SWITCH] = "Balancing stays off, as all that was stopped: a reset comes first."
        return 0
    await switch(before)  # what it did is read below
    return 1


async def _switch_shown(board: Board) -> bool | None:
    held = (await _values(board)).get(_SWITCH)
    if isinstance(held, bool):
        return held
    return (await board.read()).balance_switch


async def _compared(
    board: Board, kept: KeptSession, left: Mapping[str, str], writes: int
) -> SetBack:
    """Every setting as it is now beside what it was."""
    values, counted = await _values_and_live(board) if kept.table else ({}, set())
    rows = [
        Set(key=key, before=old, during=kept.plan.settings.get(key), after=values.get(key),
            restored=_same(values.get(key), old))
        for key, old in kept.before.items()
    ]  # fmt: skip
    shown = await _switch_shown(board)
    if kept.switch_before is not None and kept.switched:
        rows.append(
            Set(key=_SWITCH, before=kept.switch_before, during=kept.state.permit.on, after=shown,
                restored=shown is kept.switch_before)
        )  # fmt: skip
    ours = {row.key for row in rows}
    if kept.end is not None and kept.end.name == "stopped":  # a stop is nobody's setting
        ours |= {switch.key for switch in Switch}
        ours |= {key for key in kept.table if key.endswith(_WORD)}
    others = [
        f"{key} is {values.get(key)}, and was {old}"
        for key, old in kept.table.items()
        if key not in ours and key not in counted and not _same(values.get(key), old)
    ]
    wrong = [row for row in rows if not row.restored]
    if any(row.key not in left for row in wrong):
        told = ", ".join(f"{row.key} is {row.after}" for row in wrong if row.key not in left)
        raise VerifyError(f"It was set back and is not read back so: {told}.")
    return SetBack(
        restored=not wrong, rows=tuple(rows), left=tuple(left.values()),
        elsewhere=tuple(others), writes=writes,
    )  # fmt: skip


def _same(one: object, other: object) -> bool:
    """Whether two values of a setting are equal, but for what floats lose."""
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (one, other))
    if numbers and isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6)
    return one == other


def what_remains(kept: KeptSession, word: str, error: BmsError | None) -> str:
    """What the board may still hold, and the command that sets it back."""
    told = [
        f"{key} = {kept.plan.settings.get(key)} (was {old})" for key, old in kept.before.items()
    ]
    if kept.switched and kept.switch_before is not None:
        told.append(f"balancing (was {'on' if kept.switch_before else 'off'})")
    what = ", ".join(told) or "nothing of the session"
    why = "" if error is None else f" {error}"
    wrote = isinstance(error, (RollbackError, VerifyError))
    sure = "It may hold" if not wrote else "By what is read it may hold"
    return (
        f"The session is over and not everything is set back.{why} {sure} {what}: "
        f"`bmslink balance session {word} --restore` sets it back."
    )


def passes(error: BmsError) -> bool:
    """Whether it is over by itself, and nothing was written: a lost link, another change of the
    pack at this moment (a switch that is read back), a table that was read twice differently."""
    if isinstance(error, GateError):
        failed = [check.name for check in error.checks if check.passed is False]
        return bool(failed) and {*failed} <= {"lock", "health"}
    return isinstance(error, TransportError)
