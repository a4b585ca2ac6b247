"""The settings in Daly's two register maps: one row each.

Sources and evidence: `docs/protocols/daly-d2.md` (read-outs `daly-d2-balancer-btsnoop`,
`daly-d2-105ah-settings`, `daly-d2-rabdo-1`) and `docs/protocols/daly-p81.md` (`daly-p81-ess-01`
to `-11`). Writes to both maps were measured on a board of firmware 70_260316_01T6, several were
recorded (`daly-d2-mos-write`, `daly-p81-bmstool-writes`, `daly-p81-app-writes`). What is uncertain
has no row: it shows as a reserved register. Every register may be FFFF: this board has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from construct import Int16ub, Int32ub

from bmslink.protocols.common.fields import Layout, scaled
from bmslink.protocols.common.rows import Row, bare
from bmslink.protocols.daly.registers.layouts import (
    TENS,
    RegisterRow,
    clock,
    date,
    secret,
    string,
)
from bmslink.protocols.daly.settings import CHEMISTRIES
from bmslink.settings.setting import Danger, Evidence

__all__ = ["D2_ROWS", "D2_TEXTS", "P81_ROWS", "P81_TEXTS", "register"]

_MV, _MILLI = scaled(Int16ub, 1000), scaled(Int16ub, 1000)
_TENTHS = scaled(Int16ub, 10)
_DEGREES = scaled(Int16ub, 1, -40)
_CHARGE_A = scaled(Int16ub, -10, -30000)  # limits count down from 30000 for charging ...
_DISCHARGE_A = scaled(Int16ub, 10, -30000)  # ... and up for discharging
_RAW = Int16ub
_WIDE = scaled(Int32ub, 1000)

_CELL, _PACK, _AMPS = (0.5, 5.0), (4.0, 250.0), (0.1, 1000.0)
_HOT, _COLD, _PERCENT = (-40, 150), (-40, 60), (0, 100)
_DELAY, _ANY = (0, 65), (0, 65535)
_NO_LIMIT = 215.0
"""°C, raw FF: no limit. Raw 0 is a limit of -40 °C."""
_NO_DELTA = 255
"""K: no limit (`daly-d2-105ah-settings`)."""

_CAPTURE, _APP = Evidence.CAPTURE, Evidence.APP
_ALL, _POWER = Danger.COMMISSIONING, Danger.POWER
_WIRING = "it is the board's own wiring"
_LIVE = "it changes by itself"
_OFFSET = "sources disagree whether it counts from -40 or 0 °C, and whether it is this limit"
_TEXT = "on other boards this register holds text"
_UNKNOWN = "what it is for is not known"
_ON_THE_BUS = "it is the board's address on the bus"


class _Scale(NamedTuple):
    """What the levels of one limit have in common."""

    wire: Layout
    limits: tuple[float, float]
    absent: tuple[float, ...] = ()
    lowest: float | None = None

    def row(
        self, at: int, key: str, evidence: Evidence = _APP, title: str = "", unit: str = ""
    ) -> Row:
        return Row(at, key, self.wire, self.limits, evidence, absent=self.absent,
                   lowest=self.lowest, title=title, unit=unit)  # fmt: skip


_CELLS, _PACKS = _Scale(_MV, _CELL), _Scale(_TENTHS, _PACK)
# the other side of 30000 is no limit
_CHARGING, _DISCHARGING = (_Scale(w, _AMPS, lowest=0.0) for w in (_CHARGE_A, _DISCHARGE_A))
_HEAT, _FROST = (_Scale(_DEGREES, limits, (_NO_LIMIT,)) for limits in (_HOT, _COLD))
_CELL_DELTA = _Scale(_MV, (0.005, 2.0))
_KELVIN = _Scale(_RAW, (1, 100), (_NO_DELTA,))  # without the offset of 40
_CHARGE = _Scale(_TENTHS, _PERCENT)


def _counter(at: int, key: str, title: str) -> Row:
    """Refreshed every 5 minutes."""
    return Row(at, key, _WIDE, _ANY, _APP, title=title, unit="Ah", reason=_LIVE, live=True)


def _soc(at: int) -> Row:
    return Row(at, "soc", _TENTHS, _PERCENT, _APP, reason=_LIVE, live=True, highest=100.0)


def _wiring(at: int, key: str, title: str = "", reason: str = _WIRING) -> Row:
    return Row(at, key, _RAW, _ANY, _APP, title=title, reason=reason, own=True)


def _boards(at: int) -> Iterator[Row]:
    yield _wiring(at, "daly_boards", "Measuring boards")
    for board in (1, 2, 3):
        yield _wiring(at + board, f"daly_board_{board}_cells", f"Cells of board {board}")
    for board in (1, 2, 3):
        yield _wiring(at + 3 + board, f"daly_board_{board}_sensors", f"Sensors of board {board}")


def _two(at: int, key: str, scale: _Scale) -> Iterator[Row]:
    """Warning and protection."""
    yield scale.row(at, f"{key}_warning")
    yield scale.row(at + 1, key)


def _four(at: int, key: str, scale: _Scale) -> Iterator[Row]:
    """Warning, protection, release and delay."""
    yield from _two(at, key, scale)
    yield scale.row(at + 2, f"{key}_release")
    yield Row(at + 3, f"{key}_delay", _MILLI, _DELAY, _APP)


def _five(at: int, key: str, scale: _Scale, title: str, evidence: Evidence) -> Iterator[Row]:
    """Warning, protection and its delay, a third level and its delay."""
    third = f"daly_level_3_{key}"
    yield scale.row(at, f"{key}_warning", evidence)
    yield scale.row(at + 1, key, evidence)
    yield Row(at + 2, f"{key}_delay", _MILLI, _DELAY, _APP)
    yield scale.row(at + 3, third, _APP, title, "A")
    yield Row(at + 4, f"{third}_delay", _MILLI, _DELAY, _APP, title=f"{title} delay", unit="s")


D2_ROWS: tuple[Row, ...] = (
    Row(0x80, "nominal_capacity", _TENTHS, (1, 6500), _APP, danger=_ALL),
    Row(0x81, "daly_nominal_cell_voltage", _MV, _CELL, _APP,
        title="Nominal cell voltage", unit="V", danger=_ALL),
    *_boards(0x82),
    Row(0x89, "chemistry", _RAW, None, _APP, choices=CHEMISTRIES, danger=_ALL),
    Row(0x8A, "sleep_delay", _RAW, (60, 65530), _APP),  # s; FFFF, shown as unknown, is never
    *_two(0x8B, "cell_ovp", _CELLS),
    *_two(0x8D, "cell_uvp", _CELLS),
    *_two(0x8F, "pack_ovp", _PACKS),
    *_two(0x91, "pack_uvp", _PACKS),
    *_two(0x93, "charge_ocp", _CHARGING),
    *_two(0x95, "discharge_ocp", _DISCHARGING),
    *_two(0x97, "charge_otp", _HEAT),
    *_two(0x99, "charge_utp", _FROST),
    *_two(0x9B, "discharge_otp", _HEAT),
    *_two(0x9D, "discharge_utp", _FROST),
    *_two(0x9F, "cell_delta", _CELL_DELTA),
    *_two(0xA1, "temperature_delta", _KELVIN),
    Row(0xA3, "balance_start_voltage", _MV, _CELL, _APP),
    Row(0xA4, "balance_delta", _MV, (0.001, 0.5), _APP),
    Row(0xA5, "charge_switch", _RAW, None, _APP, danger=_POWER),
    Row(0xA6, "discharge_switch", _RAW, None, _CAPTURE, danger=_POWER),
    _soc(0xA7),  # follows the live one
    Row(0xA8, "mosfet_otp", _RAW, None, Evidence.DOCUMENT, reason=_OFFSET, unclear=True),
    # of balancer boards; else text of an address
    Row(0xCF, "daly_balancer_switch", _RAW, None, _APP,
        title="Balancer switch", kind="switch", reason=_TEXT),
)  # fmt: skip
"""D2: registers 80 to CF."""
D2_TEXTS: tuple[RegisterRow, ...] = (
    string(0xA9, "daly_software_version", 8),
    string(0xB1, "daly_hardware_version", 8),
    string(0xB9, "daly_machine_code", 16),
    secret(0xC9, "password", 3),
    date(0xCC, "daly_production_date", role="settings"),
    clock(0xD4, "daly_clock", role="settings"),
)

P81_ROWS: tuple[Row, ...] = (
    # written by the vendor's tool, but in no answer: whether a write took cannot be checked
    bare(0xF6, "balance_switch", _RAW),
    bare(0xF7, "daly_current_limiter", _RAW),
    _wiring(0x100, "daly_board_number", "Board number", _ON_THE_BUS),
    _wiring(0x101, "cell_count"),
    *_boards(0x102),
    Row(0x109, "nominal_capacity", _WIDE, (1, 4000), _APP, danger=_ALL),
    Row(0x10B, "daly_second_capacity", _WIDE, _ANY, _APP,
        title="Second capacity", unit="Ah", reason=_UNKNOWN),
    _counter(0x10D, "daly_charged_capacity", "Charged in all"),
    _counter(0x10F, "daly_discharged_capacity", "Discharged in all"),
    Row(0x114, "daly_nominal_cell_voltage", _MV, _CELL, _APP,
        title="Nominal cell voltage", unit="V", danger=_ALL),
    # s; FFFF, shown as unknown, is never
    Row(0x115, "sleep_delay", TENS, (60, 65530), _APP, step=10),
    _soc(0x116),  # runs beside register 3A, a little off
    Row(0x117, "balance_current", _MILLI, (0.03, 20), _APP),
    # of the two balance switches the one that answers hold
    Row(0x119, "balance_switch", _RAW, None, _CAPTURE, inside="daly_balance_enable"),
    Row(0x11A, "balance_start_voltage", _MV, _CELL, _APP),
    Row(0x11B, "balance_delta", _MV, (0.001, 0.5), _APP),
    Row(0x121, "charge_switch", _RAW, None, _CAPTURE, danger=_POWER),
    Row(0x122, "discharge_switch", _RAW, None, _CAPTURE, danger=_POWER),
    # 12E closes the FETs past all protections: it has no name, so nobody writes it by name
    *_four(0x130, "cell_ovp", _CELLS),
    *_four(0x134, "cell_uvp", _CELLS),
    *_four(0x138, "pack_ovp", _PACKS),
    *_four(0x13C, "pack_uvp", _PACKS),
    *_five(0x140, "charge_ocp", _CHARGING, "Level 3 charge over-current", _CAPTURE),
    *_five(0x145, "discharge_ocp", _DISCHARGING, "Level 3 discharge over-current", _APP),
    *_four(0x14A, "charge_otp", _HEAT),
    *_four(0x14E, "charge_utp", _FROST),
    *_four(0x152, "discharge_otp", _HEAT),
    *_four(0x156, "discharge_utp", _FROST),
    *_four(0x15A, "cell_delta", _CELL_DELTA),
    *_four(0x15E, "temperature_delta", _KELVIN),
    *_four(0x162, "soc_low", _CHARGE),
    *_four(0x166, "mosfet_otp", _HEAT),
    Row(0x16E, "short_circuit_current", _RAW, (1, 65000), _APP, danger=_ALL),
    Row(0x1FB, "daly_balance_stop_voltage", _MV, _CELL, _APP,
        title="Balancing stops below", unit="V"),
    Row(0x227, "empty_voltage", _MV, _CELL, _APP),  # of a cell at 0 %
    Row(0x228, "daly_empty_delay", _MILLI, _DELAY, _APP,
        title="Counts as empty after", unit="s"),
    Row(0x229, "full_charge_voltage", _MV, _CELL, _APP),  # of a cell at 100 %
    Row(0x22A, "daly_full_charge_delay", _MILLI, _DELAY, _APP,
        title="Counts as full after", unit="s"),
)  # fmt: skip
"""81/51: registers F6 to 22A. The second layer of limits (1C3 to 1E9) is our guess only."""
P81_TEXTS: tuple[RegisterRow, ...] = (
    clock(0x123, "daly_clock", role="settings"),
    secret(0x126, "password", 3),
    date(0x129, "daly_production_date", role="settings"),
    string(0x178, "daly_software_version", 7),
    string(0x17F, "daly_model", 7),
    string(0x186, "daly_hardware_version", 7),
    string(0x18D, "daly_serial_number", 7),
    string(0x199, "daly_battery_code", 7),
)


def register(row: Row) -> RegisterRow:
    """The register of a setting, for blocks of registers that are read by themselves."""
    words = row.wire.sizeof() // 2
    switch = (row.shared.kind if row.offered else "switch") == "switch"
    return RegisterRow(
        row.at,
        row.name,
        row.wire,
        size=words,
        absent=tuple(int.from_bytes(row.wire.build(n), "big") for n in absent(row)),
        low=row.lowest,
        high=1 if switch else row.highest,
        role="settings",
    )


def absent(row: Row) -> tuple[float, ...]:
    """The numbers that mean "none": FFFF, as the layout reads it, and the row's own."""
    none: float = row.wire.parse(b"\xff" * row.wire.sizeof())
    return (none, *row.absent)
