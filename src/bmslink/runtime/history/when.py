"""A time as people write it: `2h`, `yesterday`, `2026-01-31`, `2026-01-31T06:30Z`, `06:30`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta, tzinfo

from bmslink.errors import UsageError

__all__ = ["moment"]

_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,6})?) ?(s|m|min|h|d|w)(?: ago)?", re.ASCII)
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_DAYS = {"today": 0, "yesterday": 1}
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII)


def moment(text: str, now: datetime, zone: tzinfo | None = None) -> datetime:
    """The time that is meant, UTC. What has no zone is of `zone` (`None`: of this computer), summer
    time as it was on that day. Raises `UsageError`."""
    word = text.strip().lower()
    try:
        if word == "now":
            return now.astimezone(UTC)
        if found := _AGO.fullmatch(word):
            return now.astimezone(UTC) - timedelta(seconds=float(found[1]) * _UNITS[found[2]])
        if word in _DAYS:
            day = now.astimezone(zone).date() - timedelta(days=_DAYS[word])
            return _local(datetime.combine(day, time()), zone)
        if found := _CLOCK.fullmatch(word):
            clock = time(int(found[1]), int(found[2]), int(found[3] or 0))
            return _local(datetime.combine(now.astimezone(zone).date(), clock), zone)
        given = datetime.fromisoformat(text.strip())
        return _local(given, zone) if given.tzinfo is None else given.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"{text[:40]!r} is no time: it looks like 2h (ago), 3d, yesterday, 06:30, 2026-01-31 "
            "or 2026-01-31T06:30."
        ) from None


def _local(plain: datetime, zone: tzinfo | None) -> datetime:
    """A time of the calendar there, UTC."""
    return (plain.astimezone() if zone is None else plain.replace(tzinfo=zone)).astimezone(UTC)
