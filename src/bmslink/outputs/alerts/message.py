"""One alert, and how it is said: which pack, how bad, what, how much, since when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Self, get_args
from uuid import uuid4

from bmslink.errors import UsageError
from bmslink.events import EventSeverity, PackEvent
from bmslink.jsonable import plain
from bmslink.moments import duration, utc_now

__all__ = ["Alert", "AlertState", "alert_of", "over_again"]

AlertState = Literal["begun", "over", "event", "held_back", "test"]
_LONGEST = 120
"""Characters of a sentence in a title."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One message."""

    state: AlertState
    severity: EventSeverity
    title: str
    text: str
    event: PackEvent | None = None
    time: datetime = field(default_factory=utc_now)
    id: str = field(default_factory=lambda: uuid4().hex)
    """The same where it is sent once more, because nobody confirmed it."""

    @classmethod
    def test(cls) -> Alert:
        """What the test command sends."""
        return cls("test", EventSeverity.INFO, "bmslink: a test", "This is a test of the alerts.")

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "state": self.state,
            "severity": self.severity.value,
            "title": self.title,
            "text": self.text,
            "time": plain(self.time),
            "id": self.id,
            "event": None if self.event is None else self.event.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `to_dict` gave. Raises `UsageError`."""
        try:
            event, state = values["event"], values["state"]
            if state not in get_args(AlertState):
                raise ValueError(f"there is no state {state!r}")
            return cls(
                state,
                EventSeverity.of(values["severity"]),
                str(values["title"]),
                str(values["text"]),
                None if event is None else PackEvent.from_dict(event),
                datetime.fromisoformat(values["time"]).astimezone(UTC),
                str(values["id"]),
            )
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise UsageError(f"This is no alert: {error}.") from error


def alert_of(event: PackEvent) -> Alert:
    """Something happened, or a condition began."""
    where = event.pack or "service"
    threshold = _threshold(event)
    about = f"{_name(event)}{_value(event)}" + (f", limit {threshold}" if threshold else "")
    text = f"{where}: {event.text}" + (f" The limit is {threshold}." if threshold else "")
    if event.since is not None:
        text += f" Since {_local(event.since)}."
    state: AlertState = "event" if event.since is None else "begun"
    return Alert(state, event.severity, f"{where}: {event.severity.upper()}: {about}", text, event)


def over_again(event: PackEvent, ended: PackEvent) -> Alert:
    """The end of a condition, as bad as it was."""
    where = event.pack or "service"
    title, text = f"{where}: gone again", f"{where}: {ended.text}"
    if ended.until is not None and ended.since is not None:
        sure = "" if ended.until_known else " or more"
        title += f" after {duration((ended.until - ended.since).total_seconds())}{sure}"
        text += f" It lasted from {_local(ended.since)} to {_local(ended.until)}"
        text += "." if ended.until_known else f" or longer; {_local(ended.time)} it was over."
    unseen = ended.data.get("unseen_seconds")
    if isinstance(unseen, (int, float)) and unseen > 0:
        text += f" For {duration(unseen)} of that nobody looked."
    text += f" It was: {event.text}"
    return Alert("over", event.severity, f"{title}: {_name(event)}", text, ended)


def _name(event: PackEvent) -> str:
    """What it is, in a few words."""
    if event.what == "condition" and isinstance(event.data.get("condition"), str):
        return str(event.data["condition"]).replace("_", " ")
    first = event.text.partition(". ")[0].rstrip(".")
    return first if len(first) <= _LONGEST else f"{first[:_LONGEST]}…"


def _value(event: PackEvent) -> str:
    measured = event.data.get("measured")
    return f", {measured}" if event.what == "condition" and measured else ""


def _threshold(event: PackEvent) -> str:
    value = event.data.get("threshold")
    if event.what != "condition" or not isinstance(value, (int, float)):
        return ""
    return f"{value:g} {event.data.get('unit', '')}".rstrip()


def _local(moment: datetime) -> str:
    """By the clock of this machine."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"
