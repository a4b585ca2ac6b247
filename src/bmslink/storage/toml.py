"""Files that people write in TOML: read with a schema, and every error names the line.

No message repeats a value: it may be a secret.
"""

from __future__ import annotations

import inspect
import json
import re
import time
import tomllib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from bmslink.arguments import decimal_comma, did_you_mean
from bmslink.errors import TargetError
from bmslink.storage.atomic import read_bounded

__all__ = ["Document", "Key", "comma_at", "lines_of", "loads", "read_text", "wait_until_written"]

_LONGEST_FILE = 1 << 16
_WRITTEN, _LOOKS = 0.05, 40
"""A file that did not change for so long, s, is written; how often that is looked at."""
_LONGEST_STATEMENT = 200  # lines; only used to find out where something is
_PLACE = re.compile(r"\(at (?:line (\d+), column \d+|end of document)\)")
_DEEP = re.compile(r"(?<![\w\"'-])(?:[\w\"'-]++\s*+\.\s*+){64}")
_FIELD = re.compile(r"field `(.*)`|\$\.(\w+)", re.DOTALL)
_INNER = re.compile(r"`\$\.(\w+)\[\.\.\.\]")
_TYPES = {
    "str": "text in quotes",
    "object": "a table",
    "array": "a list",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "datetime": "a time",
    "date": "a date",
    "time": "a time of day",
}

T = TypeVar("T")
Key = tuple[str, ...]


def read_text(path: Path, kind: str) -> str:
    """The text of a file that should be a `kind`; none where there is no file.

    Raises `TargetError` for a file that cannot be read, is very long, or is no UTF-8 text.
    """
    try:
        data = read_bounded(path, _LONGEST_FILE, kind)
    except FileNotFoundError:
        return ""
    except OSError as exc:
        raise TargetError(f"{path} cannot be read: {exc.strerror or exc}.") from exc
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise _wrong(path, line, "this is no UTF-8 text") from exc


def wait_until_written(path: Path) -> None:
    """Until nobody seems to write it. Raises `TargetError` after 2 s."""
    before: tuple[int, int] | None = None
    for _ in range(_LOOKS):
        try:
            found = path.stat()
        except OSError:
            return  # reading it says why
        now = (found.st_size, found.st_mtime_ns)
        if now == before:
            return
        before = now
        time.sleep(_WRITTEN)
    raise TargetError(f"{path} is being written: try again when it is whole.")


def loads(text: str) -> dict[str, Any]:
    """The content of a TOML text; `ValueError` for what is no TOML or is nested very deeply.

    A key of thousands of parts (`a.a.a. …`) takes time with the square of their number to read.
    """
    if found := _DEEP.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise ValueError(f"nested too deeply (at line {line}, column 1)")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def comma_at(text: str, message: str) -> str:
    """What to do about a number with a comma in the line that tomllib complains of; else empty."""
    place = _PLACE.search(message)
    if place is None or not place[1]:
        return ""
    line = text.split("\n")[int(place[1]) - 1]
    return decimal_comma(line.partition("=")[2])


class Document:
    """A TOML text and the file it came from; `TargetError` if it is no TOML."""

    def __init__(self, text: str, path: Path) -> None:
        self._text = text
        self._path = path
        try:
            self.content = loads(text)
        except ValueError as exc:
            # Not only TOMLDecodeError: a number of 5000 digits is a plain ValueError.
            found = _PLACE.search(str(exc))
            line = int(found[1]) if found and found[1] else text.count("\n") + 1
            comma = comma_at(text, str(exc))
            why = _PLACE.sub("", str(exc)).strip()
            raise _wrong(path, line, f"{why}.{comma}" if comma else why) from None

    def wrong(self, key: Key, why: str) -> TargetError:
        """The error to raise for what is at a key, or for the nearest table around it."""
        lines = lines_of(self._text)
        place = next((key[:n] for n in range(len(key), 0, -1) if key[:n] in lines), None)
        return _wrong(self._path, lines[place] if place else 1, why)

    def convert(self, kind: type[T], content: Any = None, key: Key = ()) -> T:
        """Check a table (the whole document, if none is given) against a schema."""
        try:
            return msgspec.convert(self.content if content is None else content, kind)
        except msgspec.ValidationError as exc:
            message = str(exc)
        found = _FIELD.search(message)
        name = (found[1] or found[2]) if found else ""
        title = f"[{'.'.join(key)}] " if key else ""
        inner = "[...]" in message and _INNER.search(message)
        if inner:
            # msgspec does not say which entry of a table of tables is wrong.
            self._convert_each(kind, self.content if content is None else content, key, inner[1])
        if message.startswith("Object contains unknown field"):
            known = ", ".join(inspect.signature(kind).parameters)
            ask = did_you_mean(name, inspect.signature(kind).parameters).replace(" D", "d", 1)
            hint = f" ({ask})" if ask else ""
            raise self.wrong((*key, name), f"{title}unknown key {name!r}; known: {known}{hint}")
        if message.startswith("Object missing"):
            words = _words(kind, name)
            choice = " or ".join(json.dumps(each) for each in words)
            hint = f": write {name} = {choice}" if choice else ""
            raise self.wrong(key, f"{title}{name!r} is missing{hint}")
        message = _choices(kind, name, message)
        what = message.partition(" - at ")[0].replace("Expected", "expected")
        what = re.sub(r"`([^`]+)`", lambda kind: _in_words(kind[1]), what)
        subject = f"{name}: " if name else ""
        raise self.wrong((*key, name) if name else key, f"{title}{subject}{what}")

    def _convert_each(self, kind: type[T], content: Any, key: Key, name: str) -> None:
        """Raise the error of the entry that is wrong in a field that is a table of tables."""
        found = get_args(_type_of(kind, name))
        tables = content.get(name) if isinstance(content, dict) else None
        if len(found) == 2 and isinstance(tables, dict):
            for each, table in tables.items():
                self.convert(found[1], table, (*key, name, each))


def _type_of(kind: type[Any], name: str) -> Any:
    """What a field of a schema is made of; `None` where it has no such field."""
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return None
    return next((each.type for each in msgspec.structs.fields(kind) if each.name == name), None)


def _choices(kind: type[Any], name: str, message: str) -> str:
    """What is said of a word that is none of those that can be chosen."""
    words = _words(kind, name)
    return f"expected one of {', '.join(words)}" if words else message


def _words(kind: type[Any], name: str) -> list[str]:
    """What can be chosen for a field; empty where anything else may be there."""
    words = _type_of(kind, name)
    if not (isinstance(words, type) and issubclass(words, Enum)):
        return []
    return [str(each.value) for each in words]


def _in_words(kinds: str) -> str:
    """What msgspec calls `float | null`; no TOML holds a null."""
    words = [_TYPES.get(kind, f"`{kind}`") for kind in kinds.split(" | ") if kind != "null"]
    return " or ".join(dict.fromkeys(words))


def _wrong(path: Path, line: int, why: str) -> TargetError:
    shown = "".join(c if c.isprintable() else "?" for c in why[:400]).rstrip(".")
    return TargetError(f"{path}, line {line}: {shown}{'' if shown.endswith('?') else '.'}")


def lines_of(text: str) -> dict[Key, int]:
    """In which line each table and key begins; the text is known to be valid."""
    lines: dict[Key, int] = {}
    table: Key = ()
    for number, statement in statements(text):
        try:
            content = tomllib.loads(statement)
        except (ValueError, RecursionError):
            continue
        is_table = statement.lstrip().startswith("[")
        keys = list(keys_in(content, () if is_table else table))
        for key in keys:
            lines.setdefault(key, number)
        if is_table and keys:
            table = keys[-1]
    return lines


def statements(text: str) -> Iterator[tuple[int, str]]:
    """Each statement with its first line: the fewest lines that are a document by themselves."""
    waiting: list[str] = []
    start = 1
    for number, line in enumerate(text.split("\n"), 1):
        if not waiting:
            start = number
        waiting.append(line)
        try:
            tomllib.loads("\n".join(waiting))
        except (ValueError, RecursionError):
            if len(waiting) >= _LONGEST_STATEMENT:
                return
            continue
        yield start, "\n".join(waiting)
        waiting = []


def keys_in(content: Any, above: Key) -> Iterator[Key]:
    """All keys that a statement sets, the outer ones first."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield (*above, name)
            yield from keys_in(value, (*above, name))
