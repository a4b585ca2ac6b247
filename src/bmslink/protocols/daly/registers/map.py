"""The settings of Daly's two register maps, from the rows of `registers.settings`.

Writes to both maps were measured on a board of firmware 70_260316_01T6, several were recorded
(`daly-d2-mos-write`, `daly-p81-bmstool-writes`, `daly-p81-app-writes`). Writing a D2 limit makes
the board recompute its warning level; 81/51 writes do not. `docs/protocols/daly-d2.md` and
`docs/protocols/daly-p81.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from construct import Struct

from bmslink.protocols.common.fields import Layout, parse_value
from bmslink.protocols.common.settings_map import Recomputed, SettingsMap, Slot, proof
from bmslink.protocols.daly.registers.layouts import RegisterMap, Row
from bmslink.protocols.daly.settings import CHEMISTRIES
from bmslink.settings.setting import Danger, Evidence, Kind, Setting, title_of

__all__ = ["RECOMPUTED", "TELLING", "register_map"]

_SEEN = {
    "daly-d2": ("70_260316_01T6", "30_231111_200B", "210402"),
    "daly-p81": ("70_260316_01T6", "41_260321_0323"),
}
"""Firmwares whose settings were recorded, or whose writes were measured."""

_WIRING = "it is the board's own wiring"
_LIVE = "it changes by itself"
_TEXT = "it is the maker's"
_UNSURE = "what is there is not what this map says: boards differ in these registers"

_Limits = tuple[str, float, float, float]

_LIMITS: tuple[tuple[str, _Limits], ...] = (
    # part of the key -> unit, lowest, highest, step; the first that fits
    ("_delay", ("s", 0, 3600, 0.001)),
    ("cell_delta", ("V", 0.005, 2.0, 0.001)),
    ("temperature_delta", ("K", 1, 100, 1)),
    ("balance_delta", ("V", 0.001, 0.5, 0.001)),
    ("balance_current", ("A", 0.03, 20, 0.001)),
    ("pack_", ("V", 4, 250, 0.1)),
    ("cell_", ("V", 0.5, 5, 0.001)),
    ("voltage", ("V", 0.5, 5, 0.001)),
    ("ocp", ("A", 0.1, 1000, 0.1)),
    ("otp", ("°C", -40, 150, 1)),
    ("utp", ("°C", -40, 60, 1)),
    ("soc", ("%", 0, 100, 0.1)),
    ("short_circuit_current", ("A", 1, 65000, 1)),
)
_CAPACITY: dict[int, _Limits] = {1: ("Ah", 1, 6500, 0.1), 2: ("Ah", 1, 4000, 0.001)}
_SWITCHES = ("charge_switch", "discharge_switch", "balance_switch", "daly_balancer_switch",
             "daly_balance_enable", "daly_current_limiter")  # fmt: skip
_CAPTURED = {
    "daly-d2": ("discharge_switch",),
    "daly-p81": (
        "charge_switch",
        "discharge_switch",
        "balance_switch",
        "charge_ocp",
        "charge_ocp_warning",
    ),
}
_RENAMED = {"daly_balance_enable": "balance_switch"}
"""Of 81/51: register 119 is the one of its two balance switches that answers hold."""
_UNSEEN = ("balance_switch", "daly_current_limiter")
"""Written by the vendor's tool, but in no answer: whether a write took could not be checked."""
_READ_ONLY = {
    "cell_count": _WIRING,
    "daly_boards": _WIRING,
    "daly_board_number": "it is the board's address on the bus",
    "soc": _LIVE,
    "daly_second_capacity": "what it is for is not known",
    "daly_charged_capacity": _LIVE,
    "daly_discharged_capacity": _LIVE,
    "daly_balancer_switch": "on other boards this register holds text",
}
_COMMISSIONING = ("nominal_capacity", "chemistry", "daly_nominal_cell_voltage",
                  "short_circuit_current")  # fmt: skip
RECOMPUTED: Mapping[str, Recomputed] = {
    "cell_ovp": Recomputed("cell_ovp_warning", offset=-0.05),
    "cell_uvp": Recomputed("cell_uvp_warning", offset=0.05),
    "pack_ovp": Recomputed("pack_ovp_warning", offset=-0.8),
    "pack_uvp": Recomputed("pack_uvp_warning", offset=0.8),
    "charge_ocp": Recomputed("charge_ocp_warning", factor=0.8),
    "discharge_ocp": Recomputed("discharge_ocp_warning", factor=0.8),
}
"""Of D2: limit -> the warning that the board makes of it, as measured on 70_260316_01T6."""
_OFF = 0xFF
"""A difference of 255 K is none (`daly-d2-105ah-settings`)."""
_DOUBTFUL = ("discharge_utp", "cell_delta", "temperature_delta")
"""Of D2: what a board of another firmware keeps in their place."""
TELLING: Mapping[str, tuple[str, ...]] = {
    "daly-d2": tuple(f"{key}{part}" for key in _DOUBTFUL for part in ("", "_warning"))
}
"""Dialect -> the settings whose values say what else the map holds."""


def _limits(row: Row) -> _Limits:
    if row.name == "nominal_capacity":
        return _CAPACITY[row.size]
    if row.name == "sleep_delay":
        return ("s", 60, 65530, 10 if row.register > 0x100 else 1)
    if row.name == "cell_count":  # a number, and no voltage of a cell
        return ("", 0, 65535, 1)
    for part, limits in _LIMITS:
        if part in row.name:
            if limits[0] == "s" and row.name.endswith("_delay"):
                return ("s", 0, 65, 0.001)
            return limits
    return ("", 0, 65535, 1)


def _danger(key: str) -> Danger:
    if key in _COMMISSIONING:
        return Danger.COMMISSIONING
    return Danger.POWER if key in ("charge_switch", "discharge_switch") else Danger.NONE


def _row(row: Row, d2: bool, doubtful: bool) -> Setting:
    key = _RENAMED.get(row.name, row.name)
    kind: Kind = "switch" if key in _SWITCHES else "number"
    if d2 and key == "chemistry":
        kind = "choice"
    reason = _READ_ONLY.get(key, "")
    if key.startswith("daly_board_"):
        reason = _WIRING
    if doubtful and key.removesuffix("_warning") in _DOUBTFUL:
        reason = _UNSURE
    unit, low, high, step = ("", 0.0, 1.0, 1.0) if kind != "number" else _limits(row)
    captured = _CAPTURED["daly-d2" if d2 else "daly-p81"]
    return Setting(
        key=key,
        title=title_of(key.removeprefix("daly_")),
        slot=row.register,
        name=row.name,
        absent=_absent(row),
        lowest=row.low,
        kind=kind,
        unit=unit,
        minimum=low,
        maximum=high,
        step=step,
        choices=CHEMISTRIES if kind == "choice" else {},
        danger=_danger(key),
        evidence=Evidence.CAPTURE if key in captured else Evidence.APP,
        reason=reason,
        live=reason == _LIVE,
        own=reason == _WIRING or key == "daly_board_number",
    )


def _absent(row: Row) -> tuple[float, ...]:
    """The raw numbers that mean "none", as its layout reads them."""
    off = (_OFF,) if row.name.startswith("temperature_delta") else ()
    return tuple(
        float(parse_value(row.layout, number.to_bytes(2 * row.size, "big"), row.name))
        for number in (*row.absent, *off)
    )


def _settings_rows(table: RegisterMap) -> Iterator[Row]:
    for row in table.rows:
        plain = row.show is None and row.count is None and not row.secret
        if row.role == "settings" and plain and row.name not in _UNSEEN:
            yield row


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


@cache
def _slot(register: int, name: str, layout: Layout) -> Slot:
    """Made once: a layout's fast reader is compiled for the object."""
    return Slot(address=register, layout=Struct(name / layout))


def register_map(
    name: str, table: RegisterMap, firmware: str | None, values: Mapping[str, float | None]
) -> SettingsMap:
    """The map of a board; `values` are what its settings registers hold now."""
    d2 = name == "daly-d2"
    rows = tuple(_settings_rows(table))
    seen = "its settings were recorded or its writes measured" if firmware in _SEEN[name] else ""
    known = proof(firmware, seen, name, "settings")
    return SettingsMap(
        name=name,
        evidence=known.evidence,
        slots=tuple(_slot(r.register, r.name, r.layout) for r in rows),
        settings=tuple(_row(row, d2, d2 and _doubtful(values)) for row in rows),
        untested_reason=known.untested_reason,
        recomputed=RECOMPUTED if d2 else {},
    )
