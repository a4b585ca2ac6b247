"""The byte road, and the one string that names a pack.

A transport opens, closes, writes bytes and calls back with what arrives, cut anywhere. It knows
nothing about requests or frames.

A target is `[PROTOCOL+]SCHEME://PLACE[?key=value&...]`, a bare serial port, or `sim://...`.
Some schemes have query keys of their own: `SCHEMES` names them, their transports explain them.
"""

from __future__ import annotations

import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, unquote, urlencode

from bmslink.arguments import decimal_comma, did_you_mean
from bmslink.errors import TargetError
from bmslink.link.gatt import Gatt, SeenDevice
from bmslink.link.mistakes import is_file, meant, part_of_address, without_slash
from bmslink.link.plugins import load_plugin, plugins

__all__ = ["SCHEMES", "Endpoint", "Line", "Pin", "Transport", "make_transport", "parse_target"]

OnData = Callable[[bytes], None]
OnLost = Callable[[Exception | None], None]

_LONGEST_PIN = 64
COMMON_KEYS = frozenset({"address", "baudrate", "timeout", "gap", "current_sign"})


@dataclass(frozen=True, slots=True)
class Line:
    """The physical line behind a transport: two transports with one name cannot both be open."""

    name: str
    settings: str = ""
    """What can only be the same for all who use it (`9600 baud`)."""


class Pin:
    """A secret: given, or asked of the user when a device wants it, once. Never shown."""

    def __init__(
        self, given: str | None = None, ask: Callable[[str], str | None] | None = None
    ) -> None:
        if given is not None and not (0 < len(given) <= _LONGEST_PIN and _clean(given)):
            raise TargetError(f"A pin has 1 to {_LONGEST_PIN} characters, all of them printable.")
        self._given = given
        self._ask = ask

    def __repr__(self) -> str:
        return "Pin(...)"

    @property
    def given(self) -> bool:
        """Whether there is one without asking."""
        return self._given is not None

    def get(self, what: str) -> str | None:
        """The secret; the user may be asked for `what`. `None`: there is none."""
        if self._given is None and self._ask is not None:
            answer = self._ask(what)
            self._given = Pin(answer or None).get(what)
            self._ask = None
        return self._given


class Transport(ABC):
    """A bidirectional byte stream to one place."""

    streaming_clock: float = 1.0
    """How many seconds of the device pass per second here (replay and simulation may hurry)."""

    @abstractmethod
    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        """Open exclusively. `on_data` gets bytes as they come, `on_lost` the end, once."""

    @abstractmethod
    async def close(self) -> None:
        """Release everything; may be called twice."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Send bytes; `LinkClosed` when the other side is gone."""

    def peer(self) -> SeenDevice | None:
        """The radio module at the other side, while a Bluetooth connection is open."""
        return None

    def line(self) -> Line | None:
        """The line that this would open, or `None` where each gets a line of its own."""
        return None

    def reached(self) -> str:
        """What was reached, while it is open, under one name for all ways to write the target;
        empty where only one program at a time can reach it."""
        return ""

    def turn(
        self, *, listens: bool = False, urgent: bool = False, again: bool = False
    ) -> AbstractAsyncContextManager[float]:
        """One question with its answers, undisturbed by others who share the line.

        Gives the loop time of the latest byte on the line, either way. `listens`: who asks wants
        to hear what the line brings outside of its turns as well. `urgent` ones go first; `again`:
        the turn was given up for somebody more urgent.
        """
        return nullcontext(float("-inf"))

    def outranked(self) -> bool:
        """Whether somebody waits for a `turn` on this line who is more urgent than this task."""
        return False

    def companions(self) -> int:
        """How many others use the same line in this process."""
        return 0


class WrappedTransport(Transport):
    """Another transport, of which a subclass changes what it must: all else is that one's."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.streaming_clock = inner.streaming_clock

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        await self.inner.open(on_data, on_lost)

    async def close(self) -> None:
        await self.inner.close()

    async def write(self, data: bytes) -> None:
        await self.inner.write(data)

    def peer(self) -> SeenDevice | None:
        return self.inner.peer()

    def line(self) -> Line | None:
        return self.inner.line()

    def reached(self) -> str:
        return self.inner.reached()

    def turn(self, **how: bool) -> AbstractAsyncContextManager[float]:
        return self.inner.turn(**how)

    def outranked(self) -> bool:
        return self.inner.outranked()

    def companions(self) -> int:
        return self.inner.companions()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A parsed target."""

    scheme: str
    place: str = ""
    """Port path, host:port, simulated protocol, file path, address."""
    protocol: str | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    name: str = field(default="", compare=False)
    """What bmslink.toml calls it; empty where nobody gave it a name."""

    @property
    def label(self) -> str:
        """The name and the target, for people."""
        return f"{self.name} ({self})" if self.name else str(self)

    @property
    def word(self) -> str:
        """What a command takes for it: its name where that means this one pack, else the target."""
        return str(self) if " " in self.name else self.name or str(self)

    def __str__(self) -> str:
        prefix = f"{self.protocol}+" if self.protocol else ""
        query = f"?{urlencode(self.query)}" if self.query else ""
        place = self.place.replace("%", "%25").replace("?", "%3F")
        return f"{prefix}{self.scheme}://{place}{query}"

    def number(self, key: str, default: float | None = None) -> float | None:
        """A query value as a number; `TargetError` if it is none."""
        text = self.query.get(key)
        if text is None:
            return default
        try:
            value = float(int(text, 16)) if text.lower().startswith("0x") else float(text)
        except (ValueError, OverflowError):
            raise TargetError(
                f"{key}={text!r} is not a number, in target {self}.{decimal_comma(text)}"
            ) from None
        if not -1e9 < value < 1e9:
            raise TargetError(f"{key}={text!r} is out of range, in target {self}.")
        return value

    def integer(self, key: str, default: int | None = None) -> int | None:
        """A query value as a whole number; `TargetError` if it is none."""
        value = self.number(key, default)
        if value is None:
            return None
        if value != int(value):
            raise TargetError(
                f"{key}={self.query[key]!r} must be a whole number, in target {self}."
            )
        return int(value)

    def with_query(self, **changes: object) -> Endpoint:
        """The same place with query keys set (`None` leaves a key alone)."""
        query = dict(self.query)
        query.update({k: str(v) for k, v in changes.items() if v is not None})
        return replace(self, query=query)


@dataclass(frozen=True, slots=True)
class Scheme:
    """Where a scheme's transport lives ("module:Class"), and the query keys it documents."""

    factory: str
    keys: frozenset[str] = frozenset()
    note: str = ""
    asked: bool = False
    """Whether what is spoken there can be found out by asking (`bmslink.discovery.scan`)."""


_SERIAL = "bmslink.transports.serial:SerialTransport"
_TCP = "bmslink.transports.tcp:TcpTransport"
_SIM_KEYS = frozenset(
    {"capacity", "cells", "chemistry", "soc", "seed", "speed", "fault", "firmware", "load", "pack"}
) | {"imbalance"}

SCHEMES: dict[str, Scheme] = {
    "serial": Scheme(_SERIAL, frozenset({"rts"}), asked=True),
    "tcp": Scheme(_TCP, asked=True),
    "socket": Scheme(_TCP, asked=True),
    "rfc2217": Scheme("bmslink.transports.rfc2217:RFC2217Transport", asked=True),
    "modbus-tcp": Scheme("bmslink.transports.modbus_tcp:ModbusTcpTransport"),
    "ble": Scheme("bmslink.transports.ble.transport:BleTransport", asked=True),
    "sim": Scheme("bmslink.simulation.transport:SimTransport", _SIM_KEYS),
    "replay": Scheme(
        "bmslink.simulation.replay.transport:ReplayTransport", frozenset({"from", "speed"})
    ),
}

_SECRETS = frozenset({"pin", "password", "passcode"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?)\]|([^\[\]:/\s]+)):([0-9]{1,5})/?")
_TARGET = re.compile(r"(?:(?P<protocol>[A-Za-z0-9][A-Za-z0-9-]*)\+)?(?P<scheme>[A-Za-z0-9-]+)://")
_EXAMPLES = " Write e.g. jbd+serial:///dev/ttyUSB0, jk02+tcp://192.168.1.20:8899 or sim://jbd."
_BARE_PORT = re.compile(r"(/|\./|\.\./|~/|\\\\\.\\|COM[0-9]+$|tty)", re.IGNORECASE)


def parse_target(text: str) -> Endpoint:
    """Take a target string apart; `TargetError` says what is wrong with it.

    Whether the protocol exists is not checked here: the driver registry knows.
    """
    shown, mark, query_text = text.partition("?")  # messages do not repeat the query: secrets
    if any(_key_of(pair) in _SECRETS for pair in query_text.split("&")):
        raise _secret()
    if not text.strip() or not _clean(text):
        raise TargetError("The target is empty or holds control characters.")
    match = _TARGET.match(shown)
    if match is None and (not _BARE_PORT.match(shown) or is_file(shown)):
        raise TargetError(f"{shown!r} is no target.{meant(shown, SCHEMES) or _EXAMPLES}")
    name = match["scheme"].lower() if match else "serial"
    scheme = _find_scheme(name)
    if scheme is None:
        known = [*SCHEMES, *plugins("bmslink.transports")]
        raise TargetError(
            f"Unknown scheme {name!r} in {shown!r}; known: {', '.join(known)}."
            f"{did_you_mean(name, known)}"
        )
    query = _parse_query(query_text, name, scheme) if mark else {}
    protocol = match["protocol"].lower() if match and match["protocol"] else None
    place = unquote(shown[match.end() :]) if match else shown
    if not _clean(place):
        raise TargetError(f"The place in {shown!r} holds control characters.")
    if name == "sim":
        protocol, place = _simulated(protocol, place), ""
    elif name in ("tcp", "socket", "rfc2217", "modbus-tcp"):
        name = "tcp" if name == "socket" else name
        split_host(place)
    elif not place.strip():
        raise TargetError(f"{shown!r} does not say where: nothing follows '://'.")
    elif whole := without_slash(name, place):
        raise TargetError(f"{shown!r} lacks a slash: write {match[0] if match else ''}{whole}.")
    elif name == "ble" and part_of_address(place):
        raise TargetError(
            f"{place!r} is no whole Bluetooth address: that has six pairs of digits, like "
            "C8:47:8C:E4:55:12. `bmslink scan --ble` lists those in reach."
        )
    return Endpoint(name, place, protocol, query)


def _clean(text: str) -> bool:
    """No control characters, and no half of a surrogate pair: it could not be written down."""
    return all(
        c >= " " and not "\x7f" <= c <= "\x9f" and not "\ud800" <= c <= "\udfff" for c in text
    )


def _simulated(protocol: str | None, place: str) -> str | None:
    """`sim://jbd` and `jbd+sim://` are the same."""
    name = place.lower()
    if name and not _NAME.fullmatch(name):
        raise TargetError(f"{place!r} is no protocol name: write e.g. sim://jbd.")
    if protocol and name and name != protocol:
        raise TargetError(f"The target names two protocols: {protocol} and {name}.")
    return protocol or name or None


def _parse_query(text: str, name: str, scheme: Scheme) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        raise TargetError("The part after '?' in the target is not key=value&....") from None
    query: dict[str, str] = {}
    for key, value in pairs:
        _check_key(key, name, scheme, query)
        if not _clean(value):
            raise TargetError(f"The value of {key} holds control characters.")
        query[key] = f"{query[key]},{value}" if key in query else value
    return query


def _key_of(pair: str) -> str:
    return pair.partition("=")[0].strip().lower()


def _secret() -> TargetError:
    return TargetError(
        "A target holds no secrets: take the pin or password out and use --pin-file, "
        "BMSLINK_PIN, the prompt or bmslink.toml."
    )


def _check_key(key: str, name: str, scheme: Scheme, seen: Mapping[str, str]) -> None:
    if _key_of(key) in _SECRETS:
        raise _secret()
    if key not in COMMON_KEYS | scheme.keys:
        known = sorted(COMMON_KEYS | scheme.keys)
        raise TargetError(
            f"Unknown key {key!r} for {name}://; known: {', '.join(known)}."
            f"{did_you_mean(key, known)}"
        )
    if key in seen and key != "fault":  # several faults may be asked for
        raise TargetError(f"The key {key!r} is given twice in the target.")


def split_host(place: str) -> tuple[str, int]:
    """`host:port` or `[ipv6]:port` taken apart; `TargetError` if it is neither."""
    match = _HOST.fullmatch(place)
    if match is None or not 0 < int(match[3]) < 65536:
        raise TargetError(f"{place!r} is not HOST:PORT (IPv6 goes in brackets: [::1]:8899).")
    return match[1] or match[2], int(match[3])


def load(path: str) -> object:
    """Import what a "module:name" string names."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _find_scheme(name: str) -> Scheme | None:
    """One of ours, or one that another package has."""
    if name in SCHEMES or name not in plugins("bmslink.transports"):
        return SCHEMES.get(name)
    found = load_plugin("bmslink.transports", name, Transport)
    keys: frozenset[str] = getattr(found, "query_keys", frozenset())
    return Scheme(plugins("bmslink.transports")[name], keys)


def require_scheme(endpoint: Endpoint) -> Scheme:
    """The scheme of an endpoint; `TargetError` where this version has no transport for it."""
    scheme = _find_scheme(endpoint.scheme)
    if scheme is None:
        raise TargetError(f"Unknown scheme {endpoint.scheme!r} (target {endpoint}).")
    if not scheme.factory:
        raise TargetError(f"{scheme.note} (target {endpoint})")
    return scheme


def make_transport(
    endpoint: Endpoint, modules: Sequence[Gatt] = (), pin: Pin | None = None
) -> Transport:
    """The transport for an endpoint, not yet opened. For a Bluetooth target, `modules` are the
    radio modules that may be there, and `pin` is for one that wants to be paired."""
    scheme = require_scheme(endpoint)
    factory = load(scheme.factory)
    if not callable(factory):
        raise TypeError(f"{scheme.factory} makes no transport")
    transport = factory(endpoint, modules, pin) if endpoint.scheme == "ble" else factory(endpoint)
    if not isinstance(transport, Transport):
        raise TypeError(f"{scheme.factory} makes no transport")
    return transport
