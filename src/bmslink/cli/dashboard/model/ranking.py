"""Which pack needs a person most: the order of the list, and what is found by a filter."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import Any

from bmslink.cli.dashboard.model.pack import WatchedPack
from bmslink.cli.dashboard.model.words import short
from bmslink.model import Condition

__all__ = ["SORTS", "PackTrouble", "held_by", "in_order", "matching", "summary", "trouble"]


class PackTrouble(IntEnum):
    """How much a pack needs somebody; the highest first."""

    NONE = 0
    QUIET = 1
    """Nothing came yet, or its recording is over."""
    OFF = 2
    """Something is switched off."""
    ALARM = 3
    """The board warns, or a policy is not content."""
    UNSEEN = 4
    """It does not answer, or another board does."""
    TRIPPED = 5
    """A protection tripped, or something is broken."""


def trouble(pack: WatchedPack, now: float) -> PackTrouble:
    """Of one pack. What was wrong when it fell silent still counts."""
    kinds = {condition.kind for condition in pack.wrong()}
    if kinds & {"fault", "protection"}:
        return PackTrouble.TRIPPED
    fresh = pack.freshness(now)
    if pack.other or fresh in ("lost", "silent", "late"):
        return PackTrouble.UNSEEN
    if kinds or held_by(pack):
        return PackTrouble.ALARM
    if [each for each in pack.off() if not each.startswith("balance")]:
        return PackTrouble.OFF
    return PackTrouble.QUIET if fresh in ("waiting", "ended") else PackTrouble.NONE


def held_by(pack: WatchedPack) -> list[str]:
    """The policies that somebody should know of: who keep it from being charged or discharged, who
    warn, and who wait for a person. That balancing rests is ordinary."""
    found = []
    for verdict in pack.limits.get("verdicts", ()):
        serious = verdict.get("severity") in ("warn", "emergency")
        if serious or verdict.get("state") == "latched":
            found.append(str(verdict.get("policy")))
    for name in ("charge", "discharge"):
        reasons = (pack.limits.get(name) or {}).get("reasons", ())
        found += [str(reason.get("policy")) for reason in reasons]
    return list(dict.fromkeys(found))


def summary(pack: WatchedPack, now: float) -> list[str]:
    """What somebody should know of it, the worst first, in a few words each."""
    fresh, found = pack.freshness(now), []
    if pack.other:
        found.append("OTHER BOARD")
    if fresh in ("lost", "silent", "late", "ended"):
        found.append({"lost": "LINK LOST", "silent": "NO ANSWER"}.get(fresh, fresh.upper()))
    found += [
        short(c.name).upper() if c.kind != "alarm" else f"alarm {short(c.name)}"
        for c in pack.wrong()
    ]
    found += [f"policy {name}" for name in held_by(pack)]
    found += pack.off()
    if not found and f"alarms/{Condition.FULLY_CHARGED}" in pack.conditions:
        found.append("full")
    return found


def _of(pack: WatchedPack, name: str, sign: int) -> float:
    value = None if pack.reading is None else getattr(pack.reading, name)
    return math.inf if value is None else sign * value


def _warmest(pack: WatchedPack) -> float:
    probes = [] if pack.reading is None else pack.reading.temperatures.values()
    return -max((v for v in probes if v is not None), default=-math.inf)


SORTS: Mapping[str, Callable[[WatchedPack, float], Any]] = MappingProxyType(
    {
        "worst": lambda pack, now: -trouble(pack, now),
        "as given": lambda pack, now: 0,
        "name": lambda pack, now: pack.name.casefold(),
        "SOC": lambda pack, now: _of(pack, "soc", 1),
        "delta": lambda pack, now: _of(pack, "cell_delta", -1),
        "current": lambda pack, now: _of(pack, "current", 1),
        "warmest": lambda pack, now: _warmest(pack),
    }
)
"""What `s` goes through; among equals the order in which they were named."""


def in_order(packs: Sequence[WatchedPack], sort: str, now: float) -> list[WatchedPack]:
    """The packs in the order of a sort."""
    key = SORTS[sort]
    return sorted(packs, key=lambda pack: key(pack, now))


def matching(packs: Sequence[WatchedPack], words: str, now: float) -> list[WatchedPack]:
    """The packs of which each word is in the name, the target, the model or what is wrong."""
    wanted = words.casefold().split()

    def text(pack: WatchedPack) -> str:
        known = pack.identity
        about = () if known is None else (known.vendor, known.model, known.serial_number)
        parts = (pack.name, pack.target, *about, *summary(pack, now))
        return " ".join(filter(None, parts)).casefold()

    return [pack for pack in packs if all(word in text(pack) for word in wanted)]
