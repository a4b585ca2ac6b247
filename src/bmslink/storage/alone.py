"""Something that only one of our programs may do at a time, and that nobody needs to be refused
for: the others wait a while, then go on."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from bmslink.storage.apart import apart
from bmslink.storage.chain import open_regular, take
from bmslink.storage.journal import journal_path

__all__ = ["alone", "hold_lock", "lock_file", "open_lock"]

_AGAIN = 0.05
"""s between two looks whether it is free."""
_MOMENT = 0.3
"""How long the disk may take where nobody waits for others, s."""


def lock_file(folder: Path, name: str) -> Path:
    """The file that is locked for a name."""
    text = name.encode("utf-8", "surrogateescape")
    return folder / f"{hashlib.sha256(text).hexdigest()[:16]}.lock"


def open_lock(folder: Path, name: str) -> int:
    """The file that is locked for a name, opened, and made where nobody needed it before.

    `OSError` where that cannot be.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return open_regular(lock_file(folder, name), os.O_RDWR | os.O_CREAT)


def hold_lock(folder: Path, name: str) -> int | None:
    """The lock of a name, held as long as the handle is open; `None` where another program holds
    it. A disk that takes no lock keeps nobody out."""
    try:
        handle = open_lock(folder, name)
    except OSError:
        return os.open(os.devnull, os.O_RDONLY)
    if _taken(handle):
        return handle
    os.close(handle)
    return None


@asynccontextmanager
async def alone(name: str, patience: float) -> AsyncIterator[bool]:
    """Hold a name among all programs of this user, as far as possible; gives whether it is held.

    Waits up to `patience` seconds for others. Where the disk takes no lock, nobody is kept out.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    try:
        work = partial(open_lock, journal_path() / "locks", name)
        handle = await apart(work, max(patience, _MOMENT), late=os.close)
    except OSError:  # a disk that hangs takes none either
        yield False
        return
    try:
        held = _taken(handle)
        while not held and loop.time() < until:
            await asyncio.sleep(_AGAIN)
            held = _taken(handle)
        yield held
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    try:
        take(handle)
    except OSError:
        return False
    return True
