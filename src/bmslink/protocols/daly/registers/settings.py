"""The settings in Daly's two register maps, by the canonical names of the settings.

Sources and evidence: `docs/protocols/daly-d2.md` (read-outs `daly-d2-balancer-btsnoop`,
`daly-d2-105ah-settings`, `daly-d2-rabdo-1`) and `docs/protocols/daly-p81.md` (`daly-p81-ess-01`
to `-11`). What is uncertain has no row: it shows as a reserved register.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from construct import Int16ub

from bmslink.protocols.daly.registers.layouts import (
    ABSENT,
    TENS,
    Row,
    amps,
    celsius,
    clock,
    date,
    number,
    secret,
    string,
    switch,
    volts,
    wide,
)

__all__ = ["D2_SETTINGS", "P81_SETTINGS"]

_Maker = Callable[..., Row]
_ROLE: dict[str, Any] = {"role": "settings"}
_OFF = (0xFF, ABSENT)  # a limit of 215 °C is none; raw 0 is a limit of -40 °C


def _volts(register: int, name: str) -> Row:
    return volts(register, name, **_ROLE)


def _number(register: int, name: str) -> Row:
    return number(register, name, **_ROLE)


def _tenths(register: int, name: str) -> Row:
    return number(register, name, 10, **_ROLE)


def _milli(register: int, name: str) -> Row:
    return number(register, name, 1000, **_ROLE)


def _celsius(register: int, name: str) -> Row:
    return celsius(register, name, _OFF, **_ROLE)


def _charge_amps(register: int, name: str) -> Row:
    """Limits count down from 30000 for charging ..."""
    return amps(register, name, -10, low=0.0, **_ROLE)


def _discharge_amps(register: int, name: str) -> Row:
    """... and up for discharging; the other side of 30000 is no limit."""
    return amps(register, name, low=0.0, **_ROLE)


def _boards(register: int) -> Iterator[Row]:
    yield _number(register, "daly_boards")
    for board in (1, 2, 3):
        yield _number(register + board, f"daly_board_{board}_cells")
        yield _number(register + 3 + board, f"daly_board_{board}_sensors")


def _pairs(register: int, *limits: tuple[str, _Maker]) -> Iterator[Row]:
    """Warning and protection, limit after limit."""
    for name, make in limits:
        yield make(register, f"{name}_warning")
        yield make(register + 1, name)
        register += 2


def _fours(register: int, *limits: tuple[str, _Maker]) -> Iterator[Row]:
    """Warning, protection, release and delay, limit after limit."""
    for name, make in limits:
        yield make(register, f"{name}_warning")
        yield make(register + 1, name)
        yield make(register + 2, f"{name}_release")
        yield _milli(register + 3, f"{name}_delay")
        register += 4


def _overcurrent(register: int, name: str, make: _Maker) -> Iterator[Row]:
    yield make(register, f"{name}_warning")
    yield make(register + 1, name)
    yield _milli(register + 2, f"{name}_delay")
    yield make(register + 3, f"daly_level_3_{name}")
    yield _milli(register + 4, f"daly_level_3_{name}_delay")


D2_SETTINGS: tuple[Row, ...] = (
    _tenths(0x80, "nominal_capacity"),
    _volts(0x81, "daly_nominal_cell_voltage"),
    *_boards(0x82),
    _number(0x89, "chemistry"),
    _number(0x8A, "sleep_delay"),  # s; FFFF, shown as unknown, is never
    *_pairs(
        0x8B,
        ("cell_ovp", _volts),
        ("cell_uvp", _volts),
        ("pack_ovp", _tenths),
        ("pack_uvp", _tenths),
        ("charge_ocp", _charge_amps),
        ("discharge_ocp", _discharge_amps),
        ("charge_otp", _celsius),
        ("charge_utp", _celsius),
        ("discharge_otp", _celsius),
        ("discharge_utp", _celsius),
        ("cell_delta", _volts),
        ("temperature_delta", _number),  # K, without the offset of 40
    ),
    _volts(0xA3, "balance_start_voltage"),
    _volts(0xA4, "balance_delta"),
    switch(0xA5, "charge_switch", **_ROLE),
    switch(0xA6, "discharge_switch", **_ROLE),
    number(0xA7, "soc", 10, high=100.0, **_ROLE),  # follows the live one
    # A8, a temperature limit with or without the offset of 40, stays unnamed
    string(0xA9, "daly_software_version", 8),
    string(0xB1, "daly_hardware_version", 8),
    string(0xB9, "daly_machine_code", 16),
    secret(0xC9, "password", 3),
    date(0xCC, "daly_production_date", **_ROLE),
    switch(0xCF, "daly_balancer_switch", **_ROLE),  # of balancer boards; else text of an address
    clock(0xD4, "daly_clock", **_ROLE),
)
"""D2: registers 80 to D6."""

P81_SETTINGS: tuple[Row, ...] = (
    switch(0xF6, "balance_switch", **_ROLE),  # written, never seen in an answer
    switch(0xF7, "daly_current_limiter", **_ROLE),
    _number(0x100, "daly_board_number"),
    _number(0x101, "cell_count"),
    *_boards(0x102),
    wide(0x109, "nominal_capacity", 1000, **_ROLE),
    wide(0x10B, "daly_second_capacity", 1000, **_ROLE),
    wide(0x10D, "daly_charged_capacity", 1000, **_ROLE),  # counters, refreshed every 5 minutes
    wide(0x10F, "daly_discharged_capacity", 1000, **_ROLE),
    _volts(0x114, "daly_nominal_cell_voltage"),
    Row(0x115, "sleep_delay", TENS, role="settings"),  # s; FFFF, shown as unknown, is never
    number(0x116, "soc", 10, high=100.0, **_ROLE),  # runs beside register 3A, a little off
    _milli(0x117, "balance_current"),
    switch(0x119, "daly_balance_enable", **_ROLE),
    _volts(0x11A, "balance_start_voltage"),
    _volts(0x11B, "balance_delta"),
    switch(0x121, "charge_switch", **_ROLE),
    switch(0x122, "discharge_switch", **_ROLE),
    clock(0x123, "daly_clock", **_ROLE),
    secret(0x126, "password", 3),
    date(0x129, "daly_production_date", **_ROLE),
    # 12E closes the FETs past all protections: it has no name, so nobody writes it by name
    *_fours(
        0x130,
        ("cell_ovp", _volts),
        ("cell_uvp", _volts),
        ("pack_ovp", _tenths),
        ("pack_uvp", _tenths),
    ),
    *_overcurrent(0x140, "charge_ocp", _charge_amps),
    *_overcurrent(0x145, "discharge_ocp", _discharge_amps),
    *_fours(
        0x14A,
        ("charge_otp", _celsius),
        ("charge_utp", _celsius),
        ("discharge_otp", _celsius),
        ("discharge_utp", _celsius),
        ("cell_delta", _volts),
        ("temperature_delta", _number),  # K, without the offset of 40
        ("soc_low", _tenths),
        ("mosfet_otp", _celsius),
    ),
    Row(0x16E, "short_circuit_current", Int16ub, role="settings"),  # A
    string(0x178, "daly_software_version", 7),
    string(0x17F, "daly_model", 7),
    string(0x186, "daly_hardware_version", 7),
    string(0x18D, "daly_serial_number", 7),
    string(0x199, "daly_battery_code", 7),
    _volts(0x1FB, "daly_balance_stop_voltage"),
    _volts(0x227, "empty_voltage"),  # of a cell at 0 %
    _milli(0x228, "daly_empty_delay"),
    _volts(0x229, "full_charge_voltage"),  # of a cell at 100 %
    _milli(0x22A, "daly_full_charge_delay"),
)
"""81/51: registers F6 to 22A. The second layer of limits (1C3 to 1E9) is our guess only."""
