"""Which of JBD's settings a board has, and whether they mean on it what the table says.

The settings are the rows of `jbd.settings`; what is known of a board beside them is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bmslink.model import Identity
from bmslink.protocols.common.fields import is_set, parse
from bmslink.protocols.common.rows import settings, slots
from bmslink.protocols.common.settings_map import SettingsMap, proof
from bmslink.protocols.jbd.settings import (
    NEWER,
    REGISTERS,
    ROWS,
    TENFOLD,
    TENFOLD_BIT,
    TENFOLD_REGISTERS,
)

__all__ = ["CELL_COUNT", "FUNCTION_BITS", "NEWER", "balance_map", "jbd_map"]

FUNCTION_BITS, CELL_COUNT = 0x2D, 0x2F

_SEEN = {"2.1": "written and read back in full", "8.0": "read in full"}
"""Firmware -> what of the registers was recorded from it."""


def jbd_map(
    identity: Identity, words: Mapping[int, bytes], live_tenfold: bool | None = None
) -> SettingsMap:
    """The map of a board; `words` are the registers 2D and 2F, which say how it counts, and 42
    where it answers for that. `live_tenfold`: how its live values count, if they were read."""
    function = words.get(FUNCTION_BITS)
    tenfold = bool(function and is_set(int.from_bytes(function, "big"), TENFOLD_BIT))
    newer = NEWER[0] in words
    read_only_reason = _contradiction(identity, words) or _scales(tenfold, live_tenfold)
    seen = _SEEN.get(identity.firmware or "", "")
    known = proof(identity.firmware, seen, "jbd", "registers")
    rows = [row for row in ROWS if newer or row.at not in NEWER]
    if tenfold:
        rows = [TENFOLD.get(row.at, row) for row in rows]
    return SettingsMap(
        name="jbd-classic",
        evidence=known.evidence,
        slots=slots(rows, REGISTERS | TENFOLD_REGISTERS if tenfold else REGISTERS),
        settings=settings(rows),
        read_only_reason=read_only_reason,
        untested_reason=known.untested_reason,
    )


def balance_map(identity: Identity) -> SettingsMap:
    """The map of the one switch that is a setting, for a board whose registers were not read: a
    bit of the function word is the same whatever it counts in."""
    return replace(jbd_map(identity, {}).only(["balance_switch"]), read_only_reason="")


def _contradiction(identity: Identity, words: Mapping[int, bytes]) -> str:
    """Why these registers cannot mean what the map says; empty where nothing speaks against it."""
    word = words.get(CELL_COUNT, b"")
    if len(word) != 2 or len(words.get(FUNCTION_BITS, b"")) != 2:
        return "the board does not answer for the registers that say how it counts"
    count = parse(REGISTERS[CELL_COUNT], word, "cell count")["cell_count"]
    if identity.cell_count and count != identity.cell_count:
        return f"register 2F says {count} cells, the board reports {identity.cell_count}"
    return ""


def _scales(tenfold: bool, live: bool | None) -> str:
    """Why nobody knows in which unit the board counts, where its two flags disagree."""
    if live is None or live == tenfold:
        return ""
    one, other = ("tenfold", "singly") if tenfold else ("singly", "tenfold")
    return (
        f"register 2D says that currents and capacities count {one}, the live values count {other}"
    )
