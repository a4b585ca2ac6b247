"""What people ask of a pack that nothing watches: done on its board at once, and remembered in its
ledger, so that what watches it next knows of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from bmslink.board import Board
from bmslink.config.switching.frames import SwitchFrames, send_bit, send_once
from bmslink.errors import BmsError, GateError, VerifyError
from bmslink.model import Identity, Switch
from bmslink.protocols.common.settings_map import RawSettings, WriteCommand
from bmslink.runtime.acting.acting_side import ActingSide
from bmslink.runtime.acting.latches import kept_policies
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.acting.shown import not_read_back, nothing_known, shown_in_words, still_on
from bmslink.storage.journal import Journal, JournalError

__all__ = ["DoneDirectly", "begin_for_stop", "do_directly", "send_offs", "who_after"]

_WITHIN = 12.0
"""How long a stop may take until all of it is read back, s: a slow board is read in 3 s."""
_LEFT = 4.0
"""How much of that is left at least where others had the pack, s."""
_WAITS = 30.0
"""How long a stop whose offs are out waits for others who have the pack, s: switching on by hand
takes as long until it is read back."""
_BIT = 3.0
"""How long reading and setting a word may take, s."""
_APART = 0.5
"""s between two looks at the board."""


class DoneDirectly(NamedTuple):
    """What came of it."""

    done: list[str]
    status: dict[str, Any]
    """As `ActingSide.status`."""


async def do_directly(
    board: Board,
    wish: ActingWish,
    who: str,
    *,
    waive: Collection[str] = (),
    progress: Callable[[str], None] = lambda text: None,
) -> DoneDirectly:
    """On an open board. `progress` is told how far a stop is, which takes 12 s at most while the
    board answers. Raises `GateError` where it is refused; `VerifyError` where a switch is not read
    back as off after a stop; what asking the board raises."""
    notes: list[partial[None]] = []
    told: list[str] = []

    def note(event: str, **data: Any) -> None:
        notes.append(partial(Journal().append, event, **data))

    def tell(what: str, text: str, *, alarm: bool = False, **data: Any) -> None:
        if what == "acting" and alarm and data.get("change") in ("unable", "disk"):
            told.append(text)

    waive = {*waive, *wish.waived}
    until = asyncio.get_running_loop().time() + _WITHIN
    sent = await send_offs(board, waive, progress) if wish.do == "stop" else []
    target = str(board.target)
    side = ActingSide(
        board, "", "", enforce=False, interval=1.0, note=note, tell=tell, target=target, waive=waive
    )
    try:
        identity = await who_after(board, sent)
        await begin_for_stop(side, identity, sent, wish)
        until = max(until, asyncio.get_running_loop().time() + _LEFT)
        if wish.do == "stop":
            done = await side.do(wish, who, identity)
            await _verify(board, side, until, progress)
        else:
            done = await _do_with_kept(board, side, wish, who, identity)
        status = side.status()
    finally:
        await side.close()
        try:
            for each in notes:
                await asyncio.to_thread(each)
        except JournalError as error:
            told.append(str(error))
    if wish.do == "stop" and still_on(status["switches"]):
        raise not_read_back(status["switches"])
    return DoneDirectly([*done, *told], status)


async def _do_with_kept(
    board: Board, side: ActingSide, wish: ActingWish, who: str, identity: Identity
) -> list[str]:
    """A reset reaches the latches too that the policies of an ended program left on the disk."""
    if wish.do != "reset":
        return await side.do(wish, who, identity)
    kept = await kept_policies(board, identity)
    done = await side.do(wish, who, identity, kept.engine, kept.remains)
    await kept.keep()
    return done


async def send_offs(
    board: Board, waive: Collection[str], progress: Callable[[str], None] = lambda text: None
) -> list[str]:
    """Send every off that can be sent, once, before it is asked who answers: off is right for every
    board. What comes after sends it again, reads it back and remembers it. What may have left."""
    sent: list[str] = []
    for switch in (Switch.CHARGE, Switch.DISCHARGE, Switch.BALANCE):
        if switch is Switch.BALANCE and not sent:
            break  # a stop that reaches no current is refused, and nothing is sent then
        with suppress(BmsError):
            frames = await SwitchFrames.find(board, switch, waive)
            if frames.bit:  # its neighbours must be read first
                await _bit_off(frames, sent)
                continue
            step = await frames.off(lambda switch: None)
            board.offs.note(switch)
            sent.append(str(switch))
            await send_once(board, step, advising=False)
    if sent:
        progress(f"Off is sent: {', '.join(sent)}.")
    return sent


async def _bit_off(frames: SwitchFrames, sent: list[str]) -> None:
    """Switch off what is one bit of a word. What acts sends it again, so it is given up where
    somebody else has the board's settings open for long."""

    def make(image: RawSettings) -> WriteCommand[Any]:
        frames.device.offs.note(frames.switch)
        sent.append(str(frames.switch))
        return replace(frames.bit_step(image, on=False), once=True)

    with suppress(TimeoutError):
        async with asyncio.timeout(_BIT):
            await send_bit(frames, make)


async def begin_for_stop(
    side: ActingSide, identity: Identity, sent: Collection[str], wish: ActingWish
) -> None:
    """Begin for people, with all that the `wish` may switch. Whoever has the pack (a switch that is
    set by hand, a drill) is waited for a while where offs were `sent` already. Raises `VerifyError`
    where it stays so, and what `begin_for_people` raises where nothing was sent."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _WAITS
    while True:
        try:
            async with asyncio.timeout_at(until):
                return await side.begin_for_people(identity, wish.waived)
        except TimeoutError as error:
            if isinstance(error, BmsError):
                raise
            raise _forgotten(sent, "its disk does not answer. Look at the pack") from error
        except GateError as error:
            if not sent:
                raise
            if loop.time() >= until:
                why = str(error).removeprefix("Nothing was sent. ")
                why = f"{why} Look at the pack, end that program"
                raise _forgotten(sent, why) from error
        await asyncio.sleep(_APART)


def _forgotten(sent: Collection[str], why: str) -> BmsError:
    """A stop that cannot be kept, and what to do then."""
    if not sent:
        return GateError(f"Nothing was sent: {why}, and stop it again.")
    return VerifyError(
        f"Off was sent ({', '.join(sent)}), and it is not remembered as an emergency stop: {why}, "
        "and stop it again."
    )


async def who_after(board: Board, sent: Collection[str]) -> Identity:
    """Who answers after these were switched off. Raises what asking raises; `VerifyError` where
    something was sent."""
    try:
        return await board.who()
    except BmsError as error:
        if not sent:
            raise
        raise VerifyError(
            f"Off was sent ({', '.join(sent)}), and nothing is read back: {error} It is not "
            "remembered as an emergency stop, because it is not known which board it is."
        ) from error


async def _verify(
    board: Board, side: ActingSide, until: float, progress: Callable[[str], None]
) -> None:
    """Read until all is shown as off, or the time is over."""
    loop = asyncio.get_running_loop()
    before = ""
    with suppress(TimeoutError):
        async with asyncio.timeout_at(until):
            while True:
                await asyncio.sleep(_APART)
                with suppress(BmsError):
                    reading = await board.read()
                    side.hear(nothing_known(loop.time()), reading, loop.time())
                switches = side.status()["switches"]
                if (said := shown_in_words(switches)) != before:
                    before = said
                    progress(said)
                if not still_on(switches):
                    return
