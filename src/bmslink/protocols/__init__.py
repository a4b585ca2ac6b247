"""The protocols: bytes to meaning and back, one module each, loaded when named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bmslink.arguments import did_you_mean
from bmslink.errors import TargetError
from bmslink.link.plugins import load_plugin, plugins
from bmslink.link.transport import load

if TYPE_CHECKING:
    from bmslink.protocols.base import Driver

__all__ = ["DRIVERS", "VENDORS", "is_protocol", "load_driver", "unknown_protocol", "vendor_of"]

DRIVERS: dict[str, str] = {
    "jk02": "bmslink.protocols.jk.jk02.driver:JK02",
    "jk-nw": "bmslink.protocols.jk.nw.driver:JKNW",
    # before jk-modbus, whose frames look alike but come from any unit: what fits both is theirs
    "daly-d2": "bmslink.protocols.daly.registers.d2:DalyD2",
    "daly-p81": "bmslink.protocols.daly.registers.p81:DalyP81",
    "jk-modbus": "bmslink.protocols.jk.modbus.driver:JKModbus",
    "jk-bus": "bmslink.protocols.jk.bus.driver:JKBus",
    "daly-a5": "bmslink.protocols.daly.a5.driver:DalyA5",
    "daly-sinowealth": "bmslink.protocols.daly.sinowealth:DalySinowealth",
    "jk04": "bmslink.protocols.jk.jk04.driver:JK04",
    "jbd": "bmslink.protocols.jbd.driver:JBD",
    "jbd-up": "bmslink.protocols.jbd.up.driver:JBDUP",
}
"""Protocol name -> "module:Driver"; nothing is imported before it is asked for."""


def vendor_of(name: str) -> str:
    """The vendor of a protocol: its driver lies in the folder of that name."""
    return DRIVERS[name].split(".")[2]


VENDORS: tuple[str, ...] = tuple(dict.fromkeys(vendor_of(name) for name in DRIVERS))
"""The vendors, by the names that a target may have; no driver is loaded for that."""


def is_protocol(name: str | None) -> bool:
    """Whether it is one of ours, or one that another package has."""
    return name is not None and (name in DRIVERS or name in plugins("bmslink.protocols"))


def unknown_protocol(name: str) -> TargetError:
    """The error for a name that is none; it names those that are, and the nearest."""
    if name in VENDORS:  # a target may have it, for it is looked for there
        theirs = ", ".join(each for each in DRIVERS if vendor_of(each) == name)
        return TargetError(f"{name} is a vendor; here one of its protocols is needed: {theirs}.")
    known = [*DRIVERS, *plugins("bmslink.protocols")]
    near = did_you_mean(name, (*VENDORS, *known))
    return TargetError(f"Unknown protocol {name!r}; known: {', '.join(known)}.{near}")


def load_driver(name: str) -> type[Driver[Any]]:
    """The driver of a protocol; `TargetError` names the known ones."""
    from bmslink.protocols import base  # construct is not loaded before a protocol is named

    path = DRIVERS.get(name)
    if path is None:
        if is_protocol(name):
            return load_plugin("bmslink.protocols", name, base.Driver)
        raise unknown_protocol(name)
    driver = load(path)
    if not (isinstance(driver, type) and issubclass(driver, base.Driver)):
        raise TypeError(f"{path} is no driver")
    return driver
