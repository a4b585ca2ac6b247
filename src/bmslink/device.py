"""A pack, for programs: read it, change what it holds with every check, switch it.

```python
async with bmslink.connect("jbd+serial:///dev/ttyUSB0") as device:
    reading = await device.read()
    plan = await device.plan({"cell_ovp": 3.6})     # reads only
    if not plan.blocked:
        outcome = await device.apply(plan)          # writes, reads back, or sets all back
    await device.switch("charge", False)
```

`bmslink.blocking` has the same for plain scripts. Nothing is written unless one of `apply`, `undo`,
`resume`, `switch`, `set_clock` and `set_soc` is called, and all of them go through the checks, the
journal and the reading back of the command line.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from bmslink import config
from bmslink.arguments import checked
from bmslink.board import Board
from bmslink.config.files.backup import Backup
from bmslink.config.files.profile import Profile
from bmslink.connection import MakeTransport, OnProgress
from bmslink.embedding import embedded, is_written
from bmslink.errors import BmsError, TargetError, UsageError
from bmslink.link.transport import Endpoint, Pin, Transport
from bmslink.model import Adjustment, Command, Identity, Reading, Switch
from bmslink.packs import find_pack, find_pin
from bmslink.past import BoardPast
from bmslink.polling import Trouble, readings
from bmslink.protocols.common.settings_now import Settings
from bmslink.served_board import board_at
from bmslink.storage.journal import Journal
from bmslink.target import resolve

if TYPE_CHECKING:
    from bmslink.transports.ble.transport import BLEDevice, ClientFactory

__all__ = ["Device", "connect"]


class Device:
    """A pack. Use it as an async context manager; `connect` makes one.

    Values are in V, A (positive while charging), °C, Ah, Ω, s and %; `None` is unknown. Methods
    raise errors of `bmslink.errors` and nothing else: `LinkTimeout` where no answer came,
    `LinkClosed` where the link is gone or not open, `Refused` where the board says no.
    """

    @checked(TargetError)
    def __init__(self, board: Board) -> None:
        """`connect` calls this."""
        self._board = board

    @property
    def board(self) -> Board:
        """Raw slots and frames, for those who know what they do; nothing there checks a change."""
        return self._board

    @property
    def target(self) -> Endpoint:
        """Where the pack is, as resolved; its protocol is known at the latest when it is open."""
        return self._board.target

    async def __aenter__(self) -> Self:
        await self._board.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._board.__aexit__(kind, error, trace)

    async def open(self) -> None:
        """Open the link, find the protocol where it is not known, and greet the board."""
        await self._board.open()

    async def reopen(self) -> None:
        """Close and open again, after the link was lost."""
        await self._board.reopen()

    async def close(self) -> None:
        """Close the link; may be called twice."""
        await self._board.close()

    # ---------------------------------------------------------------------------------- reading

    async def identify(self) -> Identity:
        """Who the pack is: vendor, model, firmware, serial number, and what it can do."""
        return await self._board.identify()

    async def inspect(self) -> Identity:
        """The same, after asking it which settings it has: `capabilities` are those of this board
        then, and not those of its kind."""
        return await self._board.inspect()

    async def read(self) -> Reading:
        """One complete reading."""
        return await self._board.read()

    @checked()
    async def stream(
        self,
        interval: float = 1.0,
        *,
        reconnect: bool = False,
        on_trouble: Callable[[BmsError, float], None] | None = None,
    ) -> AsyncGenerator[Reading, None]:
        """A reading every `interval` seconds (0: as fast as the board answers), kept to the beat.

        The first error ends it, unless `reconnect`: then silence is passed over, a lost link is
        opened again with pauses that double from 1 s to 30 s, and `on_trouble` gets each error and
        the seconds until the next try. Another board that answers afterwards is not noticed here:
        `identify` tells.
        """
        if interval < 0:
            raise UsageError(f"stream(): interval must be 0 s or more, not {interval:g}.")
        if not reconnect:
            loop = asyncio.get_running_loop()
            due = loop.time()
            while True:
                yield await self.read()
                due = max(due + interval, loop.time())
                await asyncio.sleep(due - loop.time())
        async with aclosing(readings(self._board, interval=interval, opened=True)) as items:
            async for item in items:
                if not isinstance(item, Trouble):
                    yield item
                elif on_trouble is not None:
                    on_trouble(item.error, item.wait)

    async def clock(self) -> datetime | None:
        """What the board's clock shows; `None` where it does not say."""
        return await self._board.clock()

    async def past(self, limit: int = 100) -> BoardPast:
        """What the board itself remembers: the events of its logs, its counters, and what it
        reports now. It only reads.

        At most the newest `limit` entries (1 to 1000) of a log whose entries are asked for one by
        one; another log comes whole, which may take half a minute. What such boards do not have is
        in `missing`, with the reason.
        """
        return await self._board.past(limit)

    # --------------------------------------------------------------------------------- settings

    async def settings(self) -> Settings:
        """All settings as the board holds them now: `settings["cell_ovp"].value`, `.unit`, …

        Raises `SettingError` where none are known of such a board.
        """
        return Settings(await self._board.settings())

    @checked()
    async def plan(
        self,
        wanted: Mapping[str, object] | Profile,
        *,
        raw: Backup | None = None,
        switches: bool = False,
        waive: Collection[str] = (),
        chemistry: str | None = None,
        journal: Journal | None = None,
    ) -> config.Plan:
        """What a change would do; it only reads.

        `wanted` are values by name (`{"cell_ovp": 3.6}`), or a `Profile`, of whose switches none
        is planned without `switches`. `raw` is a backup to go back to. `waive` names checks that
        may fail. `chemistry` says what the cells are. Look at `plan.changes`, `plan.checks`,
        `plan.frames`, and at `plan.blocked`, which must be empty before it can be applied.
        """
        return await config.draft(
            self,
            wanted,
            raw=raw,
            switches=switches,
            waive=waive,
            chemistry=chemistry,
            journal=journal,
        )

    draft = plan
    """The name that `plan` had in 0.1.0; it goes with 0.3.0."""

    @checked()
    async def apply(
        self,
        plan: config.Plan,
        *,
        confirm: Callable[[config.Plan], bool] | None = None,
        journal: Journal | None = None,
    ) -> config.Outcome:
        """Write a plan, read it back, and set everything back where that fails.

        `confirm` is asked where the settings changed since the plan was made; without it that is
        an end. Raises `GateError` (nothing was sent), `VerifyError` (all is as before),
        `RollbackError` (it is not known: the message says what is read, and `resume` is next).
        """
        return await config.apply(self, plan, confirm=confirm, journal=journal)

    @checked()
    async def resume(
        self,
        *,
        rollback: bool = False,
        keep: bool = False,
        agreed: bool = False,
        waive: Collection[str] = (),
        confirm: Callable[[str], bool] | None = None,
        journal: Journal | None = None,
    ) -> config.Outcome:
        """End a change that was cut off: finish it, set it back (`rollback`), or only declare it
        over (`keep`). See `bmslink.config.resume`."""
        return await config.resume(
            self,
            rollback=rollback,
            keep=keep,
            agreed=agreed,
            waive=waive,
            confirm=confirm,
            journal=journal,
        )

    @checked()
    async def plan_undo(
        self,
        *,
        keep_changed: bool = False,
        waive: Collection[str] = (),
        chemistry: str | None = None,
        journal: Journal | None = None,
    ) -> config.Plan:
        """What `undo` would do; it only reads. `apply` does it."""
        return await config.draft_undo(
            self, keep_changed=keep_changed, waive=waive, chemistry=chemistry, journal=journal
        )

    @checked()
    async def undo(
        self,
        *,
        keep_changed: bool = False,
        waive: Collection[str] = (),
        chemistry: str | None = None,
        journal: Journal | None = None,
    ) -> config.Outcome:
        """Go back to what was set before the last change of this pack, an undo included.

        A setting that somebody else changed since is refused (`GateError`, the check `unchanged`):
        `keep_changed` leaves it as it is, waiving `unchanged` sets it back too.
        """
        return await config.undo(
            self, keep_changed=keep_changed, waive=waive, chemistry=chemistry, journal=journal
        )

    async def verify(self, *, journal: Journal | None = None) -> config.Verification:
        """Compare what our last change of this pack left with what the board holds now."""
        return await config.verify(self, journal=journal)

    @checked()
    async def balance_session(
        self,
        *,
        interval: float = 5.0,
        sink: Callable[[dict[str, Any]], None] | None = None,
        on_news: Callable[[str], None] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Bring the cells together at the top of charge, for hours, and set everything back.

        `sink` gets the charge limits (`cvl` V, `ccl` A, `ttl` s) and has to see to it that the
        charger obeys; without one, `supply` is the voltage of a constant-voltage supply. Options:
        `target` (V, 0.010), `top` (V), `current` (A), `capacity` (Ah), `chemistry`, `supply` (V),
        `hours` (48), `waive`. Gives the report of `bmslink balance session --json`: `done`,
        `before`, `after`, `set_back`, … To cancel the call ends it, after all is set back. A pack
        that a service owns is balanced there. Raises `GateError` where it is refused.
        """
        sessions = importlib.import_module("bmslink.runtime.sessions.calling")
        found: dict[str, Any] = await sessions.balance(
            self._board, options, interval=interval, sink=sink, on_news=on_news
        )
        return found

    # ------------------------------------------------------------------------ switches, clock, SOC

    @checked()
    async def switch(
        self,
        switch: str | Command,
        on: bool | None = None,
        *,
        waive: Collection[str] = (),
        journal: Journal | None = None,
    ) -> config.Outcome:
        """Switch `charge`, `discharge` or `balance` on or off, and read what it did.

        Off is sent at once: no lock, no plan and no unfinished change holds it up. On waits for
        all of them, and is refused (`GateError`) while an emergency stop or a policy holds the
        switch off. A `control run` that acts on the pack switches itself, so that it knows; where
        it has the line, leave the device closed: it is opened here if need be. `outcome.result`
        is `done`, `ignored` (the board reports it as before) or `unproven`.
        """
        if isinstance(switch, Command) == (on is not None):
            raise UsageError("switch(): it must be a name with True or False, or a Command.")
        command = switch if isinstance(switch, Command) else Command(Switch.of(switch), on is True)
        return await config.switch(self, command, waive=waive, journal=journal)

    @checked()
    async def set_clock(
        self,
        moment: datetime | None = None,
        *,
        waive: Collection[str] = (),
        journal: Journal | None = None,
    ) -> config.Outcome:
        """Set the board's clock to a moment with its zone, or to now, and read it back."""
        wish = Adjustment(clock=moment or datetime.now(UTC))
        return await self._adjust(wish, moment is None, waive, journal)

    @checked()
    async def set_soc(
        self, percent: float, *, waive: Collection[str] = (), journal: Journal | None = None
    ) -> config.Outcome:
        """Set the state of charge that the board counts on from, 0 to 100 %, and read it back."""
        return await self._adjust(Adjustment(soc=percent), False, waive, journal)

    async def _adjust(
        self, wish: Adjustment, now: bool, waive: Collection[str], journal: Journal | None
    ) -> config.Outcome:
        plan = await config.draft_adjustment(self, wish, now=now, waive=waive, journal=journal)
        return await config.adjust(self, plan, journal=journal)


@checked(TargetError)
def connect(
    target: str | os.PathLike[str] | Endpoint | BLEDevice | None = None,
    *,
    protocol: str | None = None,
    address: int | None = None,
    baudrate: int | None = None,
    timeout: float | None = None,
    record: IO[bytes] | None = None,
    pin: str | Pin | None = None,
    transport: Transport | None = None,
    client: ClientFactory | None = None,
    on_progress: OnProgress | None = None,
) -> Device:
    """The pack at a target, at a serial port (a `Path`), or by its name in bmslink.toml; opened by
    `async with`.

    The options override the target's own `?key=value`. `record` takes every byte both ways in
    the capture format, passwords blanked, and is closed with the device. `pin` is what a pack that
    asks who we are is told; else BMSLINK_PIN, else what stands beside the name in bmslink.toml.
    `on_progress` is told how far reading and changing settings are: what is done, how much of it,
    of how much. A pack that a running service owns is asked through it.
    Raises `TargetError` at once, others on opening.

    Programs that own the connection hand it over, and name the `protocol`:

    * `transport` is a byte stream of theirs; `target` is then what the journal calls the place of
      this pack (each pack needs its own name before anything is changed);
    * `target` may be a `BLEDevice` of bleak, which is not scanned for; `client`, an async
      function, gets it and a function to call when it disconnects, and gives a connected
      `BleakClient` (for instance that of `bleak_retry_connector.establish_connection`).
    """
    keys: dict[str, object] = {"address": address, "baudrate": baudrate, "timeout": timeout}
    make: MakeTransport | None = None
    if transport is not None or client is not None or not is_written(target):
        endpoint, make = embedded(target, protocol, keys, transport, client)
    else:
        endpoint = resolve(
            target, protocol=protocol, address=address, baudrate=baudrate, timeout=timeout
        )
    text = None if make else str(target)
    board = board_at(
        endpoint,
        record=record,
        pin=pin if isinstance(pin, Pin) else find_pin(text, pin),
        named=find_pack(text) if text is not None else None,
        transport=make,
    )
    board.on_progress = on_progress
    return Device(board)
