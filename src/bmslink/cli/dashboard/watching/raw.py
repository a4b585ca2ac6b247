"""The bytes on a line, on demand: passwords blanked, as in a recording."""

from __future__ import annotations

import io
import json
from collections import deque
from contextlib import ExitStack
from datetime import datetime
from typing import Literal

from bmslink.board import Board
from bmslink.cli.dashboard.pages.linkage import RawPiece
from bmslink.errors import BmsError
from bmslink.link.capture import Writer

__all__ = ["RawBytes"]

_MOST = 200


class RawBytes:
    """The latest pieces of one line, while somebody wants to see them."""

    def __init__(self) -> None:
        self._pieces: deque[RawPiece] = deque(maxlen=_MOST)
        self._wanted = False
        self._board: Board | None = None
        self._stack = ExitStack()
        self._buffer = io.BytesIO()
        self._writer: Writer | None = None

    @property
    def latest(self) -> list[RawPiece] | None:
        """The latest first; `None` while nobody wants them."""
        if not self._wanted:
            return None
        return [*reversed(self._pieces)]

    def toggle(self) -> None:
        """Begin to listen, or stop."""
        self._wanted = not self._wanted
        self._pieces.clear()
        self._listen()

    def follow(self, board: Board) -> None:
        """The line is that of this board now."""
        self._board = board
        self._listen()

    def _listen(self) -> None:
        self._stack.close()
        board, self._writer = self._board, None
        if not self._wanted or board is None or board.tap is None:
            return
        self._buffer = io.BytesIO()
        try:
            self._writer = board.make_writer(self._buffer)
        except BmsError:
            return
        self._stack.enter_context(board.tap.listening(self._hear))

    def _hear(self, direction: Literal["rx", "tx"], data: bytes) -> None:
        if self._writer is None:
            return
        self._writer.write(direction, data)
        text = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        when = f"{datetime.now().astimezone():%H:%M:%S.%f}"[:12]
        for line in text.splitlines():
            piece = json.loads(line)
            if "hex" in piece:
                self._pieces.append((when, str(piece["dir"]), str(piece["hex"])))
