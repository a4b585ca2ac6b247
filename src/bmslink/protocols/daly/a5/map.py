"""The settings of Daly boards in the A5 protocol (`daly.settings.ROWS`)."""

from __future__ import annotations

from functools import cache

from bmslink.protocols.common.rows import settings, slots
from bmslink.protocols.common.settings_map import SettingsMap, proof
from bmslink.protocols.daly.settings import PARAMETERS, ROWS

__all__ = ["a5_map"]

_SEEN = ("20220810",)
_LAYOUTS = {data_id: parameter.layout for data_id, parameter in PARAMETERS.items()}


@cache
def a5_map(firmware: str | None) -> SettingsMap:
    """The map of a board with this firmware."""
    seen = "parameters recorded; writes as in the vendor's PC tool" if firmware in _SEEN else ""
    known = proof(firmware, seen, "daly-a5", "parameters")
    return SettingsMap(
        name="daly-a5",
        evidence=known.evidence,
        slots=slots(ROWS, _LAYOUTS),
        settings=settings(ROWS),
        untested_reason=known.untested_reason,
    )
