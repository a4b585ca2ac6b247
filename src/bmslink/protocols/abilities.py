"""What a board can do beyond being read, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmslink.model import Capability, Identity, Switch
from bmslink.protocols.base import Driver
from bmslink.protocols.settings import SettingsMap

__all__ = ["abilities"]


def abilities(
    driver: Driver[Any], identity: Identity, known: SettingsMap | None, why_not: str = ""
) -> Mapping[str, Capability]:
    """By name. `known` is the map of this board, or the likely one where it was not asked yet;
    `why_not` is what came of asking, where that gave no map."""
    settings = _settings(driver, identity, known, why_not)
    switches = {f"switch_{each}": _switch(driver, each, settings, known) for each in Switch}
    return {"read": Capability(True), "settings": settings, **switches}


def _settings(
    driver: Driver[Any], identity: Identity, known: SettingsMap | None, why_not: str
) -> Capability:
    """Whether settings can be written, and why not (or what it takes)."""
    if why := driver.configurable or why_not:
        return Capability(False, why)
    if known is None:
        return Capability(False, "this board does not tell its settings like this")
    if known.locked:
        return Capability(False, f"read-only: {known.locked}")
    if not identity.known:
        return Capability(False, "read-only: the board tells no firmware")
    if not any(setting.writable for setting in known.settings):
        reasons = [setting.reason for setting in known.settings if setting.reason]
        return Capability(False, f"read-only: {reasons[0] if reasons else 'nothing is known'}")
    needs = known.untested and f"written with --untested only: {known.untested}"
    return Capability(True, needs)


def _switch(
    driver: Driver[Any], switch: Switch, settings: Capability, known: SettingsMap | None
) -> Capability:
    """A switch that is a setting can be set where settings can, and that one is writable."""
    able = driver.can_switch(switch)
    if able.supported or switch not in driver.settable:
        return able
    if not settings.supported:
        return settings
    row = None if known is None else known.by_key.get(switch.key)
    if row is None or not row.writable:
        why = row.reason if row is not None else "this board has no such setting"
        return Capability(False, why or "nothing proves how it is written")
    return Capability(True, f"it is the setting {switch.key} here")
