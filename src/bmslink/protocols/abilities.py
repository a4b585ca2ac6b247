"""What a board can do beyond being read, and why not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bmslink.model import Capability, Identity, Switch
from bmslink.protocols.base import Driver
from bmslink.protocols.common.settings_map import SettingsMap
from bmslink.settings.setting import Setting

__all__ = ["abilities"]


def abilities(
    driver: Driver[Any], identity: Identity, known: SettingsMap | None, why_not: str = ""
) -> Mapping[str, Capability]:
    """By name. `known` is the map of this board, or the likely one where it was not asked yet;
    `why_not` is what came of asking, where that gave no map."""
    table = _table(driver, identity, known, why_not)
    switches = {f"switch_{each}": _switch(driver, each, table, known) for each in Switch}
    return {"read": Capability(True), "settings": _settings(table, known), **switches}


def _settings(table: Capability, known: SettingsMap | None) -> Capability:
    """Whether any setting can be written; a switch is none, even where it is kept among them."""
    if not table.supported or known is None:
        return table
    settings = [setting for setting in known.settings if not setting.is_switch]
    if any(setting.writable for setting in settings):
        return table
    return Capability(False, f"only switches can be written: {_reason(settings)}")


def _reason(settings: Iterable[Setting]) -> str:
    """Why the first of them that says so cannot be written."""
    return next((each.reason for each in settings if each.reason), "nothing is known")


def _table(
    driver: Driver[Any], identity: Identity, known: SettingsMap | None, why_not: str
) -> Capability:
    """Whether anything in the table of settings can be written, and why not (or what it takes)."""
    if why := driver.no_settings_reason or why_not:
        return Capability(False, why)
    if known is None:
        return Capability(False, "this board does not tell its settings like this")
    if known.read_only_reason:
        return Capability(False, f"read-only: {known.read_only_reason}")
    if not identity.known:
        return Capability(False, "read-only: the board tells no firmware")
    if not any(setting.writable for setting in known.settings):
        return Capability(False, f"read-only: {_reason(known.settings)}")
    needs = known.untested_reason and f"written with --untested only: {known.untested_reason}"
    return Capability(True, needs)


def _switch(
    driver: Driver[Any], switch: Switch, table: Capability, known: SettingsMap | None
) -> Capability:
    """A switch that is kept among the settings can be set where the table can be written, and
    that row of it is writable."""
    able = driver.can_switch(switch)
    if able.supported or switch not in driver.settable:
        return able
    if not table.supported:
        return table
    row = None if known is None else known.by_key.get(switch.key)
    if row is None or not row.writable:
        why = row.reason if row is not None else "this board has no such setting"
        return Capability(False, why or "nothing proves how it is written")
    return Capability(True, f"it is the setting {switch.key} here")
