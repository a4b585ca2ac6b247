"""Making a change: look again, write down, write, read back, or set all back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from bmslink.config.check import Check, Health
from bmslink.config.drive import (
    Job,
    Stranger,
    identify_as,
    pack_of,
    place_of,
    reach,
    same_board,
    watch,
)
from bmslink.config.locks import locked
from bmslink.config.outcome import Outcome
from bmslink.config.plan import Change, Plan, make_plan, with_frames
from bmslink.config.rollback import close, roll_back, unknown, values_of
from bmslink.device import Device
from bmslink.errors import BmsError, GateError
from bmslink.journal import Journal, JournalError, Open
from bmslink.model import Identity
from bmslink.protocols.settings import Image, SettingsMap, Table

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
]


def lock_names(device: Device, identity: Identity) -> list[str]:
    """By what a pack is held: where it is, and who it is if it tells."""
    names = [place_of(device.target)]
    if identity.serial_number:
        names.append(f"{identity.vendor} {identity.serial_number}")
    return names


def blocks_of(journal: Journal, device: Device, identity: Identity) -> dict[str, str]:
    """The checks that fail because of the journal."""
    try:
        journal.probe()
        cut = cut_off(journal, device, identity)
    except JournalError as error:
        return {"journal": str(error)}
    if not cut:
        return {}
    when = str(cut[0].begin.get("time"))[:19].replace("T", " ")
    return {
        "unfinished": (
            f"A change of this pack was cut off ({when} UTC): "
            f"`bmslink config resume {other_road(cut[0], identity) or device.target}` finishes "
            "it or sets it back."
        )
    }


def cut_off(journal: Journal, device: Device, identity: Identity) -> list[Open]:
    """The changes of this pack that were cut off, oldest first."""
    place, pack = place_of(device.target), pack_of(identity)
    return [each for each in journal.unfinished() if each.concerns(place, pack)]


def other_road(cut: Open, identity: Identity) -> str:
    """The target that a change was begun over where its protocol was another one; or empty.

    A pack with two ports keeps its settings at other addresses on each.
    """
    pack, place = cut.begin.get("pack"), cut.begin.get("target")
    began = pack.get("protocol") if isinstance(pack, dict) else None
    if not isinstance(began, str) or began == identity.protocol or not isinstance(place, str):
        return ""
    return place if "+" in place.partition("://")[0] else f"{began}+{place}"


async def draft(
    device: Device,
    wanted: Mapping[str, object],
    *,
    raw: Image | None = None,
    waive: Collection[str] = (),
    chemistry: str | None = None,
    settings: SettingsMap | None = None,
    journal: Journal | None = None,
) -> Plan:
    """Read everything a change needs to know and plan it; nothing is changed.

    `settings`: the map of this board, where the caller has asked for it already.
    Raises `SettingError` where the board's settings are not known at all, `LinkTimeout`, …
    """
    counted = device.link.received, device.link.framer.bad_frames
    identity = await device.identify()
    table = await device.settings(settings or await device.settings_map(identity))
    return await _draft(
        device, identity, table, wanted, raw, waive, chemistry, journal or Journal(), counted
    )


async def _draft(
    device: Device,
    identity: Identity,
    table: Table,
    wanted: Mapping[str, object],
    raw: Image | None,
    waive: Collection[str],
    chemistry: str | None,
    journal: Journal,
    counted: tuple[int, int],
) -> Plan:
    reading, still = await watch(device)
    frames, bad = device.link.received, device.link.framer.bad_frames
    plan = make_plan(
        table,
        wanted,
        identity=identity,
        reading=reading,
        raw=raw,
        waive=waive,
        chemistry=chemistry,
        health=Health(frames - counted[0], bad - counted[1], still),
        target=str(device.target),
        blocked=blocks_of(journal, device, identity),
        named=device.named,
    )
    slots = table.map.by_address
    writes = [(slots[change.slot], change.new) for change in plan.changes]
    return with_frames(plan, await device.rehearse(writes)) if writes else plan


def refuse(sentence: str, name: str) -> GateError:
    """A refusal with the one check that makes it."""
    return GateError(sentence, [Check(name=name, passed=False, sentence=sentence)])


def same_as_planned(plan: Plan, identity: Identity) -> None:
    """`GateError` unless this is the board that the plan was made for."""
    if other := same_board(pack_of(plan.identity), pack_of(identity)):
        raise refuse(f"The plan was made for another board: this one has {other}.", "identity")


def gate(plan: Plan) -> None:
    """`GateError` if anything stands in the way; it names all of it."""
    if plan.blocked:
        told = " ".join(check.sentence for check in plan.blocked)
        raise GateError(f"Nothing was sent. {told}", plan.checks)


async def apply(
    device: Device,
    plan: Plan,
    *,
    confirm: Callable[[Plan], bool] | None = None,
    journal: Journal | None = None,
) -> Outcome:
    """Make the planned change, after looking again whether it may still be made.

    Raises `GateError` (nothing was sent), `VerifyError` (set back), `RollbackError` (not set back).
    """
    journal = journal or Journal()
    with locked(journal.folder / "locks", lock_names(device, plan.identity)):
        fresh = await _look_again(device, plan, journal)
        gate(fresh)
        if fresh.changes != plan.changes and not (confirm is not None and confirm(fresh)):
            raise refuse(
                "The settings changed since the plan was made, and what would change now was not "
                "agreed to: nothing was sent. Plan again.",
                "unchanged",
            )
        if not fresh.changes:
            left = fresh.unsupported
            return Outcome(
                result="nothing",
                sentence=f"Nothing was sent: this pack cannot change {_named(left)}."
                if left
                else "Everything stands as wanted already.",
            )
        return await _carry_out_new(device, fresh, journal)


def _named(keys: Collection[str]) -> str:
    return ", ".join(keys) if len(keys) < 4 else f"{len(keys)} of what is asked; all else stands"


async def _look_again(device: Device, plan: Plan, journal: Journal) -> Plan:
    """The plan as of now. Two equal readings of the table are needed: the plan's is the first."""
    counted = device.link.received, device.link.framer.bad_frames
    identity, _ = await identify_as(device, pack_of(plan.identity))
    same_as_planned(plan, identity)
    settings = plan.table.map
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
    return await _draft(
        device,
        identity,
        table,
        plan.wanted,
        plan.raw,
        plan.waive,
        plan.stated,
        journal,
        counted,
    )


async def _carry_out_new(device: Device, plan: Plan, journal: Journal) -> Outcome:
    table = plan.table
    transaction = journal.begin(
        place_of(device.target),
        pack_of(plan.identity),
        [change.to_dict() for change in plan.changes],
        map=table.map.name,
        image={f"{address:X}": raw.hex() for address, raw in table.image.items()},
        waived=[check.waiver for check in plan.checks if check.waived],
        restore=plan.raw is not None,
        chemistry=plan.chemistry,
    )
    job = Job(
        device=device,
        settings=table.map,
        identity=plan.identity,
        transaction=transaction,
        before=table.image,
        touched=plan.goal,
        outages=device.link.outages,
    )
    return await carry_out(job, plan.changes)


async def carry_out(job: Job, changes: Sequence[Change]) -> Outcome:
    """Write, prove, and say how it ended; set back what fails."""
    order = [change.slot for change in changes]
    try:
        table = await reach(job, {c.slot: c.new for c in changes}, order)
    except Stranger as error:
        raise await unknown(job, changes, str(error), look=False) from error
    except BmsError as error:
        if not job.sent:
            close(job, "nothing sent", why=str(error))
            raise
        raise await roll_back(job, changes, error) from error
    close(job, "done")
    count = sum(len(change.edits) for change in changes)
    return Outcome(
        result="done",
        sentence=f"{count} setting{'s' * (count != 1)} written, and the whole table read back.",
        transaction=job.transaction.id,
        changes=changes,
        notes=job.notes,
        stands=values_of(table, changes),
    )
