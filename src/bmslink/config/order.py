"""The order of writing: no state on the way may contradict itself where start and end do not.

Some boards compute a setting anew when another one is written (Daly D2: the warning of a limit).
That is part of every state on the way, and what is computed anew is written after what makes the
board do so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bmslink.protocols.common.settings_map import RawSettings, SettingsMap, SettingsSnapshot
from bmslink.settings.rules import RULES, lint
from bmslink.settings.setting import Danger, Value

__all__ = ["backwards", "in_order", "with_kept"]

_COUNTED = frozenset(rule.name for rule in RULES if rule.counts)
"""They ask whether limits of the pack and of its cells are made for as many cells as there are. On
the way each limit is what it was or what it will be, so none is made for another number."""
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
        return {
            v.rule: v.sentence
            for v in lint(values, cells=cells, chemistry=chemistry)
            if v.severity == "error" and v.rule not in _COUNTED
        }

    allowed = broken(start).keys() | broken(end).keys()
    order: list[int] = []
    clumsy: list[str] = []
    now, waiting = start, list(new)
    while waiting:
        ready = [slot for slot in waiting if not _spoiled(table, slot, waiting)] or waiting

        def rank(slot: int, now: Mapping[str, Value | None] = now) -> tuple[int, bool, int]:
            after = _written(table.map, now, per_slot[slot])
            worse = len(broken(after).keys() - allowed)
            return worse, _cuts_link(table, slot), -_widens(now, per_slot[slot])

        best = min(ready, key=rank)
        told = ", ".join(key for key, new in per_slot[best].items() if new != start[key])
        now = _written(table.map, now, per_slot[best])
        clumsy += [
            f"After writing {told or f'{best:02X}'}, for a moment: {sentence}"
            for rule, sentence in broken(now).items()
            if rule not in allowed
        ]
        order.append(best)
        waiting.remove(best)
    return order, clumsy


def with_kept(table: SettingsSnapshot, new: RawSettings) -> dict[int, bytes]:
    """New bytes of slots, with those that the board would compute anew although they are to stay
    as they are."""
    settings, kept = table.map, {}
    after = settings.decode({**table.image, **new})
    for key, each in settings.recomputed.items():
        row, beside = settings.by_key.get(key), settings.by_key.get(each.key)
        if row is None or beside is None or row.slot not in new or beside.slot in new:
            continue
        value, stays = after[key], after[each.key]
        known = isinstance(value, float) and stays is not None and beside.writable
        if known and _written(settings, after, {key: value})[each.key] != stays:
            slot = settings.by_address[beside.slot]
            kept[beside.slot] = slot.clean(table.image[beside.slot])
    return {**new, **kept}


def _written(
    settings: SettingsMap, now: Mapping[str, Value | None], values: Mapping[str, Value | None]
) -> dict[str, Value | None]:
    """What a board holds after a slot with these values was written."""
    after = {**now, **values}
    for key, each in settings.recomputed.items():
        value = values.get(key)
        if isinstance(value, float) and after.get(each.key) is not None:
            row = settings.setting(each.key)
            after[each.key] = row.nearest(value * each.factor + each.offset)
    return after


def backwards(settings: SettingsMap, slots: Sequence[int]) -> list[int]:
    """The order in which slots are set back that were written in this order: the other way round,
    and what the board computes anew after what makes it do so."""
    order = list(dict.fromkeys(reversed(slots)))
    beside = {near for slot in slots for near in settings.related.get(slot, ())}
    return [s for s in order if s not in beside] + [s for s in order if s in beside]


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
