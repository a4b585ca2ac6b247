"""The sockets on which the service listens, bound by us: only who may talk to it can open them.

uvicorn would give a socket of its own making to everybody (mode 0666).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bmslink.errors import PortBusy, PortDenied, TargetError, TransportError
from bmslink.storage.chain import open_regular, take

__all__ = ["LONGEST_PATH", "local_socket", "tcp_socket"]

LONGEST_PATH = 103
"""Bytes of a socket's path: what macOS takes; Linux takes 4 more."""
_BACKLOG = 64


@contextmanager
def local_socket(path: Path, *, group: bool = False) -> Iterator[socket.socket]:
    """A socket that listens at a path, for this user alone; with `group` for the group of its
    folder too.

    What a dead service left there is replaced. The file is removed at the end. Raises `PortBusy`
    where a service runs there already, `PortDenied` and `TransportError` where none can.
    """
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise TargetError(
            f"{path} is too long for a socket ({LONGEST_PATH} bytes at most); BMSLINK_RUNTIME may "
            "name another folder."
        )
    with contextlib.ExitStack() as stack:
        try:
            _make_folder(path.parent)
            stack.callback(os.close, _claim(path))
            _remove_dead(path)
            listening = stack.enter_context(_bound(path, 0o660 if group else 0o600))
        except PermissionError as exc:
            raise PortDenied(
                f"The service may not make its socket {path} ({exc.strerror}); BMSLINK_RUNTIME "
                "may name another folder."
            ) from exc
        except TransportError:
            raise
        except OSError as exc:
            raise TransportError(f"The service cannot listen at {path}: {_why(exc)}.") from exc
        stack.callback(_remove, path, path.lstat().st_ino)
        yield listening


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.stat()
    if os.name == "posix" and found.st_uid not in (os.geteuid(), 0):
        raise PortDenied(
            f"{folder} belongs to somebody else, who could put another socket there; name another "
            "folder with BMSLINK_RUNTIME."
        )
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise PortDenied(
            f"Everybody may write in {folder}, so anybody could put another socket there; take "
            "that away, or name another folder with BMSLINK_RUNTIME."
        )


def _claim(path: Path) -> int:
    """Take the lock beside the socket, which the system gives back when this process ends."""
    handle = open_regular(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT)
    try:
        take(handle)
    except OSError as exc:
        os.close(handle)
        if exc.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            raise
        raise _busy(path) from None
    return handle


def _busy(path: Path) -> PortBusy:
    return PortBusy(
        f"A service runs already at {path}: `bmslink service status` shows it, `bmslink service "
        "stop` ends it."
    )


def _remove_dead(path: Path) -> None:
    """Whatever holds no lock is no service of ours; but what answers is not taken away either."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "there is a file that is no socket", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
    raise _busy(path)


@contextmanager
def _bound(path: Path, mode: int) -> Iterator[socket.socket]:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with listening:
        with contextlib.suppress(OSError):  # only Linux makes the file with the socket's mode
            os.fchmod(listening.fileno(), mode)
        listening.bind(os.fspath(path))
        path.chmod(mode)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
        yield listening


def _remove(path: Path, inode: int) -> None:
    """Take our own file away, and no other one that may be there by now."""
    with contextlib.suppress(OSError):
        if path.lstat().st_ino == inode:
            path.unlink()


@contextmanager
def tcp_socket(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens on a TCP port. Raises `TransportError`; `PortBusy` where another
    program has it."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, number)
    except OSError as exc:
        raise TransportError(f"The service cannot listen on {host}: {_why(exc)}.") from exc
    with listening:
        try:
            if os.name == "posix":
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            else:  # there it would let another program take the port over
                listening.setsockopt(
                    socket.SOL_SOCKET, getattr(socket, "SO_EXCLUSIVEADDRUSE", ~4), 1
                )
            listening.bind(address)
            listening.listen(_BACKLOG)
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                raise PortBusy(f"Another program listens on {host}:{port} already.") from exc
            raise TransportError(f"The service cannot listen on {host}: {_why(exc)}.") from exc
        listening.setblocking(False)
        yield listening


def _why(exc: OSError) -> str:
    return exc.strerror or str(exc)
