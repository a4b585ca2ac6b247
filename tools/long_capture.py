"""Write a long capture: the exchanges of a real one again and again, in their times.

python tools/long_capture.py SOURCE FILE MEGABYTES
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from bmslink.link.capture import open_capture

__all__ = ["write_long_capture"]

_PAUSE = 1.0
"""s between the end of the exchanges and their beginning."""


def write_long_capture(source: Path, path: Path, size: int) -> int:
    """Repeat a capture until the file has at least so many bytes; how many it has."""
    header, read = open_capture(source)
    pieces = list(read)
    start = 0.0
    with path.open("wb") as file:
        written = file.write(msgspec.json.encode(header) + b"\n")
        while written < size:
            latest = start
            for piece in pieces:
                time = None if piece.t is None else round(start + piece.t, 6)
                latest = latest if time is None else time
                again = msgspec.structs.replace(piece, t=time)
                written += file.write(msgspec.json.encode(again) + b"\n")
                if written >= size:
                    break
            start = latest + _PAUSE
    return written


if __name__ == "__main__":
    write_long_capture(Path(sys.argv[1]), Path(sys.argv[2]), round(float(sys.argv[3]) * 1e6))
