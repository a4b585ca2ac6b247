"""How acting on a pack begins: who it is, what a person approved, its ledger, its switches."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmslink.board import Board
from bmslink.config.identity.fingerprint import fingerprint
from bmslink.control.act.actuators import prepare
from bmslink.control.act.consent import (
    Approval,
    ConsentError,
    Standing,
    approval_of,
    approve,
    may_enforce,
)
from bmslink.control.act.ledger import Ledger
from bmslink.control.act.mandate import Mandate
from bmslink.control.act.store import LedgerStore
from bmslink.control.decide.policy import Action, Mode, Policy, PolicySet, Severity
from bmslink.control.files import parse_policies
from bmslink.control.status import state_path
from bmslink.errors import GateError, TargetError
from bmslink.model import Identity, Switch
from bmslink.places import place_of
from bmslink.runtime.acting.limit_sinks import LimitSinks
from bmslink.runtime.acting.pack_actor import Note, PackActor, TellActing
from bmslink.storage.alone import open_lock
from bmslink.storage.chain import take

__all__ = [
    "EnforcedPack",
    "acted_on_elsewhere",
    "approve_policies",
    "begin_acting",
    "lock_acting",
    "pack_key",
    "powers",
    "read_policy_text",
    "require_host_power",
    "standing_of",
    "stopped",
]

_OPENS = (Severity.TRIP, Severity.EMERGENCY)


def pack_key(board: Board, identity: Identity) -> str:
    """Who a pack is, for its approval, its ledger and its lock: its serial number, else its
    place."""
    known = fingerprint(identity)
    if known.certain:
        return f"{identity.vendor} {known.serial_number}"
    return f"{identity.vendor} at {place_of(board.target)}"


def powers(policies: PolicySet) -> dict[str, list[Policy]]:
    """What a file lets act: `charge`, `discharge`, `balance` -> the policies that may open that
    switch, and `limits` -> those that lower limits."""
    acting = [row for row in policies.policies.values() if row.mode == Mode.ENFORCE]
    opening = [row for row in acting if row.severity in _OPENS]
    found = {
        action.value: [row for row in opening if action in row.acts]
        for action in (Action.CHARGE, Action.DISCHARGE, Action.BALANCE)
    }
    found["limits"] = [row for row in acting if row.severity == Severity.DERATE]
    return found


def read_policy_text(path: Path) -> str:
    """A policy file as it is approved: every byte of it. Raises `TargetError`."""
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise TargetError(f"{path} cannot be read: {error.strerror or error}.") from error


def require_host_power(policies: PolicySet, path: str) -> None:
    """`GateError` where a file may open discharge and does not say what feeds this computer."""
    if policies.battery.host_power is None and powers(policies)["discharge"]:
        raise GateError(
            f'{path} lets policies open discharge: write host_power = "pack" (this computer runs '
            'on it; discharge then opens in an emergency only) or host_power = "other" into its '
            "[battery]."
        )


def standing_of(board: Board, identity: Identity, text: str) -> Standing:
    """What a policy file may do on the board that answered. Raises `ConsentError`."""
    key = pack_key(board, identity)
    return may_enforce(approval_of(key), key, text)


def approve_policies(board: Board, identity: Identity, text: str, path: str, by: str) -> Approval:
    """A person approves a policy file for the board that answered. Raises `TargetError` for what is
    no policy file, `GateError` without host_power, `ConsentError`."""
    require_host_power(parse_policies(text, Path(path)), path)
    return approve(pack_key(board, identity), text, path=path, by=by)


@dataclass(frozen=True, slots=True)
class EnforcedPack:
    """A pack on which something acts."""

    key: str
    standing: Standing
    actor: PackActor
    policies: PolicySet | None
    """What acts: the file itself, or the one that was approved last; `None`: only people do."""
    lock: int
    """The file that says that this program acts on it."""

    async def close(self) -> None:
        """The end. Switches stay as they are."""
        await self.actor.close()
        os.close(self.lock)


async def begin_acting(
    board: Board,
    identity: Identity,
    text: str,
    path: str,
    *,
    note: Note,
    tell: TellActing,
    interval: float,
    waive: Collection[str] = (),
    sinks: LimitSinks | None = None,
    turn: Callable[[], AbstractAsyncContextManager[Any]] = nullcontext,
    off_turn: Callable[[], AbstractAsyncContextManager[Any]] = nullcontext,
    enforce: bool = True,
) -> EnforcedPack | Standing:
    """Begin on an open board, with what was approved; where nothing is, or where another program
    acts on it already: the standing, and nothing acts. At most one question for each switch. With
    `enforce` false no policy acts, only people do.

    Raises `LinkTimeout`, `LinkClosed`, … as reading does.
    """
    key = pack_key(board, identity)
    try:
        standing = may_enforce(await asyncio.to_thread(approval_of, key), key, text)
    except ConsentError as error:
        return may_enforce(None, key, text)._replace(text=str(error), alarm=True)
    policies = None
    if enforce:
        if standing.enforced is None:
            return standing
        policies = parse_policies(standing.enforced, Path(path))
    lock = await asyncio.to_thread(lock_acting, key)
    if lock is None:
        said = f"Another program on this machine acts on {key}: here its policies only watch."
        return standing._replace(enforced=None, shadow=True, text=said, alarm=True)
    store = LedgerStore(key)
    loaded = await asyncio.to_thread(store.load, asyncio.get_running_loop().time())
    actors: list[PackActor] = []

    def remembered(switch: Switch) -> bool | None:
        ledger: Ledger = actors[0].ledger if actors else loaded.ledger
        return ledger.remembered(switch)

    try:
        prepared = await prepare(board, waive=waive, remembered=remembered)
    except BaseException:
        os.close(lock)
        raise
    able = frozenset(map(str, prepared.actuators))
    mandate = _mandate(policies, able)
    actor = PackActor(
        board, mandate, {str(n): a for n, a in prepared.actuators.items()}, store, loaded,
        note=note, tell=tell, sinks=sinks, turn=turn, off_turn=off_turn, interval=interval,
    )  # fmt: skip
    actors.append(actor)
    if enforce and standing.text:
        tell("acting", standing.text, alarm=standing.alarm, change="standing", actuator="")
    for sentence in _unable(prepared.unable, able):
        tell("acting", sentence, alarm=True, change="unable", actuator="")
    return EnforcedPack(key, standing, actor, policies, lock)


def _mandate(policies: PolicySet | None, able: frozenset[str]) -> Mandate:
    acting = able & {"charge", "discharge"}
    if policies is None:
        return Mandate(able=able, actuators=acting)
    battery = policies.battery
    return Mandate(
        enforce=True,
        able=able,
        actuators=acting,
        host_power=battery.host_power,
        alternator=battery.alternator,
        capacity=battery.capacity,
    )


def stopped(key: str) -> bool:
    """Whether an emergency stop of this pack is in force, by its ledger. Reads the disk."""
    return LedgerStore(key).load(0.0).ledger.stop is not None


def acted_on_elsewhere(board: Board, identity: Identity) -> bool:
    """Whether another program on this machine acts on the board that answered. Reads the disk."""
    handle = lock_acting(pack_key(board, identity))
    if handle is not None:
        os.close(handle)
    return handle is None


def _unable(unable: Any, able: frozenset[str]) -> Iterator[str]:
    for name in ("charge", "discharge"):
        if name not in able:
            yield f"{name} is protected by limits only: {unable.get(name, 'no such switch')}"


def lock_acting(key: str) -> int | None:
    """The lock of a pack, held as long as it is open; `None` where another program holds it."""
    try:
        handle = open_lock(state_path() / "locks", f"acting {key}")
    except OSError:  # a disk that takes no lock keeps nobody from protecting
        return os.open(os.devnull, os.O_RDONLY)
    try:
        take(handle)
    except OSError:
        os.close(handle)
        return None
    return handle
