"""A simulated JK board: 97 and 96 start its stream of live records, writes change its settings.

Identity, enable flags, order and delays of the answers are those of the boards that were
captured, among them `sess-jk02-32s-pb2a16s20p-15.41-heating`, `sess-jk02-32s-pb-14.20-precharge`
and `jk02-24s-b2a24s20p-10.07-pdus`. Facts: `docs/protocols/jk02.md`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

from bmslink.errors import TargetError
from bmslink.link.link import Drop
from bmslink.model import Condition, Reading, Switch
from bmslink.protocols.common.fields import Layout, build, parse
from bmslink.protocols.jk.jk02.framing import (
    ACK,
    CELLS,
    DETAILS,
    INFO,
    LOG,
    READ_DETAILS,
    READ_INFO,
    READ_LOG,
    READ_SETTINGS,
    SETTINGS,
    JK02Frame,
    JK02Framer,
    command,
    record,
)
from bmslink.protocols.jk.jk02.layouts import CELL_INFO, DEVICE_INFO, PAYLOAD, SLOTS, fitted
from bmslink.protocols.jk.jk02.reading import ALARMS, CHEMISTRIES, FULL_OR_OVERVOLTAGE
from bmslink.protocols.jk.settings import (
    CLOCK,
    INFO_ROWS,
    REGISTERS,
    SETTINGS_LAYOUTS,
    SWITCH_WORD,
    write_layout,
)
from bmslink.simulation.boards.jk_log import JKLog
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import Answer, Responder

__all__ = ["MODELS", "CommandFramer", "JK02Responder", "JKStreamResponder"]

DEFAULT_FIRMWARE = "15.41"


class Model(NamedTuple):
    """What tells one firmware from another: names, and which fields it says it has (hex)."""

    vendor_id: str
    hardware: str
    variant: str
    cell_flags: str = ""
    setting_flags: str = ""
    command_flags: str = ""


# fmt: off
MODELS: dict[str, Model] = {
    "10.07": Model("JK-B2A24S20P", "10.XG", "24s"),
    "11.17": Model("JK_B2A20S20P", "11.XW", "32s", "feff7fdc1f01", "7cf8ffff0f",
                   "7cf8fff30f00000000000000900f00000000c0d8030000000001"),
    "11.288H": Model("JK_B2A20S20P", "11.XW", "32s", "feff7fdc2f010101", "fcf9ffff9f2d",
                     "fcf9ffff9f2d000000000000900f00000000c0d8030000000001"),
    "14.20": Model("JK_PB2A16S15P", "14.XA", "32s", "feff7fdd2f0101b007", "feffffffbfe90102",
                   "feffffffafe9010200000000901f00000000c0d8e7fe1f000001"),
    "15.41": Model("JK_PB2A16S20P", "15A", "32s", "feff7fdc2f0101b0cf07", "feffffff9fe99d03",
                   "ffffffff8fe99d0300000000901f00000000c0d8e7fe3f000001"),
    "19.10": Model("JK_B2A8S20P", "19H", "32s", "feff7fdc2f0101810b01", "feffffff9fa9ef0f",
                   "ffffffff9fa98f0f00000000901f00000000c0d8e732ac"),
}
# fmt: on
"""By firmware, as captured."""
_IN_INFO = frozenset(row.key for row in INFO_ROWS)

_RECORD_DELAY, _SECOND_DELAY, _ACK_DELAY = 0.09, 0.2, 0.3  # s after a 97 or 96
_WRITE_DELAY = 0.11
_REPEATS_INFO = 15  # from this version on a 96 is answered by 01 and 03
_SENSOR_MASK_FLAG = 36
_ABSENT = -200.0
_SWITCHES = {switch.key: switch for switch in Switch}
_PROBES = ("mosfet", "cell_1", "cell_2", "cell_3", "cell_4", "cell_5")  # bits of the sensor mask
_CLOCK = 200_000_000  # 2026-05-03: when the simulated board was switched on


def known_firmware(firmware: str | None, models: Collection[str], *, usual: str, board: str) -> str:
    """The firmware of a simulated board: the usual one, unless another is asked for.

    `TargetError` where there is no such `board`.
    """
    version = firmware or usual
    if version not in models:
        raise TargetError(
            f"There is no simulated {board} firmware {version!r}; there are: {', '.join(models)}."
        )
    return version


class CommandFramer(JK02Framer):
    """What a board listens with: the start of a record must not make it wait for 300 bytes."""

    def _cut_record(self, buffer: bytes) -> JK02Frame | Drop | None:
        return Drop(1) if buffer else None


class JKStreamResponder(Responder):
    """What all boards with the 300-byte records do: they answer commands, number their records,
    and stream once they were asked for both their device info and their settings."""

    baudrate: ClassVar[int] = 115200

    def __init__(self, pack: Pack, *, address: int | None, firmware: str | None) -> None:
        super().__init__(pack, address=address, firmware=firmware)
        self._framer = CommandFramer()
        self._counter = 0
        self._introduced = False
        self._streaming = False

    def restarted(self) -> None:
        super().restarted()
        self._introduced = self._streaming = False
        self._framer = CommandFramer()

    def receive(self, data: bytes) -> list[Answer]:
        return [a for frame in self._framer.feed(data) for a in self._answer(frame)]

    def stream(self) -> bytes:
        return self._record(CELLS, self._live(self.pack.truth())) if self._streaming else b""

    def _record(self, code: int, data: bytes) -> bytes:
        self._counter = (self._counter + 1) & 0xFF
        return self._framer.encode(record(code, data, self._counter))

    @abstractmethod
    def _answer(self, frame: JK02Frame) -> list[Answer]:
        """What a command causes."""

    @abstractmethod
    def _live(self, truth: Reading) -> bytes:
        """The payload of a type 02."""


class JK02Responder(JKStreamResponder):
    """Answers 97 and 96, then streams; acknowledges every write and obeys those it knows.

    `firmware` picks the board (`MODELS`). Like real ones it streams only after a 97 and a 96.
    """

    period: ClassVar[float | None] = 0.54

    def __init__(
        self,
        pack: Pack,
        *,
        address: int | None = None,
        firmware: str | None = None,
        words: dict[str, float] | None = None,
        log: JKLog | None = None,
    ) -> None:
        super().__init__(pack, address=address, firmware=firmware)
        self._version = known_firmware(firmware, MODELS, usual=DEFAULT_FIRMWARE, board="JK")
        self.model = MODELS[self._version]
        slots = SLOTS[self.model.variant]
        if pack.cell_count > slots:
            raise TargetError(f"A JK board of this firmware has up to {slots} cells.")
        self._words = _own_settings(pack, address) if words is None else words
        self._log = log or JKLog()

    def line(self) -> JK02Responder:
        twin = JK02Responder(
            self.pack,
            address=self.address,
            firmware=self.firmware,
            words=self._words,
            log=self._log,
        )
        twin.family = self.family
        return twin

    def receive(self, data: bytes) -> list[Answer]:
        self.remember()
        return super().receive(data)

    def remember(self) -> None:
        self._log.look(self.pack, self._clock)

    @property
    def _clock(self) -> int:
        """What its clock shows, s since 2020."""
        return int(self._words.get("clock_start", _CLOCK)) + int(self.pack.uptime)

    def _answer(self, frame: JK02Frame) -> list[Answer]:
        acknowledgement = self._framer.encode(command(ACK, b"\x01"))
        if frame.code in (READ_LOG, READ_DETAILS) and not frame.data:
            return [*self._remembered(frame.code), Answer(_ACK_DELAY, acknowledgement)]
        if frame.code == READ_INFO:
            self._introduced = True
            info = self._record(INFO, self._info())
            return [Answer(_RECORD_DELAY, info), Answer(_ACK_DELAY, acknowledgement)]
        if frame.code == READ_SETTINGS:
            self._streaming = self._introduced
            answers = [Answer(_RECORD_DELAY, self._record(SETTINGS, self._settings()))]
            if int(self._version.split(".")[0]) >= _REPEATS_INFO:
                answers.append(Answer(_SECOND_DELAY, self._record(INFO, self._info())))
            return [*answers, Answer(_ACK_DELAY, acknowledgement)]
        self._write(frame)
        return [Answer(_WRITE_DELAY, acknowledgement)]

    def _remembered(self, code: int) -> list[Answer]:
        """The records of a log, where this firmware names its command."""
        if not int.from_bytes(_flags(self.model.command_flags, 32), "little") >> code & 1:
            return []
        if code == READ_LOG:
            return [Answer(_RECORD_DELAY, self._record(LOG, self._log.logbook()))]
        return [Answer(_RECORD_DELAY, self._record(DETAILS, d)) for d in self._log.details()]

    def _write(self, frame: JK02Frame) -> None:
        """What is not known, dangerous or of the wrong length is acknowledged and forgotten."""
        variant = self.model.variant
        layout = write_layout(variant, frame.code, len(frame.data))
        if layout is None or REGISTERS[variant][frame.code].danger:
            return
        ((key, value),) = parse(layout, frame.data, "write").items()
        bit = 1 << max(0, frame.code - SWITCH_WORD)
        if frame.code == CLOCK:
            self._words["clock_start"] = int(value) - int(self.pack.uptime)
        elif key in _SWITCHES:
            self._log.switched(self.pack, self._clock, _SWITCHES[key], bool(value))
            self.pack.around.command({_SWITCHES[key]: bool(value)})
        elif SWITCH_WORD <= frame.code < SWITCH_WORD + 16:
            word = int(self._words["jk_switches"]) & ~bit
            self._words["jk_switches"] = word | bit * bool(value)
        elif key in self.pack.settings:
            self.pack.settings[key] = value
        else:
            self._words[key] = value

    # ------------------------------------------------------------------------------ records

    def _info(self) -> bytes:
        serial = self.serial_number(7).encode()
        values = _blank(DEVICE_INFO) | {
            "vendor_id": _padded(self.model.vendor_id.encode(), 15),
            "hardware_version": _padded(self.model.hardware.encode(), 8),
            "software_version": _padded(self._version.encode(), 8),
            "run_time": int(self.pack.running) // 300 * 300,  # coarse, as on real boards
            "power_on_count": 1,
            "name": _padded(self.model.vendor_id.encode(), 16),
            "password": _padded(b"1234", 16),
            "first_power_on": _padded(b"260503", 8),
            "serial_number": _padded(serial + b"\x001234", 16),
            "user_data": _padded(b"Input Userdata", 16),
            "settings_password": _padded(b"123456", 16),
            "command_flags": _flags(self.model.command_flags, 32),
        }
        values |= {k.removeprefix("jk_"): self._words[k] for k in _IN_INFO & self._words.keys()}
        return build(DEVICE_INFO, values, "device info")

    def _settings(self) -> bytes:
        layout = SETTINGS_LAYOUTS[self.model.variant]
        values = dict(_blank(layout))
        values |= {k: v for k, v in self._words.items() if k in values}
        values |= {k: v for k, v in self.pack.settings.items() if k in values}
        values |= {key: self.pack.switches[switch] for key, switch in _SWITCHES.items()}
        values["enable_flags"] = _flags(self.model.setting_flags, 9)
        return build(layout, fitted(layout, values), "settings")

    def _live(self, truth: Reading) -> bytes:
        layout = CELL_INFO[self.model.variant]
        temperatures = {name: truth.temperatures.get(name) for name in _PROBES}
        present = sum(1 << bit for bit, t in enumerate(temperatures.values()) if t is not None)
        flags = _flags(self.model.cell_flags, 12)
        masked = not any(flags) or int.from_bytes(flags, "little") >> _SENSOR_MASK_FLAG & 1
        values = {
            "voltage": truth.voltage,
            "voltage_2": truth.voltage,
            "power": abs(truth.power or 0.0),
            "current": truth.current,
            "alarms": _alarm_word(truth) & (0xFFFF if self.model.variant == "24s" else 0xFFFFFFFF),
            "balance_current": truth.balance_current,
            "balance_action": truth.balancing_active,  # 1: a cell is charged
            "soc": truth.soc,
            "remaining_capacity": truth.remaining_capacity,
            "full_capacity": truth.full_capacity,
            "cycles": truth.cycles,
            "cycle_capacity": truth.cycle_capacity,
            "soh": truth.soh,
            "uptime": truth.uptime,
            "run_ticks": truth.uptime,
            "charge_mosfet": truth.charging_allowed,
            "discharge_mosfet": truth.discharging_allowed,
            "sensor_mask": present if masked else 0xFF,
            "heating": truth.heater,
            "clock": self._clock,
            "log_count": self._log.count,
            "chemistry": _chemistry(self.pack.chemistry.name),
            "enable_flags": flags,
        }
        values |= _temperatures(temperatures) | _cells(truth, SLOTS[self.model.variant])
        return build(layout, _blank(layout) | fitted(layout, values), "live values")


@lru_cache(maxsize=16)
def _blank(layout: Layout) -> dict[str, Any]:
    """The values of a record that is all zeros; for copies, not to be changed."""
    return dict(parse(layout, bytes(PAYLOAD), "a blank record"))


def _own_settings(pack: Pack, address: int | None) -> dict[str, float]:
    """What a JK board keeps beyond the settings of every pack."""
    full, low = pack.settings["full_charge_voltage"], pack.settings["cell_uvp"]
    return {
        "jk_smart_sleep_voltage": full,
        "jk_request_charge_voltage": full,
        "float_voltage": full - 0.1,
        "jk_power_off_voltage": low - 0.05,
        "jk_device_address": 1 if address is None else address,
        "jk_current_range": 1_500_000,
        "jk_switches": 0,
        "jk_heating_start": 0,
        "jk_heating_stop": 5,
        "jk_smart_sleep_delay": 24,
        "jk_uart1_protocol": 1,
        "jk_can_protocol": 2,
        "jk_request_charge_time": 1.0,
        "jk_float_time": 6.0,
        "jk_rebulk_soc": 20,
    }


def _temperatures(probes: Mapping[str, float | None]) -> dict[str, float]:
    """A missing probe reads -200 °C, and the place of T3 holds a copy of the MOS value."""
    told = {name: _ABSENT if t is None else t for name, t in probes.items()}
    numbered = {f"temperature_{i}": told[f"cell_{i}"] for i in (1, 2, 4, 5)}
    mosfet = told["mosfet"]
    return numbered | {"temperature_3": mosfet, "mosfet_temperature": mosfet}


def _cells(truth: Reading, slots: int) -> dict[str, Any]:
    cells = [v or 0.0 for v in truth.cell_voltages]
    connected = [v for v in cells if v] or [0.0]
    resistances = [ohm or 0.0 for ohm in truth.cell_resistances or ()]
    return {
        "cell_voltages": cells + [0.0] * (slots - len(cells)),
        "cell_mask": sum(1 << i for i, v in enumerate(cells) if v),
        "average_voltage": sum(connected) / len(connected),
        "delta_voltage": max(connected) - min(connected),
        "highest_cell": cells.index(max(connected)),
        "lowest_cell": cells.index(min(connected)),
        "cell_resistances": resistances + [0.0] * (slots - len(resistances)),
    }


def _alarm_word(truth: Reading) -> int:
    levels = {"alarm": truth.alarms, "protection": truth.protections, "fault": truth.faults}
    first = {(level, condition): bit for bit, level, condition in reversed(ALARMS)}
    word = sum({1 << bit for (level, c), bit in first.items() if c in levels[level]})
    over = Condition.CELL_OVERVOLTAGE in truth.protections
    return word | (over or Condition.FULLY_CHARGED in truth.alarms) << FULL_OR_OVERVOLTAGE


def _chemistry(name: str) -> int:
    """JK knows three; whatever else there is must be run as its `Li-ion`."""
    return {told: code for code, told in CHEMISTRIES.items()}.get(name, 1)


def _padded(text: bytes, size: int) -> bytes:
    return text[:size].ljust(size, b"\0")


def _flags(text: str, size: int) -> bytes:
    return _padded(bytes.fromhex(text), size)
