"""Decoded frames and skipped bytes, one line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from bmslink.cli.render.clean import clean
from bmslink.decoding import FrameEvent, Skip

__all__ = ["frame", "frame_object", "skip"]

_SHOWN = 24  # bytes of a skipped run


def frame_object(event: FrameEvent) -> dict[str, Any]:
    """The JSON object of a frame; what it says is under its role."""
    return {
        "offset": event.offset,
        "protocol": event.protocol,
        "kind": event.kind,
        event.role: dict(event.values),
        "sent": event.sent,
        "time": event.time,
        "hex": event.hex,
    }


def frame(event: FrameEvent) -> Text:
    """A frame in one line: where, which way, what it is, what it says."""
    text = Text(f"{event.offset:>6} ", "dim")
    text.append("> " if event.sent else "< ", "none")
    text.append(f"{event.protocol} ", "none")
    text.append(event.kind, "bold not dim")
    if event.role not in (event.kind, "other"):
        text.append(f" ({event.role})")
    said = "  ".join(f"{key}={_short(value)}" for key, value in event.values.items())
    text.append(f"  {clean(said)}", "not dim")
    return text


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}={_short(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_short(v) for v in value) + "]"
    return "-" if value is None else str(value)


def skip(event: Skip) -> str:
    """A sentence about bytes that gave nothing."""
    way = "sent" if event.sent else "received"
    shown = event.hex[: 2 * _SHOWN]
    shown += " ..." if len(shown) < 2 * event.length else ""  # framers keep only the beginning
    plural = "byte" if event.length == 1 else "bytes"
    return (
        f"offset {event.offset} ({way}): {event.length} {plural} skipped, {event.reason}: {shown}"
    )
