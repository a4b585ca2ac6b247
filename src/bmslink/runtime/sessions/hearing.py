"""What a session makes of what it hears. Pure, but for the clock of the calendar."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime

from bmslink.control.decide.decision import Decision
from bmslink.control.sessions.kept import KeptSession
from bmslink.control.sessions.moment import CellsNow, Unusable, look
from bmslink.control.sessions.state import Phase
from bmslink.model import Reading

__all__ = ["holders", "shown_by", "utc_now", "word_of", "worst_at_top"]


def worst_at_top(kept: KeptSession, shown: CellsNow) -> CellsNow | None:
    """The reading at the top with the largest difference."""
    worst = kept.top_first
    if kept.state.phase is Phase.APPROACH or (worst is not None and worst.delta >= shown.delta):
        return worst
    return shown


def shown_by(heard: Reading | str, kept: KeptSession) -> tuple[CellsNow | None, str]:
    """The cells, or why nothing usable was heard."""
    if isinstance(heard, str):
        return None, heard.rstrip(".")
    try:
        return look(heard, kept.options.capacity or kept.plan.capacity), ""
    except Unusable as why:
        return None, str(why)


def holders(decision: Decision | None, on: str) -> str:
    """Who withdraws a permit, in words."""
    if decision is None or decision.stale:
        return ""
    permit = getattr(decision, on)
    return ", ".join(reason.text for reason in permit.reasons)


def word_of(kept: KeptSession) -> str:
    """The pack as it is written in a shell."""
    return shlex.quote(kept.name or kept.target)


def utc_now() -> str:
    """For show, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
