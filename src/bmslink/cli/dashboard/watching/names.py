"""Whether the names in bmslink.toml still mean the packs that are shown."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from bmslink.cli.dashboard.watching.follower import PackFollower
from bmslink.errors import BmsError
from bmslink.packs import config_files, load_packs

__all__ = ["PackNames"]

_EVERY = 2.0


class PackNames:
    """Looks at the file when it changed, and gives packs the names that they have there now."""

    def __init__(self, followers: Iterable[PackFollower]) -> None:
        self._followers = list(followers)
        self._seen = _state()

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(_EVERY)
            if (now := _state()) != self._seen:
                self._seen = now
                with suppress(BmsError, OSError):  # half written, perhaps: the next look tells
                    self._compare()

    def _compare(self) -> None:
        known = {name: pack.target for name, pack in load_packs().items()}
        for follower in self._followers:
            was = follower.endpoint.name
            if not was or follower.named is None:
                continue
            target = follower.named.target
            clock = datetime.now().astimezone()
            if known.get(was) == target:
                follower.pack.call(was, "", clock)
                continue
            name = next((name for name, place in known.items() if place == target), "")
            if name:
                follower.pack.call(name, "", clock)
            elif was in known:
                said = f"bmslink.toml gives the name {was} to another place now; this is {target}."
                follower.pack.call(target, said, clock)
            else:
                said = f"bmslink.toml does not name this pack any more; it was called {was}."
                follower.pack.call(target, said, clock)


def _state() -> list[tuple[Path, float]]:
    found = []
    for path in config_files():
        with suppress(OSError):
            found.append((path, path.stat().st_mtime))
    return found
