"""One change of a pack at a time, whatever program makes it.

The lock is the kernel's, on an open file: it ends with the process that holds it, however that
ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from bmslink.config.checks.check import refuse
from bmslink.storage.alone import lock_file, open_lock
from bmslink.storage.chain import open_regular, take
from bmslink.storage.journal import JournalRefusal

__all__ = ["held_by_another", "is_held", "locked"]

_TRIES, _AGAIN = 5, 0.02
"""How often and how far apart (s) it is tried: who only looks holds a lock for a moment."""
_mine: ContextVar[frozenset[Path]] = ContextVar("_mine", default=frozenset())
"""What the caller of this moment holds: the kernel does not tell it from what others hold."""


@contextmanager
def locked(folder: Path, names: Sequence[str]) -> Iterator[None]:
    """Hold a pack by all its names (where it is, who it is).

    Raises `GateError` if somebody else holds one of them.
    """
    with ExitStack() as stack:
        for name in sorted(set(names)):
            stack.enter_context(_held(folder, name))
        outer = _mine.get()
        _mine.set(outer | {lock_file(folder, name) for name in names})
        try:
            yield
        finally:
            _mine.set(outer)


def is_held(folder: Path, names: Sequence[str]) -> bool:
    """Whether somebody holds one of these names now. It waits for nobody and makes no file."""
    return any(_holder(lock_file(folder, name)) for name in names)


def held_by_another(folder: Path, names: Sequence[str]) -> str:
    """Who else changes the pack of these names now, in a sentence; empty: nobody. What the caller
    holds itself does not count."""
    files = (lock_file(folder, name) for name in names)
    return next(filter(None, (_holder(file) for file in files if file not in _mine.get())), "")


def _holder(file: Path) -> str:
    """Who holds a lock, in a sentence; empty: nobody."""
    try:
        handle = open_regular(file, os.O_RDWR)
    except OSError:  # nobody ever held it, or nobody can
        return ""
    try:
        take(handle)
    except OSError:
        return _signed(handle)
    finally:
        os.close(handle)
    return ""


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
                raise refuse(f"Nothing was sent. {_signed(handle)}", "lock") from exc
        else:
            return
        time.sleep(_AGAIN)


def _sign(handle: int) -> None:
    """Say who holds it, for those who are refused; a full disk keeps nobody from locking."""
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, f"{os.getpid()}\n".encode())


def _signed(handle: int) -> str:
    os.lseek(handle, 0, os.SEEK_SET)
    text = os.read(handle, 20).decode("ascii", "replace").strip()
    who = f"process {text}" if text.isdigit() else "another process"
    return f"This pack is being changed by {who} now: wait for it to end."
