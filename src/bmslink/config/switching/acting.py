"""Whatever acts on a pack by itself, as far as somebody who switches by hand must know of it.

It lies further up (`control`, `runtime`), so it is named here by a string that is loaded when
somebody switches, as protocols and transports are: whether it is asked depends on no import of
somebody else's.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol, cast

from bmslink.board import Board
from bmslink.config.outcome import Outcome
from bmslink.model import Command, Identity, Switch
from bmslink.storage.apart import apart
from bmslink.storage.state import state_path

__all__ = ["Handed", "SwitchingByHand", "by_hand", "may_run"]

_BY_HAND = "bmslink.runtime.acting.by_hand"
_MOMENT = 0.3
"""How long that may take, s."""


class Handed(NamedTuple):
    """What became of a switch command that a `control run` was asked to carry out."""

    outcome: Outcome | None
    """`None`: nobody carries it out, so whoever asked does."""
    note: str = ""
    """What happened, in a sentence, where somebody was asked and did not do it."""


class SwitchingByHand(Protocol):
    """What is asked of what acts."""

    async def hand_over(self, device: Board, command: Command) -> Handed:
        """Have the `control run` that acts on the pack do it, if there is one. The board is not
        asked, and need not be open. Raises `GateError` where the switch is held."""

    def held_off(
        self, device: Board, identity: Identity, switches: Collection[Switch]
    ) -> Mapping[Switch, str]:
        """Which of them nobody may switch on now: why, and what ends that. Reads the disk."""

    def left_off(self, device: Board, identity: Identity) -> Collection[Switch]:
        """The switches that are off by what acts, by a person it knows of, or by a stop. Reads the
        disk."""

    def switching_on(
        self, device: Board, identity: Identity, switch: Switch
    ) -> AbstractAsyncContextManager[Callable[[], Awaitable[str]]]:
        """Around switching on by hand; meanwhile nothing else begins to act on the pack. What it
        gives is called when the switch is on, and says what that ended. A thread asks the disk.
        Raises `GateError` where something holds the switch off, `JournalRefusal` where the disk
        hangs."""


async def may_run() -> bool:
    """Whether a `control run` or a balancing session may have some pack, by the files that they
    leave: an off looks at no more where there are none, and loads nothing for it. A disk that hangs
    knows of none."""

    def look() -> bool:
        return any(any((state_path() / folder).glob("*.json")) for folder in ("", "sessions"))

    try:
        return await apart(look, _MOMENT)
    except (OSError, TimeoutError):
        return False


def by_hand() -> SwitchingByHand:
    """The module that knows it."""
    return cast(SwitchingByHand, importlib.import_module(_BY_HAND))
