"""Which protocol bytes are, by their look alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from bmslink.errors import FrameError
from bmslink.link.framer import Frame, bites
from bmslink.protocols import DRIVERS, load_driver
from bmslink.protocols.base import Codec, Options

__all__ = ["Recognised", "recognise"]


class Recognised(NamedTuple):
    """What bytes look like."""

    name: str
    """The protocol that explains most of them; empty where none does."""
    explained: int
    """How many bytes it explains."""
    damaged: list[str]
    """Those whose frames only fail their checksum, the one first whose frames would take most of
    the bytes."""


def recognise(data: bytes, on_progress: Callable[[float], None] = lambda done: None) -> Recognised:
    """The protocol of bytes (some share their framing). `on_progress` gets 0 to 1, often."""
    best, covered = "", (0, 0)
    damaged: dict[str, int] = {}
    for number, name in enumerate(DRIVERS):
        driver = load_driver(name)
        framer, codec = driver.make_framer(), driver.make_codec(Options())
        frames: list[Frame] = []
        for bite in bites(data):
            on_progress((number + framer.position / max(1, len(data))) / len(DRIVERS))
            frames += framer.feed(bite)
        frames += framer.flush()
        explained = sum(len(f.raw) for f in frames if _is_explained(codec, f))
        total = explained, sum(len(f.raw) for f in frames)
        if total > covered:
            best, covered = name, total
        if framer.bad_frames:
            damaged[name] = framer.bad_bytes
    return Recognised(best, covered[0], sorted(damaged, key=lambda name: -damaged[name]))


def _is_explained(codec: Codec[Any], frame: Frame) -> bool:
    try:
        codec.decode(frame)
    except FrameError:
        return False
    return True
