"""The last change of a pack, as the journal keeps it, and what going back from it would set.

Before the first frame of a change its record is on the disk: who the board is, every slot as it was
read, and the old and new bytes of what may be written. That is the backup which `config undo` goes
back to; there is no second one, so the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bmslink.config.checks.check import Check, refuse
from bmslink.config.records.moment import local
from bmslink.config.records.open_changes import other_road
from bmslink.config.restore import brought_back, fits, part
from bmslink.model import Identity
from bmslink.protocols.common.settings_map import SettingsMap, SettingsSnapshot, Slot
from bmslink.settings.chemistry import CHEMISTRIES
from bmslink.settings.setting import Setting, Value
from bmslink.storage.journal import Open

__all__ = ["Back", "ChangedSince", "LastChange", "Undo", "chemistry_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedSince:
    """A setting that holds neither what a change found nor what it wrote."""

    key: str
    unit: str
    before: Value | None
    written: Value | None
    now: Value | None
    sentence: str
    """All three, with their unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """What `draft` takes as `raw` to go back to what was set before the last change."""

    keep_changed: bool = False
    """What somebody else changed since stays as it is; else it stops the undoing, unless
    `unchanged` is waived: then it is set back too."""
    transaction: str = ""
    """The change that is undone, by its name in the journal; empty: the last one. Drafting fills
    in this and what follows."""
    time: str = ""
    """When it was begun, UTC."""
    command: str = ""
    """What it was made with, as far as the journal says."""
    user: str = ""
    """Who made it."""
    since: tuple[ChangedSince, ...] = ()
    """What somebody else changed since."""

    @property
    def sentence(self) -> str:
        """Which change is undone."""
        command = f" ({self.command})" if self.command else ""
        by = f" by {self.user}" if self.user else ""
        return f"the change of {local(self.time)}{by}{command}"

    def to_dict(self) -> dict[str, Any]:
        """Its JSON object."""
        return asdict(self)


@dataclass(slots=True, kw_only=True)
class Back:
    """What undoing a change comes to on a board as it is now."""

    undo: Undo
    raw: dict[int, bytes] = field(default_factory=dict)
    """Slot -> what it would hold."""
    left: dict[str, str] = field(default_factory=dict)
    """Key -> why it stays as it is."""
    checks: list[Check] = field(default_factory=list)
    chemistry: str | None = None
    """What the cells were known to be when the change was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastChange:
    """The last change of a pack's settings that left something behind."""

    begin: Mapping[str, Any]
    """The record that was written before its first frame."""
    sound: bool
    """All its records verify."""
    twin: bool
    """Only the fingerprint says that it was of this board."""

    def back(self, undo: Undo, table: SettingsSnapshot, identity: Identity) -> Back:
        """What undoing it would set on the board that holds `table`.

        Of each slot only the settings that the change was about, so that what else the slot holds
        stays as it is now. Raises `GateError` for a record that cannot be used, or of another
        firmware, port or change than is to be undone.
        """
        self._require_usable(undo, table.map, identity)
        found = Back(
            undo=replace(
                undo,
                transaction=str(self.begin.get("id")),
                time=str(self.begin.get("time")),
                command=str(self.begin.get("command") or ""),
                user=str(self.begin.get("user") or ""),
            ),
            chemistry=chemistry_of(self.begin),
        )
        since: list[ChangedSince] = []
        for slot, old, new in _slots(self.begin, table.map):
            since += _slot_back(found, table, slot, old, new)
        found.undo = replace(found.undo, since=tuple(since))
        found.checks = [self._place_check(), _unchanged(found.undo)]
        if not found.raw and found.left and not since:
            raise refuse(
                f"Nothing was sent: of {found.undo.sentence} nothing can be undone. "
                + " ".join(f"{key}: {why}." for key, why in found.left.items()),
                "supported",
            )
        return found

    def _require_usable(self, undo: Undo, settings: SettingsMap, identity: Identity) -> None:
        if not self.sound:
            raise refuse(
                "Nothing was sent: the journal's records of the last change cannot be trusted. "
                "`bmslink config restore` sets a pack back to a backup.",
                "journal",
            )
        if undo.transaction not in ("", self.begin.get("id")):
            raise refuse(
                "Nothing was sent: another change was made since the plan. Plan again.", "unchanged"
            )
        pack = self.begin.get("pack")
        then = pack.get("firmware") if isinstance(pack, dict) else None
        if road := other_road(Open("", self.begin), identity):
            raise refuse(
                "Nothing was sent: the last change was made over another port of this pack. Undo "
                f"it over {road}.",
                "identity",
            )
        if then != identity.firmware or self.begin.get("map") != settings.name:
            raise refuse(
                f"Nothing was sent: the last change was made with firmware {then} and the "
                f"settings of {self.begin.get('map')}, this board has firmware "
                f"{identity.firmware} and those of {settings.name}.",
                "identity",
            )

    def _place_check(self) -> Check:
        if not self.twin:
            return Check(name="place", passed=True, sentence="The change was of this very board.")
        return Check(
            name="place",
            passed=False,
            sentence=f"The change was made at {self.begin.get('target')}, and this board only "
            "looks the same; it has no serial number. Make sure that it is the same board.",
            waiver="place",
        )


def chemistry_of(begin: Mapping[str, Any]) -> str | None:
    """What the cells were known to be when a change was made; `None` where nobody said, or where
    it was waived that something contradicted it."""
    said, waived = begin.get("chemistry"), begin.get("waived")
    if not isinstance(said, str) or said not in CHEMISTRIES:
        return None
    return said if isinstance(waived, list) and "chemistry" not in waived else None


def _slots(begin: Mapping[str, Any], settings: SettingsMap) -> Iterator[tuple[Slot, bytes, bytes]]:
    """What a change was about: slot, old and new bytes."""
    try:
        for change in begin["changes"]:
            slot = settings.by_address[int(change["slot"])]
            old, new = bytes.fromhex(change["old"]), bytes.fromhex(change["new"])
            if not (fits(slot, old) and fits(slot, new)):
                raise ValueError(f"slot {slot.address:02X} does not fit this board")
            yield slot, old, new
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise refuse(
            "Nothing was sent: the journal's record of the last change cannot be used "
            f"({type(error).__name__} {error}).",
            "journal",
        ) from error


def _slot_back(
    found: Back, table: SettingsSnapshot, slot: Slot, old: bytes, new: bytes
) -> Iterator[ChangedSince]:
    """One slot: adds what comes back to `found`, and gives what somebody else changed since."""
    now = table.image.get(slot.address)
    rows = [
        row
        for row in table.map.settings
        if row.slot == slot.address and row.writable and not row.live
        if part(row, slot.values(old)) != part(row, slot.values(new))
    ]
    if now is None:
        found.left |= {row.key: "the board does not answer for it any more" for row in rows}
        return
    back: list[Setting] = []
    for row in rows:
        held, was, written = (part(row, slot.values(raw)) for raw in (now, old, new))
        if held == was:
            continue
        if row.is_switch:
            found.left[row.key] = "undoing changes no switch, `bmslink switch` does"
            continue
        if held != written:
            yield _since(table.map, row, old, new, now)
            if found.undo.keep_changed:
                found.left[row.key] = "somebody else changed it since"
                continue
        back.append(row)
    if back:
        found.raw[slot.address] = brought_back(slot, back, now, old)


def _since(settings: SettingsMap, row: Setting, old: bytes, new: bytes, now: bytes) -> ChangedSince:
    before, written, held = (settings.decode({row.slot: raw})[row.key] for raw in (old, new, now))
    return ChangedSince(
        key=row.key,
        unit=row.unit,
        before=before,
        written=written,
        now=held,
        sentence=f"{row.key} is {row.show(held)} (before the change {row.show(before)}, written "
        f"{row.show(written)})",
    )


def _unchanged(undo: Undo) -> Check:
    if not undo.since:
        sentence = "Nobody changed since what the change wrote."
        return Check(name="unchanged", passed=True, sentence=sentence)
    told = ", ".join(each.sentence for each in undo.since)
    if undo.keep_changed:
        sentence = f"Changed by somebody else since, and left as it is: {told}."
        return Check(name="unchanged", passed=True, sentence=sentence)
    return Check(
        name="unchanged",
        passed=False,
        sentence=f"Changed by somebody else since: {told}. --keep-changed leaves that as it is.",
        waiver="unchanged",
    )
