"""What a write did to a board, and what of it may be set back: pure, from its settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from bmslink.config.plan import writable_part
from bmslink.protocols.common.settings_map import RawSettings, SettingsMap
from bmslink.settings.setting import Danger, Setting, Value

__all__ = ["Strays", "describe", "kept_off", "matters", "strange", "strangers", "strays"]

_SCALES = ("cell_count", "nominal_capacity", "cycle_capacity")
"""Beside what is dangerous or the board's own: what its measuring and counting depends on."""


def describe(settings: SettingsMap, address: int, old: bytes | None, new: bytes | None) -> str:
    """What a slot's change means: `cell_ovp 3.65 V -> 3.6 V`."""
    values: list[Mapping[str, Value | None]] = [
        {} if raw is None else settings.decode({address: raw}) for raw in (old, new)
    ]
    rows = [s for s in settings.settings if s.slot == address]
    parts = [
        f"{s.key} {s.show(values[0].get(s.key))} -> {s.show(values[1].get(s.key))}"
        for s in rows
        if values[0].get(s.key) != values[1].get(s.key)
    ]
    return ", ".join(parts) or f"slot {address:02X}"


def strangers(
    settings: SettingsMap, before: RawSettings, now: RawSettings, touched: Collection[int]
) -> list[int]:
    """The slots that differ although a change that touches these cannot have done it."""
    may = {*touched, *(near for slot in touched for near in settings.related.get(slot, ()))}
    return [
        address
        for address, raw in before.items()
        if address in now
        and address not in may
        and writable_part(settings, now, {address: raw}, own=True)[0]
    ]


def strange(
    settings: SettingsMap, before: RawSettings, now: RawSettings, touched: Collection[int]
) -> str:
    """The same in words; empty: nothing."""
    found = strangers(settings, before, now, touched)
    told = [describe(settings, address, before[address], now[address]) for address in found[:3]]
    return ", ".join(told) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def kept_off(
    settings: SettingsMap, address: int, data: bytes, *others: bytes | None
) -> tuple[bytes, list[str]]:
    """Bytes to set back, with every switch off that any of the others has off; and which."""
    slot = settings.by_address[address]
    wish = settings.decode({address: data})
    values = [settings.decode({address: raw}) for raw in others if raw is not None]
    off = [
        s
        for s in settings.settings
        if s.slot == address and s.is_switch and wish[s.key] is not False
        if any(each[s.key] is False for each in values)
    ]
    for setting in off:
        held = slot.values(data)[setting.field]
        dark = 0 if setting.bit is None else int(held) & ~(1 << setting.bit)
        data = slot.encode(data, {setting.field: dark})
    return data, [setting.key for setting in off]


def matters(settings: SettingsMap, address: int, old: bytes | None, new: bytes | None) -> bool:
    """Whether a slot's change is of something dangerous, or of what the board is."""
    rows = [s for s in settings.settings if s.slot == address and not s.live]
    values = [{} if raw is None else settings.decode({address: raw}) for raw in (old, new)]
    changed = [s for s in rows if values[0].get(s.key) != values[1].get(s.key)]
    return any(_vital(setting) for setting in changed or rows)


def _vital(setting: Setting) -> bool:
    return setting.danger is not Danger.NONE or setting.own or setting.key in _SCALES


@dataclass(slots=True)
class Strays:
    """The slots that do not hold what they should."""

    asked: list[int] = field(default_factory=list)
    """Those that the change is about."""
    back: dict[int, bytes] = field(default_factory=dict)
    """Those beside, with the bytes that set them back."""
    left: dict[int, list[str]] = field(default_factory=dict)
    """Those with switches that stay off, and which."""
    lost: dict[int, str] = field(default_factory=dict)
    """Those that nothing sets back, in words."""
    grave: dict[int, str] = field(default_factory=dict)
    """Those beside that matter, in words."""


def strays(
    settings: SettingsMap, before: RawSettings, image: RawSettings, aim: RawSettings
) -> Strays:
    """Compare a whole table with what it should be: `aim`, and beside it what was `before`."""
    found = Strays()
    for address, raw in before.items():
        now = image.get(address)
        if settings.same(address, now, aim.get(address, raw)):
            continue
        if address in aim:
            found.asked.append(address)
            continue
        told = describe(settings, address, raw, now)
        if matters(settings, address, raw, now):
            found.grave[address] = told
        if now is None or writable_part(settings, image, {address: raw}, own=True)[1]:
            found.lost[address] = told
            continue
        data, off = kept_off(settings, address, settings.by_address[address].clean(raw), now)
        if off:
            found.left[address] = off
        if not settings.same(address, now, data):
            found.back[address] = data
    return found
