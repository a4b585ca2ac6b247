"""Where bmslink.toml is."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["SYSTEM_FILE", "config_files", "config_path"]

SYSTEM_FILE = Path("/etc/bmslink/bmslink.toml")  # of a system service, known to who may read it


def config_path() -> Path:
    """Where the named packs are kept, whether the file exists or not."""
    given = os.environ.get("BMSLINK_CONFIG")
    if given:
        return Path(given).expanduser()
    from platformdirs import user_config_path  # only who uses names needs it

    return user_config_path("bmslink", appauthor=False) / "bmslink.toml"


def config_files() -> list[Path]:
    """Where names are looked for, the first one first: the user's own file, then the system's."""
    alone = os.environ.get("BMSLINK_CONFIG") or not os.access(SYSTEM_FILE, os.R_OK)
    return [config_path()] if alone else [config_path(), SYSTEM_FILE]
