"""A simulated Daly board that speaks D2, as the boards of the captures do it.

`docs/protocols/daly-d2.md`. It knows the registers 00 to 43, 47 to 56 and the settings from 80
on; A5 and A6 switch its FETs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bmslink.errors import TargetError
from bmslink.model import Reading, Switch
from bmslink.protocols.common.rtu import RTUFrame
from bmslink.protocols.daly.a5.layouts import FAILURES
from bmslink.protocols.daly.registers.codec import Dialect
from bmslink.protocols.daly.registers.d2 import DalyD2
from bmslink.protocols.daly.registers.map import RECOMPUTED
from bmslink.protocols.daly.settings import CHEMISTRIES
from bmslink.simulation.boards.daly_registers import (
    FIRMWARE,
    DalyRegisterResponder,
    celsius,
    probes,
)
from bmslink.simulation.pack.pack import Pack

__all__ = ["DalyD2Responder"]

_FIRST_CELLS = 32
_ZERO_AMPS = 30000
_BITS = {what: bit for bit, what in reversed(FAILURES.items())}
_LOCK_BIT = 52


class DalyD2Responder(DalyRegisterResponder):
    """Answers `D2`; a D2 board has no address."""

    dialect: ClassVar[Dialect] = DalyD2.dialect
    switches: ClassVar[Mapping[int, Switch]] = {0xA5: Switch.CHARGE, 0xA6: Switch.DISCHARGE}
    unclear: ClassVar[Mapping[int, int]] = {0xA8: 0x57}  # as in three captures

    def __init__(
        self, pack: Pack, *, address: int | None = None, firmware: str | None = None
    ) -> None:
        super().__init__(pack, address=address, firmware=firmware)
        if address is not None:
            raise TargetError("D2 boards have no address: leave it out, or simulate daly-p81.")

    def hears(self, frame: RTUFrame) -> bool:
        return True

    def answering(self, frame: RTUFrame) -> RTUFrame:
        return frame

    def strings(self) -> dict[str, str]:
        return {
            "daly_software_version": self.firmware or FIRMWARE,
            "daly_hardware_version": "JHB-SIM-V1.0",
            "daly_machine_code": f"SIM-{self.pack.cell_count}S{self.pack.capacity:.0f}Ah",
        }

    def live(self, truth: Reading) -> dict[str, Any]:
        cells = list(truth.cell_voltages)
        known = [t for t in probes(truth) if t is not None]
        volts = [v or 0.0 for v in cells]
        current = round((truth.current or 0.0) * 10)
        codes = {name: code for code, name in CHEMISTRIES.items()}
        return {
            "cell_voltages": cells[:_FIRST_CELLS],
            "cell_voltages_33": cells[_FIRST_CELLS:],
            "temperatures": probes(truth),
            "voltage": truth.voltage,
            "current": truth.current,
            "soc": truth.soc,
            "max_cell_voltage": max(volts),
            "min_cell_voltage": min(volts),
            "max_temperature": max(known, default=None),
            "min_temperature": min(known, default=None),
            "state": 1 if current > 0 else 2 if current < 0 else 0,
            "remaining_capacity": truth.remaining_capacity,
            "cell_count": len(cells),
            "sensor_count": min(len(probes(truth)), 8),
            "cycles": truth.cycles,
            "balancing": int(bool(truth.balancing_active)),
            "charge_mosfet": int(bool(truth.charging_allowed)),
            "discharge_mosfet": int(bool(truth.discharging_allowed)),
            "average_voltage": sum(volts) / len(volts),
            "voltage_difference": max(volts) - min(volts),
            "power": abs(truth.power or 0.0),
            "failure_words": self._failures(truth),
            "balance_words": [0, 0],
            "balance_current_word": _ZERO_AMPS + round((truth.balance_current or 0.0) * 1000),
            "balanced_cell_count": len(truth.balancing_cells or ()),
            "mosfet_temperature": celsius(truth.temperatures.get("mosfet")),
            "board_temperature": None,
            "chemistry": codes[self.pack.chemistry.name],
            "sleep_delay": 3600,
        }

    def _store(self, name: str, value: float) -> None:
        """A new limit drags its warning level along."""
        super()._store(name, value)
        made = RECOMPUTED.get(name)
        if made is not None:
            super()._store(made.key, round(value * made.factor + made.offset, 3))

    def _failures(self, truth: Reading) -> list[int]:
        """The words 3A to 3D: the eight bytes of an A5 answer 98, low bytes first."""
        word = 0
        for level, conditions in (
            ("alarm", truth.alarms),
            ("protection", truth.protections),
            ("fault", truth.faults),
        ):
            for condition in conditions:
                bit = _BITS.get((level, condition))
                if bit is None and level != "alarm":  # Daly has one bit for both
                    bit = next((b for b, (_, c) in FAILURES.items() if c == condition), None)
                word |= 0 if bit is None else 1 << bit
        if not (self.pack.switches[Switch.CHARGE] and self.pack.switches[Switch.DISCHARGE]):
            word |= 1 << _LOCK_BIT
        return [word >> shift & 0xFFFF for shift in (0, 16, 32, 48)]
