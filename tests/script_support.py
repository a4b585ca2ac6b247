"""A board for driver tests that answers each question with the bytes that a test gives it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from bmslink.link.gatt import SeenDevice
from bmslink.link.link import Link
from bmslink.protocols.base import Driver, Options
from scripted import ScriptedTransport
from support import virtual_run

__all__ = ["Scripted", "drive"]


class Scripted(ScriptedTransport):
    """Frame (hex) -> its answer (hex); silent for all others."""

    def __init__(self, answers: Mapping[str, str], peer: SeenDevice | None = None) -> None:
        super().__init__()
        self.answers = dict(answers)
        self.after: dict[str, Mapping[str, str]] = {}
        """Frame -> what is answered as well once it was sent."""
        self.frames: list[str] = []
        """What was sent, in hex."""
        self.seen = peer

    def peer(self) -> SeenDevice | None:
        return self.seen

    def heard(self, data: bytes) -> None:
        self.frames.append(data.hex())
        self.answers |= self.after.get(data.hex(), {})
        if answer := self.answers.get(data.hex()):
            self.say(bytes.fromhex(answer), after=0.03)


def drive(
    driver: type[Driver[Any]],
    answers: Mapping[str, str],
    use: Callable[[Any, Scripted], Coroutine[Any, Any, None]],
    options: Options | None = None,
    peer: SeenDevice | None = None,
) -> None:
    """Run a coroutine with a driver and its board, in virtual time."""

    async def main() -> None:
        board = Scripted(answers, peer)
        link: Link[Any] = Link(board, driver.make_framer(), driver.timing)
        await link.open()
        await use(driver(link, options or Options()), board)
        await link.close()

    virtual_run(main())
