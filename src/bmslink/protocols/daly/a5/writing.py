"""The settings of Daly boards in the A5 protocol: eight bytes are written at once.

A write carries a whole frame, so what its neighbours hold is read first and sent along; bytes that
mean nothing are sent as 0, because old firmware leaves pieces of other answers in them. The
layouts are those of the vendor's PC tool; 50, 53, 5F and 60 were recorded being read
(`daly-can-params-heezes`), 21, D9 and DA being written (`docs/protocols/daly-a5.md`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Protocol

from bmslink.errors import LinkTimeout, SettingError
from bmslink.model import Adjustment, Command, Identity, Switch
from bmslink.protocols.common.fields import build
from bmslink.protocols.common.settings_map import (
    SettingsMap,
    Slot,
    WriteCommand,
    proof,
    silence_means_absent,
    some_of,
)
from bmslink.protocols.daly.a5.codec import DalyA5Codec, DalyFrame
from bmslink.protocols.daly.a5.layouts import CONTROLS, SWITCH
from bmslink.protocols.daly.settings import (
    CHEMISTRIES,
    CLOCK_FIELDS,
    CLOCK_WRITE,
    PARAMETERS,
    moment_bytes,
    moment_of,
)
from bmslink.protocols.parts import ClockSoc, SettingsAccess, Switches
from bmslink.settings.setting import Danger, Evidence, Setting

__all__ = ["DalyA5Board", "DalyA5ClockSoc", "DalyA5Settings", "DalyA5Switches", "a5_map"]

_CLOCK, _PACK_STATUS = 0x61, 0x90
_SEEN = ("20220810",)
_BOARD = "it is the board's own wiring"
_CALIBRATES = "it calibrates the board: a wrong value falsifies every measurement"
_NEVER = 0xFFFF  # s; no number of seconds
_CELL, _PACK, _AMPS = ("V", 0.5, 5.0, 0.001), ("V", 4.0, 250.0, 0.1), ("A", 0.1, 1000.0, 0.1)
_DEGREES, _PERCENT, _KELVIN = ("°C", -40, 120, 1), ("%", 0, 100, 0.1), ("K", 1, 100, 1)

_Limits = tuple[str, float, float, float]
_Row = tuple[str, str, _Limits]


def _levels(key: str, title: str, limits: _Limits) -> tuple[_Row, _Row]:
    return (f"{key}_warning", f"{title} warning", limits), (key, title, limits)


_NUMBERS: dict[int, tuple[_Row, ...]] = {
    0x50: (
        ("nominal_capacity", "Rated capacity", ("Ah", 1, 4000, 0.001)),
        ("daly_nominal_cell_voltage", "Nominal cell voltage", ("V", 1.0, 4.5, 0.001)),
    ),
    0x53: (("sleep_delay", "Sleeps after", ("s", 60, _NEVER - 1, 1)),),
    0x59: (
        *_levels("cell_ovp", "Cell over-voltage", _CELL),
        *_levels("cell_uvp", "Cell under-voltage", _CELL),
    ),
    0x5A: (
        *_levels("pack_ovp", "Pack over-voltage", _PACK),
        *_levels("pack_uvp", "Pack under-voltage", _PACK),
    ),
    0x5B: (
        *_levels("charge_ocp", "Charge over-current", _AMPS),
        *_levels("discharge_ocp", "Discharge over-current", _AMPS),
    ),
    0x5C: (
        *_levels("charge_otp", "Charge over-temperature", _DEGREES),
        *_levels("charge_utp", "Charge under-temperature", _DEGREES),
        *_levels("discharge_otp", "Discharge over-temperature", _DEGREES),
        *_levels("discharge_utp", "Discharge under-temperature", _DEGREES),
    ),
    0x5D: (*_levels("soc_high", "SOC high", _PERCENT), *_levels("soc_low", "SOC low", _PERCENT)),
    0x5E: (
        *_levels("cell_delta", "Cell difference", ("V", 0.005, 2.0, 0.001)),
        *_levels("temperature_delta", "Temperature difference", _KELVIN),
    ),
    0x5F: (
        ("balance_start_voltage", "Balancing begins above", ("V", 1.0, 5.0, 0.001)),
        ("balance_delta", "Balancing begins at a difference of", ("V", 0.001, 0.5, 0.001)),
    ),
    0x60: (("short_circuit_current", "Short circuit", ("A", 1, 65535, 1)),),
}

_WRITE_IDS: Mapping[int, int] = {n: PARAMETERS[n].write or 0 for n in _NUMBERS}
"""Parameter -> the id that writes it, of all that is ever written."""

_SHOWN: tuple[tuple[int, str, str, str, str], ...] = (
    (0x51, "daly_boards", "Measuring boards", "", _BOARD),
    (0x51, "daly_board_1_cells", "Cells of the first board", "", _BOARD),
    (0x51, "daly_board_1_sensors", "Sensors of the first board", "", _BOARD),
    (0x53, "daly_operating_mode", "Wakes by", "", _BOARD),
    (0x53, "daly_current_drift", "Smaller currents count as 0", "A", _CALIBRATES),
    (0x60, "daly_shunt_resistance", "Shunt", "Ω", _CALIBRATES),
)
_COMMISSIONING = ("nominal_capacity", "daly_nominal_cell_voltage", "short_circuit_current")


def _rows() -> Iterator[Setting]:
    for slot, rows in _NUMBERS.items():
        for key, title, (unit, low, high, step) in rows:
            yield Setting(
                key=key,
                title=title,
                slot=slot,
                unit=unit,
                minimum=low,
                maximum=high,
                step=step,
                absent=(_NEVER,) if key == "sleep_delay" else (),
                lowest=0.0 if key.startswith(("charge_ocp", "discharge_ocp")) else None,
                danger=Danger.COMMISSIONING if key in _COMMISSIONING else Danger.NONE,
                evidence=Evidence.APP,
            )
    yield Setting(
        key="chemistry",
        title="Chemistry",
        slot=0x53,
        kind="choice",
        choices=CHEMISTRIES,
        danger=Danger.COMMISSIONING,
        evidence=Evidence.APP,
    )
    for slot, key, title, unit, reason in _SHOWN:
        yield Setting(
            key=key, title=title, slot=slot, unit=unit, reason=reason, own=True, step=0.000001
        )


@cache
def a5_map(firmware: str | None) -> SettingsMap:
    """The map of a board with this firmware."""
    seen = "parameters recorded; writes as in the vendor's PC tool" if firmware in _SEEN else ""
    known = proof(firmware, seen, "daly-a5", "parameters")
    rows = tuple(_rows())
    return SettingsMap(
        name="daly-a5",
        evidence=known.evidence,
        slots=tuple(
            Slot(address=n, layout=PARAMETERS[n].layout) for n in sorted({r.slot for r in rows})
        ),
        settings=rows,
        untested_reason=known.untested_reason,
    )


class DalyA5Board(Protocol):
    """What the parts ask of the driver."""

    @property
    def name(self) -> str: ...

    @property
    def host(self) -> int:
        """Who we are to this board."""

    @property
    def address(self) -> int | None:
        """Which board is meant; `None`: the only one."""

    @property
    def codec(self) -> DalyA5Codec: ...

    async def ask_one(self, data_id: int) -> DalyFrame:
        """The frame that answers an id; `LinkTimeout` when none does."""


class DalyA5Settings(SettingsAccess[DalyFrame]):
    """The parameters of a Daly board."""

    settle = 0.5  # the vendor's tool waits 100-500 ms

    def __init__(self, board: DalyA5Board) -> None:
        super().__init__()
        self._board = board

    def likely_map(self, identity: Identity) -> SettingsMap:
        return a5_map(identity.firmware)

    async def find_map(self, identity: Identity) -> SettingsMap:
        return a5_map(identity.firmware)

    async def fetch(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        found = {}
        for slot in slots:
            with silence_means_absent():
                found[slot.address] = (await self._board.ask_one(slot.address)).data
        self.seen.add(some_of(slots, found))
        return found

    def shipped(self) -> SettingsMap:
        return a5_map(None)  # the rows of all of them

    def _make_write(self, slot: Slot, data: bytes) -> WriteCommand[DalyFrame]:
        write_id = _WRITE_IDS[slot.address]
        step = _command(self._board, write_id, data, f"parameter {slot.address:02X}")
        return replace(step, once=True)


class DalyA5Switches(Switches[DalyFrame]):
    """The two MOSFETs, by D9 and DA; a board with a tripped protection ignores them."""

    def __init__(self, board: DalyA5Board) -> None:
        super().__init__(
            board.name,
            commands=(Switch.CHARGE, Switch.DISCHARGE),
            missing={Switch.BALANCE: "nothing proves how this protocol switches the balancer"},
        )
        self._board = board

    async def command(self, command: Command) -> WriteCommand[DalyFrame]:
        self.require(command.switch)
        name = command.switch.key
        write_id = next(number for number, key in CONTROLS.items() if key == name)
        data = build(SWITCH, {"on": int(command.on), "residue": bytes(7)}, name)
        return _command(self._board, write_id, data, str(command))


class DalyA5ClockSoc(ClockSoc[DalyFrame]):
    """Clock and charge, which one frame sets."""

    def __init__(self, board: DalyA5Board) -> None:
        super().__init__(board.name, takes={"clock": "", "soc": ""}, missing={})
        self._board = board

    async def clock(self) -> datetime | None:
        """Id 61; the board counts the years from 2000."""
        try:
            return moment_of((await self._board.ask_one(_CLOCK)).data)
        except LinkTimeout:
            return None  # old firmware does not answer for it

    async def command(self, wish: Adjustment) -> WriteCommand[DalyFrame]:
        """Id 21 sets both at once, so what is to stay is read first and sent along
        (`daly-a5-uart-setrtcsoc-tx`)."""
        soc = wish.soc
        if soc is None:
            status = self._board.codec.decode(await self._board.ask_one(_PACK_STATUS))
            soc = float(status.values["soc"])
        elif not 0 <= soc <= 100:
            raise SettingError(f"A state of charge is 0 to 100 %, not {soc:g}.")
        clock = wish.clock or await self.clock()
        if clock is None:
            raise SettingError("The board does not tell its clock, which is set along: set both.")
        values = dict(zip(CLOCK_FIELDS, moment_bytes(clock), strict=True)) | {"soc": soc}
        data = build(CLOCK_WRITE, values, "clock and charge")
        return _command(self._board, PARAMETERS[_CLOCK].write or 0, data, "clock and charge")


def _command(board: DalyA5Board, write_id: int, data: bytes, what: str) -> WriteCommand[DalyFrame]:
    def answers(frame: DalyFrame) -> bool:
        mine = board.address in (None, frame.address)
        return frame.is_answer and frame.id == write_id and mine

    frame = DalyFrame(address=board.host, id=write_id, data=data)
    return WriteCommand(frame=frame, answer=answers, what=what)
