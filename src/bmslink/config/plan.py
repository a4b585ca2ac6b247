"""What would change, in which order, and whether it may: pure, from what was read.

Only what differs is written (every write wears the flash of the board). The order is one in which
no state on the way contradicts itself, so that a cut-off change leaves a sane board: what widens a
limit first, what narrows it last.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bmslink.config.cells import cells_of
from bmslink.config.check import Check, Draft, Health
from bmslink.config.gates import check_all
from bmslink.config.order import in_order
from bmslink.errors import FrameError, SettingError
from bmslink.lint import review
from bmslink.model import Identity, Reading
from bmslink.packs import NamedPack
from bmslink.protocols.settings import Image, SettingsMap, Table
from bmslink.setting import Setting, Value, no_name

__all__ = ["Change", "Edit", "Plan", "changes_of", "make_plan", "writable_part"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One setting that changes."""

    key: str
    title: str
    unit: str
    old: Value | None
    asked: Any
    """As it was asked for; `None` where a backup is restored."""
    new: Value | None
    """What will be stored: the nearest value that the wire can tell apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is written at once."""

    slot: int
    old: bytes
    new: bytes
    edits: tuple[Edit, ...]

    def to_dict(self) -> dict[str, Any]:
        """Its JSON object."""
        return {
            "slot": self.slot,
            "old": self.old.hex(),
            "new": self.new.hex(),
            "settings": [
                {name: getattr(edit, name) for name in Edit.__slots__} for edit in self.edits
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A change that has been thought through."""

    target: str
    identity: Identity
    table: Table
    """All settings as they were read."""
    wanted: Mapping[str, object]
    raw: Image | None
    waive: frozenset[str]
    chemistry: str | None
    """What the cells are made of, as far as somebody said so."""
    stated: str | None
    """What was said with the change itself (`--chemistry`)."""
    changes: tuple[Change, ...]
    """In the order of writing."""
    unsupported: Mapping[str, str]
    """What was asked and is left out: key -> why."""
    checks: tuple[Check, ...]
    remarks: tuple[str, ...] = ()
    """What is wrong or unusual and stands already; this change does not touch it."""
    frames: tuple[bytes, ...] = ()
    """Every frame that would change something, byte for byte."""

    @property
    def blocked(self) -> tuple[Check, ...]:
        """The checks that stand in the way."""
        return tuple(check for check in self.checks if check.blocks)

    @property
    def goal(self) -> dict[int, bytes]:
        """What shall stand in the slots that change."""
        return {change.slot: change.new for change in self.changes}

    def to_dict(self) -> dict[str, Any]:
        """Its JSON object."""
        return {
            "target": self.target,
            "identity": self.identity.to_dict(),
            "map": self.table.map.name,
            "chemistry": self.chemistry,
            "changes": [change.to_dict() for change in self.changes],
            "unsupported": dict(self.unsupported),
            "checks": [check.to_dict() for check in self.checks],
            "blocked": [check.name for check in self.blocked],
            "remarks": list(self.remarks),
            "frames": [frame.hex() for frame in self.frames],
        }


@dataclass(slots=True)
class _Sorted:
    """What was asked, taken apart."""

    possible: dict[str, object] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    unsupported: dict[str, str] = field(default_factory=dict)


def make_plan(
    table: Table,
    wanted: Mapping[str, object],
    *,
    identity: Identity,
    reading: Reading | None,
    raw: Image | None = None,
    waive: Collection[str] = (),
    chemistry: str | None = None,
    health: Health | None = None,
    target: str = "",
    blocked: Mapping[str, str] | None = None,
    named: NamedPack | None = None,
) -> Plan:
    """Plan a change of the values `wanted`, or, with `raw`, back to the bytes of a backup.

    Nothing is refused here: what stands in the way is in `checks`. `chemistry` is what somebody
    states the cells to be, `named` what bmslink.toml says of the pack. `blocked` are checks that
    fail for reasons only the caller knows. Raises `SettingError` for a waiver that does not exist,
    and `TargetError` for a chemistry that is none.
    """
    made_of = cells_of(table, identity, reading, named=named, stated=chemistry)
    kind = made_of.chemistry
    asked = _sort(table, wanted)
    new, remarks = _encode(table, asked), list[str]()
    if raw is not None and not table.map.locked:
        back, left = writable_part(table.map, table.image, raw)
        new, remarks = back | new, left
    after = table.map.decode({**table.image, **new})
    changes = changes_of(table, new, wanted)
    keys = {edit.key for change in changes for edit in change.edits}
    cells = len(reading.cell_voltages) if reading else 0
    ordered, clumsy = in_order(table, new, cells=cells or identity.cell_count, chemistry=kind)
    draft = Draft(
        table=table,
        after=after,
        keys=keys,
        wrong=asked.wrong,
        unsupported=asked.unsupported,
        identity=identity,
        reading=reading,
        cells=made_of,
        named=named,
        health=health,
        clumsy=clumsy,
        blocked=blocked or {},
    )
    standing = [
        f"Stands already: {verdict.sentence}"
        for verdict in review(after, cells=cells or identity.cell_count, chemistry=kind)
        if verdict.passed is False and not keys & set(verdict.about)
    ]
    by_slot = {change.slot: change for change in changes}
    return Plan(
        target=target,
        identity=identity,
        table=table,
        wanted=dict(wanted),
        raw=raw,
        waive=frozenset(waive),
        chemistry=kind,
        stated=chemistry,
        changes=tuple(by_slot[slot] for slot in ordered),
        unsupported=asked.unsupported,
        checks=check_all(draft, waive),
        remarks=(*remarks, *standing),
    )


def _sort(table: Table, wanted: Mapping[str, object]) -> _Sorted:
    """What can be encoded, what cannot be meant, and what this board cannot do."""
    found, held = _Sorted(), table.values()
    for key, value in wanted.items():
        setting = table.map.by_key.get(key)
        if setting is None and (why := no_name(key)):
            found.wrong[key] = why[:1].upper() + why[1:]
        elif setting is None:
            found.unsupported[key] = f"{table.map.name} has no such setting"
        elif setting.slot not in table.image:
            found.unsupported[key] = "the board does not answer for it"
        elif not setting.writable:
            if held[key] != value:
                found.unsupported[key] = f"read-only: {setting.reason or 'nothing proves it'}"
        else:
            try:
                found.possible[key] = setting.check(value)
            except SettingError as error:
                found.wrong[key] = str(error)
    return found


def _encode(table: Table, asked: _Sorted) -> dict[int, bytes]:
    """The new bytes; what the board could not hold as meant moves to `wrong`."""
    if table.map.locked:
        return {}
    for key in list(asked.possible):
        try:
            one = table.map.encode(table.image, {key: asked.possible[key]})
        except (SettingError, FrameError) as error:
            why = str(error)
        else:
            held = table.map.decode({**table.image, **one})[key]
            if _close(table.map.setting(key), asked.possible[key], held):
                continue
            why = f"{key} = {asked.possible[key]} would be stored as {held}."
        asked.wrong[key] = why
        del asked.possible[key]
    return table.map.encode(table.image, asked.possible)


def _close(setting: Setting, asked: object, held: Value | None) -> bool:
    if isinstance(asked, float) and isinstance(held, float):
        return abs(asked - held) <= setting.step / 2 + 1e-9
    return asked == held


def writable_part(
    settings: SettingsMap, image: Image, raw: Image, *, own: bool = False
) -> tuple[dict[int, bytes], list[str]]:
    """Of a backup's bytes what may be written back, and what is left as it is, in sentences.

    A value that stood in the board may lie outside the limits of what we would set. `own`: what
    belongs to this one board as well. Raises `SettingError` for bytes that fit no slot.
    """
    new: dict[int, bytes] = {}
    left: list[str] = []
    for address, data in raw.items():
        slot = settings.by_address.get(address)
        if slot is None or address not in image:
            left.append(f"The board has no slot {address:02X}, which the backup holds.")
            continue
        try:
            then, now = slot.values(data), slot.values(image[address])
        except FrameError as error:
            raise SettingError(f"The backup does not fit this board: {error}") from error
        fields: dict[str, Any] = {}
        for setting in settings.settings:
            if setting.slot != address or not setting.writable or setting.live:
                continue
            if setting.own and not own:
                continue
            name = setting.field
            if setting.bit is None:
                fields[name] = then[name]
            else:
                mask = 1 << setting.bit
                fields[name] = int(fields.get(name, now[name])) & ~mask | int(then[name]) & mask
        back = slot.encode(image[address], fields)
        if back != slot.clean(image[address]):
            new[address] = back
        if not settings.same(address, back, data):
            left.append(f"Slot {address:02X} holds more than may be written: the rest stays.")
    return new, left


def changes_of(
    table: Table, new: Image, wanted: Mapping[str, object] | None = None
) -> list[Change]:
    """The slots that change, with the settings in them that do."""
    before, after = table.values(), table.map.decode({**table.image, **new})
    found = []
    for address, data in new.items():
        edits = tuple(
            Edit(
                key=s.key,
                title=s.title,
                unit=s.unit,
                old=before[s.key],
                asked=(wanted or {}).get(s.key),
                new=after[s.key],
            )
            for s in table.map.settings
            if s.slot == address and s.writable and before[s.key] != after[s.key]
        )
        old = table.image[address]
        found.append(Change(slot=address, old=old, new=data, edits=edits))
    return found


def with_frames(plan: Plan, frames: Sequence[bytes]) -> Plan:
    """The plan with the bytes that would go out."""
    return replace(plan, frames=tuple(frames))
