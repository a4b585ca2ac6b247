"""A drill: each switch of a pack at rest off and on once, measured and read back.

It proves on the owner's own board that an off arrives, and how long that takes, before it matters.
Its record is in the journal. Off goes out as in earnest; on only what the drill switched off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bmslink.board import Board
from bmslink.control.act.consent import approval_of
from bmslink.control.act.messages import PersonOff, PersonOn
from bmslink.control.files import parse_policies
from bmslink.errors import GateError
from bmslink.model import Reading
from bmslink.runtime.acting.acting_side import ActingSide
from bmslink.runtime.acting.shown import nothing_known
from bmslink.runtime.acting.start import pack_key
from bmslink.storage.journal import Journal

__all__ = ["Drilled", "drill"]

_REST = 1.0
"""A; with more than that a pack is not at rest."""
_PATIENCE, _APART = 15.0, 0.3
"""How long a switch may take to show, and s between two readings."""


class Drilled(NamedTuple):
    """One switch, once off and on."""

    switch: str
    off: float | None
    """s until it was read back as off; `None`: it was not."""
    on: float | None
    """The same for on."""

    @property
    def passed(self) -> bool:
        """Both were read back."""
        return self.off is not None and self.on is not None

    def to_dict(self) -> dict[str, Any]:
        """Its JSON object."""
        return {**self._asdict(), "passed": self.passed}


async def drill(
    board: Board, switches: Collection[str], who: str, *, waive: Collection[str] = ()
) -> list[Drilled]:
    """On an open board. Raises `GateError`: nothing is approved for the pack, it is not at rest, a
    switch is off already, or discharge feeds this computer, or may."""
    identity = await board.who()
    key = pack_key(board, identity)
    approval = await asyncio.to_thread(approval_of, key)
    if approval is None:
        raise GateError(
            f"Nothing was sent. Nothing is approved for {key}: `control approve` first."
        )
    power = parse_policies(approval.text, Path(approval.path)).battery.host_power
    if "discharge" in switches and power != "other":
        raise GateError(
            "Nothing was sent. Discharge is drilled only where the approved policies say that "
            'host_power = "other": else it may switch this computer off.'
        )
    _require_rest(await board.read())
    notes: list[partial[None]] = []

    def note(event: str, **data: Any) -> None:
        notes.append(partial(Journal().append, event, **data))

    def tell(what: str, text: str, *, alarm: bool = False, **data: Any) -> None:
        """The outcome says it."""

    target = str(board.target)
    side = ActingSide(
        board, "", "", enforce=False, interval=1.0, note=note, tell=tell, target=target, waive=waive
    )
    done: list[Drilled] = []
    try:
        await side.begin_for_people(identity)
        for name in switches:
            if not await _shows(board, side, name, on=True):
                raise GateError(f"Nothing was sent to {name}: it is not shown as on.")
            side.ask(PersonOff(name, who))
            off = await _shows(board, side, name, on=False)
            side.ask(PersonOn(name, who))
            done.append(Drilled(name, off, await _shows(board, side, name, on=True)))
        note("acting", what="drill", target=target, who=who, found=[d.to_dict() for d in done])
    finally:
        await side.close()
        for each in notes:
            await asyncio.to_thread(each)
    return done


def _require_rest(reading: Reading) -> None:
    if reading.current is None or abs(reading.current) > _REST:
        flows = "its current is not known" if reading.current is None else f"{reading.current:g} A"
        raise GateError(f"Nothing was sent. The pack is not at rest ({flows}).")
    if reading.protections or reading.faults:
        told = ", ".join(map(str, (*reading.protections, *reading.faults)))
        raise GateError(f"Nothing was sent. The BMS reports {told}.")


async def _shows(board: Board, side: ActingSide, name: str, *, on: bool) -> float | None:
    """How long it takes until the board shows it so, s."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while loop.time() - begun < _PATIENCE:
        reading = await board.read()
        side.hear(nothing_known(loop.time()), reading, loop.time())
        if side.status()["switches"][name]["shown"] is on:
            return round(loop.time() - begun, 3) or 0.001
        await asyncio.sleep(_APART)
    return None
