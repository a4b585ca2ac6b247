"""Which panels a picture has, made from the tracks of packs: one pack by itself, or several on the
same axis of time."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bmslink.arguments import did_you_mean
from bmslink.errors import UsageError
from bmslink.reports.pictures.condensed import CondensedSlot
from bmslink.reports.pictures.picture import (
    CellView,
    Curve,
    LimitLine,
    Panel,
    Picture,
    Timeline,
)
from bmslink.reports.pictures.track import Track

__all__ = ["QUANTITIES", "Limits", "make_picture", "probe_title", "require_quantities"]

Limits = Mapping[str, float]
"""Settings by their canonical names, in V, A and °C: what a board trips at."""
QUANTITIES = ("cells", "difference", "voltage", "current", "power", "soc", "temperatures", "events")
"""What can be shown, by the names that people choose from."""
_DEFAULT = tuple(name for name in QUANTITIES if name != "power")
_UNDATED = 366 * 86400.0  # s: nobody recorded in 1970
_THINNED = "Where readings are too many to draw, the lowest and the highest of each time are kept."
_NATURAL = re.compile(r"(\d+)")


class _Kind(NamedTuple):
    """How a quantity of the whole pack is drawn."""

    title: str
    unit: str
    digits: int
    columns: tuple[tuple[str, str, float], ...]
    """Column, title, factor; the first is the measurement, the others are limits of policies."""
    settings: tuple[tuple[str, str, float], ...] = ()
    """Setting, title, factor."""
    zero: bool = False
    least: float = 0.0


_KINDS: Mapping[str, _Kind] = {
    "difference": _Kind(
        "Cell difference", "mV", 1, (("cell_delta", "Highest - lowest", 1000.0),),
        (("cell_delta", "Cell difference", 1000.0),), zero=True, least=10.0,
    ),
    "voltage": _Kind(
        "Pack voltage", "V", 2,
        (("voltage", "Voltage", 1.0), ("cvl", "Charge voltage limit", 1.0),
         ("dvl", "Discharge voltage limit", 1.0)),
        (("pack_ovp", "Over-voltage", 1.0), ("pack_uvp", "Under-voltage", 1.0)), least=0.5,
    ),
    "current": _Kind(
        "Current, charging is positive", "A", 2,
        (("current", "Current", 1.0), ("ccl", "Charge current limit", 1.0),
         ("dcl", "Discharge current limit", -1.0)),
        (("charge_ocp", "Charge over-current", 1.0),
         ("discharge_ocp", "Discharge over-current", -1.0)), zero=True, least=2.0,
    ),
    "power": _Kind("Power, charging is positive", "W", 0, (("power", "Power", 1.0),), zero=True,
                   least=50.0),
    "soc": _Kind("State of charge", "%", 1, (("soc", "State of charge", 1.0),), least=5.0),
}  # fmt: skip
_CELL_LIMITS = (("cell_ovp", "Over-voltage", 1.0), ("cell_uvp", "Under-voltage", 1.0))
_HEAT_LIMITS = (
    ("charge_otp", "Charge too hot", 1.0),
    ("discharge_otp", "Discharge too hot", 1.0),
    ("charge_utp", "Charge too cold", 1.0),
    ("discharge_utp", "Discharge too cold", 1.0),
)


def require_quantities(names: Sequence[str]) -> tuple[str, ...]:
    """Those that are meant; without any, what is usually looked at. Raises `UsageError`."""
    for name in names:
        if name not in QUANTITIES:
            raise UsageError(
                f"There is nothing called {name[:40]!r} to show.{did_you_mean(name, QUANTITIES)} "
                f"There are {', '.join(QUANTITIES)}."
            )
    return tuple(name for name in QUANTITIES if name in names) or _DEFAULT


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The values of a track as curves need them."""

    name: str
    columns: Sequence[str]
    timeline: Timeline
    slots: Sequence[CondensedSlot | None]
    """`None` is a gap: no value there."""

    def curve(
        self, column: str, title: str, factor: float = 1.0, *, limit: bool = False
    ) -> Curve | None:
        """One column; `None` where nothing of it is known."""
        if column not in self.columns:
            return None
        place = self.columns.index(column)
        values = [*self._values(place, factor)]
        if all(value is None for value in values):
            return None
        return Curve(title, self.timeline, values, self.name, limit)

    def _values(self, place: int, factor: float) -> Iterator[float | None]:
        for slot in self.slots:
            if slot is None:
                yield None
                continue
            there = place < len(slot.low)
            low, high = (slot.low[place], slot.high[place]) if there else (math.nan, math.nan)
            pair = (low, high) if there and slot.rising[place] else (high, low)
            shown = [None if not math.isfinite(v) else v * factor for v in pair]
            yield from shown[: 1 if slot.last == slot.first else 2]


def _drawn(track: Track, name: str, most: int) -> _Drawn:
    slots = track.values.slots(most)
    times: list[float] = []
    kept: list[CondensedSlot | None] = []
    for slot, broken in zip(slots, track.values.breaks(slots), strict=True):
        if broken:
            kept.append(None)
            times.append((times[-1] + slot.first) / 2)
        kept.append(slot)
        if slot.last == slot.first:
            times.append(slot.first)
        else:
            quarter = (slot.last - slot.first) / 4
            times += [slot.first + quarter, slot.last - quarter]
    return _Drawn(name, [*track.values.columns], Timeline(times), kept)


def make_picture(
    tracks: Sequence[Track],
    *,
    title: str = "",
    show: Sequence[str] = (),
    cells: CellView = "deviation",
    limits: Limits | None = None,
    slots: int = 6000,
    values: int = 1_500_000,
    notes: Sequence[str] = (),
) -> Picture:
    """The picture of packs, aligned in time. `show`: of `QUANTITIES`; `limits`: settings to draw.
    `slots`: a pack has at most so many, of which each is drawn as two points; `values`: all curves
    together have at most so many, so that a file of a year has a few megabytes.

    Raises `UsageError` where there is nothing to show.
    """
    tracks = [each for each in tracks if len(each.values)]
    if not tracks:
        raise UsageError("There is no reading to draw.")
    chosen = require_quantities(show)
    names = _names(tracks)
    columns = sum(len(each.values.columns) for each in tracks)
    most = max(50, min(slots, values // (2 * columns)))
    drawn = [_drawn(track, name, most) for track, name in zip(tracks, names, strict=True)]
    thinned = any(len(track.values) > most or track.values.joined for track in tracks)
    ends = [slot for each in drawn for slot in each.slots if slot is not None]
    start, end = min(slot.first for slot in ends), max(slot.last for slot in ends)
    for track, name in zip(tracks, names, strict=True):
        track.name = name
    panels = [*_panels(drawn, chosen, limits or {})]
    if not panels and "events" not in chosen:
        raise UsageError(f"Nothing is known of {', '.join(chosen)} in these readings.")
    lanes = [lane for track in tracks for lane in track.all_lanes if lane.bands]
    events = "events" in chosen
    more = [_THINNED] if thinned else []
    return Picture(
        title=title or _title(names),
        start=start,
        end=end if end > start else start + 1.0,
        packs=names,
        panels=panels,
        lanes=lanes if events else (),
        markers=[m for track in tracks for m in track.markers] if events else (),
        notes=[*notes, *more],
        dated=start >= _UNDATED,
        cells=cells,
    )


def _names(tracks: Sequence[Track]) -> list[str]:
    """A name for each, no two alike."""
    found: list[str] = []
    for track in tracks:
        name = track.name or track.target or "pack"
        if name in found:
            name = f"{name} ({track.target})"
        number = 2
        while name in found:
            name, number = f"{track.name} #{number}", number + 1
        found.append(name)
    return found


def _title(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"


def _panels(drawn: Sequence[_Drawn], chosen: Sequence[str], limits: Limits) -> Iterator[Panel]:
    alone = len(drawn) == 1
    for name in chosen:
        if name == "cells":
            for pack in drawn:
                yield from _cell_panels(pack, limits, alone=alone)
        elif name == "temperatures":
            for pack in drawn:
                yield from _heat_panels(pack, limits, alone=alone)
        elif name in _KINDS:
            yield from _pack_panels(drawn, _KINDS[name], limits, alone=alone)


def _pack_panels(
    drawn: Sequence[_Drawn], kind: _Kind, limits: Limits, *, alone: bool
) -> Iterator[Panel]:
    """One quantity, with a curve for each pack."""
    curves: list[Curve] = []
    for pack in drawn:
        for n, (column, title, factor) in enumerate(kind.columns):
            shown = title if alone else pack.name if n == 0 else f"{pack.name}: {title}"
            curve = pack.curve(column, shown, factor, limit=n > 0)
            if curve is not None and (alone or n == 0):
                curves.append(curve)
    if any(not curve.limit for curve in curves):
        yield Panel(
            kind.title, kind.unit, kind.digits, curves, _lines(kind.settings, limits),
            kind.zero, kind.least,
        )  # fmt: skip


def _cell_panels(pack: _Drawn, limits: Limits, *, alone: bool) -> Iterator[Panel]:
    where = "" if alone else f"{pack.name}: "
    for view, prefix, title, unit, digits, factor, least in (
        ("deviation", "deviation_", "Cells, from their mean", "mV", 1, 1000.0, 10.0),
        ("voltage", "cell_voltage_", "Cell voltages", "V", 3, 1.0, 0.02),
    ):
        names = sorted((c for c in pack.columns if re.fullmatch(rf"{prefix}\d+", c)), key=_natural)
        curves = [
            curve
            for name in names
            if (curve := pack.curve(name, f"Cell {name.removeprefix(prefix)}", factor)) is not None
        ]
        if curves:
            lines = _lines(_CELL_LIMITS, limits) if view == "voltage" else ()
            yield Panel(
                f"{where}{title}", unit, digits, curves, lines, zero=view == "deviation",
                least=least, pack=pack.name,
                view="voltage" if view == "voltage" else "deviation",
            )  # fmt: skip


def _heat_panels(pack: _Drawn, limits: Limits, *, alone: bool) -> Iterator[Panel]:
    names = sorted((c for c in pack.columns if c.startswith("temperature_")), key=_natural)
    names = [name for name in names if not re.search(r"_m(in|ax)$", name)]
    curves = [
        curve
        for name in names
        if (curve := pack.curve(name, probe_title(name.removeprefix("temperature_")))) is not None
    ]
    if curves:
        title = "Temperatures" if alone else f"{pack.name}: temperatures"
        lines = _lines(_HEAT_LIMITS, limits)
        yield Panel(title, "°C", 1, curves, lines, least=4.0, pack=pack.name)


def probe_title(name: str) -> str:
    """`cell_1` -> At the cells 1 (no cell is meant); `mosfet` -> MOSFET."""
    words = name.replace("_", " ")
    if words.startswith("cell "):
        return f"At the cells {words.removeprefix('cell ')}"
    return "MOSFET" if words == "mosfet" else words[:1].upper() + words[1:]


def _lines(rows: Sequence[tuple[str, str, float]], limits: Limits) -> list[LimitLine]:
    return [LimitLine(title, limits[key] * factor) for key, title, factor in rows if key in limits]


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (0, part) for part in _NATURAL.split(name)]
