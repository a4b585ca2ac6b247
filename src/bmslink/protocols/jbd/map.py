"""The settings of JBD boards: one row each, with limits and evidence.

Registers 10-3F were written by the vendor's desktop tool and read back in one recorded session
(`jbd-jakeler-dsview-bike2`, firmware 2.1), and read in full from firmware 8.0
(`jbd-syssi-sp04s034-btsnoop-config-read`). Limits: `docs/protocols/jbd.md`, settings. What
calibrates, what only the maker sets, and packed bytes whose meaning depends on the chip are shown
and never written. 42-47 are known from documents only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from bmslink.model import Identity
from bmslink.protocols.common.fields import is_set, parse
from bmslink.protocols.common.settings_map import SettingsMap, Slot, proof
from bmslink.protocols.jbd.settings import REGISTERS, TENFOLD, TENFOLD_BIT
from bmslink.settings.setting import Danger, Evidence, Kind, Setting

__all__ = ["CELL_COUNT", "FUNCTION_BITS", "NEWER", "balance_map", "jbd_map"]

FUNCTION_BITS, CELL_COUNT = 0x2D, 0x2F

_SEEN = {"2.1": "written and read back in full", "8.0": "read in full"}
"""Firmware -> what of the registers was recorded from it."""

_CALIBRATES = "it calibrates the board: a wrong value falsifies every measurement"
_CHIP = "what its bits mean depends on the measuring chip, which the board does not tell"
_HISTORY = "it is the battery's history"
_MAKER = "it is the maker's, and belongs to this one board"
_UNCLEAR = "sources disagree about what it means"

_Row = tuple[int, str, str, str, float, float, float]

_NUMBERS: tuple[_Row, ...] = (
    (0x10, "nominal_capacity", "Design capacity", "Ah", 1, 655.35, 0.01),
    (0x11, "cycle_capacity", "Capacity that counts as a cycle", "Ah", 1, 655.35, 0.01),
    (0x12, "full_charge_voltage", "Cell voltage that counts as full", "V", 2.5, 4.5, 0.001),
    (0x13, "empty_voltage", "Cell voltage that counts as empty", "V", 1.5, 3.5, 0.001),
    (0x18, "charge_otp", "Charge over-temperature", "°C", 0, 120, 0.1),
    (0x19, "charge_otp_release", "Charge over-temperature release", "°C", 0, 120, 0.1),
    (0x1A, "charge_utp", "Charge under-temperature", "°C", -40, 30, 0.1),
    (0x1B, "charge_utp_release", "Charge under-temperature release", "°C", -40, 30, 0.1),
    (0x1C, "discharge_otp", "Discharge over-temperature", "°C", 0, 120, 0.1),
    (0x1D, "discharge_otp_release", "Discharge over-temperature release", "°C", 0, 120, 0.1),
    (0x1E, "discharge_utp", "Discharge under-temperature", "°C", -40, 30, 0.1),
    (0x1F, "discharge_utp_release", "Discharge under-temperature release", "°C", -40, 30, 0.1),
    (0x20, "pack_ovp", "Pack over-voltage", "V", 4, 150, 0.01),
    (0x21, "pack_ovp_release", "Pack over-voltage release", "V", 4, 150, 0.01),
    (0x22, "pack_uvp", "Pack under-voltage", "V", 4, 150, 0.01),
    (0x23, "pack_uvp_release", "Pack under-voltage release", "V", 4, 150, 0.01),
    (0x24, "cell_ovp", "Cell over-voltage", "V", 2.5, 4.5, 0.001),
    (0x25, "cell_ovp_release", "Cell over-voltage release", "V", 2.4, 4.5, 0.001),
    (0x26, "cell_uvp", "Cell under-voltage", "V", 1.5, 3.5, 0.001),
    (0x27, "cell_uvp_release", "Cell under-voltage release", "V", 1.5, 3.9, 0.001),
    (0x28, "charge_ocp", "Charge over-current", "A", 1, 327, 0.01),
    (0x29, "discharge_ocp", "Discharge over-current", "A", 1, 327, 0.01),
    (0x2A, "balance_start_voltage", "Balancing begins above", "V", 2.0, 4.5, 0.001),
    (0x2B, "balance_delta", "Balancing begins at a difference of", "V", 0.005, 0.5, 0.001),
    (0x31, "jbd_led_time", "How long the LEDs stay on", "s", 0, 600, 1),
    (0x32, "jbd_soc_80_voltage", "Cell voltage at 80 %", "V", 1.5, 4.5, 0.001),
    (0x33, "jbd_soc_60_voltage", "Cell voltage at 60 %", "V", 1.5, 4.5, 0.001),
    (0x34, "jbd_soc_40_voltage", "Cell voltage at 40 %", "V", 1.5, 4.5, 0.001),
    (0x35, "jbd_soc_20_voltage", "Cell voltage at 20 %", "V", 1.5, 4.5, 0.001),
    (0x36, "jbd_hardware_cell_ovp", "Second cell over-voltage", "V", 2.5, 4.8, 0.001),
    (0x37, "jbd_hardware_cell_uvp", "Second cell under-voltage", "V", 1.0, 3.5, 0.001),
    (0x3A, "charge_utp_delay", "Charge under-temperature delay", "s", 1, 120, 1),
    (0x3A, "charge_otp_delay", "Charge over-temperature delay", "s", 1, 120, 1),
    (0x3B, "discharge_utp_delay", "Discharge under-temperature delay", "s", 1, 120, 1),
    (0x3B, "discharge_otp_delay", "Discharge over-temperature delay", "s", 1, 120, 1),
    (0x3C, "pack_uvp_delay", "Pack under-voltage delay", "s", 1, 120, 1),
    (0x3C, "pack_ovp_delay", "Pack over-voltage delay", "s", 1, 120, 1),
    (0x3D, "cell_uvp_delay", "Cell under-voltage delay", "s", 1, 120, 1),
    (0x3D, "cell_ovp_delay", "Cell over-voltage delay", "s", 1, 120, 1),
    (0x3E, "charge_ocp_delay", "Charge over-current delay", "s", 1, 255, 1),
    (0x3E, "charge_ocp_release", "Charge over-current release after", "s", 1, 255, 1),
    (0x3F, "discharge_ocp_delay", "Discharge over-current delay", "s", 1, 255, 1),
    (0x3F, "discharge_ocp_release", "Discharge over-current release after", "s", 1, 255, 1),
)

_SHOWN: tuple[tuple[int, str, str, str, str], ...] = (
    (0x14, "jbd_self_discharge", "Self-discharge", "", _UNCLEAR),
    (0x15, "jbd_production_date", "Production date (packed)", "", _MAKER),
    (0x16, "jbd_serial_number", "Serial number", "", _MAKER),
    (0x17, "jbd_cycle_count", "Cycles", "", _HISTORY),
    (0x2C, "jbd_shunt", "Shunt", "", _CALIBRATES),
    (0x2D, "jbd_function_bits", "Function word", "", "its bits are settings of their own"),
    (0x2E, "jbd_ntc_bits", "Temperature probes in use", "", "a probe left out protects nothing"),
    (0x2F, "cell_count", "Cells", "", "a wrong count falsifies every protection"),
    (0x30, "jbd_fet_control_time", "Switching delay", "s", _UNCLEAR),
    (0x38, "jbd_short_circuit_level", "Short circuit (packed)", "", _CHIP),
    (0x38, "jbd_overcurrent_2_level", "Second over-current (packed)", "", _CHIP),
    (0x39, "jbd_hardware_delays", "Delays of the second limits (packed)", "", _CHIP),
    (0x39, "short_circuit_release", "Short circuit release after", "s", _CHIP),
)

# Bits 0-5 mean the same in all sources; the others do not.
_BITS: tuple[tuple[int, str, str, Danger], ...] = (
    (0, "jbd_external_switch", "External switch input", Danger.POWER),
    (1, "jbd_load_detection", "Load must go before release", Danger.PROTECTION),
    (2, "balance_switch", "Balancing", Danger.NONE),
    (3, "balance_charging_only", "Balancing only while charging", Danger.NONE),
    (4, "jbd_leds", "LEDs", Danger.NONE),
    (5, "jbd_led_count", "LED count mode", Danger.NONE),
)

NEWER = range(0x42, 0x48)
"""Registers that only firmware from 2.0 on is said to have; no recorded board was asked."""
_POINTS: tuple[_Row, ...] = tuple(
    (at, f"jbd_soc_{soc}_voltage", f"Cell voltage at {soc} %", "V", 1.5, 4.5, 0.001)
    for at, soc in zip(NEWER, (90, 70, 50, 30, 10, 100), strict=True)
)
_COMMISSIONING = (
    "nominal_capacity",
    "cycle_capacity",
    "jbd_hardware_cell_ovp",
    "jbd_hardware_cell_uvp",
)
_OWN = ("jbd_production_date", "jbd_serial_number", "jbd_cycle_count", "jbd_shunt", "jbd_ntc_bits")


def _numbers(tenfold: bool, newer: bool) -> Iterator[Setting]:
    for slot, key, title, unit, low, high, step in (*_NUMBERS, *(_POINTS if newer else ())):
        counts_tenfold = tenfold and slot in TENFOLD
        yield Setting(
            key=key,
            title=title,
            slot=slot,
            unit=unit,
            minimum=low,
            maximum=high,
            step=10 * step if counts_tenfold else step,
            danger=Danger.COMMISSIONING if key in _COMMISSIONING else Danger.NONE,
            evidence=Evidence.DOCUMENT if slot in NEWER else Evidence.CAPTURE,
            reason="this board counts it tenfold, which nobody has recorded"
            if counts_tenfold
            else "",
        )


def _rows(tenfold: bool, newer: bool) -> Iterator[Setting]:
    yield from _numbers(tenfold, newer)
    kind: Kind = "switch"
    for bit, key, title, danger in _BITS:
        recorded = key == "balance_switch"  # the app's own switch: …-btsnoop-balancer-2
        yield Setting(
            key=key,
            title=title,
            slot=FUNCTION_BITS,
            name="jbd_function_bits",
            bit=bit,
            kind=kind,
            danger=danger,
            evidence=Evidence.CAPTURE if recorded else Evidence.APP,
        )
    for slot, key, title, unit, reason in _SHOWN:
        yield Setting(
            key=key, title=title, slot=slot, unit=unit, reason=reason, own=key in _OWN, step=0.001
        )


def jbd_map(
    identity: Identity, words: Mapping[int, bytes], live_tenfold: bool | None = None
) -> SettingsMap:
    """The map of a board; `words` are the registers 2D and 2F, which say how it counts, and 42
    where it answers for that. `live_tenfold`: how its live values count, if they were read."""
    function = words.get(FUNCTION_BITS)
    tenfold = bool(function and is_set(int.from_bytes(function, "big"), TENFOLD_BIT))
    newer = NEWER[0] in words
    read_only_reason = _contradiction(identity, words) or _scales(tenfold, live_tenfold)
    seen = _SEEN.get(identity.firmware or "", "")
    known = proof(identity.firmware, seen, "jbd", "registers")
    return SettingsMap(
        name="jbd-classic",
        evidence=known.evidence,
        slots=tuple(
            Slot(address=register, layout=TENFOLD.get(register, layout) if tenfold else layout)
            for register, layout in REGISTERS.items()
            if register <= 0x3F or (newer and register in NEWER)
        ),
        settings=tuple(_rows(tenfold, newer)),
        read_only_reason=read_only_reason,
        untested_reason=known.untested_reason,
    )


def balance_map(identity: Identity) -> SettingsMap:
    """The map of the one switch that is a setting, for a board whose registers were not read: a
    bit of the function word is the same whatever it counts in."""
    return replace(jbd_map(identity, {}).only(["balance_switch"]), read_only_reason="")


def _contradiction(identity: Identity, words: Mapping[int, bytes]) -> str:
    """Why these registers cannot mean what the map says; empty where nothing speaks against it."""
    word = words.get(CELL_COUNT, b"")
    if len(word) != 2 or len(words.get(FUNCTION_BITS, b"")) != 2:
        return "the board does not answer for the registers that say how it counts"
    count = parse(REGISTERS[CELL_COUNT], word, "cell count")["cell_count"]
    if identity.cell_count and count != identity.cell_count:
        return f"register 2F says {count} cells, the board reports {identity.cell_count}"
    return ""


def _scales(tenfold: bool, live: bool | None) -> str:
    """Why nobody knows in which unit the board counts, where its two flags disagree."""
    if live is None or live == tenfold:
        return ""
    one, other = ("tenfold", "singly") if tenfold else ("singly", "tenfold")
    return (
        f"register 2D says that currents and capacities count {one}, the live values count {other}"
    )
