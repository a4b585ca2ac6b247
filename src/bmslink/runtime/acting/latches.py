"""Latched policies that a person resets: in a running engine, and, on a board that nothing watches,
in what the policies left on the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bmslink.board import Board
from bmslink.control.act.consent import ConsentError
from bmslink.control.backtest.playback import make_engine
from bmslink.control.decide.engine import Engine
from bmslink.control.decide.lasting.memory import read_memory
from bmslink.control.decide.policy import Mode
from bmslink.control.files import parse_policies
from bmslink.errors import BmsError, GateError, TargetError
from bmslink.model import Identity
from bmslink.runtime.acting.start import approved_text, pack_key
from bmslink.runtime.judging.pack_memory import default_folder, known_of, policies_name
from bmslink.storage.state import DamagedState, StateFolder, UnwritableState

__all__ = ["KeptPolicies", "LatchReset", "kept_policies", "reset_latches"]

_READS, _APART = 5, 1.0
"""How many readings, and how far apart (s), may show that the cause of a latch is gone."""


class LatchReset(NamedTuple):
    """What came of it, in sentences."""

    done: list[str]
    remains: list[str]
    """What is latched still, and why."""


def reset_latches(engine: Engine, policy: str = "") -> LatchReset:
    """Reset one policy, or all that are latched. Raises `GateError` where the one that is named
    cannot be reset."""
    if policy:
        engine.reset(policy)
        return LatchReset([f"{policy} is reset."], [])
    found = LatchReset([], [])
    for name in _latched(engine):
        try:
            engine.reset(name)
            found.done.append(f"{name} is reset.")
        except GateError as error:
            found.remains.append(str(error))
    return found


def _latched(engine: Engine) -> list[str]:
    return [rule.name for rule, state in engine.rules if state.latched]


@dataclass(slots=True)
class KeptPolicies:
    """What the policies of a board knew when the last program that ran them ended."""

    engine: Engine | None = None
    """With all that they knew, and a few readings; `None`: nothing in it waits for a person, or it
    cannot be used."""
    remains: list[str] = field(default_factory=list)
    """What a reset cannot reach, and how to go on, in sentences."""
    _write: Callable[[dict[str, Any]], None] | None = None
    _before: Sequence[str] = ()

    async def keep(self) -> None:
        """Save what was reset; everything else in the file stays as it is. Raises
        `UnwritableState`: then nothing is reset."""
        engine, write = self.engine, self._write
        if engine is None or write is None:
            return
        still = _latched(engine)
        done = [name for name in self._before if name not in still]
        if not done:
            return
        knows = engine.save()["tripped"]
        try:
            await asyncio.to_thread(write, {name: knows[name] for name in done if name in knows})
        except UnwritableState as error:
            raise UnwritableState(
                f"{_list(done)} cannot be reset, and stays latched: {error}"
            ) from error


async def kept_policies(board: Board, identity: Identity) -> KeptPolicies:
    """What the policies of the board that answers left on the disk, judged anew by a few readings:
    a latch can be reset once its cause is gone. Nothing is sent but questions."""
    states, name = default_folder(), policies_name(identity, str(board.target))
    try:
        found = await asyncio.to_thread(states.look, name)
        known = known_of(found, identity)
        waits = [] if known is None else _waiting(known)
    except (DamagedState, TargetError) as error:
        lost = "What its policies knew is lost: they begin anew, and nothing of it is latched."
        return KeptPolicies(remains=[f"{error} {lost}"])
    if found is None or known is None or not waits:
        return KeptPolicies()
    engine = await _engine(board, identity, known)
    if not isinstance(engine, Engine):
        return KeptPolicies(remains=[f"{_list(waits)} cannot be reset here: {engine}"])
    latched = _latched(engine)
    try:
        await _judge(board, engine)
    except BmsError as error:
        unseen = "whether its cause is gone cannot be seen"
        return KeptPolicies(remains=[f"{_list(waits)} cannot be reset: {unseen}. {error}"])
    return KeptPolicies(engine, _beyond(engine, waits), _writer(states, name, found), latched)


def _waiting(known: Mapping[str, Any]) -> list[str]:
    """The policies that wait for a person. Raises `TargetError` for what is damaged."""
    return [name for name, each in read_memory(known).tripped.items() if each.latched]


async def _engine(board: Board, identity: Identity, known: Mapping[str, Any]) -> Engine | str:
    """The approved policies with what they knew; else why they cannot be had, in a sentence."""
    try:
        text = await asyncio.to_thread(approved_text, board, identity)
        if text is None:
            return (
                f"nothing is approved for {pack_key(board, identity)}, so nothing acts by it. What "
                "only watches keeps it until a reset while it runs."
            )
        engine = make_engine(
            parse_policies(text, Path("the approved policies")),
            None,
            poll=_APART,
            sink=False,
            acting=(Mode.ENFORCE,),
        )
        engine.load(known, asyncio.get_running_loop().time())
    except (ConsentError, TargetError) as error:
        return str(error)
    return engine


def _beyond(engine: Engine, waits: Sequence[str]) -> list[str]:
    """What is latched and judged by no approved policy."""
    at_work = {rule.name for rule, _ in engine.rules}
    return [
        f"{name} stays latched: {why}. Reset it while `control run` or a service runs."
        for name, why in engine.plan.not_applicable.items()
        if name in waits and name not in at_work
    ]


async def _judge(board: Board, engine: Engine) -> None:
    """Read until the cause of everything that is latched is seen to be gone, but only so often."""
    loop = asyncio.get_running_loop()
    for left in reversed(range(_READS)):
        engine.step(await board.read(), loop.time())
        if all(state.inside is not None for _, state in engine.rules if state.latched):
            return
        if left:
            await asyncio.sleep(_APART)


def _writer(
    states: StateFolder, name: str, found: Mapping[str, Any]
) -> Callable[[dict[str, Any]], None]:
    """Puts what is known of a few policies into what was found."""
    known = found["engine"]

    def write(tripped: dict[str, Any]) -> None:
        merged = {**known, "tripped": {**known["tripped"], **tripped}}
        states.save(name, {**found, "engine": merged}, found)

    return write


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
