"""The journal: every change to a BMS, written down and on the disk before it is sent.

One JSON object a line, one file a month, only ever appended to. It lies in the user's state folder
or where BMSLINK_JOURNAL says. A change of several writes is a transaction: `begin` with the old
and the new bytes of everything it may touch, a record before and after each write, `end` with the
outcome. A transaction without an `end` was cut off: what stands in that BMS is not known until
somebody resumes it.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bmslink.errors import BmsError
from bmslink.wholefile import append_handle

__all__ = ["Journal", "JournalError", "Open", "Transaction", "journal_path"]


class JournalError(BmsError):
    """The journal cannot be written or read: then nothing may be sent."""


def journal_path() -> Path:
    """The folder of the journal."""
    given = os.environ.get("BMSLINK_JOURNAL")
    if given:
        return Path(given).expanduser()
    from platformdirs import user_state_path  # only who changes something needs it

    return user_state_path("bmslink", appauthor=False) / "journal"


class Journal:
    """The files of one journal folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or journal_path()

    def append(self, event: str, **data: Any) -> None:
        """Add a record and wait until it is on the disk. Raises `JournalError`."""
        now = datetime.now(UTC)
        record = {"schema": 1, "time": now.isoformat(), "event": event, **data}
        line = json.dumps(record, ensure_ascii=False) + "\n"
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # names of files and users may hold what is no text
            text = line.encode("utf-8", "backslashreplace")
            self._write(self.folder / f"{now:%Y-%m}.jsonl", text)
        except OSError as exc:
            raise self._unwritable(exc) from exc

    def probe(self) -> None:
        """Find out whether it can be written, and write nothing. Raises `JournalError`."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
            month = self.folder / f"{datetime.now(UTC):%Y-%m}.jsonl"
            if month.exists():
                os.close(append_handle(month))
        except OSError as exc:
            raise self._unwritable(exc) from exc

    def _unwritable(self, exc: OSError) -> JournalError:
        return JournalError(
            f"The journal in {self.folder} cannot be written ({exc.strerror or exc}), so "
            "nothing is sent. BMSLINK_JOURNAL may name another folder."
        )

    def _write(self, path: Path, line: bytes) -> None:
        new = not path.exists()
        with os.fdopen(append_handle(path), "ab+") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # the last record was cut off by a crash
                    line = b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if new and sys.platform != "win32":  # the name of a new file must be on the disk as well
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def records(self) -> Iterator[Mapping[str, Any]]:
        """All records, oldest first; lines that are cut off or foreign are passed over."""
        try:
            paths = sorted(self.folder.glob("[0-9]*-[0-9]*.jsonl"))
            for path in paths:
                for line in path.read_bytes().splitlines():
                    try:
                        record = json.loads(line)
                    except (ValueError, RecursionError):
                        continue
                    if isinstance(record, dict) and isinstance(record.get("event"), str):
                        yield record
        except OSError as exc:
            raise JournalError(
                f"The journal in {self.folder} cannot be read ({exc.strerror or exc}), so it is "
                "not known whether a change was cut off, and nothing is sent."
            ) from exc

    def begin(
        self, target: str, pack: Mapping[str, Any], changes: Sequence[Mapping[str, Any]], **why: Any
    ) -> Transaction:
        """Begin a change. `pack` is who it is (`vendor`, `serial_number`, …), `changes` hold
        `slot`, `old` and `new` (hex) of everything that may be written."""
        transaction = Transaction(self, uuid.uuid4().hex[:12])
        self.append(
            "begin",
            id=transaction.id,
            target=target,
            pack=dict(pack),
            changes=list(changes),
            user=_user(),
            **why,
        )
        return transaction

    def unfinished(self) -> list[Open]:
        """The transactions that were cut off, oldest first; a clock that was set back in between
        may have put their records in any order."""
        begun: dict[str, Mapping[str, Any]] = {}
        notes: dict[str, list[Mapping[str, Any]]] = {}
        over = set()
        for record in self.records():
            name = record.get("id")
            if not isinstance(name, str):
                continue
            if record["event"] == "begin":
                begun[name] = record
            elif record["event"] == "end":
                over.add(name)
                begun.pop(name, None)
                notes.pop(name, None)
            else:
                notes.setdefault(name, []).append(record)
        return [Open(n, begin, notes.get(n, [])) for n, begin in begun.items() if n not in over]

    def reopen(self, cut: Open) -> Transaction:
        """Go on with a transaction that was cut off."""
        return Transaction(self, cut.id)


@dataclass(frozen=True, slots=True)
class Transaction:
    """One change that is being made."""

    journal: Journal
    id: str

    def note(self, event: str, **data: Any) -> None:
        """Add a record of it and wait until it is on the disk."""
        self.journal.append(event, id=self.id, **data)

    def end(self, outcome: str, **data: Any) -> None:
        """Say that it is over: `done`, `rolled back`, …"""
        self.note("end", outcome=outcome, **data)

    def close(self, outcome: str, **data: Any) -> str:
        """The same where it cannot be undone any more: if the journal cannot be written it stays
        open, which is safe; then the sentence that says so."""
        try:
            self.end(outcome, **data)
        except JournalError as error:
            return f"The change is over, but the journal does not say so: {error}"
        return ""


@dataclass(frozen=True, slots=True)
class Open:
    """A transaction that was cut off."""

    id: str
    begin: Mapping[str, Any]
    notes: list[Mapping[str, Any]] = field(default_factory=list)

    def concerns(self, target: str, pack: Mapping[str, Any]) -> bool:
        """Whether it was about this pack: the same serial number, or, where one of the two tells
        none, the same place."""
        mine = self.begin.get("pack")
        serial = mine.get("serial_number") if isinstance(mine, dict) else None
        if serial and pack.get("serial_number"):
            return bool(serial == pack["serial_number"])
        return bool(self.begin.get("target") == target)


def _user() -> str:
    """Who it is, by the environment or (services and containers set none) by the system."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name
        return ""
