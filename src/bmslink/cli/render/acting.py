"""What a drill found, and what is still switched off, for people."""

from __future__ import annotations

from collections.abc import Iterator

from bmslink.cli.render.clean import clean
from bmslink.runtime.acting.drill import DrillReport
from bmslink.runtime.acting.orphans import Orphans

__all__ = ["drill", "orphans"]


def drill(report: DrillReport) -> Iterator[str]:
    """A line for each switch."""
    for row in report.rows:
        if row.result == "passed":
            yield f"{row.switch}: off after {_seconds(row.off_s)}, on after {_seconds(row.on_s)}"
        else:
            yield clean(f"{row.switch}: {row.result.replace('_', ' ')}. {row.why}")
        if row.note:
            yield clean(row.note)


def _seconds(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f} s"


_SHOWN = {True: "on", False: "off", None: "not shown"}


def orphans(found: Orphans) -> Iterator[str]:
    """What is off, since when, why, and what switches it on without a service."""
    shown = ", ".join(f"{name} {_SHOWN[state]}" for name, state in found.states.items())
    yield clean(f"{found.pack}: {shown}")
    if not found.rows:
        yield "bmslink holds nothing off on it."
    for row in found.rows:
        since = "" if row.since is None else f" since {row.since}"
        state = "is off" if row.shown is False else "may be off (the board does not show it)"
        yield clean(f"{row.switch} {state}{since}, by {row.by} ({row.source}): {row.why}")
        yield f"  to switch it on: {row.command}"
