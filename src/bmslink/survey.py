"""Who a board is and how it is set: one look, as most commands about settings begin with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace

from bmslink.board import Board, on_board
from bmslink.model import Identity
from bmslink.protocols.common.settings_map import SettingsMap, SettingsSnapshot

__all__ = ["survey"]

Between = Callable[[], Awaitable[None]]
_SLOTS = 16
"""Settings that are read in one piece where something goes between."""


@on_board
async def survey(
    board: Board, keys: Collection[str] = (), *, between: Between | None = None
) -> tuple[Identity, SettingsSnapshot]:
    """Who answers, and all its settings as it holds them now, or those that hold these `keys`; in
    one conversation. `between` is awaited after each piece, and may ask the board.

    Raises `SettingError` for a key that the board lacks or where no settings of it are known, and
    what asking raises.
    """
    async with board.conversation():
        identity = await board.identify()
        found = _part(await board.settings_map(identity), keys)
        if between is None:
            return identity, await board.settings(found)
        await between()
        return identity, await _in_pieces(board, found, between)


def _part(found: SettingsMap, keys: Collection[str]) -> SettingsMap:
    """Of a map only the slots that are asked for."""
    slots = {found.setting(key).slot for key in keys}
    parts = tuple(slot for slot in found.slots if not keys or slot.address in slots)
    return replace(found, slots=parts)


async def _in_pieces(board: Board, found: SettingsMap, between: Between) -> SettingsSnapshot:
    """The settings; at once where answers do not name their questions, which one look proves."""
    if board.driver.timing.anonymous:
        return await board.settings(found)
    image: dict[int, bytes] = {}
    with board.stage("reading", len(found.slots)):
        for start in range(0, len(found.slots), _SLOTS):
            image |= await board.glance_at(found.slots[start : start + _SLOTS])
            await between()
    return SettingsSnapshot(map=found, image=image)
