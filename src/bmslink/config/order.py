"""The order of writing: no state on the way may contradict itself where start and end do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bmslink.protocols.common.settings_map import RawSettings, SettingsSnapshot
from bmslink.settings.rules import review
from bmslink.settings.setting import Danger, Value

__all__ = ["in_order"]

_UP = ("_ovp", "_otp", "_ocp")
_DOWN = ("_uvp", "_utp")


def in_order(
    table: SettingsSnapshot, new: RawSettings, *, cells: int | None, chemistry: str | None
) -> tuple[list[int], list[str]]:
    """Slots in the order of writing, and in sentences what no order can avoid."""
    start = table.values()
    end = table.map.decode({**table.image, **new})
    per_slot = {
        slot: {s.key: end[s.key] for s in table.map.settings if s.slot == slot} for slot in new
    }

    def broken(values: Mapping[str, Value | None]) -> dict[str, str]:
        verdicts = review(values, cells=cells, chemistry=chemistry)
        return {v.rule: v.sentence for v in verdicts if v.passed is False and v.severity == "error"}

    allowed = broken(start).keys() | broken(end).keys()
    order: list[int] = []
    clumsy: list[str] = []
    now, waiting = start, list(new)
    while waiting:
        ready = [slot for slot in waiting if not _spoiled(table, slot, waiting)] or waiting

        def rank(slot: int, now: Mapping[str, Value | None] = now) -> tuple[int, bool, int]:
            after = {**now, **per_slot[slot]}
            worse = len(broken(after).keys() - allowed)
            return worse, _cuts_link(table, slot), -_widens(now, per_slot[slot])

        best = min(ready, key=rank)
        now = {**now, **per_slot[best]}
        clumsy += [
            f"After writing {best:02X}, for a moment: {sentence}"
            for rule, sentence in broken(now).items()
            if rule not in allowed
        ]
        order.append(best)
        waiting.remove(best)
    return order, clumsy


def _spoiled(table: SettingsSnapshot, slot: int, waiting: Sequence[int]) -> bool:
    """Whether the board would recompute it when another one is written after it."""
    return any(slot in table.map.related.get(other, ()) for other in waiting if other != slot)


def _cuts_link(table: SettingsSnapshot, slot: int) -> bool:
    return any(s.danger == Danger.LINK for s in table.map.settings if s.slot == slot)


def _widens(now: Mapping[str, Value | None], then: Mapping[str, Value | None]) -> int:
    """1: it moves a limit outwards, -1: inwards, 0: neither."""
    score = 0
    for key, new in then.items():
        old = now.get(key)
        if isinstance(old, str | None) or isinstance(new, str | None) or old == new:
            continue
        outwards = new > old
        if key.endswith(_UP):
            score += 1 if outwards else -1
        elif key.endswith(_DOWN):
            score += -1 if outwards else 1
    return max(-1, min(1, score))
