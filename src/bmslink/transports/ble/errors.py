"""What Bluetooth stacks throw, in words.

bleak hands on whatever the system's stack throws: its own errors, D-Bus errors under BlueZ,
`OSError`, `EOFError`, `TimeoutError`, assertions. All of it is translated here, once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakCharacteristicNotFoundError,
    BleakDBusError,
    BleakDeviceNotFoundError,
    BleakError,
    BleakGATTProtocolError,
    BleakGATTProtocolErrorCode,
)

from bmslink.errors import (
    BmsError,
    LinkClosed,
    PortBusy,
    PortDenied,
    PortNotFound,
    TransportError,
)

__all__ = [
    "PAIRING",
    "PASSKEY",
    "brought_to_an_end",
    "explain",
    "passing",
    "printable",
    "translated",
    "wants_pairing",
]

_log = logging.getLogger(__name__)

_ENDING = 5.0
"""s that a stack may take to end something."""


_Why = BleakBluetoothNotAvailableReason
_Code = BleakGATTProtocolErrorCode

_PAIRING_CODES = {
    _Code.INSUFFICIENT_AUTHENTICATION,
    _Code.INSUFFICIENT_AUTHORIZATION,
    _Code.INSUFFICIENT_ENCRYPTION,
    _Code.INSUFFICIENT_ENCRYPTION_KEY_SIZE,
}
_NO_BLUEZ = (
    "Bluetooth needs BlueZ, which does not run here: install it (sudo apt install bluez) and start "
    "it (sudo systemctl start bluetooth). In a container, mount /run/dbus from the host."
)
_FORBIDDEN = (
    "This system does not let you use Bluetooth: on Linux join the group bluetooth and log in "
    "again, on macOS and Windows allow it for this program in the privacy settings."
)
_UNAVAILABLE: dict[BleakBluetoothNotAvailableReason, tuple[type[TransportError], str]] = {
    _Why.NO_BLUETOOTH: (
        PortNotFound,
        "This computer has no Bluetooth adapter: plug one in, or reach the pack over a wire.",
    ),
    _Why.NO_BLE_CENTRAL_ROLE: (
        PortNotFound,
        "This computer's Bluetooth adapter is too old (Bluetooth 4.0 is needed): plug in another.",
    ),
    _Why.POWERED_OFF: (
        PortNotFound,
        "Bluetooth is off: turn it on (on Linux: bluetoothctl power on, rfkill unblock bluetooth).",
    ),
    _Why.DENIED_BY_USER: (PortDenied, _FORBIDDEN),
    _Why.DENIED_BY_SYSTEM: (PortDenied, _FORBIDDEN),
    _Why.DENIED_BY_UNKNOWN: (PortDenied, _FORBIDDEN),
}
PAIRING = (
    "{place} wants to be paired first: give its passkey with --pin-file or BMSLINK_PIN, or pair it "
    "in the system's Bluetooth settings."
)
PASSKEY = (
    "{place} did not accept the pairing: check the passkey, and remove an old pairing in the "
    "system's Bluetooth settings."
)
_BUSY = (
    "{place} is there but does not let us in. It serves one at a time: close the phone app and "
    "other programs that use it, then try again."
)
_DBUS: dict[str, tuple[type[TransportError], str]] = {
    "org.freedesktop.DBus.Error.ServiceUnknown": (PortNotFound, _NO_BLUEZ),
    "org.freedesktop.DBus.Error.NameHasNoOwner": (PortNotFound, _NO_BLUEZ),
    "org.freedesktop.DBus.Error.Spawn.ChildExited": (PortNotFound, _NO_BLUEZ),
    "org.freedesktop.DBus.Error.AccessDenied": (PortDenied, _FORBIDDEN),
    "org.freedesktop.DBus.Error.UnknownObject": (
        PortNotFound,
        "{place} was seen and is gone again: bring it nearer, then try again.",
    ),
    "org.bluez.Error.NotReady": _UNAVAILABLE[_Why.POWERED_OFF],
    "org.bluez.Error.NotPermitted": (PortDenied, PAIRING),
    "org.bluez.Error.NotAuthorized": (PortDenied, PAIRING),
    "org.bluez.Error.AuthenticationFailed": (PortDenied, PASSKEY),
    "org.bluez.Error.AuthenticationRejected": (PortDenied, PASSKEY),
    "org.bluez.Error.AuthenticationCanceled": (PortDenied, PASSKEY),
    "org.bluez.Error.AuthenticationTimeout": (PortDenied, PASSKEY),
    "org.bluez.Error.InProgress": (
        PortBusy,
        "Another program on this computer is using Bluetooth with {place}: end it, then try again.",
    ),
    "org.bluez.Error.NotConnected": (LinkClosed, "{place} disconnected."),
}


def printable(text: str, most: int = 120) -> str:
    """Foreign text for one of our sentences: a name in an advert may hold anything."""
    shown = "".join(c if c.isprintable() else "?" for c in text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def wants_pairing(exc: BaseException | None) -> bool:
    """Whether a pack lets nobody in who is not paired."""
    if isinstance(exc, BleakGATTProtocolError):
        return exc.code in _PAIRING_CODES
    return isinstance(exc, BleakDBusError) and exc.dbus_error in (
        "org.bluez.Error.NotPermitted",
        "org.bluez.Error.NotAuthorized",
    )


def passing(error: BmsError) -> bool:
    """Whether a failure to connect is of the kind that the next try often does not meet."""
    cause = error.__cause__
    if isinstance(error, PortDenied) or isinstance(cause, BleakBluetoothNotAvailableError):
        return False
    return isinstance(error, LinkClosed) or isinstance(cause, BleakError)


def explain(exc: BaseException, place: str, *, connecting: bool = False) -> TransportError:
    """What an error of a Bluetooth stack means. `connecting`: the device was seen just now."""
    if isinstance(exc, BleakBluetoothNotAvailableError):
        kind, text = _UNAVAILABLE.get(
            exc.reason,
            (PortNotFound, f"Bluetooth cannot be used here: {printable(str(exc.args[0]))}."),
        )
        return kind(text)
    if isinstance(exc, BleakDBusError) and exc.dbus_error in _DBUS:
        kind, text = _DBUS[exc.dbus_error]
        return kind(text.format(place=place))
    if wants_pairing(exc):
        return PortDenied(PAIRING.format(place=place))
    if isinstance(exc, BleakDeviceNotFoundError):
        return PortNotFound(
            _DBUS["org.freedesktop.DBus.Error.UnknownObject"][1].format(place=place)
        )
    if isinstance(exc, BleakCharacteristicNotFoundError):
        return LinkClosed(f"{place} changed its characteristics while it was used: connect anew.")
    if isinstance(exc, (FileNotFoundError, ConnectionRefusedError)) and not connecting:
        return PortNotFound(_NO_BLUEZ)  # no D-Bus, or none that listens
    if isinstance(exc, PermissionError):
        return PortDenied(_FORBIDDEN)
    if connecting and isinstance(exc, (TimeoutError, BleakError, asyncio.CancelledError)):
        return PortBusy(_BUSY.format(place=place))
    if isinstance(exc, TimeoutError):
        return TransportError(f"Bluetooth does not answer ({place}): turn it off and on again.")
    if isinstance(exc, (EOFError, ConnectionError, asyncio.CancelledError)):
        return LinkClosed("The system's Bluetooth service went away: is it being restarted?")
    what = printable(str(exc).strip()).rstrip(".") or type(exc).__name__
    return TransportError(f"Bluetooth failed ({place}): {what}.")


@contextmanager
def translated(place: str, *, connecting: bool = False) -> Iterator[None]:
    """Around calls into bleak: nothing but our own errors comes out."""
    try:
        yield
    except BmsError:
        raise
    except asyncio.CancelledError as exc:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise  # ours: somebody ended this task; else a future of the stack was cancelled
        raise explain(exc, place, connecting=connecting) from exc
    except Exception as exc:
        raise explain(exc, place, connecting=connecting) from exc


async def brought_to_an_end(what: str, end: Callable[[], Awaitable[None]]) -> None:
    """Stop, disconnect or close something of a stack, whose complaints are then of no use.

    Whoever is cancelled meanwhile is so when that is done: half an end would leave an adapter
    scanning or a pack connected.
    """

    async def ended() -> None:
        try:
            with translated(what):
                async with asyncio.timeout(_ENDING):
                    await end()
        except BmsError as error:
            _log.info("%s could not be ended: %s", what, error)

    task = asyncio.ensure_future(ended())
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is not None:
        raise cancelled
