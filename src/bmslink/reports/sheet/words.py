"""Values in the words of a sheet."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Any

from bmslink.reports.pictures.scales import number
from bmslink.reports.sheet.blocks import UNKNOWN

__all__ = ["day", "moment_of", "on_off", "quantity", "text_of", "yes_no"]


def quantity(value: Any, digits: int, unit: str) -> str:
    """A number with its unit; what is not known is said so."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return UNKNOWN
    shown = number(float(value), digits)
    return shown if shown == UNKNOWN else f"{shown}\N{NO-BREAK SPACE}{unit}".rstrip()


def text_of(value: object) -> str:
    """A text, or that it is not known."""
    return str(value) if value not in (None, "") else UNKNOWN


def on_off(value: bool | None) -> str:
    """A switch."""
    return UNKNOWN if value is None else "on" if value else "off"


def yes_no(value: bool | None) -> str:
    """A flag."""
    return UNKNOWN if value is None else "yes" if value else "no"


def moment_of(value: object, zone: tzinfo | None = None) -> str:
    """A time (or its ISO 8601 text) by the clock of a zone; `None`: of this computer."""
    found = value
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            return UNKNOWN
    if not isinstance(found, datetime):
        return UNKNOWN
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return f"{found.astimezone(zone):%Y-%m-%d %H:%M}"


def day(value: object, zone: tzinfo | None = None) -> str:
    """Its date alone."""
    shown = moment_of(value, zone)
    return shown if shown == UNKNOWN else shown[:10]
