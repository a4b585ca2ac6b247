"""How acting on a pack begins: who it is, what a person approved, its ledger, its switches."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bmslink.board import Board
from bmslink.config.identity.fingerprint import fingerprint, fingerprint_of
from bmslink.config.identity.known_as import pack_of
from bmslink.config.switching.joining import bank_of
from bmslink.control.act.actuators import prepare
from bmslink.control.act.consent import (
    Acts,
    Approval,
    ConsentError,
    Standing,
    approval_of,
    approve,
    may_enforce,
)
from bmslink.control.act.ledger import Ledger
from bmslink.control.act.mandate import Mandate
from bmslink.control.act.store import LedgerStore, Loaded
from bmslink.control.decide.policy import Action, Mode, Policy, PolicySet, Severity
from bmslink.control.files import parse_policies
from bmslink.control.status import state_path
from bmslink.errors import GateError, TargetError
from bmslink.model import Identity, Switch
from bmslink.places import place_of
from bmslink.runtime.acting.limit_sinks import LimitSinks
from bmslink.runtime.acting.pack_actor import PackActor
from bmslink.runtime.acting.shown import Note, TellActing
from bmslink.storage.alone import hold_lock

__all__ = [
    "EnforcedPack",
    "acted_on_elsewhere",
    "approve_policies",
    "approved_text",
    "begin_acting",
    "ledger_of",
    "lock_acting",
    "pack_key",
    "powers",
    "read_policy_text",
    "require_host_power",
    "served_text",
    "standing_of",
    "stopped",
]

_BOARD = "board"
"""Where the ledger's file keeps who it is of."""
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
    return may_enforce(_approved(key, identity), key, text)


def approved_text(board: Board, identity: Identity) -> str | None:
    """The policy file that was approved last for the board that answered; `None`: none was. Raises
    `ConsentError`."""
    found = _approved(pack_key(board, identity), identity)
    return None if found is None else found.text


def approve_policies(board: Board, identity: Identity, text: str, path: str, by: str) -> Approval:
    """A person approves a policy file for the board that answered. Raises `TargetError` for what is
    no policy file, `GateError` without host_power, `ConsentError`."""
    require_host_power(parse_policies(text, Path(path)), path)
    key, who = pack_key(board, identity), pack_of(identity)
    return approve(key, text, path=path, by=by, board=who)


def _approved(key: str, identity: Identity) -> Approval | None:
    """What was approved for the board that answered. Raises `ConsentError`, also where that was
    for another one at the same place."""
    found = approval_of(key)
    if found is not None and (other := _differs(found.board, identity)):
        raise ConsentError(
            f"What {found.by} approved for {key} is for another board, not for the one that "
            f"answers now ({other}): its policies only watch. Approve them for this one."
        )
    return found


def _differs(saved: object, identity: Identity) -> str:
    """How who answers differs from who is on record, in words; empty: not as far as both tell."""
    return fingerprint_of(saved).differs(fingerprint(identity)) if isinstance(saved, dict) else ""


def _load(store: LedgerStore, identity: Identity, now: float) -> Loaded:
    """The ledger of the board that answered. What is known of another one at the same place is no
    ground to switch anything on here; a stop stays."""
    loaded = store.load(now)
    ledger, other = ledger_of(loaded.ledger, identity, now)
    trouble = loaded.trouble
    if other:
        trouble = (
            f"Another board is at its place now ({other}): what was switched off on the one before "
            "is not given back on this one."
        )
    aside = {**ledger.aside, _BOARD: pack_of(identity)}
    return Loaded(msgspec.structs.replace(ledger, aside=aside), trouble)


def ledger_of(ledger: Ledger, identity: Identity, now: float) -> tuple[Ledger, str]:
    """What of a ledger counts for the board that answers, and how that differs from the one it is
    of, in words; empty: not as far as both tell."""
    if other := _differs(ledger.aside.get(_BOARD), identity):
        return msgspec.structs.replace(Ledger.new(ledger.pack, now), stop=ledger.stop), other
    return ledger, ""


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
        try:
            await self.actor.close()
        finally:
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
    if board.elsewhere("switch") is not None:
        return Standing(Acts.NOTHING, None, True, served_text(board), alarm=True)
    try:
        standing = may_enforce(await asyncio.to_thread(_approved, key, identity), key, text)
    except ConsentError as error:  # people need none
        standing = may_enforce(None, key, text)._replace(text=str(error), alarm=True)
    policies = None
    if enforce:
        if standing.enforced is None:
            return standing
        policies = parse_policies(standing.enforced, Path(path))
    lock = await _lock_apart(key)
    if lock is None:
        said = f"Another program on this machine acts on {key}: here its policies only watch."
        return standing._replace(enforced=None, shadow=True, text=said, alarm=True)
    actors: list[PackActor] = []

    def remembered(switch: Switch) -> bool | None:
        ledger: Ledger = actors[0].ledger if actors else loaded.ledger
        return ledger.remembered(switch)

    try:
        store = LedgerStore(key)
        loaded = await asyncio.to_thread(_load, store, identity, asyncio.get_running_loop().time())
        board.bank = await asyncio.to_thread(bank_of, board)
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


def served_text(board: Board) -> str:
    """Why nothing acts from here on a pack whose line a service owns."""
    return (
        f"A service owns the line of {board.target.label}: it acts on that pack where its section "
        "of bmslink.toml says enforce = true. Here policies only watch."
    )


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


async def _lock_apart(key: str) -> int | None:
    """The same, while others go on. Who is cancelled meanwhile does not hold it."""
    taking = asyncio.ensure_future(asyncio.to_thread(lock_acting, key))
    try:
        return await asyncio.shield(taking)
    except asyncio.CancelledError:
        taking.add_done_callback(_let_go)
        raise


def _let_go(taking: asyncio.Future[int | None]) -> None:
    if not taking.cancelled() and (lock := taking.result()) is not None:
        os.close(lock)


def lock_acting(key: str) -> int | None:
    """The lock of a pack, held as long as it is open; `None` where another program holds it."""
    return hold_lock(state_path() / "locks", f"acting {key}")
