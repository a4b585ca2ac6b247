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
_PATHS: dict[str, tuple[tuple[int, int | None], ...]] = {
    # which arguments of an audit event are paths that change, and which the folders they begin at
    "os.mkdir": ((0, 2),),
    "os.rmdir": ((0, 1),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "shutil.rmtree": ((0, 1),),
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
            nameless = getattr(os, "O_TMPFILE", 0)  # it goes with its descriptor
            if isinstance(flags, int) and flags & _WRITES and flags & nameless != (nameless or -1):
                self._note(event, path)
            return
        for index, folder in _PATHS.get(event, ()):
            at = arguments[folder] if folder is not None and folder < len(arguments) else -1
            self._note(event, arguments[index], at)

    def _note(self, event: str, path: Any, folder: Any = -1) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return  # a descriptor: it was opened before
        name = Path(os.fsdecode(path))
        if isinstance(folder, int) and folder >= 0 and not name.is_absolute():
            name = Path(f"/proc/self/fd/{folder}").readlink() / name
        if name.is_absolute() and not Path(*name.parts[:2]).exists():
            return  # a place that no machine has, as `/nowhere`
        place = Path(os.path.realpath(name.parent)) / name.name  # a link itself, not what it names
        whole = str(place)
        parts = place.parts
        if _TOOLS.intersection(parts) or parts[-1].startswith(".coverage"):
            return
        if any(whole == f or whole.startswith(f + os.sep) for f in self._folders):
            return
        self._strays.append(f"{event} {whole}")
