"""Why an independent program may say something else than we do.

Each reason covers its own difference only: it has a rule that the two values must fulfil.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["REASONS", "Ours", "Reason"]


@dataclass(frozen=True)
class Ours:
    """Our decoding of the frames that a program was asked about."""

    reading: Mapping[str, Any]
    identity: Mapping[str, Any]
    frames: list[dict[str, Any]]
    """What each frame holds in the protocol's own names."""

    def candidates(self, key: str) -> list[Any]:
        """Our values under a name; several where several frames have it."""
        if key.startswith("identity."):
            return [self.identity.get(key.removeprefix("identity."))]
        if not key.startswith("values."):
            return [self.reading[key]] if key in self.reading else []
        name = key.removeprefix("values.")
        return [f[name] for f in self.frames if name in f]


Rule = Callable[[Any, Any, Ours], bool]


@dataclass(frozen=True)
class Reason:
    """A known difference."""

    name: str
    program: str
    protocols: tuple[str, ...]
    keys: tuple[str, ...]
    who: Literal["theirs is wrong", "ours is wrong", "different meaning"]
    text: str
    holds: Rule

    def covers(self, program: str, protocol: str, key: str) -> bool:
        """Whether it speaks of this value."""
        return (
            program.partition(" ")[0] == self.program
            and protocol in self.protocols
            and key in self.keys
        )


_WRAP = 655.36
"""What a 16-bit number of hundredths wraps around at."""


def _near(one: Any, two: Any) -> bool:
    return one is not None and two is not None and math.isclose(one, two, abs_tol=1e-6)


def _tenth(theirs: Any, mine: Any, ours: Ours) -> bool:
    """A tenth of ours in a frame with the flag of large packs; FFFF in a frame of Daren's."""
    if any(f.get("variant") == "daren" for f in ours.frames):
        return theirs in (-0.01, _WRAP - 0.01)
    flagged = any(f.get("scale_and_humidity", 0) & 0x80 for f in ours.frames)
    return flagged and _near(theirs * 10, mine)


def _unsigned(theirs: Any, mine: Any, ours: Ours) -> bool:
    """A negative number as a large one, of the plain or of the tenfold kind."""
    return any(
        _near(said, mine) or _tenth(said, mine, ours) for said in (theirs, round(theirs - _WRAP, 2))
    )


def _unknown(_theirs: Any, mine: Any, _ours: Ours) -> bool:
    return mine is None


def _parts_of_ours(theirs: Any, mine: Any, _ours: Ours) -> bool:
    """A selection of our temperatures, besides the filler FF."""
    return mine is not None and set(theirs) - {215.0} <= set(mine)


def _texts(ours: Ours) -> list[Any]:
    return [ours.identity.get("hardware"), ours.identity.get("model")]


_TENFOLD = (
    "it does not know the flag of large packs, in whose frames currents and capacities count "
    "tenfold, nor the boards of Daren, which send FFFF there"
)
_FLOWS = ("current", "remaining_capacity", "nominal_capacity")
_JK_GATED = (
    "jk_smart_sleep_voltage",
    "full_charge_voltage",
    "empty_voltage",
    "jk_request_charge_voltage",
    "float_voltage",
    "jk_device_address",
    "jk_precharge_time",
    "jk_heating_start",
    "jk_heating_stop",
    "jk_smart_sleep_delay",
    "discharge_utp",
    "discharge_utp_release",
)

REASONS: tuple[Reason, ...] = (
    Reason(
        "mosfet-twice",
        "aiobmsble",
        ("jk02",),
        ("temperatures",),
        "different meaning",
        "it lists the MOSFET's sensor twice where the board sends it in two places",
        lambda theirs, mine, _: set(theirs) == set(mine),
    ),
    Reason(
        "heater-of-24s",
        "aiobmsble",
        ("jk02",),
        ("heater",),
        "theirs is wrong",
        "it reads the 32S layout's heater from 24S boards too; unproven there, so unknown to us",
        _unknown,
    ),
    Reason(
        "probe-not-fitted",
        "aiobmsble",
        ("jbd",),
        ("temperatures",),
        "different meaning",
        "it shows -30.0 °C, which our decoder takes for a probe that is not fitted",
        lambda theirs, mine, _: [t for t in theirs if t != -30.0] == list(mine),
    ),
    Reason(
        "cells-sensors-only",
        "aiobmsble",
        ("daly-d2", "daly-p81"),
        ("temperatures",),
        "different meaning",
        "it gives the cells' sensors only, and takes the filler FF for 215 °C",
        _parts_of_ours,
    ),
    Reason(
        "text-backwards",
        "aiobmsble",
        ("daly-d2",),
        ("identity.hardware", "identity.firmware"),
        "different meaning",
        "it shows texts as they are sent, and some boards send them backwards",
        lambda theirs, mine, _: mine is not None and theirs == mine[::-1],
    ),
    Reason(
        "two-texts-in-one",
        "aiobmsble",
        ("daly-p81",),
        ("identity.firmware",),
        "theirs is wrong",
        "it takes the text behind the firmware for the end of it",
        lambda theirs, mine, ours: theirs[len(mine) :] in _texts(ours) and theirs.startswith(mine),
    ),
    Reason(
        "hardware-by-place",
        "aiobmsble",
        ("daly-p81",),
        ("identity.hardware",),
        "different meaning",
        "it goes by the place; two boards have texts of the form of a part number "
        "(H2.1_103E_30XF) in one place and of a family (DL_HKMS_3.2.E) in the other",
        lambda theirs, mine, ours: theirs in _texts(ours) and mine in _texts(ours),
    ),
    Reason(
        "serial-of-eight",
        "aiobmsble",
        ("jk02",),
        ("identity.serial_number",),
        "theirs is wrong",
        "it cuts the serial number after 8 of its letters",
        lambda theirs, mine, _: theirs == mine[:8] != mine,
    ),
    Reason(
        "bmstools-tenfold",
        "bmstools",
        ("jbd",),
        _FLOWS,
        "theirs is wrong",
        _TENFOLD,
        _tenth,
    ),
    Reason(
        "discharge-sign",
        "bmstools",
        ("jbd",),
        ("values.discharge_ocp",),
        "different meaning",
        "it keeps the minus with which the board stores the limit of discharging",
        lambda theirs, mine, _: _near(theirs, -mine),
    ),
    Reason(
        "signed-temperatures",
        "dalybms",
        ("daly-a5",),
        ("values.temperatures",),
        "theirs is wrong",
        "it takes the filler FF for a signed byte (-41 °C); such a probe is unknown in our reading",
        lambda theirs, mine, _: [215.0 if t == -41 else t for t in theirs] == list(mine),
    ),
    Reason(
        "unsigned-current",
        "ecoworthy-logger",
        ("jbd",),
        ("current",),
        "theirs is wrong",
        "it reads the current without its sign, so discharging shows as 600 A and more",
        _unsigned,
    ),
    Reason(
        "ecoworthy-tenfold",
        "ecoworthy-logger",
        ("jbd",),
        ("remaining_capacity", "nominal_capacity"),
        "theirs is wrong",
        _TENFOLD,
        _tenth,
    ),
    Reason(
        "setting-absent",
        "jkctl",
        ("jk02", "jk-bus"),
        tuple(f"values.{key}" for key in _JK_GATED),
        "different meaning",
        "it shows what the bytes hold; the board's own flags say that it has no such setting, "
        "so it is unknown to us",
        _unknown,
    ),
    Reason(
        "current-range",
        "jkctl",
        ("jk02", "jk-bus"),
        ("values.jk_current_range",),
        "different meaning",
        "it divides by 1000; sources disagree about the unit, so we show the bare number",
        lambda theirs, mine, _: _near(theirs * 1000, mine),
    ),
    Reason(
        "balance-is-pack-current",
        "mppsolar",
        ("jk02",),
        ("balance_current",),
        "theirs is wrong",
        "what it calls Balance_Current of a 24S board is the current of the pack",
        lambda theirs, _, ours: _near(theirs, ours.reading["current"]),
    ),
    Reason(
        "three-bytes-of-uptime",
        "mppsolar",
        ("jk02",),
        ("uptime",),
        "theirs is wrong",
        "it reads three of the four bytes, so the time begins anew after 194 days",
        lambda theirs, mine, _: theirs == mine % (1 << 24),
    ),
    Reason(
        "milliwatts",
        "mppsolar",
        ("jk02",),
        ("values.power",),
        "theirs is wrong",
        "it shows the milliwatts of a 24S board as watts",
        lambda theirs, mine, _: _near(theirs / 1000, mine),
    ),
    Reason(
        "byte-behind-model",
        "mppsolar",
        ("jk02",),
        ("values.model",),
        "theirs is wrong",
        "it takes the number of cells behind the model for its last letter",
        lambda theirs, mine, _: theirs[:-1] == mine and not theirs[-1].isprintable(),
    ),
    Reason(
        "serial-cut",
        "mppsolar",
        ("jk02",),
        ("values.serial_number",),
        "theirs is wrong",
        "it cuts the serial number after 11 of its letters",
        lambda theirs, mine, _: theirs == mine[:11] != mine,
    ),
    Reason(
        "sixteen-cells",
        "mppsolar",
        ("jk-nw",),
        ("refused",),
        "theirs is wrong",
        "its table of places fits a board with 16 cells only",
        lambda theirs, _mine, ours: (
            "16 cells" in theirs and len(ours.reading["cell_voltages"]) != 16
        ),
    ),
    Reason(
        "mppsolar-tenfold",
        "mppsolar",
        ("jbd",),
        _FLOWS,
        "theirs is wrong",
        _TENFOLD,
        _tenth,
    ),
    Reason(
        "signed-capacity",
        "mppsolar",
        ("jbd",),
        ("remaining_capacity", "nominal_capacity"),
        "theirs is wrong",
        "it reads capacities with a sign, so 327.68 Ah and more are negative",
        lambda theirs, mine, _: _near(theirs + _WRAP, mine),
    ),
)
