"""The names of all settings that any board has, so that a slip of the pen is told from a setting
that this pack lacks."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache

from bmslink.settings.setting import NAMES, VENDORS

__all__ = ["no_name", "vendor_names"]


def no_name(key: str) -> str:
    """Why this is the name of no setting of any BMS; empty where it may be one.

    A slip of the pen must not pass for a setting that this pack lacks: then `partial` would leave
    out what somebody meant to protect the cells with.
    """
    if key in NAMES:
        return ""
    known = NAMES | vendor_names() if key.startswith(VENDORS) else NAMES
    if key in known:
        return ""
    near = get_close_matches(key, sorted(known), n=1)
    return f"no BMS has a setting {key!r}." + (f" Did you mean {near[0]}?" if near else "")


@cache
def vendor_names() -> frozenset[str]:
    """The names of what only one vendor has, over all shipped maps."""
    return frozenset(key for key in _keys() if key.startswith(VENDORS))


def _keys() -> Iterator[str]:
    """The keys of every map with all that it can offer."""
    # every protocol is loaded by this, and only a name that needs it pays for that
    from bmslink.model import Identity
    from bmslink.protocols.daly.a5.writing import a5_map
    from bmslink.protocols.daly.registers.d2 import DalyD2
    from bmslink.protocols.daly.registers.map import register_map
    from bmslink.protocols.daly.registers.p81 import DalyP81
    from bmslink.protocols.jbd.map import NEWER, jbd_map
    from bmslink.protocols.jbd.up.map import up_map
    from bmslink.protocols.jk.jk04.map import jk04_map
    from bmslink.protocols.jk.map import TABLE_BYTES, jk_map
    from bmslink.protocols.jk.modbus.writing import modbus_map
    from bmslink.protocols.jk.nw.writing import nw_map

    table, commands = b"\xff" * TABLE_BYTES, b"\xff" * 32
    maps = (
        jbd_map(Identity(protocol="jbd"), {NEWER[0]: b""}),
        up_map(),
        *(jk_map(variant, None, table, commands) for variant in ("24s", "32s")),
        jk04_map(None),
        modbus_map(None, table, commands),
        nw_map(),
        a5_map(None),
        *(register_map(d.name, d.dialect.table, None, {}) for d in (DalyD2, DalyP81)),
    )
    for each in maps:
        yield from each.by_key
