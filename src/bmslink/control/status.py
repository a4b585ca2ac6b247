"""What a running `control run` says now, left in a small file for `control status`.

One file for each set of packs, replaced as a whole, in the user's state folder or where
BMSLINK_STATE says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from bmslink.errors import BmsError
from bmslink.storage.atomic import replace_file
from bmslink.storage.processes import is_running
from bmslink.storage.state import state_path

__all__ = [
    "PackStatus",
    "Run",
    "Runs",
    "StateError",
    "as_json",
    "place",
    "runs",
    "state_path",
    "write",
]

_LARGEST = 1 << 20
_MOST = 100
_SHORTEST = 15.0  # s without news after which a run counts as gone


class StateError(BmsError):
    """The state file cannot be written or read."""


class PackStatus(msgspec.Struct, kw_only=True):
    """One pack of a run."""

    target: str
    name: str | None = None
    """What bmslink.toml calls it."""
    heard: float | None = None
    """When its last reading came, s since 1970."""
    error: str = ""
    """Why there is none now."""
    since: float | None = None
    """Since when the decision is what it is."""
    stale: bool = True
    permits: dict[str, bool] = {}
    limits: dict[str, float] = {}
    """V and A."""
    binding: dict[str, str] = {}
    """Limit -> the policy that holds it where it is."""
    phase: str = ""
    """Of charging; empty: a run of an earlier version."""
    kinds: dict[str, str] = {}
    """Limit -> `protect` or `phase`: what that policy is for."""
    policies: list[str] = []
    """Those that are not content, in words."""
    trips: int = 0
    """Since the run began."""
    acting: dict[str, Any] = {}
    """What acts on it: every switch with its holders, its owner, what was read back, and what gives
    it back. Empty in shadow."""


class Run(msgspec.Struct, kw_only=True):
    """One `control run`."""

    schema: int = 1
    policies: str
    """The policy file."""
    shadow: bool
    pid: int
    began: float
    written: float
    """s since 1970."""
    interval: float
    """s between readings."""
    packs: list[PackStatus]

    def age(self, now: float) -> float:
        """How old it is, s; below 0 after the clock was set back."""
        return now - self.written

    def gone(self, now: float) -> bool:
        """Whether the run has ended without a word, or hangs."""
        if not is_running(self.pid):
            return True
        longest = max(_SHORTEST, 3 * self.interval)
        return not -longest <= self.age(now) <= longest


class Runs(msgspec.Struct):
    """All that is found."""

    runs: list[Run]
    damaged: list[str]
    """Files that are no state files."""


def place(targets: Sequence[str]) -> Path:
    """The file of a run on these packs."""
    name = hashlib.sha256("\n".join(sorted(targets)).encode()).hexdigest()[:16]
    return state_path() / f"{name}.json"


def write(path: Path, run: Run) -> None:
    """Replace the file as a whole. Raises `StateError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(path, msgspec.json.encode(run))
    except OSError as exc:
        raise StateError(
            f"{path} cannot be written ({exc.strerror or exc}); `bmslink control status` will not "
            "know of this run. BMSLINK_STATE may name another folder."
        ) from exc


def runs() -> Runs:
    """All runs that left a file, the newest first. Raises `StateError`."""
    found = Runs([], [])
    try:
        for path in sorted(state_path().glob("*.json"))[:_MOST]:
            try:
                run = _read(path)
            except FileNotFoundError:  # it has just ended
                continue
            if run is None:
                found.damaged.append(str(path))
            else:
                found.runs.append(run)
    except OSError as exc:
        raise StateError(f"{state_path()} cannot be read: {exc.strerror or exc}.") from exc
    found.runs.sort(key=lambda r: -r.written)
    return found


def _read(path: Path) -> Run | None:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_LARGEST), type=Run)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def as_json(run: Run, now: float) -> dict[str, Any]:
    """For JSON."""
    from bmslink.control.backtest.logs import written  # who switches needs to load none of that

    values: dict[str, Any] = msgspec.to_builtins(run)
    for each in (values, *values["packs"]):
        for name in ("began", "written", "heard", "since"):
            if isinstance(each.get(name), float):
                each[name] = written(each[name])
    return {**values, "age": round(run.age(now), 1), "running": not run.gone(now)}
