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
cell_overvoltage = { mode = "enforce", on_delay = "2 s", inside_bms = "30 mV" }
soc_floor = { mode = "shadow", trip = "15 %", release = "20 %" }
```

What a file leaves out is as shipped; leaving a policy out does not switch it off. Files of schema 1
are read by `schema.py`: what 0.1.0 shipped counts as shipped in them. Everything
wrong with a file is a `TargetError` that names the file and the line.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from bmslink.arguments import checked
from bmslink.config.files.kind import instead
from bmslink.control.decide.catalogue import default_policies, with_parts
from bmslink.control.decide.compile import chatter_of, curve_of, trip_of
from bmslink.control.decide.policy import (
    AsShipped,
    Battery,
    Mode,
    OnMissing,
    Policy,
    PolicySet,
    Reset,
)
from bmslink.control.decide.quantities import QUANTITIES
from bmslink.control.decide.rule import fraction_at
from bmslink.control.decide.thresholds import THRESHOLDS, disorder
from bmslink.control.decide.thresholds import UNITS as THRESHOLD_UNITS
from bmslink.control.schema import SCHEMA, today
from bmslink.errors import TargetError
from bmslink.link.mistakes import is_target
from bmslink.settings.units import UnitError, parse, write
from bmslink.storage.toml import Document, Key, read_text

__all__ = ["load_policies", "parse_policies"]

_LOCKOUT = re.compile(r"(\d{1,4}) in (.+)")
_MOST_POINTS = 32
_CURVE_QUANTITY = {
    "ccl_voltage": "max_cell", "dcl_voltage": "min_cell", "charge_cold": "min_temperature",
    "charge_hot": "max_temperature", "discharge_cold": "min_working_temperature",
    "discharge_hot": "max_temperature", "mosfet_hot": "mosfet_temperature",
    "charge_heat": "charge_heat", "discharge_heat": "discharge_heat",
}  # fmt: skip
_FALLING = {"ccl_voltage", "charge_hot", "discharge_hot", "mosfet_hot", "charge_heat",
            "discharge_heat"}  # fmt: skip


class _Battery(msgspec.Struct, forbid_unknown_fields=True):
    chemistry: str
    cells: int
    capacity: Any
    charge_current: Any = None
    discharge_current: Any = None
    fuse: Any = None
    cable: Any = None
    time_constant: Any = None
    sensors: list[str] = []


class _PolicyFile(msgspec.Struct, forbid_unknown_fields=True):
    schema: int
    battery: Any
    mode: str = "shadow"
    thresholds: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    policies: dict[str, Any] = {}


class _PolicyRow(msgspec.Struct, forbid_unknown_fields=True):
    mode: str | None = None
    trip: Any = None
    release: Any = None
    on_delay: Any = None
    load_delay: Any = None
    samples: int | None = None
    off_delay: Any = None
    min_off: Any = None
    reset: str | None = None
    lockout: str | None = None
    curve: Any = None
    factor: Any = None
    inside_bms: Any = None
    outside_bms: Any = None
    sensors: list[str] | None = None
    on_missing: str | None = None


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

    def policies(self) -> PolicySet:
        file = self._document.convert(_PolicyFile)
        if file.schema not in (1, SCHEMA):
            raise self._wrong(("schema",), f"schema: this reads 1 and {SCHEMA}, not {file.schema}")
        as_shipped: tuple[AsShipped, ...] = ()
        places = {name: name for name in file.policies}
        if file.schema == 1:
            content, as_shipped = today(self._document.content)
            file = self._document.convert(_PolicyFile, content)
            places = with_parts(places)
        battery = self._battery(file.battery)
        shipped = default_policies(battery)
        thresholds = self._thresholds(file.thresholds, shipped)
        curves = dict(shipped.curves)
        for name, points in file.curves.items():
            key = ("curves", name)
            self._known(name, curves, key, "curve")
            quantity = _CURVE_QUANTITY[name]
            curves[name] = self._curve(points, key, quantity, falling=name in _FALLING)
        mode = self._choice(Mode, file.mode, ("mode",))
        policies = {
            name: policy if policy.mode == Mode.OFF else msgspec.structs.replace(policy, mode=mode)
            for name, policy in shipped.policies.items()
        }
        for name, place in places.items():
            key = ("policies", place)
            self._known(place, policies, key, "policy")
            row = self._document.convert(_PolicyRow, file.policies[place], key)
            policies[name] = self._policy(policies[name], row, thresholds, key)
        found = PolicySet(
            battery=battery,
            thresholds=thresholds,
            curves=curves,
            policies=policies,
            as_shipped=as_shipped,
        )
        self._check(found)
        return found

    # -- parts -----------------------------------------------------------------------------------

    def _battery(self, table: Any) -> Battery:
        key = ("battery",)
        row = self._document.convert(_Battery, table, key)
        self._known(row.chemistry, THRESHOLDS, (*key, "chemistry"), "chemistry")
        if not 1 <= row.cells <= 48:
            raise self._wrong((*key, "cells"), "cells: 1 to 48")
        self._capacity = self._amount(row.capacity, "Ah", (*key, "capacity"), 0.1, 100_000)

        def amps(name: str) -> float | None:
            text = getattr(row, name)
            return None if text is None else self._amount(text, "A", (*key, name), 0.1, 100_000)

        constant = row.time_constant
        return Battery(
            chemistry=row.chemistry,
            cells=row.cells,
            capacity=self._capacity,
            charge_current=amps("charge_current"),
            discharge_current=amps("discharge_current"),
            fuse=amps("fuse"),
            cable=amps("cable"),
            time_constant=120.0
            if constant is None
            else self._amount(constant, "s", (*key, "time_constant"), 1, 86400),
            sensors=tuple(row.sensors),
        )

    def _thresholds(self, table: dict[str, Any], shipped: PolicySet) -> dict[str, float]:
        found = dict(shipped.thresholds)
        for name, text in table.items():
            key = ("thresholds", name)
            self._known(name, found, key, "threshold")
            low, high = (0.1, 6.0) if THRESHOLD_UNITS[name] == "V" else (-60.0, 150.0)
            found[name] = self._amount(text, THRESHOLD_UNITS[name], key, low, high)
        return found

    def _policy(
        self, policy: Policy, row: _PolicyRow, thresholds: dict[str, float], key: Key
    ) -> Policy:
        unit = QUANTITIES[policy.quantity].unit
        step = "K" if unit == "°C" else unit
        changes: dict[str, Any] = {}
        for name in ("trip", "release"):
            text = getattr(row, name)
            if text is not None:
                changes[name] = self._threshold(text, unit, thresholds, (*key, name))
        for name in ("on_delay", "load_delay", "off_delay", "min_off"):
            text = getattr(row, name)
            if text is not None:
                changes[name] = self._amount(text, "s", (*key, name), 0, 7 * 86400)
        for name, sign in (("inside_bms", 1), ("outside_bms", -1)):
            text = getattr(row, name)
            if text is not None:
                if policy.bms is None:
                    raise self._wrong((*key, name), f"{name}: the BMS has no setting for this")
                changes["inside_bms"] = sign * self._amount(text, step, (*key, name), 0, 1000)
        if row.factor is not None:
            changes["factor"] = self._amount(row.factor, "%", (*key, "factor"), 0, 100) / 100
        if row.samples is not None:
            if not 1 <= row.samples <= 100:
                raise self._wrong((*key, "samples"), "samples: 1 to 100")
            changes["samples"] = row.samples
        if row.curve is not None:
            place = (*key, "curve")
            changes["curve"] = self._curve(row.curve, place, policy.quantity, falling=policy.over)
        if row.mode is not None:
            changes["mode"] = self._choice(Mode, row.mode, (*key, "mode"))
        if row.reset is not None:
            changes["reset"] = self._choice(Reset, row.reset, (*key, "reset"))
        if row.lockout is not None:
            changes["lockout"] = self._lockout(row.lockout, (*key, "lockout"))
        if row.on_missing is not None:
            changes["on_missing"] = self._on_missing(row.on_missing, (*key, "on_missing"))
        if row.sensors is not None:
            changes["sensors"] = tuple(row.sensors)
        return msgspec.structs.replace(policy, **changes)

    def _threshold(
        self, text: Any, unit: str, thresholds: dict[str, float], key: Key
    ) -> float | str:
        if isinstance(text, str) and text in thresholds:
            if THRESHOLD_UNITS[text] != unit:
                raise self._wrong(key, f"{key[-1]}: {text} is in {THRESHOLD_UNITS[text]}")
            return text
        if isinstance(text, str) and re.fullmatch(r"[a-z][a-z_]*", text):
            self._known(text, thresholds, key, "threshold")
        return self._amount(text, unit, key, -1e6, 1e6)

    def _curve(
        self, points: Any, key: Key, quantity: str, *, falling: bool
    ) -> tuple[tuple[float, float], ...]:
        if not isinstance(points, list) or not 2 <= len(points) <= _MOST_POINTS:
            raise self._wrong(key, f'{key[-1]}: 2 to {_MOST_POINTS} points like ["3.45 V", "50 %"]')
        found: list[tuple[float, float]] = []
        for point in points:
            if not isinstance(point, list) or len(point) != 2:
                raise self._wrong(key, f'{key[-1]}: a point is a pair like ["3.45 V", "50 %"]')
            x = self._amount(point[0], QUANTITIES[quantity].unit, key, -1e6, 1e6)
            found.append((x, self._amount(point[1], "%", key, 0, 100) / 100))
        xs, ys = [x for x, _ in found], [y for _, y in found]
        if xs != sorted(set(xs)):
            raise self._wrong(key, f"{key[-1]}: the points must rise")
        if ys != sorted(ys, reverse=falling):
            raise self._wrong(key, f"{key[-1]}: it may only fall towards the danger")
        return tuple(found)

    def _lockout(self, text: str, key: Key) -> tuple[int, float] | None:
        if text == "never":
            return None
        found = _LOCKOUT.fullmatch(text)
        if found is None or int(found[1]) < 1:
            raise self._wrong(key, 'lockout: write it as "3 in 15 min", or "never"')
        return int(found[1]), self._amount(found[2], "s", key, 1, 7 * 86400)

    def _on_missing(self, text: str, key: Key) -> OnMissing:
        word, _, rest = text.partition(" ")
        if text == "trip":
            return OnMissing("trip")
        if word == "derate":
            return OnMissing("derate", self._amount(rest, "%", key, 0, 100) / 100)
        if word == "ignore:" and rest.strip():
            return OnMissing("ignore", 1.0, rest.strip())
        raise self._wrong(
            key, 'on_missing: "trip", "derate 20 %", or "ignore: the reason why that is safe"'
        )

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
            key = ("curves", "charge_cold") if isinstance(curve, str) else (
                "policies", "charge_cold_derate", "curve")  # fmt: skip
            raise self._wrong(key, f"charge_cold: it must be 0 % at {least:g} °C and below")

    def _place(self, policy: Policy, *fields: str) -> Key:
        """Where the file says something of these fields, or of the thresholds they name."""
        places: list[Key] = [("policies", policy.name, field) for field in fields]
        places += [("thresholds", str(getattr(policy, field))) for field in fields]
        return next((key for key in places if self._in_file(key)), ("policies", policy.name))

    def _in_file(self, key: Key) -> bool:
        content: Any = self._document.content
        for name in key:
            if not isinstance(content, dict) or name not in content:
                return False
            content = content[name]
        return True

    # -- words -----------------------------------------------------------------------------------

    def _amount(self, text: Any, unit: str, key: Key, low: float, high: float) -> float:
        if isinstance(text, bool) or not isinstance(text, (str, int, float)):
            raise self._wrong(key, f"{key[-1]}: expected a number with its unit, in quotes")
        try:
            value = parse(text, unit, capacity=self._capacity)
        except UnitError as exc:
            raise self._wrong(key, f"{key[-1]}: {exc}") from None
        if not low <= value <= high:
            raise self._wrong(key, f"{key[-1]}: {low:g} to {high:g} {unit}")
        return value

    def _known(self, name: str, known: Iterable[str], key: Key, kind: str) -> None:
        names = list(known)
        if name in names:
            return
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}"
        raise self._wrong(key, f"there is no {kind} {name[:60]!r}; {hint}")

    def _choice(self, kind: type[Any], text: str, key: Key) -> Any:
        try:
            return kind(text)
        except ValueError:
            known = ", ".join(each.value for each in kind)
            raise self._wrong(key, f"{key[-1]}: one of {known}") from None

    def _wrong(self, key: Key, why: str) -> TargetError:
        return self._document.wrong(key, why)


def _named(given: float | str | None, value: float, unit: str) -> str:
    """A number, and the threshold it comes from."""
    return write(value, unit) + (f" ({given})" if isinstance(given, str) else "")
