"""What a report is asked for: files, targets, named packs, a bank of bmslink.toml."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bmslink.config.files.profile import Profile
from bmslink.errors import TargetError, UsageError
from bmslink.link.transport import Endpoint, Pin
from bmslink.named_banks import BankOptions, load_banks
from bmslink.packs import NamedPack, config_files, find_pack, find_pin
from bmslink.places import Place, where
from bmslink.reports.pictures.sources import recording_of
from bmslink.reports.sheet.facts import PackSheet, Sheet
from bmslink.reports.sheet.gathering import sheet_of_pack, sheets_of_file
from bmslink.storage.toml import Document, read_text

__all__ = ["find_bank", "sheet_of"]

Tell = Callable[[str], None]
Endpoints = Callable[[str], Sequence[Endpoint]]
"""A target as somebody wrote it -> where it is; several for a range of addresses."""


def find_bank(name: str) -> BankOptions | None:
    """`[banks.NAME]` of bmslink.toml. Raises `TargetError` for a file that cannot be read."""
    for path in config_files():
        document = Document(read_text(path, "bmslink.toml"), path)
        banks = load_banks(document).banks if "banks" in document.content else {}
        if name in banks:
            return banks[name]
    return None


async def sheet_of(
    words: Sequence[str],
    endpoints: Endpoints,
    *,
    profile: Profile | None = None,
    only: Sequence[str] = (),
    title: str = "",
    customer: str = "",
    installer: str = "",
    pin: str | None = None,
    tell: Tell = lambda text: None,
) -> Sheet:
    """The report of what words name: packs, a bank, recordings. Packs on different lines are read
    at the same time.

    Raises `TargetError` and `UsageError` for what cannot be meant, and what reading a file raises;
    a pack that cannot be read has a part that says so.
    """
    wired = ""
    chosen: list[str] = []
    for word in words:
        bank = None if find_pack(word) is not None else find_bank(word)
        if bank is not None:
            wired = f"in {bank.connection.value}"
            title = title or word
        chosen += (word,) if bank is None else bank.packs
    secrets = partial(find_pin, given=pin)
    jobs = [job for word in chosen for job in _jobs(word, endpoints, profile, only, secrets, tell)]
    packs = [pack for each in await _on_every_line(jobs) for pack in each]
    if not packs:
        raise UsageError(f"There is nothing of {', '.join(only)[:80]!r} there.")
    return Sheet(
        title=title or (packs[0].title if len(packs) == 1 else f"{len(packs)} packs"),
        packs=packs,
        bank=wired,
        customer=customer,
        installer=installer,
    )


@dataclass(frozen=True, slots=True)
class _Gathered:
    """One thing to gather, and the place that it needs."""

    work: Callable[[], Awaitable[list[PackSheet]]]
    place: Place | None = None


def _jobs(
    word: str,
    endpoints: Endpoints,
    profile: Profile | None,
    only: Sequence[str],
    secret: Callable[[str], Pin],
    tell: Tell,
) -> list[_Gathered]:
    named: NamedPack | None = find_pack(word)
    recording = None if named is not None else _recording(word)
    if recording is not None:
        return [_Gathered(partial(asyncio.to_thread, sheets_of_file, *recording, only=only))]
    found = endpoints(word)
    alone = named if len(found) == 1 else None
    read = partial(sheet_of_pack, named=alone, pin=secret(word), profile=profile, tell=tell)
    return [_Gathered(partial(_one, read, each), where(each)) for each in found]


async def _one(
    read: Callable[[Endpoint], Awaitable[PackSheet]], endpoint: Endpoint
) -> list[PackSheet]:
    return [await read(endpoint)]


async def _on_every_line(jobs: Sequence[_Gathered]) -> list[list[PackSheet]]:
    """What each job gives, in their order; those on one line one after the other."""
    lines: list[tuple[asyncio.Lock, Place]] = []

    def lock_of(place: Place) -> asyncio.Lock:
        for lock, other in lines:
            if other.same_line(place):
                return lock
        lines.append((asyncio.Lock(), place))
        return lines[-1][0]

    async def do(job: _Gathered) -> list[PackSheet]:
        if job.place is None:
            return await job.work()
        async with lock_of(job.place):
            return await job.work()

    return [*await asyncio.gather(*map(do, jobs))]


def _recording(word: str) -> tuple[Path, str | None] | None:
    """The file that a word names; `None` for a target, and for a port, which is no regular file."""
    path = Path(word).expanduser()
    if "://" not in word and path.exists() and not (path.is_file() or path.is_dir()):
        return None
    try:
        return recording_of(word)
    except TargetError:
        return None
