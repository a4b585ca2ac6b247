"""The settings of Daly's two register maps, from the rows of `registers.settings`.

Writes to both maps were measured on a board of firmware 70_260316_01T6, several were recorded
(`daly-d2-mos-write`, `daly-p81-bmstool-writes`, `daly-p81-app-writes`). Writing a D2 limit makes
the board recompute its warning level; 81/51 writes do not. `docs/protocols/daly-d2.md` and
`docs/protocols/daly-p81.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bmslink.protocols.common.rows import Row, layouts, settings, slots
from bmslink.protocols.common.settings_map import Recomputed, SettingsMap, proof
from bmslink.protocols.daly.registers.settings import D2_ROWS, P81_ROWS, absent

__all__ = ["RECOMPUTED", "TELLING", "register_map"]

ROWS: Mapping[str, tuple[Row, ...]] = {"daly-d2": D2_ROWS, "daly-p81": P81_ROWS}
_LAYOUTS = {name: layouts(rows) for name, rows in ROWS.items()}

_SEEN = {
    "daly-d2": ("70_260316_01T6", "30_231111_200B", "210402"),
    "daly-p81": ("70_260316_01T6", "41_260321_0323"),
}
"""Firmwares whose settings were recorded, or whose writes were measured."""

_UNSURE = "what is there is not what this map says: boards differ in these registers"
RECOMPUTED: Mapping[str, Recomputed] = {
    "cell_ovp": Recomputed("cell_ovp_warning", offset=-0.05),
    "cell_uvp": Recomputed("cell_uvp_warning", offset=0.05),
    "pack_ovp": Recomputed("pack_ovp_warning", offset=-0.8),
    "pack_uvp": Recomputed("pack_uvp_warning", offset=0.8),
    "charge_ocp": Recomputed("charge_ocp_warning", factor=0.8),
    "discharge_ocp": Recomputed("discharge_ocp_warning", factor=0.8),
}
"""Of D2: limit -> the warning that the board makes of it, as measured on 70_260316_01T6."""
_DOUBTFUL = ("discharge_utp", "cell_delta", "temperature_delta")
"""Of D2: what a board of another firmware keeps in their place."""
TELLING: Mapping[str, tuple[str, ...]] = {
    "daly-d2": tuple(f"{key}{part}" for key in _DOUBTFUL for part in ("", "_warning"))
}
"""Dialect -> the settings whose values say what else the map holds."""


def _doubtful(values: Mapping[str, float | None]) -> bool:
    """Whether the last limits of D2 cannot be what the map says."""

    def ordered(low: str, high: str, least: float, most: float) -> bool:
        one, other = values.get(low), values.get(high)
        return one is not None and other is not None and least <= one <= other <= most

    off = values.get("temperature_delta") is values.get("temperature_delta_warning") is None
    return not (
        ordered("discharge_utp", "discharge_utp_warning", -40, 30)
        and ordered("cell_delta_warning", "cell_delta", 0.005, 2)
        and (off or ordered("temperature_delta_warning", "temperature_delta", 1, 100))
    )


def _row(row: Row, *, doubtful: bool) -> Row:
    """The row as this board has it."""
    unsure = doubtful and row.key.removesuffix("_warning") in _DOUBTFUL
    return replace(row, absent=absent(row), reason=_UNSURE if unsure else row.reason)


def register_map(
    name: str, firmware: str | None, values: Mapping[str, float | None]
) -> SettingsMap:
    """The map of a board; `values` are what its settings registers hold now."""
    table = ROWS[name]
    d2 = name == "daly-d2"
    seen = "its settings were recorded or its writes measured" if firmware in _SEEN[name] else ""
    known = proof(firmware, seen, name, "settings")
    return SettingsMap(
        name=name,
        evidence=known.evidence,
        slots=slots(table, _LAYOUTS[name]),
        settings=settings(_row(row, doubtful=d2 and _doubtful(values)) for row in table),
        untested_reason=known.untested_reason,
        recomputed=RECOMPUTED if d2 else {},
    )
