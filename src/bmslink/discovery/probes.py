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

The questions are data of the drivers (`Driver.probes`); here they get their order. The places
(`Turn.place`) in use:

| baud | place | question |
|--:|--:|---|
| 115200 | 10 | JK NW |
| | 20 | JK Modbus, address 1 |
| | 30 | JK02 |
| | 40 | JK Modbus, all other addresses |
| | 50 | JK's triggers |
| | 60 | JK NW again |
| 9600 | 10 | Daly D2 |
| | 20 | Daly 81/51, board 1 |
| | 30 | JBD |
| | 40 | Daly A5 |
| | 50 | JK Modbus, address 1 |
| | 60 | JBD UP, address 1 |
| | 70 | JBD, address 1 |
| | 80 | Daly A5 as the app asks |
| | 90 | JBD again |
| | 100 | Sinowealth |
| | 110 | boards 2 to 4 of Daly 81/51, A5 and JBD UP |
| | 120 | boards 5 to 15 of Daly 81/51 and A5 |
| | 130 | JBD, other addresses |
| | 140 | JK Modbus, other addresses |
| | 150 | JBD UP, other addresses |
| any | 900 | what is new |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bmslink.protocols import DRIVERS, load_driver
from bmslink.protocols.probe import Probe

__all__ = ["GLITCH", "LATE", "LISTEN", "PROBES", "ROUND", "STEPS", "ProbeStep"]

LISTEN = 3.0
"""s of silence before anything is sent. In a round of 4.4 to 6 s a JK master asks 15 addresses,
absent ones for 220 ms each, so it is never silent for so long (`docs/protocols/jk-bus.md`)."""
LATE = 1.0
"""s that a slow Modbus device, or the gateway before it, may take to answer a read."""
ROUND = 6.5
"""s that are listened for where somebody speaks: a whole round of a JK master."""
GLITCH = 4
"""Bytes that the opening of a port, or a board with its TX line down, may make out of nothing."""


_SPEEDS = (115200, 9600)
"""baud, in the order in which they are tried; any others come later, the fastest first."""


@dataclass(frozen=True, slots=True)
class ProbeStep:
    """One question at one speed to one address."""

    probe: Probe
    baudrate: int
    address: int | None = None


def _own(name: str) -> list[Probe]:
    """The questions of a driver; those that it has from the driver it is built on find that."""
    return [probe for probe in load_driver(name).probes if probe.protocol == name]


_OWN = {name: _own(name) for name in DRIVERS}
PROBES: tuple[Probe, ...] = tuple(
    sorted((probes[0] for probes in _OWN.values() if probes), key=lambda probe: probe.rank)
)
"""One of each protocol; where several answer at one place, the first is the best to use."""


def _steps() -> Iterator[tuple[tuple[int, ...], ProbeStep]]:
    """Every question with what it is sorted by."""
    for probe in (probe for probes in _OWN.values() for probe in probes):
        for turn in probe.turns:
            known = turn.baudrate in _SPEEDS
            speed = _SPEEDS.index(turn.baudrate) if known else len(_SPEEDS)
            for number, address in enumerate(turn.addresses):
                key = (speed, -turn.baudrate, turn.place, number, probe.rank)
                yield key, ProbeStep(probe, turn.baudrate, address)


STEPS: tuple[ProbeStep, ...] = tuple(step for _, step in sorted(_steps(), key=lambda each: each[0]))
"""The default set, in the order in which it is gone through."""
