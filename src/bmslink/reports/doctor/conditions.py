"""Every condition that a board can report, with its usual cause, and what ends it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from bmslink.model import Condition

__all__ = ["ADVICE", "HARMLESS", "Advice"]

_C = Condition


class Advice(NamedTuple):
    """About one condition."""

    cause: str
    cure: str


_WIRES = "Check the balance plug and each sense wire: crimp, screw, fuse; measure the cell itself."
_APP = "If it comes back with everything switched off, the board is broken: replace it."

ADVICE: Mapping[Condition, Advice] = MappingProxyType(
    {
        _C.CELL_OVERVOLTAGE: Advice(
            "A cell is full before the others, or the charger's voltage is too high.",
            "Lower the charge voltage, then balance the cells at the top.",
        ),
        _C.CELL_UNDERVOLTAGE: Advice(
            "A cell is empty before the others, or the pack was left without charge.",
            "Take the load off and charge soon, with little current at first.",
        ),
        _C.PACK_OVERVOLTAGE: Advice(
            "The charger's voltage is too high for this number of cells.",
            "Lower the charge voltage at the charger or inverter.",
        ),
        _C.PACK_UNDERVOLTAGE: Advice(
            "The pack is empty, or a heavy load pulls its voltage down.",
            "Take the load off and charge; check cables and lugs for heat.",
        ),
        _C.CHARGE_OVERCURRENT: Advice(
            "The chargers together give more than the board allows.",
            "Lower the charge current at the charger, or compare charge_ocp with fuse and cable.",
        ),
        _C.DISCHARGE_OVERCURRENT: Advice(
            "The load takes more than the board allows, often when an inverter starts.",
            "Reduce or precharge the load, or compare discharge_ocp with fuse and cable.",
        ),
        _C.SHORT_CIRCUIT: Advice(
            "A short circuit, or an inverter whose empty capacitors look like one.",
            "Find it before switching on again; precharge inverters through a resistor.",
        ),
        _C.CHARGE_OVERTEMPERATURE: Advice(
            "The cells are hot from current, sun or bad ventilation, or a terminal is loose.",
            "Reduce the current, cool the pack, and check the terminals beside the warm probe.",
        ),
        _C.CHARGE_UNDERTEMPERATURE: Advice(
            "The cells are too cold to be charged: lithium would plate.",
            "Warm them up. Do not lower the limit.",
        ),
        _C.DISCHARGE_OVERTEMPERATURE: Advice(
            "The cells are hot from current, sun or bad ventilation, or a terminal is loose.",
            "Reduce the load, cool the pack, and check the terminals beside the warm probe.",
        ),
        _C.DISCHARGE_UNDERTEMPERATURE: Advice(
            "The cells are colder than the board lets them work.", "Warm them up."
        ),
        _C.MOSFET_OVERTEMPERATURE: Advice(
            "The board's transistors are hot: too much current for it, or no cooling.",
            "Reduce the current, and give the heat sink air.",
        ),
        _C.BOARD_OVERTEMPERATURE: Advice(
            "The board is hot: too much current or balancing, or no cooling.",
            "Reduce the current, and give the board air.",
        ),
        _C.CELL_DELTA: Advice(
            "A cell is weaker or fuller than the others, or a sense wire is bad.",
            "At the top: balance the cells. Only under load: check that cell's terminals.",
        ),
        _C.TEMPERATURE_DELTA: Advice(
            "One probe is much warmer than another: a hot terminal, or a loose probe.",
            "Check the terminal at the warm probe and the place of the cold one.",
        ),
        _C.SOC_LOW: Advice("Little charge is left.", "Charge it."),
        _C.SOC_HIGH: Advice("It is charged to a high level.", "Nothing has to be done."),
        _C.SOH_LOW: Advice(
            "The board counts less capacity than when the cells were new.",
            "Measure it with a full discharge and charge before replacing cells.",
        ),
        _C.FULLY_CHARGED: Advice("It is full.", "Nothing has to be done."),
        _C.CELL_COUNT_MISMATCH: Advice(
            "The board is set to another number of cells than it finds, or a wire is off.",
            f"Compare cell_count with the cells there are. {_WIRES}",
        ),
        _C.WIRE_RESISTANCE: Advice(
            "A balance wire has a bad contact, or a thin or long wire.", _WIRES
        ),
        _C.VOLTAGE_SENSE: Advice("A sense wire is off or broken.", _WIRES),
        _C.CURRENT_SENSE: Advice(
            "The shunt or its amplifier is not right.",
            f"Calibrate the current in the vendor's app with nothing connected. {_APP}",
        ),
        _C.TEMPERATURE_SENSE: Advice(
            "A probe is off, broken or shorted.",
            "Check its plug; measure it: usually 10 kΩ at 25 °C.",
        ),
        _C.AFE: Advice("The measuring chip does not answer as it should.", _APP),
        _C.CHARGE_MOSFET: Advice(
            "The charge transistor is shorted or does not open.",
            "Take the charger off now: the board cannot stop it. Replace the board.",
        ),
        _C.DISCHARGE_MOSFET: Advice(
            "The discharge transistor is shorted or does not open.",
            "Take the load off now: the board cannot stop it. Replace the board.",
        ),
        _C.PRECHARGE: Advice(
            "Precharging did not end: a load was on, or its resistor is broken.",
            "Take the load off and switch on again.",
        ),
        _C.EEPROM: Advice(
            "The memory for the settings is not right.",
            f"Write down the settings and set them again. {_APP}",
        ),
        _C.CLOCK: Advice("The board's clock has no battery or is not set.", "Set the clock."),
        _C.COMMUNICATION: Advice(
            "The board lost contact with one of its parts (display, balancer, second board).",
            "Check the plugs between them.",
        ),
        _C.PARALLEL_COMMUNICATION: Advice(
            "Boards in parallel do not hear each other: cable, or two with one address.",
            "Check the bus cable, its end resistor, and that each board has its own address.",
        ),
        _C.SETTINGS_INVALID: Advice(
            "The board finds that its settings contradict each other.",
            "See the findings about settings.",
        ),
        _C.DEFAULT_PASSWORD: Advice(
            "Everybody within reach of its Bluetooth can change it.",
            "Change the password in the vendor's app: bmslink does not write passwords.",
        ),
        _C.SOFTWARE_LOCK: Advice("It was switched off by a command.", "Switch it on again."),
        _C.HEATER: Advice("The heater draws no current, or too much.", "Check its plug and fuse."),
        _C.OTHER: Advice(
            "Something that has no common name.", "The raw values of the reading name it."
        ),
    }
)
"""Of every condition."""

HARMLESS = frozenset({_C.FULLY_CHARGED, _C.SOC_HIGH, _C.SOFTWARE_LOCK})
"""Nothing is wrong; a software lock is looked at with the switches."""
