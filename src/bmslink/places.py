"""Where a pack is, however its target is written.

One port has many names: links to it, `/dev/pts/N`, `a/../b`, another number after the adapter was
plugged in again. One server has many as well. So a place is known by several marks, the surest
first, and the first kind that two places both have decides whether they are the same.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bmslink.errors import TargetError
from bmslink.link.gatt import SeenDevice
from bmslink.link.transport import Endpoint, parse_target, split_host

__all__ = [
    "Located",
    "Place",
    "is_loopback",
    "look_up_soon",
    "named_place",
    "place_of",
    "recorded_place",
    "where",
]

_KINDS = ("usb", "socket", "radio", "name", "net", "path", "other")
"""The surest first: the adapter's serial number, where it is plugged in, a Bluetooth address, …"""
_RADIO = re.compile(
    r"(?:[0-9A-F]{2}[:-]?){5}[0-9A-F]{2}|[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}"
)
_HERE = "this computer"
_NET = ("tcp", "rfc2217", "modbus-tcp")
_LOOK_UP = 1.0
"""How long who may wait waits for the addresses of a name, s."""
_looking_up = threading.Lock()
_under_way: dict[str, threading.Event] = {}
"""The names that are being looked up, each with its end."""
_found: dict[str, tuple[str, ...]] = {}
"""Their addresses, as they were found last."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pack is."""

    marks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Kind -> what names it; one in common is enough."""
    address: int = 1
    """On a bus."""

    def same(self, other: Place) -> bool:
        """Whether two places are one, as far as their marks tell."""
        return self.address == other.address and self.same_line(other)

    def same_line(self, other: Place) -> bool:
        """Whether both are on one line, perhaps at different addresses of it."""
        for kind in _KINDS:
            mine, yours = self.marks.get(kind), other.marks.get(kind)
            if mine and yours:
                return bool(set(mine) & set(yours))
        return False

    @property
    def names(self) -> list[str]:
        """Everything that it is locked by: a change that shares one of them waits."""
        kinds = [kind for kind in self.marks if kind != "name" or len(self.marks) == 1]
        return [f"{kind} {mark} {self.address}" for kind in kinds for mark in self.marks[kind]]

    def to_dict(self) -> dict[str, Any]:
        """Its JSON object."""
        return {
            **{kind: list(marks) for kind, marks in self.marks.items()},
            "address": self.address,
        }


class Located(Protocol):
    """What knows more of its place once it is open: a board."""

    target: Endpoint

    def peer(self) -> SeenDevice | None:
        """The radio module at the other side, while a Bluetooth connection is open."""


def place_of(endpoint: Endpoint) -> str:
    """Where a pack is, for people: the same for most ways to write the target, and a target."""
    if endpoint.scheme == "sim":
        return str(endpoint)
    place = endpoint.place if endpoint.scheme == "serial" else endpoint.place.lower()
    address = endpoint.integer("address", 1)  # the one that drivers ask by default
    return f"{endpoint.scheme}://{place}" + (f"?address={address}" if address != 1 else "")


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach a port at this address."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def where(target: Endpoint | Located, *, ask: bool = True) -> Place:
    """The place of a target; of a device that is open, also what was learnt by opening it.

    `ask`: names of servers are looked up, for 1 s at most; in an event loop nothing waits for that,
    and what was found last counts (`look_up_soon`).
    """
    seen: SeenDevice | None = None
    if isinstance(target, Endpoint):
        endpoint = target
    else:
        endpoint, seen = target.target, target.peer()
    marks: dict[str, tuple[str, ...]]
    if endpoint.scheme == "serial":
        marks = _serial(endpoint.place)
    elif endpoint.scheme in _NET:
        marks = {"net": _hosts(endpoint.place, ask=ask)}
    elif endpoint.scheme == "ble":
        marks = _radio(endpoint.place, seen)
    elif endpoint.scheme == "replay":
        marks = {"path": (os.path.realpath(endpoint.place),)}
    else:
        return Place({"other": (place_of(endpoint),)})
    return Place(marks, endpoint.integer("address", 1) or 1)


def recorded_place(begin: Mapping[str, Any]) -> Place:
    """The place in a record of the journal; earlier versions kept only how the target was named."""
    found = begin.get("place")
    if isinstance(found, Mapping):
        address = found.get("address")
        marks = {
            kind: tuple(mark for mark in found[kind] if isinstance(mark, str))
            for kind in _KINDS
            if isinstance(found.get(kind), list)
        }
        return Place(marks, address if isinstance(address, int) else 1)
    target = begin.get("target")
    if not isinstance(target, str):
        return Place()
    try:
        return where(parse_target(target), ask=False)
    except TargetError:
        return Place({"other": (target,)})


_FOR_PEOPLE = ("path", "net", "name", "radio", "other", "socket", "usb")


def named_place(record: Mapping[str, Any]) -> str:
    """The place in a record or a backup, for people: how the target was written if it still leads
    there, else what the place itself is called."""
    target, place = str(record.get("target")), recorded_place(record)
    if not record.get("place") or recorded_place({"target": target}).same(place):
        return target
    name = next((place.marks[kind][-1] for kind in _FOR_PEOPLE if place.marks.get(kind)), target)
    return name if place.address == 1 else f"{name}, address {place.address}"


# -------------------------------------------------------------------------------------- kinds


def _serial(place: str) -> dict[str, tuple[str, ...]]:
    if os.name == "nt":
        path = place.upper().removeprefix("\\\\.\\")
        return {**_usb(path), "path": (path,)}
    told = Path(place).expanduser()
    spelled = told if "/" in place else Path("/dev") / place
    real = os.path.realpath(spelled)
    # the name itself counts as well: a link is made anew when the port behind it changes
    named = str(Path(os.path.realpath(spelled.parent)) / spelled.name)
    return {**_usb(real), "path": tuple(dict.fromkeys((real, named)))}


def _usb(path: str) -> dict[str, tuple[str, ...]]:
    """Of an adapter: its serial number, if no other one here has the same, and its socket."""
    from bmslink.transports.ports import usb_of

    return {kind: (mark,) for kind, mark in usb_of(path).items()}


def _hosts(place: str, *, ask: bool) -> tuple[str, ...]:
    """The names of a server's port: as it was written, and its addresses."""
    host, port = split_host(place)
    found = _addresses(host.partition("%")[0].lower(), ask=ask)
    return tuple(dict.fromkeys(f"{name}:{port}" for name in (host.lower(), *found)))


def look_up_soon(target: Endpoint) -> None:
    """Look up the name of its server in a thread, where it has one, for who asks `where` later."""
    if target.scheme in _NET and not _known_at_once(host := _host_of(target)):
        _begin_look_up(host)


def _host_of(target: Endpoint) -> str:
    return split_host(target.place)[0].partition("%")[0].lower()


def _known_at_once(host: str) -> bool:
    """Whether no other computer is asked for it."""
    return host == "localhost" or bool(_resolved(host, socket.AI_NUMERICHOST))


def _addresses(host: str, *, ask: bool) -> tuple[str, ...]:
    """Of a server, as far as that is known without waiting long: a resolver may hang."""
    if _known_at_once(host):
        return _resolved(host)
    if not ask:
        return ()
    done = _begin_look_up(host)
    if not _in_loop():
        done.wait(_LOOK_UP)
    return _found.get(host, ())


def _begin_look_up(host: str) -> threading.Event:
    """Set once it is over, whatever came of it; one at a time for each name."""
    with _looking_up:
        if (done := _under_way.get(host)) is not None:
            return done
        done = _under_way[host] = threading.Event()

    def look_up() -> None:
        found = _resolved(host)
        with _looking_up:
            if found:
                _found[host] = found
            del _under_way[host]
        done.set()

    threading.Thread(target=look_up, daemon=True).start()
    return done


def _resolved(host: str, flags: int = 0) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError):
        return ()
    return tuple(_plain(str(about[0])) for *_, about in found)


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _plain(address: str) -> str:
    """An address in one form; every one of this computer is the same place."""
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    found = mapped or found
    if found.is_loopback or found.is_unspecified or _ours(found):
        return _HERE
    return str(found)


def _ours(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether this computer has the address: only then can a socket be bound to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as trial:
            trial.bind((str(address), 0))
    except OSError:
        return False
    return True


def _radio(place: str, seen: SeenDevice | None) -> dict[str, tuple[str, ...]]:
    marks: dict[str, tuple[str, ...]] = {}
    told = seen.address if seen is not None else place
    if _RADIO.fullmatch(told.upper()):
        marks["radio"] = (re.sub("[:-]", "", told.upper()),)
    name = seen.name if seen is not None and seen.name else ("" if marks else place)
    if name:
        marks["name"] = (name.strip().casefold(),)
    return marks
