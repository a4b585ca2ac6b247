"""Looking at this computer: nothing is opened that somebody else uses."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bmslink import registry
from bmslink.config.identity.locks import is_held
from bmslink.config.records.moment import local
from bmslink.control.sessions.kept import SessionStore
from bmslink.errors import BmsError, TargetError
from bmslink.packs import config_files, config_path, load_packs
from bmslink.reports.doctor.facts import HostFacts
from bmslink.reports.doctor.ports import look_at_ports
from bmslink.service_client import ServiceClient
from bmslink.storage.credentials import require_private
from bmslink.storage.journal import Journal, journal_path
from bmslink.storage.state import state_path

__all__ = ["look_at_host"]

_PACKAGES = (
    *("bmslink", "bleak", "pyserial", "construct", "msgspec", "rich", "textual", "typer"),
    *("dbus-fast", "pymodbus", "starlette", "uvicorn", "prometheus-client", "apprise"),
    *("jinja2", "plotext", "duckdb", "bumble"),
)
_RADIOS = Path("/sys/class/bluetooth")
_SYNCHRONISED = Path("/run/systemd/timesync/synchronized")
_BORN = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
"""No clock that is right shows less."""


async def look_at_host() -> HostFacts:
    """Everything about this computer that bears on packs. Raises nothing."""
    host = HostFacts(versions=dict(_versions()))
    with suppress(OSError):
        host.ports = look_at_ports()
    _radios(host)
    host.stale = tuple(_stale())
    await _services(host)
    _config(host)
    _journal(host)
    _sessions(host)
    host.folders = tuple(_folders())
    _clock(host)
    return host


def _versions() -> Iterator[tuple[str, str | None]]:
    yield "python", platform.python_version()
    yield "system", f"{platform.system()} {platform.release()} {platform.machine()}"
    for name in _PACKAGES:
        try:
            yield name, registry.running_version() if name == "bmslink" else version(name)
        except PackageNotFoundError:
            yield name, None


def _radios(host: HostFacts) -> None:
    if sys.platform != "linux":
        return
    found: list[dict[str, Any]] = []
    with suppress(OSError):
        for adapter in sorted(_RADIOS.glob("hci[0-9]")):
            blocked = ""
            for switch in adapter.glob("rfkill*"):
                with suppress(OSError):
                    for kind in ("hard", "soft"):
                        if (switch / kind).read_text().strip() == "1":
                            blocked = blocked or kind
            found.append({"name": adapter.name, "blocked": blocked})
    host.radios = tuple(found)
    if found:
        host.bluez = any(Path("/proc").glob("[0-9]*")) and _runs("bluetoothd")


def _runs(name: str) -> bool:
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            if comm.read_text("utf-8", "replace").strip() == name:
                return True
    return False


def _stale() -> Iterator[str]:
    """Entries of the registry whose process is gone; asking the registry removes them."""
    from bmslink.storage.processes import is_running

    with suppress(OSError):
        for file in registry.runtime_folder().glob("service-*.json"):
            pid = file.stem.partition("-")[2]
            if pid.isdecimal() and not is_running(int(pid)):
                yield str(file)


async def _services(host: HostFacts) -> None:
    try:
        addresses = registry.services()
    except BmsError as error:
        host.missing["services"] = str(error)
        return
    found = []
    for each in addresses:
        row: dict[str, Any] = {"pid": each.pid, "version": each.version, "socket": each.socket}
        try:
            status, answer = await ServiceClient(each, "the packs here").ask("GET", "/api/v1/packs")
            if status != 200:
                row["trouble"] = str(answer.get("error") or f"status {status}")
        except (BmsError, OSError) as error:
            row["trouble"] = str(error)
        found.append(row)
    host.services = tuple(found)


def _config(host: HostFacts) -> None:
    try:
        packs = load_packs()
    except (BmsError, OSError) as error:
        host.config = str(error)
        return
    if any(pack.pin for pack in packs.values()):
        for path in config_files():
            with suppress(OSError):
                try:
                    require_private(path, "a pin")
                except TargetError as error:
                    host.private = (*host.private, (str(path), str(error)))
    there = [str(path) for path in config_files() if path.exists()]
    if not there:
        return
    host.file = f"{' and '.join(there)}, {len(packs)} packs"
    if not config_path().exists():
        return
    from bmslink.runtime.service_file import load_plan

    try:
        host.remarks = load_plan((), config_path()).remarks if packs else ()
    except (BmsError, OSError) as error:
        host.config = str(error)


def _journal(host: HostFacts) -> None:
    book = Journal()
    try:
        rows = []
        for cut in book.unfinished():
            about = cut.about
            names = recorded_names(cut.begin)
            if is_held(book.folder / "locks", names):
                continue  # it is being made at this moment
            told = cut.begin.get("name") or about.get("target")
            rows.append(
                {
                    "target": str(told) if told else "",
                    "when": local(cut.begin.get("time")) if cut.begin else "",
                    "damage": cut.damage,
                }
            )
        host.unfinished = tuple(rows)
        host.damaged = book.damaged()
    except (BmsError, OSError) as error:
        host.missing["journal"] = str(error)


def recorded_names(begin: Any) -> tuple[str, ...]:
    """The names of the place of a change, as it is locked."""
    from bmslink.places import recorded_place

    return tuple(recorded_place(begin).names)


def _sessions(host: HostFacts) -> None:
    try:
        host.sessions = tuple(
            {
                "target": kept.target,
                "name": kept.name,
                "owner": kept.owner,
                "held": _alive(kept.pack) or (kept.owner == "service" and bool(host.services)),
            }
            for kept in SessionStore().all()
        )
    except (BmsError, OSError) as error:
        host.missing["sessions"] = str(error)


def _alive(pack: str) -> bool:
    """Whether some program acts on a pack at this moment."""
    return is_held(journal_path() / "locks", [f"acting {pack}"])


def _folders() -> Iterator[dict[str, Any]]:
    for what, path in (
        ("The journal", journal_path()),
        ("What is remembered of packs", state_path()),
        ("The socket of a service", registry.runtime_folder()),
    ):
        there = path
        while not there.exists() and there != there.parent:
            there = there.parent
        row: dict[str, Any] = {"what": what, "path": str(path)}
        if not there.is_dir():
            row["trouble"] = "it is no folder"
        elif not os.access(there, os.W_OK | os.X_OK):
            row["trouble"] = "you may not write there"
        with suppress(OSError):
            row["free"] = shutil.disk_usage(there).free
        yield row


def _clock(host: HostFacts) -> None:
    now = time.time()
    if now < _BORN:
        host.clock = f"This computer's clock shows {datetime.now(UTC):%Y-%m-%d}."
        return
    newest = 0.0
    with suppress(OSError):
        for file in journal_path().glob("[0-9]*-[0-9]*.jsonl"):
            about = file.stat()
            newest = max(newest, about.st_mtime) if stat.S_ISREG(about.st_mode) else newest
    if newest > now + 60:
        host.clock = (
            f"This computer's clock was set back: the journal was written "
            f"{(newest - now) / 60:.0f} minutes from now."
        )
    if _SYNCHRONISED.parent.is_dir():
        host.synchronised = _SYNCHRONISED.exists()
