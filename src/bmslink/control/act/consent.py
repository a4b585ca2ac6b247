"""Who lets which policy file act on which pack.

A person approves a file for a pack, once. A file that was changed since runs in shadow beside the
one that was approved last, which is kept here and goes on enforcing; so a restart needs nobody.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bmslink.control.status import state_path
from bmslink.errors import BmsError
from bmslink.storage.state import DamagedState, StateFolder, UnwritableState

__all__ = [
    "Approval",
    "ConsentError",
    "Standing",
    "approval_of",
    "approve",
    "digest_of",
    "may_enforce",
    "withdraw",
]


class ConsentError(BmsError):
    """An approval that cannot be written or read: nothing is enforced by it."""


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A person's word for one pack and one file."""

    pack: str
    """Who the pack is, as in its ledger."""
    digest: str
    """Of the policy file."""
    text: str
    """The file itself, as it was approved."""
    path: str
    """Where it lay."""
    by: str
    time: str
    """UTC, for people."""
    board: dict[str, Any] = {}
    """Who answered then, as in the journal: without a serial number only the place says which pack
    is meant, and another one may come there."""


class Acts(StrEnum):
    """What acts on a pack."""

    THIS = "this file"
    KEPT = "the file that was approved last"
    NOTHING = "nothing"


class Standing(NamedTuple):
    """What a file may do on a pack."""

    acts: Acts
    enforced: str | None
    """The text of the file that enforces; `None`: none does."""
    shadow: bool
    """Whether the file that was asked about runs in shadow."""
    text: str
    """For people; empty where all is as wanted."""
    alarm: bool = False


def digest_of(text: str) -> str:
    """What tells one policy file from another: every byte of it."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def may_enforce(approval: Approval | None, pack: str, text: str) -> Standing:
    """What the policy file `text` may do on a pack, by what was approved for it. Pure."""
    if approval is None or approval.pack != pack or approval.digest != digest_of(approval.text):
        told = (
            f"Nothing is approved for {pack}: its policies only watch. `bmslink control approve "
            "TARGET FILE` shows what they may do, and asks."
        )
        return Standing(Acts.NOTHING, None, True, told, alarm=True)
    if approval.digest == digest_of(text):
        return Standing(Acts.THIS, text, False, "")
    told = (
        f"The policy file was changed since {approval.by} approved it ({approval.time}): what was "
        "approved goes on acting, and the changed file only watches. `bmslink control approve "
        "TARGET FILE` ends that."
    )
    return Standing(Acts.KEPT, approval.text, True, told)


def _states(folder: Path | None) -> StateFolder:
    return StateFolder(folder or state_path() / "approvals")


def approve(
    pack: str,
    text: str,
    *,
    path: str,
    by: str,
    board: dict[str, Any] | None = None,
    folder: Path | None = None,
) -> Approval:
    """Write down that a person approved a file for a pack. Raises `ConsentError`."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    approval = Approval(
        pack=pack, digest=digest_of(text), text=text, path=path, by=by, time=now, board=board or {}
    )
    try:
        _states(folder).save(pack, msgspec.to_builtins(approval), None)
    except UnwritableState as error:
        raise ConsentError(f"Nothing is approved: {error}") from error
    return approval


def approval_of(pack: str, folder: Path | None = None) -> Approval | None:
    """What was approved for a pack. Raises `ConsentError` for what cannot be trusted: that is put
    aside, and counts no more."""
    states = _states(folder)
    try:
        saved = states.load(pack)
        found = None if saved is None else msgspec.convert(saved, Approval)
    except (DamagedState, msgspec.ValidationError) as error:
        raise ConsentError(f"{error} Approve the policies of {pack} again.") from error
    if found is not None and (found.pack != pack or found.digest != digest_of(found.text)):
        aside = states.put_aside(pack)
        raise ConsentError(
            f"What was approved for {pack} was altered since (it is {aside} now): approve its "
            "policies again."
        )
    return found


def withdraw(pack: str, folder: Path | None = None) -> bool:
    """Take an approval back; whether there was one. Raises `ConsentError`."""
    file = _states(folder).path(pack)
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConsentError(f"{file} cannot be removed ({error.strerror or error}).") from error
    return True
