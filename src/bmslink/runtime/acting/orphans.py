"""What was switched off from here and is off still, for somebody who wants it on without us."""

from __future__ import annotations

import asyncio
from typing import Any

from bmslink.board import Board
from bmslink.control.act.actuator import ACTUATORS
from bmslink.control.act.facts import states_of
from bmslink.control.act.store import LedgerStore
from bmslink.runtime.acting.start import acted_on_elsewhere, pack_key

__all__ = ["orphans"]


async def orphans(board: Board) -> list[dict[str, Any]]:
    """Every switch of an open board that is off, by the board and by the ledger on this machine:
    whose off it is, who wanted it, and how it is switched on. Changes nothing."""
    identity = await board.identify()
    shown = states_of(await board.read())
    key = pack_key(board, identity)
    ledger = (await asyncio.to_thread(LedgerStore(key).load, 0.0)).ledger
    busy = await asyncio.to_thread(acted_on_elsewhere, board, identity)
    found: list[dict[str, Any]] = []
    for name in ACTUATORS:
        record = ledger.record(name)
        if shown[name] is not False and not record.own:
            continue
        word = board.target.word
        on = f"`bmslink switch {word} {name} on`, or the vendor's app"
        if ledger.stop is not None:
            on = f"`bmslink control reset {word}`, then {on}"
        elif busy:
            on = f"a program that acts on it gives it back (`bmslink control status`); else {on}"
        found.append(
            {
                "switch": name,
                "shown": shown[name],
                "ours": record.own,
                "holders": list(record.holders),
                "person": record.person,
                "stopped": ledger.stop is not None,
                "on_by": on,
            }
        )
    return found
