"""The settings of JK04 boards: the five registers that the vendor's app was recorded writing
(`sess-jk04-b2a16s-writes`, `sess-jk04-b5a24s-8.0.3M-writes`). The sessions show the changed
settings for 20 and 68, and the new cell count (1C) in the live records."""

from __future__ import annotations

from construct import Byte, Float32l, Int16ul, Struct

from bmslink.protocols.common.settings_map import SettingsMap, Slot, proof
from bmslink.settings.setting import Danger, Setting

__all__ = ["jk04_map"]

_SEEN = ("3.1.2", "3.3.0", "8.0.3M")

_SLOTS = (
    Slot(address=0x1C, layout=Struct("cell_count" / Int16ul)),
    Slot(address=0x20, layout=Struct("jk_power_off_voltage" / Float32l)),
    Slot(address=0x64, layout=Struct("balance_delta" / Float32l)),
    Slot(address=0x68, layout=Struct("balance_current" / Float32l)),
    Slot(address=0x6C, layout=Struct("balance_switch" / Byte)),
)

_SETTINGS = (
    Setting(
        key="cell_count",
        title="Cells",
        slot=0x1C,
        minimum=2,
        maximum=24,
        danger=Danger.COMMISSIONING,
    ),
    Setting(
        key="jk_power_off_voltage",
        title="The board switches itself off below",
        slot=0x20,
        unit="V",
        minimum=1.2,
        maximum=4.4,
        step=0.001,
        danger=Danger.POWER,
    ),
    Setting(
        key="balance_delta",
        title="Balancing begins at a difference of",
        slot=0x64,
        unit="V",
        minimum=0.003,
        maximum=1.0,
        step=0.001,
    ),
    Setting(
        key="balance_current",
        title="Highest balancing current",
        slot=0x68,
        unit="A",
        minimum=0.3,
        maximum=10.0,
        step=0.001,
    ),
    Setting(key="balance_switch", title="Balancing", slot=0x6C, kind="switch"),
)


def jk04_map(firmware: str | None) -> SettingsMap:
    """The map of a board with this firmware."""
    seen = "its records were recorded" if firmware in _SEEN else ""
    known = proof(firmware, seen, "jk04")
    return SettingsMap(
        name="jk04",
        balancer=True,
        evidence=known.evidence,
        slots=_SLOTS,
        settings=_SETTINGS,
        read_only_reason="" if firmware else "the board does not say which firmware it has",
        untested_reason=known.untested_reason,
    )
