"""bmstools: JBD's registers, live, identity, counters and settings."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from typing import Any

from bmstools.jbd.jbd import JBD
from bmstools.jbd.registers import BasicInfoReg, CellInfoReg, DeviceInfoReg, ErrorCountReg

from answering import Capture, Question, main

COUNTERS = {
    "sc_err_cnt": "short_circuit",
    "chgoc_err_cnt": "charge_overcurrent",
    "dsgoc_err_cnt": "discharge_overcurrent",
    "covp_err_cnt": "cell_overvoltage",
    "cuvp_err_cnt": "cell_undervoltage",
    "chgot_err_cnt": "charge_overtemperature",
    "chgut_err_cnt": "charge_undertemperature",
    "dsgot_err_cnt": "discharge_overtemperature",
    "dsgut_err_cnt": "discharge_undertemperature",
    "povp_err_cnt": "pack_overvoltage",
    "puvp_err_cnt": "pack_undervoltage",
}
SETTINGS = {  # its name: ours, and what its milli-units are divided by
    "covp": ("cell_ovp", 1000),
    "covp_rel": ("cell_ovp_release", 1000),
    "covp_delay": ("cell_ovp_delay", 1),
    "cuvp": ("cell_uvp", 1000),
    "cuvp_rel": ("cell_uvp_release", 1000),
    "cuvp_delay": ("cell_uvp_delay", 1),
    "povp": ("pack_ovp", 1000),
    "povp_rel": ("pack_ovp_release", 1000),
    "povp_delay": ("pack_ovp_delay", 1),
    "puvp": ("pack_uvp", 1000),
    "puvp_rel": ("pack_uvp_release", 1000),
    "puvp_delay": ("pack_uvp_delay", 1),
    "chgot": ("charge_otp", 1),
    "chgot_rel": ("charge_otp_release", 1),
    "chgot_delay": ("charge_otp_delay", 1),
    "chgut": ("charge_utp", 1),
    "chgut_rel": ("charge_utp_release", 1),
    "chgut_delay": ("charge_utp_delay", 1),
    "dsgot": ("discharge_otp", 1),
    "dsgot_rel": ("discharge_otp_release", 1),
    "dsgot_delay": ("discharge_otp_delay", 1),
    "dsgut": ("discharge_utp", 1),
    "dsgut_rel": ("discharge_utp_release", 1),
    "dsgut_delay": ("discharge_utp_delay", 1),
    "chgoc": ("charge_ocp", 1000),
    "chgoc_delay": ("charge_ocp_delay", 1),
    "chgoc_rel": ("charge_ocp_release", 1),
    "dsgoc": ("discharge_ocp", 1000),
    "dsgoc_delay": ("discharge_ocp_delay", 1),
    "dsgoc_rel": ("discharge_ocp_release", 1),
    "bal_start": ("balance_start_voltage", 1000),
    "bal_window": ("balance_delta", 1000),
    "cell_cnt": ("cell_count", 1),
    "design_cap": ("nominal_capacity", 1000),
    "cycle_cap": ("cycle_capacity", 1000),
    "cap_100": ("full_charge_voltage", 1000),
    "cap_80": ("jbd_soc_80_voltage", 1000),
    "cap_60": ("jbd_soc_60_voltage", 1000),
    "cap_40": ("jbd_soc_40_voltage", 1000),
    "cap_20": ("jbd_soc_20_voltage", 1000),
    "cap_0": ("empty_voltage", 1000),
    "covp_high": ("jbd_hardware_cell_ovp", 1000),
    "cuvp_high": ("jbd_hardware_cell_uvp", 1000),
    "cycle_cnt": ("jbd_cycle_count", 1),
    "serial_num": ("jbd_serial_number", 1),
    "led_timer": ("jbd_led_time", 1),
}


def basic(data: bytes) -> dict[str, Any]:
    """Voltages, currents, what is switched."""
    register = BasicInfoReg("basic_info", 3)
    register.unpack(data)
    # its currents and capacities are in units of 10 mA and 10 mAh times 10
    return {
        "voltage": register.get("pack_mv") / 1000,
        "current": register.get("pack_ma") / 1000,
        "remaining_capacity": register.get("cur_cap") / 1000,
        "nominal_capacity": register.get("full_cap") / 1000,
        "cycles": register.get("cycle_cnt"),
        "soc": register.get("cap_pct"),
        "charging_allowed": register.get("chg_fet_en"),
        "discharging_allowed": register.get("dsg_fet_en"),
        "values.cell_count": register.get("cell_cnt"),
        "values.protection": register.get("fault_raw"),
        "values.temperatures": [register.get(f"ntc{i}") for i in range(register.get("ntc_cnt"))],
    }


def voltages(data: bytes) -> dict[str, Any]:
    """Cells."""
    register = CellInfoReg("cell_info", 4)
    register.unpack(data)
    return {"values.cell_voltages": [register.get(name) / 1000 for name in register.valueNames]}


def name(data: bytes) -> dict[str, Any]:
    """The board's name."""
    register = DeviceInfoReg("device_info", 5)
    register.unpack(data)
    said = register.get("device_name")
    return {"values.model": said} if said else {}


def counters(data: bytes) -> dict[str, Any]:
    """How often each protection acted."""
    register = ErrorCountReg("error_cnt", 0xAA)
    register.unpack(data)
    return {f"values.{mine}": register.get(theirs) for theirs, mine in COUNTERS.items()}


def settings(found: list[tuple[Any, bytes]]) -> dict[str, Any]:
    """All registers of settings that a capture holds."""
    values = {}
    for register, data in found:
        register.unpack(data)
        for theirs in register.valueNames:
            if theirs in SETTINGS:
                mine, factor = SETTINGS[theirs]
                values[f"values.{mine}"] = register.get(theirs) / factor
    return values


LIVE = {3: basic, 4: voltages, 5: name, 0xAA: counters}


def questions(capture: Capture) -> Iterator[Question]:
    """Every answer that is no refusal: DD, register, 0, length, data, sum, 77.

    Old boards have A5 in place of the register; it is the one that was asked for.
    """
    if capture.protocol != "jbd":
        return
    registers = {r.adx: r for r in JBD(None).eeprom_regs}
    stored = []
    for frame in capture.frames:
        raw = frame.raw
        if raw[0] != 0xDD or raw[2] != 0 or len(raw) != raw[3] + 7:
            continue
        asked_for = frame.asked[2] if raw[1] == 0xA5 and frame.asked else raw[1]
        if asked_for in LIVE:
            how: Any = LIVE[asked_for]
            yield Question((frame,), partial(how, raw[4:-3]))
        elif asked_for in registers:
            stored.append((frame, registers[asked_for], raw[4:-3]))
    if stored:
        yield Question(tuple(s[0] for s in stored), partial(settings, [s[1:] for s in stored]))


if __name__ == "__main__":
    main("bmstools", questions, (struct.error, ValueError, IndexError))
