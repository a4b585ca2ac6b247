"""What a service knows of a pack that it owns, beyond readings: policies, link, who answers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from bmslink.cli.dashboard.model.pack import WatchedPack
from bmslink.errors import BmsError
from bmslink.served_board import ServedBoard
from bmslink.service_client import ServiceClient

__all__ = ["ServedNews"]

_EVERY = 2.0
"""s between two looks: policies decide at once, and are shown within that time."""


class ServedNews:
    """Looks now and then, and puts what it finds into the pack."""

    def __init__(self, board: ServedBoard, pack: WatchedPack) -> None:
        self._board = board
        self._pack = pack
        self._looked = float("-inf")

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

    def _take(self, found: dict[str, Any]) -> None:
        pack = self._pack
        limits, health = found.get("limits"), found.get("health")
        pack.limits = limits if isinstance(limits, dict) else {}
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


def _moment(text: object) -> datetime:
    with suppress(ValueError):
        return datetime.fromisoformat(str(text))
    return datetime.now(UTC)
