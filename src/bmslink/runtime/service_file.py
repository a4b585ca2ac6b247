"""What the service reads of bmslink.toml: `[service]`, and the keys of `[packs.NAME]` for it.

```toml
[service]
socket = "/run/bmslink/bmslink.sock"   # where `bmslink` finds it; has a default
tcp = "127.0.0.1:8720"                 # only where it is given; wants a token
token_file = "/etc/bmslink/token"      # with the token; made where there is none
remote = false                         # true: tcp may be an address that other machines reach
hosts = ["van.lan"]                    # names of this machine that requests over TCP may use
interval = 1                           # s between two readings of a pack
slow_interval = 600                    # s between two looks at settings, counters and identity
policies = "lfp.toml"                  # for packs that name no file of their own

[packs.van]
target = "jbd+serial:///dev/ttyUSB0"
interval = 2
policies = "van.toml"                  # beside bmslink.toml, unless it is written whole
enforce = true                         # they act, once `bmslink control approve` was said
untested = false                       # true: also switches that nobody has tried on a board
sink_command = "/usr/bin/my-inverter"  # gets their limits as JSON lines
```

Everything wrong with the file is a `TargetError` that names the file and the line.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from bmslink.control.decide.policy import PolicySet
from bmslink.control.files import load_policies, parse_policies
from bmslink.errors import TargetError
from bmslink.link.transport import Endpoint, parse_target, split_host
from bmslink.packs import Interval, NamedPack, SlowInterval, config_files, find_pack, parse_packs
from bmslink.places import Place, is_loopback, where
from bmslink.runtime.acting.limit_sinks import CommandSink
from bmslink.runtime.banks.alike import carriers
from bmslink.runtime.service_sections import load_sections, section_remarks
from bmslink.storage.toml import Document, read_text, wait_until_written
from bmslink.target import resolve_each

__all__ = [
    "PackPlan",
    "PolicyFile",
    "ServiceOptions",
    "ServicePlan",
    "load_plan",
    "service_path",
]

INTERVAL, SLOW_INTERVAL = 1.0, 600.0
_MOST_PACKS = 4096

Section = TypeVar("Section", bound=msgspec.Struct)
_NOT_IN_NAMES = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """`[service]`."""

    socket: str | None = None
    """Path of the unix socket; `None`: the default one."""
    tcp: str | None = None
    """HOST:PORT; `None`: not over TCP."""
    token_file: str | None = None
    """Path of a file with the token for TCP."""
    remote: bool = False
    """Whether other machines may reach the port."""
    hosts: tuple[str, ...] = ()
    """Names of this machine, besides its addresses, that requests over TCP may use."""


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy file as it was read."""

    path: str
    sha256: str
    policies: PolicySet = field(compare=False, repr=False)
    text: str = field(default="", compare=False, repr=False)
    """All of it, as a person approves it."""

    @classmethod
    def load(cls, path: Path) -> PolicyFile:
        """Read it; raises `TargetError`."""
        if not (text := read_text(path, "policy file")):
            return cls(str(path), hashlib.sha256().hexdigest(), load_policies(path))
        policies = parse_policies(text, path)  # what is approved is what is judged by
        return cls(str(path), hashlib.sha256(text.encode()).hexdigest(), policies, text)


@dataclass(frozen=True, slots=True)
class PackPlan:
    """One pack to serve. Two that are equal are served in the same way."""

    name: str
    """As it is called in the API and in messages: letters, digits, `-`, `_` and `.`."""
    target: str
    """What is opened, whole."""
    endpoint: Endpoint = field(compare=False)
    interval: float = INTERVAL
    slow_interval: float = SLOW_INTERVAL
    policies: PolicyFile | None = None
    named: NamedPack | None = None
    enforce: bool = False
    """Its policies act, as far as a person approved them."""
    untested: bool = False
    """They may set switches that nobody has tried on a board."""
    sink_command: str | None = None
    """The program that gets their limits as JSON lines."""
    carried_by: str = ""
    """The bank whose `sink_command` carries their limits out, as part of its own; empty: none."""


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """What a service is to do."""

    packs: tuple[PackPlan, ...]
    options: ServiceOptions = ServiceOptions()
    path: Path | None = None
    """The file that was read, if one was."""
    remarks: tuple[str, ...] = ()
    """What a person should know of the file, though nothing is wrong."""
    asked: tuple[tuple[str, ...], Path | None] = ((), None)
    """The arguments that `load_plan` made it of."""
    sections: tuple[msgspec.Struct, ...] = ()
    """The further sections that the file has, by `service_sections.SECTIONS`."""

    given: tuple[msgspec.Struct, ...] = ()
    """Sections that the command line gave, in place of those of the file."""

    def section(self, kind: type[Section]) -> Section | None:
        """The section of this schema; `None` where the file has none: it is off then."""
        return next((each for each in self.sections if isinstance(each, kind)), None)

    def beside(self, text: str) -> Path:
        """A path as the file means it: from its own folder, unless it is whole."""
        folder = Path() if self.path is None else self.path.parent
        return folder / Path(text).expanduser()

    def read_again(self) -> ServicePlan:
        """The same of what the file says now; raises what `load_plan` raises.

        It is the file that was read before, also where another place has one by now: a file that
        is gone is a mistake, and not a service without its policies. One that is being written is
        waited for: it may be whole TOML, and lack its last packs.
        """
        targets, given = self.asked
        path = self.path or given
        if path is not None:
            wait_until_written(path)
        found = load_plan(targets, path)
        for section in self.given:
            found = found.with_section(section)
        return found

    def with_section(self, section: msgspec.Struct) -> ServicePlan:
        """The same with a section that the command line gave."""
        kind = type(section)
        others = tuple(each for each in self.sections if not isinstance(each, kind))
        kept = tuple(each for each in self.given if not isinstance(each, kind))
        return replace(self, sections=(*others, section), given=(*kept, section))


_HostName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,253}$")]


class _Service(msgspec.Struct, forbid_unknown_fields=True):
    socket: str | None = None
    tcp: str | None = None
    token_file: str | None = None
    remote: bool = False
    hosts: tuple[_HostName, ...] = ()
    interval: Interval = INTERVAL
    slow_interval: SlowInterval = SLOW_INTERVAL
    policies: str | None = None


def service_path() -> Path:
    """The file of a service that was not given one: the first there is."""
    places = config_files()
    return next((path for path in places if path.exists()), places[0])


def load_plan(targets: Sequence[str] = (), path: Path | None = None) -> ServicePlan:
    """What to serve: the targets (names or whole), or all packs of the file where there are none.

    Raises `TargetError` for a file or target that holds anything wrong, and where there is nothing
    to serve.
    """
    place = path or service_path()
    if path is not None and not path.exists():
        raise TargetError(f"{path} does not exist.")
    reader = _ServiceReader(place)
    plans = [*reader.targets(targets)] if targets else [*reader.all()]
    if not plans:
        raise TargetError(
            f"There is nothing to serve: {place} names no packs. Name a pack there (`bmslink packs "
            "add`), or give a target, as in `bmslink serve sim://jbd`."
        )
    if len(plans) > _MOST_PACKS:
        raise TargetError(f"{len(plans)} packs are more than one service carries ({_MOST_PACKS}).")
    plans = _distinct(plans)
    sections = reader.sections(plans, some=bool(targets))
    return ServicePlan(
        tuple(reader.in_banks(plans, sections)),
        reader.options,
        place if place.exists() else None,
        reader.remarks,
        (tuple(targets), path),
        sections,
    )


class _ServiceReader:
    """One bmslink.toml, read for the service."""

    def __init__(self, path: Path) -> None:
        self._path = path
        text = read_text(path, "bmslink.toml")  # once: somebody may be writing it
        self._document = Document(text, path)
        self._packs = parse_packs(text, path)
        table: Any = self._document.content.get("service", {})
        self._service = self._document.convert(_Service, table, ("service",))
        self.options = self._checked(self._service)
        self._files: dict[Path, PolicyFile] = {}

    @property
    def remarks(self) -> tuple[str, ...]:
        """About keys that do nothing."""
        bare = [
            pack.name
            for pack in self._packs.values()
            if pack.enforce and not (pack.policies or self._service.policies)
        ]
        found = section_remarks(self._document)
        if bare:
            return (f"enforce = true without policies does nothing ({', '.join(bare)}).", *found)
        return found

    def _checked(self, found: _Service) -> ServiceOptions:
        if found.tcp is not None:
            key = ("service", "tcp")
            try:
                host, _ = split_host(found.tcp)
            except TargetError as exc:
                raise self._document.wrong(key, f"tcp: {exc}") from exc
            if found.token_file is None:
                raise self._document.wrong(key, "tcp needs token_file, a file with a token in it")
            if not found.remote and not is_loopback(host):
                raise self._document.wrong(
                    key, f"other machines may reach {host}: remote = true says that this is meant"
                )
        hosts = tuple(host.lower() for host in found.hosts)
        return ServiceOptions(
            self._beside(found.socket),
            found.tcp,
            self._beside(found.token_file),
            found.remote,
            hosts,
        )

    def sections(
        self, plans: Sequence[PackPlan] = (), *, some: bool = False
    ) -> tuple[msgspec.Struct, ...]:
        """The further sections that are there, for these packs. `some`: the file may have others,
        which are not served."""
        names = [plan.name for plan in plans]
        if some:
            served = {plan.named.name for plan in plans if plan.named is not None}
            names += [name for name in self._packs if name not in served]
        return load_sections(self._document, names)

    def in_banks(self, plans: Sequence[PackPlan], sections: Sequence[object]) -> list[PackPlan]:
        """The packs, as the banks have them. Raises `TargetError` for packs that cannot be one."""
        known = {p.name: p.policies.policies.battery for p in plans if p.policies is not None}
        sinks = {plan.name for plan in plans if plan.sink_command is not None}
        carried = carriers(self._document, sections, known, sinks)
        return [replace(plan, carried_by=carried.get(plan.name, "")) for plan in plans]

    def _beside(self, text: str | None) -> str | None:
        """A path as the file means it: from its own folder, unless it is whole."""
        return None if text is None else str(self._path.parent / Path(text).expanduser())

    def all(self) -> list[PackPlan]:
        """Every pack of the file."""
        return [plan for pack in self._packs.values() for plan in self._plans(pack, pack.target)]

    def targets(self, words: Sequence[str]) -> list[PackPlan]:
        """The packs that these words mean: names of this file or others, and whole targets."""
        plans: list[PackPlan] = []
        for word in words:
            pack = self._packs.get(word) or find_pack(word)
            plans += self._plans(pack, word if pack is None else pack.target)
        return plans

    def _plans(self, pack: NamedPack | None, target: str) -> list[PackPlan]:
        name = "" if pack is None else pack.name
        start: Endpoint | str = target
        if pack is not None:
            parsed = parse_target(target)
            start = Endpoint(parsed.scheme, parsed.place, parsed.protocol, parsed.query, name)
        own, service = pack or NamedPack("", target), self._service
        return [
            PackPlan(
                name=_name_of(endpoint),
                target=str(endpoint),
                endpoint=endpoint,
                interval=own.interval or service.interval,
                slow_interval=own.slow_interval or service.slow_interval,
                policies=self._policies(own),
                named=pack,
                enforce=own.enforce and self._policies(own) is not None,
                untested=own.untested,
                sink_command=self._sink(own),
            )
            for endpoint in resolve_each(start)
        ]

    def _sink(self, pack: NamedPack) -> str | None:
        """The command for its limits, which is none where its words do not end."""
        command = pack.sink_command
        if command is not None:
            try:
                CommandSink(command)
            except TargetError as exc:
                key = ("packs", pack.name, "sink_command")
                raise self._document.wrong(key, f"sink_command: {exc}") from exc
        return command

    def _policies(self, pack: NamedPack) -> PolicyFile | None:
        text = pack.policies or self._service.policies
        if text is None:
            return None
        path = self._path.parent / Path(text).expanduser()
        if path not in self._files:
            key = ("packs", pack.name, "policies") if pack.policies else ("service", "policies")
            if not path.exists():
                raise self._document.wrong(key, f"policies: there is no file {path}")
            self._files[path] = PolicyFile.load(path)
        return self._files[path]


def _name_of(endpoint: Endpoint) -> str:
    """A name that fits into an address of the API."""
    place = endpoint.place if endpoint.scheme != "sim" else endpoint.protocol or "sim"
    address = endpoint.query.get("address")
    found = endpoint.name or (place.rpartition("/")[2] + (f"-{address}" if address else ""))
    return _NOT_IN_NAMES.sub("-", found).strip("-.") or "pack"


def _distinct(plans: Sequence[PackPlan]) -> list[PackPlan]:
    """Each with a name of its own; `TargetError` for the same target twice."""
    found: dict[str, PackPlan] = {}
    targets: set[str] = set()
    places: dict[str, list[tuple[Place, PackPlan]]] = {}
    for plan in plans:
        if plan.target in targets:
            raise TargetError(f"{plan.target} is to be served twice; name it once.")
        targets.add(plan.target)
        _require_other_place(plan, places)
        name, number = plan.name, 1
        while name in found:
            number += 1
            name = f"{plan.name}-{number}"
        found[name] = replace(plan, name=name)
    return [*found.values()]


def _require_other_place(plan: PackPlan, places: dict[str, list[tuple[Place, PackPlan]]]) -> None:
    """`TargetError` where a pack is there already under another name of its port: two would judge
    and switch it. Simulated packs are each one of their own."""
    if plan.endpoint.scheme in ("sim", "replay"):
        return
    place = where(plan.endpoint, ask=False)
    for key in place.names:
        for there, other in places.setdefault(key, []):
            if place.same(there) and plan.endpoint.protocol == other.endpoint.protocol:
                raise TargetError(
                    f"{other.name} and {plan.name} are one pack ({other.target} and {plan.target} "
                    "lead to the same place); name it once."
                )
        places[key].append((place, plan))
