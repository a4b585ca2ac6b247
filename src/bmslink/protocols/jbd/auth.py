"""How a JBD Bluetooth module lets somebody in: `FF AA` frames beside the board's own.

The app says its key (15), is told whether a password is needed, and answers with the password
(18) hidden behind the module's address and a random byte (17). Newer boards take reads after
that; writes want a second secret (1D), which only the user can supply. Formula and order:
`docs/protocols/jbd.md`, frames of the Bluetooth module.

A pin is written `PASSWORD` or `PASSWORD:KEY`: six characters, and fifteen (or 30 hex digits).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bmslink.errors import LinkTimeout, PortDenied
from bmslink.link.link import Link
from bmslink.link.transport import Pin
from bmslink.protocols.jbd.framing import JBDFrame
from bmslink.protocols.jbd.radio import JBD_PREFIXES

__all__ = ["APP_KEY", "Secrets", "authenticate", "hide", "take_apart"]

APP_KEY = b"000000"
"""What the vendor's app sends; no secret."""
_ADDRESS = re.compile(r"[0-9A-F]{2}(:[0-9A-F]{2}){5}")
_HELLO, _RANDOM, _PASSWORD, _KEY = 0x15, 0x17, 0x18, 0x1D
_NEEDED, _REFUSED, _FREE = 0x00, 0x01, 0x02
_TRIES = 2
"""Repetitions; the module answers within 60 ms, and one that knows no passwords never does."""


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """What a pin says."""

    password: bytes
    key: bytes = b""


def take_apart(pin: str) -> Secrets:
    """The secrets in a pin; `PortDenied` (which does not repeat it) if it cannot be one."""
    password, mark, key = pin.partition(":")
    try:
        hidden = bytes.fromhex(key) if len(key) == 30 else key.encode("ascii")
        secrets = Secrets(password.encode("ascii"), hidden)
    except ValueError:
        secrets = Secrets(b"")
    if len(secrets.password) != 6 or (mark and len(secrets.key) != 15):
        raise PortDenied(
            "A JBD pin is the six characters of the password, or PASSWORD:KEY with the fifteen "
            "characters of the key; the one given is not."
        ) from None
    return secrets


def hide(secret: bytes, address: bytes, random: int) -> bytes:
    """A secret as it goes over the air: ((address XOR secret) + random) & FF, byte by byte, the
    address in the order in which it is written and filled up with zeros."""
    padded = address.ljust(len(secret), b"\0")
    return bytes((a ^ s) + random & 0xFF for a, s in zip(padded, secret, strict=False))


def hardware_address(link: Link[JBDFrame]) -> bytes | None:
    """The module's address; `None` where the system does not tell (macOS) and no advert did:
    Telink modules repeat it backwards as their company and the four bytes behind that."""
    seen = link.transport.peer()
    if seen is None:
        return None
    if _ADDRESS.fullmatch(seen.address):
        return bytes.fromhex(seen.address.replace(":", ""))
    for company, data in seen.manufacturers.items():
        address = (company.to_bytes(2, "little") + data[:4])[::-1]
        if address.hex(":").upper().startswith(JBD_PREFIXES):
            return address
    return None


async def authenticate(link: Link[JBDFrame], pin: Pin) -> bool:
    """Show the module that we may be let in; `False` if it knows no passwords.

    Raises `PortDenied` where it refuses or there is nothing to show.
    """
    try:
        status = await _ask(link, _HELLO, APP_KEY)
    except LinkTimeout:
        return False
    if status == _FREE:
        return True
    if status != _NEEDED:
        raise PortDenied(f"The Bluetooth module refuses us (status {status:02X}).")
    given = pin.get("Password of the JBD Bluetooth module")
    if given is None:
        raise PortDenied(
            "The Bluetooth module wants its password: give it with --pin-file, BMSLINK_PIN or pin "
            "in bmslink.toml."
        )
    secrets = take_apart(given)
    address = hardware_address(link)
    if address is None:
        raise PortDenied(
            "This system hides the address of the Bluetooth module, without which its password "
            "cannot be shown: use Linux or Windows, or a wire."
        )
    await _show(link, _PASSWORD, secrets.password, address, "password")
    if secrets.key:
        await _show(link, _KEY, secrets.key, address, "key")
    return True


async def _show(
    link: Link[JBDFrame], command: int, secret: bytes, address: bytes, what: str
) -> None:
    random = await _ask(link, _RANDOM)
    if await _ask(link, command, hide(secret, address, random)):
        raise PortDenied(f"The Bluetooth module refused the {what}: is the pin right?")


async def _ask(link: Link[JBDFrame], command: int, data: bytes = b"") -> int:
    """One module command; its one byte of answer."""

    def matches(frame: JBDFrame) -> bool:
        return frame.module and frame.code == command and len(frame.data) == 1

    request = JBDFrame(module=True, code=command, data=data)
    return (await link.collect(request, matches, bool, retries=_TRIES))[0].data[0]
