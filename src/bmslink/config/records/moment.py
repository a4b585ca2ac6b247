"""Times of records, as people read them: records and JSON hold UTC."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["local"]


def local(time: object) -> str:
    """A time (ISO 8601; without a zone it is UTC) by the clock of this machine, with its offset."""
    try:
        moment = datetime.fromisoformat(str(time))
        known = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return f"{known.astimezone():%Y-%m-%d %H:%M:%S %z}"
    except (ValueError, OverflowError, OSError):
        return "an unknown time"
