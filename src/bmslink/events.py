"""What happened, as one record: for the feed, the history, the API, alerts and the dashboard.

An event is either something that happened at a moment (a change was made, the service began), or a
condition: that has a `key` and a `since`, comes once when it begins, and once more, with the same
key and `since` and with an `until`, when it is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from bmslink.arguments import did_you_mean
from bmslink.errors import UsageError
from bmslink.jsonable import plain
from bmslink.moments import utc_now

__all__ = ["KINDS", "OUTPUT", "STATES", "EventSeverity", "PackEvent", "kinds_of"]

OUTPUT = "output"
"""The kind of an event about an output in trouble; no alert is made of it."""
STATES = ("ok", "silent", "lost", "replaced", "lent", "released", "failed", "ended")
"""Kinds of events about how a pack is; `state` is all of them."""
KINDS = (
    *("condition", "switch", "limit", "policy", "acting", "change", "finding", "trouble"),
    "balance",
    *("settings_changed", "change_cut_off", "drift_unknown", "returned"),
    *("board_replaced", "board_back", "board_confirmed"),
    *("service_began", "service_ended", "reload", "reload_refused"),
    *("history_damaged", "history_gap", "history_full"),
    *(OUTPUT, *STATES),
)
"""All kinds of events that a service tells of."""


class EventSeverity(StrEnum):
    """How soon somebody should look."""

    INFO = "info"
    """Good to know."""
    WARNING = "warning"
    """Look some time: something is near its limit, or not as it should be."""
    ALARM = "alarm"
    """Look soon: something has tripped, is lost, or does not work."""
    CRITICAL = "critical"
    """Look now: something is broken, or switched off in an emergency."""

    @property
    def rank(self) -> int:
        """0 to 3; higher is worse."""
        return _RANKS[self]

    @classmethod
    def of(cls, name: object) -> EventSeverity:
        """The one of this name; `UsageError` for anything else."""
        for each in cls:
            if name == each.value:
                return each
        raise UsageError(f"There is no severity {str(name)[:40]!r}; there are {', '.join(cls)}.")

    def at_least(self) -> tuple[EventSeverity, ...]:
        """This one and all that are worse."""
        return tuple(each for each in EventSeverity if each.rank >= self.rank)


_RANKS = {each: rank for rank, each in enumerate(EventSeverity)}


def kinds_of(name: str) -> tuple[str, ...]:
    """The kinds that a person means: one of `KINDS`, or `state`. `UsageError` for any other word,
    because with it every event would be left out."""
    if name == "state":
        return STATES
    if name in KINDS:
        return (name,)
    known = ("state", *(kind for kind in KINDS if kind not in STATES))
    raise UsageError(
        f"There is no kind of event {name[:40]!r}.{did_you_mean(name, (*known, *STATES))} There "
        f"are {', '.join(known)}."
    )


@dataclass(frozen=True, slots=True)
class PackEvent:
    """Something that happened to a pack, or to the service where it names no pack."""

    what: str
    """Its kind: `link_lost`, `condition`, `policy`, `change`, …; for programs."""
    text: str
    """A sentence, for people."""
    severity: EventSeverity = EventSeverity.INFO
    pack: str = ""
    """The name of the pack; empty: of the service."""
    time: datetime = field(default_factory=utc_now)
    """When it was seen, UTC. For a condition that is over: when that was seen."""
    key: str = ""
    """What names the condition, within its pack: `protections/cell_overvoltage`; empty for what
    happened at a moment."""
    since: datetime | None = None
    """Since when the condition holds, UTC; `None` for what happened at a moment."""
    until: datetime | None = None
    """When it was over, UTC; `None` while it lasts."""
    until_known: bool = True
    """False: `until` is when it was seen last; nobody looked when it ended."""
    count: int = 1
    """How often it came, where it came and went quickly and is told as one."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """More, for programs: plain values, under names that no other key has."""

    @property
    def alarm(self) -> bool:
        """Whether somebody should look soon."""
        return self.severity.rank >= EventSeverity.ALARM.rank

    @property
    def open(self) -> bool:
        """Whether it is a condition that lasts."""
        return self.since is not None and self.until is None

    def over(self, time: datetime, until: datetime | None = None, *, known: bool = True) -> Self:
        """The end of this condition, seen at a time. `until`: when it was over, if that was
        earlier; `known` false: nobody looked then."""
        return replace(self, time=time, until=until or time, until_known=known)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: all keys, always in the same order, then those of `data`."""
        found = {
            "what": self.what,
            "text": self.text,
            "alarm": self.alarm,
            "severity": self.severity.value,
            "pack": self.pack or None,
            "time": plain(self.time),
            "key": self.key or None,
            "since": plain(self.since),
            "until": plain(self.until),
            "until_known": self.until_known,
            "count": self.count,
        }
        return found | {name: plain(v) for name, v in self.data.items() if name not in found}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PackEvent:
        """The event that `to_dict` gave. What later versions add is among its `data`.

        Raises `UsageError` for what is no event."""
        try:
            known = {name: values[name] for name in _NAMES if values.get(name) is not None}
            for name in ("time", "since", "until"):
                if name in known:
                    known[name] = _moment(known[name])
            known["severity"] = EventSeverity.of(known.get("severity", EventSeverity.INFO))
            data = {name: v for name, v in values.items() if name not in _KEYS}
            return cls(**known, data=data)
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise UsageError(f"This is no event: {error}.") from error


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    return found.astimezone(UTC)


_NAMES = tuple(each.name for each in fields(PackEvent) if each.name != "data")
_KEYS = {*_NAMES, "alarm", "kind", "schema"}
