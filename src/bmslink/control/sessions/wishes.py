"""What a session wants of the charger, and how it meets what policies permit: the lower wins."""

from __future__ import annotations

import math

import msgspec

from bmslink.control.decide.decision import Limits
from bmslink.control.decide.limits import Kind, Limit, Reason, whole_thousandths
from bmslink.control.sessions.moment import CellsNow
from bmslink.control.sessions.numbers import SessionNumbers

__all__ = ["NAME", "ChargeWish", "alone", "ceiling", "charge_current", "narrowed", "resting"]

NAME = "balance_session"
"""How reasons call it."""


class ChargeWish(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted now."""

    cvl: float | None = None
    """The highest voltage of the pack, V; `None`: nothing is said, because nothing is known."""
    ccl: float = 0.0
    """The highest charge current, A."""
    balance: bool | None = None
    """How the balancer's switch is wanted; `None`: as it is."""
    why: str = ""
    """In a few words."""


def ceiling(now: CellsNow, top: float) -> float:
    """The voltage of the pack at which its highest cell is at the top, V, if the others keep their
    distance; a cell that is over the top lowers it below what the pack has now."""
    room = top - now.high
    return now.total + len(now.cells) * room


def resting(now: CellsNow, top: float) -> float:
    """The voltage of the pack at which nothing is pushed, V: what it has, and never more than
    leaves its highest cell at the top."""
    return min(now.total, ceiling(now, top))


def charge_current(
    high: float, top: float, full: float, holding: float, n: SessionNumbers
) -> float:
    """The charge current that suits the highest cell, A: full until the top is near, then falling
    to what holds it there, and nothing above it."""
    below = top - high
    if below >= n.near:
        return full
    if below >= n.lead:
        share = (below - n.lead) / (n.near - n.lead)
        return holding + share * (max(full, holding) - holding)
    share = (below + n.lead) / (2 * n.lead)
    return holding * min(1.0, max(0.0, share))


def narrowed(limits: Limits, wish: ChargeWish | None) -> Limits:
    """What policies permit, and no more than the session wants; each limit keeps all reasons, the
    binding one first."""
    if wish is None or wish.cvl is None:
        return limits
    return msgspec.structs.replace(
        limits,
        cvl=_lower(limits.cvl, _reason(wish.cvl, wish.why)),
        ccl=_lower(limits.ccl, _reason(wish.ccl, wish.why)),
    )


def alone(wish: ChargeWish, *, dcl: float, dvl: float) -> Limits | None:
    """The limits of a pack that no policy limits; `None` where the session says nothing. `dcl` and
    `dvl`: what a session leaves as it is has to be in the message too."""
    if wish.cvl is None:
        return None
    text = "a balancing session limits no discharge"
    return Limits(
        cvl=_limit(_reason(wish.cvl, wish.why)),
        ccl=_limit(_reason(wish.ccl, wish.why)),
        dcl=_limit(Reason("board", whole_thousandths(dcl), text)),
        dvl=_limit(Reason("board", whole_thousandths(dvl), text)),
    )


def _reason(value: float, why: str) -> Reason:
    known = value if math.isfinite(value) else 0.0
    return Reason(
        NAME, max(0.0, whole_thousandths(known)), why or "a balancing session", Kind.PHASE
    )


def _limit(reason: Reason) -> Limit:
    return Limit(reason.value, (reason,))


def _lower(limit: Limit, reason: Reason) -> Limit:
    if reason.value < limit.value:
        return Limit(reason.value, (reason, *limit.reasons))
    return Limit(limit.value, (*limit.reasons, reason))
