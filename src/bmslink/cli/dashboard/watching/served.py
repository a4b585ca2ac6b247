"""What a service knows of a pack that it owns, beyond readings: policies, link, who answers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from bmslink.cli.dashboard.desk import PackExtras
from bmslink.cli.dashboard.model.memory import SeenHistory
from bmslink.cli.dashboard.model.pack import WatchedPack
from bmslink.errors import BmsError
from bmslink.events import PackEvent
from bmslink.model import Reading
from bmslink.served_board import ServedBoard
from bmslink.service_client import ServiceClient

__all__ = ["ServedNews"]

_EVERY = 2.0
"""s between two looks: policies decide at once, and are shown within that time."""
_BACK = 15.0
"""s between two looks at what was stored."""
_ROWS = 2000
_DAY = 86400.0


class ServedNews:
    """Looks now and then, and puts what it finds into the pack."""

    def __init__(self, board: ServedBoard, pack: WatchedPack) -> None:
        self._board = board
        self._pack = pack
        self._looked = self._looked_back = float("-inf")
        self._span = 0.0

    @property
    def through(self) -> str:
        """Who owns the line, in words."""
        served = self._board.served
        return f"the service (process {served.service.pid}), which calls it {served.name}"

    async def look(self) -> None:
        """If it is time."""
        now = asyncio.get_running_loop().time()
        if now - self._looked < _EVERY:
            return
        self._looked = now
        served = self._board.served
        client = ServiceClient(served.service, self._pack.name)
        with suppress(BmsError):
            path = f"/api/v1/packs/{quote(served.name, safe='')}"
            status, found = await client.ask("GET", path)
            if status == 200:
                self._take(found)

    async def look_back(self, more: PackExtras, span: float) -> None:
        """What the service stored of the last `span` seconds, and what happened in a day; if it is
        time. A service without a history gives nothing."""
        now = asyncio.get_running_loop().time()
        if now - self._looked_back < _BACK and span == self._span:
            return
        self._looked_back, self._span = now, span
        served = self._board.served
        client = ServiceClient(served.service, self._pack.name)
        pack = f"pack={quote(served.name, safe='')}"
        clock = datetime.now(UTC)
        since = (clock - timedelta(seconds=span)).isoformat(timespec="seconds")
        wanted = "&".join(f"field={name}" for name in _FIELDS)
        with suppress(BmsError, ValueError, TypeError):
            path = f"/api/v1/history?{pack}&since={quote(since)}&limit={_ROWS}&{wanted}"
            status, found = await client.ask("GET", path)
            if status == 200:
                more.stored = _history(found, now, clock)
                more.stored_from = "From the service's history, and what this monitor saw."
        with suppress(BmsError, ValueError, TypeError):
            day = (clock - timedelta(seconds=_DAY)).isoformat(timespec="seconds")
            path = f"/api/v1/events?{pack}&since={quote(day)}&limit=500"
            status, found = await client.ask("GET", path)
            if status == 200:
                more.events = [PackEvent.from_dict(each) for each in found["events"]]
                self._pack.correct(more.events)

    def _take(self, found: dict[str, Any]) -> None:
        pack = self._pack
        limits, health = found.get("limits"), found.get("health")
        pack.limits = limits if isinstance(limits, dict) else {}
        beat = found.get("interval")
        pack.beat = float(beat) if isinstance(beat, int | float) else 0.0
        bank = found.get("bank")
        pack.bank = bank if isinstance(bank, dict) else {}
        policies = found.get("policies")
        if isinstance(policies, dict):
            how = "in shadow" if found.get("shadow") else "acting"
            pack.policies = f"{policies.get('path')}, {how}, judged by the service"
        else:
            pack.policies = "The service judges this pack by no policies."
        if not isinstance(health, dict):
            return
        link = health.get("link")
        pack.link = link if isinstance(link, dict) else {}
        if health.get("state") == "replaced" and not pack.other:
            pack.other = str(health.get("error") or "the service says so")
            pack.other_since = _moment(health.get("since"))


_FIELDS = ("current", "voltage", "soc", "cells", "temperatures")


def _history(found: dict[str, Any], now: float, clock: datetime) -> SeenHistory:
    """The rows of an answer, on the clock of this monitor."""
    history, fields = SeenHistory(2 * _ROWS), [str(name) for name in found["fields"]]
    for row in found["rows"]:
        values = dict(zip(fields, row, strict=True))
        time = datetime.fromisoformat(values["time"])
        cells = [values.get(f"cell_voltage_{n}") for n in range(1, 49)]
        while cells and cells[-1] is None:
            cells.pop()
        prefix = "temperature_"
        reading = Reading(
            current=values.get("current"),
            voltage=values.get("voltage"),
            soc=values.get("soc"),
            cell_voltages=tuple(cells),
            temperatures={
                name.removeprefix(prefix): values[name]
                for name in fields
                if name.startswith(prefix) and not name.endswith(("_min", "_max"))
            },
        )
        history.add(now - (clock - time).total_seconds(), reading)
    return history


def _moment(text: object) -> datetime:
    with suppress(ValueError):
        return datetime.fromisoformat(str(text))
    return datetime.now(UTC)
