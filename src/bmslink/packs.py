"""Named packs: one file, `bmslink.toml`, so that `bmslink read van` is enough.

```toml
[packs.van]
target = "jbd+serial:///dev/ttyUSB0"
pin = "123456"          # the only place for a secret; it is never shown
chemistry = "lfp"       # what its cells are made of: lfp, nmc, lto, na-ion
rating_current = 100    # A, what the weakest of cells, cables and board bears for long
fuse = 125              # A
interval = 1            # s between readings, for `bmslink serve`; see runtime/service_file.py
```

The file is where BMSLINK_CONFIG says; without that, in the user's configuration folder, and names
that are not there are looked for in that of a system service (/etc/bmslink). The working directory
is not searched: a name must mean the same battery wherever it is typed.

Everything wrong with the file is a `TargetError` that names the file and the line.
"""

from __future__ import annotations

import os
import re
import tomllib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec

from bmslink.arguments import did_you_mean
from bmslink.config_place import config_files, config_path
from bmslink.errors import TargetError
from bmslink.link.transport import SCHEMES, Endpoint, Pin, parse_target
from bmslink.named_banks import Banks, in_parallel, load_banks
from bmslink.protocols import DRIVERS, VENDORS, is_protocol, unknown_protocol
from bmslink.settings.chemistry import chemistry as find_chemistry
from bmslink.storage.atomic import replace_file, require_regular
from bmslink.storage.toml import Document, keys_in, read_text, statements

__all__ = [
    "Interval",
    "NamedPack",
    "SlowInterval",
    "add",
    "config_files",
    "config_path",
    "find_pack",
    "find_pin",
    "load_packs",
    "named",
    "parse_packs",
    "remember_chemistry",
    "remove",
    "require_free",
]

_NAME = re.compile(r"[^\W_][\w-]{0,63}")


@dataclass(frozen=True, slots=True)
class NamedPack:
    """One `[packs.NAME]`."""

    name: str
    target: str
    pin: str | None = field(default=None, repr=False)
    chemistry: str | None = None
    """What somebody who knows says of its cells: a name of `CHEMISTRIES`."""
    rating_current: float | None = None
    """What it bears for long, A."""
    fuse: float | None = None
    """A."""
    interval: float | None = None
    """For the service: s between readings."""
    slow_interval: float | None = None
    """s between two looks at settings, counters and identity."""
    policies: str | None = None
    """The policy file, as written."""
    enforce: bool = False
    """Its policies act under the service, as far as a person approved them."""
    untested: bool = False
    """They may set switches that nobody has tried on a board."""
    sink_command: str | None = None
    """The program that gets their limits as JSON lines."""
    bank: str = field(default="", compare=False)
    """The bank of packs in parallel that it is in; empty: none."""


_Amps = Annotated[float, msgspec.Meta(gt=0, le=10000)]
Interval = Annotated[float, msgspec.Meta(ge=0.1, le=3600)]
SlowInterval = Annotated[float, msgspec.Meta(ge=10, le=604800)]


class _Pack(msgspec.Struct, forbid_unknown_fields=True):
    target: str
    pin: str | None = None
    chemistry: str | None = None
    rating_current: _Amps | None = None
    fuse: _Amps | None = None
    interval: Interval | None = None
    slow_interval: SlowInterval | None = None
    policies: str | None = None
    enforce: bool = False
    untested: bool = False
    sink_command: str | None = None


class _PacksFile(msgspec.Struct, forbid_unknown_fields=True):
    packs: dict[str, Any] = {}
    service: dict[str, Any] = {}  # checked by `bmslink.runtime.service_file`, as these are:
    history: dict[str, Any] = {}
    alerts: dict[str, Any] = {}
    banks: dict[str, Any] = {}


def load_packs(path: Path | None = None) -> dict[str, NamedPack]:
    """The named packs in the order of the file, or of all files; none where there is no file.

    Raises `TargetError` for a file that cannot be read or holds anything wrong.
    """
    found: dict[str, NamedPack] = {}
    for each in config_files() if path is None else [path]:
        packs = parse_packs(read_text(each, "bmslink.toml"), each)
        found |= {name: pack for name, pack in packs.items() if _find(found, name) is None}
    return found


def named(text: str) -> str:
    """The target behind a name; any other text as it is.

    Raises `TargetError` for a file that holds anything wrong, and for a name that is not in it.
    """
    if not _may_be_name(text):
        return text  # the file is not even looked at: a path or port wins
    packs = load_packs()
    pack = _find(packs, text)
    if pack is not None:
        return pack.target
    if packs:
        raise TargetError(
            f"There is no pack named {text!r} in {config_files()[-1]}; there are: "
            f"{', '.join(packs)}.{did_you_mean(text, packs)} A target is written like jbd+serial:///dev/ttyUSB0."
        )
    return text


def find_pack(text: str) -> NamedPack | None:
    """What bmslink.toml says of the pack of that name; `None` for a target that is no name of it.

    Raises `TargetError` for a file that holds anything wrong.
    """
    return _find(load_packs(), text) if _may_be_name(text) else None


def find_pin(
    text: str | None, given: str | None = None, ask: Callable[[str], str | None] | None = None
) -> Pin:
    """The pin for a target or name: as given, else BMSLINK_PIN, else the one beside the name in
    the file, else what `ask` says when a device wants one. `text` is `None` where no pack is
    known yet, as in a scan.

    Raises `TargetError` for a pin that cannot be one.
    """
    pin = given if given is not None else os.environ.get("BMSLINK_PIN") or None
    if pin is None and text is not None and _may_be_name(text):
        pack = find_pack(text)
        pin = pack.pin if pack is not None else None
    return Pin(pin, ask)


def _may_be_name(text: str) -> bool:
    return bool(_NAME.fullmatch(text)) and not _port(text)


def add(name: str, target: str, *, force: bool = False, path: Path | None = None) -> Path:
    """Name a pack; gives back the file. Comments and everything else in it stay.

    `force` gives a name that exists another target (the rest of it stays: a name means the same
    battery wherever it is connected). Raises `TargetError` for a
    name or target that cannot be, a damaged file, and one that cannot be written.
    """
    check_name(name)
    check_target(target)

    def change(document: Any, packs: Mapping[str, NamedPack]) -> dict[str, NamedPack]:
        import tomlkit

        old = _find(packs, name)
        if old is not None and not force:
            raise TargetError(f"{old.name} exists already ({old.target}); --force replaces it.")
        if old is not None:
            document["packs"][old.name]["target"] = target
            return {**packs, old.name: replace(old, target=target)}
        table = tomlkit.table()
        table["target"] = target
        if "packs" not in document:
            document["packs"] = tomlkit.table(is_super_table=True)
        document["packs"][name] = table
        return {**packs, name: NamedPack(name, target)}

    return _edit(path or config_path(), change)


def require_free(name: str) -> None:
    """`TargetError` for a name that a pack has already, or that none can have."""
    check_name(name)
    path = config_path()
    old = _find(parse_packs(read_text(path, "bmslink.toml"), path), name)
    if old is not None:
        raise TargetError(f"{old.name} exists already ({old.target}): choose another name.")


def remember_chemistry(name: str, kind: str, *, path: Path | None = None) -> Path:
    """Store what the cells of a named pack are made of; gives back the file.

    Raises `TargetError` as `add` does, and for a chemistry that is none.
    """
    place, known = path or config_path(), find_chemistry(kind).name

    def change(document: Any, packs: Mapping[str, NamedPack]) -> dict[str, NamedPack]:
        old = _find(packs, name)
        if old is None:
            raise TargetError(f"There is no pack named {name!r} in {place}.")
        document["packs"][old.name]["chemistry"] = known
        return {**packs, old.name: replace(old, chemistry=known)}

    return _edit(place, change)


def remove(name: str, *, path: Path | None = None) -> Path:
    """Forget a name; gives back the file. Raises `TargetError` as `add` does."""
    place = path or config_path()

    def change(document: Any, packs: Mapping[str, NamedPack]) -> dict[str, NamedPack]:
        old = _find(packs, name)
        if old is None:
            known = f"there are: {', '.join(packs)}" if packs else "none is named there"
            raise TargetError(f"There is no pack named {name!r} in {place}; {known}.")
        del document["packs"][old.name]
        return {n: pack for n, pack in packs.items() if n != old.name}

    return _edit(place, change, lambda text, packs: _cut(text, _find(packs, name)))


def check_name(name: str) -> None:
    """`TargetError` for a name that could be taken for something else."""
    if not _NAME.fullmatch(name):
        raise TargetError(
            f"{name!r} cannot name a pack: use letters, digits, - and _, beginning with a letter "
            "or digit, at most 64."
        )
    if _port(name):
        raise TargetError(f"{name!r} cannot name a pack: it looks like a serial port.")
    for what, taken in (("vendor", VENDORS), ("protocol", DRIVERS), ("scheme", SCHEMES)):
        if name.lower() in taken:
            raise TargetError(f"{name!r} cannot name a pack: it is the name of a {what}.")


def check_target(target: str) -> Endpoint:
    """The target of a named pack, taken apart; `TargetError` if it cannot be one."""
    endpoint = parse_target(target)
    if endpoint.protocol not in (None, *VENDORS) and not is_protocol(endpoint.protocol):
        raise unknown_protocol(str(endpoint.protocol))
    relative = endpoint.place.startswith(".") or not Path(endpoint.place).is_absolute()
    if relative and (endpoint.scheme == "replay" or endpoint.place.startswith(".")):
        raise TargetError(f"{endpoint.place!r} means another file in each folder: write it whole.")
    return endpoint


def _port(name: str) -> bool:
    """Whether a word is a serial port as it is."""
    try:
        parse_target(name)
    except TargetError:
        return False
    return True


def _fold(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _find(packs: Mapping[str, NamedPack], name: str) -> NamedPack | None:
    return next((p for p in packs.values() if _fold(p.name) == _fold(name)), None)


def parse_packs(text: str, path: Path) -> dict[str, NamedPack]:
    """The named packs of the text of a bmslink.toml; `path` is for the messages. Raises
    `TargetError`."""
    document = Document(text, path)
    packs: dict[str, NamedPack] = {}
    for name, table in document.convert(_PacksFile).packs.items():
        key = ("packs", name)
        row = document.convert(_Pack, table, key)
        same = _find(packs, name)
        if same is not None:
            raise document.wrong(key, f"{name!r} and {same.name!r} are the same name")
        try:
            check_name(name)
        except TargetError as exc:
            raise document.wrong(key, str(exc)) from exc
        try:
            check_target(row.target)
        except TargetError as exc:
            raise document.wrong((*key, "target"), f"[packs.{name}] {exc}") from exc
        kind = row.chemistry
        if kind is not None:
            try:
                kind = find_chemistry(kind).name
            except TargetError as exc:
                raise document.wrong((*key, "chemistry"), f"[packs.{name}] {exc}") from exc
        told = {name: getattr(row, name) for name in row.__struct_fields__}
        packs[name] = NamedPack(name, **{**told, "chemistry": kind})
    banks = load_banks(document) if "banks" in document.content else Banks()
    for name, bank in in_parallel(banks).items():
        if name in packs:
            packs[name] = replace(packs[name], bank=bank)
    return packs


# ------------------------------------------------------------------------------------- writing

_Change = Callable[[Any, Mapping[str, NamedPack]], dict[str, NamedPack]]


def _cut(text: str, pack: NamedPack | None) -> str:
    """The text without the table of a pack. What follows its last key stays: a comment there
    may be the next table's, while tomlkit takes it for this one's."""
    kept: list[str] = []
    waiting: list[str] = []
    inside = False
    for _, statement in statements(text):
        content = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            inside = pack is not None and list(keys_in(content, ()))[-1:] == [("packs", pack.name)]
        if inside:
            waiting = [] if content else [*waiting, statement]
        else:
            kept += [*waiting, statement]
            waiting = []
    return "\n".join([*kept, *waiting])


def _edit(
    path: Path,
    change: _Change,
    simply: Callable[[str, Mapping[str, NamedPack]], str] = lambda text, packs: text,
) -> Path:
    """Change the file and nothing else in it; what would not read back as meant is not written.

    `simply` is tried first: how the text may look if it is written as most are.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    text = read_text(path, "bmslink.toml")
    before = parse_packs(text, path)  # a damaged file is not written over
    try:
        document = tomlkit.parse(text)
        after = change(document, before)
        edited = simply(text, before)
        if not _reads_as(edited, after, path):
            edited = tomlkit.dumps(document)
    except TargetError:
        raise
    except (TOMLKitError, KeyError, TypeError, ValueError, RecursionError):
        edited, after = "", None  # a way of writing tables that tomlkit cannot add to
    if after is None or not _reads_as(edited, after, path):
        raise TargetError(f"{path} is written in a way that cannot be changed here; edit it.")
    _write(path, edited.encode())
    return path


def _reads_as(text: str, packs: Mapping[str, NamedPack], path: Path) -> bool:
    """Whether a file with this text names these packs. Some releases of tomlkit write what is no
    TOML: the fault is theirs then, and not one of the file's."""
    try:
        return parse_packs(text, path) == packs
    except TargetError:
        return False


def _write(path: Path, data: bytes) -> None:
    """Replace the file in one step. A new one is for its owner alone: it may hold a pin."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(path, data, mode=None if require_regular(path) else 0o600)
    except OSError as exc:
        link = " BMSLINK_CONFIG may name the file itself." if path.is_symlink() else ""
        raise TargetError(f"{path} cannot be written: {exc.strerror or exc}.{link}") from exc
