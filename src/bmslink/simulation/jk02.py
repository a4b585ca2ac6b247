"""A simulated JK board: 97 and 96 start its stream of live records, writes change its settings.

It says what the boards of the captures say: `sess-jk02-32s-pb2a16s20p-15.41-heating`,
`sess-jk02-32s-pb-14.20-precharge`, `jk02-24s-b2a24s20p-10.07-pdus` and others gave the identity,
the enable flags and the order and delays of the answers. `docs/protocols/jk.md` has the facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from bmslink.errors import TargetError
from bmslink.model import Reading, Switch
from bmslink.protocols.fields import Layout, Scaled, build, parse
from bmslink.protocols.jk02_framing import (
    ACK,
    CELLS,
    INFO,
    READ_INFO,
    READ_SETTINGS,
    SETTINGS,
    JK02Frame,
    JK02Framer,
    command,
    record,
)
from bmslink.protocols.jk02_layouts import CELL_INFO, DEVICE_INFO, PAYLOAD, SLOTS
from bmslink.protocols.jk02_reading import ALARMS, CHEMISTRIES
from bmslink.protocols.jk_settings import REGISTERS, SETTINGS_LAYOUTS
from bmslink.simulation.pack import Pack
from bmslink.simulation.responder import Answer, Responder

__all__ = ["MODELS", "JK02Responder"]


class Model(NamedTuple):
    """What tells one firmware from another: names, and which fields it says it has (hex)."""

    vendor_id: str
    hardware: str
    variant: str = "32s"
    cell_flags: str = ""
    setting_flags: str = ""
    command_flags: str = ""


_CODES = "900f00000000c0d80300000000010000"  # bytes 8-23 of the command flags, 11.x boards
_PB_CODES = "901f00000000c0d8e7fe{}000001000000000000"

MODELS: dict[str, Model] = {
    "10.07": Model("JK-B2A24S20P", "10.XG", "24s"),
    "11.17": Model(
        "JK_B2A20S20P", "11.XW", "32s",
        "feff7fdc1f01000000000000", "7cf8ffff0f00000000", "7cf8fff30f000000" "00000000" + _CODES,
    ),
}
