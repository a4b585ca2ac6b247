"""Profiles: settings as a file that fits every vendor, in V, A, Ah, °C and s.

```toml
schema = 1
title = "16S LFP house battery"
chemistry = "lfp"        # of the cells that it is made for

[settings]
cell_ovp = "3.60 V"      # a number alone is in the setting's own unit
charge_utp = 2

[optional]               # where the board has it, and as far as it goes with the rest
balance_delta = "10 mV"
pack_ovp = "57.0 V"
```

Keys are the canonical names. A board must have what is under `[settings]`. What belongs to one
board alone (address, serial number, calibration) is left out of profiles that are made here, and
taken from one only where it is named there.
Switches are no settings: none is put into a profile here, and one that a file names is left out
unless the caller asks for switches as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType

from bmslink.arguments import decimal_comma, did_you_mean
from bmslink.config.checks.plausible import believe
from bmslink.config.files.kind import instead, pack_not_file
from bmslink.errors import SettingError, TargetError, UsageError
from bmslink.protocols.common.settings_map import SettingsMap, SettingsSnapshot
from bmslink.protocols.names import no_name
from bmslink.settings.chemistry import CHEMISTRIES
from bmslink.settings.chemistry import chemistry as find_chemistry
from bmslink.settings.setting import SWITCHES, Setting, Value
from bmslink.settings.units import NumberWithUnit, UnitError, read
from bmslink.storage.atomic import read_bounded
from bmslink.storage.toml import comma_at, lines_of, loads

__all__ = [
    "Profile",
    "ProfileError",
    "in_words",
    "load_profile",
    "parse_profile",
    "profile_of",
    "typed_value",
]

_MOST_BYTES = 1 << 20
_BEYOND, _LONGEST_NUMBER = 1e12, 40
_TABLES = ("settings", "optional")
_KEYS = ("schema", "title", "chemistry", *_TABLES)
_KEY = re.compile(r"[a-z][a-z0-9_]{0,63}")


SWITCHED = MappingProxyType({"on": True, "true": True, "off": False, "false": False})
"""The words for a switch."""


class ProfileError(UsageError):
    """A profile that cannot be read; names the file and the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a file asks for."""

    settings: Mapping[str, Value | NumberWithUnit]
    """Both tables."""
    optional: frozenset[str] = frozenset()
    """Those of them that a board need not have."""
    chemistry: str | None = None
    """The cells that it is made for."""
    title: str = ""
    """What the file calls itself."""
    path: str = ""
    """The file; empty where there is none."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Where each key is."""

    @property
    def switches(self) -> frozenset[str]:
        """The switches that it names."""
        return SWITCHES & self.settings.keys()

    def wanted(
        self, settings: SettingsMap, *, switches: bool = False
    ) -> tuple[dict[str, Value], list[str]]:
        """The values in the units of this board's settings, and the keys that it does not have.

        Switches are in neither of them without `switches`. Raises `ProfileError` for a value of
        the wrong kind or unit. Limits are checked later.
        """
        found: dict[str, Value] = {}
        missing = []
        left = frozenset[str]() if switches else self.switches
        for key, value in ((k, v) for k, v in self.settings.items() if k not in left):
            setting = settings.by_key.get(key)
            if setting is None:
                missing.append(key)
            elif isinstance(value, NumberWithUnit):
                if setting.kind != "number":
                    raise self._error(key, f"{key} is no number.")
                try:
                    found[key] = value.to(setting.unit)
                except SettingError as exc:
                    raise self._error(key, f"{key}: {exc}") from exc
            else:
                found[key] = self._meant(setting, value)
        return found, missing

    def _meant(self, setting: Setting, value: Value) -> Value:
        if setting.kind not in ("switch", "number"):
            value = in_words(value)
        try:
            setting.check(value)
        except UsageError as exc:
            raise self._error(setting.key, str(exc)) from exc
        except SettingError:  # outside its limits: a check of the plan says so
            pass
        return value

    def _error(self, key: str, text: str) -> ProfileError:
        line = self.lines.get(key)
        where = f"{self.path}, line {line}: " if line else f"{self.path}: " if self.path else ""
        return ProfileError(where + text)


def in_words(value: Value) -> Value:
    """`on` and `off` of a file as words again, where they are choices among others."""
    return ("on" if value else "off") if isinstance(value, bool) else value


def load_profile(path: str | Path) -> Profile:
    """Read a profile; `ProfileError` names the line of what is wrong."""
    place = Path(path)
    try:
        data = read_bounded(place, _MOST_BYTES, "profile")
    except OSError as exc:
        swapped = pack_not_file(path, "profile")
        raise ProfileError(swapped or f"{place} cannot be read: {exc.strerror or exc}.") from exc
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ProfileError(f"{place} is no text in UTF-8.") from exc
    return parse_profile(text, str(place))


def parse_profile(text: str, path: str = "") -> Profile:
    """The same for a text."""
    where = f"{path}: " if path else ""
    try:
        found = loads(text)
    except ValueError as exc:
        if other := instead(text, path, "profile"):
            raise ProfileError(f"{where}this is no profile. {other}") from exc
        comma = comma_at(text, str(exc))
        raise ProfileError(f"{where}this is no TOML: {exc}.{comma}") from exc
    lines = {key[-1]: line for key, line in lines_of(text).items()}

    def error(key: str, what: str) -> ProfileError:
        line = f"line {lines[key]}: " if key in lines else ""
        return ProfileError(f"{path}, {line}{what}" if path else f"{line}{what}")

    if other := instead(text, path, "profile"):
        raise ProfileError(f"{where}this is no profile. {other}")
    for key in found:
        if key not in _KEYS:
            ask = did_you_mean(key, _KEYS)
            raise error(key, f"unknown key {key!r}; known: {', '.join(_KEYS)}.{ask}")
    if found.get("schema", 1) != 1:
        raise error("schema", "this profile was made for a newer bmslink.")
    title = found.get("title", "")
    tables = {name: found.get(name, {}) for name in _TABLES}
    whole = isinstance(title, str) and all(isinstance(each, dict) for each in tables.values())
    if not whole or not found.keys() & {*_TABLES}:
        raise ProfileError(f"{where}a profile has a title and a table [settings].")
    chemistry = _chemistry(found.get("chemistry"), partial(error, "chemistry"))
    values: dict[str, Value | NumberWithUnit] = {}
    for key, value in (row for table in tables.values() for row in table.items()):
        if key in values:
            raise error(key, f"{key} is under [settings] and under [optional].")
        if not _KEY.fullmatch(key):
            raise error(key, f"{key!r} is no name of a setting.")
        if why := no_name(key):
            raise error(key, why)
        try:
            values[key] = _value(key, value)
        except SettingError as exc:
            raise error(key, str(exc)) from None
    return Profile(
        settings=values,
        optional=frozenset(tables["optional"]),
        chemistry=chemistry,
        title=title,
        path=path,
        lines=lines,
    )


def _chemistry(name: object, error: Callable[[str], ProfileError]) -> str | None:
    try:
        return None if name is None else find_chemistry(name).name
    except TargetError as exc:
        raise error(str(exc)) from None


def _value(key: str, value: object) -> Value | NumberWithUnit:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        if not abs(value) < _BEYOND:  # nan, infinities, whole numbers that no float holds
            raise UsageError(f"{key} cannot be {str(value)[:40]}.")
        return float(value)
    if not isinstance(value, str):
        raise UsageError(f"{key} is a number, a text, true or false.")
    if value in SWITCHED:
        return SWITCHED[value]
    if comma := decimal_comma(value):
        raise UsageError(f"{key}: {value[:_LONGEST_NUMBER]!r} is no number.{comma}")
    try:
        found = read(value)
    except UnitError as exc:
        raise UsageError(f"{key}: {exc}") from None
    if found is None:
        return value
    return found if found.unit else found.value


def typed_value(text: str, name: str = "the value") -> float | NumberWithUnit:
    """A number as somebody typed it for a setting, with or without a unit; `SettingError` for
    anything else."""
    value = _value(name, text)
    if isinstance(value, float | NumberWithUnit):
        return value
    raise UsageError(f"{name}: {text!r} is no number.")


REQUIRED = ("cell_ovp", "cell_uvp", "charge_otp", "charge_utp", "discharge_otp")
"""What protects the cells themselves: every board has to have it."""
_CURRENTS = ("charge_ocp", "discharge_ocp")
"""Every board has them, and under `[optional]` they would yield to the rating, also back on the
board that they came from."""


def profile_of(
    table: SettingsSnapshot,
    *,
    title: str = "",
    own: bool = False,
    chemistry: str | None = None,
) -> str:
    """The settings of a board as the text of a profile, which fits other boards as well: what not
    every board has is under `[optional]`.

    Left out are values that are unknown, read-only or live, switches, and those that belong to
    this one board unless `own`. `chemistry`: what the cells are, where somebody states it. Raises
    `FrameError` where the table holds what is impossible.
    """
    believe(table)
    values = table.values()
    lines = ["schema = 1", f"title = {_quoted(title)}"]
    if chemistry is None:
        names = " or ".join(f'"{name}"' for name in CHEMISTRIES)
        lines.append(f"# Nobody states what the cells are: add chemistry = {names}.")
    else:
        lines.append(f"chemistry = {_quoted(chemistry)}")
    tables: dict[str, list[str]] = {name: [] for name in _TABLES}
    for setting in table.map.settings:
        value = values[setting.key]
        if value is None or setting.live or setting.is_switch or not setting.writable:
            continue
        if setting.own and not own:
            continue
        required = setting.key in (*REQUIRED, *_CURRENTS)
        row = f"{setting.key} = {toml_value(value, setting.unit)}"
        tables["settings" if required else "optional"].append(row)
    for name, rows in tables.items():
        lines += ["", f"[{name}]", *rows] if rows else []
    if not any(tables.values()):
        lines += ["", "[settings]"]
    return "\n".join(lines) + "\n"


def toml_value(value: Value, unit: str) -> str:
    """A value as TOML, with its unit where it has one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    text = f"{value:.9g}"
    return f'"{text} {unit}"' if unit else text


def _quoted(text: str) -> str:
    clean = "".join(c if c.isprintable() else " " for c in text)
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'
