"""One pack, read again and again, through silence and lost links."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import NamedTuple

from bmslink.board import Board
from bmslink.errors import (
    BmsError,
    LinkClosed,
    LinkTimeout,
    PortBusy,
    PortDenied,
    PortNotFound,
    TransportError,
)
from bmslink.model import Reading

__all__ = ["Tell", "Trouble", "poll", "readings"]

Tell = Callable[[Reading | BmsError], None]

_log = logging.getLogger(__name__)

_HOPELESS = (PortBusy, PortDenied, PortNotFound)  # at the start; later the cable may come back
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class Trouble(NamedTuple):
    """A reading that did not come."""

    error: BmsError
    wait: float
    """Seconds until it is tried again."""
    lost: bool
    """Whether the link is gone and is opened again then; else only the answer was missing."""


async def readings(
    device: Board,
    *,
    interval: float,
    count: int | None = None,
    greet: Callable[[Board], Awaitable[None]] | None = None,
    opened: bool = False,
    patient: bool = False,
    read: Callable[[], Awaitable[Reading]] | None = None,
    opening: float | None = None,
    opening_turn: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    spread: Callable[[], float] = lambda: 1.0,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> AsyncGenerator[Reading | Trouble, None]:
    """A reading or a trouble every `interval` seconds, `count` times or for ever.

    Silence and nonsense are given, and the beat goes on. A lost link is given and opened again,
    with pauses that double up to 30 s. `greet` runs after each opening; `opened`: it is open
    already. `read` takes the reading, if `device.read` is not all there is to do. An opening that
    takes more than `opening` seconds is given up; it is made inside `opening_turn`. `spread` gives
    a factor for each pause before an opening, so that many packs do not open at once. `sleep` waits
    until it is time, and may wait longer: a person changes the interval, or holds a recording.

    Raises what waiting cannot heal: a port that is missing, forbidden or taken when the
    first opening is tried (not with `patient`: what protects a pack waits for it), and a recording
    that cannot be played. Ends where a recording ends; one that gave no reading at all raises its
    `LinkClosed`.
    """
    loop = asyncio.get_running_loop()
    due, pause = loop.time(), _FIRST_PAUSE
    read = read or device.read
    connected = ever = opened
    beats = found = 0
    while count is None or beats < count:
        await sleep(max(0.0, due - loop.time()))
        beats += 1
        wait = interval
        try:
            if not connected:
                async with opening_turn():
                    await _open(device, ever=ever, within=opening)
                connected = ever = True
                if greet is not None:
                    await greet(device)
            reading = await read()
        except BmsError as error:
            recording = device.target.scheme == "replay"
            hopeless = isinstance(error, _HOPELESS) and not patient
            if not ever and (recording or hopeless):
                raise
            if recording and isinstance(error, LinkClosed):
                if found:
                    return
                raise
            if isinstance(error, TransportError) and not isinstance(error, LinkTimeout):
                connected = False
            if not connected:
                wait = max(interval, pause * spread())
                pause = min(2 * pause, _LONGEST_PAUSE)
            yield Trouble(error, wait, not connected)
            if not connected:
                _log.info("%s is opened again in %g s.", device.target, wait)
        else:
            found += 1
            pause = _FIRST_PAUSE
            yield reading
        now = loop.time()
        due = max(min(due, now) + wait, now)  # `sleep` may have ended before it was due


async def _open(device: Board, *, ever: bool, within: float | None) -> None:
    try:
        async with asyncio.timeout(within):
            await (device.reopen() if ever else device.open())
    except TimeoutError as late:
        if isinstance(late, BmsError):
            raise
        raise LinkClosed(f"The link was not open after {within:g} s.") from late


async def poll(
    device: Board,
    tell: Tell,
    *,
    interval: float,
    count: int | None = None,
    greet: Callable[[Board], Awaitable[None]] | None = None,
    patient: bool = False,
) -> None:
    """The same, told as it comes, until cancelled; the device is closed at the end."""
    try:
        async for item in readings(
            device, interval=interval, count=count, greet=greet, patient=patient
        ):
            tell(item.error if isinstance(item, Trouble) else item)
    finally:
        await device.close()
