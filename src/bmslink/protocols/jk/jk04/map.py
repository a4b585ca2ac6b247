"""The settings of JK04 boards (`jk04.layouts.ROWS`), and how well a board is known."""

from __future__ import annotations

from bmslink.protocols.common.rows import layouts, settings, slots
from bmslink.protocols.common.settings_map import SettingsMap, proof
from bmslink.protocols.jk.jk04.layouts import ROWS

__all__ = ["jk04_map"]

_SEEN = ("3.1.2", "3.3.0", "8.0.3M")

_SLOTS = slots(ROWS, layouts(ROWS))
_SETTINGS = settings(ROWS)


def jk04_map(firmware: str | None) -> SettingsMap:
    """The map of a board with this firmware."""
    seen = "its records were recorded" if firmware in _SEEN else ""
    known = proof(firmware, seen, "jk04")
    return SettingsMap(
        name="jk04",
        balancer=True,
        evidence=known.evidence,
        slots=_SLOTS,
        settings=_SETTINGS,
        read_only_reason="" if firmware else "the board does not say which firmware it has",
        untested_reason=known.untested_reason,
    )
