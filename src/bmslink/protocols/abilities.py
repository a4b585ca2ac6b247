"""What a board can do beyond being read, and why not.

A driver without a part (`protocols/parts.py`) has `None` in its place; here that becomes a reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from bmslink.errors import SettingError
from bmslink.link.link import Frame
from bmslink.model import Adjustment, Capability, Identity, Switch
from bmslink.protocols.base import Driver
from bmslink.protocols.common.settings_map import SettingsMap
from bmslink.protocols.parts import ClockSoc, SettingsAccess, Switches
from bmslink.settings.setting import Setting

__all__ = [
    "abilities",
    "can_adjust",
    "can_switch",
    "clock_soc_of",
    "is_setting",
    "settings_of",
    "switches_of",
    "to_adjust",
    "to_switch",
]

F = TypeVar("F", bound=Frame)


def settings_of(driver: Driver[F]) -> SettingsAccess[F]:
    """Its part for settings; `SettingError` says why it has none."""
    if driver.settings is None:
        raise SettingError(f"{driver.name}: {driver.no_settings_reason}.")
    return driver.settings


def switches_of(driver: Driver[F]) -> Switches[F]:
    """Its part for switches; `SettingError` says why it has none."""
    if driver.switches is None:
        raise SettingError(f"Nothing can be switched: {_no_switches(driver)}.")
    return driver.switches


def clock_soc_of(driver: Driver[F]) -> ClockSoc[F]:
    """Its part for clock and charge; `SettingError` says why it has none."""
    if driver.clock_soc is None:
        raise SettingError(f"Clock and charge cannot be set: {can_adjust(driver, 'clock').reason}.")
    return driver.clock_soc


def to_switch(driver: Driver[F], switch: Switch) -> Switches[F]:
    """Its part for switches; `SettingError` unless a command sets this one."""
    able = can_switch(driver, switch)
    if not able.supported:
        raise SettingError(f"{switch} cannot be switched: {able.reason}.")
    return switches_of(driver)


def to_adjust(driver: Driver[F], wish: Adjustment) -> ClockSoc[F]:
    """Its part for clock and charge; `SettingError` unless it sets what is wished."""
    for what in ("clock", "soc"):
        able = can_adjust(driver, what)
        if getattr(wish, what) is not None and not able.supported:
            raise SettingError(f"{what} cannot be set: {able.reason}.")
    return clock_soc_of(driver)


def _no_switches(driver: Driver[Any]) -> str:
    return f"nothing proves how {driver.name} boards are switched"


def can_switch(driver: Driver[Any], switch: Switch) -> Capability:
    """Whether a switch can be set by a command of this protocol, and why not."""
    if driver.switches is None:
        return Capability(False, _no_switches(driver))
    return driver.switches.can(switch)


def is_setting(driver: Driver[Any], switch: Switch) -> bool:
    """Whether a switch is a setting of this protocol, and no command."""
    return driver.switches is not None and switch in driver.switches.settable


def can_adjust(driver: Driver[Any], what: str) -> Capability:
    """Whether `clock` or `soc` can be set over this protocol, and why not."""
    if driver.clock_soc is not None:
        return driver.clock_soc.can(what)
    unproven = f"nothing proves how {driver.name} boards take it"
    return Capability(False, driver.no_clock_soc_reasons.get(what, unproven))


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
    if why := driver.no_settings_reason if driver.settings is None else why_not:
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
    able = can_switch(driver, switch)
    if able.supported or not is_setting(driver, switch):
        return able
    if not table.supported:
        return table
    row = None if known is None else known.by_key.get(switch.key)
    if row is None or not row.writable:
        why = row.reason if row is not None else "this board has no such setting"
        return Capability(False, why or "nothing proves how it is written")
    return Capability(True, f"it is the setting {switch.key} here")
