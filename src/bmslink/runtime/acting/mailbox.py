"""How a person reaches a running `control run` or session: a small file in the user's state folder,
and one that answers. A wish that nobody takes in time is taken back: nothing is done later than
asked."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from bmslink.config.switching.joining import JOIN
from bmslink.control.status import StateError, runs, state_path
from bmslink.errors import BmsError, GateError, LinkTimeout, VerifyError
from bmslink.link.transport import Endpoint
from bmslink.model import Command
from bmslink.places import Place, recorded_place, where
from bmslink.runtime.acting.contained import contained
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.acting.shown import require_read_back
from bmslink.runtime.sessions.open_sessions import targets_of_sessions
from bmslink.storage.atomic import read_bounded, replace_file
from bmslink.storage.briefly import briefly
from bmslink.storage.processes import is_running

__all__ = ["NotTaken", "RunAt", "ask_run", "read_mail", "run_at", "run_soon", "switch_by_run"]

_log = logging.getLogger(__name__)

_LARGEST = 1 << 14
_LOOK = 0.25
"""s between two looks into the folder."""
_PATIENCE = 5.0
"""How long an answer may take, s."""
_READS_BACK = 30.0
"""The same where a stop is read back first."""
_MOMENT = 0.3
"""How long one look at the disk may take, s: it may hang, and an off waits."""
_SHOWS = 15.0
"""How long a board may take to show a switch, s."""
_OLDEST = 10.0
"""A wish that is older, s, is not done any more."""
_WISH, _ANSWER = ".wish", ".answer"


class NotTaken(LinkTimeout):
    """The run that has the pack did not take a wish, so it never will."""


class RunAt(NamedTuple):
    """A `control run --enforce` that acts on a pack, or the balancing session of a command."""

    target: str
    """How it writes the place of the pack."""
    pid: int
    session: bool = False
    """It is a session: it takes a stop and an off, and reads back itself."""

    @property
    def answers(self) -> float:
        """How long its answer may take once it has a wish, s."""
        return _READS_BACK if self.session else _PATIENCE


class _Letter(msgspec.Struct, kw_only=True):
    time: float
    who: str
    wish: ActingWish


class _Reply(msgspec.Struct, kw_only=True):
    done: list[str] = []
    error: str = ""
    refused: bool = False
    unverified: bool = False
    read_back: bool = False
    """What was asked for is read back: nobody has to look."""


def _folder(target: str) -> Path:
    name = hashlib.sha256(target.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return state_path() / "wishes" / name


def run_at(endpoint: Endpoint) -> RunAt | None:
    """The `control run --enforce` that has the pack at this place now, or else a balancing session
    of a command, however it is written. Reads the disk."""
    now = time.time()
    try:
        found = [run for run in runs().runs if not run.shadow and not run.gone(now)]
    except StateError:
        found = []
    here: Place | None = None
    for run in found:
        for pack in run.packs if is_running(run.pid) else ():
            if pack.target == str(endpoint):
                return RunAt(pack.target, run.pid)
            here = here or where(endpoint, ask=False)
            if recorded_place({"target": pack.target}).same(here):
                return RunAt(pack.target, run.pid)
    for target in targets_of_sessions():
        if target == str(endpoint) or recorded_place({"target": target}).same(
            here := here or where(endpoint, ask=False)
        ):
            return RunAt(target, 0, session=True)
    return None


def run_soon(endpoint: Endpoint, within: float = _MOMENT) -> RunAt | None:
    """The same, but a disk that does not say it within so many seconds knows of none: an off does
    not wait for it."""
    return briefly(partial(run_at, endpoint), within)


async def ask_run(
    target: str,
    wish: ActingWish,
    who: str,
    *,
    patience: float = _PATIENCE,
    answers: float = _PATIENCE,
) -> list[str]:
    """Have it done by the `control run` or the session that has the pack. Raises `GateError` where
    it refuses, `NotTaken` where it does not take it within `patience` s, `LinkTimeout` where it
    took it and does not answer within `answers` s, `VerifyError` where a stop is not read back."""
    found = await _asked(target, wish, who, patience, answers)
    if wish.do == "stop" and not found.read_back:
        await require_read_back(lambda: _switches(target))
    return found.done


async def _asked(
    target: str, wish: ActingWish, who: str, patience: float, answers: float
) -> _Reply:
    folder = _folder(target)
    name = uuid.uuid4().hex
    letter, reply = folder / f"{name}{_WISH}", folder / f"{name}{_ANSWER}"
    data = msgspec.json.encode(_Letter(time=time.time(), who=who, wish=wish))

    def post() -> bool:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(letter, data)
        return True

    taken = False
    try:
        if briefly(post, patience) is None:
            raise NotTaken(f"The disk that holds {folder} hangs.")
        found = await _reply_in(reply, patience)
        if found is None and (taken := briefly(lambda: not letter.exists(), _MOMENT) or False):
            found = await _reply_in(reply, answers)
    except OSError as error:
        raise NotTaken(f"{folder} cannot be used ({error.strerror or error}).") from error
    finally:
        for file in (letter, reply):
            with suppress(OSError):
                briefly(file.unlink, _MOMENT)
    if found is None and taken:
        raise LinkTimeout(f"What has {target} took it, and does not answer.")
    if found is None:
        raise NotTaken(f"What has {target} did not take it in {patience:g} s.")
    if found.error:
        kind = GateError if found.refused else VerifyError if found.unverified else BmsError
        raise kind(found.error)
    return found


async def _reply_in(file: Path, patience: float) -> _Reply | None:
    until = asyncio.get_running_loop().time() + patience
    while asyncio.get_running_loop().time() < until:
        with suppress(FileNotFoundError, msgspec.MsgspecError, ValueError):
            data = briefly(partial(read_bounded, file, _LARGEST, "answer"), _MOMENT)
            if data is not None:
                return msgspec.json.decode(data, type=_Reply)
        await asyncio.sleep(_LOOK / 5)
    return None


async def switch_by_run(
    target: str,
    wish: Command,
    who: str,
    *,
    patience: float = _PATIENCE,
    shows: float = _SHOWS,
    answers: float = _PATIENCE,
) -> bool:
    """Have a switch set by what acts on the pack: whether it is read back within `shows` s. Raises
    `GateError` where it is held, `NotTaken` where it is not taken within `patience` s."""
    looked = (JOIN,) if wish.on else ()  # at that, by whoever asks
    do: Literal["on", "off"] = "on" if wish.on else "off"
    by_name = ActingWish(do=do, switch=wish.switch.value, waive=looked)
    try:
        if (await _asked(target, by_name, who, patience, answers)).read_back:
            return True
    except NotTaken:
        raise
    except LinkTimeout:  # it has the wish: what the board shows tells
        pass
    until = asyncio.get_running_loop().time() + shows
    while asyncio.get_running_loop().time() < until:
        found = briefly(partial(_switches, target), _MOMENT) or {}
        if (found.get(wish.switch.value) or {}).get("shown") is wish.on:
            return True
        await asyncio.sleep(_LOOK)
    return False


def _switches(target: str) -> dict[str, dict[str, Any]] | None:
    """How the switches of a pack are, by the run that acts on it; `None`: none says it."""
    with suppress(StateError):
        for run in runs().runs:
            for pack in run.packs:
                if pack.target == target and (found := pack.acting.get("switches")):
                    return dict(found)
    return None


async def read_mail(
    target: str,
    do: Callable[[ActingWish, str], Awaitable[list[str]]],
    ready: Callable[[], bool] = lambda: True,
    *,
    reads_back: bool = False,
) -> None:
    """Do what people ask of this pack, until cancelled. No other work waits for the disk here.
    While it is not `ready`, nothing is taken: another program may have the pack. `reads_back`:
    what is done is read back as well, so nobody has to look for it in a status."""
    folder = _folder(target)
    while True:
        for file, letter in await asyncio.to_thread(_letters, folder) if ready() else ():
            reply = _Reply(error="bmslink made a mistake: look at the pack.")
            with contained(lambda error: _log.debug("The mistake:", exc_info=error)):
                reply = await _reply(letter, do, reads_back=reads_back)
            await asyncio.to_thread(_answer, file, reply)
        await asyncio.sleep(_LOOK)


async def _reply(
    letter: _Letter,
    do: Callable[[ActingWish, str], Awaitable[list[str]]],
    *,
    reads_back: bool,
) -> _Reply:
    try:
        return _Reply(done=await do(letter.wish, letter.who), read_back=reads_back)
    except BmsError as error:
        refused, unverified = isinstance(error, GateError), isinstance(error, VerifyError)
        return _Reply(error=str(error), refused=refused, unverified=unverified)


def _letters(folder: Path) -> list[tuple[Path, _Letter]]:
    found = []
    with suppress(OSError):
        for file in sorted(folder.glob(f"*{_WISH}")):
            with suppress(OSError, ValueError, msgspec.MsgspecError, RecursionError):
                data = read_bounded(file, _LARGEST, "wish")
                file.unlink()
                letter = msgspec.json.decode(data, type=_Letter)
                if abs(time.time() - letter.time) <= _OLDEST:
                    found.append((file, letter))
    return found


def _answer(file: Path, reply: _Reply) -> None:
    try:
        replace_file(file.with_suffix(_ANSWER), msgspec.json.encode(reply))
    except OSError as error:
        said = reply.error or " ".join(reply.done)
        _log.warning("Who asked cannot be answered (%s): %s", error.strerror or error, said)
