"""Takes out of a bug report what names people, boards and places, the same everywhere.

Secrets disappear; serial numbers, Bluetooth addresses and names are replaced by others, one for
each, so that what belongs together still does.
"""

from __future__ import annotations

import getpass
import platform
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bmslink.link.transport import SCHEMES
from bmslink.reports.doctor.bundle.secrets import KnownSecret, is_secret_key

__all__ = ["GONE", "Redactor"]

GONE = "<removed>"
_ADDRESS = re.compile(r"(?<![0-9A-Fa-f:])(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}(?![0-9A-Fa-f:])")
_UUID = re.compile(r"\b[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}\b")
_URL = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*)://([^\s\"'<>]*)")
_SERIAL_KEYS = ("serial_number", "serial", "usb")
_NAME_KEYS = ("user", "who", "author", "login", "hostname")
_COMMAND_KEYS = ("sink_command", "command")
_SHORTEST = 4


class Redactor:
    """Remembers what it replaced by what."""

    def __init__(
        self, secrets: Iterable[KnownSecret] = (), serials: Iterable[str | None] = ()
    ) -> None:
        """`serials`: serial numbers and names of boards that are known before anything is read."""
        self._secrets = sorted({each.value for each in secrets}, key=len, reverse=True)
        self._names: dict[str, str] = {}
        for serial in serials:
            self.pseudonym(serial or "", "serial")
        with suppress(OSError, RuntimeError, KeyError):
            self._person("~", str(Path.home()))
        with suppress(OSError, KeyError, ImportError):
            self._person("user", getpass.getuser())
        self._person("host", platform.node())

    def _person(self, shown: str, name: str) -> None:
        if len(name) >= _SHORTEST and name not in ("root", "localhost", "/root"):
            self._names[name] = shown

    def pseudonym(self, text: str, kind: str) -> str:
        """What stands for a text from now on; too short ones are left."""
        if len(text.strip()) < _SHORTEST:
            return text
        known = self._names.get(text.strip())
        if known is None:
            count = sum(each.startswith(f"{kind}-") for each in self._names.values()) + 1
            known = self._names[text.strip()] = f"{kind}-{count}"
        return known

    @property
    def identifiers(self) -> tuple[str, ...]:
        """What was replaced so far, the longest first."""
        return tuple(sorted(self._names, key=len, reverse=True))

    def text(self, text: str) -> str:
        """A text without secrets, names, addresses."""
        for secret in self._secrets:
            text = text.replace(secret, GONE)
        text = _ADDRESS.sub(lambda m: self._radio(m[0]), text)
        text = _UUID.sub(lambda m: self._radio(m[0]), text)
        for name in self.identifiers:
            text = re.sub(rf"(?<![0-9A-Za-z]){re.escape(name)}", self._names[name], text)
        return _URL.sub(_short, text)

    def _radio(self, address: str) -> str:
        return self.pseudonym(address.upper().replace("-", ":"), "ble")

    def value(self, value: Any, key: str = "") -> Any:
        """A plain value, with everything in it; `key` is what it stands under."""
        if isinstance(value, Mapping):
            return {self.text(str(k)): self.value(v, str(k)) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(each, key) for each in value]
        name = key.lower()
        if value is None or isinstance(value, bool):
            return value
        if is_secret_key(name) and not name.endswith(("_file", "_env")):
            return GONE
        if name in _SERIAL_KEYS and isinstance(value, str | int):
            return self.pseudonym(str(value), "serial")
        if name in _NAME_KEYS and isinstance(value, str):
            return "user"
        if name in _COMMAND_KEYS and isinstance(value, str) and not value.startswith("bmslink "):
            return self.text(value.partition(" ")[0]) + (" …" if " " in value else "")
        return self.text(value) if isinstance(value, str) else value

    def bytes(self, data: bytes) -> bytes:
        """Bytes of a line, with those of every identifier and secret as `x`, equally many."""
        for word in (*self._secrets, *self.identifiers):
            forms = [word.encode("utf-8", "replace")]
            if _ADDRESS.fullmatch(word):
                packed = bytes.fromhex(word.replace(":", ""))
                forms += [packed, packed[::-1]]
            for form in forms:
                data = data.replace(form, b"x" * len(form))
        return data


def _short(match: re.Match[str]) -> str:
    """An address of a service without what follows its host; a target as it is."""
    scheme, rest = match[1], match[2]
    if scheme.rpartition("+")[2].lower() in SCHEMES:
        return match[0]
    if scheme.lower() not in ("http", "https"):
        return f"{scheme}://{GONE}"
    host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    return f"{scheme}://{host}" + (f"/{GONE}" if len(host) < len(rest) else "")
