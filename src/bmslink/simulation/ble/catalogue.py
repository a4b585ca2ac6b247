"""The radio modules that a simulated pack may have: what they show, and their habits.

Written from `docs/protocols/` (Bluetooth in jk02, jbd and daly-d2), not from what the drivers
expect, so that a wrong UUID there is not repeated here.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bmslink.errors import TargetError
from bmslink.protocols import DRIVERS, load_driver
from bmslink.protocols.base import Driver

__all__ = ["MODULES", "Characteristic", "Chunks", "Module", "Radio", "module_of"]

_MAX_MTU = 517
_LONGEST_NAME = 29
"""Bytes that fit into one advert."""


@dataclass(frozen=True, slots=True)
class Characteristic:
    """One characteristic of a module."""

    uuid: str
    """Four hex digits, or all of it."""
    can: str
    """Of `read`, `write` (acknowledged), `send` (without an answer) and `notify`, with blanks."""
    role: str = ""
    """`in`: bytes for the board; `out`: bytes from it; `both`; `wake`: an empty packet opens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A kind of radio module."""

    vendor: str
    """Whose boards have this module."""
    says: str
    """What is special about it, in one line."""
    name: str
    """What it advertises; `{}` is its address without colons."""
    prefix: str
    """How its addresses begin."""
    services: dict[str, tuple[Characteristic, ...]]
    """The first service is the one that is advertised."""
    company: int | None = None
    data: bytes = b""
    """Before the address in the manufacturer data."""
    chunks: tuple[int, ...] = ()
    """How long notifications are, over and over; empty: as long as may be."""
    mtu: int = 247
    """The largest packet it agrees to."""
    chatter: bytes = b""
    """What the module itself says in between."""
    locked: bool = False
    """Nothing passes before an empty packet came where `wake` is."""
    deaf: int = 0
    """How many packets after connecting only wake the board."""
    asks: bool = False
    """A pin means the vendor's own authentication, not Bluetooth pairing."""


_FF00 = (
    Characteristic("ff01", "read notify", "out"),
    Characteristic("ff02", "send write", "in"),
    Characteristic("ff03", "read write"),
)


def _of_radio(short: str) -> str:
    return f"02f00000-0000-0000-0000-00000000{short}"


_DALY_SERVICES = {
    "fff0": (
        Characteristic("fff1", "notify", "out"),
        Characteristic("fff2", "send write", "in"),
        Characteristic("fff3", "read send"),
    ),
    _of_radio("fe00"): (
        Characteristic(_of_radio("ff00"), "read"),
        Characteristic(_of_radio("ff01"), "send write", "wake"),
        Characteristic(_of_radio("ff02"), "notify"),
        Characteristic(_of_radio("ff03"), "read"),
        Characteristic(_of_radio("ff04"), "notify"),
        Characteristic(_of_radio("ff05"), "send"),
    ),
}

MODULES: dict[str, Module] = {
    "jk": Module(
        vendor="jk",
        says="JK: one FFE1 for both ways, and FFE2; AT chatter between the records",
        name="JK-B2A16S20P",
        prefix="C8:47:80",
        company=0x0B65,
        data=b"\x88\xa0",
        services={
            "ffe0": (
                Characteristic("ffe1", "send write notify", "both"),
                Characteristic("ffe2", "send write"),
            )
        },
        chunks=(128, 22),
        mtu=188,
        chatter=b"AT\r\n",
    ),
    "jk-two": Module(
        vendor="jk",
        says="JK, newer: two characteristics FFE1, one to write to and one that notifies",
        name="JK_PB2A16S20P",
        prefix="20:21:11",
        company=0x0B65,
        data=b"\x88\xa0",
        services={
            "ffe0": (
                Characteristic("ffe1", "send write", "in"),
                Characteristic("ffe1", "notify", "out"),
            )
        },
        chunks=(150,),
    ),
    "jbd": Module(
        vendor="jbd",
        says="JBD: notifies 20 bytes at most, loses the first request; with a pin asks for it",
        name="JBD-SP04S034",
        prefix="A4:C1:38",
        services={"ff00": _FF00},
        chunks=(20,),
        deaf=1,
        asks=True,
    ),
    "jbd-bridge": Module(
        vendor="jbd",
        says="JBD behind a DH04 bridge: FFF0",
        name="WTaHdB123456",
        prefix="70:3E:97",
        services={
            "fff0": (
                Characteristic("fff1", "notify", "out"),
                Characteristic("fff2", "send write", "in"),
            )
        },
        chunks=(20,),
    ),
    "daly": Module(
        vendor="daly",
        says="Daly: FFF0, and a service of the radio itself",
        name="DL-{}",
        prefix="41:18:12",
        company=0x0102,
        services=_DALY_SERVICES,
    ),
    "daly-locked": Module(
        vendor="daly",
        says="Daly, older: nothing passes before an empty packet to 02f0…ff01",
        name="DL-{}",
        prefix="41:18:12",
        company=0x0102,
        services=_DALY_SERVICES,
        locked=True,
    ),
}


def _as_declared(driver: type[Driver[Any]]) -> Module:
    """The first module that a driver declares, of a vendor that has none here yet. It carries
    bytes both ways, and proves nothing of the declaration."""
    gatt = driver.modules[0]
    pair = (Characteristic(gatt.notify, "notify", "out"), Characteristic(gatt.write, "send", "in"))
    both = (Characteristic(gatt.write, "send write notify", "both"),)
    return Module(
        vendor=driver.vendor,
        says=f"{gatt.name}: as its driver declares it",
        name=f"{driver.name}-{{}}",
        prefix="C0:FF:EE",
        services={gatt.service: both if gatt.notify == gatt.write else pair},
    )


def module_of(protocol: str, name: str | None = None) -> Module:
    """The module of that name, else the usual one of a protocol; `TargetError` if there is none.

    Any module may be had for any protocol: a wrong one is a way to try what happens then.
    """
    if name is not None:
        if name in MODULES:
            return MODULES[name]
        known = "; ".join(f"{key} ({module.says})" for key, module in MODULES.items())
        raise TargetError(f"There is no module {name!r}; known: {known}.")
    driver = load_driver(protocol) if protocol in DRIVERS else None
    if driver is not None and driver.modules:
        for module in MODULES.values():
            if module.vendor == driver.vendor:
                return module
        return _as_declared(driver)
    spoken = sorted(known for known in DRIVERS if load_driver(known).modules)
    raise TargetError(
        f"No board speaks {protocol} over Bluetooth; over Bluetooth are: {', '.join(spoken)}."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Radio:
    """How a pack is on the air; what is left away is as the module has it."""

    transport: str
    """bumble's name of a controller; `tcp-server:HOST:PORT` offers a virtual one instead."""
    module: str | None = None
    name: str | None = None
    chunks: str | None = None
    """`20`, `128+22`, or `any`."""
    mtu: int | None = None
    pin: str | None = None

    def settled(self, protocol: str) -> Module:
        """The module; `TargetError` for anything that cannot be."""
        if self.mtu is not None and not 23 <= self.mtu <= _MAX_MTU:
            raise TargetError(f"The largest packet is 23 to {_MAX_MTU} bytes, not {self.mtu}.")
        if self.pin is not None and not (
            self.pin.isascii() and self.pin.isdigit() and len(self.pin) == 6
        ):
            raise TargetError("The pin of a simulated module has six digits.")
        name = "x" if self.name is None else self.name
        if not name.isprintable() or not 0 < len(name.encode()) <= _LONGEST_NAME:
            raise TargetError(f"An advertised name has 1 to {_LONGEST_NAME} bytes, all printable.")
        if self.chunks is not None:
            Chunks.sizes(self.chunks)
        return module_of(protocol, self.module)


class Chunks:
    """Cuts what a board says into notifications."""

    def __init__(self, rule: str | None, module: Module) -> None:
        self._sizes = module.chunks if rule is None else self.sizes(rule)
        self._any = rule == "any"
        self._random = random.Random(7)
        self._rest = b""

    @staticmethod
    def sizes(rule: str) -> tuple[int, ...]:
        """`128+22` as numbers; `TargetError` for anything else."""
        if rule == "any":
            return ()
        parts = rule.split("+")
        sizes = tuple(int(p) for p in parts if p.isascii() and p.isdigit() and len(p) < 4)
        if len(sizes) != len(parts) or 0 in sizes:
            raise TargetError(
                f"{rule[:40]!r} says no lengths of notifications; write e.g. 20, 128+22 or any."
            )
        return sizes

    def cut(self, data: bytes, most: int) -> Iterator[bytes]:
        """The notifications of at most `most` bytes. With `any`, the end of one answer may wait
        for the next one (`rest`)."""
        if self._any:
            data, self._rest = self._rest + data, b""
            if self._random.random() < 0.5:
                keep = self._random.randrange(min(40, len(data)))
                data, self._rest = data[: len(data) - keep], data[len(data) - keep :]
        sizes = self._cycle(most)
        while data:
            size = next(sizes)
            yield data[:size]
            data = data[size:]

    def _cycle(self, most: int) -> Iterator[int]:
        sizes: Sequence[int] = self._sizes or (most,)
        if max(sizes) > most:  # a module that may not send as much fills each packet
            sizes = (most,)
        while True:
            yield from (self._random.randint(1, most) for _ in "x") if self._any else sizes

    def rest(self) -> bytes:
        """What waited for the next answer and waits no more."""
        rest, self._rest = self._rest, b""
        return rest
