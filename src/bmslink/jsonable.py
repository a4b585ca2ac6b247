"""One way to write an object as JSON: one line, with the number of its schema."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bmslink.moments import iso

__all__ = ["SCHEMA", "dumps", "plain", "to_json"]

SCHEMA = 1
"""Keys may be added to an object of this number; none is renamed or taken away."""


def to_json(values: Mapping[str, Any]) -> str:
    """One JSON object on one line, with the schema's number; what is no number becomes null."""
    return dumps({"schema": SCHEMA, **values})


def dumps(value: Any) -> str:
    """A part of such an object, without the number."""
    return json.dumps(plain(value), allow_nan=False, separators=(",", ":"))


def plain(value: Any) -> Any:
    """A value as JSON has it: bytes as hex digits, times in ISO 8601, NaN and infinity as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    if isinstance(value, datetime):
        return iso(value)
    return value
