"""A simulated JBD board: the `DD … 77` answers of a pack, with factory mode and EEPROM.

What it does and why: `docs/protocols/jbd.md`. It behaves like the boards of the full read-outs
(`jbd-syssi-sp04s034-btsnoop-config-read`, `jbd-jakeler-dsview-bike`): settings are closed outside
factory mode (status 81), FETs are switched without it, and the name is whatever register A1 says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bmslink.errors import FrameError, TargetError
from bmslink.model import Condition, Reading, Switch
from bmslink.protocols.fields import build, parse
from bmslink.protocols.jbd import (
    COUNTERS,
    COUNTERS_LAYOUT,
    READ,
    WRITE,
    JBDFrame,
    JBDFramer,
    addressed_basic_layout,
    basic_layout,
    cells_layout,
)
from bmslink.protocols.jbd_settings import REGISTERS, STRINGS, register_layout
from bmslink.simulation.pack import Pack
from bmslink.simulation.responder import Answer, Responder

__all__ = ["JBDResponder"]
