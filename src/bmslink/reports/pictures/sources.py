"""Readings from files: what `log`, `capture` and a service keep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template
from typing import Any

from bmslink.control.backtest.logs import Log
from bmslink.errors import FrameError, PortNotFound, UsageError
from bmslink.link.transport import parse_target
from bmslink.reports.pictures.condensed import Condensed
from bmslink.reports.pictures.lanes import LaneKeeper
from bmslink.reports.pictures.rows import hear_events, hear_page, step_of
from bmslink.reports.pictures.track import Track
from bmslink.runtime.history.days import day_name, day_tables
from bmslink.runtime.history.event_table import MOST_EVENTS, EventQuery, find_events
from bmslink.runtime.history.query import MOST_ROWS, HistoryQuery, Resolution, find_history
from bmslink.runtime.history.schema import from_millis, is_history, looked_at

__all__ = ["Sources", "fine_enough", "now_of", "recording_of"]

_HISTORY = "history.db"
_RAW, _MINUTES = timedelta(hours=3), timedelta(days=31)
_MOST_PACKS = 64
_ENDS = Template("SELECT min(time), max(time) FROM $table")  # the tables are ours


def fine_enough(since: datetime, until: datetime) -> Resolution:
    """Which rows of a history a picture of this time needs."""
    span = until - since
    return "raw" if span <= _RAW else "minute" if span <= _MINUTES else "hour"


def recording_of(source: str) -> tuple[Path, str | None] | None:
    """The file that a source names, and its protocol where it says so; `None` for a pack.

    Raises `TargetError` for a target that is none, `PortNotFound` for a file that is missing.
    """
    if "://" in source:
        endpoint = parse_target(source)
        if endpoint.scheme != "replay":
            return None
        path, protocol = Path(endpoint.place), endpoint.protocol
    else:
        path, protocol = Path(source).expanduser(), None
        if not path.exists() and not _like_file(source):
            return None
    if path.is_dir():
        path = path / _HISTORY
    if not path.exists():
        raise PortNotFound(f"There is no file {path}.")
    return path, protocol


def _like_file(source: str) -> bool:
    return "/" in source or "\\" in source or Path(source).suffix != ""


@dataclass(slots=True)
class Sources:
    """What several sources say, pack by pack, within a time."""

    since: datetime | None = None
    until: datetime | None = None
    only: Sequence[str] = ()
    """Only packs of these names or targets; none: all."""
    tracks: dict[str, Track] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    """The packs that there are, also those that were not asked for."""

    def add_file(self, path: Path, protocol: str | None = None) -> None:
        """Raises `TransportError` for a file that cannot be read, `CaptureError` for one that is
        damaged, `HistoryError`, and `FrameError` where there is nothing in it."""
        if is_history(path):
            self._add_history(path)
        else:
            self._add_log(path, protocol)

    def track(self, key: str, name: str, step: float | None = None) -> Track | None:
        """The pack of this target or name; `None` where it is not asked for."""
        if key in self.tracks:
            return self.tracks[key]
        if name not in self.seen:
            self.seen.append(name)
        if self.only and key not in self.only and name not in self.only:
            return None
        if len(self.tracks) >= _MOST_PACKS:
            raise UsageError(
                f"These are more than {_MOST_PACKS} packs: choose some with --pack NAME."
            )
        made = Track(name, key, Condensed(step=step), LaneKeeper(step))
        self.tracks[key] = made
        return made

    def _add_log(self, path: Path, protocol: str | None) -> None:
        since = None if self.since is None else self.since.timestamp()
        until = None if self.until is None else self.until.timestamp()
        log = Log(path, protocol=protocol)
        for entry in log:
            if since is not None and entry.time < since:
                continue
            if until is not None and entry.time >= until:
                continue
            track = self.track(entry.target, entry.reading.name or entry.target)
            if track is not None:
                track.hear(entry.time, entry.reading)
        skipped = log.skipped
        for count, what in (
            (skipped.damaged, "damaged"),
            (skipped.foreign, "of something else"),
            (skipped.untimed, "without a time"),
        ):
            if count:
                self.notes.append(f"{path}: left out what is {what} ({count}).")

    # -- the store of a service ------------------------------------------------------------------

    def _add_history(self, path: Path) -> None:
        with looked_at(path) as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM packs ORDER BY id")]
            first, last = _span(connection)
            if first is None or last is None or not names:
                raise FrameError(f"{path} is a history without a reading.")
            since = max(self.since or first, first)
            until = min(self.until or last, last)
            for name in names:
                level = fine_enough(since, until)
                track = self.track(name, name, step_of(level))
                if track is None or since >= until:
                    continue
                for page in _pages(connection, HistoryQuery(
                    name, since, until, level, limit=MOST_ROWS
                )):  # fmt: skip
                    hear_page(track, page)
                asked = EventQuery(name, self.since, self.until, limit=MOST_EVENTS)
                hear_events(track, find_events(connection, asked), until)


def _pages(connection: Any, query: HistoryQuery) -> Iterator[Mapping[str, Any]]:
    while True:
        answer = find_history(connection, query)
        yield answer.to_dict()
        if answer.next is None:
            return
        query = replace(query, since=answer.next)


def _span(connection: Any) -> tuple[datetime | None, datetime | None]:
    """From when to when there are rows; the end a little later, so that the last one counts."""
    times: list[int] = []
    for table in ("minutes", "hours", *(day_name(day) for day in day_tables(connection))):
        row = connection.execute(_ENDS.substitute(table=table)).fetchone()
        times += [each for each in row if each is not None]
    if not times:
        return None, None
    return from_millis(min(times)), from_millis(max(times) + 1)


def now_of(sources: Sequence[tuple[Path, str | None]]) -> datetime | None:
    """When the last reading of files was; `None` where none has a time."""
    latest: float | None = None
    for path, protocol in sources:
        if is_history(path):
            with looked_at(path) as connection:
                _, last = _span(connection)
            found = None if last is None else last.timestamp()
        else:
            found = max(entry.time for entry in Log(path, protocol=protocol))
        if found is not None:
            latest = found if latest is None else max(latest, found)
    return None if latest is None else datetime.fromtimestamp(latest, UTC)
