"""The questions that find a board on a serial line: what is sent, where, and in which order.

Everything here is a read of its protocol's own fact sheet, byte for byte what its driver sends,
and chosen so that no board of another protocol can take it for a write:

* Only function 03 goes to addresses where any Modbus device may sit. JK's trigger is a Modbus
  write by its form, so it goes only to an address that has stayed silent to function 03 for
  `LATE`: a Modbus device must answer that, if only by refusing. It knows one speed, and at
  another it is not sent.
* JBD's `DD`, Daly's `A5`, JK's `4E 57` and `AA 55 90 EB` have no right CRC for a Modbus device,
  no right start for each other, and at another speed they are noise to everybody.
* JBD UP's 78 is a function that Modbus does not know: a Modbus device refuses it.
* Sinowealth's three bytes have no checksum, so they come when all others have had their turn,
  and two of its answers must be right.

115200 baud comes first: that is where a JK master speaks, and `LISTEN` is spent there, because
bytes of any slower speaker show there too. Then 9600 baud, Modbus-shaped questions before the
others, which would break the framing on a bus. At each speed the usual address of every protocol
comes before the unusual ones, only the triggers come when all addresses were read. JK's NW, JBD and
Daly's A5 are asked twice: the first request may only wake them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bmslink.link.link import Frame
from bmslink.model import Identity
from bmslink.protocols.common.rtu import RTUFrame
from bmslink.protocols.daly import sinowealth
from bmslink.protocols.daly.a5 import codec as a5
from bmslink.protocols.daly.registers import framing as registers
from bmslink.protocols.jbd import framing as jbd
from bmslink.protocols.jbd.layouts import BASIC_MINIMUM
from bmslink.protocols.jbd.up import framing as jbd_up
from bmslink.protocols.jbd.up.driver import STATUS as UP_STATUS
from bmslink.protocols.jk import bus as jk_bus
from bmslink.protocols.jk.jk02 import framing as jk02
from bmslink.protocols.jk.modbus import codec as jk_modbus_codec
from bmslink.protocols.jk.modbus import driver as jk_modbus
from bmslink.protocols.jk.modbus.map import INFO as INFO_TABLE
from bmslink.protocols.jk.nw import framing as jk_nw

__all__ = ["GLITCH", "LATE", "LISTEN", "PROBES", "ROUND", "STEPS", "Probe", "ProbeStep"]

LISTEN = 3.0
"""s of silence before anything is sent. In a round of 4.4 to 6 s a JK master asks 15 addresses,
absent ones for 220 ms each, so it is never silent for so long (`docs/protocols/jk-bus.md`)."""
LATE = 1.0
"""s that a slow Modbus device, or the gateway before it, may take to answer a read."""
ROUND = 6.5
"""s that are listened for where somebody speaks: a whole round of a JK master."""
GLITCH = 4
"""Bytes that the opening of a port, or a board with its TX line down, may make out of nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One question, and what counts as its answer."""

    protocols: tuple[str, ...]
    """Who may answer it; where there are two, the first whose codec understands the answer."""
    question: str
    """What it is, for people."""
    ask: Callable[[int | None], Any]
    """The frame for an address."""
    fits: Callable[[Any, Any], bool]
    """Whether a frame (second) is the answer to that question (first)."""
    within: float
    """s until the answer begins, with what a USB adapter adds."""
    speaker: Callable[[Any], int | None] = lambda frame: None
    """The address that an answer names."""
    proves: Callable[[Identity], bool] = lambda identity: True
    """Whether what the answer says can be true of such a board."""
    confirm: Any = None
    """A second question that must be answered too, where a check of 8 bits is all there is."""
    overhears: bool = True
    """Whether its frames can be recognised without having asked."""
    after: str | None = None
    """A protocol that must have met silence at the same address and speed, `LATE` ago."""

    @property
    def protocol(self) -> str:
        """The protocol it is made for."""
        return self.protocols[0]


# ------------------------------------------------------------------------------------------- JK


def _jk_info(address: int | None) -> RTUFrame:
    offset, count = jk_modbus.IDENTITY_READS[0]
    return jk_modbus_codec.read_request(address or 1, INFO_TABLE.base + offset, count)


def _read_answer(asked: RTUFrame, frame: RTUFrame) -> bool:
    return (
        frame.shape == "data"
        and not frame.doubtful
        and frame.unit == asked.unit
        and len(frame.data) == 2 * asked.count
    )


def _is_jk(identity: Identity) -> bool:
    """Any Modbus device may answer a read; only a JK board has a model and a version there."""
    model, firmware = identity.model or "", identity.firmware or ""
    return model.isprintable() and len(model) > 1 and bool(re.match(r"V?\d+\.\d", firmware))


def _acknowledged(asked: RTUFrame, frame: Frame) -> bool:
    return (
        isinstance(frame, RTUFrame)
        and frame.shape == "written"
        and (frame.unit, frame.register) == (asked.unit, asked.register)
    )


JK_NW = Probe(
    protocols=("jk-nw",),
    question="read all",
    ask=lambda address: jk_nw.read_all_request(),
    fits=lambda asked, frame: (
        frame.kind == jk_nw.REPLY and frame.command == jk_nw.READ_ALL and bool(frame.data)
    ),
    within=0.2,  # boards take 26 to 100 ms
)
JK_MODBUS = Probe(
    protocols=("jk-modbus",),
    question="model and versions, function 03",
    ask=_jk_info,
    fits=_read_answer,
    within=0.09,  # as on the bus
    speaker=lambda frame: frame.unit,
    proves=_is_jk,
)
JK_BUS = Probe(
    protocols=("jk-bus",),
    question="device info, trigger 161C",
    ask=lambda address: jk_bus.trigger(address or 1, jk02.INFO),
    fits=_acknowledged,
    within=0.09,  # boards take 38 ms
    speaker=lambda frame: (
        frame.unit if isinstance(frame, RTUFrame) and frame.shape == "written" else None
    ),
    after="jk-modbus",
)
JK02 = Probe(
    protocols=("jk02", "jk04"),
    question="device info, command 97",
    ask=lambda address: jk02.command(jk02.READ_INFO),
    fits=lambda asked, frame: not frame.command and frame.code == jk02.INFO,
    within=0.25,
)

# ----------------------------------------------------------------------------------------- Daly


def _daly_read(unit: int, register: int, count: int) -> RTUFrame:
    return registers.read_request(unit, register, count)


def _p81_answer(asked: RTUFrame, frame: RTUFrame) -> bool:
    mine = frame.unit == asked.unit - registers.ASKING + registers.ANSWERING
    return mine and frame.shape == "data" and len(frame.data) == 2 * asked.count


def _a5_host(address: int | None) -> int:
    return a5.HOST_PC if address is None else a5.HOST_OF_BOARD + address


def _a5_answer(asked: a5.DalyFrame, frame: a5.DalyFrame) -> bool:
    """Any board may answer the PC and the app; behind another host's address stands one board."""
    board = asked.address - a5.HOST_OF_BOARD
    anyone = asked.address in (a5.HOST_PC, a5.HOST_APP)
    return frame.is_answer and frame.id == asked.id and (anyone or frame.address == board)


def _a5(ask: Callable[[int | None], a5.DalyFrame]) -> Probe:
    return Probe(
        protocols=("daly-a5",),
        question="id 90",
        ask=ask,
        fits=_a5_answer,
        within=0.14,
        speaker=lambda frame: frame.address if frame.is_answer else None,
    )


DALY_D2 = Probe(
    protocols=("daly-d2",),
    question="registers 00-3D of unit D2",
    ask=lambda address: _daly_read(registers.D2_UNIT, 0, 0x3E),
    fits=_read_answer,
    within=0.2,
)
DALY_P81 = Probe(
    protocols=("daly-p81",),
    question="registers 00-3F of unit 80 + address",
    ask=lambda address: _daly_read(registers.ASKING + (address or 1), 0, 0x40),
    fits=_p81_answer,
    within=0.14,
    speaker=lambda frame: registers.speaking_board(frame.unit) or None,
)
DALY_A5 = _a5(lambda address: a5.read_request(0x90, _a5_host(address)))
DALY_A5_APP = _a5(lambda address: a5.read_request(0x90, a5.HOST_APP))
SINOWEALTH = Probe(
    protocols=("daly-sinowealth",),
    question="commands 0B and 17",
    ask=lambda address: sinowealth.request(sinowealth.VOLTAGE),
    fits=lambda asked, frame: not frame.request and frame.command == asked.command,
    within=0.3,
    confirm=sinowealth.request(sinowealth.PACK_CONFIG),
    overhears=False,  # its answers say nothing of what they are
)

# ------------------------------------------------------------------------------------------ JBD


def _jbd_answer(asked: jbd.JBDFrame, frame: jbd.JBDFrame) -> bool:
    mine = frame.is_answer and frame.address == asked.address
    whole = frame.code != 0 or len(frame.data) >= BASIC_MINIMUM
    return mine and frame.mark in (asked.code, jbd.READ) and whole


def _up_answer(asked: jbd_up.UPFrame, frame: jbd_up.UPFrame) -> bool:
    def head(frame: jbd_up.UPFrame) -> tuple[int, ...]:
        return frame.address, frame.function, frame.start, frame.end

    return frame.is_answer and head(frame) == head(asked)


JBD = Probe(
    protocols=("jbd",),
    question="register 03",
    ask=lambda address: jbd.read_request(0x03, address),
    fits=_jbd_answer,
    within=0.14,  # boards take up to 71 ms
    speaker=lambda frame: frame.address,
)
JBD_UP = Probe(
    protocols=("jbd-up",),
    question="block 1000",
    ask=lambda address: jbd_up.read_request(UP_STATUS, address or 1),
    fits=_up_answer,
    within=0.42,  # 0.15 to 0.35 s
    speaker=lambda frame: frame.address if frame.is_answer else None,
)

PROBES = (JK_NW, JK_MODBUS, JK_BUS, JK02, DALY_D2, DALY_P81, DALY_A5, JBD, JBD_UP, SINOWEALTH)
"""One of each protocol; where several answer at one place, the first is the best to use: a D2
answer is one moment under one CRC, A5's are seven; what is heard on JK's bus without a name may
be a plain JK02 stream as well."""

# ---------------------------------------------------------------------------------------- order


@dataclass(frozen=True, slots=True)
class ProbeStep:
    """One question at one speed to one address."""

    probe: Probe
    baudrate: int
    address: int | None = None


def _interleaved(
    baudrate: int, probes: Sequence[Probe], addresses: Sequence[int | None]
) -> list[ProbeStep]:
    return [ProbeStep(probe, baudrate, address) for address in addresses for probe in probes]


STEPS: tuple[ProbeStep, ...] = (
    ProbeStep(JK_NW, 115200),
    ProbeStep(JK_MODBUS, 115200, 1),
    ProbeStep(JK02, 115200),
    *_interleaved(115200, (JK_MODBUS,), range(2, 16)),
    *_interleaved(115200, (JK_BUS,), range(1, 16)),
    ProbeStep(JK_NW, 115200),
    ProbeStep(DALY_D2, 9600),
    ProbeStep(DALY_P81, 9600, 1),
    ProbeStep(JBD, 9600),
    ProbeStep(DALY_A5, 9600),
    ProbeStep(JK_MODBUS, 9600, 1),  # UART protocol 013
    ProbeStep(JBD_UP, 9600, 1),
    ProbeStep(JBD, 9600, 1),
    ProbeStep(DALY_A5_APP, 9600),
    ProbeStep(JBD, 9600),
    ProbeStep(SINOWEALTH, 9600),
    *_interleaved(9600, (DALY_P81, DALY_A5, JBD_UP), range(2, 5)),
    *_interleaved(9600, (DALY_P81, DALY_A5), range(5, 16)),
    *_interleaved(9600, (JBD,), (0, 2, 3, 4)),
    *_interleaved(9600, (JK_MODBUS,), range(2, 16)),
    *_interleaved(9600, (JBD_UP,), range(5, 17)),
)
"""The default set, in the order in which it is gone through."""
