"""Replacing a file as a whole: whoever reads it finds the old one or the new one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["replace_file"]


def replace_file(file: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Put a new file, on the disk already, in the place of an old one. Raises `OSError`."""
    handle, draft = tempfile.mkstemp(dir=file.parent, prefix=".bmslink-")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        Path(draft).chmod(mode)
        Path(draft).replace(file)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
