"""Brings alerts to one receiver: a thread of its own, a bounded queue, and tries that grow rarer.

A receiver that hangs, refuses or is gone holds up its own thread and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bmslink.events import EventSeverity
from bmslink.outputs.alerts.message import Alert

__all__ = ["AlertSender", "Deliver", "NotDelivered"]

_MOST = 100
"""Alerts that wait; then the oldest that is not critical makes room."""
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 300.0
_TRIES = 5
"""So often an alert is sent that the receiver refuses as it is."""


class NotDelivered(Exception):
    """It did not arrive; the sentence holds no secret."""

    def __init__(self, why: str, *, refused: bool = False) -> None:
        """`refused`: the receiver does not want it as it is; another try will hardly help."""
        super().__init__(why)
        self.refused = refused


Deliver = Callable[[Alert], None]
"""Raises `NotDelivered`; takes as long as it takes."""


@dataclass(slots=True)
class _WaitingMessage:
    alert: Alert
    answer: Future[str] | None = None
    """Where the outcome of a test goes: why it failed, or nothing."""
    tries: int = 0


class AlertSender:
    """Of one receiver."""

    def __init__(
        self,
        name: str,
        deliver: Deliver,
        told: Callable[[str], None] = lambda trouble: None,
        *,
        pause: float = _FIRST_PAUSE,
        gone: Callable[[], None] = lambda: None,
    ) -> None:
        """`told` is called from the thread when the trouble changes; empty: it is over. `gone`:
        from the thread too, when an alert waits no longer: it arrived, or was given up."""
        self._gone = gone
        self._current: _WaitingMessage | None = None
        self.name = name
        self._deliver, self._told, self._pause = deliver, told, pause
        self._queue: deque[_WaitingMessage] = deque()
        self._news = threading.Condition()
        self._ending = False
        self.trouble = ""
        """Why the last try failed; empty where it did not."""
        self.sent = self.lost = 0
        self._thread = threading.Thread(target=self._run, name=f"alerts to {name}", daemon=True)
        self._thread.start()

    def put(self, alert: Alert) -> None:
        """Have it sent soon."""
        with self._news:
            if len(self._queue) >= _MOST:
                self._make_room()
            self._queue.append(_WaitingMessage(alert))
            self._news.notify()

    def waiting(self) -> list[Alert]:
        """What has not arrived yet, as far as is known; the next one first."""
        with self._news:
            all_of_them = [*([self._current] if self._current else ()), *self._queue]
        return [each.alert for each in all_of_them if each.answer is None]

    def _make_room(self) -> None:
        oldest = next((w for w in self._queue if not _critical(w)), self._queue[0])
        self._queue.remove(oldest)
        self.lost += 1

    def test(self) -> Future[str]:
        """Send a test before all that waits: why it did not arrive, or an empty text."""
        answer: Future[str] = Future()
        with self._news:
            self._queue.appendleft(_WaitingMessage(Alert.test(), answer))
            self._news.notify()
        return answer

    def status(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "output": f"alerts.{self.name}",
            "error": self.trouble,
            "sent": self.sent,
            "waiting": len(self._queue),
            "lost": self.lost,
        }

    def close(self, patience: float) -> None:
        """End, once what waits is sent, or after so many s."""
        with self._news:
            self._ending = True
            self._news.notify()
        self._thread.join(patience)

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        pause, again = self._pause, 0.0
        while True:
            with self._news:
                while not self._ready(again) and not self._ending:
                    self._news.wait(max(0.01, again - time.monotonic()) if self._queue else None)
                if not self._queue or (self._ending and self.trouble):
                    return
                item = self._current = self._queue.popleft()
            if self._try(item):
                pause, again = self._pause, 0.0
            elif item.answer is None:
                again = time.monotonic() + pause
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _ready(self, again: float) -> bool:
        if not self._queue:
            return False
        return self._queue[0].answer is not None or time.monotonic() >= again

    def _try(self, item: _WaitingMessage) -> bool:
        """Send one; whether it arrived."""
        why, refused = "a mistake of bmslink or apprise", True
        with suppress(Exception):  # it is this receiver's alone
            why, refused = self._outcome(item.alert)
        self._change(why)
        if item.answer is not None:
            item.answer.set_result(why)
        if not why:
            self.sent += 1
            self._done()
            return True
        if item.answer is None:
            self._put_back(item, refused=refused)
        return False

    def _outcome(self, alert: Alert) -> tuple[str, bool]:
        try:
            self._deliver(alert)
        except NotDelivered as error:
            return str(error), error.refused
        return "", False

    def _put_back(self, item: _WaitingMessage, *, refused: bool) -> None:
        item.tries += refused
        with self._news:
            given_up = item.tries >= _TRIES or len(self._queue) >= _MOST
            if given_up:
                self.lost += 1
            else:
                self._queue.appendleft(item)
            self._current = None
        if given_up:
            self._gone()

    def _done(self) -> None:
        with self._news:
            self._current = None
        self._gone()

    def _change(self, trouble: str) -> None:
        before, self.trouble = self.trouble, trouble
        if bool(before) != bool(trouble):
            self._told(trouble)


def _critical(waiting: _WaitingMessage) -> bool:
    return waiting.alert.severity is EventSeverity.CRITICAL
