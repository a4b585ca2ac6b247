"""The switches of a connected board, prepared: each frame is made before it is needed.

Off takes the road of `bmslink switch ... off` (`config.switching.frames`) and none of what follows
there: no plan, no table, no journal. It leaves at the next frame boundary, before all questions
that wait, once, and never after its deadline. On is careful: who answers is known, it waits its
turn, and the switches beside it must be known. What came of either is read back by others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from bmslink.board import Board
from bmslink.config.identity.known_as import identify_as, pack_of, same_board
from bmslink.config.switching.frames import Remembered, SwitchFrames, send_bit, send_once
from bmslink.control.act.actuator import Sent
from bmslink.control.act.facts import states_of
from bmslink.errors import BmsError, GateError, LinkTimeout, Refused
from bmslink.link.turns import Preemption, preemptible
from bmslink.model import Switch
from bmslink.protocols.common.settings_map import RawSettings, WriteCommand

__all__ = ["BoardActuator", "Prepared", "prepare"]

_FRESH = 2.0
"""What a board showed so long ago is not asked for again before an off, s: as a rule it came with
the reading that the off answers to."""


class Prepared(NamedTuple):
    """The switches of one board, by their names."""

    actuators: Mapping[str, BoardActuator]
    unable: Mapping[str, str]
    """Why the others cannot be set."""


async def prepare(
    device: Board, *, waive: Collection[str] = (), remembered: Remembered = lambda switch: None
) -> Prepared:
    """Ask an open board who it is, and find the frames of its switches. Nothing is changed.

    `waive` may hold `untested`. `remembered` gives how our last confirmed command left a switch.
    To be called again when the link was opened anew. Raises `LinkTimeout`, `LinkClosed`, …
    """
    identity = await device.who()
    actuators: dict[str, BoardActuator] = {}
    unable: dict[str, str] = {}
    for switch in Switch:
        try:
            frames = await SwitchFrames.find(device, switch, waive)
        except (GateError, Refused) as error:
            unable[switch] = str(error).removeprefix("Nothing was sent. ")
        else:
            known = pack_of(identity)
            actuators[switch] = BoardActuator(frames, known, frozenset(waive), remembered)
    return Prepared(actuators, unable)


@dataclass(slots=True)
class _Try:
    """How far one try came."""

    left: bool = False
    """Its first byte may be out."""
    done: bool = False
    """All of it is out."""
    step: WriteCommand[Any] | None = None

    def watched(
        self, step: WriteCommand[Any], require: Callable[[], None] = lambda: None
    ) -> WriteCommand[Any]:
        """The step, which says when it leaves, and does not where `require` raises then."""

        def leaving() -> None:
            require()
            self.left = True

        self.step = replace(step, leaving=leaving)
        return self.step

    def told(self, *, acknowledged: bool | None = None, error: str = "") -> Sent:
        """What is known of it now."""
        sent = True if self.done else None if self.left else False
        step = self.step if sent is not False else None
        return Sent(
            sent=sent,
            acknowledged=acknowledged,
            others={} if step is None else {str(s): on for s, on in step.others.items()},
            doubt="" if step is None else step.doubt,
            error=error,
        )


class BoardActuator:
    """One switch of a board. It may be used by one task while others poll the same board."""

    def __init__(
        self,
        frames: SwitchFrames,
        known: Mapping[str, Any],
        waive: frozenset[str],
        remembered: Remembered,
    ) -> None:
        self._device = frames.device
        self._switch = frames.switch
        self._frames = frames
        self._opening = self._device.openings
        self._known = known
        self._waive = waive
        self._remembered = remembered

    @property
    def name(self) -> str:
        """`charge`, `discharge` or `balance`."""
        return self._switch.value

    @property
    def seldom_told(self) -> bool:
        """Readings hold how it was when the settings came last, so it must be asked for."""
        return self._device.driver.streams and self._frames.setting is not None

    async def off(self, deadline: float) -> Sent:
        """One try, which ends at `deadline` (monotonic seconds); what has not left by then never
        does. Does not raise `BmsError`."""
        self._device.offs.note(self._switch)
        return await self._try(self._off, deadline)

    async def on(self, deadline: float, against: Callable[[], str] = lambda: "") -> Sent:
        """The same for on, to the board that was there when this was prepared and to no other.
        `against` is asked in the moment before it leaves."""
        with self._device.offs.watched():
            return await self._try(lambda run: self._on(run, against), deadline)

    async def state(self) -> bool | None:
        """How the board shows the switch now; `None`: it does not say, or nothing can be read."""
        try:
            if (setting := (await self._current()).setting) is not None:
                value = (await self._device.settings(setting)).values().get(self._switch.key)
                return value if isinstance(value, bool) else None
            return states_of(await self._device.read())[self._switch]
        except BmsError:
            return None

    async def _try(self, send: Callable[[_Try], Awaitable[bool]], deadline: float) -> Sent:
        run = _Try()
        if asyncio.get_running_loop().time() >= deadline:
            return run.told(error="The deadline passed.")
        try:
            # whoever polls the board may send this: it is no part of a poll that is given up
            with preemptible(Preemption()):
                async with asyncio.timeout_at(deadline):
                    heard = await send(run)
        except Refused as error:
            run.done = run.left
            return run.told(acknowledged=False if run.left else None, error=str(error))
        except LinkTimeout as error:  # it waited for what comes after the frame, or before it
            run.done = run.left
            return run.told(error=str(error))
        except BmsError as error:
            return run.told(error=str(error))
        except TimeoutError:  # `LinkTimeout` is one, too
            return run.told(error="The deadline passed.")
        run.done = True
        return run.told(acknowledged=heard or None)

    async def _off(self, run: _Try) -> bool:
        frames = await self._current()
        if frames.bit:
            return await self._set_bit(frames, run, on=False)
        step = run.watched(await frames.off(self._remembered, _FRESH))
        return await send_once(self._device, step, advising=False)

    async def _on(self, run: _Try, against: Callable[[], str]) -> bool:
        identity = self._device.known if self._device.certain else None
        other = "unknown" if identity is None else same_board(self._known, pack_of(identity))
        if other:
            _, other = await identify_as(self._device, self._known)
        if other:
            raise Refused(f"Who answers now is another board: {other}.")
        frames = await self._current()
        if frames.bit:
            return await self._set_bit(frames, run, on=True, against=against)

        async def make() -> WriteCommand[Any]:
            step = await frames.on()
            _require_wanted(against)
            on = [self._switch, *(switch for switch, on in step.others.items() if on)]
            return run.watched(step, partial(self._device.offs.require_none, on))

        return await self._device.order(make)

    async def _set_bit(
        self,
        frames: SwitchFrames,
        run: _Try,
        *,
        on: bool,
        against: Callable[[], str] = lambda: "",
    ) -> bool:
        def make(image: RawSettings) -> WriteCommand[Any]:
            _require_wanted(against)
            wanted = [self._switch] if on else []
            require = partial(self._device.offs.require_none, wanted)
            return replace(run.watched(frames.bit_step(image, on=on), require), once=True)

        return await send_bit(frames, make)

    async def _current(self) -> SwitchFrames:
        """The frames; found again where the link was opened since: another board may answer."""
        if self._opening != self._device.openings:
            self._frames = await SwitchFrames.find(self._device, self._switch, self._waive)
            self._opening = self._device.openings
        return self._frames


def _require_wanted(against: Callable[[], str]) -> None:
    """`Refused` where an on is no longer wanted: it may have waited long for its turn."""
    if why := against():
        raise Refused(why)
