"""Presets: a starting profile for each chemistry, from the cells' usual limits.

No preset knows your cells, fuse or cable: it is a file to be read and edited, and what is written
from it passes the same gates as everything else. Only the few limits that every board has are
required; the rest is optional, so that one file fits every vendor. It names no warnings: they
follow their limits, at the distance that the board keeps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from bmslink.arguments import did_you_mean
from bmslink.config.checks.check import number
from bmslink.config.checks.rating import currents_of
from bmslink.config.files.asked import by_reason, unable
from bmslink.config.files.profile import REQUIRED, toml_value
from bmslink.errors import TargetError
from bmslink.model import Identity, Reading
from bmslink.packs import NamedPack
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.settings.catalogue import CATALOGUE
from bmslink.settings.chemistry import CHEMISTRIES, Chemistry
from bmslink.settings.chemistry import chemistry as find_chemistry

__all__ = ["PRESETS", "fitted_preset", "preset", "preset_values"]

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
    kind, size = _named(name)
    if not 1 <= cells <= 32:
        raise TargetError(f"A pack has 1 to 32 cells in series, not {cells}.")
    capacity = capacity if capacity is not None else size
    if capacity is not None and not 1 <= capacity <= 20000:
        raise TargetError(f"A pack has 1 to 20000 Ah, not {capacity:g}.")
    return dict(_values(kind, cells, capacity))


def _named(name: str) -> tuple[Chemistry, float | None]:
    """The cells of a preset, and their capacity where its name says it, Ah."""
    if name not in PRESETS:
        ask = did_you_mean(name, PRESETS)
        raise TargetError(f"There is no preset {name!r}; there are: {', '.join(PRESETS)}.{ask}")
    if name in CHEMISTRIES:
        return find_chemistry(name), None
    family, _, size = name.partition("-")
    return find_chemistry(family), float(size)


def _values(kind: Chemistry, cells: int, capacity: float | None) -> Iterator[tuple[str, float]]:
    limits = kind.limits
    for key, value in limits.items():
        if not key.endswith("_warning"):
            yield key, float(value)
    ovp, uvp = limits["cell_ovp"], limits["cell_uvp"]
    pack_ovp, pack_uvp = cells * ovp * (1 - _PACK_MARGIN), cells * uvp * (1 + _PACK_MARGIN)
    yield "pack_ovp", round(pack_ovp, 1)
    yield "pack_ovp_release", round(cells * limits["cell_ovp_release"], 1)
    yield "pack_uvp", round(pack_uvp, 1)
    yield "pack_uvp_release", round(cells * limits["cell_uvp_release"], 1)
    yield "full_charge_voltage", round(min(kind.full_voltage, ovp - 0.05), 3)
    yield "empty_voltage", round(max(kind.empty_voltage, uvp + 0.05), 3)
    yield "balance_delta", 0.01
    if capacity is not None:
        yield "nominal_capacity", capacity
        yield "charge_ocp", round(_CHARGE_RATE * capacity, 1)
        yield "discharge_ocp", round(_DISCHARGE_RATE * capacity, 1)
    yield from _DELAYS.items()


def preset(name: str, cells: int, capacity: float | None = None) -> str:
    """The text of a profile to begin with, for any board."""
    values = preset_values(name, cells, capacity)
    return _text(name, values, f"{cells}S {name}", cells)


def fitted_preset(
    name: str,
    table: SettingsSnapshot,
    identity: Identity,
    reading: Reading | None,
    *,
    named: NamedPack | None = None,
    cells: int | None = None,
    capacity: float | None = None,
) -> str:
    """The same for one board: with its settings only, for its cells in series and the capacity
    that it holds (unless the preset or the caller says another), and with currents that it is
    rated for. Raises `TargetError` where the number of cells is unknown.
    """
    seen = (len(reading.cell_voltages) if reading else 0) or identity.cell_count
    cells = cells or seen
    if not cells:
        raise TargetError("The board does not say how many cells it has: give --cells.")
    held = number(table.values().get("nominal_capacity")) or None
    given = capacity if capacity is not None else _named(name)[1]
    values = preset_values(name, cells, given if given is not None else held)
    notes = {}
    said = values.get("nominal_capacity")
    for key, (amps, says) in currents_of(identity, named, said, held).items():
        if values.get(key, 0.0) > amps:
            notes[key] = f"not {values[key]:g} A: {says}"
            values[key] = amps
    lacking = {key: why for key in values if (why := unable(table, key))}
    for key in REQUIRED:  # it stays, so that nobody takes the cells for protected: see `partial`
        if why := lacking.pop(key, ""):
            notes[key] = why
    kept = {key: value for key, value in values.items() if key not in lacking}
    who = " ".join(part for part in (identity.vendor, identity.model) if part)
    left = [f"Left out, {why}: {', '.join(keys)}." for why, keys in by_reason(lacking)]
    return _text(name, kept, f"{cells}S {name} for {who}", cells, left=left, notes=notes)


def _text(
    name: str,
    values: Mapping[str, float],
    title: str,
    cells: int,
    *,
    left: Collection[str] = (),
    notes: Mapping[str, str] | None = None,
) -> str:
    """`left`: sentences about what the board lacks; `notes`: key -> a remark behind its value."""
    kind = _named(name)[0]
    comments = [
        f"{cells} cells of {PRESETS[name]}.",
        kind.limits_note,
        "A starting point: your cells' datasheet, the fuse and the cables decide.",
        "Every board must have what is under [settings]. What a board lacks of [optional] is left",
        "out, and what no longer goes with the limits above or with the board's rating follows",
        "them. Warnings follow their limits as well. Delete what the board is to keep.",
        *left,
    ]
    lines = [*(f"# {comment}" for comment in comments), ""]
    lines += ["schema = 1", f"title = {toml_value(title, '')}", f'chemistry = "{kind.name}"']
    for table, required in (("settings", True), ("optional", False)):
        lines += ["", f"[{table}]"]
        for key, value in values.items():
            if (key in REQUIRED) is required:
                note = f"    # {notes[key]}" if notes and key in notes else ""
                lines.append(f"{key} = {toml_value(value, CATALOGUE[key].unit)}{note}")
    return "\n".join(lines) + "\n"
