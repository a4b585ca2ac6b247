"""Presets: a starting profile for each chemistry, from the cells' usual limits.

No preset knows your cells, fuse or cable: it is a file to be read and edited, and what is written
from it passes the same gates as everything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bmslink.config.files.profile import toml_value
from bmslink.errors import TargetError
from bmslink.settings.chemistry import CHEMISTRIES, Chemistry
from bmslink.settings.chemistry import chemistry as find_chemistry

__all__ = ["PRESETS", "preset", "preset_values"]

PRESETS: Mapping[str, str] = {
    "lfp": "LiFePO4, any maker",
    "nmc": "Li-ion with NMC or NCA cathode",
    "lto": "lithium titanate",
    "na-ion": "sodium-ion, layered oxide",
    "lfp-100": "LiFePO4, prismatic, 100 Ah",
    "lfp-280": "LiFePO4, prismatic, 280 Ah (LF280K and its like)",
    "lfp-314": "LiFePO4, prismatic, 314 Ah",
}
"""Name -> what it is for."""

_DELAYS = {
    "cell_ovp_delay": 2.0,
    "cell_uvp_delay": 5.0,
    "pack_ovp_delay": 2.0,
    "pack_uvp_delay": 5.0,
    "charge_ocp_delay": 10.0,
    "discharge_ocp_delay": 10.0,
    "charge_otp_delay": 5.0,
    "charge_utp_delay": 5.0,
    "discharge_otp_delay": 5.0,
    "discharge_utp_delay": 5.0,
}
# Slow charging ages no large cell: half the capacity in an hour in, all of it out.
_CHARGE_RATE, _DISCHARGE_RATE = 0.5, 1.0
_PACK_MARGIN = 0.01  # the pack's limit waits behind its cells', which are the better judge


def preset_values(name: str, cells: int, capacity: float | None = None) -> dict[str, float]:
    """The values of a preset for so many cells in series; `TargetError` for an unknown one.

    `capacity` in Ah decides the current limits; without one they are left to the board.
    """
    if name not in PRESETS:
        raise TargetError(f"There is no preset {name!r}; there are: {', '.join(PRESETS)}.")
    if not 1 <= cells <= 32:
        raise TargetError(f"A pack has 1 to 32 cells in series, not {cells}.")
    family, _, size = name.partition("-")
    if name in CHEMISTRIES:
        family, size = name, ""
    capacity = capacity if capacity is not None else float(size) if size else None
    if capacity is not None and not 1 <= capacity <= 20000:
        raise TargetError(f"A pack has 1 to 20000 Ah, not {capacity:g}.")
    return dict(_values(find_chemistry(family), cells, capacity))


def _values(kind: Chemistry, cells: int, capacity: float | None) -> Iterator[tuple[str, float]]:
    limits = kind.limits
    yield from ((key, float(value)) for key, value in limits.items())
    ovp, uvp = limits["cell_ovp"], limits["cell_uvp"]
    pack_ovp, pack_uvp = cells * ovp * (1 - _PACK_MARGIN), cells * uvp * (1 + _PACK_MARGIN)
    yield "pack_ovp", round(pack_ovp, 1)
    warning = min(cells * limits["cell_ovp_warning"], pack_ovp * (1 - _PACK_MARGIN))
    yield "pack_ovp_warning", round(warning, 1)
    yield "pack_ovp_release", round(min(cells * limits["cell_ovp_release"], warning), 1)
    yield "pack_uvp", round(pack_uvp, 1)
    warning = max(cells * limits["cell_uvp_warning"], pack_uvp * (1 + _PACK_MARGIN))
    yield "pack_uvp_warning", round(warning, 1)
    yield "pack_uvp_release", round(max(cells * limits["cell_uvp_release"], warning), 1)
    yield "full_charge_voltage", round(min(kind.full_voltage, ovp - 0.05), 3)
    yield "empty_voltage", round(max(kind.empty_voltage, uvp + 0.05), 3)
    yield "balance_delta", 0.01
    if capacity is not None:
        yield "nominal_capacity", capacity
        yield "charge_ocp", round(_CHARGE_RATE * capacity, 1)
        yield "discharge_ocp", round(_DISCHARGE_RATE * capacity, 1)
    yield from _DELAYS.items()


_UNITS = {"nominal_capacity": "Ah", "charge_ocp": "A", "discharge_ocp": "A"}


def _unit(key: str) -> str:
    if key in _UNITS:
        return _UNITS[key]
    if key.endswith("_delay"):
        return "s"
    return "°C" if "otp" in key or "utp" in key else "V"


def preset(name: str, cells: int, capacity: float | None = None) -> str:
    """The text of a profile to begin with."""
    values = preset_values(name, cells, capacity)
    family = name if name in CHEMISTRIES else name.partition("-")[0]
    lines = [
        f"# {cells} cells of {PRESETS[name]}.",
        f"# {find_chemistry(family).limits_note}",
        "# A starting point: your cells' datasheet, the fuse and the cables decide.",
        "# Delete what the board shall keep as it is.",
        "",
        "schema = 1",
        f'title = "{cells}S {name}"',
        "",
        "[settings]",
    ]
    lines += [f"{key} = {toml_value(value, _unit(key))}" for key, value in values.items()]
    return "\n".join(lines) + "\n"
