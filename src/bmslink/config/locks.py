"""One change of a pack at a time, whatever program makes it.

The lock is the kernel's, on an open file: it ends with the process that holds it, however that
ends.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bmslink.config.check import Check
from bmslink.errors import GateError
from bmslink.journal import JournalError
from bmslink.wholefile import append_handle

__all__ = ["locked"]

if sys.platform == "win32":
    import msvcrt

    _BEHIND = 1 << 20  # the byte that is locked cannot be read by others: none of the text

    def _take(handle: int) -> None:
        os.lseek(handle, _BEHIND, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def locked(folder: Path, names: Sequence[str]) -> Iterator[None]:
    """Hold a pack by all its names (where it is, who it is).

    Raises `GateError` if somebody else holds one of them.
    """
    with ExitStack() as stack:
        for name in sorted(set(names)):
            stack.enter_context(_held(folder, name))
        yield


@contextmanager
def _held(folder: Path, name: str) -> Iterator[None]:
    path = folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = append_handle(path)
    except OSError as exc:
        raise JournalError(
            f"The lock {path} cannot be made ({exc.strerror or exc}), so nothing is sent."
        ) from exc
    try:
        try:
            _take(handle)
        except OSError as exc:
            raise _busy(handle) from exc
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(handle)


def _busy(handle: int) -> GateError:
    os.lseek(handle, 0, os.SEEK_SET)
    text = os.read(handle, 20).decode("ascii", "replace").strip()
    who = f"process {text}" if text.isdigit() else "another process"
    sentence = f"This pack is being changed by {who}: nothing was sent. Wait for it to end."
    return GateError(sentence, [Check(name="lock", passed=False, sentence=sentence)])
