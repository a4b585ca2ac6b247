"""What the tests of documented facts share: values made flat, and what an edit changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from bmslink.link.capture import open_capture
from bmslink.model import Reading
from support import FIXTURES

GONE = "gone"
"""Stands for a value that was there before the edit, and is not any more."""


def captured(folder: str, name: str, kind: str = "") -> bytes:
    """The first frame of that kind that a capture's device sent."""
    _, pieces = open_capture(FIXTURES / folder / f"{name}.jsonl")
    return next(p.data for p in pieces if p.dir == "rx" and (not kind or p.kind == kind))


def put(data: bytes, *edits: tuple[int, bytes]) -> bytes:
    """The data with bytes replaced at offsets."""
    result = bytearray(data)
    for offset, new in edits:
        assert offset + len(new) <= len(result)
        result[offset : offset + len(new)] = new
    return bytes(result)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted name, elements of lists by their number from 1."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, list | tuple) and not any(isinstance(v, str) for v in value):
            found |= flat({str(n): v for n, v in enumerate(value, 1)}, f"{name}.")
        elif isinstance(value, Mapping):
            found |= flat(value, f"{name}.")
        else:
            found[name] = value
    return found


def fields(reading: Reading) -> dict[str, Any]:
    """The measured fields of a reading, without the computed ones."""
    names = (f.name for f in dataclasses.fields(reading))
    return {name: getattr(reading, name) for name in names}


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What the edit changed, and nothing else: flat names and their new values."""
    old, new = flat(before), flat(after)
    lost = {key: GONE for key in old if key not in new}
    return lost | {k: v for k, v in new.items() if k not in old or old[k] != v}


def conditions(reading: Reading) -> list[tuple[str, str]]:
    """Every condition of a reading with the list it stands in."""
    return [
        (name, str(condition))
        for name in ("alarms", "protections", "faults")
        for condition in getattr(reading, name)
    ]


def words(*numbers: int) -> bytes:
    """16-bit numbers, high byte first."""
    return b"".join(number.to_bytes(2, "big") for number in numbers)


def with_crc16(body: bytes) -> bytes:
    """Modbus: polynomial A001, start FFFF, bit by bit, low byte first."""
    crc = 0xFFFF
    for byte in body:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return body + crc.to_bytes(2, "little")
