"""Bringing raw bytes back: whose they are, what of them may be written, and what they would set.

What a board held once may lie outside the limits of what we would set. It may come back where the
journal shows that this board held it; where only a file says so, somebody has to say so too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from bmslink.config.files.backup import Backup
from bmslink.config.identity.fingerprint import Fingerprint, fingerprint, fingerprint_of
from bmslink.errors import FrameError, SettingError
from bmslink.model import Identity
from bmslink.places import named_place
from bmslink.protocols.common.settings_map import RawSettings, SettingsMap, SettingsSnapshot, Slot
from bmslink.settings.setting import Setting

__all__ = [
    "Outside",
    "RestorablePart",
    "Stood",
    "brought_back",
    "fits",
    "foreign_reason",
    "lacking",
    "outside",
    "part",
    "part_of",
    "unusable_reason",
    "writable_part",
]

Stood = Mapping[int, Collection[bytes]]
"""Slot -> the raw bytes that the journal shows it to have held."""


# ------------------------------------------------------------------------------ whose they are


def unusable_reason(backup: Backup, identity: Identity, settings: SettingsMap) -> str:
    """Why no board like this one can take a backup, in a sentence; empty where it can."""
    if not backup.intact:
        return "The backup was changed after it was made: to set values by hand, write a profile."
    if backup.map != settings.name:
        return (
            f"The backup was made with the settings map {backup.map}, this board has "
            f"{settings.name}: make a profile of what you want from it instead."
        )
    if None not in (backup.cell_count, identity.cell_count) and (
        backup.cell_count != identity.cell_count
    ):
        return (
            f"The backup is of {backup.cell_count} cells, this board has {identity.cell_count}: "
            "make a profile of what you want from it instead."
        )
    if not backup.slots:
        return "The backup is damaged: it holds no settings."
    for address, raw in backup.image().items():
        slot = settings.by_address.get(address)
        if slot is not None and not fits(slot, raw):
            return f"The backup is damaged: slot {address:02X} has {len(raw)} bytes."
    return ""


def fits(slot: Slot, raw: bytes) -> bool:
    """Whether bytes are as long as the slot, and can be read as it."""
    try:
        return len(slot.clean(raw)) == len(raw)
    except FrameError:
        return False


_WHO = ("serial_number", "vendor", "model", "hardware", "firmware")


def foreign_reason(
    backup: Backup, identity: Identity, table: SettingsSnapshot, *, elsewhere: bool
) -> str:
    """Why a usable backup is not of this very board, in a sentence; empty where it is.

    `elsewhere`: it was made at another place. Two boards of one batch can be equal in all that
    they tell, so without a serial number the place has to be the same as well.
    """
    for name in _WHO:
        then, now = getattr(backup, name), getattr(identity, name)
        if then != now:
            named = name.replace("_", " ")
            return (
                f"The backup is of another board or firmware: its {named} is "
                f"{then or 'unknown'}, here it is {now or 'unknown'}."
            )
    here = fingerprint(identity, table)
    for then in _prints(backup, table.map):
        if differs := then.differs(here):
            return f"The backup is of another board: this one has {differs}."
    if elsewhere and not here.certain:
        made_at = named_place({"target": backup.target, "place": backup.place})
        return (
            f"The backup was made at {made_at}. The board has no serial number, so it may "
            "be another one of the same kind."
        )
    return ""


def _prints(backup: Backup, settings: SettingsMap) -> list[Fingerprint]:
    """What distinguished the board when the backup was made, and what its bytes say of that;
    backups of 0.1.0 have only these."""
    pack = {name: getattr(backup, name) for name in (*_WHO, "cell_count")}
    kept = [Fingerprint.from_dict(backup.fingerprint)] if backup.fingerprint else []
    return [*kept, fingerprint_of(pack, settings, backup.image())]


# ---------------------------------------------------------------------------------- what of them


class RestorablePart(NamedTuple):
    """Of raw bytes that a board held what may be written back."""

    new: dict[int, bytes]
    """Slot -> what it would hold; only where that differs from what it holds now."""
    left: list[str]
    """What else the bytes hold and stays as it is now, in sentences."""
    switches: dict[str, str]
    """The switches that were set differently, and how; they stay as they are."""


def writable_part(
    settings: SettingsMap, image: RawSettings, raw: RawSettings, *, own: bool = False
) -> tuple[dict[int, bytes], list[str]]:
    """Of raw bytes all that may ever be written, and what may not, in sentences.

    `own`: what belongs to this one board as well. Raises `SettingError` for bytes that fit no
    slot.
    """
    new, left, _ = part_of(settings, image, raw, own=own, switches=True)
    return new, left


def part_of(
    settings: SettingsMap,
    image: RawSettings,
    raw: RawSettings,
    *,
    own: bool = False,
    switches: bool = False,
) -> RestorablePart:
    """Of raw bytes what may be brought back.

    A value that was in the board may lie outside the limits of what we would set: `outside`
    tells. `own`: what belongs to this one board as well. `switches`: the switches as well, which
    stay as they are in `image` otherwise. Raises `SettingError` for bytes that fit no slot.
    """
    found = RestorablePart({}, [], {})
    for address, data in raw.items():
        slot = settings.by_address.get(address)
        if slot is None or address not in image:
            found.left.append(f"The board has no slot {address:02X}, which the backup holds.")
            continue
        now = image[address]
        rows = [
            row
            for row in settings.settings
            if row.slot == address and row.writable and not row.live and (own or not row.own)
        ]
        back = brought_back(slot, [r for r in rows if switches or not r.is_switch], now, data)
        if back != slot.clean(now):
            found.new[address] = back
        if not settings.same(address, brought_back(slot, rows, now, data), data):
            found.left.append(f"Slot {address:02X} holds more than may be written: the rest stays.")
        if not switches:
            found.switches.update(_kept([r for r in rows if r.is_switch], settings, now, data))
    return found


def lacking(backup: Backup, settings: SettingsMap, image: RawSettings) -> list[str]:
    """What this board holds and a restore could set, and the backup knows nothing of."""
    kept = backup.image()
    return [
        row.key
        for row in settings.settings
        if row.slot in image and row.slot not in kept
        if row.writable and not (row.live or row.own or row.is_switch)
    ]


def _kept(
    rows: list[Setting], settings: SettingsMap, now: bytes, then: bytes
) -> Iterator[tuple[str, str]]:
    """Of switches in one slot those that were set differently, and how."""
    for row in rows:
        held, old = (settings.decode({row.slot: raw})[row.key] for raw in (now, then))
        if held != old:
            told = f"{row.show(old)} in the backup, {row.show(held)} now"
            yield row.key, f"a restore changes no switch ({told})"


def brought_back(slot: Slot, rows: list[Setting], now: bytes, then: bytes) -> bytes:
    """The bytes of a slot with what these rows held then."""
    try:
        old, held = slot.values(then), slot.values(now)
    except FrameError as error:
        raise SettingError(f"The backup does not fit this board: {error}") from error
    fields: dict[str, Any] = {}
    for row in rows:
        name = row.field
        if row.bit is None:
            fields[name] = old[name]
        else:
            mask = 1 << row.bit
            fields[name] = int(fields.get(name, held[name])) & ~mask | int(old[name]) & mask
    return slot.encode(now, fields)


# --------------------------------------------------------------------------- what they would set


class Outside(NamedTuple):
    """A value that nobody could set."""

    slot: int
    key: str
    why: str
    stood: bool
    """The journal shows that this board held it."""


def outside(
    settings: SettingsMap, image: RawSettings, new: RawSettings, stood: Stood | None = None
) -> list[Outside]:
    """Of the slots in `new` every value that differs from `image` and lies outside what may be
    set, and whether the journal knows it of this board."""
    return [
        found
        for address, data in new.items()
        for found in _outside(settings, address, image.get(address), data, (stood or {}))
    ]


def _outside(
    settings: SettingsMap, address: int, now: bytes | None, new: bytes, stood: Stood
) -> Iterator[Outside]:
    slot = settings.by_address[address]
    values = settings.decode({address: new})
    here = None if now is None else slot.values(now)
    then = slot.values(new)
    for row in settings.settings:
        if row.slot != address or not row.writable:
            continue
        if here is not None and part(row, here) == part(row, then):
            continue
        value = values[row.key]
        try:
            if value is None:
                raise SettingError(f"{row.key}: {then[row.field]} is no value of it.")
            row.check(value)
        except SettingError as error:
            known = any(
                part(row, slot.values(held)) == part(row, then)
                for held in stood.get(address, ())
                if fits(slot, held)
            )
            yield Outside(address, row.key, str(error), known)


def part(row: Setting, fields: Mapping[str, Any]) -> Any:
    """What a row is about, of the fields of its slot."""
    value = fields[row.field]
    return value if row.bit is None else int(value) >> row.bit & 1
