"""Ways to carry limits out: a Python function, or JSON lines for another program.

A sink is anything that takes a Decision. It is called for every decision, and it is its own
business how often it tells the charger; limits must die with their sender, so it must go on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import IO

from bmslink.control.decide.decision import Decision

__all__ = ["JsonLines", "Sink"]

Sink = Callable[[Decision], None]


class JsonLines:
    """One JSON object per line: when something changes, and every `period` seconds.

    Raises `OSError` if the file cannot be written.
    """

    def __init__(self, file: IO[str], *, period: float = 5.0) -> None:
        self._file = file
        self._period = period
        self._state: tuple[object, ...] | None = None
        self._time = 0.0

    def __call__(self, decision: Decision) -> None:
        """Write the decision, if it is due."""
        state = decision.state
        if state == self._state and decision.time - self._time < self._period:
            return
        self._state, self._time = state, decision.time
        line = json.dumps({"schema": 1, **decision.to_dict()}, allow_nan=False)
        self._file.write(line + "\n")
        self._file.flush()
