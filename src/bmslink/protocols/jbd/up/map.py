"""The settings of JBD's UP packs (`up.settings.ROWS`): shown, never written."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from bmslink.protocols.common.rows import settings, slots
from bmslink.protocols.common.settings_map import SettingsMap
from bmslink.protocols.jbd.up.settings import LAYOUTS, ROWS

__all__ = ["SETTINGS_BLOCKS", "up_map"]

SETTINGS_BLOCKS: Mapping[int, int] = {0x1800: 0x1900, 0x1C00: 0x1CA0}
"""Start -> end of what is asked for."""


@cache
def up_map() -> SettingsMap:
    """The map of a pack that is on the line itself."""
    return SettingsMap(
        name="jbd-up",
        evidence="One answer of each block was recorded (docs/protocols/jbd-up.md).",
        slots=slots(ROWS, LAYOUTS),
        settings=settings(ROWS),
        read_only_reason="nobody was ever recorded writing the settings of these packs",
    )
