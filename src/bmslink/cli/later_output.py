"""Output that nobody waits for: a thread writes it, and what it cannot write in time is left out.

A pipe whose reader stopped, or a terminal in Ctrl-S, blocks whoever writes to it. What decides
about a battery, or sends to it, must not be that.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

__all__ = ["LaterOutput", "writable_later"]

_MOST = 1000
"""How many lines wait; beyond that the oldest are left out."""


def writable_later(stream: TextIO | None) -> bool:
    """Whether a stream is one of the system's, which may block."""
    try:
        return stream is not None and stream.fileno() >= 0
    except (OSError, ValueError, AttributeError):  # a test's
        return False


class LaterOutput:
    """Of one stream."""

    def __init__(self, stream: TextIO, most: int = _MOST) -> None:
        stream.flush()
        self.dropped = 0
        """How many lines were left out so far."""
        self.error: OSError | None = None
        """Why nothing more is written."""
        self.on_flow: Callable[[int], None] | None = None
        """Is called with how many lines were left out, once all that waited is written."""
        self._fd = stream.fileno()
        self._encoding, self._errors = stream.encoding, stream.errors or "strict"
        self._most = most
        self._waiting: deque[tuple[str, str]] = deque()
        self._change = threading.Condition()
        self._busy_since: float | None = None
        self._told = 0
        self._closed = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def put(self, text: str, *, latest: str = "") -> None:
        """Have it written, soon. Of lines that are the `latest` of something only the newest waits.
        Raises the `OSError` that ended the stream."""
        if self.error is not None:
            raise self.error
        left_out = 0
        with self._change:
            if not self._waiting and self._busy_since is None:
                left_out, self._told = self.dropped - self._told, self.dropped
            if latest:
                self._waiting = deque(each for each in self._waiting if each[1] != latest)
            if len(self._waiting) >= self._most:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append((text, latest))
            self._change.notify_all()
        if left_out and self.on_flow is not None:
            self.on_flow(left_out)

    @property
    def stuck(self) -> float:
        """For how long the line that is being written now is waited for, s; 0: none is."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def close(self, seconds: float) -> bool:
        """Write what waits, for so long at most; whether that was all."""
        until = time.monotonic() + seconds
        with self._change:
            self._closed = True
            self._change.notify_all()
            while (self._waiting or self._busy_since is not None) and self.error is None:
                if not self._change.wait(until - time.monotonic()):
                    break
            return not self._waiting and self._busy_since is None

    def _work(self) -> None:
        while True:
            with self._change:
                while not self._waiting:
                    if self._closed:
                        return
                    self._change.wait()
                text, _ = self._waiting.popleft()
                self._busy_since = time.monotonic()
            try:
                self._write(text.encode(self._encoding, self._errors))
            except OSError as error:
                self.error = error
            with self._change:
                self._busy_since = None
                self._change.notify_all()
                if self.error is not None:
                    return

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._fd, data) :]
