"""What would change, in which order, and whether it may: pure, from what was read.

Only what differs is written (every write wears the flash of the board). The order is one in which
no state on the way contradicts itself, so that a cut-off change leaves a sane board: what widens a
limit first, what narrows it last.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bmslink.config.checks.cells import cells_in_series, cells_of
from bmslink.config.checks.check import Check, Draft, Health, require_waivers
from bmslink.config.checks.gates import check_all
from bmslink.config.checks.rating import currents_of
from bmslink.config.files.asked import ask, by_reason, encode
from bmslink.config.files.backup import Backup
from bmslink.config.files.profile import Profile
from bmslink.config.order import in_order, with_kept
from bmslink.config.records.last_change import Undo
from bmslink.config.restore import (
    Outside,
    Stood,
    foreign_reason,
    lacking,
    outside,
    part_of,
    unusable_reason,
)
from bmslink.config.restore import writable_part as writable_part
from bmslink.model import Identity, Reading
from bmslink.packs import NamedPack
from bmslink.protocols.common.settings_map import RawSettings, SettingsSnapshot
from bmslink.settings.rules import lint
from bmslink.settings.setting import SWITCHES, Value

__all__ = ["Change", "Edit", "Plan", "changes_of", "make_plan", "writable_part"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One setting that changes."""

    key: str
    """Its name: `cell_ovp`."""
    title: str
    """For people."""
    unit: str
    """V, A, °C, s, …"""
    old: Value | None
    """What the board holds; `None`: not known."""
    asked: Any
    """As it was asked for; `None` where a backup is restored."""
    new: Value | None
    """What will be stored: the nearest value that the wire can tell apart."""
    follows: str = ""
    """What it follows, where it is not as asked or not asked for: a setting's key, or `rating`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is written at once."""

    slot: int
    """Where on the board: a register or parameter number, or an offset."""
    old: bytes
    """The bytes it holds."""
    new: bytes
    """The bytes it will hold."""
    edits: tuple[Edit, ...]
    """The settings in it that change."""
    kept: tuple[str, ...] = ()
    """What the board would move by itself, and is written again as it is."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The settings that it is about."""
        return self.kept or tuple(edit.key for edit in self.edits)

    def to_dict(self) -> dict[str, Any]:
        """Its JSON object."""
        return {
            "slot": self.slot,
            "old": self.old.hex(),
            "new": self.new.hex(),
            "settings": [
                {name: getattr(edit, name) for name in Edit.__slots__} for edit in self.edits
            ],
            **({"kept": list(self.kept)} if self.kept else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Plan:
    """A change that has been thought through."""

    target: str
    """Which pack it is for."""
    name: str | None
    """What bmslink.toml calls the pack."""
    identity: Identity
    """Who answered when it was made."""
    table: SettingsSnapshot
    """All settings as they were read."""
    wanted: Mapping[str, object] | Profile
    """What was asked for."""
    raw: Backup | Undo | RawSettings | None
    """What it goes back to: a backup, or a change to undo."""
    waive: frozenset[str]
    """The checks that may fail."""
    chemistry: str | None
    """What the cells are made of, as far as somebody said so."""
    stated: str | None
    """What was said with the change itself (`--chemistry`)."""
    changes: tuple[Change, ...]
    """In the order of writing."""
    unsupported: Mapping[str, str]
    """What was asked and is left out: key -> why."""
    checks: tuple[Check, ...]
    """Every check that was made, passed or not."""
    switches: bool = False
    """A profile's switches are set as well."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """What stays as it is although a profile or a backup holds it: key -> why. Switches, and of a
    profile what is optional and not to be had here."""
    vouched: Mapping[int, bytes] = field(default_factory=dict)
    """Slot -> bytes with a value outside its limits that may be written all the same: the journal
    shows that the board held it, or `limits` is waived."""
    refused: frozenset[int] = frozenset()
    """The slots with such a value that may not be written."""
    remarks: tuple[str, ...] = ()
    """What is wrong or unusual already; this change does not touch it."""
    frames: tuple[bytes, ...] = ()
    """Every frame that would change something, byte for byte."""
    frame_of: Mapping[int, int] = field(default_factory=dict)
    """Slot -> the number of the frame that writes it, from 1."""

    def __repr__(self) -> str:
        """What changes and what blocks it: everything that was read is too much to look at."""
        edits = [edit for change in self.changes for edit in change.edits]
        changes = ", ".join(f"{e.key} {e.old} -> {e.new} {e.unit}".rstrip() for e in edits)
        blocked = "".join(f", blocked by {check.name}" for check in self.blocked)
        return f"<Plan for {self.target}: {changes or 'nothing changes'}{blocked}>"

    @property
    def blocked(self) -> tuple[Check, ...]:
        """The checks that block it."""
        return tuple(check for check in self.checks if check.blocks)

    @property
    def undoes(self) -> Undo | None:
        """The change that it undoes, if it does."""
        return self.raw if isinstance(self.raw, Undo) else None

    @property
    def needs_chemistry(self) -> bool:
        """Whether somebody has to say what the cells are made of before it may be made."""
        return self.chemistry is None and any(c.name == "chemistry" for c in self.blocked)

    @property
    def left_out_notes(self) -> list[str]:
        """What it leaves as it is, in sentences: the notes of its outcome begin with them."""
        return [
            f"{', '.join(keys)} {'were' if len(keys) > 1 else 'was'} left out: {why}."
            for why, keys in by_reason(self.left_out)
        ]

    @property
    def goal(self) -> dict[int, bytes]:
        """What the slots that change will hold."""
        return {change.slot: change.new for change in self.changes}

    def to_dict(self) -> dict[str, Any]:
        """Its JSON object."""
        return {
            "target": self.target,
            "identity": self.identity.to_dict(),
            "map": self.table.map.name,
            **({"undoes": self.undoes.to_dict()} if self.undoes else {}),
            "chemistry": self.chemistry,
            "changes": [self._row(change) for change in self.changes],
            "unsupported": dict(self.unsupported),
            "left_out": dict(self.left_out),
            "checks": [check.to_dict() for check in self.checks],
            "blocked": [check.name for check in self.blocked],
            "remarks": list(self.remarks),
            "frames": [frame.hex() for frame in self.frames],
            "numbered_frames": [
                {"number": number, "hex": frame.hex(), "keys": list(keys)}
                for number, frame, keys in self.numbered()
            ],
        }

    def numbered(self) -> Iterator[tuple[int, bytes, tuple[str, ...]]]:
        """The frames with their numbers, and the settings that each sets: none where it only
        opens or closes the way to them."""
        keys = {self.frame_of.get(change.slot): change.keys for change in self.changes}
        for number, frame in enumerate(self.frames, 1):
            yield number, frame, keys.get(number, ())

    def _row(self, change: Change) -> dict[str, Any]:
        frame = self.frame_of.get(change.slot)
        found = change.to_dict() | {"frame": frame}
        return found | {"settings": [each | {"frame": frame} for each in found["settings"]]}


@dataclass(slots=True)
class _Back:
    """What raw bytes bring back."""

    new: dict[int, bytes] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    switches: dict[str, str] = field(default_factory=dict)
    unusable_reason: str = ""
    foreign_reason: str = ""
    outside: list[Outside] = field(default_factory=list)


def make_plan(
    table: SettingsSnapshot,
    wanted: Mapping[str, object] | Profile,
    *,
    identity: Identity,
    reading: Reading | None,
    raw: Backup | RawSettings | None = None,
    restore: bool | None = None,
    elsewhere: bool = False,
    stood: Stood | None = None,
    switches: bool = False,
    switched_off: Mapping[str, str] | None = None,
    waive: Collection[str] = (),
    chemistry: str | None = None,
    recorded: str | None = None,
    health: Health | None = None,
    target: str = "",
    name: str = "",
    blocked: Mapping[str, str] | None = None,
    named: NamedPack | None = None,
) -> Plan:
    """Plan a change to what is `wanted`, or, with `raw`, back to the bytes of a backup.

    Of a profile, switches are set only with `switches`, and none is turned on that is in
    `switched_off` (key -> when a person did it, by the journal). `raw` may be the bytes of a
    change that our journal holds, which `apply` does not take; `restore` says that they came from
    a backup. `elsewhere`: the backup was made at another place. `stood` are the bytes that the
    journal shows this board to have held.

    Nothing is refused here: what blocks the change is in `checks`. `chemistry` is what somebody
    states the cells to be, `named` what bmslink.toml says of the pack. `blocked` are checks that
    fail for reasons only the caller knows. Raises `SettingError` for a waiver that does not exist,
    and `TargetError` for a chemistry that is none.
    """
    waive = require_waivers(waive)
    made_of = cells_of(
        table,
        identity,
        reading,
        named=named,
        stated=chemistry,
        profile=wanted.chemistry if isinstance(wanted, Profile) else None,
        recorded=recorded,
    )
    kind = made_of.chemistry
    cells = cells_in_series(identity, reading)
    rated = currents_of(identity, named, table.values().get("nominal_capacity"))
    asked = ask(
        table,
        wanted,
        switches=switches,
        switched_off=switched_off,
        untested="untested" in waive,
        cells=cells,
        ceilings={key: amps for key, (amps, _) in rated.items()},
    )
    back = _back(table, identity, raw, elsewhere=elsewhere, stood=stood)
    new = with_kept(table, back.new | encode(table, asked))
    after = table.map.decode({**table.image, **new})
    changes = changes_of(table, new, asked.values, asked.follows)
    keys = {edit.key for change in changes for edit in change.edits}
    ordered, clumsy = in_order(table, new, cells=cells, chemistry=kind)
    draft = Draft(
        table=table,
        after=after,
        keys=keys,
        wrong=asked.wrong,
        unsupported=asked.unsupported | (asked.left_out if asked.nothing else {}),
        possible=raw is not None or not asked.nothing,
        outside={each.key: each.why for each in back.outside if not each.stood},
        identity=identity,
        reading=reading,
        backup=raw if isinstance(raw, Backup) else None,
        unusable_reason=back.unusable_reason,
        foreign_reason=back.foreign_reason,
        restore=isinstance(raw, Backup) if restore is None else restore,
        by_name=() if isinstance(wanted, Profile) else SWITCHES & asked.values.keys(),
        cells=made_of,
        named=named,
        health=health,
        clumsy=clumsy,
        blocked=blocked or {},
    )
    standing = [
        f"A rule is broken already: {verdict.sentence}"
        for verdict in lint(after, cells=cells, chemistry=kind)
        if not keys & set(verdict.about)
    ]
    by_slot = {change.slot: change for change in changes}
    checks = check_all(draft, waive)
    passed = any(check.name == "limits" and check.waived for check in checks)
    refused = {each.slot for each in back.outside if not each.stood and not passed}
    return Plan(
        target=target,
        name=name or None,
        identity=identity,
        table=table,
        wanted=wanted if isinstance(wanted, Profile) else dict(wanted),
        raw=raw,
        waive=frozenset(waive),
        chemistry=kind,
        stated=chemistry,
        changes=tuple(by_slot[slot] for slot in ordered),
        unsupported=asked.unsupported,
        checks=checks,
        switches=switches,
        left_out=asked.left_out | back.switches,
        vouched={each.slot: new[each.slot] for each in back.outside if each.slot not in refused},
        refused=frozenset(refused),
        remarks=(*back.remarks, *standing),
    )


def _back(
    table: SettingsSnapshot,
    identity: Identity,
    raw: Backup | RawSettings | None,
    *,
    elsewhere: bool,
    stood: Stood | None,
) -> _Back:
    """What is brought back; of a backup that is not usable nothing."""
    if raw is None:
        return _Back()
    if isinstance(raw, Backup):
        if why := unusable_reason(raw, identity, table.map):
            return _Back(unusable_reason=why)
        other = foreign_reason(raw, identity, table, elsewhere=elsewhere)
    else:
        other = ""
    if table.map.read_only_reason:
        return _Back(foreign_reason=other)
    image = raw.image() if isinstance(raw, Backup) else raw
    new, left, kept = part_of(table.map, table.image, image, own=not isinstance(raw, Backup))
    found = outside(table.map, table.image, new, stood)
    told = [
        f"{each.why} The journal shows that this board held it, so it comes back."
        for each in found
        if each.stood
    ]
    if isinstance(raw, Backup) and (unknown := lacking(raw, table.map, table.image)):
        told.append(f"The backup is not whole: {', '.join(unknown)} stay as they are now.")
    return _Back(new, [*left, *told], kept, "", other, found)


def changes_of(
    table: SettingsSnapshot,
    new: RawSettings,
    wanted: Mapping[str, object] | None = None,
    follows: Mapping[str, str] | None = None,
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
                follows=(follows or {}).get(s.key, ""),
            )
            for s in table.map.settings
            if s.slot == address and s.writable and before[s.key] != after[s.key]
        )
        held = () if edits else tuple(s.key for s in table.map.settings if s.slot == address)
        old = table.image[address]
        found.append(Change(slot=address, old=old, new=data, edits=edits, kept=held))
    return found


def with_frames(plan: Plan, frames: Sequence[bytes], numbers: Mapping[int, int]) -> Plan:
    """The plan with the bytes that would go out; `numbers` are those of the frames of its slots."""
    return replace(plan, frames=tuple(frames), frame_of=dict(numbers))
