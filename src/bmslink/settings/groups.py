"""What each setting protects or serves: the order and the headings in which people read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType

__all__ = ["Group", "group_of", "grouped"]


class Group(StrEnum):
    """A heading, in the order of what matters most."""

    CELLS = "cells"
    PACK = "pack"
    CURRENT = "current"
    SHORT_CIRCUIT = "short_circuit"
    TEMPERATURE = "temperature"
    BALANCING = "balancing"
    CAPACITY = "capacity"
    SWITCHES = "switches"
    BOARD = "board"

    @property
    def heading(self) -> str:
        """The heading."""
        return _TITLES[self]


_TITLES: Mapping[Group, str] = MappingProxyType(
    {
        Group.CELLS: "Cell voltages",
        Group.PACK: "Pack voltage",
        Group.CURRENT: "Current",
        Group.SHORT_CIRCUIT: "Short circuit",
        Group.TEMPERATURE: "Temperature",
        Group.BALANCING: "Balancing",
        Group.CAPACITY: "Capacity and charging",
        Group.SWITCHES: "Switches",
        Group.BOARD: "The board itself",
    }
)

_VENDOR = re.compile(r"(?:jbd_up|jbd|jk|daly)_")
_CONCEPTS: tuple[tuple[re.Pattern[str], Group], ...] = tuple(
    (re.compile(pattern), group)
    for pattern, group in (
        (r"short_circuit_", Group.SHORT_CIRCUIT),
        (r"balance_", Group.BALANCING),
        (r"(?:hardware_)?cell_(?:ovp|uvp|delta)(?:_|$)", Group.CELLS),
        (r"pack_(?:ovp|uvp)(?:_|$)", Group.PACK),
        (r"(?:level_\d_)?(?:dis)?charge_ocp(?:_|$)", Group.CURRENT),
        (r"(?:dis|)charge_(?:otp|utp)(?:_|$)", Group.TEMPERATURE),
        (r"(?:mosfet|ambient|box)_(?:otp|utp)(?:_|$)", Group.TEMPERATURE),
        (r"temperature_delta(?:_|$)", Group.TEMPERATURE),
        (r"heating(?:_|$)", Group.TEMPERATURE),
        (r"soc(?:_|$)", Group.CAPACITY),
        (r"(?:nominal|cycle|charged|discharged|second)_capacity$", Group.CAPACITY),
        (r"(?:full_charge|empty|float|request_charge)_(?:voltage|delay|time)$", Group.CAPACITY),
    )
)
"""How a key begins, without its vendor -> what it is about; the first that fits."""

_OTHERS: Mapping[str, Group] = MappingProxyType(
    {
        "charge_switch": Group.SWITCHES,
        "discharge_switch": Group.SWITCHES,
        "daly_balancer_switch": Group.BALANCING,
        "jbd_overcurrent_2_level": Group.SHORT_CIRCUIT,
        "jbd_hardware_delays": Group.SHORT_CIRCUIT,
        "jk_discharge_ocp_2": Group.CURRENT,
        "jk_discharge_ocp_3": Group.CURRENT,
        "jk_parallel_limiter_disabled": Group.CURRENT,
        "jk_precharge_time": Group.CURRENT,
        "jk_temperature_sensors_disabled": Group.TEMPERATURE,
        "jbd_ntc_bits": Group.TEMPERATURE,
        "chemistry": Group.CAPACITY,
        "daly_nominal_cell_voltage": Group.CAPACITY,
        "jk_battery_type": Group.CAPACITY,
        "jk_float_mode": Group.CAPACITY,
        "jk_rebulk_soc": Group.CAPACITY,
        "jbd_external_switch": Group.SWITCHES,
        "jbd_load_detection": Group.SWITCHES,
        "jk_button_emergency": Group.SWITCHES,
        "jk_gps_lock_charge": Group.SWITCHES,
        "jk_gps_lock_discharge": Group.SWITCHES,
    }
)


def group_of(key: str) -> Group:
    """Where a setting belongs; what serves nothing else belongs to the board itself."""
    if (known := _OTHERS.get(key)) is not None:
        return known
    rest = _VENDOR.sub("", key, count=1) if _VENDOR.match(key) else key
    return next((g for pattern, g in _CONCEPTS if pattern.match(rest)), Group.BOARD)


_PARTS = ("", "_warning", "_alarm", "_release", "_delay")
_PART = re.compile(r"_(?:warning|alarm|release|delay)$")


def grouped(keys: Iterable[str]) -> Iterator[tuple[Group, list[str]]]:
    """The groups that these keys belong to, each with its keys: a limit, then its warning, its
    release and its delays."""
    known = list(keys)
    for group in Group:
        own = [key for key in known if group_of(key) is group]
        limits = list(dict.fromkeys(_limit(key) for key in own))
        if own:
            yield group, sorted(own, key=lambda key: (limits.index(_limit(key)), _parts(key)))


def _limit(key: str) -> str:
    while (found := _PART.search(key)) is not None:
        key = key[: found.start()]
    return key


def _parts(key: str) -> tuple[int, ...]:
    rest = key.removeprefix(_limit(key))
    return tuple(_PARTS.index(f"_{part}") for part in rest.split("_")[1:])
