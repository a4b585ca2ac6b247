"""What a restart must not forget of alerts: what was sent and lasts, what has not arrived yet, and
since when conditions last. One small file, replaced as a whole, by the thread of the disk.

A kill costs nothing that is in it: an alert that was on its way is sent once more, with the same
id.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from bmslink.errors import BmsError, UsageError
from bmslink.events import PackEvent
from bmslink.jsonable import plain
from bmslink.outputs.alerts.message import Alert
from bmslink.runtime.judging.disk import DiskQueue
from bmslink.runtime.watching.lasting import SeenCondition
from bmslink.storage.state import StateFolder

__all__ = ["AlertMemory", "Remembered", "packed"]

_log = logging.getLogger(__name__)
_LARGEST = 16 << 20
_MOST = 4096
"""Conditions that are kept."""
_LOSS = "after a restart, what was sent may be sent once more"


@dataclass(frozen=True, slots=True)
class Remembered:
    """What was saved."""

    conditions: tuple[SeenCondition, ...] = ()
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Receiver -> what its `AlertRule.saved` gave."""
    waiting: Mapping[str, tuple[Alert, ...]] = field(default_factory=dict)
    """Receiver -> what had not arrived."""
    alive: datetime | None = None
    """When it was saved."""


class AlertMemory:
    """Of one service."""

    def __init__(self, folder: StateFolder, name: str, disk: DiskQueue) -> None:
        self._folder = StateFolder(folder.folder, largest=_LARGEST, loss=_LOSS)
        self._name, self._disk = f"alerts of {name}", disk

    async def load(self) -> Remembered:
        """What was saved; nothing where that cannot be read."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._disk.thread, self._folder.load, self._name)
        except BmsError as error:
            _log.warning("What was sent before a restart is not known: %s", error)
            return Remembered()
        return _unpacked(found or {})

    def save(self, make: Callable[[], Mapping[str, Any]], ended: Callable[[str], None]) -> None:
        """Have it made and written soon, by the thread; `ended` hears why it was not written, or
        an empty text."""
        self._disk.put(partial(self.save_now, make), key="alerts", ended=ended)

    def save_now(self, make: Callable[[], Mapping[str, Any]]) -> None:
        """Make and write it. Raises `UnwritableState`."""
        self._folder.save(self._name, make(), None)


def packed(
    conditions: Iterable[SeenCondition],
    receivers: Mapping[str, tuple[Callable[[], Mapping[str, Any]], Iterable[Alert]]],
    alive: datetime,
) -> dict[str, Any]:
    """What is saved; plain values. Of each receiver: its rule, and what waits."""
    return {
        "alive": plain(alive),
        "conditions": [
            {"seen": plain(each.seen), "event": each.event.to_dict()} for each in conditions
        ][:_MOST],
        "receivers": {
            name: {"rule": rule(), "waiting": [alert.to_dict() for alert in waiting]}
            for name, (rule, waiting) in receivers.items()
        },
    }


def _unpacked(values: Mapping[str, Any]) -> Remembered:
    """What cannot be read is left out."""
    conditions: list[SeenCondition] = []
    rules: dict[str, Mapping[str, Any]] = {}
    waiting: dict[str, tuple[Alert, ...]] = {}
    alive: datetime | None = None
    with suppress(TypeError, ValueError, KeyError):
        alive = _moment(values["alive"])
    for each in values.get("conditions") or ():
        with suppress(*_UNREADABLE):
            event = PackEvent.from_dict(each["event"])
            conditions.append(SeenCondition(event, _moment(each["seen"])))
    with suppress(*_UNREADABLE):
        for name, saved in values["receivers"].items():
            rules[name] = saved["rule"] if isinstance(saved["rule"], dict) else {}
            waiting[name] = tuple(_alerts(saved["waiting"]))
    return Remembered(tuple(conditions), rules, waiting, alive)


_UNREADABLE = (UsageError, TypeError, ValueError, KeyError, AttributeError)


def _alerts(found: Iterable[Any]) -> Iterable[Alert]:
    for each in found:
        with suppress(UsageError):
            yield Alert.from_dict(each)


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("it has no zone")
    return found
