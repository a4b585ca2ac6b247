"""A pseudo-terminal that is the serial port of a simulated pack. POSIX only.

The client's end knows the baud rate the client set, as a real port does; a pseudo-terminal that
nobody set is at 38400.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import stat
import sys
import termios
import tty
from collections.abc import Callable
from pathlib import Path

from bmslink.errors import PortBusy, PortDenied, PortNotFound, TransportError

__all__ = ["Terminal"]

_RATES = {
    getattr(termios, name): int(name[1:]) for name in dir(termios) if re.fullmatch(r"B\d+", name)
}
_BACKLOG = 4095  # bytes that a terminal holds ready for its reader
_OUTPUT_SPEED = 5  # in the list that tcgetattr gives
_TCGETS2 = 0x802C542A  # Linux: the modes with both speeds as numbers
_TERMIOS2 = 44  # bytes of them; the last four are the output speed


class Terminal:
    """One pseudo-terminal with a symbolic link to the client's end."""

    def __init__(self, link: str | Path) -> None:
        """Raises `TransportError` where the link cannot be made."""
        self.link = Path(link).expanduser().absolute()
        self._on_data: Callable[[bytes], None] | None = None
        _clear_place(self.link)
        # Our own hold on the client's end keeps the port alive while clients come and go.
        self._device, self._client = os.openpty()
        try:
            tty.setraw(self._client)
            os.set_blocking(self._device, False)
            self._name = os.ttyname(self._client)
            self._make_link()
        except BaseException:
            self._close_ends()
            raise

    def _make_link(self) -> None:
        try:
            self.link.symlink_to(self._name)
        except FileNotFoundError as exc:
            raise PortNotFound(f"There is no directory {self.link.parent}.") from exc
        except PermissionError as exc:
            raise PortDenied(f"You may not make {self.link}.") from exc
        except OSError as exc:
            raise TransportError(f"{self.link} cannot be made: {exc.strerror}.") from exc

    def listen(self, on_data: Callable[[bytes], None]) -> None:
        """From now on `on_data` gets what clients write, in the running event loop."""
        self._on_data = on_data
        asyncio.get_running_loop().add_reader(self._device, self._read)

    def close(self) -> None:
        """Take the port away, and its link unless another one is there by now."""
        if self._on_data is not None:
            asyncio.get_running_loop().remove_reader(self._device)
        with contextlib.suppress(OSError):
            if self.link.is_symlink() and str(self.link.readlink()) == self._name:
                self.link.unlink()
        self._close_ends()

    def _close_ends(self) -> None:
        os.close(self._device)
        os.close(self._client)

    @property
    def rate(self) -> int:
        """The baud rate the client set; 0 where it hung up, or where nobody can say."""
        try:
            speed = termios.tcgetattr(self._client)[_OUTPUT_SPEED]
        except termios.error:
            return 0
        return _RATES[speed] if speed in _RATES else _own_rate(self._client, speed)

    def write(self, data: bytes) -> None:
        """Bytes to the client. What nobody reads is lost, the oldest first, as on a wire."""
        with contextlib.suppress(OSError, termios.error):  # the client took the line away
            unread = fcntl.ioctl(self._client, termios.FIONREAD, bytes(4))
            if int.from_bytes(unread, sys.byteorder) + len(data) > _BACKLOG:
                # the system would keep 64 KiB more, and the next client take them for fresh news
                termios.tcflush(self._client, termios.TCIFLUSH)
            os.write(self._device, data)

    def _read(self) -> None:
        try:
            data = os.read(self._device, 65536)
        except (BlockingIOError, InterruptedError):
            return
        with contextlib.suppress(OSError):
            # a client's mark "mine alone" would outlive it: our own hold keeps the port open
            fcntl.ioctl(self._client, termios.TIOCNXCL)
        if data and self._on_data is not None:
            self._on_data(data)


def _own_rate(client: int, speed: int) -> int:
    """A rate that has no name. Linux gives the number to a separate call; elsewhere the
    speed is the number."""
    if sys.platform != "linux":
        return speed
    try:
        state = fcntl.ioctl(client, _TCGETS2, bytes(_TERMIOS2))
    except OSError:
        return 0
    return int.from_bytes(state[_TERMIOS2 - 4 :], sys.byteorder)


def _clear_place(link: Path) -> None:
    """Remove a link to nothing, as a run that was killed leaves it; anything else stays, with a
    `TransportError`."""
    try:
        if link.is_symlink():
            if not link.exists():
                link.unlink()
            elif stat.S_ISCHR(link.stat().st_mode):
                raise PortBusy(
                    f"{link} is in use: {link.readlink()} is there. End the simulator that it "
                    "belongs to, or choose another place for --pty."
                )
            else:
                raise TransportError(
                    f"{link} points to something that is no terminal; choose another --pty."
                )
        elif link.exists():
            raise TransportError(f"{link} exists and is no link; choose another place for --pty.")
    except TransportError:
        raise
    except PermissionError as exc:
        raise PortDenied(f"You may not replace {link}.") from exc
    except OSError as exc:
        raise TransportError(f"{link} cannot be used: {exc.strerror}.") from exc
