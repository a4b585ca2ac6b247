"""Backups: everything that a board holds, as raw bytes, with who it is and a checksum.

The raw bytes are what is restored; the values beside them are for people. Passwords are in no slot
of any map, so none can get in here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from bmslink.config.checks.plausible import believe
from bmslink.config.files.kind import instead, pack_not_file
from bmslink.config.identity.fingerprint import fingerprint
from bmslink.errors import UsageError
from bmslink.model import Identity
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.storage.atomic import read_bounded, replace_file

__all__ = ["Backup", "BackupError", "backup_text", "load_backup", "make_backup", "save_backup"]

_KIND = "bmslink-backup"
_MOST_BYTES = 4 << 20


class BackupError(UsageError):
    """A backup that cannot be trusted."""


class Backup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One board at one moment."""

    kind: str = _KIND
    """`bmslink-backup`."""
    schema: int = 1
    """Version of the file format."""
    time: str
    """ISO 8601, UTC."""
    target: str
    """Where it was read."""
    protocol: str
    """As in targets."""
    map: str
    """The settings map that the slots belong to."""
    vendor: str | None = None
    """As in `Identity`."""
    model: str | None = None
    """As in `Identity`."""
    hardware: str | None = None
    """As in `Identity`."""
    firmware: str | None = None
    """As in `Identity`."""
    serial_number: str | None = None
    """As in `Identity`."""
    cell_count: int | None = None
    """As in `Identity`."""
    slots: dict[str, str]
    """Address -> raw bytes, both in hex."""
    values: dict[str, float | bool | str | None]
    """Key -> value in its unit, for people and for `config diff`."""
    units: dict[str, str]
    """Key -> unit."""
    place: dict[str, Any] = {}
    """Where it was made; backups of 0.1.0 name the target only."""
    fingerprint: dict[str, Any] = {}
    """What tells the board from others; backups of 0.1.0 have none."""
    own: list[str]
    """The settings that change by themselves or belong to this one board: not for comparing."""
    sha256: str = ""
    """Checksum of all else."""

    @property
    def intact(self) -> bool:
        """Whether nothing was changed since it was made or loaded."""
        return self.sha256 == _checksum(msgspec.to_builtins(self))

    def image(self) -> dict[int, bytes]:
        """The raw bytes by slot address. `ValueError` where two are of one slot."""
        found = {int(at, 16): bytes.fromhex(raw) for at, raw in self.slots.items()}
        if len(found) != len(self.slots):
            raise ValueError("it holds two values of one slot")
        return found


def _checksum(fields: Mapping[str, Any]) -> str:
    body = {key: value for key, value in fields.items() if key != "sha256"}
    text = json.dumps(body, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def make_backup(
    target: str, identity: Identity, table: SettingsSnapshot, place: Mapping[str, Any] | None = None
) -> Backup:
    """The board as it is now; `place` as `bmslink.places` writes it, where that is known.

    Raises `FrameError` where it was read as what no board can hold.
    """
    believe(table)
    backup = Backup(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        target=target,
        protocol=identity.protocol,
        map=table.map.name,
        vendor=identity.vendor,
        model=identity.model,
        hardware=identity.hardware,
        firmware=identity.firmware,
        serial_number=identity.serial_number,
        cell_count=identity.cell_count,
        slots={f"{at:04x}": raw.hex() for at, raw in sorted(table.image.items())},
        values=dict(table.values()),
        units={row.key: row.unit for row in table.map.settings if row.unit},
        place=dict(place or {}),
        fingerprint=fingerprint(identity, table).to_dict(),
        own=[row.key for row in table.map.settings if row.live or row.own],
    )
    return _sealed(backup)


def _sealed(backup: Backup) -> Backup:
    """With its checksum, of what it holds in this version of bmslink."""
    return msgspec.structs.replace(backup, sha256=_checksum(msgspec.to_builtins(backup)))


def backup_text(backup: Backup) -> str:
    """The text of its file."""
    return json.dumps(msgspec.to_builtins(backup), indent=1, ensure_ascii=False) + "\n"


def save_backup(backup: Backup, path: str | Path, *, overwrite: bool = False) -> None:
    """Write it whole or not at all; an existing file is kept unless `overwrite`."""
    place = Path(path)
    try:
        replace_file(place, backup_text(backup).encode(), overwrite=overwrite)
    except FileExistsError as exc:
        raise BackupError(f"{place} exists already; choose another name or --force.") from exc
    except OSError as exc:
        raise BackupError(f"{place} cannot be written: {exc.strerror or exc}.") from exc


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no value")


def load_backup(path: str | Path) -> Backup:
    """Read a backup; `BackupError` if it is none, is damaged, or was changed by hand."""
    place = Path(path)
    try:
        data = read_bounded(place, _MOST_BYTES, "backup")
    except OSError as exc:
        swapped = pack_not_file(path, "backup")
        raise BackupError(swapped or f"{place} cannot be read: {exc.strerror or exc}.") from exc
    try:
        found = json.loads(data, parse_constant=_no_number)
        backup = msgspec.convert(found, Backup)
        backup.image()
    except (ValueError, RecursionError, msgspec.ValidationError) as exc:
        if other := instead(data.decode("utf-8", "replace"), place, "backup"):
            raise BackupError(f"{place} is no backup. {other}") from exc
        raise BackupError(f"{place} is no backup, or a damaged one: {exc}.") from exc
    if backup.kind != _KIND or backup.schema != 1:
        raise BackupError(f"{place} is no backup that this bmslink knows.")
    if backup.sha256 != _checksum(found):
        raise BackupError(
            f"{place} was changed after it was made: its checksum is wrong. To set values by "
            "hand, write a profile."
        )
    return _sealed(backup)
