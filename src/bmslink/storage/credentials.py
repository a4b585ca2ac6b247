"""Secrets that systemd hands over to a service (`LoadCredential=NAME:FILE`): files in a folder of
its own, which the files of the configuration need not hold."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["credential"]


def credential(name: str) -> Path | None:
    """The file of a secret; `None` where none of that name was handed over."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder or not name or "/" in name or name.startswith("."):
        return None
    path = Path(folder) / name
    return path if path.is_file() else None
