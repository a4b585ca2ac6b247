"""How a person reaches a running `control run`: a small file in the user's state folder, and one
that answers. A wish that nobody takes in time is taken back: nothing is done later than asked."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from bmslink.control.status import StateError, runs, state_path
from bmslink.errors import BmsError, GateError, LinkTimeout
from bmslink.runtime.acting.people import ActingWish
from bmslink.storage.atomic import read_bounded, replace_file

__all__ = ["ask_run", "read_mail", "run_of"]

_LARGEST = 1 << 14
_LOOK = 0.25
"""s between two looks into the folder."""
_PATIENCE = 5.0
"""How long an answer may take, s."""
_OLDEST = 10.0
"""A wish that is older, s, is not done any more."""
_WISH, _ANSWER = ".wish", ".answer"


class _Letter(msgspec.Struct, kw_only=True):
    time: float
    who: str
    wish: ActingWish


class _Reply(msgspec.Struct, kw_only=True):
    done: list[str] = []
    error: str = ""
    refused: bool = False


def _folder(target: str) -> Path:
    name = hashlib.sha256(target.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return state_path() / "wishes" / name


def run_of(target: str) -> bool:
    """Whether a `control run --enforce` has this pack now."""
    now = time.time()
    try:
        found = runs().runs
    except StateError:
        return False
    return any(
        not run.gone(now) and not run.shadow and any(pack.target == target for pack in run.packs)
        for run in found
    )


async def ask_run(target: str, wish: ActingWish, who: str) -> list[str]:
    """Have it done by the `control run` that has the pack. Raises `GateError` where it refuses,
    `LinkTimeout` where it does not take it."""
    folder = _folder(target)
    name = uuid.uuid4().hex
    letter, reply = folder / f"{name}{_WISH}", folder / f"{name}{_ANSWER}"
    data = msgspec.json.encode(_Letter(time=time.time(), who=who, wish=wish))
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(letter, data)
        until = asyncio.get_running_loop().time() + _PATIENCE
        while asyncio.get_running_loop().time() < until:
            with suppress(FileNotFoundError, msgspec.MsgspecError, ValueError):
                found = msgspec.json.decode(read_bounded(reply, _LARGEST, "answer"), type=_Reply)
                if found.error:
                    raise (GateError if found.refused else BmsError)(found.error)
                return found.done
            await asyncio.sleep(_LOOK / 5)
    except OSError as error:
        raise LinkTimeout(f"{folder} cannot be used ({error.strerror or error}).") from error
    finally:
        for file in (letter, reply):
            with suppress(OSError):
                file.unlink()
    raise LinkTimeout(
        f"The `control run` that has {target} did not take it within {_PATIENCE:g} s."
    )


async def read_mail(target: str, do: Callable[[ActingWish, str], Awaitable[list[str]]]) -> None:
    """Do what people ask of this pack, until cancelled. No other work waits for the disk here."""
    folder = _folder(target)
    while True:
        for file, letter in await asyncio.to_thread(_letters, folder):
            try:
                reply = _Reply(done=await do(letter.wish, letter.who))
            except BmsError as error:
                reply = _Reply(error=str(error), refused=isinstance(error, GateError))
            await asyncio.to_thread(_answer, file, reply)
        await asyncio.sleep(_LOOK)


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
    with suppress(OSError):
        replace_file(file.with_suffix(_ANSWER), msgspec.json.encode(reply))
