"""Rows and events of a history, as the store and the service give them, into a track."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bmslink.events import EventSeverity, PackEvent
from bmslink.reports.pictures.picture import Lane, Marker, TimeBand
from bmslink.reports.pictures.track import SINGLE, Track
from bmslink.runtime.watching.wording import words_of

__all__ = ["hear_events", "hear_page", "step_of"]

_STEPS = {"minute": 60.0, "hour": 3600.0}
_LIMITS = ("cvl", "ccl", "dcl", "dvl")
_SHARES = (
    ("charging_allowed", "Charging off"),
    ("discharging_allowed", "Discharging off"),
)
"""Flags, of which a minute and an hour have the share of time."""


def step_of(resolution: str) -> float | None:
    """The time between two rows, s; `None` for readings as they came."""
    return _STEPS.get(resolution)


def hear_page(track: Track, page: Mapping[str, Any]) -> None:
    """Rows of `/api/v1/history`. Of a minute or an hour the lowest and the highest value count,
    where they are kept; of the others the mean."""
    fields = [str(name) for name in page["fields"]]
    step = step_of(str(page["resolution"]))
    wanted = [name for name in fields[1:] if _is_wanted(name)]
    for row in page["rows"]:
        found = dict(zip(fields, row, strict=True))
        time = datetime.fromisoformat(found["time"]).timestamp()
        means = {name: found[name] for name in wanted}
        if step is None:
            track.hear_row(time, means)
        else:
            for share, ending in ((0.25, "_min"), (0.75, "_max")):
                ends = {n: v if (v := found.get(n + ending)) is not None else m
                        for n, m in means.items()}  # fmt: skip
                track.hear_row(time + share * step, ends)
        track.lanes.hear(time, _states(found))


def _is_wanted(name: str) -> bool:
    if name.endswith(("_min", "_max")):
        return False
    return name in SINGLE or name in _LIMITS or name.startswith(("cell_voltage_", "temperature_"))


def _states(row: Mapping[str, Any]) -> dict[str, EventSeverity]:
    found = {}
    for name, title in _SHARES:
        if (share := row.get(name)) is not None and share < 1:
            found[title] = EventSeverity.INFO
    if row.get("balancing_active"):
        found["Balancing"] = EventSeverity.INFO
    return found


def hear_events(track: Track, events: Sequence[PackEvent], until: datetime) -> None:
    """What a service kept: what lasted becomes bands, what happened at a moment becomes markers.
    `until`: where the picture ends, for what lasts."""
    lanes: dict[str, tuple[EventSeverity, list[TimeBand]]] = {}
    for event in events:
        if event.since is None:
            track.markers.append(
                Marker(event.time.timestamp(), event.text, event.severity, track.name)
            )
            continue
        title = _title(event)
        end = max((event.until or until).timestamp(), event.since.timestamp())
        severity, bands = lanes.setdefault(title, (event.severity, []))
        bands.append(
            TimeBand(event.since.timestamp(), end, event.text, lasting=event.until is None)
        )
        if event.severity.rank > severity.rank:
            lanes[title] = event.severity, bands
    track.told += [
        Lane(title, severity, sorted(bands, key=lambda band: band.start), track.name)
        for title, (severity, bands) in lanes.items()
    ]


def _title(event: PackEvent) -> str:
    condition = event.data.get("condition")
    if isinstance(condition, str):
        ending = " (warning)" if event.data.get("list") == "alarms" else ""
        return f"{words_of(condition).capitalize()}{ending}"
    return event.what.replace("_", " ").capitalize()
