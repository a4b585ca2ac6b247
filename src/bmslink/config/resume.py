"""After a change was cut off: read what the board holds, then finish it or set it back."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Any

from bmslink.arguments import checked
from bmslink.board import Board, on_board
from bmslink.config.apply import (
    carry_out,
    gate,
    refuse,
)
from bmslink.config.checks.check import Check, Health, require_waivers
from bmslink.config.checks.plausible import oddities
from bmslink.config.effects import kept_off, strange
from bmslink.config.identity.known_as import identify_as
from bmslink.config.identity.locks import locked_apart
from bmslink.config.job import Job, outages_of, watch
from bmslink.config.outcome import Outcome
from bmslink.config.plan import changes_of, make_plan
from bmslink.config.records.cut_off import going_back, settings_to_compare
from bmslink.config.records.open_changes import (
    cut_off,
    lock_names,
    may_be_written_from,
    other_road,
)
from bmslink.config.records.record import ChangeRecord, damaged, neither, read
from bmslink.config.rollback import roll_back
from bmslink.config.switching.acting import by_hand
from bmslink.config.switching.off_marks import marked_off
from bmslink.config.switching.switches import look_at
from bmslink.errors import BmsError, GateError, RollbackError, VerifyError
from bmslink.model import Command, Identity, Switch
from bmslink.protocols.abilities import settings_of
from bmslink.protocols.common.settings_map import RawSettings, SettingsMap, SettingsSnapshot
from bmslink.storage.journal import Journal, Open, on_disk

__all__ = ["resume"]


_CHANGED = (
    "Since the change was begun other settings changed as well ({}): is it the same board? --keep "
    "gives the change up and leaves all as it stands; --waive unchanged sets these back too."
)


@on_board
@checked()
async def resume(
    device: Board,
    *,
    rollback: bool = False,
    keep: bool = False,
    agreed: bool = False,
    waive: Collection[str] = (),
    confirm: Callable[[str], bool] | None = None,
    journal: Journal | None = None,
) -> Outcome:
    """End the oldest change of this pack that was cut off.

    It is finished, unless `rollback` asks to set it back or setting back had begun already. `keep`
    sends nothing and only declares it over, whatever the board holds; a damaged record can only be
    ended like that. `agreed`: a person has seen a record that an earlier version wrote without a
    check. `confirm` is asked, with a sentence, where a setting is read as neither its old nor its
    new value; without it that is an end. Raises `GateError` where it is not the board it was, or
    may not be finished now, and what
    `apply` raises.
    """
    waive = require_waivers(waive)
    journal = journal or Journal()
    identity = await device.identify()
    with device.offs.watched():
        async with locked_apart(journal.folder / "locks", partial(lock_names, device, identity)):
            table = await settings_to_compare(journal, device, identity)
            cut = await cut_off(journal, device, identity, table)
            if not cut:
                return Outcome(result="nothing", sentence="No change of this pack was cut off.")
            may_be_written_from(cut[0], device, identity, keep=keep, agreed=agreed, waive=waive)
            if keep:
                return await _keep(journal, cut[0])
            if road := other_road(cut[0], identity):
                raise refuse(
                    "The change was begun over another port of this pack: resume it over "
                    f"{road}, or give it up with --keep.",
                    "identity",
                )
            began = cut[0].begin.get("pack")
            identity, other = await identify_as(device, _who(cut[0], began))
            if other:
                raise refuse(
                    f"The change was begun on another board: this one has {other}. Connect that "
                    "one, or give up the change with --keep.",
                    "identity",
                )
            if "adjust" in cut[0].begin:
                return await _leave(journal, cut[0])
            if "switch" in cut[0].begin:
                return await _look_at_switch(device, journal, cut[0])
            return await _resume(device, identity, journal, cut[0], rollback, waive, confirm)


def _who(cut: Open, began: object) -> dict[str, Any]:
    """The board that a change was begun on; how many cells only where it was not about them."""
    pack = dict(began) if isinstance(began, dict) else {}
    if '"cell_count"' in json.dumps(cut.begin.get("changes")):
        pack["cell_count"] = None
    return pack


async def _keep(journal: Journal, cut: Open) -> Outcome:
    sentence = "The change was declared over; what the board holds stays as it is."
    if cut.damage:
        sentence = f"The damaged record was given up ({cut.damage}); nothing was sent."
    await on_disk(partial(journal.give_up, cut))
    return Outcome(result="kept", sentence=sentence, transaction=cut.id)


async def _leave(journal: Journal, cut: Open) -> Outcome:
    """A clock or a state of charge of hours ago is nothing to send now."""
    sentence = "Setting the clock or the state of charge was cut off; it is not sent again."
    await on_disk(partial(journal.reopen(cut).end, "unproven", sentence=sentence))
    return Outcome(result="unproven", sentence=sentence, transaction=cut.id)


async def _look_at_switch(device: Board, journal: Journal, cut: Open) -> Outcome:
    """A switch is not thrown again, hours later: only what it shows is reported."""
    name, on = cut.begin["switch"], cut.begin.get("on")
    if name not in list(Switch) or not isinstance(on, bool):
        raise damaged("it names no switch")
    shown = look_at(await device.read(), Command(Switch(name), on))
    sentence = f"{shown.sentence} It was not sent again."
    await on_disk(partial(journal.reopen(cut).end, shown.result, sentence=sentence))
    return Outcome(result=shown.result, sentence=sentence, transaction=cut.id)


async def _resume(
    device: Board,
    identity: Identity,
    journal: Journal,
    cut: Open,
    rollback: bool,
    waive: Collection[str],
    confirm: Callable[[str], bool] | None,
) -> Outcome:
    settings = await device.settings_map(identity)
    if cut.begin.get("map") != settings.name or settings.read_only_reason:
        why = settings.read_only_reason or f"its settings are now known as {settings.name}"
        raise refuse(f"The change cannot be resumed over this target: {why}.", "map")
    left = await on_disk(partial(by_hand().left_off, device, identity))
    off = {*marked_off(cut), *left}
    record = _leaving_off(settings, off, read(settings, cut.begin))
    if odd := oddities(record.before):
        raise damaged(f"what it would set back to is impossible ({odd})")
    back = rollback or going_back(cut)
    now = await device.settings(settings)
    touched = [change.slot for change in record.changes]
    other = strange(settings, record.before.image, now.image, touched)
    if other and "unchanged" not in waive:
        raise GateError(
            "Nothing was sent. " + _CHANGED.format(other),
            [Check(name="unchanged", passed=False, sentence=other, waiver="unchanged")],
        )
    told = neither(settings, record, now.image)
    if told and not (confirm is not None and confirm(told)):
        raise refuse(
            f"Nothing was sent. {told} Look first, or give it up with --keep.", "unchanged"
        )
    if not back:
        _turns_nothing_on(settings, record, now.image)
        await _may_finish(device, identity, now, record, {*waive, *record.waived})
    job = Job(
        device=device,
        settings=settings,
        identity=identity,
        transaction=journal.reopen(cut),
        before=record.before.image,
        touched=touched,
        sent=True,
        held=_held(settings, cut, record.before.image),
        outages=outages_of(device),
        known="unchanged" in waive,
    )
    await job.transaction.noted("resumed", back=back, waived=sorted(waive))
    new = {change.slot: change.new for change in record.changes} if record.restore else {}
    if not back:
        with settings_of(device.driver).seen.vouching({**record.before.image, **new}):
            return await carry_out(job, record.changes)
    with settings_of(device.driver).seen.vouching(record.before.image):
        error = await roll_back(job, record.changes, BmsError("The change was cut off."))
    if isinstance(error, VerifyError) and isinstance(error.outcome, Outcome):
        return error.outcome  # that is what was asked for
    raise error if isinstance(error, RollbackError) else RollbackError(str(error))


def _turns_nothing_on(settings: SettingsMap, record: ChangeRecord, now: RawSettings) -> None:
    """`GateError` where finishing the change would turn a switch on, perhaps hours later."""
    on = [
        key
        for change in record.changes
        for key in kept_off(settings, change.slot, change.new, now.get(change.slot))[1]
    ]
    if on:
        raise refuse(
            f"Nothing was sent: finishing the change would turn {', '.join(on)} on, and only "
            "`bmslink switch` does that. --rollback sets the change back.",
            "switch",
        )


def _held(settings: SettingsMap, cut: Open, image: RawSettings) -> dict[int, bytes]:
    """What was last written to each slot, by the journal; `image` is what it would be set back
    to."""
    held: dict[int, bytes] = {}
    for note in cut.notes:
        slot, new = note.get("slot"), note.get("new")
        if note.get("event") != "write" or not isinstance(slot, int) or not isinstance(new, str):
            continue
        if slot in settings.by_address:
            try:
                held[slot] = settings.by_address[slot].clean(bytes.fromhex(new))
            except ValueError as error:
                raise damaged(f"{error}") from error
            if slot not in image:
                raise damaged(f"it does not say what slot {slot:02X} held before")
    return held


async def _may_finish(
    device: Board,
    identity: Identity,
    now: SettingsSnapshot,
    record: ChangeRecord,
    waive: Collection[str],
) -> None:
    """The gates again: the pack may be fuller, colder or busier than when the change was begun."""
    reading, still = await watch(device)
    plan = make_plan(
        now,
        {},
        identity=identity,
        reading=reading,
        health=Health(0, 0, still),
        raw={change.slot: change.new for change in record.changes},
        restore=record.restore,
        stood={slot: (raw,) for slot, raw in record.before.image.items()},
        waive=waive,
        chemistry=record.chemistry,
        target=str(device.target),
        named=device.named,
    )
    gate(plan)


def _leaving_off(
    settings: SettingsMap, switches: Collection[Switch], record: ChangeRecord
) -> ChangeRecord:
    """The record with the switches off that somebody turned off since: neither way turns one on."""
    names = [switch.key for switch in switches]
    rows = [row for name in names if (row := settings.by_key.get(name)) and row.writable]
    wish = {row.key: False for row in rows if row.slot in record.before.image}
    if not wish:
        return record
    image = {**record.before.image, **settings.encode(record.before.image, wish)}
    goal = {change.slot: change.new for change in record.changes}
    off = settings.encode({**image, **goal}, wish)
    goal |= {slot: raw for slot, raw in off.items() if slot in goal}
    before = SettingsSnapshot(map=settings, image=image)
    left = {slot: raw for slot, raw in goal.items() if not settings.same(slot, raw, image[slot])}
    return replace(record, before=before, changes=changes_of(before, left))
