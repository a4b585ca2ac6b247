"""What the doctor knows of a pack and of this computer before anything is judged.

Whatever was not found out is `None` or empty, and `missing` says why.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bmslink.config.checks.cells import KnownCells
from bmslink.config.verify import Verification
from bmslink.errors import BmsError
from bmslink.link.transport import Endpoint
from bmslink.model import Identity, Reading
from bmslink.packs import NamedPack
from bmslink.past import BoardPast
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.settings.setting import Value

__all__ = ["HostFacts", "LineFacts", "PackFacts", "PortFacts"]


@dataclass(slots=True, kw_only=True)
class PortFacts:
    """A serial port, as the system shows it, without opening it."""

    path: str
    exists: bool = True
    others: tuple[str, ...] = ()
    """The other ports there are."""
    allowed: bool = True
    """Whether this user may read and write it."""
    group: str = ""
    """The group that may; empty: none, or not known."""
    owner: str = ""
    holders: tuple[str, ...] = ()
    """Other programs that have it open, as `name (pid 12)`."""
    served: bool = False
    """A service of ours owns it, which is as it should be."""
    stale_lock: str = ""
    """A lock file whose program has ended."""
    usb: str = ""
    """Vendor, product and driver of the adapter."""
    latency: int | None = None
    """The latency timer of an FTDI adapter, ms."""
    latency_file: str = ""


@dataclass(slots=True, kw_only=True)
class LineFacts:
    """What passed on the line while the doctor looked."""

    requests: int = 0
    """While it was read, again and again."""
    timeouts: int = 0
    turnaround: float | None = None
    """s."""
    patience: float = 0.0
    """How long an answer may take, s."""
    frames: int = 0
    bad_frames: int = 0
    """Those that failed their checksum."""
    noise: int = 0
    """Bytes that belong to no frame, our own left out."""
    echoes: int = 0
    """Requests that came back before their answer."""
    asked: int = 0
    """Requests as they stand in the recording."""
    doubles: int = 0
    """Answers that came twice."""
    halves: int = 0
    """Answers without one whole frame."""
    strangers: int = 0
    """Frames of other devices."""
    tails: int = 0
    """Answers before which the end of the one before came again."""
    unasked: int | None = None
    """Bytes that came while nothing was asked; `None`: nobody listened."""
    listened: float = 0.0
    """s."""
    masters: str = ""
    """What those bytes are, in words."""
    woken: int = 0
    """How many requests at the beginning got no answer before one did."""


@dataclass(slots=True, kw_only=True)
class PackFacts:
    """One pack."""

    target: Endpoint
    named: NamedPack | None = None
    service: str = ""
    """The service that owns it, as words."""
    port: PortFacts | None = None
    error: BmsError | None = None
    """Why it could not be opened, or did not answer."""
    heard: str = ""
    """What came instead of an answer: `silence`, `garbage`, `other`."""
    found: tuple[str, ...] = ()
    """Targets of packs that answer on this line in another way."""
    searched: str = ""
    """What the search came to, in words; empty: nobody searched."""
    line: LineFacts | None = None
    streams: bool = False
    """The board sends by itself."""
    identity: Identity | None = None
    readings: tuple[Reading, ...] = ()
    table: SettingsSnapshot | None = None
    cells: KnownCells = field(default_factory=KnownCells)
    settable: frozenset[str] = frozenset()
    """What can be set besides settings: `clock`, `soc`."""
    clock: datetime | None = None
    clock_off: float | None = None
    """s that the board's clock is ahead of this computer's."""
    open_change: str = ""
    verification: Verification | None = None
    orphans: tuple[Mapping[str, Any], ...] = ()
    past: BoardPast | None = None
    """What the board itself remembers."""
    switches: Mapping[str, bool | None] = field(default_factory=dict)
    """How the board shows its switches, where it was asked for them."""
    life: Mapping[str, Any] | None = None
    """What the service knows of the battery's life, as `bmslink life --json`."""
    mates: Mapping[str, Mapping[str, Value | None]] = field(default_factory=dict)
    """The settings of other packs of its bank, by name."""
    policies: tuple[Mapping[str, Any], ...] | None = None
    """What `control check` says of its policy file against its settings."""
    missing: dict[str, str] = field(default_factory=dict)
    """What could not be found out -> why: `settings`, `clock`, …"""
    unanswered: set[str] = field(default_factory=set)
    """Those of them that were asked for, and nothing came."""
    capture: bytes = b""
    """What passed on the line, in the capture format."""

    @property
    def word(self) -> str:
        """How a command names it, quoted for a shell."""
        return shlex.quote(self.target.word)

    @property
    def reading(self) -> Reading | None:
        """The latest."""
        return self.readings[-1] if self.readings else None

    @property
    def values(self) -> Mapping[str, Value | None]:
        """Its settings by key; empty where they are not known."""
        return {} if self.table is None else self.table.values()

    @property
    def answers(self) -> bool:
        """Whether it said anything that was understood."""
        return self.identity is not None or bool(self.readings)

    def why_not(self, what: str) -> str:
        """Why something is not known, in words."""
        if what in self.missing:
            return self.missing[what]
        return "the pack does not answer" if not self.answers else "the board does not say"


@dataclass(slots=True, kw_only=True)
class HostFacts:
    """This computer."""

    versions: Mapping[str, str | None] = field(default_factory=dict)
    """Package -> version; `None`: not installed."""
    ports: tuple[PortFacts, ...] | None = None
    radios: tuple[Mapping[str, Any], ...] | None = None
    """Bluetooth adapters: `name`, `blocked` (`soft`, `hard` or empty)."""
    bluez: bool | None = None
    """Whether BlueZ can be reached."""
    services: tuple[Mapping[str, Any], ...] | None = None
    """Running services: `pid`, `version`, `socket`, `trouble`."""
    stale: tuple[str, ...] = ()
    """Entries of services that ended."""
    wanted: bool = False
    """bmslink.toml is written for a service."""
    unfinished: tuple[Mapping[str, Any], ...] | None = None
    """Changes that were cut off: `target`, `when`, `damage`."""
    damaged: int | None = None
    """Lines of the journal that do not verify."""
    sessions: tuple[Mapping[str, Any], ...] | None = None
    """Balancing sessions that were cut off: `target`, `owner`, `held`."""
    folders: tuple[Mapping[str, Any], ...] = ()
    """Folders that are written to: `path`, `what`, `trouble`, `free` (bytes)."""
    file: str = ""
    """The bmslink.toml that is used, with how many packs it names; empty: there is none."""
    config: str = ""
    """Why bmslink.toml cannot be used; empty: it can, or there is none."""
    private: tuple[tuple[str, str], ...] = ()
    """Files with secrets that others may read, and the sentence about each."""
    clock: str = ""
    """What is wrong with the clock, in words; empty: nothing that can be seen."""
    synchronised: bool | None = None
    remarks: tuple[str, ...] = ()
    """What bmslink.toml has that does nothing."""
    missing: dict[str, str] = field(default_factory=dict)
