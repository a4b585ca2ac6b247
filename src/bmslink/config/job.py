"""A change under way: what all its steps share."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from bmslink.board import Board
from bmslink.config.identity.known_as import pack_of
from bmslink.errors import (
    BmsError,
)
from bmslink.model import Identity, Reading
from bmslink.protocols.common.settings_map import RawSettings, SettingsMap
from bmslink.storage.journal import Transaction

__all__ = ["UNSURE", "BoardChanged", "Job", "known_as", "outages_of", "watch"]

UNSURE = -1
"""Instead of a count of outages: it is to be looked at who answers before anything is written."""

_TICK, _STILL = 0.3, 2.5
"""How often it is looked whether the seconds of a board move, and how long they may not, s."""


class BoardChanged(BmsError):
    """After a reconnection something else answered than before."""


@dataclass(slots=True, kw_only=True)
class Job:
    """One change that is under way."""

    device: Board
    settings: SettingsMap
    identity: Identity
    transaction: Transaction
    before: RawSettings
    """All slots as they were before the first write."""
    touched: Collection[int]
    """The slots that the change is about."""
    sent: bool = False
    """Whether a write may have reached the board."""
    held: dict[int, bytes] = field(default_factory=dict)
    """What was last written to each slot that a write may have reached."""
    back: bool = False
    """It is being set back."""
    left: dict[int, list[str]] = field(default_factory=dict)
    """The switches that setting back leaves off, by their slots."""
    unmended: dict[int, str] = field(default_factory=dict)
    """What changed beside, matters, and cannot be set back, in words."""
    cells: int | None = None
    """How many cells the board says that it has, where the change is not about that."""
    lag: float = 0.0
    """How long it took at most until a written value was seen, s."""
    outages: int = UNSURE
    """How often the line had been silent for long when it was last known who answers."""
    known: bool = False
    """Somebody says that it is the same board although other settings changed."""
    notes: list[str] = field(default_factory=list)
    reconnections: int = 0
    lost: BmsError | None = None
    """Why the line could not be opened again."""


def outages_of(device: Board) -> int:
    """The outages of a line by now, for a job that begins: `UNSURE` where another board may have
    taken the place of the one that was asked who it is."""
    return device.link.continuity.outages if device.certain else UNSURE


async def watch(device: Board) -> tuple[Reading, float]:
    """A reading, and for how many seconds the board's own count of them stopped, if too long:
    what is between may go on repeating what it heard last."""
    reading = await device.read()
    if not device.driver.counts_seconds or reading.uptime is None:
        return reading, 0.0
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while True:
        await asyncio.sleep(_TICK)
        later = await device.read()
        if later.uptime != reading.uptime:
            return later, 0.0
        if (still := loop.time() - begun) > _STILL:
            return later, still


def known_as(job: Job) -> dict[str, Any]:
    """Who the board of a change is; how many cells only where the change leaves them alone."""
    pack = pack_of(job.identity)
    counted = job.settings.by_key.get("cell_count")
    if counted is not None and counted.slot in job.touched:
        pack["cell_count"] = None
    return pack
