"""Serial ports: `serial:///dev/ttyUSB0?baudrate=9600`, `serial://COM3`, or the bare port.

`rts=toggle` switches the direction of an RS485 adapter that leaves this to us: RTS is on while we
send and off while we listen. `rts=on` and `rts=off` hold the line at a level, for adapters that
take their power or their direction from it; without the key RTS is as the driver sets it.

pyserial blocks, so one thread owns the port from opening to closing and hands what it reads to
the event loop; that works the same on every platform. A port is opened exclusively, and every
failure is a sentence that says what to do.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import sys
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

import serial
from serial.tools import list_ports

from bmslink.errors import (
    LinkClosed,
    PortBusy,
    PortDenied,
    PortNotFound,
    TargetError,
    TransportError,
)
from bmslink.link.transport import Endpoint, Line, OnData, OnLost, Transport
from bmslink.transports.port_owner import holders, is_pty, lock_holder, marked
from bmslink.transports.rs485 import RTS_MODES, Port, directed

_FOREIGN: tuple[type[Exception], ...] = (OSError, ValueError, OverflowError)
"""What pyserial lets out: its own errors are OSErrors, a refused baud rate is a ValueError."""

if sys.platform != "win32":
    import fcntl
    import grp
    import pwd
    import termios

    _FOREIGN = (*_FOREIGN, termios.error)

__all__ = ["SerialSession", "SerialTransport", "ThreadedTransport"]

WRITE_TIMEOUT = 2.0
CLOSE_TIMEOUT = 2.0
WAKE_UP = 1.0
"""How often the idle reader looks whether it should stop, where a read cannot be cancelled, s."""
QUEUE = 32
"""Pieces that may wait for a busy event loop before the reader pauses."""


class ThreadedTransport(Transport):
    """What pyserial opens, with a thread that reads it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._place = endpoint.place
        self._baudrate = endpoint.integer("baudrate", 9600) or 9600
        self._session: SerialSession | None = None

    @abstractmethod
    def _connect(self) -> AbstractContextManager[Port]:
        """The port, opened in the session's thread, closed at its end."""

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        await self.close()
        session = SerialSession(self._place, self._connect, on_data, on_lost)
        self._session = session
        try:
            await session.opened
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def write(self, data: bytes) -> None:
        if self._session is None:
            raise LinkClosed(f"{self._place} is not open.")
        await self._session.send(data)


class SerialTransport(ThreadedTransport):
    """A serial port, 8N1, without flow control."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._rts = endpoint.query.get("rts")
        if self._rts is not None and self._rts not in RTS_MODES:
            raise TargetError(
                f"rts is {', '.join(RTS_MODES[:-1])} or {RTS_MODES[-1]}, not {self._rts!r}."
            )

    def line(self) -> Line:
        path = _device(self._place)
        name = path.upper() if os.name == "nt" else os.path.realpath(path)
        rts = f" and rts={self._rts}" if self._rts else ""
        return Line(f"serial://{name}", f"{self._baudrate} baud{rts}")

    @contextmanager
    def _connect(self) -> Iterator[Port]:
        with ready(self._place, open_port(self._place, self._baudrate)) as port:
            yield port if self._rts is None else directed(port, self._rts, self._place)


class SerialSession:
    """One opening of a port, and the thread that owns it. Made inside the event loop."""

    def __init__(
        self,
        place: str,
        opener: Callable[[], AbstractContextManager[Port]],
        on_data: OnData,
        on_lost: OnLost,
    ) -> None:
        """`opener` blocks and raises `TransportError`; it runs in the thread."""
        self._place = place
        self._opener = opener
        self._on_data = on_data
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self._closed = asyncio.Event()
        self._stop = threading.Event()
        self._room = threading.Semaphore(QUEUE)
        self._port: Port | None = None
        self._handover = threading.Lock()  # held for moments only: the event loop takes it too
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"bmslink {place}", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Stop the thread; from this call on nothing is delivered. Never waits for a dead port."""
        self._stop.set()
        self._room.release()
        with self._handover:
            if self._port is not None:
                self._port.cancel_read()
                self._port.cancel_write()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._closed.wait()
        except TimeoutError:
            return  # the driver holds the thread until the port drains; it ends by itself
        self._thread.join()

    async def send(self, data: bytes) -> None:
        await asyncio.to_thread(self._write, data)

    def _write(self, data: bytes) -> None:
        with self._writing:
            port = self._port
            if port is None or self._stop.is_set():
                raise LinkClosed(f"{self._place} is {'closed' if self._stop.is_set() else 'gone'}.")
            try:
                sent = port.write(data)
            except serial.SerialTimeoutException as exc:
                raise TransportError(
                    f"{self._place} takes no bytes; its adapter or driver hangs: replug it."
                ) from exc
            except _FOREIGN as exc:
                raise LinkClosed(f"{self._place} is gone: {exc}.") from exc
            if sent != len(data):
                raise LinkClosed(f"{self._place} was closed while writing.")

    def _run(self) -> None:
        """The thread: open, read until told to stop or the cable is pulled, close."""
        lost: Exception = LinkClosed(f"{self._place} stopped.")
        try:
            with self._opener() as port:
                self._port = port
                self._tell(self._succeed)
                try:
                    self._read(port)
                except _FOREIGN as exc:
                    lost = LinkClosed(f"{self._place} is gone: the cable was pulled or it hung up.")
                    lost.__cause__ = exc
                finally:
                    with self._handover:
                        self._port = None
                    with self._writing:
                        pass  # who writes comes to his end before the port is closed
        except TransportError as exc:
            lost = exc
        finally:
            self._tell(self._finish, lost)

    def _read(self, port: Port) -> None:
        while not self._stop.is_set():
            data = port.read(port.in_waiting or 1)
            if data:
                self._room.acquire()
                self._tell(self._deliver, data)

    def _tell(self, call: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # the event loop ended without closing us
            self._stop.set()

    def _succeed(self) -> None:
        if not self.opened.done():
            self.opened.set_result(None)

    def _deliver(self, data: bytes) -> None:
        self._room.release()
        if not self._stop.is_set():
            self._on_data(data)

    def _finish(self, lost: Exception) -> None:
        self._closed.set()
        if not self.opened.done():
            self.opened.set_exception(lost)
        elif not self._stop.is_set():
            self._on_lost(lost)


# ---------------------------------------------------------------------------------- opening


def open_port(place: str, baudrate: int) -> serial.Serial:
    """Open a port and lock it.

    Raises `PortNotFound`, `PortDenied`, `PortBusy` or `TransportError`. Blocks.
    """
    path = _device(place)
    _check_kind(place, path)
    others = holders(path)
    if others and _is_tty(path):
        # Not every program locks, and two readers of one port steal each other's bytes.
        raise _busy(place, others)
    if not is_pty(path) and (holder := lock_holder(path)):
        raise _busy(place, [holder])
    try:
        port = serial.Serial(
            path, baudrate, timeout=WAKE_UP, write_timeout=WRITE_TIMEOUT, exclusive=True
        )
    except _FOREIGN as exc:
        raise _open_error(place, path, baudrate, exc) from exc
    _forbid_others(port, path)
    return port


@contextmanager
def ready(place: str, port: serial.Serial) -> Iterator[serial.Serial]:
    """An open port for as long as it is used, with the mark that names us to other programs."""
    path = _device(place)
    try:
        with nullcontext() if is_pty(path) else marked(path):
            yield port
    finally:
        with suppress(*_FOREIGN):
            port.close()


def _forbid_others(port: serial.Serial, path: str) -> None:
    """Keep out the programs that know nothing of locks."""
    if sys.platform != "win32" and not is_pty(path):
        # The mark goes with the last close, and a pty's other end may outlive us by far.
        with suppress(OSError):
            fcntl.ioctl(port.fileno(), termios.TIOCEXCL)


def _device(place: str) -> str:
    """The path behind what the user wrote; `ttyUSB0` is `/dev/ttyUSB0`."""
    if os.name == "nt":
        return place
    path = str(Path(place).expanduser()) if place.startswith("~") else place
    return path if "/" in path else f"/dev/{path}"


def _is_tty(path: str) -> bool:
    """Asked only about devices that are open already: opening a port can reset what hangs on it."""
    if sys.platform != "win32":
        with suppress(OSError):  # opening it in earnest tells what is wrong
            fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            try:
                return os.isatty(fd)
            finally:
                os.close(fd)
    return True


def _check_kind(place: str, path: str) -> None:
    """A sentence for what cannot be a port, before anything is touched."""
    if os.name == "nt":
        return
    try:
        mode = Path(path).stat().st_mode
    except PermissionError as exc:
        raise PortDenied(f"You may not look into the folder of {place}.") from exc
    except (OSError, ValueError) as exc:
        raise _not_found(f"There is no serial port {place}", path) from exc
    if stat.S_ISDIR(mode):
        raise _not_found(f"{place} is a directory, not a serial port", path)
    if not stat.S_ISCHR(mode):
        raise _not_found(f"{place} is a file, not a serial port", path)


def _open_error(place: str, path: str, baudrate: int, exc: Exception) -> TransportError:
    """What pyserial's error means. Its text is all that Windows gives."""
    text = str(exc)
    code = _code(exc)
    if code in (errno.ENOENT, errno.ENXIO, errno.ENODEV) or "FileNotFoundError" in text:
        return _not_found(f"There is no serial port {place}", path)
    if code == errno.EIO:
        return _not_found(f"There is no hardware behind {place}", path)
    if code == errno.ENOTTY:
        return _not_found(f"{place} is not a serial port", path)
    if code in (errno.EBUSY, errno.EAGAIN) or "PermissionError" in text:
        return _busy(place, holders(path, everyone=True))
    if code in (errno.EACCES, errno.EPERM):
        return _denied(place, path)
    if isinstance(exc, (ValueError, OverflowError)):
        return TransportError(f"{place} cannot do {baudrate} baud: {text}.")
    return TransportError(f"{place} cannot be opened: {text}.")


def _code(exc: Exception) -> int | None:
    """The errno, which pyserial sometimes leaves in the error it caught."""
    if isinstance(exc, OSError) and exc.errno is not None:
        return exc.errno
    first = next(iter(exc.__context__.args), None) if exc.__context__ else None
    return first if isinstance(first, int) else None


def _not_found(what: str, path: str) -> PortNotFound:
    ports = [_plain(p.device, p.description) for p in list_ports.comports() if p.device != path]
    there = f"these exist: {', '.join(ports[:8])}" if ports else "no serial port was found here"
    return PortNotFound(f"{what}; {there}.")


def _plain(device: str, description: str | None) -> str:
    """A port for a sentence. The description is the adapter's own: it may hold anything."""
    words = "".join(c for c in description or "" if c.isprintable())[:40]
    return device if words in ("", "n/a", device) else f"{device} ({words})"


def _busy(place: str, found: list[str]) -> PortBusy:
    if found:
        return PortBusy(f"{place} is in use by {', '.join(found[:4])}; end that program first.")
    return PortBusy(f"{place} is in use by another program; end that program first.")


def _denied(place: str, path: str) -> PortDenied:
    how = f": {hint}" if (hint := _owner(path)) else ""
    return PortDenied(f"You may not open {place}{how}.")


def _owner(path: str) -> str:
    """Who may open a device, and how to become one of them."""
    if sys.platform != "win32":
        with suppress(OSError, KeyError):  # KeyError: an owner that has no name
            about = Path(path).stat()
            if about.st_mode & 0o060 == 0o060:
                group = grp.getgrgid(about.st_gid).gr_name
                return (
                    f"it belongs to the group {group}. Join it with "
                    f"`sudo usermod -aG {group} $USER`, then log out and in again"
                )
            return f"only its owner {pwd.getpwuid(about.st_uid).pw_name} may"
    return ""
