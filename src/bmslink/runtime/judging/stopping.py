"""An emergency stop of a served pack: its offs leave before anything that may wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from bmslink.runtime.acting.direct import send_offs, who_after
from bmslink.runtime.acting.drill import Drill
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.judging.pack_judge import PackJudge
from bmslink.runtime.pack_turns import PackTurns

__all__ = ["stop_all"]

_DRILL_ENDS = 5.0
"""How long a stop waits for the end of a drill, whose offs are its own, s: a disk may keep it."""


async def stop_all(
    judge: PackJudge,
    turns: PackTurns,
    drilling: Callable[[], Drill | None],
    wish: ActingWish,
    who: str,
) -> list[str]:
    """All off, read back, until a reset. Where nothing acts on the board yet, its offs leave before
    anything that may wait: a question, the disk, the drill that goes on, a switch that is being set
    by hand. Raises what `PackJudge.stop` and `PackJudge.require_stopped` raise."""
    acting = judge.acting
    waive = acting.waive | wish.waived
    async with turns.off() as board:
        acts = acting.acts_on(board.known if board.certain else None)
        at_once = not acts or wish.untested  # what acts may not reach all
        sent = await send_offs(board, waive) if at_once else []
    try:  # what follows may wait for a disk, and polls do not
        drill = drilling()
        if drill is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(drill.over.wait(), _DRILL_ENDS)
        identity = await who_after(board, sent)
        done = await judge.stop(wish, who, identity, sent)
    except Exception:
        if not sent:  # what acts did not send it
            async with turns.off():
                await send_offs(board, waive)
        raise
    await judge.require_stopped()
    return done
