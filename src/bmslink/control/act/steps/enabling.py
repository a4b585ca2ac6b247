"""Switching on again: only what we switched off, and only when everything speaks for it."""

from __future__ import annotations

from collections.abc import Callable

from bmslink.control.act.facts import SwitchFacts
from bmslink.control.act.ledger import Ledger
from bmslink.control.act.mandate import Mandate, SwitchWish
from bmslink.control.act.numbers import HOUR, ActingNumbers
from bmslink.control.decide.policy import Demand

__all__ = ["BUDGET", "DISK", "FUTILE", "JOIN", "budget_left", "obstacle"]

FUTILE = "futile"
BUDGET = "budget"
DISK = "disk"
JOIN = "join"


def obstacle(
    name: str,
    ledger: Ledger,
    wish: SwitchWish,
    facts: SwitchFacts | None,
    now: float,
    *,
    mandate: Mandate,
    numbers: ActingNumbers,
    stale: bool,
    disk: bool,
    joins: Callable[[str], str] = lambda name: "",
) -> tuple[str, str]:
    """Why a switch is not given back now: a word for programs and a sentence; empty: it may be.
    `joins` says why a switch may not close beside other packs of its bank."""
    record = ledger.record(name)
    run = ledger.run
    if not record.own:
        return "not_ours", "We did not switch it off, so it is not ours to give back."
    if record.prior is not True:
        return "prior", "It is not known that it was on before, so only a person switches it on."
    if not mandate.enforce:  # a balancer that a stop took is given back, though no policy takes it
        return "shadow", "Policies do not act on it, so only a person switches it on."
    if record.down is not None:
        return "down", "We stand down: `bmslink control resume TARGET` ends that."
    if wish.demand != Demand.FREE:
        return "held", f"Held by {', '.join(wish.holders) or 'an override'}: {wish.why}"
    if stale or facts is None or not facts.good or run.good < numbers.good_samples:
        return "data", f"{numbers.good_samples} good samples in a row are needed."
    if facts.shown(name) is not False or not record.confirmed:
        return "unread", "The board does not show it as off, so what we sent is not confirmed."
    if name in facts.protected:
        return "protected", "The BMS's own protection closes that path."
    early = max(
        run.started + numbers.after_start,
        numbers.min_off + (now if record.off_at is None else record.off_at),
        max((t + numbers.enable_apart for t in record.enables), default=now),
    )
    if now < early:
        return "early", f"It may be switched on in {early - now:.0f} s."
    if record.order is not None and record.order.on and record.order.pending:
        return "pending", "It was switched on a moment ago; the board does not show it yet."
    if record.futile >= numbers.futile_enables:
        return FUTILE, (
            f"It was switched on {record.futile} times, and the board does not show it: a person "
            "has to look."
        )
    if sum(now - t < HOUR for t in record.enables) >= numbers.enables_an_hour:
        return "hour", f"It was switched on {numbers.enables_an_hour} times within an hour."
    if not budget_left(ledger, now, numbers):
        return BUDGET, (
            f"{numbers.writes_a_day} switch writes within a day are used up: nothing is switched "
            "on until some of them are a day old."
        )
    if not disk:
        return DISK, "The ledger cannot be written, so nothing is switched on."
    if why := joins(name):
        return JOIN, f"It waits: {why}"
    return "", ""


def budget_left(ledger: Ledger, now: float, numbers: ActingNumbers) -> bool:
    """Whether a switch may be switched on once more today."""
    return ledger.writes_today(now) < numbers.writes_a_day
