"""Which setting belongs to which, and where it goes when that one changes.

A warning, a release or a limit of the pack means something only beside the limit that it belongs
to. Here is who belongs to whom, on which side, and how far apart they are at least. Pure: what is
asked for goes in, what it takes along comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["FOLLOWERS", "FollowRule", "Wish", "follow"]


class FollowRule(NamedTuple):
    """One setting that belongs to another."""

    key: str
    leader: str
    side: int
    """1: it lies above its leader, -1: below."""
    apart: float
    """The least distance, in its own unit; with `share` as a share of the leader."""
    share: bool = False
    """Distances are shares of the leader: what grows with the pack, or must not fall below 0."""
    warning: bool = False
    """It keeps its distance whenever its leader moves, and may be equal to it."""
    cells: bool = False
    """Its leader is a limit of one cell, and it is that of all of them."""
    asked: bool = False
    """It follows only where it is asked for: beside its leader it is unusual, and no error."""


_OVER = {
    "cell_ovp": (0.1, False), "pack_ovp": (0.01, True),
    "charge_ocp": (0.2, True), "discharge_ocp": (0.2, True),
    "charge_otp": (3.0, False), "discharge_otp": (3.0, False), "mosfet_otp": (5.0, False),
    "cell_delta": (0.2, True), "temperature_delta": (0.2, True), "soc_high": (5.0, False),
}  # fmt: skip
_UNDER = {
    "cell_uvp": (0.1, False), "pack_uvp": (0.01, True),
    "charge_utp": (3.0, False), "discharge_utp": (3.0, False), "soc_low": (5.0, False),
}  # fmt: skip
_TIMED = ("charge_ocp", "discharge_ocp")
"""Their release is a time."""
_ROOM = 0.05
"""Between a limit of a cell and the voltages that a charger or a gauge goes by, V."""


def _followers() -> Iterator[FollowRule]:
    yield FollowRule("pack_ovp", "cell_ovp", -1, 0.01, share=True, cells=True, asked=True)
    yield FollowRule("pack_uvp", "cell_uvp", 1, 0.01, share=True, cells=True, asked=True)
    for name, side in (("ovp", -1), ("uvp", 1)):
        for level in (f"{name}_release", f"{name}_warning"):
            yield FollowRule(
                f"pack_{level}", f"cell_{level}", side, 0.0, share=True, cells=True, asked=True
            )
    for limits, side in ((_OVER, -1), (_UNDER, 1)):
        for key, (apart, share) in limits.items():
            yield FollowRule(f"{key}_warning", key, side, apart, share, warning=True)
            if key not in _TIMED:
                yield FollowRule(f"{key}_release", key, side, apart, share)
    yield FollowRule("full_charge_voltage", "cell_ovp", -1, _ROOM)
    yield FollowRule("empty_voltage", "cell_uvp", 1, _ROOM, asked=True)
    yield FollowRule("jk_request_charge_voltage", "cell_ovp", -1, _ROOM)
    yield FollowRule("float_voltage", "cell_ovp", -1, _ROOM)
    yield FollowRule("float_voltage", "jk_request_charge_voltage", -1, _ROOM)
    yield FollowRule("jk_power_off_voltage", "cell_uvp", -1, _ROOM)


FOLLOWERS: tuple[FollowRule, ...] = tuple(_followers())
"""All of them, a leader before what follows it."""
_FITS = 0.05
"""How far a pack's limit may be from that of its cells together, as a share."""
_ROUNDED = 0.005
"""What rounding to 0.1 V may add to a release or a warning of the pack, as a share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for, and what is there."""

    values: Mapping[str, float]
    """What is asked for, by key."""
    held: Mapping[str, float]
    """What the board holds; only settings that may be written."""
    optional: frozenset[str] = frozenset()
    """What of `values` may become something else where it does not go with the rest."""
    unnamed: bool = True
    """What is not asked for follows as well; else only a warning that would contradict."""
    cells: int = 0
    """0: unknown."""
    caps: Mapping[str, float] = field(default_factory=dict)
    """Key -> the most that an optional value may be."""
    nearest: Callable[[str, float], float] = lambda key, value: value
    """The value of a setting that is nearest to a number."""


def follow(wish: Wish) -> dict[str, tuple[float, str]]:
    """What else is set, or set otherwise than asked: key -> value and the leader (of a value that
    was capped, its own key)."""
    found: dict[str, tuple[float, str]] = {
        key: (wish.nearest(key, top), key)
        for key, top in wish.caps.items()
        if key in wish.optional and wish.values.get(key, 0.0) > top
    }
    for each in FOLLOWERS:
        value = _moved(each, wish, {key: value for key, (value, _) in found.items()})
        if value is not None:
            found[each.key] = (wish.nearest(each.key, value), each.leader)
    for each in _crossed(wish, {key: value for key, (value, _) in found.items()}):
        leader = {**wish.held, **wish.values, **{k: v for k, (v, _) in found.items()}}[each.leader]
        found[each.key] = (wish.nearest(each.key, _least(each, leader)), each.leader)
    return found


def _crossed(wish: Wish, found: Mapping[str, float]) -> list[FollowRule]:
    """The warnings that follow and would, each at its distance, pass one another."""
    now, crossed = {**wish.held, **wish.values, **found}, set[str]()
    for name in ("cell_{}v", "pack_{}v", "charge_{}t", "discharge_{}t"):
        low, high = (f"{name.format(way)}p_warning" for way in "uo")
        if low in now and high in now and now[low] > now[high]:
            crossed |= {low, high}
    return [each for each in FOLLOWERS if each.key in crossed & found.keys()]


def _moved(each: FollowRule, wish: Wish, found: Mapping[str, float]) -> float | None:
    """Where a follower goes; `None`: it stays as asked, or as it is."""
    asked, held = wish.values.get(each.key), wish.held.get(each.key)
    if asked is not None and each.key not in wish.optional:
        return None
    leader = _leader(each, {**wish.held, **wish.values, **found}, wish.cells)
    before = _leader(each, wish.held, wish.cells)
    if leader is None or (asked is None and leader == before):
        return None
    if asked is not None:
        return None if _fits(each, found.get(each.key, asked), leader) else _least(each, leader)
    if held is None:
        return None
    fits = _fits(each, held, leader)
    if not wish.unnamed and (fits or not each.warning):
        return None
    if each.warning and before is not None and _fits(each, held, before):
        return _kept(each, held, before, leader)
    return None if fits or each.asked else _least(each, leader)


def _leader(each: FollowRule, values: Mapping[str, float], cells: int) -> float | None:
    value = values.get(each.leader)
    if value is None or not each.cells:
        return value
    return value * cells if cells else None


def _fits(each: FollowRule, value: float, leader: float) -> bool:
    """Whether it lies on its side of its leader; 0 V says that the function is off."""
    if each.cells:
        room = 0.0 if each.apart else _ROUNDED * leader
        inside = (value - leader) * each.side >= -room
        return inside and abs(value - leader) <= _FITS * leader
    if each.apart == _ROOM and not value:
        return True
    return (value - leader) * each.side > 0 or (each.warning and value == leader)


def _least(each: FollowRule, leader: float) -> float:
    return leader + each.side * (each.apart * abs(leader) if each.share else each.apart)


def _kept(each: FollowRule, held: float, before: float, leader: float) -> float:
    """The same distance as before."""
    if each.share:
        return leader * held / before if before else leader
    return leader + (held - before)
