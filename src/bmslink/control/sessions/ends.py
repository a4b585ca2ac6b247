"""What ends a session, each in words, and how long each has to hold. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from bmslink.control.sessions.moment import CellsNow
from bmslink.control.sessions.plan import SessionPlan
from bmslink.control.sessions.state import Around, HeldEnd, Phase, SessionState

__all__ = ["ENDS", "Ending", "why_ended"]

ENDS: Mapping[str, str] = {
    "done": "the cells are within the target, at the top and after a rest",
    "cancelled": "somebody cancelled it",
    "stopped": "an emergency stop",
    "cell_high": "a cell went beyond its bound: the charger does not obey, or a cell runs away",
    "cell_low": "a cell fell below what it may: the pack was emptied meanwhile",
    "hot": "a cell is too hot",
    "balancer_hot": "the balancer or the MOSFETs are too hot",
    "protection": "the BMS tripped, or reports a fault",
    "switched": "somebody switched charging or balancing by another way",
    "other_cells": "the board shows another number of cells",
    "growing": "the cells move apart: a wire, or the order of the cells",
    "no_effect": "the balancer was never seen at work",
    "no_progress": "nothing improved for hours",
    "blind": "nothing was heard of the pack for long",
    "time": "it took longer than it may",
    "failed": "the settings could not be changed as planned",
}
"""How a session may end -> what it means."""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a session."""

    name: str
    """One of `ENDS`."""
    text: str
    """In a sentence, with its numbers."""

    @property
    def done(self) -> bool:
        """It ended because the cells are together."""
        return self.name == "done"


_SHUT = 600.0
"""s for which a board may let nothing in without a reason: some look again only so often."""


class _Rule(NamedTuple):
    name: str
    holds: bool
    text: str
    seconds: float = 0.0
    samples: int = 2


def why_ended(
    plan: SessionPlan,
    state: SessionState,
    now: CellsNow | None,
    around: Around,
    *,
    at_top: bool,
    blind: str = "",
) -> tuple[Ending | None, dict[str, HeldEnd]]:
    """What ends it at this moment, if anything, and what of it holds for a while already. What
    protects comes first. Without a reading nothing that a reading shows goes on or is over."""
    held = dict(state.ends)
    if around.stopped:
        return Ending(name="stopped", text=f"{around.stopped} stopped the pack."), held
    if now is not None:
        shown = state.permit.confirmed
        rules = [
            *_bounds(plan, now),
            *_people(now, balance_switch=shown, held_back=bool(around.charge_held)),
            *_progress(plan, state, now, at_top=at_top),
        ]
        end, held = _ripe(rules, state.ends, state.time)
        if end is not None:
            return end, held
    if around.cancelled:
        return Ending(name="cancelled", text=f"{around.cancelled} cancelled it."), held
    if state.phase is Phase.DONE:
        apart = 0.0 if now is None else 1000 * now.delta
        text = f"The cells are {apart:.0f} mV apart after a rest at the top."
        return Ending(name="done", text=text), held
    return _too_long(plan, state, blind), held


def _ripe(
    rules: list[_Rule], before: Mapping[str, HeldEnd], time: float
) -> tuple[Ending | None, dict[str, HeldEnd]]:
    """The first that has held for long enough, and all that hold."""
    held: dict[str, HeldEnd] = {}
    for rule in rules:
        if not rule.holds:
            continue
        old = before.get(rule.name, HeldEnd(time, 0))
        ripe = held[rule.name] = HeldEnd(old.since, old.count + 1)
        if ripe.count >= rule.samples and time - ripe.since >= rule.seconds:
            return Ending(name=rule.name, text=rule.text), held
    return None, held


def _too_long(plan: SessionPlan, state: SessionState, blind: str) -> Ending | None:
    n, silent = plan.numbers, state.time - state.seen
    if silent >= n.blind:
        why = f": {blind}" if blind else ""
        text = f"Nothing usable was heard of the pack for {silent / 3600:.1f} h{why}."
        return Ending(name="blind", text=text)
    if state.time >= 3600 * n.hours:
        return Ending(name="time", text=f"It may take {n.hours:g} h, and those are over.")
    return None


def _bounds(plan: SessionPlan, now: CellsNow) -> Iterator[_Rule]:
    n = plan.numbers
    yield _Rule(
        "cell_high", now.high >= plan.bound,
        f"Cell {now.highest} is at {now.high:.3f} V, and {plan.bound:.3f} V is the bound: the "
        "charger does not do what it is told, or the cell runs away.",
    )  # fmt: skip
    yield _Rule(
        "protection", bool(now.protections),
        f"The BMS protects or reports a fault: {', '.join(now.protections)}.",
    )  # fmt: skip
    hot = now.hottest is not None and now.hottest >= plan.hottest
    yield _Rule("hot", hot, f"A cell is at {now.hottest or 0:.0f} °C.", 20.0)
    part = now.part is not None and now.part >= n.balancer_hot
    yield _Rule(
        "balancer_hot", part, f"The balancer or the MOSFETs are at {now.part or 0:.0f} °C.", 20.0
    )
    yield _Rule(
        "cell_low", now.low <= plan.floor,
        f"Cell {now.lowest} is at {now.low:.3f} V: the pack was emptied meanwhile.", 60.0,
    )  # fmt: skip
    yield _Rule(
        "other_cells", len(now.cells) != plan.cells,
        f"The board shows {len(now.cells)} cells, and it were {plan.cells}.", 0.0, 3,
    )  # fmt: skip


def _people(now: CellsNow, *, balance_switch: bool | None, held_back: bool) -> Iterator[_Rule]:
    moved = now.balance_switch is not None and balance_switch is (not now.balance_switch)
    way = "on" if now.balance_switch else "off"
    yield _Rule("switched", moved, f"Somebody switched balancing {way} by another way.", 5.0, 3)
    if not moved:
        off = now.charge_switch is False and not held_back and not now.passing
        yield _Rule("switched", off, "Somebody switched charging off by another way.", 5.0, 3)
        if not off:  # a board that does not show its switch
            shut = now.shut and not held_back
            text = "The board lets no charge current in and does not say why: is it switched off?"
            yield _Rule("switched", shut, text, _SHUT, 3)


def _progress(
    plan: SessionPlan, state: SessionState, now: CellsNow, *, at_top: bool
) -> Iterator[_Rule]:
    n, best = plan.numbers, state.best
    apart, closest = 1000 * now.delta, 1000 * (best or 0)
    grown = at_top and best is not None and now.delta >= best + n.grows
    yield _Rule(
        "growing", grown,
        f"At the top the cells are {apart:.0f} mV apart, and were {closest:.0f} mV already: a "
        "sense wire or the order of the cells is wrong, or a cell leaks.", n.growing,
    )  # fmt: skip
    yield _Rule(
        "no_effect", state.idle >= n.unseen,
        f"For {state.idle / 60:.0f} min at the top the cells were {apart:.0f} mV apart, and the "
        "board never showed that it balances.", 0.0, 1,
    )  # fmt: skip
    yield _Rule(
        "no_progress", state.stalled >= n.stalled,
        f"In {state.stalled / 3600:.1f} h at the top the cells came no closer than "
        f"{closest:.0f} mV.", 0.0, 1,
    )  # fmt: skip
