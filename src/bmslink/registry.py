"""Which running service owns which place: one small file a service, in the runtime folder.

The folder is the user's own, or where BMSLINK_RUNTIME says; `/run/bmslink` is that of a system
service. Nothing in a file is believed beyond its shape: a service counts only while its
socket takes a connection, and who answers there has to say what it is. The process number is for
people: it means nothing across containers, and another program may have it by now.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmslink.errors import PortBusy, PortDenied, TransportError

if TYPE_CHECKING:
    from bmslink.link.transport import Endpoint
    from bmslink.places import Located, Place

__all__ = [
    "SYSTEM_FOLDER",
    "Announcement",
    "Served",
    "ServiceAddress",
    "find",
    "on_line",
    "running_version",
    "runtime_folder",
    "served_by_radio",
    "served_pack",
    "services",
]

SYSTEM_FOLDER = Path("/run/bmslink")
"""Where a system service has its socket and its file."""
SCHEMA = 1
_LARGEST = 4 << 20
_PATTERN = "service-*.json"
_KNOCK = 0.5  # s a socket may take to accept


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """Where a service answers."""

    socket: str
    """The path of its unix socket; `127.0.0.1:PORT` where the system has none."""
    pid: int
    version: str
    """Of the bmslink that runs it."""
    file: Path
    """Its entry in the registry."""
    token_file: str = ""
    """Where a loopback port's token is."""

    @property
    def local(self) -> bool:
        """Whether it is a unix socket."""
        return "/" in self.socket


@dataclass(frozen=True, slots=True)
class Served:
    """A pack that a running service owns."""

    service: ServiceAddress
    name: str
    """What the service calls it."""
    target: str
    """How the service writes its place."""


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    target: str
    place: Place


def runtime_folder() -> Path:
    """The folder in which this user's service leaves its socket and its file."""
    given = os.environ.get("BMSLINK_RUNTIME")
    if given:
        return Path(given).expanduser()
    if sys.platform == "linux":
        # the session's, also for a job of cron, which is told nothing of it; never a temporary
        # folder, where somebody else may have been before
        base = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
        if Path(base).is_dir():
            return Path(base) / "bmslink"
    from platformdirs import user_state_path

    return user_state_path("bmslink", appauthor=False) / "run"


def running_version() -> str:
    """The version of this bmslink; a service and its clients compare theirs."""
    return str(vars(sys.modules["bmslink"])["__version__"])


def services() -> list[ServiceAddress]:
    """The services that answer now; what dead ones left is removed."""
    return [address for address, _ in _alive(_files())]


def find(endpoint: Endpoint) -> Served | None:
    """The pack at a place, if a running service owns it.

    Raises `PortBusy` where a service owns the line and serves only other addresses on it.
    """
    files = _files()
    if not files or endpoint.scheme in ("replay", "transport"):
        return None
    from bmslink.places import where

    here = where(endpoint)
    busy: tuple[ServiceAddress, _Entry] | None = None
    for address, data in _alive(files):
        for pack in _packs(data):
            if pack.place.same(here):
                return Served(address, pack.name, pack.target)
            if endpoint.scheme != "sim" and pack.place.same_line(here):
                busy = address, pack
    if busy is not None:
        address, pack = busy
        raise PortBusy(
            f"The service (process {address.pid}) owns this line for {pack.name}, and does not "
            f"serve address {here.address} on it: add that pack to its bmslink.toml, or stop the "
            "service with `bmslink service stop`."
        )
    return None


def on_line(endpoint: Endpoint) -> list[Served]:
    """The packs that running services own on the line of an endpoint, whatever their addresses."""
    files = _files()
    if not files:
        return []
    from bmslink.places import where

    here = where(endpoint)
    return [each for each, place in _all_served(files) if place.same_line(here)]


def served_by_radio() -> list[Served]:
    """The packs that running services have connected by Bluetooth: those do not advertise."""
    return [each for each, place in _all_served(_files()) if "radio" in place.marks]


def _all_served(files: Sequence[Path]) -> Iterator[tuple[Served, Place]]:
    for address, data in _alive(files):
        for pack in _packs(data):
            yield Served(address, pack.name, pack.target), pack.place


def served_pack(name: str) -> Served | None:
    """The pack that a running service calls so."""
    return next((each for each, _ in _all_served(_files()) if each.name == name), None)


class Announcement:
    """The entry of a running service."""

    def __init__(
        self, at: str | Path, *, folder: Path | None = None, token_file: str = "", mode: int = 0o600
    ) -> None:
        """`at` is the socket. `mode` is that of the file: a system service lets its group read."""
        self.folder = runtime_folder() if folder is None else folder
        self.path = self.folder / f"service-{os.getpid()}.json"
        self._head = {
            "schema": SCHEMA,
            "version": running_version(),
            "pid": os.getpid(),
            "started": time.time(),
            "socket": str(at),
            "token_file": token_file,
        }
        self._mode = mode

    def update(self, packs: Sequence[tuple[str, Endpoint | Located]], *, ask: bool = True) -> None:
        """Say which packs are served, by name; of a board that is open, also what was learnt of its
        place by opening it. `ask`: names of servers are looked up. Raises `TransportError` where
        that cannot be."""
        from bmslink.link.transport import Endpoint
        from bmslink.places import where
        from bmslink.storage.atomic import replace_file

        rows = [
            {
                "name": name,
                "target": str(at if isinstance(at, Endpoint) else at.target),
                "place": where(at, ask=ask).to_dict(),
            }
            for name, at in packs
        ]
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            text = json.dumps({**self._head, "packs": rows})
            replace_file(self.path, text.encode(), mode=self._mode)
        except OSError as exc:
            raise TransportError(
                f"{self.path} cannot be written ({exc.strerror or exc}), so no command would find "
                "the service. BMSLINK_RUNTIME may name another folder."
            ) from exc

    def withdraw(self) -> None:
        """The service ends."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


# --------------------------------------------------------------------------------- reading


def _files() -> list[Path]:
    """The entries in the folders that nobody else can have put them into."""
    folders = [runtime_folder()]
    if not os.environ.get("BMSLINK_RUNTIME"):
        folders.append(SYSTEM_FOLDER)
    found: list[Path] = []
    for folder in folders:
        with suppress(OSError):
            if _trusted(folder):
                found += sorted(folder.glob(_PATTERN))
    return found


def _trusted(folder: Path) -> bool:
    """Whether only its owner can put files there, and the owner is this user, the system, or whom
    this user named: with BMSLINK_RUNTIME, or as /run/bmslink, which only root can have given away.
    """
    if sys.platform == "win32":
        return folder.is_dir()
    about = folder.stat()
    named = folder == SYSTEM_FOLDER or bool(os.environ.get("BMSLINK_RUNTIME"))
    mine = named or about.st_uid in (0, os.geteuid())
    return stat.S_ISDIR(about.st_mode) and mine and not about.st_mode & stat.S_IWOTH


def _alive(files: Sequence[Path]) -> Iterator[tuple[ServiceAddress, dict[str, Any]]]:
    """The services behind the files that answer; the files of those that ended are removed. One
    that was killed leaves its file, and who answers at its socket is the one that came after it."""
    taken: set[str] = set()
    for file in sorted(files, key=_written, reverse=True):
        data = _read(file)
        address = None if data is None else _address(file, data)
        if data is None or address is None:
            continue
        if address.socket not in taken and _takes_calls(address):
            taken.add(address.socket)
            yield address, data
        else:
            with suppress(OSError):  # it may be another user's
                file.unlink()


def _written(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:  # it ended a moment ago
        return 0.0


def _read(file: Path) -> dict[str, Any] | None:
    from bmslink.storage.atomic import read_bounded

    try:
        data = read_bounded(file, _LARGEST, "entry of a service")
    except PermissionError as exc:
        raise PortDenied(
            f"A service runs here, and you may not ask it: {file} is not yours to read. Join the "
            f"group {_group(file)} and log in again."
        ) from exc
    except OSError:  # it ended a moment ago
        return None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _group(file: Path) -> str:
    try:
        return file.parent.group()
    except (OSError, KeyError, NotImplementedError):
        return "bmslink"


def _address(file: Path, data: dict[str, Any]) -> ServiceAddress | None:
    """What an entry says of its service; `None` where it has another shape."""
    at, pid, version = (data.get(name) for name in ("socket", "pid", "version"))
    token = data.get("token_file", "")
    told = isinstance(at, str) and isinstance(version, str) and isinstance(token, str)
    if not told or type(pid) is not int or pid <= 0 or "\0" in str(at):
        return None
    return ServiceAddress(str(at), pid, str(version)[:40], file, str(token))


def _packs(data: dict[str, Any]) -> Iterator[_Entry]:
    from bmslink.places import recorded_place

    rows = data.get("packs")
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, dict):
            continue
        name, target, place = (row.get(key) for key in ("name", "target", "place"))
        if isinstance(name, str) and isinstance(target, str) and isinstance(place, dict):
            yield _Entry(name, target, recorded_place({"place": place}))


def _takes_calls(address: ServiceAddress) -> bool:
    """Whether something listens there. One that is too busy to accept, or that this user may not
    reach, counts as well: who asks it gets a sentence."""
    try:
        if address.local:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
                trial.settimeout(_KNOCK)
                trial.connect(address.socket)
        else:
            host, _, port = address.socket.rpartition(":")
            socket.create_connection((host, int(port)), _KNOCK).close()
    except (ConnectionRefusedError, FileNotFoundError, ValueError, AttributeError):
        return False
    except OSError as exc:
        return isinstance(exc, PermissionError | TimeoutError | BlockingIOError)
    return True
