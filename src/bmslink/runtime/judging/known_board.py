"""Which board a served pack has: the one that is meant, another one, or one that did not say."""

from __future__ import annotations

import asyncio
from typing import Protocol

from bmslink.board import Board
from bmslink.errors import FrameError, LinkTimeout, Refused
from bmslink.model import Identity
from bmslink.places import Place, where
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.runtime.judging.pack_judge import PackJudge
from bmslink.runtime.judging.pack_memory import PackMemory, cut_off_text, who_answers
from bmslink.runtime.slow_set import changed_settings
from bmslink.runtime.watching.conditions import Teller

__all__ = ["KnownBoard"]

_UNTOLD = 3
"""A board that does not say who it is is asked so often, then read all the same."""
_MEMORY = 1.0
"""How long the first reading of a board waits for what is remembered of it, s: a disk that hangs
keeps no pack from being read, and its policies are blind meanwhile."""
_SHOWN = 5


class LooksSlowly(Protocol):
    """What was found by looking now and then."""

    identity: Identity | None
    settings: SettingsSnapshot | None


class KnownBoard:
    """Of one pack."""

    def __init__(
        self,
        name: str,
        board: Board,
        memory: PackMemory,
        judge: PackJudge,
        tell: Teller,
        *,
        accept: bool,
    ) -> None:
        """`accept`: whichever board answers is the one that is meant; a person said so."""
        self.place: Place = where(board.target, ask=False)
        """Where it is, whatever its target is written like; more is known once it was open."""
        self.identity: Identity | None = None
        """Who answers; `None` until it said so."""
        self.settings: SettingsSnapshot | None = None
        """Its settings, as they were looked at last; `None` where they were not."""
        self.other = ""
        """How the board that answers differs from the one that is meant; empty: it does not."""
        self.open_change = ""
        """What was cut off on it and what to do, in a sentence; empty: nothing that is known."""
        self.met = False
        """Whether it is known who answers now."""
        self._name, self._board = name, board
        self._memory, self._judge, self._tell = memory, judge, tell
        self._accept = accept
        self._patience = _MEMORY
        self._untold = 0
        self._outages = -1
        self._looking: asyncio.Task[None] | None = None

    async def ask(self) -> None:
        """Find out who answers, where that is not certain. Raises what asking the board raises."""
        link = self._board.link
        if self.met and link.continuity.outages == self._outages:
            return
        try:
            recalled = await self._recalled()
            identity, other = await who_answers(self._board, self._memory.expected)
            if recalled:
                self.meet(identity, other)
            else:
                self.identity = identity  # read, and not judged
        except (LinkTimeout, Refused, FrameError):
            self._untold += 1
            if self._untold < _UNTOLD or not link.received:
                raise
            self.met = True  # it may be one that never says it
        self._outages = link.continuity.outages
        await self._judge.recalled(_MEMORY)

    async def _recalled(self) -> bool:
        """Whether it is known which board is meant."""
        if self._accept or await self._memory.recall(self._patience):
            return True
        if self._patience:
            self._tell(
                "trouble",
                "What is remembered of it cannot be read from the disk yet: it is read, and its "
                "policies wait.",
                alarm=True,
            )
        self._patience = 0.0
        return False

    def meet(self, identity: Identity, other: str) -> None:
        """It said who it is. `other`: how that differs from the board that is meant."""
        known, self.identity = self.identity, identity
        self.met, self._untold = True, 0
        if known is None:
            self.place = where(self._board, ask=False)
            self._look_beside()
        if other and other != self.other:
            self.other = other
            self._tell("board_replaced", self.replaced, alarm=True, difference=other)
        elif self.other and not other:
            self.other = ""
            self._tell("board_back", f"The board that is meant for {self._name} is back.")
        if not other and (self._memory.expected is None or not self._judge.begun):
            self._take(identity)

    def confirm(self) -> bool:
        """A person says that the board that answers now is the one that is meant; whether another
        one was expected."""
        if not self.other or self.identity is None:
            return False
        self.other = ""
        self._take(self.identity)
        self._tell("board_confirmed", "The board is confirmed: its policies go on.")
        return True

    def _take(self, identity: Identity) -> None:
        """This board is the one that is meant."""
        self._memory.expect(identity)
        self.settings = None
        self._judge.begin(identity)

    @property
    def replaced(self) -> str:
        """That another board answers, in a sentence."""
        return (
            f"Another board answers as {self._name} ({self.other}): its policies wait. If it was "
            "exchanged on purpose, `bmslink service reload` says so."
        )

    def looked(self, found: LooksSlowly) -> None:
        """A whole look at identity and settings has come to its end."""
        identity, new, old = found.identity, found.settings, self.settings
        expected = self._memory.expected
        if identity is not None and expected is not None:
            if self._memory.differs(expected, identity):
                self.met = False  # asked again before the next reading, with more care
                return
            self.meet(identity, "")
        self._look_beside()
        changed = [] if self.other else changed_settings(old, new)
        if new is not None and not self.other:
            self.settings = new
            self._judge.learn(new.values())
        if changed and new is not None and old is not None:
            before, now = old.values(), new.values()
            shown = ", ".join(f"{key} {before[key]} -> {now[key]}" for key in changed[:_SHOWN])
            more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
            self._tell("settings_changed", f"Settings changed: {shown}{more}.", keys=changed)

    # -- what was cut off on it ------------------------------------------------------------------

    def _look_beside(self) -> None:
        """Look into the journal while everything else goes on."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self.look_for_cut_off())

    async def look_for_cut_off(self) -> None:
        """Look into the journal for a change of this board that was cut off, perhaps because the
        service itself was killed. Nothing is asked of the board."""
        if self.identity is None:
            return
        before, self.open_change = self.open_change, await cut_off_text(self._board, self.identity)
        if self.open_change and self.open_change != before:
            self._tell("change_cut_off", self.open_change, alarm=True)
