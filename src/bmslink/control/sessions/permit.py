"""Whether the balancer may work now: by region, and seldom switched. Pure."""

from __future__ import annotations

import msgspec

from bmslink.control.sessions.moment import CellsNow
from bmslink.control.sessions.plan import SessionPlan

__all__ = ["Permitting", "permitted", "switched"]


class Permitting(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the balancer's switch; times in s since the session began."""

    on: bool | None = None
    """How the session set it last; `None`: it has not set it."""
    confirmed: bool | None = None
    """How the board shows it when nobody else switches: as it was, or as the session has set it;
    `None`: it does not show it."""
    at: float | None = None
    """When it was set last."""
    count: int = 0
    """How often."""
    against: float | None = None
    """Since when something speaks against balancing."""


def permitted(
    plan: SessionPlan, known: Permitting, now: CellsNow, time: float, held: str
) -> tuple[Permitting, bool | None, str]:
    """The memory, how the switch is wanted (`None`: as it is), and what is waited for, in words.

    A board that balances at the top and nowhere else is left on: only heat and a policy switch it,
    and those while it really works. Another one is switched by region.
    """
    shown = now.balance_switch
    if shown is not None and (known.confirmed is None if known.on is None else shown == known.on):
        known = msgspec.structs.replace(known, confirmed=shown)
    why = _against(plan, now, held)
    working = now.balancing is not False
    if why and (working or not plan.by_itself):
        against = time if known.against is None else known.against
    else:
        against = None
    known = msgspec.structs.replace(known, against=against)
    if not plan.switchable or (plan.by_itself and not (why or known.on is False)):
        return known, None, ""
    n = plan.numbers
    wanted = not why
    current = known.on if known.on is not None else shown
    if wanted == (current is not False) or (plan.by_itself and why and not working):
        return known, None, ""
    since = 0.0 if against is None else time - against
    hot = now.part is not None and now.part >= n.balancer_rest
    if why and not hot and since < n.dwell:
        return known, None, ""
    if known.at is not None and time - known.at < n.dwell and not hot:
        return known, None, ""
    if wanted and known.count >= n.switchings:
        return known, None, "balancing stays off: its switch was set often enough"
    return known, wanted, f"balancing pauses: {why}" if why else ""


def switched(known: Permitting, time: float, *, on: bool, confirmed: bool | None) -> Permitting:
    """The memory after the switch was set."""
    return msgspec.structs.replace(
        known, on=on, confirmed=confirmed, at=time, count=known.count + 1, against=None
    )


def _against(plan: SessionPlan, now: CellsNow, held: str) -> str:
    """What speaks against balancing now, in words; empty: nothing."""
    n = plan.numbers
    if now.part is not None and now.part >= n.balancer_rest:
        return f"the balancer is at {now.part:.0f} °C"
    if held:
        return held
    if now.coldest is not None and now.coldest < n.coldest:
        return f"the cells are at {now.coldest:.0f} °C"
    if plan.by_itself:
        return ""
    if now.high < plan.start:
        return f"the highest cell is below {plan.start:.3f} V"
    if now.current is not None and abs(now.current) > n.most_current * (plan.capacity or 1e9):
        return f"{now.current:+.0f} A flow"
    return ""
