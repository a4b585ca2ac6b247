"""One change of a pack at a time, whatever program makes it.

The lock is the kernel's, on an open file: it ends with the process that holds it, however that
ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from bmslink.config.checks.check import Check
from bmslink.errors import GateError
from bmslink.storage.alone import lock_file, open_lock
from bmslink.storage.chain import open_regular, take
from bmslink.storage.journal import JournalRefusal

__all__ = ["is_held", "locked"]

_TRIES, _AGAIN = 5, 0.02
"""How often and how far apart (s) it is tried: who only looks holds a lock for a moment."""


@contextmanager
def locked(folder: Path, names: Sequence[str]) -> Iterator[None]:
    """Hold a pack by all its names (where it is, who it is).

    Raises `GateError` if somebody else holds one of them.
    """
    with ExitStack() as stack:
        for name in sorted(set(names)):
            stack.enter_context(_held(folder, name))
        yield


def is_held(folder: Path, names: Sequence[str]) -> bool:
    """Whether somebody holds one of these names now. It waits for nobody and makes no file."""
    for name in names:
        try:
            handle = open_regular(lock_file(folder, name), os.O_RDWR)
        except OSError:  # nobody ever held it, or nobody can
            continue
        try:
            take(handle)
        except OSError:
            return True
        finally:
            os.close(handle)
    return False


@contextmanager
def _held(folder: Path, name: str) -> Iterator[None]:
    try:
        handle = open_lock(folder, name)
    except OSError as exc:
        path, why = lock_file(folder, name), exc.strerror or exc
        raise JournalRefusal(
            f"The lock {path} cannot be made ({why}), so nothing is sent."
        ) from exc
    try:
        _take(handle)
        _sign(handle)
        yield
    finally:
        os.close(handle)


def _take(handle: int) -> None:
    for left in reversed(range(_TRIES)):
        try:
            take(handle)
        except OSError as exc:
            if not left:
                raise _busy(handle) from exc
        else:
            return
        time.sleep(_AGAIN)


def _sign(handle: int) -> None:
    """Say who holds it, for those who are refused; a full disk keeps nobody from locking."""
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, f"{os.getpid()}\n".encode())


def _busy(handle: int) -> GateError:
    os.lseek(handle, 0, os.SEEK_SET)
    text = os.read(handle, 20).decode("ascii", "replace").strip()
    who = f"process {text}" if text.isdigit() else "another process"
    sentence = f"This pack is being changed by {who}: nothing was sent. Wait for it to end."
    return GateError(sentence, [Check(name="lock", passed=False, sentence=sentence)])
