"""Switching charging, discharging or balancing, and saying truthfully what came of it.

Off goes out at once (`off`). On is careful: where a board keeps its switches as settings it goes
the settings' road, elsewhere the command is sent once, after the lock and the journal. What counts
is what the pack says in the seconds after (`looking`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from bmslink.arguments import checked
from bmslink.board import Board, on_board
from bmslink.config.apply import apply, blocks_of, draft, gate, lock_names, refuse
from bmslink.config.checks.check import require_waivers
from bmslink.config.identity.known_as import pack_of, require_same_board
from bmslink.config.identity.locks import locked_apart
from bmslink.config.outcome import Outcome
from bmslink.config.plan import Plan
from bmslink.config.records.on_loan import NEVER_LENT, SESSION, lent_to
from bmslink.config.records.open_changes import begin
from bmslink.config.switching.acting import Handed, by_hand, may_run
from bmslink.config.switching.beside import Beside
from bmslink.config.switching.confirm import look_at, seen
from bmslink.config.switching.joining import freshen, require_may_join, tell_join
from bmslink.config.switching.off import rehearse_off, switch_off
from bmslink.errors import (
    BmsError,
    FrameError,
    LinkTimeout,
    Refused,
    SettingError,
    TransportError,
)
from bmslink.model import Command, Identity, Switch
from bmslink.protocols.abilities import can_switch, is_setting
from bmslink.storage.journal import Journal, JournalError, Transaction, on_disk
from bmslink.switched_off import Overtaken

__all__ = ["look_at", "rehearse_switch", "switch"]

_ALLOWED = ("load", "protection")
"""Waivers of somebody who switches: current may flow, and a protection may be active."""


@on_board
@checked()
async def switch(
    device: Board,
    command: Command,
    *,
    waive: Collection[str] = (),
    journal: Journal | None = None,
) -> Outcome:
    """Set a switch, and read back what came of it.

    A `control run` that acts on the pack does it, so that it knows; else this board does, and one
    that is not open is opened for it. What something holds off is not switched on, nor (unless
    `join` is waived) a pack beside others of its bank when too much would flow between them.

    The result is `done` where the asked state was read back. `ignored`: a protection keeps it from
    taking; `unproven`: the pack does not show it. Raises `GateError` and `SettingError` (nothing
    was sent), `Refused`, `RollbackError` (sent, and nothing can be read), and what `apply` raises.
    """
    if device.opened:
        _possible(device, command, waive)
    if _command(command).on:
        await freshen(device, [command.switch])
    require_may_join(device, command, waive)
    handed = Handed(None)
    if _command(command).on or await may_run():
        handed = await by_hand().hand_over(device, command)
    if handed.outcome is not None:
        return handed.outcome
    journal = journal or Journal()
    with device.offs.watched():
        if device.opened:
            outcome = await _switch(device, command, waive, journal)
        else:
            async with device:
                outcome = await _switch(device, command, waive, journal)
    return replace(outcome, notes=[handed.note, *outcome.notes]) if handed.note else outcome


async def _switch(
    device: Board, command: Command, waive: Collection[str], journal: Journal
) -> Outcome:
    """On the open board itself."""
    _possible(device, command, waive)
    if not command.on:
        return await switch_off(device, command.switch, waive, journal)
    if is_setting(device.driver, command.switch):
        return await _as_setting(device, command, waive, journal)
    return await _on(device, command, journal)


@on_board
@checked()
async def rehearse_switch(
    device: Board,
    command: Command,
    *,
    waive: Collection[str] = (),
    journal: Journal | None = None,
) -> list[bytes]:
    """Every frame that `switch` would send to change something; none is sent.

    Refuses what `switch` refuses.
    """
    _possible(device, command, waive)
    if command.on:
        await freshen(device, [command.switch])
    require_may_join(device, command, waive, rehearsed=True)
    journal = journal or Journal()
    if not command.on:
        return await rehearse_off(device, command.switch, waive, journal)
    if is_setting(device.driver, command.switch):
        return list((await _plan(device, command, waive, journal)).frames)
    identity = await device.identify()
    await _free(device, identity, command.switch, journal)
    held = await on_disk(partial(by_hand().held_off, device, identity, [command.switch]))
    if why := held.get(command.switch):
        raise refuse(f"Nothing was sent. {why}", "held")
    return await device.rehearse([], command=command)


def _command(command: object) -> Command:
    """`SettingError` for what is no command."""
    if not isinstance(command, Command):
        raise SettingError(f"A switch is set by a Command, not by {str(command)[:40]!r}.")
    return command


def _possible(device: Board, command: Command, waive: Collection[str]) -> None:
    """`SettingError` or `GateError` for what cannot be switched, whichever way."""
    _command(command)
    require_waivers(waive, keys=())
    able = can_switch(device.driver, command.switch)
    if not able.supported and not is_setting(device.driver, command.switch):
        raise refuse(
            f"Nothing was sent: {command.switch} cannot be switched, {able.reason}.", "supported"
        )


async def _free(device: Board, identity: Identity, switch: Switch, journal: Journal) -> None:
    """`GateError` where the journal, an unfinished change or a session forbids to switch on."""
    if switch.key not in NEVER_LENT and (lent := await lent_to(device, identity)):
        raise refuse(f"Nothing was sent. {lent}", SESSION)
    for name, why in (await blocks_of(journal, device, identity)).items():
        raise refuse(f"Nothing was sent. {why}", name)


async def _on(device: Board, command: Command, journal: Journal) -> Outcome:
    """By a command of the protocol."""
    identity = await device.identify()
    async with (
        locked_apart(journal.folder / "locks", partial(lock_names, device, identity)),
        by_hand().switching_on(device, identity, command.switch) as freed,
    ):
        await _free(device, identity, command.switch, journal)
        before = await device.read()
        transaction = await begin(
            journal,
            device,
            identity,
            [],
            switch=str(command.switch),
            on=command.on,
        )
        beside, known, lost = Beside.of(device), pack_of(identity), ""
        tell_join(device, command.switch)
        try:
            await _send(device, command, transaction, known)
        except (TransportError, FrameError) as error:
            lost = f"The command got no usable answer ({error}) "
        except BmsError as error:  # it was not sent, or the board said no
            await transaction.closed("refused", why=str(error))
            if isinstance(error, JournalError):
                raise refuse(f"{error} Nothing was sent.", "journal") from error
            if isinstance(error, Overtaken):
                raise refuse(f"Nothing was sent. {error}", "overtaken") from error
            raise
        outcome = await seen(
            device, command, before=before, known=known, transaction=transaction.id, lost=lost
        )
        outcome = await beside.judge(device, command, outcome)
        untold = await transaction.closed(outcome.result, sentence=outcome.sentence)
        outcome = replace(outcome, notes=[untold, *outcome.notes]) if untold else outcome
        return await _freed(outcome, freed)


async def _freed(outcome: Outcome, freed: Callable[[], Awaitable[str]]) -> Outcome:
    """The outcome, after it is remembered that the switch is on by a person's wish."""
    note = await freed() if outcome.result == "done" else ""
    return replace(outcome, notes=[*outcome.notes, note]) if note else outcome


async def _send(
    device: Board, command: Command, transaction: Transaction, known: Mapping[str, Any]
) -> None:
    """Once, and once more where nothing acknowledged it and the same board still answers."""
    try:
        await device.send(command, transaction)
    except LinkTimeout as lost:
        try:
            await require_same_board(device, known, lost, within=None)
            await device.send(command, transaction)
        except Overtaken as error:
            raise LinkTimeout(f"{lost} {error}", lost.heard) from lost
        except (Refused, TransportError, FrameError):
            raise
        except BmsError as error:  # the first one may have arrived all the same
            raise LinkTimeout(str(error), lost.heard) from lost


async def _plan(device: Board, command: Command, waive: Collection[str], journal: Journal) -> Plan:
    """Of the one setting, gated."""
    key = command.switch.key
    plan = await draft(device, {key: command.on}, waive={*waive, *_ALLOWED}, journal=journal)
    if key in plan.unsupported:
        raise refuse(f"{key} cannot be switched: {plan.unsupported[key]}.", "supported")
    gate(plan)
    return plan


async def _as_setting(
    device: Board, command: Command, waive: Collection[str], journal: Journal
) -> Outcome:
    """The road of the settings; raises what `apply` raises."""
    plan = await _plan(device, command, waive, journal)
    async with by_hand().switching_on(device, plan.identity, command.switch) as freed:
        outcome = await apply(device, plan, journal=journal)
        if command.switch == Switch.BALANCE:  # it acts when cells need it, and only then
            return await _freed(outcome, freed)
        known = pack_of(plan.identity)
        shown = await seen(device, command, known=known, transaction=outcome.transaction)
        return await _freed(_also_shown(outcome, shown), freed)


def _also_shown(outcome: Outcome, shown: Outcome) -> Outcome:
    """How a setting was written, and what the pack shows of it."""
    return Outcome(
        result=shown.result,
        sentence=f"{outcome.sentence} {shown.sentence}",
        transaction=outcome.transaction,
        changes=outcome.changes,
        notes=outcome.notes,
        stands=outcome.stands,
    )
