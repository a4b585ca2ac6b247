"""What a drill would switch, each switch once off and on, and what came of it; also as a service
says it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from bmslink.control.act.actuators import BoardActuator

__all__ = ["DrillPlan", "DrillReport", "DrillRow", "DrillTurn"]

_TRY, _SHOWS = 5.0, 10.0
"""How long a frame may take, and until the board shows it, s."""
_ASK_AGAIN = 0.1
_BACK = 6
"""How often it is switched on again before a person has to."""


class DrillPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What would be switched."""

    pack: str
    """Who it is, as in its ledger."""
    tried: tuple[str, ...]
    """In this order."""
    left: dict[str, str]
    """What is left out: switch -> why."""


class DrillRow(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one switch."""

    switch: str
    result: str
    """`passed`: off and on were read back. `failed`: one was not. `left_out`: nothing was sent."""
    off_s: float | None = None
    """From the frame to the reading that shows it off, s; `None`: never shown."""
    on_s: float | None = None
    """The same for on."""
    restored: bool | None = None
    """Whether it is on again, as it was; `None`: nothing was sent."""
    why: str = ""
    """Why it failed or was left out, in a sentence."""
    note: str = ""
    """What else there is to know, in a sentence."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


class DrillReport(msgspec.Struct, frozen=True):
    """One drill."""

    pack: str
    rows: tuple[DrillRow, ...] = msgspec.field(name="switches")

    @property
    def passed(self) -> bool:
        """Whether everything that was tried obeyed."""
        return all(row.result != "failed" for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        rows = [row.to_dict() for row in self.rows]
        return {"pack": self.pack, "passed": self.passed, "switches": rows}


class DrillTurn:
    """One switch, once off and on."""

    def __init__(
        self,
        actuator: BoardActuator,
        abandoned: Callable[[], bool],
        joins: Callable[[], str],
        look: Callable[[], Awaitable[None]],
    ) -> None:
        """`abandoned`: somebody switches off meanwhile. `joins`: why it may not close beside other
        packs; asked in the moment before it does, after `look`."""
        self._abandoned, self._joins, self._look = abandoned, joins, look
        self.sent = False
        """Whether its off may have gone out."""
        self._actuator = actuator
        self._off_s: float | None = None
        self._on_s: float | None = None
        self._error = ""

    async def off(self) -> None:
        begun = asyncio.get_running_loop().time()
        self.sent = True  # until it is known that it was not
        found = await self._actuator.off(begun + _TRY)
        self.sent, self._error = found.sent is not False, found.error
        if self.sent:
            self._off_s = await self._shown(on=False, begun=begun)

    async def on(self) -> None:
        """Until it is read back; an off that is late is overruled as well."""
        loop = asyncio.get_running_loop()
        for _ in range(_BACK):
            await self._look()
            begun = loop.time()
            found = await self._actuator.on(begun + _TRY, self._against)
            if self._abandoned():
                self._error = "Somebody switched off meanwhile."
                return
            self._on_s = await self._shown(on=True, begun=begun)
            if self._on_s is not None:
                return
            self._error = found.error or self._error

    def _against(self) -> str:
        return "Somebody switched off meanwhile." if self._abandoned() else self._joins()

    async def _shown(self, *, on: bool, begun: float) -> float | None:
        loop = asyncio.get_running_loop()
        while loop.time() - begun < _SHOWS and not self._abandoned():
            if await self._actuator.state() is on:
                return loop.time() - begun
            await asyncio.sleep(_ASK_AGAIN)
        return None

    def row(self, name: str, command: str) -> DrillRow:
        error = f" {self._error}" if self._error else ""
        if not self.sent:
            why = f"{name} off did not go out.{error}"
            return DrillRow(switch=name, result="failed", why=why)
        restored = self._on_s is not None
        why = ""
        if not restored:
            why = f"{name} is not read back as on. `{command}` switches it on.{error}"
        elif self._off_s is None:
            why = f"{name} off was sent, and the board never showed it.{error}"
        return DrillRow(
            switch=name, result="failed" if why else "passed",
            off_s=self._off_s, on_s=self._on_s, restored=restored, why=why,
        )  # fmt: skip
