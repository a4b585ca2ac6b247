"""A session on the disk, written before anything is sent: what was before, and how far it is.

One file a pack, replaced as a whole. While there is one, the board may hold what the session set;
it is removed when everything is read back as it was. A report of the last session stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from bmslink.control.sessions.ends import Ending
from bmslink.control.sessions.moment import CellsNow
from bmslink.control.sessions.options import SessionOptions
from bmslink.control.sessions.plan import SessionPlan
from bmslink.control.sessions.state import SessionState
from bmslink.link.transport import Endpoint, parse_target
from bmslink.places import recorded_place, where
from bmslink.storage.state import DamagedState, StateFolder, state_path

__all__ = ["KeptSession", "SessionStore", "Value"]

Value = bool | float | int | str | None


class KeptSession(msgspec.Struct, frozen=True, kw_only=True):
    """What has to survive a kill."""

    id: str
    pack: str
    """Who it is, as in its ledger."""
    target: str
    place: str
    """Where it is, however its target is written."""
    name: str = ""
    """As bmslink.toml or the service calls it."""
    owner: str
    """`service`: it goes on after a restart; `command`: it is set back."""
    who: str
    """Who began it."""
    began: str
    """UTC, ISO 8601."""
    saved: float = 0.0
    """s since 1970."""
    options: SessionOptions
    plan: SessionPlan
    before: dict[str, Value]
    """What the settings held that it changes."""
    switch_before: bool | None
    """How the balancer's switch was; `None`: the board does not say."""
    table: dict[str, Value]
    """All settings, to compare with in the end."""
    switched: bool = False
    """The balancer's switch may have been set by the session."""
    dcl: float = 0.0
    dvl: float = 0.0
    """What limits say of discharging, which a session leaves as it is."""
    first: CellsNow
    last: CellsNow
    top_first: CellsNow | None = None
    """When the top was reached first."""
    state: SessionState = SessionState()
    writes: int = 0
    """How many settings and switches were written."""
    end: Ending | None = None
    """Why it ended; `None`: it runs, or was cut off."""

    def with_(self, **changes: Any) -> KeptSession:
        """The same with other values."""
        return msgspec.structs.replace(self, **changes)


class SessionStore:
    """In the user's state folder, or where BMSLINK_STATE says."""

    def __init__(self, folder: Path | None = None) -> None:
        base = folder or state_path()
        self.folder = base / "sessions"
        self._open = StateFolder(self.folder)
        self._reports = StateFolder(self.folder / "reports")
        self._wishes = StateFolder(self.folder / "wishes")

    def save(self, kept: KeptSession) -> None:
        """Raises `UnwritableState`."""
        self._open.save(kept.pack, {"session": msgspec.to_builtins(kept)}, None)

    def load(self, pack: str) -> KeptSession | None:
        """The session of a pack that has not ended. Raises `DamagedState`."""
        found = self._open.look(pack)
        return None if found is None else _session(found)

    def all(self) -> Iterator[KeptSession]:
        """Those of all packs; what cannot be read is left out."""
        for found in self._open.each():
            with suppress(DamagedState):
                yield _session(found)

    def at(self, target: Endpoint, name: str = "") -> KeptSession | None:
        """The session of the pack at a place, however that is written, or of that name."""
        for kept in self.all():
            if _is_at(target, name, kept.target, kept.name):
                return kept
        return None

    def end(self, kept: KeptSession, report: Mapping[str, Any]) -> None:
        """Keep its report, and forget the session: everything is as it was. Raises
        `UnwritableState` before anything is forgotten."""
        self._reports.save(
            kept.pack, {"pack": kept.pack, "place": kept.place, "name": kept.name,
                        "report": dict(report)}, None,
        )  # fmt: skip
        self._open.forget(kept.pack)
        self._wishes.forget(kept.pack)

    def report(self, target: Endpoint | str, name: str = "") -> dict[str, Any] | None:
        """Of the last session of the pack at a place, or of that name: the one that ended last,
        where there are more because another board was there."""
        target = target if isinstance(target, Endpoint) else parse_target(target)
        reports = [
            found["report"]
            for found in self._reports.each()
            if isinstance(found.get("report"), dict)
            and _is_at(target, name, found["report"].get("target"), found.get("name"))
        ]
        return max(reports, key=lambda report: str(report.get("ended")), default=None)

    def cancel(self, kept: KeptSession, who: str) -> None:
        """Ask whoever runs it to end it. Raises `UnwritableState`."""
        self._wishes.save(kept.pack, {"cancel": who, "id": kept.id}, None)

    def cancelled(self, kept: KeptSession) -> str:
        """Who asked for its end; empty: nobody."""
        try:
            found = self._wishes.look(kept.pack)
        except DamagedState:
            return ""
        if found is None or found.get("id") != kept.id:
            return ""
        return str(found.get("cancel") or "somebody")


def _is_at(target: Endpoint, name: str, kept_target: object, kept_name: object) -> bool:
    """Whether what is kept is of the pack at a place, or of that name."""
    name = name or target.name or ""
    if name and kept_name == name:
        return True
    if kept_target == str(target):
        return True
    return recorded_place({"target": kept_target}).same(where(target, ask=False))


def _session(found: Mapping[str, Any]) -> KeptSession:
    try:
        return msgspec.convert(found.get("session"), KeptSession)
    except msgspec.ValidationError as error:
        raise DamagedState(f"What is kept of a balancing session is damaged ({error}).") from None
