"""What a back-test found, so that several policy files compare at a glance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table

from bmslink.cli.render.explain import PHASES, moment
from bmslink.cli.render.text import Glyphs, clean
from bmslink.control.backtest.report import BacktestReport, Margin, Trip
from bmslink.control.decide.policy import Severity
from bmslink.moments import duration

__all__ = ["NOTE", "duration", "head", "names", "story", "table"]

_MOST_LINES = 40
_FEW_MARGINS = 8
_LIMITS = (("ccl", "charge current"), ("dcl", "discharge current"), ("cvl", "charge voltage"))
NOTE = (
    "Not charged, not discharged: what flowed in the log above the limit of that moment. The "
    "recorded pack was not limited: what would have followed is not known."
)
_Cell = Callable[[BacktestReport], str]


def head(report: BacktestReport) -> Iterator[str]:
    """Which log it was, and what is doubtful about it."""
    totals = report.totals
    yield clean(report.target)
    yield (
        f"{moment(report.began)} to {moment(report.ended)} "
        f"({duration(report.ended - report.began)}), {totals.samples} samples, usually "
        f"{report.interval:.3g} s apart"
    )
    doubts = [
        f"{count} {what}"
        for count, what in (
            (totals.suspect, "with something suspect"),
            (totals.missing, "with something missing"),
            (totals.frozen, "frozen"),
            (totals.duplicates, "duplicates"),
            (totals.backwards, "older than the one before"),
        )
        if count
    ]
    if totals.gaps:
        doubts.append(f"{totals.gaps} gaps, the longest {duration(totals.longest_gap)}")
    if doubts:
        yield f"samples: {', '.join(doubts)}"


def table(reports: Sequence[BacktestReport], files: Sequence[str], g: Glyphs) -> RenderableType:
    """A column for each policy file."""
    shown = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    shown.add_column("", no_wrap=True)
    for name in names(files):
        shown.add_column(name, justify="right", overflow="fold")
    for title, cell in _rows(reports):
        shown.add_row(title, *(cell(report) or g.none for report in reports))
    return shown


def names(files: Sequence[str]) -> list[str]:
    """What tells the files apart."""
    short = [clean(Path(file).name) for file in files]
    return short if len(set(short)) == len(short) else [clean(file) for file in files]


def story(report: BacktestReport, name: str) -> Iterator[str]:
    """When what would have happened, the balancer's coming and going left out."""
    trips = [t for t in report.trips if not t.balancing]
    if not trips:
        yield f"{name}: nothing would have happened."
        return
    yield f"{name}, what would have happened:"
    for trip in trips[:_MOST_LINES]:
        yield f"  {_told(trip, report)}"
    if len(trips) > _MOST_LINES:
        yield f"  and {len(trips) - _MOST_LINES} more; --json lists them"


def _rows(reports: Sequence[BacktestReport]) -> Iterator[tuple[str, _Cell]]:
    yield "stops", lambda r: str(r.totals.stops)
    for policy in _seen(reports, Severity.TRIP, Severity.EMERGENCY):
        yield f"  {policy}", partial(_times, policy)
    yield "until a person resets it", lambda r: str(r.totals.latches)
    yield "charge stopped", lambda r: duration(r.totals.charge_stopped_seconds)
    yield "discharge stopped", lambda r: duration(r.totals.discharge_stopped_seconds)
    for limit, title in _LIMITS:
        yield f"{title} limited", partial(_lowered, limit)
        for policy in sorted({p for r in reports for p in r.binding_seconds.get(limit, ())}):
            yield f"  by {policy}", partial(_held, limit, policy)
    for phase in PHASES:
        if any(phase in report.phase_seconds for report in reports):
            yield PHASES[phase], partial(_phase, phase)
    yield "not charged", lambda r: _amount(r.totals.not_charged_ah, r.totals.not_charged_wh)
    yield (
        "not discharged",
        lambda r: _amount(r.totals.not_discharged_ah, r.totals.not_discharged_wh),
    )
    yield "switches thrown", _thrown
    yield "warnings", lambda r: str(r.totals.warnings)
    for policy in _seen(reports, Severity.NOTICE, Severity.WARN):
        yield f"  {policy}", partial(_times, policy)
    yield "no fresh data", lambda r: duration(r.totals.stale_seconds)
    nearest = _nearest(reports)
    if nearest:
        yield "left before a stop", lambda r: " "
    for policy in nearest:
        yield f"  {policy}", partial(_left, policy)


def _seen(reports: Sequence[BacktestReport], lowest: Severity, highest: Severity) -> list[str]:
    return sorted(
        {
            trip.policy
            for report in reports
            for trip in report.trips
            if not trip.balancing and lowest <= trip.severity <= highest
        }
    )


def _times(policy: str, report: BacktestReport) -> str:
    count = report.counts.get(policy, 0)
    lasted = duration(report.tripped_seconds.get(policy, 0.0))
    return f"{count} ({lasted})" if count else "0"


def _lowered(limit: str, report: BacktestReport) -> str:
    return duration(report.lowered_seconds.get(limit, 0.0))


def _phase(name: str, report: BacktestReport) -> str:
    return duration(report.phase_seconds.get(name, 0.0))


def _held(limit: str, policy: str, report: BacktestReport) -> str:
    return duration(report.binding_seconds.get(limit, {}).get(policy, 0.0))


def _amount(ah: float, wh: float) -> str:
    return f"{ah:.1f} Ah, {wh / 1000:.2f} kWh"


def _thrown(report: BacktestReport) -> str:
    counts = report.command_counts
    off, on = (
        sum(counts.get(f"{switch} {word}", 0) for switch in ("charge", "discharge"))
        for word in ("off", "on")
    )
    return f"{off} off, {on} on"


def _nearest(reports: Sequence[BacktestReport]) -> list[str]:
    """The stops that came nearest in any of the reports, by what was left of the threshold."""
    best: dict[str, float] = {}
    for report in reports:
        for margin in report.margins:
            if margin.severity >= Severity.TRIP:
                share = margin.left / max(0.01, abs(margin.threshold))
                best[margin.policy] = min(share, best.get(margin.policy, share))
    return sorted(best, key=lambda policy: (best[policy], policy))[:_FEW_MARGINS]


def _left(policy: str, report: BacktestReport) -> str:
    found = next((m for m in report.margins if m.policy == policy), None)
    if found is None:
        return ""
    quiet = " (not long enough)" if found.left <= 0 and policy not in report.counts else ""
    return _margin(found) + quiet


def _margin(margin: Margin) -> str:
    if margin.left <= 0:
        return f"beyond by {-margin.left:.{margin.digits}f} {margin.unit}"
    return f"{margin.left:.{margin.digits}f} {margin.unit}"


def _told(trip: Trip, report: BacktestReport) -> str:
    lasted = duration(trip.seconds(report.ended))
    until = "to the end" if trip.ended is None else f"for {lasted}"
    stays = ", until a person resets it" if trip.latched else ""
    return (
        f"{moment(trip.began)}  {trip.severity.name.lower()}  {trip.policy} ({until}{stays}): "
        f"{clean(trip.text)}"
    )
