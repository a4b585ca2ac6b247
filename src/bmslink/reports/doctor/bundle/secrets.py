"""Every secret that this computer's configuration knows, and every form in which one could hide.

A bundle for a bug report is searched for all of them before it is written.
"""

from __future__ import annotations

import base64
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from bmslink.link.transport import SCHEMES
from bmslink.packs import config_files
from bmslink.storage.atomic import read_bounded

__all__ = ["KnownSecret", "holds", "is_secret_key", "known_secrets"]

_WORDS = ("pin", "password", "passwd", "passcode", "token", "secret", "credential", "apikey",
          "api_key", "ssid", "wifi", "psk", "login")  # fmt: skip
_PARTS = re.compile(r"[_\-.\s]+")
_SHORTEST = 4
"""Characters: shorter ones are everywhere; they are taken out by their keys."""
_BOUND = 8
"""Shorter ones count only where no letter or digit stands beside them: pins are numbers."""
_LONGEST = 1 << 16


@dataclass(frozen=True, slots=True)
class KnownSecret:
    """One secret. It is never shown."""

    where: str
    """Where it is from: `bmslink.toml packs.van.pin`, `BMSLINK_PIN`."""
    value: str

    def __repr__(self) -> str:
        return f"KnownSecret({self.where!r}, ...)"


def is_secret_key(key: str) -> bool:
    """Whether what stands under a key may be a secret."""
    name = key.lower()
    parts = [part for part in _PARTS.split(name) if part]
    return any(word in parts or (len(word) > 3 and word in name) for word in _WORDS)


def known_secrets(more: Iterable[str] = ()) -> tuple[KnownSecret, ...]:
    """All of them: of bmslink.toml and the files that it names, of the environment, of what systemd
    handed over, and `more` that the caller was given. What cannot be read holds none for us."""
    found: dict[str, KnownSecret] = {}
    for where, value in (*_of_files(), *_of_environment(), *(("given", each) for each in more)):
        for part in _parts(value):
            if len(part) >= _SHORTEST:
                found.setdefault(part, KnownSecret(where, part))
    return tuple(found.values())


def _parts(value: str) -> Iterator[str]:
    """A secret, its lines, and of an address everything in it that may be one."""
    text = value.strip()
    yield text
    if "\n" in text:
        yield from (line.strip() for line in text.splitlines())
    if "://" not in text:
        return
    with suppress(ValueError):
        url = urlsplit(text)
        yield unquote(url.password or "")
        pieces = [url.username or "", *url.path.split("/"), url.fragment]
        pieces += [each for _, each in parse_qsl(url.query)]
        plain = url.scheme.lower() in ("http", "https")
        if not plain:
            pieces.append(url.netloc.rpartition("@")[2])  # apprise puts tokens where hosts are
        for each in map(unquote, pieces):
            if len(each) >= _BOUND and not (plain and _is_word(each)):
                yield each


def _is_word(text: str) -> bool:
    """Whether a part of a path is one that people read: `services`."""
    return len(text) < 2 * _BOUND and text.isalpha() and text.islower()


def _of_files() -> Iterator[tuple[str, str]]:
    for path in config_files():
        with suppress(OSError, ValueError, RecursionError):
            content = tomllib.loads(read_bounded(path, _LONGEST * 16, "bmslink.toml").decode())
            yield from _of_table(content, path, ())


def _of_table(value: Any, path: Path, keys: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _of_table(each, path, (*keys, str(key)))
    elif isinstance(value, list):
        for each in value:
            yield from _of_table(each, path, keys)
    elif isinstance(value, str) and keys:
        where = f"{path.name} {'.'.join(keys)}"
        key = keys[-1].lower()
        if key.endswith("_file"):
            with suppress(OSError, ValueError):
                place = path.parent / Path(value).expanduser()
                yield where, read_bounded(place, _LONGEST, "secret").decode()
        elif key.endswith("_env"):
            yield where, os.environ.get(value, "")
        elif is_secret_key(key) or _is_address(value):
            yield where, value


def _is_address(value: str) -> bool:
    """An address of a service: what follows its host may be a secret. Targets are none."""
    scheme = value.partition("://")[0].rpartition("+")[2].lower()
    return "://" in value and scheme not in SCHEMES


def _of_environment() -> Iterator[tuple[str, str]]:
    for name, value in os.environ.items():
        if name.upper().startswith("BMSLINK") and is_secret_key(name):
            yield name, value
            if os.sep in value:
                with suppress(OSError, ValueError):
                    yield name, read_bounded(Path(value), _LONGEST, "secret").decode()
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    with suppress(OSError):
        for file in sorted(Path(folder).iterdir()) if folder else ():
            with suppress(OSError, ValueError):
                yield f"credential {file.name}", read_bounded(file, _LONGEST, "secret").decode()


# ------------------------------------------------------------------------------------- finding them


def holds(data: bytes, secret: KnownSecret) -> bool:
    """Whether bytes hold a secret in any usual form: as text, in hex, base64, UTF-16, quoted."""
    value = secret.value
    plain = value.encode()
    if len(value) < _BOUND:
        edge = rb"[0-9A-Za-z]"
        if re.search(rb"(?<!" + edge + rb")" + re.escape(plain) + rb"(?!" + edge + rb")", data):
            return True
    elif plain in data:
        return True
    lower = data.lower()
    hexes = (plain.hex(), plain.hex(" "), plain.hex(":"))
    if any(each.encode() in lower for each in hexes):
        return True
    forms = {value.encode("utf-16-le"), value.encode("utf-16-be")}
    forms |= {quote(value, safe="").encode(), quote_plus(value).encode()} - {plain}
    forms |= set(_base64(plain))
    return any(form in data for form in forms)


def _base64(plain: bytes) -> Iterator[bytes]:
    """The middle of its base64 at each of the three places where it can begin in longer bytes."""
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + plain)
        middle = coded[(0, 2, 3)[shift] : len(coded) - (4 if coded.endswith(b"=") else 0)]
        if len(middle) >= _SHORTEST + 2:
            yield middle
            yield middle.replace(b"+", b"-").replace(b"/", b"_")
