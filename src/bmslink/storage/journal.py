"""The journal: every change to a BMS, written down and on the disk before it is sent.

One JSON object a line, one file a month, only ever appended to (`bmslink.storage.chain`: each
record is checked). It lies in the user's state folder or where BMSLINK_JOURNAL says. A change of
several writes is a transaction: `begin` with the old and the new bytes of everything it may touch,
a record before and after each write, `end` with the outcome. A transaction without an `end` was cut
off: what the BMS holds is not known until somebody resumes it. Nothing is ever written to a BMS
from a record that does not verify.
"""

from __future__ import annotations

import os
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bmslink.errors import BmsError, GateError
from bmslink.storage.actors import acting_for, actor, actor_name
from bmslink.storage.apart import apart
from bmslink.storage.chain import ChainLine, add, open_regular, read_lines

__all__ = [
    "Journal",
    "JournalError",
    "JournalRefusal",
    "Open",
    "Transaction",
    "acting_for",
    "actor_name",
    "journal_path",
    "on_disk",
    "refusing",
]

T = TypeVar("T")

SCHEMA = 2
_ROOM = 1 << 14
"""What a change may need on the disk, bytes."""
_PATIENCE = 2.0
"""How long another process may keep us from appending, s."""
_DISK = 5.0
"""How long the disk may take, s: whoever waits has the board meanwhile, and it is not polled."""
_NAMED = re.compile(rb'"id": "([0-9a-f]{1,32})"')
_QUICK = b'"id": "'
"""What only records of transactions hold."""


class JournalError(BmsError):
    """The journal cannot be written or read."""


class JournalRefusal(JournalError, GateError):
    """The same before anything was sent: then nothing is."""


def journal_path() -> Path:
    """The folder of the journal."""
    given = os.environ.get("BMSLINK_JOURNAL")
    if given:
        return Path(given).expanduser()
    from platformdirs import user_state_path  # only who changes something needs it

    return user_state_path("bmslink", appauthor=False) / "journal"


async def on_disk(work: Callable[[], T], *, late: Callable[[T], Any] = lambda found: None) -> T:
    """What `work` gives, done in a thread: reading or writing the journal keeps nobody but who
    waits for it. Raises what it raises, and `JournalError` where the disk takes longer than 5 s;
    what it gives then is for `late`."""
    try:
        return await apart(work, _DISK, late=late)
    except TimeoutError as error:
        if isinstance(error, BmsError):
            raise
        raise JournalError(f"The disk of the journal has not answered for {_DISK:g} s.") from error


@contextmanager
def refusing(told: str = "Without it nothing is sent.") -> Iterator[None]:
    """Inside, a `JournalError` is a refusal: nothing was sent yet."""
    try:
        yield
    except JournalRefusal:
        raise
    except JournalError as error:
        raise JournalRefusal(f"{error} {told}") from error


class Journal:
    """The files of one journal folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder: Path = folder or journal_path()

    def append(self, event: str, **data: Any) -> None:
        """Add a record and wait until it is on the disk. Raises `JournalError`."""
        now = datetime.now(UTC)
        record = {"schema": SCHEMA, "time": now.isoformat(), "event": event, **data}
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            add(self._file(now), record, patience=_PATIENCE)
        except OSError as exc:
            raise JournalError(self._unwritable(exc)) from exc

    def _file(self, now: datetime) -> Path:
        return self.folder / f"{now:%Y-%m}.jsonl"

    def probe(self) -> None:
        """Find out whether there is room to write, and leave nothing. Raises `JournalRefusal`."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=self.folder, buffering=0) as room:
                room.write(bytes(_ROOM))
            month = self._file(datetime.now(UTC))
            if os.path.lexists(month):
                os.close(open_regular(month, os.O_RDWR | os.O_APPEND))
        except OSError as exc:
            raise self._refusal(self._unwritable(exc)) from exc

    def _unwritable(self, exc: OSError) -> str:
        return f"The journal in {self.folder} cannot be written ({exc.strerror or exc})."

    @staticmethod
    def _refusal(why: str) -> JournalRefusal:
        return JournalRefusal(
            f"{why} Without it nothing is sent. BMSLINK_JOURNAL may name another folder."
        )

    def lines(self, *, only: bytes = b"") -> Iterator[ChainLine]:
        """All lines, checked, in the order of the files. Raises `JournalError`."""
        try:
            for path in sorted(self.folder.glob("[0-9]*-[0-9]*.jsonl")):
                yield from read_lines(path, only=only)
        except OSError as exc:
            raise JournalError(
                f"The journal in {self.folder} cannot be read ({exc.strerror or exc}), so it is "
                "not known whether a change was cut off."
            ) from exc

    def records(self) -> Iterator[Mapping[str, Any]]:
        """All records that verify, and those of the earlier format, oldest first."""
        return (line.record for line in self.lines() if line.state in ("sound", "old"))

    def damaged(self) -> int:
        """How many lines do not verify, and how many places there are where some are missing."""
        return sum(line.state in ("damaged", "gap") for line in self.lines())

    def begin(
        self, target: str, pack: Mapping[str, Any], changes: Sequence[Mapping[str, Any]], **why: Any
    ) -> Transaction:
        """Begin a change. `pack` is who it is (`vendor`, `serial_number`, …), `changes` hold
        `slot`, `old` and `new` (hex) of everything that may be written. Raises `JournalRefusal`."""
        told = {"serial_number": pack.get("serial_number"), "place": why.get("place")}
        about = {"target": target, **{key: value for key, value in told.items() if value}}
        transaction = Transaction(self, uuid.uuid4().hex[:12], about)
        try:
            self.append(
                "begin",
                id=transaction.id,
                target=target,
                pack=dict(pack),
                changes=list(changes),
                **actor(),
                **why,
            )
        except JournalError as error:
            raise self._refusal(str(error)) from error
        return transaction

    def unfinished(self, *, quick: bool = False) -> list[Open]:
        """The transactions that were cut off, and damage that may hide one, oldest first.

        A clock that was set back in between may have put their records in any order. `quick`
        checks each record by itself only, and does not look for missing ones: for telling, not for
        writing. Raises `JournalError`.
        """
        found = _Found()
        for line in self.lines(only=_QUICK if quick else b""):
            found.take(line)
        return found.open()

    def reopen(self, cut: Open) -> Transaction:
        """Go on with a transaction that was cut off."""
        return Transaction(self, cut.id, dict(cut.about))

    def give_up(self, cut: Open) -> None:
        """A person decides that it is over, whatever the board holds. Raises `JournalError`."""
        damage = {"accepted": list(cut.marks)} if cut.marks else {}
        if cut.id:
            self.reopen(cut).end("kept", **damage)
        else:
            self.append("accepted", id="", **damage)


@dataclass(frozen=True, slots=True)
class Transaction:
    """One change that is being made."""

    journal: Journal
    id: str
    about: Mapping[str, Any] = field(default_factory=dict)
    """The pack, briefly: it is in every record, in case `begin` cannot be read any more."""
    strict: bool = True
    """Whether a record that cannot be written is an error."""

    def note(self, event: str, **data: Any) -> None:
        """Add a record of it and wait until it is on the disk. Raises `JournalError` if strict."""
        try:
            self.journal.append(event, id=self.id, about=dict(self.about), **data)
        except JournalError:
            if self.strict:
                raise

    def tell(self, event: str, **data: Any) -> None:
        """Add a record of what has happened already; without it the change is only less known."""
        self.regardless().note(event, **data)

    async def noted(self, event: str, **data: Any) -> None:
        """As `note`, in a thread, while other packs go on. A disk that hangs raises `JournalError`
        if strict."""
        try:
            await on_disk(partial(self.note, event, **data))
        except JournalError:
            if self.strict:
                raise

    async def told(self, event: str, **data: Any) -> None:
        """As `tell`, in a thread."""
        await self.regardless().noted(event, **data)

    async def closed(self, outcome: str, **data: Any) -> str:
        """As `close`, in a thread."""
        try:
            return await on_disk(partial(self.close, outcome, **data))
        except JournalError as error:
            return _unclosed(error)

    def regardless(self) -> Transaction:
        """The same, for setting back: it goes on where the journal cannot be written any more."""
        return replace(self, strict=False)

    def end(self, outcome: str, **data: Any) -> None:
        """Say that it is over: `done`, `rolled back`, … Raises `JournalError`."""
        replace(self, strict=True).note("end", outcome=outcome, **data)

    def close(self, outcome: str, **data: Any) -> str:
        """The same where it cannot be undone any more: if the journal cannot be written it stays
        open, which is safe; then the sentence that says so."""
        try:
            self.end(outcome, **data)
        except JournalError as error:
            return _unclosed(error)
        return ""


def _unclosed(error: JournalError) -> str:
    return f"The change is over, but the journal does not say so: {error}"


@dataclass(frozen=True, slots=True)
class Open:
    """A transaction that was cut off, or lines of the journal that may have been one."""

    id: str
    """Empty where the damage belongs to no transaction that can be named."""
    begin: Mapping[str, Any]
    """Empty where it is missing; nothing in it is to be relied on where `damage` says something."""
    notes: list[Mapping[str, Any]] = field(default_factory=list)
    old: bool = False
    """Written by an earlier version, without a check: a person has to look at it first."""
    damage: str = ""
    """What of its records does not verify; empty: all do."""
    marks: tuple[str, ...] = ()
    """The damaged lines."""
    remains: Mapping[str, Any] = field(default_factory=dict)
    """What can still be read of the first of them."""

    @property
    def about(self) -> Mapping[str, Any]:
        """The pack, as far as any record says: `target`, `place`, `serial_number`."""
        notes = [each.get("about") for each in (*self.notes, self.remains)]
        found: dict[str, Any] = next((dict(each) for each in notes if isinstance(each, dict)), {})
        pack = self.begin.get("pack")
        serial = pack.get("serial_number") if isinstance(pack, dict) else None
        told = {"serial_number": serial, **{k: self.begin.get(k) for k in ("target", "place")}}
        return {key: value for key, value in told.items() if value} | found


class _Found:
    """The transactions, from lines in any order."""

    def __init__(self) -> None:
        self._begun: dict[str, Mapping[str, Any]] = {}
        self._notes: dict[str, list[Mapping[str, Any]]] = {}
        self._order: dict[str, None] = {}
        self._over: set[str] = set()
        self._old: set[str] = set()
        self._damaged: dict[str, list[ChainLine]] = {}
        self._accepted: set[str] = set()

    def take(self, line: ChainLine) -> None:
        """One line of the journal."""
        if line.state == "torn":
            return
        if line.state in ("damaged", "gap"):
            self._damage(line)
            return
        accepted = line.record.get("accepted")
        if line.state == "sound" and isinstance(accepted, list):
            self._accepted.update(map(str, accepted))
        name = line.record.get("id")
        if not isinstance(name, str) or not name:
            return
        self._order[name] = None
        if line.state == "old":
            self._old.add(name)
        event = line.record["event"]
        if event == "begin":
            self._begun[name] = line.record
        elif event == "end":
            self._over.add(name)
        else:
            self._notes.setdefault(name, []).append(line.record)

    def _damage(self, line: ChainLine) -> None:
        if line.record.get("event") == "decision" or b'"event": "decision"' in line.text[:120]:
            return  # an audit: no transaction is in there
        found = _NAMED.search(line.text)
        name = found[1].decode() if found else ""
        self._order[name] = None
        self._damaged.setdefault(name, []).append(line)
        if name and line.record.get("event") == "begin":
            self._begun.setdefault(name, line.record)

    def open(self) -> list[Open]:
        """What was cut off."""
        return [each for name in self._order if (each := self._one(name)) is not None]

    def _one(self, name: str) -> Open | None:
        lines = [x for x in self._damaged.get(name, ()) if x.mark not in self._accepted]
        begin = self._begun.get(name)
        if name in self._over or (name == "" and not lines):
            return None
        damage = _damage_of(lines)
        if begin is None and name and not damage:
            if name in self._old:
                return None  # as before: without its beginning nothing is known of it
            damage = "the record of its beginning is missing"
        return Open(
            name,
            begin or {},
            self._notes.get(name, []),
            old=name in self._old,
            damage=damage,
            marks=tuple(line.mark for line in lines),
            remains=lines[0].record if lines else {},
        )


def _damage_of(lines: Sequence[ChainLine]) -> str:
    altered = sum(line.state == "damaged" for line in lines)
    told = []
    if altered:
        told.append(f"{altered} record{'s' * (altered != 1)} of the journal cannot be trusted")
    if len(lines) > altered:
        told.append("records of the journal are missing")
    return " and ".join(told)
