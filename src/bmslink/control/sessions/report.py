"""What a session came to: before and after, what it took, and that all is as it was."""

from __future__ import annotations

from typing import Any

import msgspec

from bmslink.control.sessions.ends import Ending
from bmslink.control.sessions.estimate import between
from bmslink.control.sessions.kept import KeptSession, Value
from bmslink.control.sessions.moment import CellsNow
from bmslink.settings.chemistry import chemistry

__all__ = ["SessionReport", "Set", "SetBack", "report_of", "status_of"]


class Set(msgspec.Struct, frozen=True, kw_only=True):
    """One setting that the session changed."""

    key: str
    before: Value
    during: Value
    after: Value
    restored: bool


class SetBack(msgspec.Struct, frozen=True, kw_only=True):
    """What setting everything back came to."""

    restored: bool
    """All that the session set is read back as it was."""
    rows: tuple[Set, ...] = ()
    left: tuple[str, ...] = ()
    """What is not as it was, each in a sentence with what to do."""
    elsewhere: tuple[str, ...] = ()
    """Settings that somebody else changed meanwhile."""
    writes: int = 0

    def of_nothing(self) -> SetBack:
        """The same of a session that came to change nothing."""
        return msgspec.structs.replace(self, rows=())


class SessionReport(msgspec.Struct, frozen=True, kw_only=True):
    """V, A, Ah, °C, h."""

    id: str
    pack: str
    target: str
    name: str
    who: str
    began: str
    ended: str
    result: str
    """Why it ended: one of `ends.ENDS`."""
    text: str
    done: bool
    chemistry: str
    capacity: float | None
    goal: float
    """V between the cells at which it is done."""
    top: float
    hours: float
    hours_at_top: float
    charged: float
    """Ah put in, less what was taken out."""
    highest: float
    """V of the highest cell ever."""
    hottest: float | None
    regained: float | None
    """Ah that the imbalance kept from being used, at least: between the fullest and the emptiest
    cell at the top, less what is left of that; by the chemistry's curve, good to a factor of two.
    `None`: the top was not reached."""
    writes: int
    """How many settings and switches were written, with setting back."""
    rounds: int
    before: CellsNow
    at_top: CellsNow | None
    """When the top was reached first: what the imbalance really was."""
    after: CellsNow
    set_back: SetBack

    def to_dict(self) -> dict[str, Any]:
        """For JSON: `before`, `at_top` and `after` with their cells and the difference in V."""
        found: dict[str, Any] = {n: getattr(self, n) for n in self.__struct_fields__}
        found |= {n: _shown(getattr(self, n)) for n in ("before", "at_top", "after")}
        back = self.set_back
        found["set_back"] = {
            **{n: getattr(back, n) for n in ("restored", "writes")},
            "settings": [{n: getattr(row, n) for n in row.__struct_fields__} for row in back.rows],
            "left": [*back.left],
            "changed_elsewhere": [*back.elsewhere],
        }
        return found


def _shown(now: CellsNow | None) -> dict[str, Any] | None:
    if now is None:
        return None
    return {
        "cells": [*now.cells],
        "delta": now.delta,
        "highest": now.highest,
        "lowest": now.lowest,
        "voltage": round(now.total, 3),
        "current": now.current,
        "soc": now.soc,
        "hottest": now.hottest,
        "coldest": now.coldest,
    }


def report_of(kept: KeptSession, end: Ending, back: SetBack, ended: str) -> SessionReport:
    """Of a session that has ended."""
    state = kept.state
    return SessionReport(
        id=kept.id, pack=kept.pack, target=kept.target, name=kept.name, who=kept.who,
        began=kept.began, ended=ended, result=end.name, text=end.text, done=end.done,
        chemistry=kept.plan.chemistry, capacity=kept.plan.capacity, goal=kept.plan.target,
        top=kept.plan.top, hours=round(state.time / 3600, 2),
        hours_at_top=round(state.held / 3600, 2), charged=round(state.charged, 2),
        highest=max(state.highest, kept.first.high), hottest=state.hottest,
        regained=_regained(kept), writes=kept.writes + back.writes, rounds=state.rounds,
        before=kept.first,
        at_top=kept.top_first, after=kept.last, set_back=back,
    )  # fmt: skip


def _regained(kept: KeptSession) -> float | None:
    worst, kind = kept.top_first, chemistry(kept.plan.chemistry)
    if worst is None or kept.plan.capacity is None:
        return None
    share = between(worst, kind) - between(kept.last, kind)
    return round(max(0.0, share) / 100 * kept.plan.capacity, 2)


def status_of(
    kept: KeptSession | None, report: dict[str, Any] | None, *, running: bool
) -> dict[str, Any]:
    """How a session is, for JSON; without one, what the last one came to."""
    if kept is None:
        return {"state": "none", "session": None, "report": report}
    state = kept.state
    word = "restoring" if kept.end is not None else "running"
    return {
        "state": word if running else "cut off",
        "session": {
            "id": kept.id,
            "who": kept.who,
            "owner": kept.owner,
            "began": kept.began,
            "target": kept.target,
            "phase": state.phase.value,
            "why": state.why,
            "hours": round(state.time / 3600, 2),
            "hours_at_top": round(state.held / 3600, 2),
            "charged": round(state.charged, 2),
            "writes": kept.writes,
            "goal": kept.plan.target,
            "top": kept.plan.top,
            "best": state.best,
            "ended": None if kept.end is None else kept.end.text,
            "before": _shown(kept.first),
            "now": _shown(kept.last),
            "changed": {
                key: [old, kept.plan.settings.get(key)] for key, old in kept.before.items()
            },
        },
        "report": None,
    }
