"""A simulated Daly board of the 81/51 dialect, with the registers of `daly-p81-ess-01`.

`docs/protocols/daly-p81.md`. 121 and 122 switch its FETs, 119 and F6 its balancer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bmslink.errors import TargetError
from bmslink.model import Condition, Reading, Switch
from bmslink.protocols.common.rtu import RTUFrame
from bmslink.protocols.daly.registers.codec import Dialect
from bmslink.protocols.daly.registers.framing import (
    ANSWERING,
    ASKING,
    MAX_BOARD,
    P81Framer,
    read_request,
)
from bmslink.protocols.daly.registers.p81 import FLAGS, LEVELS, DalyP81
from bmslink.simulation.boards.daly_registers import (
    FIRMWARE,
    DalyRegisterResponder,
    celsius,
    probes,
)
from bmslink.simulation.pack.pack import Pack

__all__ = ["DalyP81Responder"]

_WRITTEN = 0xAAAA  # the count word of the one acknowledgement that was captured
_FAULT_BYTES = 14
_OTHERS_READ = (0x00, 0x80)  # where the blocks begin that another master reads
_LOCKS = {Switch.CHARGE: (13, 0), Switch.DISCHARGE: (13, 1)}


class DalyP81Responder(DalyRegisterResponder):
    """Answers as board 1 to 24: requests to 80 + n, answers from 50 + n."""

    dialect: ClassVar[Dialect] = DalyP81.dialect
    switches: ClassVar[Mapping[int, Switch]] = {
        0x121: Switch.CHARGE,
        0x122: Switch.DISCHARGE,
        0x119: Switch.BALANCE,
        0xF6: Switch.BALANCE,
    }

    def __init__(
        self, pack: Pack, *, address: int | None = None, firmware: str | None = None
    ) -> None:
        super().__init__(pack, address=address, firmware=firmware)
        self.number = 1 if address is None else address
        if not 1 <= self.number <= MAX_BOARD:
            raise TargetError(f"A Daly board has the address 1 to {MAX_BOARD}, not {address}.")

    def hears(self, frame: RTUFrame) -> bool:
        return frame.unit == ASKING + self.number

    def answering(self, frame: RTUFrame) -> RTUFrame:
        count = _WRITTEN if frame.shape == "written" else frame.count
        return frame.replace(unit=ANSWERING + self.number, count=count)

    def other_request(self, turn: int) -> bytes:
        """Another master reads the cells, then settings, both in blocks as long as bmslink's."""
        register = _OTHERS_READ[turn % len(_OTHERS_READ)]
        return P81Framer().encode(read_request(ASKING + self.number, register, 0x40))

    def strings(self) -> dict[str, str]:
        return {
            "daly_software_version": self.firmware or FIRMWARE,
            "daly_model": "ESS-DL-SIM",
            "daly_hardware_version": "JHB-SIM-V1.0",
            "daly_serial_number": self.serial_number(),
            "daly_battery_code": "20240101",
        }

    def live(self, truth: Reading) -> dict[str, Any]:
        return {
            **_cells(truth),
            **_temperatures(truth),
            **self._state(truth),
            "fault_words": self._faults(truth),
            "old_alarm_words": [0, 0, 0, 0],
            "daly_board_number": self.number,
            "daly_second_capacity": self.pack.settings["nominal_capacity"],
            "daly_charged_capacity": truth.cycle_capacity,
            "daly_discharged_capacity": truth.cycle_capacity,
            "daly_balance_enable": int(self.pack.switches[Switch.BALANCE]),
            "sleep_delay": 3600,
        }

    def _state(self, truth: Reading) -> dict[str, Any]:
        current = round((truth.current or 0.0) * 10)
        mask = sum(1 << (cell - 1) for cell in truth.balancing_cells or ()).to_bytes(6, "little")
        return {
            "voltage": truth.voltage,
            "current": truth.current,
            "soc": truth.soc,
            "heartbeat": int(self.pack.uptime) & 0xFF,
            "state": 1 if current > 0 else 2 if current < 0 else 0,
            "remaining_capacity": truth.remaining_capacity,
            "cycles": truth.cycles,
            "balance_state": int(bool(truth.balancing_active)),
            "balancer_current": truth.balance_current,
            "balance_words": [int.from_bytes(mask[at : at + 2], "big") for at in (0, 2, 4)],
            "charge_mosfet": int(bool(truth.charging_allowed)),
            "discharge_mosfet": int(bool(truth.discharging_allowed)),
            "precharge_mosfet": 0,
            "heater": int(bool(truth.heater)),
            "fan": 0,
            "power": abs(truth.power or 0.0),
            "energy": 0,
            "lifetime_uptime": int(self.pack.uptime),
            "uptime": int(self.pack.running),
        }

    def _faults(self, truth: Reading) -> list[int]:
        """The words 6D to 73, low bytes first."""
        data = bytearray(_FAULT_BYTES)
        for severity, conditions in (
            ("alarm", truth.alarms),
            ("protection", truth.protections),
            ("fault", truth.faults),
        ):
            for condition in conditions:
                _set_fault(data, severity, condition)
        for switch, (byte, bit) in _LOCKS.items():
            if not self.pack.switches[switch]:
                data[byte] |= 1 << bit
        return [int.from_bytes(data[at : at + 2], "little") for at in range(0, _FAULT_BYTES, 2)]


def _set_fault(data: bytearray, severity: str, condition: Condition) -> None:
    """Its level if it has one, else its flag, whatever the severity of that."""
    flags = [place for place, (s, c) in FLAGS.items() if (s, c) == (severity, condition)]
    levels = [place for place, (c, _) in LEVELS.items() if c is condition]
    if levels and not flags:
        byte, low = levels[0]
        data[byte] |= (1 if severity == "alarm" else 2) << low
        return
    flags = flags or [place for place, (_, c) in FLAGS.items() if c is condition]
    if flags and severity != "alarm":
        byte, bit = flags[0]
        data[byte] |= 1 << bit


def _cells(truth: Reading) -> dict[str, Any]:
    volts = [v or 0.0 for v in truth.cell_voltages]
    return {
        "cell_voltages": truth.cell_voltages,
        "cell_count": len(volts),
        "max_cell_voltage": max(volts),
        "max_cell": volts.index(max(volts)) + 1,
        "min_cell_voltage": min(volts),
        "min_cell": volts.index(min(volts)) + 1,
        "voltage_difference": max(volts) - min(volts),
        "average_voltage": sum(volts) / len(volts),
    }


def _temperatures(truth: Reading) -> dict[str, Any]:
    found = probes(truth)
    known = [t for t in found if t is not None]
    low, high = min(known, default=None), max(known, default=None)
    return {
        "temperatures": found,
        "sensor_count": min(len(found), 8),
        "max_temperature": high,
        "max_sensor": 0 if high is None else found.index(high) + 1,
        "min_temperature": low,
        "min_sensor": 0 if low is None else found.index(low) + 1,
        "temperature_difference": 0 if low is None or high is None else high - low,
        "mosfet_temperature": celsius(truth.temperatures.get("mosfet")),
        "board_temperature": None,
        "heater_temperature": None,
    }
