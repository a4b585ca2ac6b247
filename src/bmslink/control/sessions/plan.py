"""What a session will do, decided before anything is sent."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from bmslink.control.sessions.balancer import Balancer
from bmslink.control.sessions.estimate import BalanceEstimate, estimate
from bmslink.control.sessions.moment import CellsNow
from bmslink.control.sessions.numbers import SessionNumbers
from bmslink.control.sessions.options import SessionOptions
from bmslink.settings.bands import BANDS, CHARGE_ROOM
from bmslink.settings.chemistry import Chemistry

__all__ = ["BoardLimits", "SessionPlan", "make_plan", "top_of"]


class BoardLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What the board's own protection is set to, V and A; `None`: not known."""

    cell_ovp: float | None = None
    cell_ovp_warning: float | None = None
    pack_ovp: float | None = None
    charge_ocp: float | None = None
    discharge_ocp: float | None = None


class SessionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """V, A, °C, Ah. Everything that the state machine needs beside readings."""

    pack: str
    """Who it is, as in its ledger."""
    cells: int
    chemistry: str
    capacity: float | None
    target: float
    top: float
    """The highest cell is held here."""
    top_why: str
    bound: float
    """A cell here ends the session."""
    floor: float
    """A cell below this ends it too."""
    start: float
    """Where balancing begins: below it voltages say nothing of the charge."""
    full: float
    """A until the top is near."""
    holding: float
    """A at the top."""
    coldest: float
    """°C of a cell below which it is not charged."""
    hottest: float
    """°C of a cell that ends it."""
    supply: float | None
    """V of a supply that a person has set, where nobody obeys limits."""
    by_itself: bool
    """The board balances at the top and nowhere else, so its switch stays on."""
    switchable: bool
    settings: dict[str, Any]
    """What is set for the session: key -> value."""
    left: dict[str, str]
    """What would help and stays as it is: key -> why."""
    switch_on: bool
    """The balancer is switched on first."""
    numbers: SessionNumbers
    estimate: BalanceEstimate

    @property
    def rest_current(self) -> float:
        """A below which the pack counts as being at rest: the difference that is left must not be
        that of the resistances. Less than at the top, where a strong balancer is fed."""
        return max(self.numbers.holding * (self.capacity or 0.0), self.numbers.least_rest)

    @property
    def agreement(self) -> str:
        """What a person agrees to: the same text for the same settings, top, currents and board."""
        about = (
            self.pack, sorted(self.settings.items()), self.switch_on, self.top, self.target,
            self.full, self.supply, self.numbers.hours,
        )  # fmt: skip
        return hashlib.sha256(repr(about).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        left_out = ("numbers", "estimate")
        found = {n: getattr(self, n) for n in self.__struct_fields__ if n not in left_out}
        return {
            **found,
            "hours": self.numbers.hours,
            "agreement": self.agreement,
            "estimate": self.estimate.to_dict(),
        }


def top_of(
    kind: Chemistry, board: BoardLimits, cells: int, asked: float | None
) -> tuple[float, str]:
    """V at which the highest cell is held, and why no higher: below the cell's warning and the
    board's own limits by the room that full cells need."""
    found = {
        f"what suits {kind.name}": kind.limits["cell_ovp_warning"] - CHARGE_ROOM,
    }
    if board.cell_ovp is not None:
        found["cell_ovp of the board"] = board.cell_ovp - 2 * CHARGE_ROOM
    if board.cell_ovp_warning is not None:
        found["cell_ovp_warning of the board"] = board.cell_ovp_warning - CHARGE_ROOM / 2
    if board.pack_ovp is not None:
        found["pack_ovp of the board"] = board.pack_ovp / cells - CHARGE_ROOM / 2
    if asked is not None:
        found["what was asked for"] = asked
    why = min(found, key=lambda name: found[name])
    return round(found[why], 3), why


def make_plan(
    pack: str,
    now: CellsNow,
    kind: Chemistry,
    balancer: Balancer,
    board: BoardLimits,
    options: SessionOptions,
    *,
    by_sink: bool,
) -> SessionPlan:
    """Pure: the same facts give the same plan. `by_sink`: somebody obeys our limits."""
    numbers = SessionNumbers()
    target = options.target or numbers.target
    fine = min(numbers.fine, target / 2)
    numbers = msgspec.structs.replace(
        numbers, target=target, fine=fine, hours=options.hours or numbers.hours
    )
    top, why = top_of(kind, board, len(now.cells), options.top)
    band = BANDS[kind.name]
    start = max(band.balance_start, min(kind.limits["balance_start_voltage"], top - 0.05))
    capacity = now.capacity
    full, holding = _currents(numbers, capacity, balancer, board, options)
    bound = top + numbers.over_top
    if board.cell_ovp is not None:
        bound = min(bound, board.cell_ovp - numbers.below_ovp)
    wanted = balancer.wanted(round(start, 3), top, target, fine)
    return SessionPlan(
        pack=pack, cells=len(now.cells), chemistry=kind.name, capacity=capacity, target=target,
        top=top, top_why=why, bound=round(bound, 3), floor=band.uvp[1], start=round(start, 3),
        full=full, holding=holding,
        coldest=kind.limits["charge_utp_warning"],
        hottest=min(numbers.hottest, kind.limits["charge_otp_warning"]),
        supply=None if by_sink else options.supply,
        by_itself=balancer.by_itself(band.balance_start, top, wanted),
        switchable=balancer.switchable,
        settings=wanted,
        left=_left(balancer, wanted),
        switch_on=balancer.on is False and balancer.switchable,
        numbers=numbers,
        estimate=estimate(now, kind, balancer, start=start, amps=full),
    )  # fmt: skip


def _currents(
    n: SessionNumbers,
    capacity: float | None,
    balancer: Balancer,
    board: BoardLimits,
    options: SessionOptions,
) -> tuple[float, float]:
    """A of charging until the top is near, and at the top."""
    amps = balancer.amps
    holding = max(n.holding * (capacity or 0.0), 2 * amps[1] if amps else 0.0, 0.5)
    full = options.current or max(n.bulk * (capacity or 0.0), holding)
    if board.charge_ocp is not None:
        full = min(full, 0.9 * board.charge_ocp)
    return round(full, 3), round(min(holding, full), 3)


def _left(balancer: Balancer, wanted: dict[str, Any]) -> dict[str, str]:
    """What of the board's balancing stays as it is, and why."""
    found = {}
    for key, held in balancer.settings.items():
        if key not in wanted:
            found[key] = "as it is" if held.writable else f"cannot be set: {held.why}"
    if balancer.current is not None:
        found["balance_current"] = "as it is"
    return found
