"""A zip for a bug report: what was found, and what it was found in, without secrets.

It is made in memory, searched for every secret that is known here, and then written at once.
"""

from __future__ import annotations

import io
import json
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bmslink.errors import GateError, TargetError
from bmslink.jsonable import plain
from bmslink.packs import config_files
from bmslink.protocols.common.settings_now import Settings
from bmslink.reports.doctor.bundle.redact import Redactor
from bmslink.reports.doctor.bundle.secrets import KnownSecret, holds, known_secrets
from bmslink.reports.doctor.examination import Examination
from bmslink.reports.doctor.facts import PackFacts
from bmslink.storage.atomic import read_bounded, replace_file, require_regular
from bmslink.storage.journal import Journal, JournalError

__all__ = ["bundle_files", "may_be_written", "write_bundle"]

_RECORDS = 100
"""Records of the journal, the newest."""
_CAPTURE = 400_000
"""Bytes of a recording."""
_LARGEST = 1 << 20
_README = """A bug report of bmslink. Secrets are taken out; serial numbers, Bluetooth addresses and
user names are replaced, the same everywhere. In recordings they are x, so the checksums of those
frames are wrong. Look through it before you send it.

doctor.json      what was found, and the versions
config.json      bmslink.toml
journal.jsonl    the newest records of the journal
service.json     services that run
pack-N/          identity, reading, settings and a recording of the line
"""


def may_be_written(path: str | Path, *, force: bool = False) -> None:
    """Raises `TargetError` for a name that cannot be a new file, before anything is looked at."""
    place = Path(path)
    try:
        exists = require_regular(place)
    except OSError as error:
        raise TargetError(f"{place} cannot be written: {error.strerror or error}.") from error
    if exists and not force:
        raise TargetError(f"{place} exists already; --force overwrites it.")
    if not place.parent.is_dir():
        raise TargetError(f"{place} cannot be written: {place.parent} is no folder.")


def write_bundle(
    path: str | Path,
    examination: Examination,
    *,
    force: bool = False,
    secrets: Iterable[str] = (),
) -> Path:
    """Write the zip (0600, whole or not at all); gives its path. `secrets`: what the caller was
    given, such as a pin.

    Raises `GateError`, and writes nothing, where a secret would be in it all the same;
    `TargetError` where the file cannot be written.
    """
    may_be_written(path, force=force)
    known = known_secrets(secrets)
    files = dict(bundle_files(examination, known))
    for name, data in files.items():
        seen = _seen(name, data)
        for secret in known:
            if holds(seen, secret):
                raise GateError(
                    f"The bundle was not written: {name} would hold the secret of {secret.where}. "
                    "Please report that; the findings themselves are printed above."
                )
    try:
        replace_file(Path(path), _zipped(files), mode=0o600, overwrite=force)
    except OSError as error:
        raise TargetError(f"{path} cannot be written: {error.strerror or error}.") from error
    return Path(path)


def _zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)  # without the time, and without whose file it is
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o600 << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def bundle_files(
    examination: Examination, secrets: Iterable[KnownSecret] = ()
) -> Iterator[tuple[str, bytes]]:
    """Name -> content of every file, redacted."""
    serials = [
        text
        for facts in examination.packs
        if facts.identity is not None
        for text in (facts.identity.serial_number,)
    ]
    redact = Redactor(secrets, serials)
    yield "README.txt", _README.encode()
    yield "doctor.json", _json(redact, examination.to_dict())
    yield "config.json", _json(redact, _config())
    yield "journal.jsonl", b"".join(_lines(redact, _journal()))
    computer = examination.computer
    if computer is not None:
        told = {"services": computer.services, "sessions": computer.sessions}
        told |= {"unfinished": computer.unfinished, "radios": computer.radios}
        yield "service.json", _json(redact, told)
    for number, facts in enumerate(examination.packs, 1):
        for name, data in _pack(redact, facts):
            yield f"pack-{number}/{name}", data


def _json(redact: Redactor, value: Any) -> bytes:
    clean = redact.value(json.loads(json.dumps(value, default=_plain)))
    return (json.dumps(clean, indent=1, ensure_ascii=False) + "\n").encode()


def _plain(value: Any) -> Any:
    found = plain(value)
    return found if isinstance(found, str | int | float | dict | list | bool) else str(value)


def _lines(redact: Redactor, rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    for row in rows:
        clean = redact.value(json.loads(json.dumps(row, default=_plain)))
        yield (json.dumps(clean, ensure_ascii=False) + "\n").encode()


def _config() -> dict[str, Any]:
    """Each file as it is understood: comments may hold anything, so they stay behind."""
    found: dict[str, Any] = {}
    for path in config_files():
        if path.exists():
            found[path.name] = "It cannot be read as TOML, so it is not here."
            with suppress(OSError, ValueError, RecursionError):
                text = read_bounded(path, _LARGEST, "bmslink.toml").decode()
                found[path.name] = tomllib.loads(text)
    return found


def _journal() -> list[Mapping[str, Any]]:
    try:
        records = list(Journal().records())
    except (JournalError, OSError):
        return []
    return records[-_RECORDS:]


def _pack(redact: Redactor, facts: PackFacts) -> Iterator[tuple[str, bytes]]:
    about: dict[str, Any] = {
        "target": str(facts.target),
        "identity": None if facts.identity is None else facts.identity.to_dict(),
        "error": None if facts.error is None else str(facts.error),
        "missing": facts.missing,
        "line": None if facts.line is None else _fields(facts.line),
        "port": None if facts.port is None else _fields(facts.port),
        "searched": facts.searched,
        "found": list(facts.found),
    }
    yield "about.json", _json(redact, about)
    yield "readings.jsonl", b"".join(_lines(redact, [r.to_dict() for r in facts.readings]))
    if facts.table is not None:
        rows = [row.to_dict() for row in Settings(facts.table).values()]
        yield "settings.jsonl", b"".join(_lines(redact, map(_setting, rows)))
    if facts.capture:
        yield "line.jsonl", b"".join(_capture(redact, facts.capture))


def _fields(thing: Any) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in thing.__dataclass_fields__}


def _setting(row: Mapping[str, Any]) -> dict[str, Any]:
    """A text may be a name or a password, also in its raw bytes: only its key is told."""
    if isinstance(row.get("value"), str) and not row.get("choices"):
        return {**row, "value": None, "raw": None}
    return dict(row)


def _capture(redact: Redactor, capture: bytes) -> Iterator[bytes]:
    """The recording. A name may be cut anywhere, so each direction is cleaned as one run."""
    rows = [json.loads(line) for line in capture[:_CAPTURE].splitlines()[:-1]]
    clean = {way: redact.bytes(_run(rows, way)) for way in ("rx", "tx")}
    at = dict.fromkeys(clean, 0)
    for row in rows:
        way, raw = row.get("dir"), row.pop("hex", None)
        told = redact.value(row)
        if way in clean and raw is not None:
            start, at[way] = at[way], at[way] + len(raw) // 2
            told["hex"] = clean[way][start : at[way]].hex()
        else:
            told["edited"] = "serial numbers and secrets are x"
        yield (json.dumps(told, ensure_ascii=False) + "\n").encode()


def _run(rows: Iterable[Mapping[str, Any]], way: str) -> bytes:
    """All bytes of one direction."""
    return b"".join(bytes.fromhex(str(r.get("hex", ""))) for r in rows if r.get("dir") == way)


def _seen(name: str, data: bytes) -> bytes:
    """What is searched for secrets: a recording also as the bytes that it is of."""
    if not name.endswith("line.jsonl"):
        return name.encode() + b"\n" + data
    rows = [json.loads(line) for line in data.splitlines()]
    return data + _run(rows, "rx") + b"\n" + _run(rows, "tx")
