"""Who a pack is, for the journal and for comparing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from bmslink.board import Board
from bmslink.errors import BmsError, LinkTimeout
from bmslink.model import Identity

__all__ = ["identify_as", "pack_of", "require_same_board", "same_board"]

_LOOKS = 3
"""How often who answers is looked at where it differs."""
_TICK = 0.3
"""How far apart, s."""
_WHO = ("vendor", "model", "hardware", "firmware", "serial_number", "cell_count", "protocol")

_TEXTS = ("model", "hardware", "firmware")


def pack_of(identity: Identity) -> dict[str, Any]:
    """Who a pack is, for the journal and for comparing."""
    known = asdict(identity)
    return {name: known[name] for name in _WHO}


def same_board(one: Mapping[str, Any], other: Mapping[str, Any], *, cut_short: bool = False) -> str:
    """How two packs differ, in words; empty where they are the same as far as both tell.

    `cut_short`: a text of `one` may have come without its end, except the serial number.
    """
    for name in _WHO:
        mine, yours = one.get(name), other.get(name)
        if cut_short and name in _TEXTS and mine and str(yours).startswith(str(mine)):
            continue
        if mine != yours and ((mine is not None and yours is not None) or name == "firmware"):
            return f"{name.replace('_', ' ')} {yours}, not {mine}"
    return ""


async def identify_as(
    device: Board, known: Mapping[str, Any], *, cut_short: bool = False
) -> tuple[Identity, str]:
    """Who answers, and in words how it differs from who is known.

    Asked again where it does: a string may arrive cut short. `cut_short`: so may one of who is
    known.
    """
    for left in reversed(range(_LOOKS)):
        found = await device.identify()
        other = same_board(known, pack_of(found), cut_short=cut_short)
        if not other or not left:
            break
        await asyncio.sleep(_TICK)
    return found, other


async def require_same_board(
    device: Board, known: Mapping[str, Any] | None, lost: LinkTimeout, *, within: float | None
) -> None:
    """Ask who answers before something is sent again that nothing acknowledged.

    Raises `LinkTimeout` ("other") where it is another board than `known`. What cannot be found out
    `within` so many seconds is no difference; without that limit, it is raised.
    """
    if known is None:
        return
    try:
        async with asyncio.timeout(within):
            _, other = await identify_as(device, known)
    except (BmsError, TimeoutError):
        if within is None:
            raise
        return
    if other:
        raise LinkTimeout(f"who answers now is another board: {other}", "other") from lost
