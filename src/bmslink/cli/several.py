"""Several packs at the same time: those on different lines at once, those on one line in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TYPE_CHECKING, TypeVar

from bmslink.cli.output import DONE, FAILED, REFUSED, UNVERIFIED, USAGE

if TYPE_CHECKING:
    from bmslink.board import Board
    from bmslink.places import Place

__all__ = ["at_once", "worst"]

_WORST_FIRST = (UNVERIFIED, FAILED, USAGE, REFUSED, DONE)
"""The exit code of several packs is the first of these that one of them ended with: what a pack
may hold and nobody has proven comes before everything that sent nothing."""

T = TypeVar("T")


def worst(codes: Collection[int]) -> int:
    """The exit code of several packs that ended with these."""
    return next(code for code in _WORST_FIRST if code in {*codes, DONE})


async def at_once(
    items: Sequence[T], device_of: Callable[[T], Board], act: Callable[[T], Awaitable[None]]
) -> None:
    """Do it with each, on every line at once.

    What ends one line ends no other: they all come to their end, and then the first exception is
    raised. Only to be cancelled (Ctrl-C) ends all of them.
    """

    async def follow(line: Sequence[T]) -> None:
        for item in line:
            await act(item)

    lines = _lines(items, device_of)
    ends = await asyncio.gather(*map(follow, lines), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end


def _lines(items: Sequence[T], device_of: Callable[[T], Board]) -> list[list[T]]:
    """The items by the line that their packs are on."""
    from bmslink.places import where

    lines: list[tuple[list[Place], list[T]]] = []
    for item in items:
        place = where(device_of(item))
        same = [line for line in lines if any(other.same_line(place) for other in line[0])]
        if not same:
            lines.append(([place], [item]))
            continue
        places, found = same[0]
        places.append(place)
        for more in same[1:]:  # what this one has in common with both makes one line of them
            places.extend(more[0])
            found.extend(more[1])
            lines.remove(more)
        found.append(item)
    return [found for _places, found in lines]
