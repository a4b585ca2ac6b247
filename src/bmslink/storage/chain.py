"""Files of records that only grow: a JSON object a line, each checked, each naming the one before.

A record ends with `"prev"`, the hash of the line before it in the same file, and `"hash"`, that of
all its own bytes before it. So an altered byte, a line that was taken out and one that was put in
are found. A last line without its end is what a power cut leaves: it was never confirmed to
anybody, and the next record takes its place. Lines of schema 1 have no hash; the first record
behind them names the last of them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from bmslink.storage.atomic import require_regular

__all__ = ["ChainLine", "add", "open_regular", "read_lines", "take"]

_MARK = b', "hash": "'
_DIGITS = 32
_END = re.compile(rb'[0-9a-f]{32}"\}')
_LONGEST = 4 << 20
"""Bytes of a line; what is longer is no record of ours."""
_PIECE = 1 << 16
_AGAIN = 0.005
"""Between two tries to be the only one who appends, s."""
_ALWAYS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"))
"""Flags that some systems do not have."""

State = Literal["sound", "old", "damaged", "torn", "gap"]

if sys.platform == "win32":
    import msvcrt

    _BEHIND = 1 << 30  # the byte that is locked cannot be read by others: none of the text

    def take(handle: int) -> None:
        """Lock an open file for this process; `OSError` at once if another has it."""
        os.lseek(handle, _BEHIND, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def take(handle: int) -> None:
        """Lock an open file for this process; `OSError` at once if another has it."""
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


class ChainLine(NamedTuple):
    """One line of such a file."""

    state: State
    """`old`: of schema 1, without a check. `torn`: the last one, and it was not written to its end.
    `gap`: no line, but the place where at least one is missing."""
    record: Mapping[str, Any]
    """What it says; of a damaged line what can still be read, which proves nothing."""
    text: bytes
    mark: str
    """Names the line, or the gap."""


def open_regular(path: Path, flags: int) -> int:
    """Open a regular file; what is none, or is reached through a link, is refused and never waited
    for. Raises `OSError`."""
    require_regular(path)  # it says what it is
    handle = os.open(path, flags | _ALWAYS, 0o600)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return handle


# ----------------------------------------------------------------------------------- writing


def add(path: Path, record: Mapping[str, Any], *, patience: float) -> None:
    """Append a record and wait until it is on the disk.

    Raises `OSError`, `BlockingIOError` where another process appends for longer than `patience`
    seconds; then nothing was appended.
    """
    new = not path.exists()
    handle = open_regular(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    try:
        _wait_for(handle, patience)
        _keep_private(handle)
        before, end = _tail(handle)
        _write(handle, end, _sealed(record, before))
    finally:
        os.close(handle)
    if new and sys.platform != "win32":  # the name of a new file must be on the disk as well
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _wait_for(handle: int, patience: float) -> None:
    until = time.monotonic() + patience
    while True:
        try:
            return take(handle)
        except OSError as exc:
            if time.monotonic() >= until:
                raise BlockingIOError(errno.EAGAIN, "another process is writing to it") from exc
        time.sleep(_AGAIN)


def _keep_private(handle: int) -> None:
    """It names packs and people: earlier versions left it readable for all."""
    about = os.fstat(handle)
    if sys.platform != "win32" and about.st_mode & 0o077 and about.st_uid == os.geteuid():
        os.fchmod(handle, 0o600)


def _sealed(record: Mapping[str, Any], before: str) -> bytes:
    text = json.dumps({**record, "prev": before}, ensure_ascii=False)
    body = text.encode("utf-8", "backslashreplace")[:-1]  # names of files and users may be no text
    return body + _MARK + _digest(body) + b'"}\n'


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:_DIGITS].encode()


def _tail(handle: int) -> tuple[str, int]:
    """What names the last whole line, and where it ends; what is torn lies behind that."""
    end = start = os.lseek(handle, 0, os.SEEK_END)
    while start:
        text, begins = _line_before(handle, start)
        line = _judge(text.rstrip(b"\n"))
        if start == end and not text.endswith(b"\n") and line.state == "damaged":
            end = begins
        elif text.strip():
            return line.mark, end
        start = begins
    return "", end


def _line_before(handle: int, end: int) -> tuple[bytes, int]:
    """The last line before an offset, with its newline if it has one, and where it begins."""
    text, start = b"", end
    while start > 0 and len(text) < _LONGEST:
        length = min(_PIECE, start)
        os.lseek(handle, start - length, os.SEEK_SET)
        text, start = os.read(handle, length) + text, start - length
        if (found := text.rfind(b"\n", 0, -1)) >= 0:
            return text[found + 1 :], start + found + 1
    return text, start


def _write(handle: int, end: int, line: bytes) -> None:
    """All of it or nothing, and on the disk."""
    size = os.lseek(handle, 0, os.SEEK_END)
    if end < size:  # what a power cut left
        os.ftruncate(handle, end)
    elif end:
        os.lseek(handle, end - 1, os.SEEK_SET)
        if os.read(handle, 1) != b"\n":
            line = b"\n" + line
    try:
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    except OSError:
        with suppress(OSError):
            os.ftruncate(handle, end)
        raise


# ----------------------------------------------------------------------------------- reading


def read_lines(path: Path, *, only: bytes = b"") -> Iterator[ChainLine]:
    """The lines of a file, checked. Raises `OSError`.

    With `only`, just the lines that hold these bytes, each checked by itself: quick, and blind to
    what is missing.
    """
    before, chained, after_damage = "", False, False
    for text in _texts(path):
        if only and only not in text:
            continue
        line = _judge(text.rstrip(b"\n"))
        if line.state == "damaged":
            if not text.endswith(b"\n") and len(text) < _LONGEST:
                yield line._replace(state="torn")
            elif chained or b'"hash"' in text or b'"prev"' in text:
                yield line
            before, after_damage = line.mark, True
            continue
        if line.state == "sound":
            told = line.record.get("prev")
            if not only and not after_damage and told != before:
                yield ChainLine("gap", {}, b"", f"gap before {line.mark}")
            chained = True
        yield line
        before, after_damage = line.mark, False


def _texts(path: Path) -> Iterator[bytes]:
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        while text := file.readline(_LONGEST):
            if text.strip():
                yield text


def _judge(text: bytes) -> ChainLine:
    """What a line is, by itself."""
    at = text.rfind(_MARK)
    if at >= 0 and _END.fullmatch(text, at + len(_MARK)):
        digest = text[at + len(_MARK) : -2]
        record = _parsed(text)
        if record is not None and _digest(text[:at]) == digest:
            return ChainLine("sound", record, text, digest.decode())
    mark = _digest(text).decode()
    record = _parsed(text)
    if record is not None and "hash" not in record and record.get("schema", 1) == 1:
        return ChainLine("old", record, text, mark)
    return ChainLine("damaged", record or {}, text, mark)


def _parsed(text: bytes) -> Mapping[str, Any] | None:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("event"), str) else None
