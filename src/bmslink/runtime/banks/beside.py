"""What acts on a pack asks whether a switch may close beside the other packs of its bank."""

from __future__ import annotations

from collections.abc import Callable

from bmslink.board import Board
from bmslink.config.switching.joining import tell_join, why_not_join
from bmslink.control.act.messages import SwitchCommand
from bmslink.model import Switch
from bmslink.runtime.acting.contained import contained

__all__ = ["asks_bank", "closing", "tell_bank"]


def asks_bank(board: Board, mistaken: Callable[[BaseException], None]) -> Callable[[str], str]:
    """Gives why a switch may not close now; empty: it may. Reads no disk. A mistake in there goes
    to `mistaken`, and switches nothing on."""

    def why_not(name: str) -> str:
        found = ["bmslink made a mistake with the bank of this pack."]
        with contained(mistaken):
            found = [why_not_join(board, Switch(name), by_file=False)]
        return found[0]

    return why_not


def tell_bank(board: Board, name: str) -> None:
    """A switch of this pack closes now."""
    tell_join(board, Switch(name))


def closing(against: Callable[[], str], board: Board, command: SwitchCommand) -> Callable[[], str]:
    """The same as `against`, to be asked in the moment before an on leaves: where nothing is
    against it, the others of the bank hear of it once more, because it may have waited."""

    def why_not() -> str:
        why = against()
        if not why:
            tell_bank(board, command.actuator)
        return why

    return why_not
