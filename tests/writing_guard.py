"""An audit hook that notices every write outside the folders that tests may write in.

It sees this process only; a command that a test starts is kept to its folder by what the test
passes to it (its working folder, `BMSLINK_CONFIG`, `BMSLINK_JOURNAL`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["WritingGuard"]

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PATHS = {  # which arguments of an audit event are paths that change
    "os.mkdir": (0,),
    "os.rmdir": (0,),
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.link": (1,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "shutil.rmtree": (0,),
}
_TOOLS = {"__pycache__", ".hypothesis", ".pytest_cache"}
"""Folders that Python and the test tools keep for themselves, anywhere."""


class WritingGuard:
    """Collects the writes outside `folders` (and outside `/dev` and `/proc`)."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = [os.path.realpath(f) for f in folders] + ["/dev", "/proc"]
        self._strays: list[str] = []

    def install(self) -> None:
        """An audit hook stays until the process ends."""
        sys.addaudithook(self._audit)

    def take(self) -> list[str]:
        """The strays since the last call."""
        strays, self._strays = self._strays, []
        return strays

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _mode, flags = arguments
            if isinstance(flags, int) and flags & _WRITES:
                self._note(event, path)
            return
        for index in _PATHS.get(event, ()):
            self._note(event, arguments[index])

    def _note(self, event: str, path: Any) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return  # a descriptor: it was opened before
        name = Path(os.fsdecode(path))
        place = Path(os.path.realpath(name.parent)) / name.name  # a link itself, not what it names
        whole = str(place)
        parts = place.parts
        if _TOOLS.intersection(parts) or parts[-1].startswith(".coverage"):
            return
        if any(whole == f or whole.startswith(f + os.sep) for f in self._folders):
            return
        self._strays.append(f"{event} {whole}")
