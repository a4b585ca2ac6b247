"""What is looked at before a session; nothing is sent that changes the board."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bmslink import config
from bmslink.board import Board
from bmslink.config.checks.check import require_waivers
from bmslink.config.plan import Plan
from bmslink.control.act.ledger import Ledger
from bmslink.control.act.mandate import left_holders
from bmslink.control.act.store import kept_ledger
from bmslink.control.sessions.balancer import KEYS, Balancer, HeldSetting
from bmslink.control.sessions.kept import Value
from bmslink.control.sessions.moment import CellsNow, Unusable, look
from bmslink.control.sessions.options import SessionOptions
from bmslink.control.sessions.plan import BoardLimits, SessionPlan, make_plan
from bmslink.control.sessions.preflight import Before, SessionCheck, preflight, refusals
from bmslink.errors import BmsError, GateError, SettingError
from bmslink.model import Identity, Reading, Switch
from bmslink.protocols.common.settings_now import Settings
from bmslink.runtime.acting.start import acted_on_elsewhere, pack_key
from bmslink.runtime.sessions.open_sessions import open_session_of
from bmslink.settings.chemistry import chemistry
from bmslink.storage.journal import Journal

__all__ = ["Looked", "changes_for", "look_before", "waiving"]

_LOOKS, _BETWEEN = 3, 1.0
"""Readings before a session, and s between them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was found."""

    key: str
    """Who the pack is."""
    checks: list[SessionCheck]
    plan: SessionPlan | None
    """`None`: too little is known for one."""
    change: Plan | None
    """What is written for it; `None`: no setting changes."""
    table: dict[str, Value]
    """All settings as they are."""
    now: CellsNow | None
    switch: bool | None
    """How the balancer's switch is."""

    @property
    def refused(self) -> list[SessionCheck]:
        """The checks that keep it from beginning."""
        return refusals(self.checks)

    def require(self) -> SessionPlan:
        """The plan. Raises `GateError` where the session is refused."""
        if self.refused or self.plan is None:
            why = " ".join(check.text for check in self.refused)
            raise GateError(f"Nothing was sent. {why or 'Too little is known of the pack.'}")
        return self.plan

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "pack": self.key,
            "checks": [check.to_dict() for check in self.checks],
            "refused": [check.name for check in self.refused],
            "plan": None if self.plan is None else self.plan.to_dict(),
            "change": None if self.change is None else self.change.to_dict(),
            "cells": None if self.now is None else [*self.now.cells],
        }


def waiving(options: SessionOptions) -> set[str]:
    """The checks of settings that may fail. Raises `UsageError`."""
    return require_waivers(options.waive)


async def look_before(
    board: Board,
    options: SessionOptions,
    *,
    sink: bool,
    sink_trouble: str = "",
    journal: Journal | None = None,
    served: bool = False,
) -> Looked:
    """Look at an open board. `sink`: limits reach somebody. `served`: a service asks, which knows
    by itself what acts. Raises what reading raises."""
    journal = journal or Journal()
    identity, key = await _who(board)
    reading = await _reading(board)
    table = await _settings(board)
    name = _chemistry(board, options, table)
    now, unusable = _look(reading, options)
    balancer = _balancer(identity, reading, table)
    plan = None
    if now is not None and name is not None:
        plan = make_plan(key, now, chemistry(name), balancer, _limits(table), options, by_sink=sink)
    wanted = {} if plan is None else plan.settings
    change, refused = await changes_for(board, wanted, options, name, journal)
    stopped, held = _ledger(key, reading)
    busy = not served and await asyncio.to_thread(acted_on_elsewhere, board, identity)
    before = Before(
        unusable=unusable, now=now, alarms=tuple(map(str, reading.alarms)), chemistry=name,
        balancer=balancer, plan=plan, sink=sink, sink_trouble=sink_trouble, stopped=stopped,
        held=held, other=await asyncio.to_thread(open_session_of, board, identity),
        busy="Another program on this machine acts on the pack: end it first." if busy else "",
        open_change=await config.unfinished(board, journal=journal) or "", settings=refused,
    )  # fmt: skip
    values = {} if table is None else {k: table[k].value for k in table}
    return Looked(
        key=key, checks=preflight(before), plan=plan, change=change, table=values, now=now,
        switch=balancer.on,
    )  # fmt: skip


async def _who(board: Board) -> tuple[Identity, str]:
    """Who the pack is, as two answers say: a serial number may arrive cut short, and by it a
    session is found again. Raises `GateError` where each answer differs."""
    seen: set[str] = set()
    for _ in range(_LOOKS):
        identity = await board.inspect()
        key = pack_key(board, identity)
        if key in seen:
            return identity, key
        seen.add(key)
    raise GateError(
        "Nothing was sent: each answer says that it is another board. Look at the line."
    )


async def _reading(board: Board) -> Reading:
    """The last of a few, so that one odd one decides nothing."""
    reading = await board.read()
    for _ in range(_LOOKS - 1):
        await asyncio.sleep(_BETWEEN)
        reading = await board.read()
    return reading


async def _settings(board: Board) -> Settings | None:
    try:
        return Settings(await board.settings())
    except SettingError:
        return None


def _look(reading: Reading, options: SessionOptions) -> tuple[CellsNow | None, str]:
    try:
        return look(reading, options.capacity), ""
    except Unusable as why:
        return None, str(why)


def _value(table: Settings | None, key: str) -> Value:
    return table[key].value if table is not None and key in table else None


def _number(table: Settings | None, key: str) -> float | None:
    value = _value(table, key)
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known and value else None


def _chemistry(board: Board, options: SessionOptions, table: Settings | None) -> str | None:
    """What the cells are, as somebody or the board says; never guessed."""
    named = None if board.named is None else board.named.chemistry
    said = options.chemistry or named or _value(table, "chemistry")
    if not isinstance(said, str):
        return None
    try:
        return chemistry(said).name
    except BmsError:
        if options.chemistry:
            raise
        return None


def _balancer(identity: Identity, reading: Reading, table: Settings | None) -> Balancer:
    key = Switch.BALANCE.key
    able = identity.capabilities.get("switch_balance")
    shown = reading.balance_switch
    held = _value(table, key)
    if shown is None and isinstance(held, bool):
        shown = held
    writable = table is not None and key in table and table[key].writable
    reason = "" if able is None else able.reason
    return Balancer(
        vendor=identity.vendor or "",
        on=shown,
        switchable=shown is not None and (writable or (able is not None and able.supported)),
        why=reason or "nothing proves how",
        settings={
            k: HeldSetting(table[k].value, table[k].writable, table[k].reason, table[k].minimum)
            for k in KEYS
            if table is not None and k in table and table[k].value is not None
        },
        current=_number(table, "balance_current"),
    )


def _limits(table: Settings | None) -> BoardLimits:
    keys = BoardLimits.__struct_fields__
    return BoardLimits(**{key: _number(table, key) for key in keys})


async def changes_for(
    board: Board,
    wanted: Mapping[str, object],
    options: SessionOptions,
    chemistry: str | None,
    journal: Journal,
) -> tuple[Plan | None, str]:
    """The change of settings, and why it cannot be made, in sentences; empty: it can."""
    if not wanted:
        return None, ""
    change = await config.draft(
        board, wanted, waive=waiving(options), chemistry=chemistry, journal=journal
    )
    # these two have checks of their own
    failed = [check for check in change.blocked if check.name not in ("unfinished", "session")]
    blocked = " ".join(check.sentence for check in failed)
    return change, f"Its settings cannot be changed as planned. {blocked}" if blocked else ""


def _ledger(key: str, reading: Reading) -> tuple[str, tuple[str, ...]]:
    """Who stopped the pack, and who holds charging or balancing off."""
    kept = kept_ledger(key)
    if kept.trouble:
        return "", (kept.trouble,)
    if kept.ledger is None:
        return "", ()
    stop = kept.ledger.stop
    return "" if stop is None else stop.who or "Somebody", tuple(_held(kept.ledger, reading))


def _held(ledger: Ledger, reading: Reading) -> list[str]:
    found = []
    for name, shown in (
        ("charge", reading.charge_switch), ("balance", reading.balance_switch),
    ):  # fmt: skip
        holders = left_holders(ledger.record(name))
        if holders and shown is not True:
            found.append(f"{name} by {', '.join(holders)}")
    return found
