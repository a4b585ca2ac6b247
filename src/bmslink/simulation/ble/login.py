"""The radio module's side of JBD's `FF AA` authentication.

`docs/protocols/jbd.md`, Bluetooth: app key, random byte, password mixed with the address. Until
that is done, a board behind such a module says nothing.
"""

from __future__ import annotations

import random

from bmslink.protocols.jbd.framing import JBDFrame, JBDFramer

__all__ = ["Login"]

_APP_KEY, _RANDOM, _PASSWORD, _OWNER_KEY = 0x15, 0x17, 0x18, 0x1D
_KEY = b"000000"
_GO_ON, _REFUSED = b"\x00", b"\x01"
_FAREWELL = 3
"""Wrong passwords after which it does not listen any more."""


class Login:
    """One client's way past a module that asks for a password."""

    def __init__(self, address: bytes, pin: str, *, seed: int = 1) -> None:
        """`address` as it is written, first byte first."""
        self.passed = False
        self._address = address
        self._pin = pin.encode()
        self._random = random.Random(seed)
        self._number: int | None = None
        self._asked = False
        self._wrong = 0
        self._framer = JBDFramer()

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        """Takes a packet: what the module answers, and what goes on to the board."""
        if not data.startswith(b"\xff\xaa"):
            return b"", data if self.passed else b""
        self._framer.reset()
        answers = [self._answer(frame) for frame in self._framer.feed(data)]
        return b"".join(answers), b""

    def _answer(self, frame: JBDFrame) -> bytes:
        if not frame.module or self._wrong >= _FAREWELL:
            return b""
        if frame.code == _APP_KEY:
            self._asked = frame.data == _KEY
            return self._say(_APP_KEY, _GO_ON if self._asked else _REFUSED)
        if frame.code == _RANDOM and self._asked:
            self._number = self._random.randrange(256)
            return self._say(_RANDOM, bytes([self._number]))
        if frame.code == _PASSWORD and self._number is not None:
            self.passed = frame.data == self._mixed(self._number)
            self._wrong += not self.passed
            self._number = None
            return self._say(_PASSWORD, _GO_ON if self.passed else _REFUSED)
        if frame.code == _OWNER_KEY and self.passed:  # it has none to compare with
            return self._say(_OWNER_KEY, _GO_ON)
        return b""

    def _mixed(self, number: int) -> bytes:
        pairs = zip(self._address, self._pin, strict=True)
        return bytes(((own ^ digit) + number) & 0xFF for own, digit in pairs)

    def _say(self, command: int, data: bytes) -> bytes:
        return self._framer.encode(JBDFrame(code=command, data=data, module=True))
