"""A simulated JBD UP rack battery: the master (address 1), or a pack behind it.

Lengths, delays and what stays silent are those of `jbd-syssi-up16s020-two-devices`. Facts:
`docs/protocols/jbd-up.md`.
"""

from __future__ import annotations

import re
from typing import Any

from bmslink.errors import TargetError
from bmslink.model import Condition, Reading, Switch
from bmslink.protocols.common.fields import Layout, build, parse
from bmslink.protocols.jbd.up.driver import CAPACITY, PRODUCT, STATUS
from bmslink.protocols.jbd.up.framing import INDIVIDUAL, READ, WRITE, UPFrame, UPFramer
from bmslink.protocols.jbd.up.layouts import (
    ALARMS,
    BLOCKS,
    FAULTS,
    WRITES,
    individual_layout,
    status_layout,
)
from bmslink.protocols.jbd.up.map import SETTINGS_BLOCKS
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import Answer, Responder

__all__ = ["JBDUPResponder"]

_DELAY = 0.17  # s; real ones take 0.15 to 0.35
_MASTER, _HIGHEST = 1, 16
_MOST_CELLS = 16  # bits of the balance word
_SURPLUS = {True: 12, False: 4}  # bytes behind the serial number, at the master and relayed
_CONNECTION = {True: 4, False: 0}
_VERSION = (12, 1, 7)
_MODEL = b"UP16S015.16S200A"


class JBDUPResponder(Responder):
    """Answers 1000 at any address; 1800, 1C00, 2006, 2810 and FC 45 only as the master.

    Obeys writes of the FET flags (2902) and of the SOC (2006). `firmware` is MAJOR.MINOR.PATCH.
    """

    def __init__(
        self, pack: Pack, *, address: int | None = None, firmware: str | None = None
    ) -> None:
        super().__init__(pack, address=address, firmware=firmware)
        self._number = _MASTER if address is None else address
        if not 1 <= self._number <= _HIGHEST:
            raise TargetError(f"A JBD UP address is 1 to {_HIGHEST}, not {address}.")
        if pack.cell_count > _MOST_CELLS:
            raise TargetError(f"A JBD UP board has up to {_MOST_CELLS} cells.")
        self._version = _VERSION if firmware is None else _parse_version(firmware)
        self._framer = UPFramer()

    @property
    def master(self) -> bool:
        """Whether this pack is on the line itself."""
        return self._number == _MASTER

    def receive(self, data: bytes) -> list[Answer]:
        frames = self._framer.feed(data)
        if not frames and self._framer.pending > len(data):
            # a torn request waits in front; a board forgets it, as soon as the next one makes sense
            fresh = UPFramer()
            frames = fresh.feed(data)
            if frames:
                self._framer = fresh
        return [answer for frame in frames if (answer := self._answer(frame)) is not None]

    def _answer(self, frame: UPFrame) -> Answer | None:
        if frame.is_answer or frame.address != self._number:
            return None
        data = self._read(frame) if frame.function != WRITE else self._write(frame)
        if data is None:
            return None
        answer = UPFrame(
            address=frame.address,
            function=frame.function,
            start=frame.start,
            end=frame.end,
            data=data,
        )
        return Answer(_DELAY, self._framer.encode(answer))

    def _read(self, frame: UPFrame) -> bytes | None:
        truth = self.pack.truth()
        block = (frame.start, frame.end)
        if frame.function == READ and block == STATUS:
            return self._status(truth)
        if not self.master:
            return None
        if (frame.function, block) == (INDIVIDUAL, (0x0000, 0x0054)):
            return self._individual(truth)
        if frame.function == READ and SETTINGS_BLOCKS.get(frame.start) == frame.end:
            return self._settings(frame.start)
        if frame.function != READ or block not in (CAPACITY, PRODUCT):
            return None
        layout = next(layout for (start, _), (_, layout) in BLOCKS.items() if start == block[0])
        major, minor, patch = self._version
        throughput = truth.cycle_capacity
        return _filled(
            layout,
            bytes(layout.sizeof()),
            {
                "soc": _fit(truth.soc, 100),
                "soh": round(truth.soh or 0.0),
                "cycles": min(truth.cycles or 0, 0xFFFF),
                "total_charge": _fit(throughput, 10, 0xFFFFFFFF),
                "total_discharge": _fit(throughput, 10, 0xFFFFFFFF),
                "major": major,
                "minor": minor,
                "patch": patch,
                "model": _MODEL,
                "project": b"JBD".ljust(16, b"\0"),
            },
        )

    def _settings(self, start: int) -> bytes:
        """What the pack has limits for; the others are 0."""
        layout = next(layout for (at, _), (_, layout) in BLOCKS.items() if at == start)
        empty = parse(layout, bytes(layout.sizeof()), "block")
        held: dict[str, Any] = {}
        for name, zero in empty.items():
            key = name.removeprefix("jbd_up_")  # the pack warns where it trips
            value = self.pack.settings.get(key, self.pack.settings.get(key.replace("_alarm", "")))
            if value is not None:
                held[name] = round(value) if isinstance(zero, int) else value
        return build(layout, empty | held, "block")

    def _write(self, frame: UPFrame) -> bytes | None:
        layout = WRITES.get((frame.start, len(frame.data)))
        if layout is None or not self.master:
            return None
        values = parse(layout, frame.data, "write") if frame.data[:4] == b"\x11JBD" else {}
        if "soc" in values:
            self.pack.set_soc(min(values["soc"], 100.0))
        elif "jbd_up_flags" in values:
            flags = values["jbd_up_flags"]
            self.pack.around.command(
                {Switch.DISCHARGE: bool(flags & 1), Switch.CHARGE: bool(flags & 2)}
            )
        return b"" if values else None

    # ------------------------------------------------------------------------------ blocks

    def _status(self, truth: Reading) -> bytes:
        values = _common(truth, self.pack.ambient)
        cells, probes = values["cell_voltages"], values["temperatures"]
        connected = cells or [0.0]
        major, minor, _ = self._version
        flags = bool(truth.discharging_allowed) | bool(truth.charging_allowed) << 1
        values |= {
            "relayed_voltage": 0.0 if self.master else values["voltage"],
            "current": _fit(truth.current, 100, 0xFFFFFFFF, 300000),
            "soc": _fit(truth.soc, 100) if self.master else float(round(truth.soc or 0.0)),
            "full_capacity": _fit(truth.full_capacity, 100),
            "state": 0 if not truth.current else 1 if truth.current > 0 else 2,
            "faults": _word(truth, FAULTS),
            "alarms": _word(truth, ALARMS),
            "flags": flags | bool(truth.heater) << 3,
            "connection_state": _CONNECTION[self.master],
            "highest_cell": connected.index(max(connected)) + 1,
            "lowest_cell": connected.index(min(connected)) + 1,
            "average_voltage": sum(connected) / len(connected),
            "mean_temperature": sum(probes) / max(1, len(probes)),
            "charge_voltage_limit": _limit(self.pack, "full_charge_voltage", self.pack.cell_count),
            "charge_current_limit": _limit(self.pack, "charge_ocp"),
            "discharge_voltage_limit": _limit(self.pack, "empty_voltage", self.pack.cell_count),
            "discharge_current_limit": _limit(self.pack, "discharge_ocp"),
            "balance": sum(1 << (number - 1) for number in truth.balancing_cells or ()),
            "version": major << 8 | minor if self.master else minor,
            "serial_number": self._serial(),
        }
        if probes:
            values["hottest_sensor"] = probes.index(max(probes)) + 1
            values["coldest_sensor"] = probes.index(min(probes)) + 1
        size = 68 + 2 * len(cells) + 2 + 2 * len(probes) + 36 + _SURPLUS[self.master]
        empty = bytearray(size)
        empty[66:68] = len(cells).to_bytes(2, "big")
        at = 68 + 2 * len(cells)
        empty[at : at + 2] = len(probes).to_bytes(2, "big")
        return _filled(status_layout(bytes(empty)), bytes(empty), values)

    def _serial(self) -> bytes:
        return self.serial_number().encode().ljust(30, b"\0")

    def _individual(self, truth: Reading) -> bytes:
        values = _common(truth, self.pack.ambient)
        cells, probes = values["cell_voltages"], values["temperatures"]
        serial = self._serial()
        values |= {
            "current": _fit(truth.current, 100, 0x7FFFFFFF, 0x80000000),
            "soc": round(truth.soc or 0.0),
            "status": 3,
            "charge_current_limit": _limit(self.pack, "charge_ocp"),
            "discharge_current_limit": _limit(self.pack, "discharge_ocp"),
            "version_minor": self._version[1],
            "serial_number": b"".join(serial[i : i + 2][::-1] for i in range(0, 30, 2)),
        }
        empty = bytearray(2 + 2 * len(cells) + 74 + 2 * len(probes))
        empty[:2] = len(cells).to_bytes(2, "big")
        empty[74 + 2 * len(cells)] = len(probes)
        return _filled(individual_layout(bytes(empty)), bytes(empty), values)


def _common(truth: Reading, ambient: float) -> dict[str, Any]:
    """What block 1000 and the individual status both hold. A missing probe is left out: how a
    board shows one is not known."""
    cells = [_fit(v, 1000) for v in truth.cell_voltages]
    probes = dict(truth.temperatures)
    mosfet = probes.pop("mosfet", None)
    known = [t for t in probes.values() if t is not None]
    return {
        "voltage": _fit(truth.voltage, 100),
        "remaining_capacity": _fit(truth.remaining_capacity, 100),
        "nominal_capacity": _fit(truth.nominal_capacity, 100),
        "cycles": min(truth.cycles or 0, 0xFFFF),
        "soh": round(truth.soh or 0.0),
        "cell_voltages": cells,
        "max_cell_voltage": max(cells, default=0.0),
        "min_cell_voltage": min(cells, default=0.0),
        "temperatures": known,
        "mosfet_temperature": mosfet or 0.0,
        "ambient_temperature": ambient,
        "max_temperature": max(known, default=0.0),
        "min_temperature": min(known, default=0.0),
    }


def _filled(layout: Layout, empty: bytes, values: dict[str, Any]) -> bytes:
    """A block of zeros with its own counts, filled with the values that it has room for."""
    fields = parse(layout, empty, "block")
    return build(layout, fields | {k: v for k, v in values.items() if k in fields}, "block")


def _word(truth: Reading, table: dict[int, tuple[str, Condition]]) -> int:
    levels = {"alarm": truth.alarms, "protection": truth.protections, "fault": truth.faults}
    first = {told: bit for bit, told in reversed(table.items())}
    return sum(1 << bit for (level, c), bit in first.items() if c in levels[level])


def _limit(pack: Pack, setting: str, times: int = 1) -> float:
    return _fit(pack.settings[setting] * times, 10)


def _fit(value: float | None, per: int, high: int = 0xFFFF, zero: int = 0) -> float:
    """What is beyond the word stops at its end; `zero` is the raw value of 0."""
    return (min(max(round((value or 0.0) * per) + zero, 0), high) - zero) / per


def _parse_version(text: str) -> tuple[int, int, int]:
    match = re.fullmatch(r"(\d{1,3})\.(\d{1,3})(?:\.(\d{1,3}))?", text)
    if match is None or int(match[1]) > 255 or int(match[2]) > 255:
        raise TargetError(f"A JBD UP firmware is MAJOR.MINOR.PATCH, not {text!r}.")
    return int(match[1]), int(match[2]), int(match[3] or 0)
