"""Whether a table that was read may be trusted: what holds impossible values is not built on."""

from __future__ import annotations

from bmslink.errors import FrameError
from bmslink.protocols.common.settings_map import RawSettings, SettingsSnapshot
from bmslink.settings.plausibility import implausible

__all__ = ["believe", "oddities"]

_NAMED = 3


def oddities(table: SettingsSnapshot, *, since: RawSettings | None = None) -> str:
    """What is impossible about a table as it was read, in sentences; empty where nothing is.

    A change is not planned on such a table, not verified by it and not set back to it. `since`: an
    earlier image of the same board; only slots that hold something else by now are judged.
    """
    settings, image = table.map, table.image
    rows = [
        row
        for row in settings.settings
        if since is None or not settings.same(row.slot, since.get(row.slot), image.get(row.slot))
    ]
    found = implausible(rows, table.values(), image.keys())
    if not found:
        return ""
    more = f" And {len(found) - _NAMED} more." if len(found) > _NAMED else ""
    return (
        f"The settings as read cannot be true: {' '.join(found[:_NAMED])}{more} The line may mix "
        "up answers: read again."
    )


def believe(table: SettingsSnapshot) -> None:
    """`FrameError` where a table holds what is impossible: it is no backup and no profile."""
    if odd := oddities(table):
        raise FrameError(odd)
