"""Scales and their marks: round numbers, round times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from bmslink.reports.pictures.picture import Panel

__all__ = ["Scale", "number", "scale_of", "time_marks", "when"]

_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_DAY = 86400
_MOST_MARKS = 200


@dataclass(frozen=True, slots=True)
class Scale:
    """From the lowest to the highest value that is drawn, with marks between."""

    low: float
    high: float
    marks: Sequence[float]
    digits: int
    """Digits after the point that the marks need."""

    def part(self, value: float) -> float:
        """Where a value is: 0 at the bottom, 1 at the top, never outside."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


def scale_of(panel: Panel, marks: int = 5) -> Scale:
    """The scale of a panel: its measurements, with limits where those are near."""
    known = [v for curve in panel.curves if not curve.limit for v in curve.known()]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if panel.zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low < panel.least and panel.zero and low == 0:  # a difference is never below 0
        high = panel.least
    elif high - low < panel.least:
        middle = (low + high) / 2
        low, high = middle - panel.least / 2, middle + panel.least / 2
    if panel.unit == "%":
        low, high = max(0.0, low), min(100.0, high)
    near = (high - low) / 2
    for value in _limits(panel):
        if low - near <= value <= high + near:
            low, high = min(low, value), max(high, value)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    step = _round_step((high - low) / max(1, marks))
    bottom, top = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return Scale(bottom * step, top * step, [n * step for n in range(bottom, top + 1)], digits)


def _limits(panel: Panel) -> list[float]:
    found = [line.value for line in panel.limits]
    for curve in panel.curves:
        if curve.limit:
            known = [*curve.known()]
            found += [min(known), max(known)] if known else []
    return found


def _round_step(rough: float) -> float:
    size = 10.0 ** math.floor(math.log10(rough))
    return next(size * each for each in (1, 2, 5, 10) if size * each >= rough * 0.999)


def number(value: float | None, digits: int) -> str:
    """A number for people, with a real minus sign; one that is not known is said so."""
    if value is None or not math.isfinite(value):
        return "not known"
    text = f"{value:.{digits}f}"
    if not text.strip("-0."):
        text = text.lstrip("-")  # no minus zero
    return text.replace("-", "\N{MINUS SIGN}")


def when(time: float, *, dated: bool = True, zone: tzinfo | None = None, fine: bool = True) -> str:
    """A moment by the clock of a zone (`None`: of this computer); of a recording without a date,
    the time since its beginning."""
    if not dated:
        hours, rest = divmod(max(0.0, time), 3600)
        return f"{int(hours)}:{int(rest // 60):02d}:{int(rest % 60):02d}"
    moment = datetime.fromtimestamp(time, UTC).astimezone(zone)
    return f"{moment:%Y-%m-%d %H:%M:%S}" if fine else f"{moment:%Y-%m-%d %H:%M}"


def time_marks(
    start: float, end: float, most: int, *, dated: bool = True, zone: tzinfo | None = None
) -> list[tuple[float, str]]:
    """At most so many round times of a zone's clock between two moments, each with its label."""
    span = max(end - start, 1.0)
    most = max(2, most)
    step = next((each for each in _STEPS if span / each <= most), 0)
    if not step:
        step = _DAY * next(
            (n for n in (2, 7, 14, 30, 61, 91, 182, 365) if span / (n * _DAY) <= most),
            math.ceil(span / _DAY / most),
        )
    offset = _offset(start, zone) if dated else 0.0
    first = math.ceil((start + offset) / step) * step - offset
    found: list[tuple[float, str]] = []
    day = ""
    for n in range(_MOST_MARKS):
        moment = first + n * step
        if moment > end:
            break
        if dated:
            moment -= _offset(moment, zone) - offset  # summer time began or ended in between
        label, this_day = _label(moment, step, dated=dated, zone=zone)
        found.append((moment, this_day if step < _DAY and day not in ("", this_day) else label))
        day = this_day
    return found


def _offset(time: float, zone: tzinfo | None) -> float:
    moment = datetime.fromtimestamp(time, UTC).astimezone(zone)
    return (moment.utcoffset() or timedelta()).total_seconds()


def _label(time: float, step: float, *, dated: bool, zone: tzinfo | None) -> tuple[str, str]:
    if not dated:
        return when(time, dated=False), ""
    moment = datetime.fromtimestamp(round(time), UTC).astimezone(zone)
    day = f"{moment.day} {moment:%b}"
    if step >= _DAY:
        return day if step < 300 * _DAY else f"{moment:%Y}", day
    return f"{moment:%H:%M:%S}" if step < 60 else f"{moment:%H:%M}", day
