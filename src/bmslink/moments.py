"""Times of the calendar: UTC, in whole milliseconds, with one text.

The history stores milliseconds. Where everything is made of the same ones, a moment has the same
text in a reading, an event, an alert, a log and the history.
"""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["duration", "iso", "utc_now"]

_MILLI = 1000
"""µs."""


def utc_now() -> datetime:
    """Now, UTC; what is below a millisecond is cut off."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // _MILLI * _MILLI)


def iso(moment: datetime) -> str:
    """ISO 8601 with three digits of a second (`2026-01-31T06:30:00.000Z`). A time from elsewhere
    that has more digits keeps them."""
    digits = "microseconds" if moment.microsecond % _MILLI else "milliseconds"
    return moment.isoformat(timespec=digits).replace("+00:00", "Z")


def duration(seconds: float) -> str:
    """A time in the units that are easiest to read."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days, rest = divmod(hours, 24)
    return f"{days} d {rest} h" if rest else f"{days} d"
