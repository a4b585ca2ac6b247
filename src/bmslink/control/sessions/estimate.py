"""How long a session takes: an estimate, with how far off it may be."""

from __future__ import annotations

import msgspec

from bmslink.control.sessions.balancer import Balancer
from bmslink.control.sessions.moment import CellsNow
from bmslink.settings.chemistry import Chemistry

__all__ = ["BalanceEstimate", "Span", "between", "estimate"]

Span = tuple[float, float, float]
"""At least, likely, at most."""

_UNSURE = 2.0
"""The slope near full differs between makers and with age by about so much either way."""
_UNSEEN: Span = (0.2, 1.5, 5.0)
"""% of the capacity, where the pack is too far from full for its voltages to say anything: what
installers find in packs that were never balanced at the top."""


class BalanceEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """Charge in Ah, times in h; each at least, likely, at most; `None`: nobody can know."""

    seen: bool
    """Whether the cells are near enough to full for their voltages to say something."""
    charge: Span | None
    """Ah between the fullest and the emptiest cell."""
    amps: tuple[float, float] | None
    duty: float | None
    to_top: float | None
    """h until the fullest cell is at the top."""
    hours: Span | None
    """All of it."""
    basis: str

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


def estimate(
    now: CellsNow, kind: Chemistry, balancer: Balancer, *, start: float, amps: float
) -> BalanceEstimate:
    """By the chemistry's curve. `amps`: the charge current until the top is near."""
    seen = now.high >= start - 0.02
    share = between(now, kind)
    spread: Span = (share / _UNSURE, share, share * _UNSURE) if seen else _UNSEEN
    capacity, works = now.capacity, balancer.amps
    charge = None if capacity is None else _scaled(spread, capacity / 100)
    to_top = None
    if capacity is not None and now.soc is not None and amps > 0:
        to_top = max(0.0, 100 - now.soc) / 100 * capacity / amps
    duty = None if balancer.known is None else balancer.known.duty
    hours = None
    if charge is not None and works is not None and duty is not None:
        moved = _moved(now, charge, balancer)
        first = to_top or 0.0
        likely = (works[0] * works[1]) ** 0.5
        hours = (
            first + moved[0] / works[1] / duty,
            first + moved[1] / likely / duty,
            2 * first + moved[2] / works[0] / duty,
        )
    return BalanceEstimate(
        seen=seen, charge=charge, amps=works, duty=duty, to_top=to_top, hours=hours,
        basis=_basis(seen=seen, balancer=balancer),
    )  # fmt: skip


def between(now: CellsNow, kind: Chemistry) -> float:
    """% of the capacity between the fullest and the emptiest cell, by the curve."""
    share = kind.soc_at(min(now.high, kind.full_voltage)) - kind.soc_at(now.low)
    if now.high > kind.full_voltage:  # above the curve's end a millivolt is worth ever less
        share += (now.high - max(now.low, kind.full_voltage)) / _steepness(kind)
    return share


def _steepness(kind: Chemistry) -> float:
    """V per % at the end of the curve."""
    (x0, y0), (x1, y1) = kind.curve[-2:]
    return (y1 - y0) / (x1 - x0)


def _scaled(span: Span, factor: float) -> Span:
    return span[0] * factor, span[1] * factor, span[2] * factor


def _moved(now: CellsNow, charge: Span, balancer: Balancer) -> Span:
    """Ah that the balancer has to move. Bleeding works on all high cells at once, so the fullest
    one decides; an active one serves one cell after the other."""
    active = balancer.known is not None and balancer.known.kind == "active"
    if not active or now.delta == 0:
        return charge
    mean = now.total / len(now.cells)
    above = sum(max(0.0, volts - mean) for volts in now.cells) / now.delta
    return _scaled(charge, max(0.5, above))


def _basis(*, seen: bool, balancer: Balancer) -> str:
    known = balancer.known
    told = "from the board's setting" if balancer.current else f"usual for {balancer.vendor}"
    current = "the balancer's current is not known" if known is None else f"its current is {told}"
    slope = (
        "the charge between the cells is by the typical curve of the chemistry, good to a factor "
        f"of {_UNSURE:g}"
        if seen
        else "how far the cells are apart shows only at the top"
    )
    return f"{slope}; {current}"
