"""A file of readings that is written by a thread: no pack waits for the disk."""

from __future__ import annotations

import threading
from collections import deque

from bmslink.errors import BmsError
from bmslink.model import Reading
from bmslink.storage.readings.log_file import LogFile

__all__ = ["LogWriter"]

_MOST = 10_000
"""Readings that wait while nothing can be written; then the oldest are lost."""
_AGAIN = 5.0  # s until a write that failed is tried again
_LAST_WORDS = 10.0  # s


class LogWriter:
    """Writes in the order of `put`. What cannot be written is tried again and again."""

    def __init__(self, file: LogFile, *, again: float = _AGAIN) -> None:
        self._file = file
        self._again = again
        self._waiting: deque[Reading] = deque()
        self._news = threading.Condition()
        self._ending = False
        self.trouble = ""
        """Why nothing can be written now; empty while it can."""
        self.written = 0
        """Readings on the disk."""
        self.lost = 0
        """Readings that had to make room."""
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, reading: Reading) -> None:
        """Have it written soon."""
        with self._news:
            self._waiting.append(reading)
            if len(self._waiting) > _MOST:
                self._waiting.popleft()
                self.lost += 1
            self._news.notify()

    def close(self, patience: float = _LAST_WORDS) -> int:
        """Wait until all is written, at most so long; how many readings are not in the file."""
        with self._news:
            self._ending = True
            self._news.notify()
        self._thread.join(patience)
        return self.lost + len(self._waiting)

    def _run(self) -> None:
        try:
            while self._step():
                pass
            self._file.close()
        except (OSError, BmsError) as exc:
            self.trouble = _why(exc)
        except BaseException as exc:
            self.trouble = f"{type(exc).__name__}: {exc}"
            raise

    def _step(self) -> bool:
        """Write what waits; whether to go on."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._ending)
            batch, last = [*self._waiting], self._ending
        if not batch:
            return False
        try:
            self._file.write(batch)
        except (OSError, BmsError) as exc:
            self.trouble = _why(exc)
            with self._news:
                self._news.wait_for(lambda: self._ending, 0 if last else self._again)
            return not last
        self.trouble = ""
        self.written += len(batch)
        with self._news:
            for reading in batch:
                if self._waiting and self._waiting[0] is reading:  # else it made room meanwhile
                    self._waiting.popleft()
        return True


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
