"""Making a change: look again, write down, write, read back, or set all back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from bmslink.arguments import checked
from bmslink.board import Board, on_board
from bmslink.config.checks.check import Check, Health, refuse
from bmslink.config.files.backup import Backup
from bmslink.config.files.profile import Profile
from bmslink.config.identity.known_as import identify_as, pack_of, same_board
from bmslink.config.identity.locks import locked_apart
from bmslink.config.job import BoardChanged, Job, outages_of, watch
from bmslink.config.outcome import Outcome
from bmslink.config.plan import Change, Plan, make_plan, with_frames
from bmslink.config.records.history import ChangeHistory, made_here
from bmslink.config.records.last_change import Back, Undo
from bmslink.config.records.on_loan import NEVER_LENT, SESSION, lent_to
from bmslink.config.records.open_changes import begin, blocks_of, cut_off, lock_names, other_road
from bmslink.config.rollback import close, outcome_of, roll_back, unknown
from bmslink.config.switching.acting import by_hand
from bmslink.config.switching.joining import freshen, join_checks, require_may_join
from bmslink.config.writer import write_until_verified
from bmslink.errors import BmsError, GateError, SettingError
from bmslink.model import Command, Identity, Switch
from bmslink.protocols.abilities import settings_of
from bmslink.protocols.common.settings_map import SettingsMap, SettingsSnapshot
from bmslink.storage.journal import Journal, JournalError, on_disk
from bmslink.switched_off import Overtaken

__all__ = [
    "apply",
    "blocks_of",
    "carry_out",
    "cut_off",
    "draft",
    "gate",
    "lock_names",
    "other_road",
    "refuse",
    "same_as_planned",
    "settled_table",
]


@on_board
@checked()
async def draft(
    device: Board,
    wanted: Mapping[str, object] | Profile,
    *,
    raw: Backup | Undo | None = None,
    switches: bool = False,
    waive: Collection[str] = (),
    chemistry: str | None = None,
    settings: SettingsMap | None = None,
    journal: Journal | None = None,
) -> Plan:
    """Read everything a change needs to know and plan it; nothing is changed.

    `wanted`: values by name, or a profile, of which switches are set only with `switches`. `raw`:
    a backup to go back to, or `Undo()` to go back from the last change. `settings`: the map of this
    board, where the caller has asked for it already. Raises `SettingError` where the board's
    settings are not known at all, and for bare bytes instead of a backup, `LinkTimeout`, …
    """
    _need_backup(raw)
    counted = device.link.received, device.link.framer.bad_frames
    async with device.conversation():
        identity = await device.who()
        table = await device.settings(settings or await device.settings_map(identity))
        wish = _Wish(wanted, raw, switches, frozenset(waive), chemistry)
        return await _draft(device, identity, table, wish, journal or Journal(), counted)


class _Wish(NamedTuple):
    """What is asked for, apart from what the board holds."""

    wanted: Mapping[str, object] | Profile
    raw: Backup | Undo | None
    switches: bool
    waive: frozenset[str]
    chemistry: str | None


def _need_backup(raw: object) -> None:
    if raw is not None and not isinstance(raw, Backup | Undo):
        raise SettingError(
            "Bytes alone do not say which board they are of: give the whole backup, as "
            "`load_backup` reads it. Nothing was sent."
        )


async def _draft(
    device: Board,
    identity: Identity,
    table: SettingsSnapshot,
    wish: _Wish,
    journal: Journal,
    counted: tuple[int, int],
) -> Plan:
    blocked = await blocks_of(journal, device, identity, table)
    past = None
    if "journal" not in blocked:
        past = await on_disk(partial(ChangeHistory, journal, device, identity, table))
    back = _going_back(wish, blocked, past, table, identity)
    reading, still = await watch(device)
    frames, bad = device.link.received, device.link.framer.bad_frames
    plan = make_plan(
        table,
        wish.wanted,
        identity=identity,
        reading=reading,
        raw=back.raw if back else wish.raw if isinstance(wish.raw, Backup) else None,
        restore=True if back else None,
        elsewhere=isinstance(wish.raw, Backup) and not made_here(wish.raw, device),
        stood=past.stood() if wish.raw and past else None,
        switches=wish.switches,
        switched_off=past.switched_off() if wish.switches and past else None,
        waive=wish.waive,
        chemistry=wish.chemistry or (back.chemistry if back else None),
        recorded=past.chemistry() if past else None,
        health=Health(frames - counted[0], bad - counted[1], still),
        target=str(device.target),
        name=device.target.name,
        blocked=blocked,
        named=device.named,
    )
    if back:
        plan = _with_what_is_undone(plan, back)
    plan = await _with_what_holds(plan, device, identity)
    slots = table.map.by_address
    writes = [(slots[c.slot], c.new) for c in plan.changes if c.slot not in plan.refused]
    if not writes:
        return plan
    numbers: dict[int, int] = {}
    with settings_of(device.driver).seen.vouching(plan.vouched):
        sent = await device.rehearse(writes, numbers=numbers)
    return with_frames(plan, sent, numbers)


def _going_back(
    wish: _Wish,
    blocked: Mapping[str, str],
    past: ChangeHistory | None,
    table: SettingsSnapshot,
    identity: Identity,
) -> Back | None:
    """What undoing the last change would set, where that is asked for. `GateError` where nothing
    can be undone."""
    if not isinstance(wish.raw, Undo):
        return None
    for name in ("journal", "unfinished", "lock"):
        if name in blocked:
            raise refuse(f"Nothing was sent. {blocked[name]}", name)
    if past is None:
        return None
    return past.last().back(wish.raw, table, identity)


def _with_what_is_undone(plan: Plan, back: Back) -> Plan:
    """The plan made from the bytes that come back, with what is known of the change."""
    checks = (replace(c, waived=c.blocks and c.waiver in plan.waive) for c in back.checks)
    return replace(
        plan,
        raw=back.undo,
        left_out={**plan.left_out, **back.left},
        checks=(*plan.checks, *checks),
    )


async def _with_what_holds(plan: Plan, device: Board, identity: Identity) -> Plan:
    """The plan with a check where a session has changed settings for a while, and for each switch
    that it turns on and that something holds off, or that may not close beside other packs."""
    edits = {edit.key: edit.new for change in plan.changes for edit in change.edits}
    if edits.keys() - NEVER_LENT and (lent := await lent_to(device, identity)):
        check = Check(name=SESSION, passed=False, sentence=lent)
        plan = replace(plan, checks=(*plan.checks, check))
    on = _turned_on(plan)
    if not on:
        return plan
    held = await on_disk(partial(by_hand().held_off, device, identity, on))
    checks = [Check(name="held", passed=False, sentence=why) for why in held.values()]
    await freshen(device, on)
    checks += join_checks(device, on, plan.waive)
    return replace(plan, checks=(*plan.checks, *checks)) if checks else plan


def _turned_on(plan: Plan) -> list[Switch]:
    edits = {edit.key: edit.new for change in plan.changes for edit in change.edits}
    return [switch for switch in Switch if edits.get(switch.key) is True]


def same_as_planned(plan: Plan, identity: Identity) -> None:
    """`GateError` unless this is the board that the plan was made for."""
    if other := same_board(pack_of(plan.identity), pack_of(identity)):
        raise refuse(f"The plan was made for another board: this one has {other}.", "identity")


def gate(plan: Plan) -> None:
    """`GateError` if anything blocks the change; it names all of it."""
    if plan.blocked:
        told = " ".join(check.sentence for check in plan.blocked)
        raise GateError(f"Nothing was sent. {told}", plan.checks)


@on_board
@checked()
async def apply(
    device: Board,
    plan: Plan,
    *,
    confirm: Callable[[Plan], bool] | None = None,
    journal: Journal | None = None,
    command: str = "",
) -> Outcome:
    """Make the planned change, after looking again whether it may still be made.

    `command`: what it is made with, for the journal. Raises `GateError` (nothing was sent),
    `VerifyError` (set back), `RollbackError` (not set back).
    """
    journal = journal or Journal()
    names = partial(lock_names, device, plan.identity)
    with device.offs.watched():
        async with locked_apart(journal.folder / "locks", names), device.conversation():
            return await _apply(device, plan, confirm, journal, command)


async def _apply(
    device: Board,
    plan: Plan,
    confirm: Callable[[Plan], bool] | None,
    journal: Journal,
    command: str,
) -> Outcome:
    fresh = await _look_again(device, plan, journal)
    gate(fresh)
    if fresh.changes != plan.changes:
        await device.leave_session()  # a person may be asked
        if confirm is None or not confirm(fresh):
            raise refuse(
                "The settings changed since the plan was made, and what would change now was not "
                "agreed to: nothing was sent. Plan again.",
                "unchanged",
            )
    if not fresh.changes:
        left = fresh.unsupported
        return Outcome(
            result="nothing",
            sentence="Nothing was sent: what this pack can change is as wanted already; it "
            f"cannot change {_named(left)}."
            if left
            else _nothing_to_do(fresh),
            notes=fresh.left_out_notes,
        )
    for switch in _turned_on(fresh):  # the others of its bank hear of it in the same moment
        require_may_join(device, Command(switch, on=True), plan.waive)
    return await _carry_out_new(device, fresh, journal, command)


def _nothing_to_do(plan: Plan) -> str:
    if plan.undoes:
        return f"Nothing was sent: of {plan.undoes.sentence} nothing is left to be set back."
    return "Everything is as wanted already."


def _named(keys: Collection[str]) -> str:
    return (
        ", ".join(keys) if len(keys) < 4 else f"{len(keys)} of what is asked; the rest is as wanted"
    )


async def _look_again(device: Board, plan: Plan, journal: Journal) -> Plan:
    """The plan as of now."""
    raw = plan.raw
    _need_backup(raw)
    counted = device.link.received, device.link.framer.bad_frames
    certain = device.certain
    identity = await device.who()
    if same_board(pack_of(plan.identity), pack_of(identity)):
        identity, _ = await identify_as(device, pack_of(plan.identity))
    same_as_planned(plan, identity)
    table = await settled_table(device, plan, identity, certain=certain)
    source = raw if isinstance(raw, Backup | Undo) else None
    wish = _Wish(plan.wanted, source, plan.switches, plan.waive, plan.stated)
    return await _draft(device, identity, table, wish, journal, counted)


async def settled_table(
    device: Board, plan: Plan, identity: Identity, *, certain: bool
) -> SettingsSnapshot:
    """The settings as of now. Two equal readings of them are needed: the plan's is the first.

    `certain`: the board answers that did when its map was found.
    """
    # never by the plan's own map: what limits a write is the table that this driver found
    found = settings_of(device.driver).own_map if certain else None
    settings = found or await device.settings_map(identity)
    table = await device.settings(settings)
    if settings.differing(plan.table.image, table.image):
        settings = await device.settings_map(identity)
        table, first = await device.settings(settings), table
        if settings.differing(first.image, table.image):
            raise refuse(
                "Two readings of the settings differ: somebody else is changing them, or the line "
                "is disturbed. Nothing was sent.",
                "health",
            )
    return table


async def _carry_out_new(device: Board, plan: Plan, journal: Journal, command: str) -> Outcome:
    table = plan.table
    told = {"command": command}
    if plan.undoes:
        told["undoes"] = plan.undoes.transaction
    transaction = await begin(
        journal,
        device,
        plan.identity,
        [change.to_dict() for change in plan.changes if change.edits],
        table,
        map=table.map.name,
        image={f"{address:X}": raw.hex() for address, raw in table.image.items()},
        waived=[check.waiver for check in plan.checks if check.waived],
        restore=plan.raw is not None,
        chemistry=plan.chemistry,
        **{name: value for name, value in told.items() if value},
    )
    job = Job(
        device=device,
        settings=table.map,
        identity=plan.identity,
        transaction=transaction,
        before=table.image,
        touched=plan.goal,
        notes=plan.left_out_notes,
        outages=outages_of(device),
    )
    with settings_of(device.driver).seen.vouching(plan.vouched):
        return await carry_out(job, plan.changes)


async def carry_out(job: Job, changes: Sequence[Change]) -> Outcome:
    """Write, prove, and say how it ended; set back what fails."""
    order = [change.slot for change in changes]
    try:
        table = await write_until_verified(job, {c.slot: c.new for c in changes}, order)
    except BoardChanged as error:
        if job.sent:
            raise await unknown(job, changes, str(error), look=False) from error
        await close(job, "nothing sent", why=str(error))
        raise refuse(f"{error} Nothing was sent.", "identity") from error
    except BmsError as error:
        if not job.sent:
            await close(job, "nothing sent", why=str(error))
            if isinstance(error, JournalError):
                raise refuse(f"{error} Nothing was sent.", "journal") from error
            if isinstance(error, Overtaken):
                raise refuse(f"Nothing was sent. {error}", "overtaken") from error
            raise
        raise await roll_back(job, changes, error) from error
    await close(job, "done")
    count = sum(len(change.edits) for change in changes)
    sentence = f"{count} setting{'s' * (count != 1)} written, and the whole table read back."
    return outcome_of(job, "done", sentence, changes, table)
