"""Switching charging, discharging or balancing, and saying truthfully what came of it.

Where a board keeps its switches as settings they go the settings' road. Elsewhere the command is
sent once, and what counts is what the pack says in the seconds after: acknowledgements prove
nothing, and boards ignore commands while a protection is active.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

from bmslink.config.apply import apply, blocks_of, draft, lock_names, refuse
from bmslink.config.locks import locked
from bmslink.config.open_changes import begin
from bmslink.config.outcome import Outcome, Result
from bmslink.device import Device
from bmslink.errors import BmsError, FrameError, RollbackError, TransportError
from bmslink.journal import Journal
from bmslink.model import Command, Condition, Reading, Switch

__all__ = ["look_at", "rehearse_switch", "switch"]

_LOOKS = 6
_BETWEEN = 0.7
"""How often and how far apart it is looked whether a switch took, s."""
_ALLOWED = ("load", "protection")
"""Waivers of somebody who switches: current may flow, and a protection may be active."""


async def switch(
    device: Device,
    command: Command,
    *,
    waive: Collection[str] = (),
    journal: Journal | None = None,
) -> Outcome:
    """Set a switch. `ignored`: a protection keeps it from taking; `unproven`: nothing shows it.

    Raises `GateError` and `SettingError` (nothing was sent), and what `apply` raises.
    """
    journal = journal or Journal()
    identity = await device.identify()
    able = device.driver.can_switch(command.switch)
    if not able.supported and not device.driver.configurable:
        return await _as_setting(device, command, waive, journal)
    with locked(journal.folder / "locks", lock_names(device, identity)):
        for name, why in blocks_of(journal, device, identity).items():
            raise refuse(f"Nothing was sent. {why}", name)
        before = await device.read()
        transaction = begin(
            journal,
            device,
            identity,
            [],
            switch=str(command.switch),
            on=command.on,
        )
        try:
            await device.send(command, transaction)
        except (TransportError, FrameError) as error:
            lost = f"The command got no usable answer ({error}) "
        except BmsError as error:  # it was not sent, or the board said no
            transaction.end("refused", why=str(error))
            raise
        else:
            lost = ""
        outcome = await _seen(device, command, before, transaction.id, lost)
        untold = transaction.close(outcome.result, sentence=outcome.sentence)
        return replace(outcome, notes=[untold]) if untold else outcome


async def rehearse_switch(device: Device, command: Command) -> list[bytes]:
    """Every frame that `switch` would send to change something; none is sent."""
    able = device.driver.can_switch(command.switch)
    if able.supported or device.driver.configurable:
        return await device.rehearse([], command=command)
    plan = await draft(device, {f"{command.switch}_switch": command.on})
    return list(plan.frames)


async def _as_setting(
    device: Device, command: Command, waive: Collection[str], journal: Journal
) -> Outcome:
    """The road of the settings; raises what `apply` raises."""
    key = f"{command.switch}_switch"
    plan = await draft(device, {key: command.on}, waive={*waive, *_ALLOWED}, journal=journal)
    if key in plan.unsupported:
        raise refuse(f"{key} cannot be switched: {plan.unsupported[key]}.", "supported")
    outcome = await apply(device, plan, journal=journal)
    if command.switch is Switch.BALANCE:  # it acts when cells need it, and only then
        return outcome
    seen = await _seen(device, command, None, outcome.transaction, "")
    return Outcome(
        result=seen.result,
        sentence=f"{outcome.sentence} {seen.sentence}",
        transaction=outcome.transaction,
        changes=outcome.changes,
        notes=outcome.notes,
        stands=outcome.stands,
    )


async def _seen(
    device: Device, command: Command, before: Reading | None, name: str, lost: str
) -> Outcome:
    """What the pack says in the seconds after a command."""
    shown = _Shown("unproven", "Nothing was read afterwards.")
    why: BmsError | None = None
    for _ in range(_LOOKS):
        await asyncio.sleep(_BETWEEN)
        try:
            shown, why = look_at(await device.read(), command, before), None
        except (TransportError, FrameError) as error:
            why = error
            continue
        if shown.result == "done":
            break
    if why is not None:
        raise RollbackError(
            f"{lost}{_words(command)} was sent, and what came of it cannot be read: {why} "
            f"`bmslink config resume {device.target}` looks again."
        ) from why
    return Outcome(result=shown.result, sentence=lost + shown.sentence, transaction=name)


class _Shown(NamedTuple):
    result: Result
    sentence: str


def _words(command: Command) -> str:
    return f"{command.switch} {'on' if command.on else 'off'}"


def look_at(reading: Reading, command: Command, before: Reading | None = None) -> _Shown:
    """Whether a reading shows that a switch took; `before` is one from before the command."""
    what = _words(command)
    wish, acts = {
        Switch.CHARGE: (reading.charge_switch, reading.charging_allowed),
        Switch.DISCHARGE: (reading.discharge_switch, reading.discharging_allowed),
        Switch.BALANCE: (reading.balance_switch, None),
    }[command.switch]
    told = reading.alarms + reading.protections + reading.faults
    active = [c for c in reading.protections if c is not Condition.SOFTWARE_LOCK]
    if wish is None and acts is None:
        return _Shown("unproven", f"{what} was sent; the pack does not tell whether it took.")
    if wish is not None and wish is not command.on:
        return _ignored(what, active)
    if acts is None or acts is command.on:
        return _took(command, what, wish, Condition.SOFTWARE_LOCK in told, before)
    if not command.on:
        return _Shown("unproven", f"{what} was sent, but the FET still conducts.")
    if wish is None:
        return _ignored(what, active)
    held = f" while {', '.join(active)} is active" if active else ""
    return _Shown("ignored", f"{what} is set, but the FET stays open{held}.")


def _took(
    command: Command, what: str, wish: bool | None, locked: bool, before: Reading | None
) -> _Shown:
    """The FET is as wished: because of the command, or was it so already?"""
    acted = (
        before is not None
        and {
            Switch.CHARGE: before.charging_allowed,
            Switch.DISCHARGE: before.discharging_allowed,
            Switch.BALANCE: None,
        }[command.switch]
    )
    if not command.on and wish is None and acted is False and not locked:
        return _Shown(
            "unproven",
            f"{what} was sent; the FET was open already, so nothing shows whether it took.",
        )
    return _Shown("done", f"{what}: read back.")


def _ignored(what: str, active: Sequence[Condition]) -> _Shown:
    if active:
        return _Shown(
            "ignored", f"{what} was sent, but {', '.join(active)} is active and keeps the board."
        )
    return _Shown("unproven", f"{what} was sent, but the pack does not show it.")
