"""How far a recording is, in one line."""

from __future__ import annotations

from rich.text import Text

__all__ = ["progress", "summary"]


def progress(pieces: int, size: int, readings: int, errors: int) -> str:
    """What has been recorded up to now."""
    text = f"{pieces} pieces, {size} bytes, {readings} readings"
    return f"{text}, {errors} errors" if errors else text


def summary(path: str, pieces: int, size: int, readings: int, errors: int) -> Text:
    """What the file holds in the end."""
    return Text(f"{path}: {progress(pieces, size, readings, errors)}")
