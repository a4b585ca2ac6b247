"""What people ask of a pack that nothing watches: done on its board at once, and remembered in its
ledger, so that what watches it next knows of it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from functools import partial
from typing import Any, NamedTuple

from bmslink.board import Board
from bmslink.errors import BmsError, VerifyError
from bmslink.runtime.acting.acting_side import ActingSide
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.acting.shown import nothing_known
from bmslink.storage.journal import Journal, JournalError

__all__ = ["DoneDirectly", "do_directly"]

_LOOKS, _APART = 8, 0.5
"""How often a board is read, and how far apart (s), before an off counts as without effect."""


class DoneDirectly(NamedTuple):
    """What came of it."""

    done: list[str]
    status: dict[str, Any]
    """As `ActingSide.status`."""


async def do_directly(
    board: Board, wish: ActingWish, who: str, *, waive: Collection[str] = ()
) -> DoneDirectly:
    """On an open board. Raises `GateError` where it is refused; `VerifyError` where a switch is not
    read back as off after a stop; what asking the board raises."""
    notes: list[partial[None]] = []
    told: list[str] = []

    def note(event: str, **data: Any) -> None:
        notes.append(partial(Journal().append, event, **data))

    def tell(what: str, text: str, *, alarm: bool = False, **data: Any) -> None:
        if what == "acting" and alarm and data.get("change") in ("unable", "disk"):
            told.append(text)

    target = str(board.target)
    side = ActingSide(
        board, "", "", enforce=False, interval=1.0, note=note, tell=tell, target=target, waive=waive
    )
    try:
        identity = await board.who()
        await side.begin_for_people(identity)
        done = await side.do(wish, who, identity)
        status = await _verified(board, side) if wish.do == "stop" else side.status()
    finally:
        await side.close()
        try:
            for each in notes:
                await asyncio.to_thread(each)
        except JournalError as error:
            told.append(str(error))
    open_still = [
        name
        for name, each in status["switches"].items()
        if wish.do == "stop" and each["able"] and name != "balance" and each["shown"] is not False
    ]
    if open_still:
        raise VerifyError(
            f"Off was sent, and {' and '.join(open_still)} is not read back as off: look at the "
            "pack."
        )
    return DoneDirectly([*done, *told], status)


async def _verified(board: Board, side: ActingSide) -> dict[str, Any]:
    """The status once all is read back, or nothing more can be expected."""
    loop = asyncio.get_running_loop()
    for _ in range(_LOOKS):
        await asyncio.sleep(_APART)
        try:
            reading = await board.read()
        except BmsError:
            continue
        side.hear(nothing_known(loop.time()), reading, loop.time())
        switches = side.status()["switches"].values()
        if all(each["shown"] is False or not each["able"] for each in switches):
            break
    return side.status()
