"""One change of a pack at a time, whatever program makes it.

The lock is the kernel's, on an open file: it ends with the process that holds it, however that
ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from bmslink.config.checks.check import refuse
from bmslink.errors import GateError
from bmslink.model import Switch
from bmslink.storage.alone import lock_file, open_lock
from bmslink.storage.chain import open_regular, take
from bmslink.storage.journal import JournalRefusal, on_disk, refusing

__all__ = ["held_by_another", "hold_if_free", "is_held", "let_go", "locked", "locked_apart"]

_TRIES, _AGAIN = 5, 0.02
"""How often and how far apart (s) it is tried: who only looks holds a lock for a moment."""
DOINGS = {f"{switch} off": f"{switch} is being switched off" for switch in Switch}
"""What somebody does who holds a lock, by what its file says. Anything else there counts as
nothing."""
_mine: ContextVar[frozenset[Path]] = ContextVar("_mine", default=frozenset())
"""What the caller of this moment holds: the kernel does not tell it from what others hold."""


@contextmanager
def locked(folder: Path, names: Sequence[str]) -> Iterator[None]:
    """Hold a pack by all its names (where it is, who it is). Blocks.

    Raises `GateError` if somebody else holds one of them.
    """
    with _held(_take_all(folder, names), folder, names):
        yield


@asynccontextmanager
async def locked_apart(folder: Path, names: Callable[[], Sequence[str]]) -> AsyncIterator[None]:
    """The same, and a thread finds the names and takes the locks: a disk or a resolver that hangs
    keeps no other pack. Raises `GateError` also where it takes none in time."""

    def take_all() -> tuple[list[int], Sequence[str]]:
        found = names()
        return _take_all(folder, found), found

    with refusing("Nothing is sent without it."):
        handles, taken = await on_disk(take_all, late=lambda late: let_go(late[0]))
    with _held(handles, folder, taken):
        yield


@contextmanager
def _held(handles: Sequence[int], folder: Path, names: Sequence[str]) -> Iterator[None]:
    outer = _mine.get()
    _mine.set(outer | {lock_file(folder, name) for name in names})
    try:
        yield
    finally:
        _mine.set(outer)
        let_go(handles)


def hold_if_free(folder: Path, names: Sequence[str], doing: str) -> list[int]:
    """Hold a pack by all its names where nobody else does, until `let_go`; waits for nobody, and
    needs no lock: what it says to others is only who is at it, and what is being done."""
    with suppress(GateError):
        return _take_all(folder, names, doing, tries=1)
    return []


def let_go(handles: Sequence[int]) -> None:
    """They are held no more."""
    for handle in handles:
        os.close(handle)


def _take_all(
    folder: Path, names: Sequence[str], doing: str = "", tries: int = _TRIES
) -> list[int]:
    handles: list[int] = []
    try:
        for name in sorted(set(names)):
            handles.append(_opened(folder, name))
            _take(handles[-1], tries)
            _sign(handles[-1], doing)
    except BaseException:
        let_go(handles)
        raise
    return handles


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


def _opened(folder: Path, name: str) -> int:
    try:
        return open_lock(folder, name)
    except OSError as exc:
        path, why = lock_file(folder, name), exc.strerror or exc
        raise JournalRefusal(
            f"The lock {path} cannot be made ({why}), so nothing is sent."
        ) from exc


def _take(handle: int, tries: int) -> None:
    for left in reversed(range(tries)):
        try:
            take(handle)
        except OSError as exc:
            if not left:
                raise refuse(f"Nothing was sent. {_signed(handle)}", "lock") from exc
        else:
            return
        time.sleep(_AGAIN)


def _sign(handle: int, doing: str) -> None:
    """Say who holds it and why, for those who are refused; a full disk keeps nobody from
    locking."""
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, f"{os.getpid()}\n{doing}\n".encode())


def _signed(handle: int) -> str:
    os.lseek(handle, 0, os.SEEK_SET)
    text = os.read(handle, 80).decode("ascii", "replace").strip()
    number, _, doing = text.partition("\n")
    who = f"process {number}" if number.isdigit() else "another process"
    if doing in DOINGS:
        return f"{DOINGS[doing]} by {who} and read back now: wait for it to end."
    return f"This pack is being changed by {who} now: wait for it to end."
