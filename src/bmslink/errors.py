"""Every error bmslink raises.

```
BmsError
├── TargetError          the target string, protocol, key or option is malformed (the CLI exits 2)
├── TransportError       the wire itself failed
│   ├── PortNotFound     no such serial port or host
│   ├── PortDenied       the port exists, we may not open it
│   ├── PortBusy         somebody else holds the port
│   ├── LinkClosed       the other side hung up or the cable was pulled
│   └── LinkTimeout      no usable answer in time; `heard` says what came instead
├── FrameError           bytes that no layout explains
├── CaptureError         a capture file that is damaged; names the line
├── UnknownDevice        it answered, but nothing we know speaks like that
├── Refused              the device said no
├── SettingError         a setting or a value that this device cannot take
│   └── UsageError       an unknown name, text for a number, a malformed file (the CLI exits 2)
├── GateError            a safety check failed; nothing was sent; carries the checks
├── VerifyError          written, and read back different
└── RollbackError        a failed write could not be undone either
```

A message is one or two sentences: what happened, where, and what to do next. Whatever a
third-party library raises is translated once, in the module that owns the import.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = [
    "BmsError",
    "CaptureError",
    "FrameError",
    "GateError",
    "LinkClosed",
    "LinkTimeout",
    "PortBusy",
    "PortDenied",
    "PortNotFound",
    "Refused",
    "RollbackError",
    "SettingError",
    "TargetError",
    "TransportError",
    "UnknownDevice",
    "UsageError",
    "VerifyError",
]


class BmsError(Exception):
    """The root of all errors that bmslink raises on purpose."""


class TargetError(BmsError, ValueError):
    """A target, protocol name, query key or option that cannot be understood."""


class TransportError(BmsError, OSError):
    """The wire failed: nothing is known about the battery."""


class PortNotFound(TransportError):
    """The serial port, host or file does not exist."""


class PortDenied(TransportError):
    """The port exists, but this user may not open it."""


class PortBusy(TransportError):
    """Another program holds the port."""


class LinkClosed(TransportError):
    """The other side closed the connection, or the cable was pulled."""


class LinkTimeout(TransportError, TimeoutError):
    """No usable answer in time.

    `heard` is what came instead: `silence` (no byte), `garbage` (bytes, but no valid
    frame), or `other` (valid frames, none of them the answer).
    """

    def __init__(self, message: str, heard: str = "silence") -> None:
        super().__init__(message)
        self.heard = heard


class FrameError(BmsError, ValueError):
    """Bytes that are no frame, or a frame whose content no layout explains."""

    def __init__(self, message: str, data: bytes = b"") -> None:
        super().__init__(message)
        self.data = data


class CaptureError(BmsError, ValueError):
    """A capture file that is cut off, edited or not a capture file at all."""

    def __init__(self, message: str, path: str = "", line: int = 0) -> None:
        super().__init__(message)
        self.path = path
        self.line = line


class UnknownDevice(BmsError):
    """Something answered, but no protocol we know explains it."""


class Refused(BmsError):
    """The device understood the request and said no; `status` is its own code."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class SettingError(BmsError, ValueError):
    """A setting that does not exist here, or a value it cannot take."""


class UsageError(SettingError):
    """What was asked for cannot be meant, whatever the device is like: an unknown setting or
    check, text where a number belongs, a file that is no profile (the CLI exits 2)."""


class GateError(BmsError):
    """A safety gate refused; nothing was sent. `checks` are all that were made, if any were."""

    def __init__(self, message: str, checks: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.checks: tuple[Any, ...] = tuple(checks)


class VerifyError(BmsError):
    """A write was sent, and reading it back showed something else: `found` (`None`: nothing).

    Where a whole change was set back because of it, `outcome` says how that went.
    """

    def __init__(self, message: str, found: bytes | None = None, outcome: Any = None) -> None:
        super().__init__(message)
        self.found = found
        self.outcome = outcome


class RollbackError(BmsError):
    """A change failed half way and the old values could not be restored; `outcome` says what
    stands now, as far as it is known."""

    def __init__(self, message: str, outcome: Any = None) -> None:
        super().__init__(message)
        self.outcome = outcome
