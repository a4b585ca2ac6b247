"""The one way to write to a file: to a regular file, which is not reached through a link.

A name that somebody else may have prepared (a device node, a pipe, a link to another file) is
refused with a sentence. Reading may follow links, and reads no more than a limit.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = [
    "append_handle",
    "draft_of",
    "new_handle",
    "read_bounded",
    "replace_file",
    "require_regular",
    "update_handle",
]

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
# what a system does not have of these is checked by name only
_ALWAYS = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def require_regular(path: Path) -> bool:
    """Whether there is a file; `OSError` if the name holds anything but a regular file."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return False
    except ValueError as exc:  # a character that no name can hold
        raise OSError(errno.EINVAL, str(exc), str(path)) from exc
    if not stat.S_ISREG(mode):
        raise _other(path, mode)
    return True


def _other(path: Path, mode: int) -> OSError:
    kind = _KINDS.get(stat.S_IFMT(mode), "something else")
    return OSError(errno.EINVAL, f"it is {kind}, and only regular files are written", str(path))


def _handle(path: Path, flags: int, mode: int) -> int:
    handle = os.open(path, flags | _ALWAYS, mode)
    found = os.fstat(handle).st_mode
    if not stat.S_ISREG(found):  # it was exchanged since it was looked at
        os.close(handle)
        raise _other(path, found)
    return handle


def read_bounded(path: Path, most: int, kind: str) -> bytes:
    """All of a file that should be a `kind`; `OSError` for one that cannot be read, or is longer
    than `most` bytes."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except (ValueError, RuntimeError) as exc:  # a name that no file can have
        raise OSError(errno.EINVAL, str(exc), str(path)) from exc
    if len(data) > most:
        why = f"it is longer than {most} bytes, so it is no {kind}"
        raise OSError(errno.EFBIG, why, str(path))
    return data


def append_handle(path: Path, *, mode: int = 0o600) -> int:
    """A file descriptor that reads anywhere in a file and writes at its end; a file that is not
    there yet is made. Raises `OSError`."""
    require_regular(path)
    return _handle(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, mode)


def update_handle(path: Path, *, mode: int = 0o666) -> int:
    """A file descriptor that reads and writes anywhere in a file; one that is not there yet is
    made. Raises `OSError`."""
    require_regular(path)
    return _handle(path, os.O_RDWR | os.O_CREAT, mode)


def new_handle(path: Path, *, mode: int = 0o666) -> int:
    """A file descriptor of a file that was not there; `FileExistsError` if it was."""
    return _handle(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)


def replace_file(
    file: Path, data: bytes, *, mode: int | None = 0o600, overwrite: bool = True
) -> None:
    """Put a new file, on the disk already, in the place of an old one: a reader finds the old one
    or the new one.

    Without `mode` it gets that of the old file, or what new files get here. Raises `OSError`;
    `FileExistsError` for a file that is there without `overwrite`.
    """
    reserved = not require_regular(file)
    if reserved:  # nobody else can make it any more
        os.close(new_handle(file, mode=0o666 if mode is None else mode))
    elif not overwrite:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(file))
    try:
        if mode is None:
            mode = stat.S_IMODE(os.lstat(file).st_mode)
        with draft_of(file, mode=mode) as draft, draft.open("r+b") as out:
            out.write(data)
    except BaseException:
        if reserved:
            file.unlink(missing_ok=True)
        raise


@contextmanager
def draft_of(file: Path, *, mode: int, suffix: str = "") -> Iterator[Path]:
    """An empty file beside another, to be filled inside the block; at its end it is on the disk and
    takes the other's place. Where the block fails it is removed. Raises `OSError`."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".bmslink-", suffix=suffix)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        with draft.open("r+b") as filled:
            os.fsync(filled.fileno())
        draft.chmod(mode)
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
