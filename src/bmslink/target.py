"""From what somebody typed to a target that can be opened."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, Literal, cast
from urllib.parse import quote

from bmslink.errors import TargetError
from bmslink.link.capture import open_capture
from bmslink.link.link import Timing
from bmslink.link.transport import Endpoint, Pin, parse_target, require_scheme
from bmslink.packs import named
from bmslink.protocols import DRIVERS, VENDORS, is_protocol, load_driver, vendor_of
from bmslink.protocols.base import Options

__all__ = ["options_of", "resolve", "settled", "timing_of"]


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
    else:
        endpoint = _endpoint(target)
    endpoint = endpoint.with_query(address=address, baudrate=baudrate, timeout=timeout)
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


def _endpoint(target: str | os.PathLike[str] | Endpoint) -> Endpoint:
    if isinstance(target, Endpoint):
        return target
    if isinstance(target, str):
        return parse_target(named(target))
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
