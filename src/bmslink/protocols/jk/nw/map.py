"""The settings of JK boards on their `4E 57` port (`nw.tags.ROWS`)."""

from __future__ import annotations

from functools import cache

from bmslink.protocols.common.rows import layouts, settings, slots
from bmslink.protocols.common.settings_map import SettingsMap
from bmslink.protocols.jk.nw.tags import ROWS

__all__ = ["nw_map"]


@cache
def nw_map() -> SettingsMap:
    """The map of all `4E 57` boards: the tags explain themselves."""
    return SettingsMap(
        name="jk-nw",
        evidence="Ten boards were recorded with this list of tags (docs/protocols/jk-nw.md).",
        slots=slots(ROWS, layouts(ROWS)),
        settings=settings(ROWS),
    )
