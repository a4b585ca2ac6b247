"""Policy files: TOML with units and named thresholds over the defaults of the chemistry.

```toml
schema = 2
mode = "shadow"                      # of every policy that does not say otherwise

[battery]
chemistry = "lfp"
cells = 16
capacity = "280 Ah"
fuse = "250 A"

[thresholds]
ov_trip = "3.58 V"                   # a named number, for every policy that uses it

[policies]
soc_floor = { mode = "shadow", trip = "15 %", release = "20 %" }

[policies.cell_overvoltage]          # a quantity, and what is said of its levels
warn = { mode = "off" }
trip = { mode = "enforce", on_delay = "2 s", inside_bms = "30 mV" }
```

What a file leaves out is as shipped; leaving a policy out does not switch it off. What is said of a
quantity itself is meant of the level that has its name. A level may be named by its own name as
well, as all are in files of 0.1.0 (`cell_overvoltage_warning`). Files of schema 1 are read by
`schema.py`: what 0.1.0 shipped counts as shipped in them. What can be said, in which unit and
range, is in `fields.py`. Everything wrong with a file is a `TargetError` that names the file and
the line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from bmslink.arguments import checked
from bmslink.config.files.kind import instead
from bmslink.control.decide.catalogue import SPLIT, default_policies
from bmslink.control.decide.compile import chatter_of, curve_of, trip_of
from bmslink.control.decide.policy import (
    BATTERY_BETWEEN,
    AsShipped,
    Battery,
    Mode,
    Policy,
    PolicyRecord,
    PolicySet,
)
from bmslink.control.decide.quantities import QUANTITIES
from bmslink.control.decide.rule import fraction_at
from bmslink.control.decide.thresholds import RANGES, THRESHOLDS, Curve, disorder
from bmslink.control.decide.thresholds import UNITS as THRESHOLD_UNITS
from bmslink.control.fields import (
    BATTERY_UNITS,
    FIELDS,
    FieldError,
    LevelFacts,
    amount,
    known,
    read_curve,
    unit_of,
)
from bmslink.control.schema import SCHEMA, today
from bmslink.errors import TargetError
from bmslink.link.mistakes import is_target
from bmslink.settings.units import write
from bmslink.storage.toml import Document, Key, read_text

__all__ = ["load_policies", "parse_policies"]


_HOST_POWER = ("pack", "other")

_Battery = msgspec.defstruct(
    "_Battery",
    [
        ("chemistry", str),
        ("cells", int),
        ("capacity", Any),
        *((name, Any, None) for name in BATTERY_UNITS if name != "capacity"),
        ("sensors", list[str], msgspec.field(default_factory=list)),
        ("host_power", str | None, None),
        ("alternator", bool, False),
    ],
    forbid_unknown_fields=True,
)
"""`[battery]`, as TOML holds it."""


class _PolicyFile(msgspec.Struct, forbid_unknown_fields=True):
    schema: int
    battery: Any
    mode: str = "shadow"
    thresholds: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    policies: dict[str, Any] = {}


_PolicyRow = msgspec.defstruct(
    "_PolicyRow",
    [(field.name, field.kind | None, None) for field in FIELDS.values()],
    forbid_unknown_fields=True,
)
"""One level, as TOML holds it."""


@checked(TargetError)
def load_policies(path: Path) -> PolicySet:
    """Read a policy file. `TargetError` names the file, the line and what is wrong."""
    if not path.exists():
        if is_target(path):
            raise TargetError(
                f"{path} is a pack, not a file: write the policy file first, then the pack."
            )
        raise TargetError(
            f"There is no file {path}; `bmslink control presets --chemistry lfp --use solar "
            f"-o {path}` writes one to start from."
        )
    return parse_policies(read_text(path, "policy file"), path)


def parse_policies(text: str, path: Path) -> PolicySet:
    """The policies that a text describes; `path` is for the messages."""
    if other := instead(text, path, "policies"):
        raise TargetError(f"{path} is no policy file. {other}")
    return _Reader(Document(text, path)).policies()


class _Reader:
    """One file, on its way to a PolicySet."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._capacity = 0.0
        self._told: dict[str, Key] = {}
        """Own name of a level -> where the file says something of it."""

    def policies(self) -> PolicySet:
        file = self._document.convert(_PolicyFile)
        if file.schema not in (1, SCHEMA):
            raise self._wrong(("schema",), f"schema: this reads 1 and {SCHEMA}, not {file.schema}")
        as_shipped: tuple[AsShipped, ...] = ()
        if file.schema == 1:
            content, as_shipped = today(self._document.content)
            file = self._document.convert(_PolicyFile, content)
        battery = self._battery(file.battery)
        shipped = default_policies(battery)
        mode = self._try(("mode",), FIELDS["mode"].read, file.mode, None)
        found = PolicySet(
            battery=battery,
            thresholds=self._thresholds(file.thresholds, shipped),
            curves=self._curves(file.curves, shipped),
            policies={
                name: row if row.mode == Mode.OFF else msgspec.structs.replace(row, mode=mode)
                for name, row in shipped.policies.items()
            },
            as_shipped=as_shipped,
        )
        for name, key, table in self._levels(file.policies, shipped, parts=file.schema == 1):
            row = found.policies[name]
            found.policies[name] = self._policy(row, table, found.thresholds, key)
        self._check(found)
        return found

    # -- parts -----------------------------------------------------------------------------------

    def _battery(self, table: Any) -> Battery:
        key = ("battery",)
        row: Any = self._document.convert(_Battery, table, key)
        self._known(row.chemistry, THRESHOLDS, (*key, "chemistry"), "chemistry")
        low, high = BATTERY_BETWEEN["cells"]
        if not low <= row.cells <= high:
            raise self._wrong((*key, "cells"), f"cells: {low:g} to {high:g}")
        numbers: dict[str, float] = {}
        for name, unit in BATTERY_UNITS.items():
            text = getattr(row, name)
            if text is not None:
                place, between = (*key, name), BATTERY_BETWEEN[name]
                numbers[name] = self._try(
                    place, amount, name, text, unit, between, numbers.get("capacity", math.nan)
                )
        self._capacity = numbers["capacity"]
        if row.host_power is not None:
            self._known(row.host_power, _HOST_POWER, (*key, "host_power"), "host_power")
        return Battery(
            chemistry=row.chemistry,
            cells=row.cells,
            sensors=tuple(row.sensors),
            host_power=row.host_power,
            alternator=row.alternator,
            **numbers,
        )

    def _thresholds(self, table: dict[str, Any], shipped: PolicySet) -> dict[str, float]:
        found = dict(shipped.thresholds)
        for name, text in table.items():
            key = ("thresholds", name)
            self._known(name, found, key, "threshold")
            unit = THRESHOLD_UNITS[name]
            found[name] = self._try(key, amount, name, text, unit, RANGES[unit])
        return found

    def _curves(self, table: dict[str, Any], shipped: PolicySet) -> dict[str, Curve]:
        found = dict(shipped.curves)
        users = {row.curve: row for row in shipped.policies.values()}
        for name, points in table.items():
            key = ("curves", name)
            self._known(name, found, key, "curve")
            user = users[name]
            read = partial(read_curve, falling=user.over)
            found[name] = self._try(key, read, name, points, unit_of(user))
        return found

    def _levels(
        self, rows: dict[str, Any], shipped: PolicySet, *, parts: bool
    ) -> Iterator[tuple[str, Key, Any]]:
        """Every level that the file says something of: its own name, where, and what."""
        records = shipped.records
        names = dict.fromkeys((*shipped.policies, *records))
        own: dict[str, Any] = {}
        for name, table in rows.items():
            self._known(name, names, ("policies", name), "policy")
            for level, key, said in self._split(records.get(name), name, table):
                if level in self._told:
                    here, there = ".".join(key[1:]), ".".join(self._told[level][1:])
                    raise self._wrong(key, f"{here}: the file says it twice, also as {there}")
                self._told[level] = key
                if key[-1] == level:
                    own[level] = said
                yield level, key, said
        for whole, others in SPLIT.items() if parts else ():
            for name in others:  # in 0.1.0 it was one with another
                if whole in own and name not in self._told and name in shipped.policies:
                    self._told[name] = ("policies", whole)
                    yield name, ("policies", whole), own[whole]

    def _split(
        self, record: PolicyRecord | None, name: str, table: Any
    ) -> Iterator[tuple[str, Key, Any]]:
        """What is said of the levels of a quantity, and of itself."""
        key = ("policies", name)
        if record is None or not isinstance(table, dict):
            yield name, key, table
            return
        own = dict(table)
        for level, said in table.items():
            if isinstance(said, dict):
                self._known(level, record.levels, (*key, level), "level")
                yield record.levels[level].name, (*key, level), own.pop(level)
        if own and record.main is None:
            words = ", ".join(f"{name}.{level}" for level in record.levels)
            raise self._wrong(key, f"{name}: say it of one of its levels: {words}")
        if own or (not table and record.main):
            yield name, key, own

    def _policy(self, policy: Policy, table: Any, thresholds: Iterable[str], key: Key) -> Policy:
        row = self._document.convert(_PolicyRow, table, key)
        facts = LevelFacts(policy, thresholds, self._capacity)
        changes: dict[str, Any] = {}
        for name, field in FIELDS.items():
            given = getattr(row, name)
            if given is not None:
                changes[field.attribute] = self._try((*key, name), field.read, given, facts)
        return msgspec.structs.replace(policy, **changes)

    # -- what must hold --------------------------------------------------------------------------

    def _check(self, found: PolicySet) -> None:
        self._check_order(found)
        self._check_cold(found)
        for name, policy in found.policies.items():
            if ends := chatter_of(policy, found):
                trip, release = ends
                side = "below" if policy.over else "above"
                unit = QUANTITIES[policy.quantity].unit
                where = "trip" if policy.trip is not None else "the 0 % of its curve"
                raise self._wrong(
                    self._place(policy, "release", "trip"),
                    f"{name}: release must be {side} trip, or it would chatter; release is "
                    f"{_named(policy.release, release, unit)}, {where} "
                    f"{_named(policy.trip, trip, unit)}",
                )

    def _check_order(self, found: PolicySet) -> None:
        """Thresholds that are the wrong way round cannot be meant."""
        wrong = disorder(found.thresholds)
        if wrong is None:
            return
        low, high = wrong
        places = [("thresholds", name) for name in wrong]
        place = next((key for key in places if self._in_file(key)), places[0])
        said = [f"{name} ({self._shown(found, name)})" for name in (low, high)]
        raise self._wrong(place, f"{said[0]} must lie below {said[1]}")

    @staticmethod
    def _shown(found: PolicySet, name: str) -> str:
        return write(found.thresholds[name], THRESHOLD_UNITS[name])

    def _check_cold(self, found: PolicySet) -> None:
        """Charging a cold cell plates its metal: no file may permit it."""
        least = THRESHOLDS[found.battery.chemistry]["charge_ut_trip"]
        limit = trip_of(found.policies["charge_undertemperature"], found, found.thresholds)
        place = self._place(found.policies["charge_undertemperature"], "trip")
        if limit is None or limit < least:
            why = f"no charging below {least:g} °C: {found.battery.chemistry} cells are damaged"
            raise self._wrong(place, f"charge_undertemperature: {why}")
        curve = found.policies["charge_cold_derate"].curve
        points = curve_of(found.policies["charge_cold_derate"], found)
        # a stop above the curve's 0 % is the more careful file: `check` remarks on it
        if points is None or fraction_at(points, least) != 0:
            own = self._place(found.policies["charge_cold_derate"], "curve")
            key = ("curves", "charge_cold") if isinstance(curve, str) else own
            raise self._wrong(key, f"charge_cold: it must be 0 % at {least:g} °C and below")

    def _place(self, policy: Policy, *fields: str) -> Key:
        """Where the file says something of these fields, or of the thresholds they name."""
        told = self._told.get(policy.name, ("policies", policy.name))
        places: list[Key] = [(*told, field) for field in fields]
        places += [("thresholds", str(getattr(policy, field))) for field in fields]
        return next((key for key in places if self._in_file(key)), told)

    def _in_file(self, key: Key) -> bool:
        content: Any = self._document.content
        for name in key:
            if not isinstance(content, dict) or name not in content:
                return False
            content = content[name]
        return True

    # -- words -----------------------------------------------------------------------------------

    def _known(self, name: str, names: Iterable[str], key: Key, kind: str) -> None:
        self._try(key, known, name, names, kind)

    def _try(self, key: Key, call: Callable[..., Any], *arguments: Any) -> Any:
        """What a call gives; what it finds wrong, with the line."""
        try:
            return call(*arguments)
        except FieldError as exc:
            raise self._wrong(key, str(exc)) from None

    def _wrong(self, key: Key, why: str) -> TargetError:
        return self._document.wrong(key, why)


def _named(given: float | str | None, value: float, unit: str) -> str:
    """A number, and the threshold it comes from."""
    return write(value, unit) + (f" ({given})" if isinstance(given, str) else "")
