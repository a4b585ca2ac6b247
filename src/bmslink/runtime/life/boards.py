"""Which board, and which cells, each served pack has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bmslink.config.identity.known_as import pack_of
from bmslink.model import Identity
from bmslink.runtime.judging.known_board import KnownBoard
from bmslink.runtime.judging.pack_memory import board_name
from bmslink.runtime.life.keeper import BoardOfPack
from bmslink.runtime.service_file import PackPlan
from bmslink.settings.chemistry import CHEMISTRIES

__all__ = ["BoardsOfPacks"]


class _Served(Protocol):
    """A pack of the service."""

    plan: PackPlan
    known: KnownBoard


class BoardsOfPacks:
    """Asked at every reading: what was found is kept until board or settings are others."""

    def __init__(self, pack: Callable[[str], _Served | None]) -> None:
        """`pack`: the served pack of a name."""
        self._pack = pack
        self._found: dict[str, tuple[object, object, object, BoardOfPack]] = {}

    def of(self, name: str) -> BoardOfPack | None:
        """The board of a pack; `None`: it is not known yet who answers."""
        pack = self._pack(name)
        if pack is None or not pack.known.met:
            return None
        known, plan = pack.known, pack.plan
        before = self._found.get(name)
        if before is not None and (
            before[0] is known.identity and before[1] is known.settings and before[2] is plan
        ):
            return before[3]
        found = _board(known, plan)
        self._found[name] = known.identity, known.settings, plan, found
        return found


def _board(known: KnownBoard, plan: PackPlan) -> BoardOfPack:
    identity = known.identity
    cells = _chemistry(known, plan, identity), _capacity(known, plan)
    if identity is None:
        return BoardOfPack(f"place {plan.target}", None, *cells)
    return BoardOfPack(board_name(identity, plan.target), pack_of(identity), *cells)


def _capacity(known: KnownBoard, plan: PackPlan) -> float | None:
    """Ah, by the policy file, else by the board's settings."""
    if plan.policies is not None:
        return plan.policies.policies.battery.capacity
    held = None if known.settings is None else known.settings.values().get("nominal_capacity")
    return held if isinstance(held, float) else None


def _chemistry(known: KnownBoard, plan: PackPlan, identity: Identity | None) -> str | None:
    """What the cells are, by the first that says it: a policy file, bmslink.toml, the board."""
    says = (
        None if plan.policies is None else plan.policies.policies.battery.chemistry,
        None if plan.named is None else plan.named.chemistry,
        None if known.settings is None else known.settings.values().get("chemistry"),
        None if identity is None else identity.chemistry,
    )
    return next((str(word) for word in says if word in CHEMISTRIES), None)
