"""Packs of a bank with limits as they are wanted, for the tests of banks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bmslink.control.banks.decision import BankDecision
from bmslink.control.banks.member import Member
from bmslink.control.banks.parallel import ParallelBank
from bmslink.control.decide.decision import Decision, Limits
from bmslink.control.decide.lasting.phase import ChargePhase
from bmslink.control.decide.limits import Kind, Limit, Permit, Reason
from bmslink.model import Reading

__all__ = ["Bench", "decided", "member"]


def decided(
    now: float,
    ccl: float,
    dcl: float,
    *,
    protect: float | None = None,
    top: float = 55.2,
    phase: ChargePhase = ChargePhase.BULK,
) -> Decision:
    """A decision with these limits; `protect`: a voltage that protects."""
    wished = Reason("charge_voltage", top, "the set voltage", Kind.PHASE)
    cvl = [wished]
    if protect is not None:
        cvl.append(Reason("cell_overvoltage_derate", protect, "a cell is high"))
        cvl.sort()
        cvl.sort(key=lambda r: r.value)
    return Decision(
        time=now,
        charge=Permit(), discharge=Permit(), balance=Permit(),
        limits=Limits(
            cvl=Limit(cvl[0].value, tuple(cvl)),
            ccl=Limit(ccl, (Reason("rating", ccl, "the cells"),)),
            dcl=Limit(dcl, (Reason("rating", dcl, "the cells"),)),
            dvl=Limit(48.0, (Reason("discharge_voltage", 48.0, "the set voltage"),)),
        ),
        phase=phase,
        quality={}, bms={},
    )  # fmt: skip


def member(name: str, now: float, current: float | None = 0.0, **more: Any) -> Member:
    """A pack that was heard now; `ccl`, `dcl`, `protect`, `top`, `phase`, `raw`, `quality`,
    `charging_allowed`, … as well as what a `Member` has."""
    fets = {k: more.pop(k, True) for k in ("charging_allowed", "discharging_allowed")}
    wanted = {k: more.pop(k) for k in ("protect", "top", "phase") if k in more}
    limits = more.pop("ccl", 50.0), more.pop("dcl", 100.0)
    told: dict[str, Any] = {"voltage": more.pop("voltage", 53.0), "soc": more.pop("soc", 60.0)}
    cells = (3.3,) * more.pop("cell_count", 16)
    told["raw"] = more.pop("raw", {})
    decision = msgspec.structs.replace(
        decided(now, *limits, **wanted), quality=more.pop("quality", {})
    )
    values: dict[str, Any] = {
        "reading": Reading(current=current, cell_voltages=cells, **fets, **told),
        "heard": now, "decision": decision, "capacity": 100.0, "cells": 16,
    }  # fmt: skip
    return Member(name=name, **{**values, **more})


class Bench:
    """A bank that is stepped once a second with packs that are given each time."""

    def __init__(self, packs: Sequence[Mapping[str, Any]], **options: Any) -> None:
        """`packs`: what `member` takes, `name` among it."""
        self.packs = [dict(each) for each in packs]
        self.now = 100.0
        self.bank = ParallelBank("house", self._members(), options.get("resistance", {}))
        self.latest: BankDecision | None = None

    def _members(self) -> list[Member]:
        return [member(now=self.now, **each) for each in self.packs]

    def __call__(self, seconds: float = 1.0, **changes: Mapping[str, Any]) -> BankDecision:
        """Time passes with these changes, by the names of packs; the decision at the end."""
        for each in self.packs:
            each.update(changes.get(each["name"], {}))
        for _ in range(max(1, round(seconds))):
            self.now += 1
            self.latest = self.bank.step(self._members(), self.now)
        assert self.latest is not None
        return self.latest
