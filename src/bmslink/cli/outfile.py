"""Where a command writes what it was told to keep: files, or what is open already."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from bmslink.cli.render.clean import clean_lines
from bmslink.errors import TargetError
from bmslink.storage.atomic import append_handle, new_handle, replace_file, require_regular

__all__ = ["on_stdout", "open_new", "write_text"]


class _NewFile(io.BufferedWriter):
    """A file for a recording. Its header waits for the first bytes behind it: a recording that
    never begins leaves the old file as it was, and where there was none, none."""

    def __init__(self, path: Path) -> None:
        self._made = not require_regular(path)
        handle = new_handle(path) if self._made else append_handle(path)
        super().__init__(io.FileIO(handle, "a"))
        self._path = path
        self._header: bytes | None = None
        self._begun = False

    def write(self, data: Any, /) -> int:
        if self._header is None:
            self._header = bytes(data)
            return len(data)
        if not self._begun:
            self._begun = True
            self.truncate(0)
            super().write(self._header)
        return super().write(data)

    def close(self) -> None:
        if self.closed:
            return
        super().close()
        if self._made and not self._begun:
            with contextlib.suppress(OSError):
                self._path.unlink()


_STREAMS = {"-": 1, "/dev/stdout": 1, "/dev/fd/1": 1, "/dev/stderr": 2}
"""Names of what is open already; nothing is opened by them."""


def on_stdout(path: str | None) -> bool:
    """Whether an output is standard output: no name, `-` or its device."""
    return path is None or _STREAMS.get(path) == 1


def _open_stream(path: str) -> IO[bytes] | None:
    """The output behind `-`, /dev/stdout, /dev/stderr, /dev/fd/N or the null device."""
    if path == os.devnull:
        return Path(path).open("wb")
    number = path.removeprefix("/dev/fd/")
    handle = int(number) if number != path and number.isdecimal() else _STREAMS.get(path)
    return None if handle is None else os.fdopen(os.dup(handle), "wb")


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except TargetError:
        raise
    except (OSError, ValueError) as exc:
        why = getattr(exc, "strerror", None) or exc
        raise TargetError(f"{path} cannot be written: {why}.") from exc


def open_new(
    path: str, *, force: bool = False, instead: str = "--force overwrites it"
) -> IO[bytes]:
    """A file for a recording, or an output that is open already. `TargetError` if it cannot be
    made, if the name holds no regular file, or if it holds something and `force` is not given;
    `instead` is what that sentence says can be done."""
    with _writing(path):
        stream = _open_stream(path)
        if stream is not None:
            return stream
        file = Path(path)
        if not force and require_regular(file) and file.stat().st_size:
            raise TargetError(f"{path} exists already; {instead}.")
        return _NewFile(file)


def write_text(path: str, text: str, *, force: bool) -> None:
    """A text as a whole into a file that is not there yet, or, with `force`, in the place of an
    old one. `TargetError` as from `open_new`."""
    with _writing(path):
        stream = _open_stream(path)
        if stream is not None:
            with stream:
                stream.write(clean_lines(text).encode())
            return
        try:
            replace_file(Path(path), text.encode(), mode=None, overwrite=force)
        except FileExistsError as exc:
            raise TargetError(f"{path} exists already; --force overwrites it.") from exc
