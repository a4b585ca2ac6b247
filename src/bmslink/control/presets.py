"""Starting policy files: commented TOML for a chemistry and a use, everything in shadow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import msgspec

from bmslink.control.decide.catalogue import default_policies
from bmslink.control.decide.policy import Battery, Mode, PolicySet
from bmslink.control.decide.quantities import QUANTITIES
from bmslink.control.decide.thresholds import THRESHOLDS, UNITS
from bmslink.control.schema import SCHEMA
from bmslink.control.written import (
    curve_points,
    in_toml,
    record_title,
    row_comment,
    row_fields,
)
from bmslink.errors import TargetError
from bmslink.settings.units import write

__all__ = ["USES", "Use", "named_preset", "preset", "preset_for", "use_of"]


class Use(msgspec.Struct, frozen=True):
    """What a battery is for, and what that changes."""

    title: str
    cells: Mapping[str, int]
    capacity: float
    charge_rate: float
    """C."""
    discharge_rate: float
    changes: Mapping[str, Mapping[str, object]]
    """Policy -> fields that differ from the shipped ones."""


_48V = {"lfp": 16, "nmc": 14, "lto": 20, "na-ion": 16}
_12V = {"lfp": 4, "nmc": 4, "lto": 5, "na-ion": 4}

USES: Mapping[str, Use] = MappingProxyType({
    "ups": Use(
        "A UPS is full for months and must deliver when the mains fail: it goes to float "
        "after six hours, and a low state of charge alone never stops it.",
        _48V, 100.0, 0.3, 1.0,
        {"high_soc_dwell": {"on_delay": 6 * 3600.0}},
    ),
    "solar": Use(
        "A house battery is charged by the sun and emptied in the evening.",
        _48V, 280.0, 0.5, 1.0, {},
    ),
    "van": Use(
        "A motorhome charges from an alternator, stands in frost, and must keep a reserve. "
        "An open charge path under alternator current is a load dump: give the alternator's "
        "regulator the charge current limit before anything is enforced.",
        _12V, 200.0, 0.3, 1.0,
        {"soc_floor": {"mode": Mode.SHADOW}, "charge_undertemperature": {"min_off": 300.0}},
    ),
    "boat": Use(
        "A yacht charges from an alternator, and must keep power for lights and radio: the floor "
        "is higher. An open charge path under alternator current is a load dump: give the "
        "alternator's regulator the charge current limit before anything is enforced.",
        _12V, 300.0, 0.3, 1.0,
        {"soc_floor": {"mode": Mode.SHADOW, "trip": 20.0, "release": 25.0}},
    ),
})  # fmt: skip
"""Use -> what is particular about it."""


def preset(
    chemistry: str,
    use: str,
    *,
    cells: int | None = None,
    capacity: float | None = None,
) -> str:
    """The text of a policy file. `TargetError` for a chemistry or use that is not known."""
    kind = use_of(use)
    if chemistry not in kind.cells:
        raise TargetError(
            f"There is no chemistry {chemistry[:40]!r}; known are: {', '.join(kind.cells)}."
        )
    ah = kind.capacity if capacity is None else capacity
    battery = Battery(
        chemistry=chemistry,
        cells=kind.cells[chemistry] if cells is None else cells,
        capacity=ah,
        charge_current=round(kind.charge_rate * ah, 1),
        discharge_current=round(kind.discharge_rate * ah, 1),
    )
    return preset_for(battery, use)


def use_of(name: str) -> Use:
    """The use of that name; `TargetError` names the known ones."""
    if name not in USES:
        raise TargetError(f"There is no use {name[:40]!r}; known are: {', '.join(USES)}.")
    return USES[name]


def named_preset(name: str) -> tuple[str | None, str | None] | None:
    """The chemistry and the use in `lfp`, `van` or `lfp-van`; `None` for any other name."""
    if name in THRESHOLDS:
        return name, None
    if name in USES:
        return None, name
    chemistry, _, use = name.rpartition("-")
    return (chemistry, use) if use in USES and chemistry in THRESHOLDS else None


def preset_for(
    battery: Battery, use: str, notes: Mapping[str, str] | None = None, pack: str = ""
) -> str:
    """The text of a policy file for a battery. `notes` say where its values are from (field ->
    comment), and `pack` of which pack they are; without them they are guesses."""
    kind = use_of(use)
    policies = default_policies(battery)
    for name, changes in kind.changes.items():
        policies.policies[name] = msgspec.structs.replace(policies.policies[name], **changes)
    lines = [*_head(battery, kind, use), *_battery(battery, notes or _GUESSES, pack)]
    return "\n".join([*lines, *_numbers(policies), *_rows(policies)])


def _head(battery: Battery, kind: Use, use: str) -> Iterator[str]:
    yield f"# Protection policies for {battery.chemistry.upper()} cells, use: {use}."
    yield from _comment(kind.title)
    yield "#"
    yield from _comment(
        "The BMS keeps its own protection: these policies can only withdraw permission, and they "
        "are no certified safety function. A short circuit is over before a host hears of it: the "
        "BMS and a fuse must stop it. Try the policies first: everything here is in shadow, which "
        "decides and tells and does nothing. What this file leaves out is as shipped; "
        'mode = "off" switches a policy off, mode = "enforce" lets it act.'
    )
    yield "#"
    yield "# `bmslink control check FILE` tells what is wrong with it."
    yield ""
    yield f"schema = {SCHEMA}"
    yield f'mode = "{Mode.SHADOW}"  # off, shadow or enforce; a policy may say otherwise'
    yield ""


_GUESSES: Mapping[str, str] = {
    "cells": "in series",
    "charge_current": "continuous, by the data sheet of the cells",
    "discharge_current": "continuous, by the data sheet of the cells",
    "sensors": "the probes that count; else all cell_N and sensor_N",
}


def _battery(battery: Battery, notes: Mapping[str, str], pack: str) -> Iterator[str]:
    def line(name: str, value: str | int | list[str]) -> str:
        return f"{name} = {in_toml(value)}" + (f"  # {notes[name]}" if name in notes else "")

    if pack:
        yield from _comment(f"As {pack} says; CHECK THEM: everything below is reckoned with them.")
        yield "[battery]"
    else:
        yield "[battery]  # SET THESE: they are guesses, and everything below is reckoned with them"
    yield line("chemistry", battery.chemistry)
    yield line("cells", battery.cells)
    yield line("capacity", write(battery.capacity, "Ah"))
    for name in ("charge_current", "discharge_current"):
        yield line(name, write(getattr(battery, name), "A"))
    if battery.fuse is None:
        yield '# fuse = "250 A"   # 80 % of it is used'
    else:
        yield line("fuse", write(battery.fuse, "A"))
    yield '# cable = "200 A"  # what the thinnest one may carry for long'
    yield f'time_constant = "{write(battery.time_constant, "s")}"  # how slowly the path heats up'
    yield '# host_power = "other"  # what feeds this computer: other or pack; needed to enforce'
    yield "# alternator = true    # it charges the pack: charge opens slowly, after an alarm"
    if battery.sensors:
        yield line("sensors", list(battery.sensors))
    else:
        yield "# " + line("sensors", ["cell_1", "cell_2"])
    yield ""


def _numbers(policies: PolicySet) -> Iterator[str]:
    yield "[thresholds]  # V per cell and °C; policies use them by name"
    for name, value in policies.thresholds.items():
        yield f'{name} = "{write(value, UNITS[name])}"'
    yield ""
    yield "[curves]  # straight lines between the points, flat beyond them"
    yield "# charge_cold and charge_hot are parts of 1 C, the others of the rated current"
    users = {p.curve: p for p in policies.policies.values() if isinstance(p.curve, str)}
    for name, points in policies.curves.items():
        unit = QUANTITIES[users[name].quantity].unit
        yield f"{name} = {in_toml(curve_points(points, unit))}"
    yield ""


def _rows(policies: PolicySet) -> Iterator[str]:
    """A table for each quantity, a line for each of its levels."""
    for record in policies.records.values():
        yield f"[policies.{record.name}]  # {record_title(record)}"
        for level, policy in record.levels.items():
            yield row_comment(policy)
            yield f"{level} = {in_toml(row_fields(policy))}"
        yield ""


def _comment(text: str) -> Iterator[str]:
    """A text as comment lines."""
    line = "#"
    for word in text.split():
        if len(line) + 1 + len(word) > 100:
            yield line
            line = "#"
        line += f" {word}"
    yield line
