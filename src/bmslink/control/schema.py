"""What files of schema 1, those of 0.1.0, mean today.

Schema 2 says that a file's numbers are meant against the defaults of today. A file of schema 1 may
be a preset of 0.1.0 with one line changed, so a value in it that is exactly what 0.1.0 shipped is
no wish of its owner: it counts as shipped, and today's value takes its place. Every other value is
the owner's and stays. Where today's value would not go with one of the owner's, such as a warning
beyond the owner's own stop, the file's value stays as well.

The tables hold what differs from today, only. Whatever changes in `thresholds.py` or
`catalogue.py` from now on adds what it was before (the tests of old files say so).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bmslink.control.decide.catalogue import CATALOGUE
from bmslink.control.decide.policy import AsShipped, Policy
from bmslink.control.decide.thresholds import CURVES, THRESHOLDS, UNITS
from bmslink.control.fields import FIELDS, FieldError, LevelFacts, unit_of
from bmslink.control.written import curve_points, field_text
from bmslink.settings.units import UnitError, parse, write

__all__ = ["COMMENTS", "SCHEMA", "today"]

SCHEMA = 2
"""Of the files that are written now."""

_THRESHOLDS: Mapping[str, Mapping[str, str]] = {
    "ov_warning": {"lfp": "3.50 V", "nmc": "4.16 V", "lto": "2.65 V", "na-ion": "3.65 V"},
    "ov_trip": {"lfp": "3.60 V", "nmc": "4.20 V", "lto": "2.68 V", "na-ion": "3.80 V"},
}
_HEAT = [["90 %", "100 %"], ["100 %", "50 %"]]
_CURVES: Mapping[str, list[list[str]]] = {"charge_heat": _HEAT, "discharge_heat": _HEAT}


def _was_curve(
    release: str, off_delay: str = "30 s", lockout: str = "3 in 15 min"
) -> dict[str, str]:
    """Curves had the delays of a trip; they are the fraction of the moment now."""
    return {"release": release, "off_delay": off_delay, "min_off": "1 min", "lockout": lockout}


_SOON = {"lockout": "3 in 15 min"}
_WARM = {"trip": "80 %", "release": "60 %"}
_ROWS: Mapping[str, Mapping[str, str]] = {
    "cell_overvoltage_derate": _was_curve("ov_derate_release", "1 min"),
    "cell_undervoltage_derate": _was_curve("uv_derate_release", "1 min"),
    "pack_overvoltage": {"inside_bms": "30 mV"},
    "deep_discharge": {"reset": "manual"},
    "charge_overcurrent": _SOON,
    "discharge_overcurrent": _SOON,
    "charge_heat": _SOON,
    "discharge_heat": _SOON,
    "charge_heat_warning": _WARM,
    "charge_heat_derate": _was_curve("85 %"),
    "discharge_heat_warning": _WARM,
    "discharge_heat_derate": _was_curve("85 %"),
    "charge_hot_derate": _was_curve("charge_ot_release"),
    "charge_cold_derate": _was_curve("charge_ut_release"),
    "charge_undertemperature": {"inside_bms": "2 K"},
    "discharge_hot_derate": _was_curve("discharge_ot_release"),
    "discharge_cold_derate": _was_curve("discharge_ut_release"),
    "mosfet_derate": _was_curve("mosfet_release"),
    "runaway_cell": {"off_delay": "30 s", "reset": "manual"},
    "high_soc_dwell": {"release": "float_voltage", "off_delay": "30 s"},
    "stale_data_derate": {"off_delay": "30 s"},
    "stale_data": {"off_delay": "30 s", "min_off": "1 min"},
}  # fmt: skip

COMMENTS: Mapping[str, str] = {
    "cell_delta_top": "# the cells differ much, top of charge: "
    "limits charging and discharging (top of charge only)",
    "cell_delta_load": "# the cells differ much, heavy load: "
    "limits charging and discharging (heavy load only)",
    "bms_charge_protection": "# the BMS protects against charging: stops charging",
    "bms_discharge_protection": "# the BMS protects against discharging: stops discharging",
    "stale_data": "# no fresh data for longer than is safe: stops charging and discharging",
}
"""Policy -> the comment line above it in presets of 0.1.0, where it is untrue today."""

_BELOW = (("ov_warning", "ov_trip"), ("ov_trip", "ov_critical"))
"""Thresholds of which the first is below the second."""
_USERS = {
    "ov_trip": ("cell_overvoltage", "pack_overvoltage"),
    "ov_critical": ("cell_overvoltage_critical",),
}
"""Threshold -> the policies for which a file may say a number in its place."""


def today(content: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[AsShipped, ...]]:
    """The content of a file of schema 1 without what counts as shipped, and what that is.

    What is no policy file, or not yet known to be one, is given back as it is.
    """
    battery = content.get("battery")
    chemistry = battery.get("chemistry") if isinstance(battery, dict) else None
    if not isinstance(chemistry, str) or chemistry not in THRESHOLDS:
        return dict(content), ()
    found = tuple(_shipped(content, chemistry))
    left = dict(content)
    for each in found:
        left = _without(left, each.key)
    return left, found


def _without(table: Mapping[str, Any], key: tuple[str, ...]) -> dict[str, Any]:
    """A copy of a table without what is at the key."""
    first, *rest = key
    if not rest:
        return {name: value for name, value in table.items() if name != first}
    return {**table, first: _without(table[first], tuple(rest))}


def _shipped(content: Mapping[str, Any], chemistry: str) -> Iterator[AsShipped]:
    yield from _thresholds(content, chemistry)
    for name, points in _table(content, "curves").items():
        old = _CURVES.get(name)
        if old is not None and _points(points) == _points(old):
            now = curve_points(CURVES[chemistry][name], "%")
            yield AsShipped(("curves", name), points, now)
    rows = _table(content, "policies")
    for name, row in rows.items():
        if name in _ROWS and name in CATALOGUE[chemistry] and isinstance(row, dict):
            yield from _row(content, row, CATALOGUE[chemistry][name])


def _thresholds(content: Mapping[str, Any], chemistry: str) -> Iterator[AsShipped]:
    table, rows = _table(content, "thresholds"), _table(content, "policies")

    def number(name: str, text: Any) -> float | None:
        return _number(text, UNITS[name])

    usual = THRESHOLDS[chemistry]
    taken = {
        name for name, was in _THRESHOLDS.items()
        if name in table and number(name, table[name]) == number(name, was[chemistry])
    }  # fmt: skip

    def in_force(name: str) -> float:
        own = None if name in taken else number(name, table.get(name))
        return usual[name] if own is None else own

    def first(name: str) -> float:
        said = [number(name, _table(rows, user).get("trip")) for user in _USERS[name]]
        return min([in_force(name), *(each for each in said if each is not None)])

    for low, high in reversed(_BELOW):  # the upper one first: the lower one goes by what is left
        if low in taken and in_force(low) >= first(high):
            taken.discard(low)
    for name in table:
        if name in taken:
            yield AsShipped(("thresholds", name), table[name], write(usual[name], UNITS[name]))


def _row(content: Mapping[str, Any], row: Mapping[str, Any], policy: Policy) -> Iterator[AsShipped]:
    old = _ROWS[policy.name]
    same = [
        field for field, text in row.items()
        if field in old and _meaning(text, field, policy) == _meaning(old[field], field, policy)
    ]  # fmt: skip
    if not _in_order(content, row, policy, same):
        same = [field for field in same if field not in ("trip", "release")]
    for field in same:
        key = ("policies", policy.name, field)
        yield AsShipped(key, row[field], field_text(policy, field))


def _in_order(
    content: Mapping[str, Any], row: Mapping[str, Any], policy: Policy, same: list[str]
) -> bool:
    """Whether release is still inside trip once today's values are in the place of `same`."""
    table, chemistry = _table(content, "thresholds"), content["battery"]["chemistry"]

    def value(field: str) -> float | None:
        given = getattr(policy, field)
        if field in row and field not in same:
            given = row[field]
        if isinstance(given, str) and given in UNITS:
            own = _number(table.get(given), UNITS[given])
            return THRESHOLDS[chemistry][given] if own is None else own
        return given if isinstance(given, float) else _number(given, unit_of(policy))

    trip, release = value("trip"), value("release")
    if trip is None or release is None:
        return True
    return release < trip if policy.over else release > trip


def _meaning(text: Any, name: str, policy: Policy) -> object:
    """What a text says, so that two ways to write a number are one."""
    try:
        return FIELDS[name].read(text, LevelFacts(policy))
    except (FieldError, TypeError, AttributeError):  # a list, say: the reader of files says so
        return text


def _points(points: Any) -> object:
    """The points of a curve of percents; `None` for what is none."""
    if not isinstance(points, list) or any(
        not isinstance(point, list) or len(point) != 2 for point in points
    ):
        return None
    return [[_number(part, "%") for part in point] for point in points]


def _number(text: Any, unit: str) -> float | None:
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        return None
    try:
        return parse(text, unit)
    except UnitError:
        return None


def _table(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = content.get(name)
    return table if isinstance(table, dict) else {}
