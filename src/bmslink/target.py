"""From what somebody typed to a target that can be opened."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Any, Literal, cast
from urllib.parse import quote

from bmslink.errors import TargetError
from bmslink.link.capture import open_capture
from bmslink.link.link import Timing
from bmslink.link.transport import Endpoint, Pin, parse_target, require_scheme
from bmslink.packs import find_pack, named
from bmslink.protocols import DRIVERS, VENDORS, is_protocol, load_driver, vendor_of
from bmslink.protocols.base import Options

__all__ = ["addresses_of", "options_of", "resolve", "resolve_each", "settled", "timing_of"]

_ONE = r"(?:0[xX][0-9A-Fa-f]{1,2}|[1-9][0-9]{0,2}|0)"
_ADDRESSES = re.compile(rf"{_ONE}(?:-{_ONE})?(?:,{_ONE}(?:-{_ONE})?)*")
_MOST_PACKS = 64


def resolve(
    target: str | os.PathLike[str] | Endpoint,
    *,
    protocol: str | None = None,
    address: int | None = None,
    baudrate: int | None = None,
    timeout: float | None = None,
) -> Endpoint:
    """A target (or a name from bmslink.toml, or a vendor) with its options applied; a path is a
    serial port.

    Where its protocol can be found out by asking, it stays `None` or a vendor until the device is
    opened (`settled`). Raises `TargetError` for everything else that does not say the protocol.
    """
    if isinstance(target, str) and target.lower() in VENDORS:
        endpoint = Endpoint("scan", "", target.lower())
    elif isinstance(target, str) and target.lower() in DRIVERS and find_pack(target) is None:
        raise TargetError(
            f"{target} is a protocol: put the place behind it, as in {target.lower()}+"
            f"serial:///dev/ttyUSB0. `bmslink scan --protocol {target.lower()}` looks for one."
        )
    else:
        endpoint = _endpoint(target)
    endpoint = endpoint.with_query(address=address, baudrate=baudrate, timeout=timeout)
    if len(several := addresses_of(endpoint)) > 1:
        raise TargetError(
            f"address={endpoint.query['address']} means {len(several)} packs, and this takes one: "
            f"write address={several[0]}."
        )
    asked = endpoint.scheme == "scan" or require_scheme(endpoint).asked
    name = protocol or endpoint.protocol
    unsettled = replace(endpoint, protocol=name)
    if asked and (name is None or name in VENDORS) and not settled(unsettled):
        timing_of(Timing(), unsettled)
        options_of(unsettled, Pin())
        return unsettled
    if name is None and endpoint.scheme == "sim":
        name = "jk02"
    if name is None and endpoint.scheme == "replay":
        name = open_capture(endpoint.place)[0].protocol or None
    if name is None:
        likely = "jk-modbus" if endpoint.scheme == "modbus-tcp" else "jbd"
        raise TargetError(
            f"Which protocol does {endpoint} speak? Put it in front ({likely}+{endpoint}) or give "
            f"--protocol; known: {', '.join(DRIVERS)}."
        )
    if name in VENDORS and name not in DRIVERS:
        spoken = [known for known in DRIVERS if vendor_of(known) == name]
        raise TargetError(f"{name!r} is a vendor; name the protocol: {' or '.join(spoken)}.")
    load_driver(name)
    return replace(endpoint, protocol=name)


def resolve_each(
    target: str | os.PathLike[str] | Endpoint,
    *,
    protocol: str | None = None,
    address: str | int | None = None,
    baudrate: int | None = None,
    timeout: float | None = None,
) -> list[Endpoint]:
    """The same for a target that may mean several packs on one line: `?address=1-4`, or
    `?address=1,3`; one endpoint for each, in that order. Raises `TargetError`."""
    endpoint = target
    several: list[int] = []
    if not (isinstance(target, str) and target.lower() in (*VENDORS, *DRIVERS)):
        endpoint = _endpoint(target).with_query(address=address)
        address = None
        several = addresses_of(endpoint)
        if len(several) > 1:
            return [
                resolve(
                    replace(
                        endpoint.with_query(address=each),
                        name=f"{endpoint.name} {each}" if endpoint.name else "",
                    ),
                    protocol=protocol,
                    baudrate=baudrate,
                    timeout=timeout,
                )
                for each in several
            ]
    if isinstance(address, str):
        address = int(address, 0)
    return [
        resolve(endpoint, protocol=protocol, address=address, baudrate=baudrate, timeout=timeout)
    ]


def addresses_of(endpoint: Endpoint) -> list[int]:
    """The addresses that a target names as a range or a list; none where it names one or nothing.

    Raises `TargetError` for a range that goes down, and one of more packs than a line has.
    """
    text = endpoint.query.get("address", "")
    if not set(text) & set("-,") or not _ADDRESSES.fullmatch(text):
        return []
    found: list[int] = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        first, last = int(low, 0), int(high or low, 0)
        if not first <= last <= 255:
            raise TargetError(
                f"address={part} is no range: write the lower one first, like 1-4, up to 255."
            )
        found += range(first, last + 1)
    if len(found) != len(set(found)):
        raise TargetError(f"address={text} names an address twice.")
    if len(found) > _MOST_PACKS:
        raise TargetError(f"address={text} names {len(found)} packs; {_MOST_PACKS} are the most.")
    return found


def _endpoint(target: str | os.PathLike[str] | Endpoint) -> Endpoint:
    if isinstance(target, Endpoint):
        return target
    if isinstance(target, str):
        pack = find_pack(target)
        return replace(parse_target(named(target)), name=pack.name if pack is not None else "")
    return parse_target(f"serial://{quote(os.fspath(target))}")


def settled(endpoint: Endpoint) -> bool:
    """Whether the protocol of a resolved target is known; else opening it finds it out."""
    return is_protocol(endpoint.protocol) and endpoint.scheme != "scan"


def timing_of(base: Timing, endpoint: Endpoint) -> Timing:
    """A driver's timing with what the target says of it; `TargetError` for what cannot be."""
    changes: dict[str, Any] = {}
    for key, low, high in (("timeout", 0.01, 60.0), ("gap", 0.0, 10.0)):
        value = endpoint.number(key)
        if value is not None:
            if not low <= value <= high:
                raise TargetError(f"{key} must be {low:g} to {high:g} s, in target {endpoint}.")
            changes[key] = value
    baudrate = endpoint.integer("baudrate")
    if baudrate is not None:
        if not 300 <= baudrate <= 4_000_000:
            raise TargetError(f"baudrate={baudrate} is not possible, in target {endpoint}.")
        changes["baudrate"] = baudrate
    return replace(base.over_radio() if endpoint.scheme == "ble" else base, **changes)


def options_of(endpoint: Endpoint, pin: Pin) -> Options:
    """What the target says of its device; `TargetError` for what cannot be."""
    sign = endpoint.query.get("current_sign", "auto")
    if sign not in ("auto", "normal", "inverted"):
        raise TargetError(f"current_sign is auto, normal or inverted, not {sign!r}.")
    address = endpoint.integer("address")
    if address is not None and not 0 <= address <= 255:
        raise TargetError(f"address={address} is not 0 to 255, in target {endpoint}.")
    sign = cast(Literal["auto", "normal", "inverted"], sign)
    return Options(address=address, current_sign=sign, pin=pin)
