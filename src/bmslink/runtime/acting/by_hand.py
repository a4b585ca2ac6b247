"""What somebody who switches by hand must know of whatever acts on the pack: the other end of
`config.switching.acting`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial

import msgspec

from bmslink.board import Board
from bmslink.config.checks.check import refuse
from bmslink.config.outcome import Outcome
from bmslink.config.records.on_loan import is_for_session
from bmslink.config.switching.acting import Handed
from bmslink.control.act.ledger import Ledger
from bmslink.control.act.mandate import left_holders
from bmslink.control.act.store import LedgerStore, kept_ledger
from bmslink.errors import GateError
from bmslink.model import Command, Identity, Switch
from bmslink.runtime.acting.mailbox import NotTaken, RunAt, run_at, switch_by_run
from bmslink.runtime.acting.start import ledger_of, lock_acting, pack_key
from bmslink.storage.apart import apart
from bmslink.storage.journal import JournalError, actor_name, on_disk, refusing

__all__ = ["hand_over", "held_off", "left_off", "switching_on"]

_MOMENT = 0.3
"""How long looking for a run may take, s: the disk may hang, and an off waits."""
_TAKES_OFF, _TAKES_ON = 2.0, 5.0
"""How long a run may take to take an off and an on, s."""
_SHOWS, _SHOWS_HERE = 15.0, 5.0
"""How long a board may take to show it, s; and an off, where this program can send it as well."""


async def hand_over(device: Board, command: Command) -> Handed:
    """Have the `control run` that acts on the pack do it, if there is one. The board is not asked,
    and need not be open. Raises `GateError` where the switch is held, or where an on is not taken.
    """
    run = None
    with suppress(TimeoutError):
        run = await apart(partial(run_at, device.target), _MOMENT)
    if run is None or (run.session and is_for_session()):
        return Handed(None)
    here = device.opened and not command.on
    takes, shows = _TAKES_ON if command.on else _TAKES_OFF, _SHOWS_HERE if here else _SHOWS
    try:
        shown = await switch_by_run(
            run.target, command, actor_name(), patience=takes, shows=shows, answers=run.answers
        )
    except NotTaken as error:
        return _not_taken(run, command, str(error))
    except GateError as error:
        if command.on:
            raise
        return Handed(None, f"{_named(run).capitalize()} refused: {error} It was sent from here.")
    by = _named(run)
    if shown:
        return Handed(Outcome(result="done", sentence=f"{command}: {by} sent it and read it back."))
    missed = f"{by} has it, and {shows:g} s later it is not read back"
    if here:
        return Handed(None, f"{missed}, so it was sent from here as well.")
    return Handed(Outcome(result="unproven", sentence=f"{command}: {missed}: look at the pack."))


def _named(run: RunAt) -> str:
    if run.session:
        return "the balancing session of the pack"
    return f"the `control run` (process {run.pid}) that acts on the pack"


def _not_taken(run: RunAt, command: Command, why: str) -> Handed:
    if command.on:
        raise refuse(
            f"Nothing was sent. {why} Nothing is switched on beside {_named(run)}: end it first.",
            "held",
        )
    return Handed(
        None, f"{why} It was sent from here instead, and {_named(run)} does not know of it."
    )


def held_off(
    device: Board, identity: Identity, switches: Collection[Switch]
) -> Mapping[Switch, str]:
    """Which of them nobody may switch on now: why, and what ends that. Reads the disk.

    A person's own off is none of that: a person who switches on ends it."""
    kept = kept_ledger(pack_key(device, identity))
    word = device.target.word
    if kept.trouble:
        why = (
            f"{kept.trouble} So it is not known whether something holds it off: `bmslink control "
            f"reset {word}` puts that file aside."
        )
        return {switch: f"{switch}: {why}" for switch in switches}
    if kept.ledger is None:
        return {}
    ledger, _ = ledger_of(kept.ledger, identity, 0.0)
    told = {switch: _holder(switch, ledger, word) for switch in switches}
    return {switch: why for switch, why in told.items() if why}


def _holder(switch: Switch, ledger: Ledger, word: str) -> str:
    """Who holds it off and what ends that, in a sentence; empty: nobody."""
    if ledger.stop is not None:
        why = f": {ledger.stop.why}" if ledger.stop.why else ""
        return (
            f"{switch} is held off by the emergency stop of {ledger.stop.who}{why}; `bmslink "
            f"control reset {word}` ends that."
        )
    if not (left := left_holders(ledger.record(switch))):
        return ""
    return (
        f"{switch} is held off by {', '.join(left)}, and nothing acts on the pack now that would "
        "give it back: `bmslink control run "
        f"--enforce` does, by its rules, and `bmslink control override {word}` sets a policy aside "
        f"while it runs. `bmslink control reset {word}` lets go of it."
    )


def left_off(device: Board, identity: Identity) -> Collection[Switch]:
    """The switches that are off by what acts, by a person it knows of, or by a stop. Reads the
    disk; of a ledger that cannot be read, all may be."""
    kept = kept_ledger(pack_key(device, identity))
    if kept.trouble:
        return tuple(Switch)
    if kept.ledger is None:
        return ()
    ledger, _ = ledger_of(kept.ledger, identity, 0.0)
    records = {switch: ledger.record(switch) for switch in Switch}
    return [s for s, record in records.items() if ledger.stop or record.own or record.person]


@asynccontextmanager
async def switching_on(
    device: Board, identity: Identity, switch: Switch
) -> AsyncIterator[Callable[[], Awaitable[str]]]:
    """Around switching on by hand; meanwhile nothing else begins to act on the pack. What it gives
    is called when the switch is on, and says what that ended. A thread asks the disk. Raises
    `GateError` where something holds the switch off, `JournalRefusal` where the disk hangs."""
    key = pack_key(device, identity)
    with refusing():
        lock = await on_disk(partial(lock_acting, key), late=_close)
    if lock is None:
        raise refuse(
            f"Nothing was sent. Another program on this machine acts on {key}, and nothing is "
            "switched on beside it: end it first (`bmslink control status` shows what runs).",
            "held",
        )
    try:
        with refusing():
            held = await on_disk(partial(held_off, device, identity, [switch]))
        if why := held.get(switch):
            raise refuse(f"Nothing was sent. {why}", "held")
        yield partial(_freed, key, identity, switch)
    finally:
        os.close(lock)


def _close(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


async def _freed(key: str, identity: Identity, switch: Switch) -> str:
    """A person's off of this board is over; that of another one at its place is not. What came of
    that, in a sentence: the switch is on already, whatever the disk does."""
    try:
        return await on_disk(partial(_free, key, identity, switch))
    except JournalError as error:
        return _still_off(switch, str(error))


def _still_off(switch: Switch, why: str) -> str:
    return (
        f"{switch} is on, and its ledger may still say that somebody switched it off by hand: {why}"
    )


def _free(key: str, identity: Identity, switch: Switch) -> str:
    store = LedgerStore(key)
    ledger, _ = ledger_of(store.load(0.0).ledger, identity, 0.0)
    record = ledger.record(switch)
    if not record.person:
        return ""
    free = msgspec.structs.replace(record, person="", holders=())
    store.save(ledger.with_record(switch, free), 0.0)
    if not store.close():
        return _still_off(switch, store.trouble)
    return f"{record.person} had switched {switch} off: that is over."
