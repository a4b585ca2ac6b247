"""What a pack shows of a switch, in the seconds after a command and later.

Acknowledgements prove nothing, and boards ignore commands while a protection is active or a high
current flows. What counts is the asked state, read back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from bmslink.board import Board
from bmslink.config.identity.known_as import identify_as
from bmslink.config.outcome import Outcome, Result
from bmslink.errors import BmsError, RollbackError
from bmslink.model import Command, Condition, Reading, Switch
from bmslink.protocols.common.settings_map import SettingsMap
from bmslink.settings.setting import SWITCHES

__all__ = ["look_at", "seen"]

_LOOKS = 12
_BETWEEN = 0.7
"""How often and how far apart it is looked whether a switch took, s: the vendor's own app waits
6 s, and views of a board were seen 4 to 6 s old."""
_HOLDS = 4.0
"""How much later what was read back must still hold, s: boards forget, other masters switch."""


async def seen(
    device: Board,
    command: Command,
    *,
    setting: SettingsMap | None = None,
    before: Reading | None = None,
    known: Mapping[str, Any] | None = None,
    transaction: str = "",
    lost: str = "",
) -> Outcome:
    """What the pack says in the seconds after a command.

    `setting`: the map of the one slot that holds the switch, where it is a setting. `known`: who
    the pack was before (`pack_of`), if that was asked. `lost`: why it is not known whether the
    command arrived. Raises `RollbackError` where nothing can be read.
    """
    shown = _Shown("unproven", "Nothing was read afterwards.")
    why: BmsError | None = None
    for _ in range(_LOOKS):
        await asyncio.sleep(_BETWEEN)
        try:
            shown, why = look_at(await _read(device, setting), command, before), None
        except BmsError as error:  # a refusal is of the question now, not of the command
            why = error
            continue
        if shown.result == "done":
            break
    if why is not None:
        went = "may have been sent" if lost else "was sent"
        raise RollbackError(
            f"{lost}{command} {went}, and what came of it cannot be read: {why} "
            f"`bmslink config resume {device.target.word}` looks again."
        ) from why
    if shown.result == "done":
        shown = await _still(device, command, setting, before)
    if known is not None:
        shown = await _of_whom(device, command, known, shown)
    return Outcome(result=shown.result, sentence=lost + shown.sentence, transaction=transaction)


async def _still(
    device: Board, command: Command, setting: SettingsMap | None, before: Reading | None
) -> _Shown:
    """Whether what was read back a moment ago still holds."""
    await asyncio.sleep(_HOLDS)
    try:
        later = look_at(await _read(device, setting), command, before)
    except BmsError as error:
        return _Shown("unproven", f"{command} was read back once, then nothing was read: {error}")
    if later.result == "done":
        return later
    return _Shown(
        "unproven", f"{command} was read back, but {_HOLDS:g} s later it no longer holds."
    )


async def _of_whom(
    device: Board, command: Command, known: Mapping[str, Any], shown: _Shown
) -> _Shown:
    """What was shown counts only where the board that was asked showed it."""
    try:
        _, other = await identify_as(device, known)
    except BmsError as error:
        return _Shown("unproven", f"{shown.sentence} Then who answers cannot be read: {error}")
    if not other:
        return shown
    return _Shown(
        "unproven",
        f"{command} was sent, but what answers now is not the board from before: {other}. What the "
        "switch does there is not known.",
    )


async def _read(device: Board, setting: SettingsMap | None) -> Reading:
    """A reading, with its switch as it is in the settings now, not as it was read with them."""
    held: Mapping[str, Any] = {}
    if setting is not None:
        held = (await device.settings(setting)).values()
    reading = await device.read()
    return replace(reading, **{k: v for k, v in held.items() if k in SWITCHES})


class _Shown(NamedTuple):
    result: Result
    sentence: str


def look_at(reading: Reading, command: Command, before: Reading | None = None) -> _Shown:
    """Whether a reading shows that a switch took; `before` is one from before the command."""
    wish, acts = {
        Switch.CHARGE: (reading.charge_switch, reading.charging_allowed),
        Switch.DISCHARGE: (reading.discharge_switch, reading.discharging_allowed),
        Switch.BALANCE: (reading.balance_switch, None),
    }[command.switch]
    active = [c for c in reading.protections if c != Condition.SOFTWARE_LOCK]
    if wish is None and acts is None:
        return _Shown("unproven", f"{command} was sent; the pack does not tell whether it took.")
    if wish is not None and wish != command.on:
        return _ignored(command, active)
    if acts is None or acts == command.on:
        return _took(command, wish, reading, before)
    if not command.on:
        return _Shown("unproven", f"{command} was sent, but the FET still conducts.")
    if wish is None:
        return _ignored(command, active)
    held = f" while {', '.join(active)} is active" if active else ""
    return _Shown("ignored", f"{command} is set, but the FET stays open{held}.")


def _took(command: Command, wish: bool | None, reading: Reading, before: Reading | None) -> _Shown:
    """The FET is as wished: because of the command, or was it so already?"""
    told = reading.alarms + reading.protections + reading.faults
    if command.on or wish is not None or Condition.SOFTWARE_LOCK in told:
        return _Shown("done", f"{command}: read back.")
    closed = {
        Switch.CHARGE: before and before.charging_allowed,
        Switch.DISCHARGE: before and before.discharging_allowed,
        Switch.BALANCE: None,
    }[command.switch]
    if closed is False:
        return _Shown(
            "unproven",
            f"{command} was sent; the FET was open already, so nothing shows whether it took.",
        )
    if closed is None and reading.protections:
        return _Shown(
            "unproven",
            f"{command} was sent and the FET is open, but {', '.join(reading.protections)} is "
            "active as well, so nothing shows whether it took.",
        )
    return _Shown("done", f"{command}: read back.")


def _ignored(command: Command, active: Sequence[Condition]) -> _Shown:
    if active:
        return _Shown(
            "ignored",
            f"{command} was sent, but {', '.join(active)} is active and keeps the board from it: "
            "try again once that is over.",
        )
    return _Shown("unproven", f"{command} was sent, but the pack does not show it.")
