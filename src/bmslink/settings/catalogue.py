"""The settings that vendors share: one row a name, with what it is called and counted in.

A row of a dialect's table (`protocols/common/rows.py`) that carries one of these names takes its
title, unit and kind from here, so they are the same on all boards. What only one vendor has is
named after it (`jk_smart_sleep`) and described in its row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from bmslink.settings.setting import Kind

__all__ = ["CATALOGUE", "Shared"]


class Shared(NamedTuple):
    """What is the same of a setting on the boards of all vendors."""

    title: str
    unit: str = ""
    kind: Kind = "number"


_PROTECTIONS: Mapping[str, Shared] = {
    "cell_ovp": Shared("Cell over-voltage", "V"),
    "cell_uvp": Shared("Cell under-voltage", "V"),
    "cell_delta": Shared("Cell difference", "V"),
    "pack_ovp": Shared("Pack over-voltage", "V"),
    "pack_uvp": Shared("Pack under-voltage", "V"),
    "charge_ocp": Shared("Charge over-current", "A"),
    "discharge_ocp": Shared("Discharge over-current", "A"),
    "charge_otp": Shared("Charge over-temperature", "°C"),
    "charge_utp": Shared("Charge under-temperature", "°C"),
    "discharge_otp": Shared("Discharge over-temperature", "°C"),
    "discharge_utp": Shared("Discharge under-temperature", "°C"),
    "mosfet_otp": Shared("MOSFET over-temperature", "°C"),
    "temperature_delta": Shared("Temperature difference", "K"),
    "soc_low": Shared("SOC low", "%"),
    "soc_high": Shared("SOC high", "%"),
}
"""Each may have a `_warning` before it, a `_delay`, and a `_release`."""
_AFTER = ("charge_ocp", "discharge_ocp")
"""They are released after a time: the current is gone once the MOSFETs are open."""

_OTHERS: Mapping[str, Shared] = {
    "short_circuit_current": Shared("Short circuit current", "A"),
    "short_circuit_delay": Shared("Short circuit delay", "s"),
    "short_circuit_release": Shared("Short circuit release after", "s"),
    "charge_switch": Shared("Charging", kind="switch"),
    "discharge_switch": Shared("Discharging", kind="switch"),
    "balance_switch": Shared("Balancing", kind="switch"),
    "balance_charging_only": Shared("Balancing only while charging", kind="switch"),
    "balance_start_voltage": Shared("Balancing begins above", "V"),
    "balance_delta": Shared("Balancing begins at a difference of", "V"),
    "balance_current": Shared("Highest balancing current", "A"),
    "nominal_capacity": Shared("Nominal capacity", "Ah"),
    "cycle_capacity": Shared("Capacity that counts as a cycle", "Ah"),
    "cell_count": Shared("Cells"),
    "chemistry": Shared("Chemistry", kind="choice"),
    "full_charge_voltage": Shared("Cell voltage that counts as full", "V"),
    "float_voltage": Shared("Cell voltage asked of the charger afterwards", "V"),
    "empty_voltage": Shared("Cell voltage that counts as empty", "V"),
    "sleep_delay": Shared("Sleeps after", "s"),
    "soc": Shared("SOC", "%"),
}


def _rows() -> Iterator[tuple[str, Shared]]:
    for key, level in _PROTECTIONS.items():
        after = key in _AFTER
        yield key, level
        yield f"{key}_warning", level._replace(title=f"{level.title} warning")
        yield f"{key}_delay", Shared(f"{level.title} delay", "s")
        release = f"{level.title} release{' after' if after else ''}"
        yield f"{key}_release", Shared(release, "s" if after else level.unit)
    yield from _OTHERS.items()


CATALOGUE: Mapping[str, Shared] = MappingProxyType(dict(_rows()))
"""Name -> what is the same of it everywhere; `protocols.names` knows the vendors' own names."""
