"""What is behind the screen: the packs' followers, and what a person asks of them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any

from bmslink.cli.dashboard.desk import Desk, KeyWish
from bmslink.cli.dashboard.watching.changes import change_setting
from bmslink.cli.dashboard.watching.follower import PackFollower
from bmslink.cli.dashboard.watching.names import PackNames
from bmslink.cli.dashboard.watching.place import NamedPlace
from bmslink.cli.dashboard.watching.switching import switch_off
from bmslink.cli.render.text import Glyphs
from bmslink.config import left_behind
from bmslink.errors import BmsError
from bmslink.runtime.service_file import service_path

__all__ = ["Behind"]

Spawn = Callable[[Coroutine[Any, Any, None]], None]


class Behind:
    """All packs of one dashboard."""

    def __init__(
        self,
        desk: Desk,
        places: Sequence[NamedPlace],
        g: Glyphs,
        draw: Callable[[], None],
    ) -> None:
        """`draw` is called where the screen should change at once."""
        self._desk = desk
        self._glyphs = g
        self._draw = draw
        self.followers = {
            id(pack): PackFollower(pack, place.endpoint, place.board, place.named)
            for pack, place in zip(desk.packs, places, strict=True)
        }
        for follower in self.followers.values():
            follower.policies.load(follower.named, service_path())
        self._names = PackNames(self.followers.values())
        self._spawn: Spawn = lambda work: work.close()
        self.writing: list[PackFollower] = []
        """The packs of which a change is under way."""
        self._asking: list[PackFollower] = []

    def start(self, spawn: Spawn) -> None:
        """Begin with all packs."""
        self._spawn = spawn
        for follower in self.followers.values():
            spawn(follower.run())
        spawn(self._names.watch())

    def left(self) -> list[str]:
        """What changes that are cut off now leave behind, in sentences."""
        boards = [follower.board for follower in self.writing]
        offs = [
            f"{follower.pack.name}: {name} off was not proven yet. `bmslink read "
            f"{follower.endpoint.word}` tells what holds."
            for follower in self.followers.values()
            for name in follower.switching
        ]
        return [*offs, *(left_behind(board) for board in boards if board is not None)]

    def hopeless(self) -> BmsError | None:
        """Why none of the packs can be watched at all."""
        errors = [follower.hopeless for follower in self.followers.values()]
        return errors[0] if all(error is not None for error in errors) else None

    def refresh(self) -> None:
        """Bring what is shown besides readings up to date."""
        pack = self._desk.zoomed
        if pack is None:
            return
        follower, more = self.followers[id(pack)], self._desk.more(pack)
        more.raw = follower.raw.latest
        if pack.settings is None and not pack.settings_error and pack.reading is not None:
            self._spawn(self._read_settings(follower))  # the limits of the cells are drawn
        more.bounds = follower.policies.bounds
        if follower.service is not None:
            self._spawn(follower.service.look_back(more, self._desk.span))
        if self._desk.tab == "policies":
            more.margins = follower.policies.margins()

    def grant(self, wish: KeyWish) -> None:
        """Do what a person asked for."""
        if wish.do == "interval":
            for follower in self.followers.values():
                follower.pack.interval = wish.value
                follower.hurry()
        elif wish.do == "hold":
            for follower in self.followers.values():
                follower.hold(wish.value)
        elif wish.pack is not None:
            self._of_pack(wish, self.followers[id(wish.pack)])

    def _of_pack(self, wish: KeyWish, follower: PackFollower) -> None:
        pack = follower.pack
        if wish.do == "off":
            for name in wish.value:
                self._spawn(switch_off(follower, name, self._say))
            names = " and ".join(wish.value)
            going = "is sent, and read back" if follower.reachable() else "waits for the link"
            self._desk.say(f"{pack.name}: {names} off {going} ...", "bold red")
        elif wish.do == "edit":
            self._spawn(self._edit(follower, wish.value))
        elif wish.do == "settings":
            self._spawn(self._read_settings(follower))
        elif wish.do == "raw":
            follower.raw.toggle()
        elif wish.do == "accept":
            pack.accept(_clock())
        elif wish.do == "seek":
            follower.play(by=wish.value)
        elif wish.do == "speed":
            follower.play(speed=wish.value)
        self.refresh()

    def _say(self, sentence: str, style: str) -> None:
        self._desk.say(sentence, style)
        self._draw()

    async def _edit(self, follower: PackFollower, key: str) -> None:
        self.writing.append(follower)
        follower.changing = True
        try:
            await change_setting(self._desk, follower, key, self._glyphs, self._draw)
        finally:
            self.writing.remove(follower)
            follower.changing = follower in self.writing
        await self._read_settings(follower)

    async def _read_settings(self, follower: PackFollower) -> None:
        """All settings, as `settings show` reads them."""
        pack, board = follower.pack, follower.board
        if follower in self._asking:
            return
        if follower.recorded is not None:
            pack.settings_error = "A recording is shown: no settings are asked of it."
            return
        if board is None or not follower.open:
            return
        pack.settings_error = ""
        self._asking.append(follower)
        try:
            async with board.conversation():
                found = await board.settings_map(await board.identify())
                pack.settings = await board.settings(found)
            pack.settings_at = _clock()
        except BmsError as error:
            pack.settings_error = str(error)
        finally:
            self._asking.remove(follower)
        self._draw()


def _clock() -> datetime:
    return datetime.now().astimezone()
