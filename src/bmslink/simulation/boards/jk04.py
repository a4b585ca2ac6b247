"""A simulated JK04 board: an active balancer that measures cells and knows little else.

Records, order and delays are those of `sess-jk04-b2a16s-writes` and
`sess-jk04-b5a24s-8.0.3M-writes`. Facts: `docs/protocols/jk04.md`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from bmslink.errors import TargetError
from bmslink.model import Reading, Switch
from bmslink.protocols.common.fields import build, parse
from bmslink.protocols.jk.jk02.framing import (
    ACK,
    INFO,
    READ_INFO,
    READ_SETTINGS,
    SETTINGS,
    JK02Frame,
    command,
)
from bmslink.protocols.jk.jk02.layouts import DEVICE_INFO, PAYLOAD
from bmslink.protocols.jk.jk04.driver import JK04Codec
from bmslink.protocols.jk.jk04.layouts import (
    CELL_INFO,
    REGISTERS,
    SETTINGS_TABLE,
    SLOTS,
    WIRES,
    float_bits,
    numbers,
)
from bmslink.simulation.boards.jk02 import JKStreamResponder, known_firmware
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import Answer

__all__ = ["MODELS", "JK04Responder"]

MODELS = {
    "3.1.2": ("JK-B1A24S", "3.0"),
    "3.2.3": ("JK-B2A24S", "3.0"),
    "3.3.0": ("JK-B2A16S", "3.0"),
    "8.0.3M": ("JK-B5A24S", "8.X"),
}
"""Model and hardware by firmware, as captured."""
_DEFAULT_FIRMWARE = "3.3.0"
_RECORD_DELAY, _ACK_DELAY, _WRITE_DELAY = 0.05, 0.14, 0.075  # s
_DIRECTIONS = {False: 0, True: 1}


class JK04Responder(JKStreamResponder):
    """Answers 97 and 96, streams after both, and acknowledges every write.

    It obeys the registers of `REGISTERS`, but for the calibration (44) and the cell count (1C):
    the pack has the cells it has.
    """

    period: ClassVar[float | None] = 0.51

    def __init__(
        self,
        pack: Pack,
        *,
        address: int | None = None,
        firmware: str | None = None,
        words: dict[str, float] | None = None,
    ) -> None:
        super().__init__(pack, address=address, firmware=firmware)
        self._version = known_firmware(firmware, MODELS, usual=_DEFAULT_FIRMWARE, board="JK04")
        if not 2 <= pack.cell_count <= SLOTS:
            raise TargetError(f"A JK04 board has 2 to {SLOTS} cells, not {pack.cell_count}.")
        self._words = words if words is not None else _own_settings(pack)

    def line(self) -> JK04Responder:
        return JK04Responder(
            self.pack, address=self.address, firmware=self.firmware, words=self._words
        )

    def _answer(self, frame: JK02Frame) -> list[Answer]:
        acknowledgement = self._framer.encode(command(ACK, b"\x01"))
        if frame.code == READ_INFO:
            self._introduced = True
            said = self._record(INFO, self._info())
        elif frame.code == READ_SETTINGS:
            self._streaming = self._introduced
            said = self._record(SETTINGS, self._settings())
        else:
            self._write(frame)
            return [Answer(_WRITE_DELAY, acknowledgement)]
        return [Answer(_RECORD_DELAY, said), Answer(_ACK_DELAY, acknowledgement)]

    def _write(self, frame: JK02Frame) -> None:
        register = REGISTERS.get(frame.code)
        payload = JK04Codec().payload(frame, sent=True)
        if register is None or payload is None or register.danger:
            return
        key = register.key
        value = numbers(parse(payload.layout, payload.data, "write"))[key]
        if value is None or key == "cell_count":
            return
        if key == "balance_switch":
            self.pack.around.command({Switch.BALANCE: bool(value)})
        elif key in self.pack.settings:
            self.pack.settings[key] = value
        else:
            self._words[key] = value

    # ------------------------------------------------------------------------------ records

    def _info(self) -> bytes:
        model, hardware = (name.encode() for name in MODELS[self._version])
        values = parse(DEVICE_INFO, bytes(PAYLOAD), "device info") | {
            "vendor_id": model.ljust(15, b"\0"),
            "hardware_version": hardware.ljust(8, b"\0"),
            "software_version": self._version.encode().ljust(8, b"\0"),
            "run_time": int(self.pack.running) // 300 * 300,  # coarse, as on real boards
            "power_on_count": 1,
            "name": model.ljust(16, b"\0"),
            "password": b"1234".ljust(16, b"\0"),
        }
        return build(DEVICE_INFO, values, "device info")

    def _settings(self) -> bytes:
        own = self._words | {k: self.pack.settings[k] for k in ("balance_delta", "balance_current")}
        values = parse(SETTINGS_TABLE, bytes(PAYLOAD), "settings")
        values |= {key: float_bits(value) for key, value in own.items()}
        values["cell_count"] = self.pack.cell_count
        values["balance_switch"] = self.pack.switches[Switch.BALANCE]
        return build(SETTINGS_TABLE, values, "settings")

    def _live(self, truth: Reading) -> bytes:
        cells = [v or 0.0 for v in truth.cell_voltages]
        connected = [v for v in cells if v] or [0.0]
        wires = [ohm or 0.0 for ohm in truth.cell_resistances or ()]
        values: dict[str, Any] = parse(CELL_INFO, bytes(PAYLOAD), "live values") | {
            "cell_voltages": _floats(cells, SLOTS),
            "cell_resistances": _floats(wires, WIRES),
            "average_voltage": float_bits(sum(connected) / len(connected)),
            "delta_voltage": float_bits(max(connected) - min(connected)),
            "cell_mask": sum(1 << i for i, v in enumerate(cells) if v),
            "highest_cell": cells.index(max(connected)),
            "lowest_cell": cells.index(min(connected)),
            "balance_action": _DIRECTIONS[bool(truth.balancing_active)],
            "balance_current": float_bits(truth.balance_current or 0.0),
            "voltage": float_bits(truth.voltage or 0.0, double=True),
            "uptime": min(int(truth.uptime or 0.0), 0xFFFFFFFF),
        }
        return build(CELL_INFO, values, "live values")


def _own_settings(pack: Pack) -> dict[str, float]:
    """What the board keeps beyond the settings of every pack."""
    return {
        "jk_power_off_voltage": round(pack.settings["cell_uvp"] - 0.05, 3),
        "jk_voltage_reference": 3.0155,
        "jk_balance_start_voltage": 4.25,
    }


def _floats(values: list[float], size: int) -> list[int]:
    return [float_bits(v) for v in values[:size]] + [0] * (size - len(values))
