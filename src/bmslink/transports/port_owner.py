"""Who has a serial port, so that "in use" can say by whom.

What keeps two programs apart is the kernel's lock on the open port, which goes with its holder.
Two things name the holder: `/proc`, and the lock file `LCK..ttyUSB0` that serial programs have
always left for each other (FHS, "/var/lock": the process id in ten characters). A file outlives a
program that was killed, so it is believed only while its process lives and may have the port.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bmslink.storage.processes import is_running

__all__ = ["holders", "is_pty", "lock_holder", "marked", "stale_lock"]

DIRECTORIES = ("/run/lock", "/var/lock", "/var/spool/lock", "/var/spool/uucp")
"""Where lock files are, on the systems that have them."""
_PROCESSES = Path("/proc")


def is_pty(path: str) -> bool:
    """Whether a path leads to a pseudo-terminal, whose number soon passes to another one."""
    return str(Path(path).resolve()).startswith("/dev/pts/")


def holders(path: str, *, everyone: bool = False) -> list[str]:
    """Other programs that have a device open, as `name (pid 12)`.

    Only Linux tells, and of other users' programs only to root: an empty list proves nothing.
    `everyone` includes ourselves, and the makers of pseudo-terminals: those may hold both ends
    of theirs, and are no rivals.
    """
    device = str(Path(path).resolve())
    found = []
    for process in _PROCESSES.glob("[0-9]*"):
        links = _open_files(process) or set()
        if device not in links:
            continue
        maker = is_pty(device) and any(link.endswith("/ptmx") for link in links)
        if not everyone and (maker or process.name == str(os.getpid())):
            continue
        found.append(f"{_name(int(process.name)) or 'a program'} (pid {process.name})")
    return found


def _open_files(process: Path) -> set[str] | None:
    """What a process has open; `None` if it ended meanwhile, or is not ours to see."""
    links = set()
    try:
        for file in (process / "fd").iterdir():
            with suppress(OSError):
                links.add(str(file.readlink()))
    except OSError:
        return None
    return links


def _name(pid: int) -> str:
    try:
        return (_PROCESSES / str(pid) / "comm").read_text("utf-8", "replace").strip()
    except OSError:
        return ""


# ------------------------------------------------------------------------------- lock files


def _lock_files(path: str) -> Iterator[Path]:
    name = str(Path(path).resolve()).removeprefix("/dev/").strip("/").replace("/", "_")
    for directory in DIRECTORIES:
        if Path(directory).is_dir():
            yield Path(directory) / f"LCK..{name}"


def _read(file: Path) -> tuple[int, str] | None:
    """The process id and the program that a lock file names."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)  # anybody may write there
    except OSError:
        return None
    with suppress(OSError, ValueError), os.fdopen(fd, "rb") as content:
        words = content.read(80).decode("ascii").split()
        if words and words[0].isdecimal() and 0 < int(words[0]) < 1 << 31:
            return int(words[0]), words[1] if len(words) > 1 else ""
    return None


def lock_holder(path: str) -> str | None:
    """The program whose lock file claims a device, as `name (pid 12)`; stale files do not count."""
    if sys.platform == "win32":
        return None
    device = str(Path(path).resolve())
    for file in _lock_files(path):
        claim = _read(file)
        if claim is None or claim[0] == os.getpid() or not is_running(claim[0]):
            continue
        pid, program = claim
        links = _open_files(_PROCESSES / str(pid))
        if links is not None and device not in links:
            continue  # the number went to another process, or the port was given up
        shown = "".join(c for c in _name(pid) or program if c.isprintable())
        return f"{shown or 'a program'} (pid {pid})"
    return None


def stale_lock(path: str) -> str:
    """The lock file of a device whose program has ended; empty: there is none."""
    if sys.platform == "win32":
        return ""
    for file in _lock_files(path):
        claim = _read(file)
        if claim is not None and not is_running(claim[0]):
            return str(file)
    return ""


@contextmanager
def marked(path: str) -> Iterator[None]:
    """A lock file of ours beside an open device, where the system lets us leave one."""
    file = _mark(path)
    try:
        yield
    finally:
        with suppress(OSError):
            if file is not None and (_read(file) or (0, ""))[0] == os.getpid():
                file.unlink()


def _mark(path: str) -> Path | None:
    for file in _lock_files(path):
        with suppress(OSError):
            fd, draft = tempfile.mkstemp(prefix=".LCK", dir=file.parent)
            try:
                with os.fdopen(fd, "w") as content:
                    content.write(f"{os.getpid():10d} bmslink\n")
                Path(draft).chmod(0o644)  # others are to read it
                file.unlink(missing_ok=True)  # we have the kernel's lock, so this one is stale
                os.link(draft, file)  # whole from the first moment, and never over another's
            finally:
                Path(draft).unlink()
            return file
    return None
