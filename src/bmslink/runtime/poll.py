"""One pack, read again and again, through silence and lost links."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from bmslink.device import Device
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

__all__ = ["Tell", "poll"]

Tell = Callable[[Reading | BmsError], None]

_log = logging.getLogger(__name__)

_HOPELESS = (PortBusy, PortDenied, PortNotFound)  # at the start; later the cable may come back
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


async def poll(
    device: Device,
    tell: Tell,
    *,
    interval: float,
    count: int | None = None,
    greet: Callable[[Device], Awaitable[None]] | None = None,
    patient: bool = False,
) -> None:
    """Tell a reading or an error every `interval` seconds, `count` times or until cancelled.

    Silence and nonsense are reported, and the beat goes on. A lost link is reported and reopened,
    with pauses that double up to 30 s. `greet` runs after each opening. Raises what waiting
    cannot heal: a port that is missing, forbidden or taken when the first opening is tried (not
    with `patient`: what protects a pack waits for it), and a recording that cannot be played.
    Ends where a recording ends; one that gave no reading at all raises its `LinkClosed`.
    """
    loop = asyncio.get_running_loop()
    due, pause = loop.time(), _FIRST_PAUSE
    connected = ever = False
    beats = readings = 0
    try:
        while count is None or beats < count:
            await asyncio.sleep(max(0.0, due - loop.time()))
            beats += 1
            wait = interval
            try:
                if not connected:
                    await (device.reopen() if ever else device.open())
                    connected = ever = True
                    if greet is not None:
                        await greet(device)
                tell(await device.read())
                readings += 1
                pause = _FIRST_PAUSE
            except BmsError as error:
                recording = device.target.scheme == "replay"
                hopeless = isinstance(error, _HOPELESS) and not patient
                if not ever and (recording or hopeless):
                    raise
                if recording and isinstance(error, LinkClosed):
                    if readings:
                        return
                    raise
                tell(error)
                if isinstance(error, TransportError) and not isinstance(error, LinkTimeout):
                    connected = False
                if not connected:
                    wait = max(interval, pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
                    _log.info("%s is opened again in %g s.", device.target, wait)
            due = max(due + wait, loop.time())
    finally:
        await device.close()
