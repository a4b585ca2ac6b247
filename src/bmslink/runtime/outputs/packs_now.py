"""The packs of a service as outputs see them."""

from __future__ import annotations

import asyncio

from bmslink.control.decide.limits import LIMITS, PERMITS
from bmslink.outputs.pack_now import PackNow
from bmslink.runtime.health import POLLED, link_counters
from bmslink.runtime.pack_task import ServedPack
from bmslink.runtime.service import Service
from bmslink.runtime.watching.energy import EnergyTotals

__all__ = ["all_now", "holds"]

_INTERVALS, _PATIENCE = 3.0, 5.0
"""A reading holds for so many intervals and so many seconds more, in which a slow link is asked
once more."""


def all_now(service: Service) -> list[PackNow]:
    """Each pack of a service as it is now."""
    now, energy = asyncio.get_running_loop().time(), service.watcher.all_energy()
    return [_pack_now(pack, now, energy.get(pack.name)) for pack in service.packs.values()]


def _pack_now(pack: ServedPack, now: float, counted: EnergyTotals | None) -> PackNow:
    decision = pack.decision
    limits, permits = {}, {}
    if decision is not None:
        limits = {name: getattr(decision.limits, name).value for name in LIMITS}
        permits = {name: getattr(decision, name).allowed for name in PERMITS}
    return PackNow(
        name=pack.name,
        state=pack.health.state,
        polled=pack.health.state in POLLED,
        reading=pack.reading if holds(pack, now) else None,
        heard=None if pack.reading is None else pack.reading.time,
        identity=pack.identity,
        limits=limits,
        permits=permits,
        link=link_counters(pack.board),
        **_energy(counted),
    )


def _energy(found: EnergyTotals | None) -> dict[str, dict[str, float]]:
    if found is None:
        return {}
    return {
        "energy": {"charge": found.energy_in, "discharge": found.energy_out},
        "charge": {"charge": found.charge_in, "discharge": found.charge_out},
    }


def holds(pack: ServedPack, now: float) -> bool:
    """Whether its latest reading says how the pack is now."""
    if pack.heard is None or pack.health.state not in POLLED:
        return False
    return now - pack.heard <= _INTERVALS * pack.plan.interval + _PATIENCE
