"""The protocols: bytes to meaning and back, one module each, loaded when named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bmslink.errors import TargetError
from bmslink.transport import load

if TYPE_CHECKING:
    from bmslink.protocols.base import Driver

__all__ = ["DRIVERS", "load_driver"]

DRIVERS: dict[str, str] = {
    "jk02": "bmslink.protocols.jk02:JK02",
    "jk-nw": "bmslink.protocols.jk_nw:JKNW",
    # before jk-modbus, whose frames look alike but come from any unit: what fits both is theirs
    "daly-d2": "bmslink.protocols.daly_d2:DalyD2",
    "daly-p81": "bmslink.protocols.daly_p81:DalyP81",
    "jk-modbus": "bmslink.protocols.jk_modbus:JKModbus",
    "jk-bus": "bmslink.protocols.jk_bus:JKBus",
    "daly-a5": "bmslink.protocols.daly_a5:DalyA5",
    "daly-sinowealth": "bmslink.protocols.daly_sinowealth:DalySinowealth",
    "jk04": "bmslink.protocols.jk04:JK04",
    "jbd": "bmslink.protocols.jbd:JBD",
    "jbd-up": "bmslink.protocols.jbd_up:JBDUP",
}
"""Protocol name -> "module:Driver"; nothing is imported before it is asked for."""

VENDORS: dict[str, str] = {"jk": "JK (Jikong)", "daly": "Daly", "jbd": "JBD (Jiabaida)"}


def load_driver(name: str) -> type[Driver[Any]]:
    """The driver of a protocol; `TargetError` names the known ones."""
    from bmslink.protocols import base  # construct is not loaded before a protocol is named

    path = DRIVERS.get(name)
    if path is None:
        raise TargetError(f"Unknown protocol {name!r}; known: {', '.join(DRIVERS)}.")
    driver = load(path)
    if not (isinstance(driver, type) and issubclass(driver, base.Driver)):
        raise TypeError(f"{path} is no driver")
    return driver
