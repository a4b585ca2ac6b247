"""The same packs for plain scripts, without `async`.

```python
with bmslink.blocking.connect("sim://jbd") as device:
    reading = device.read()
    for reading in device.stream(interval=1.0):
        ...
```

Everything happens in one event loop in a background thread, which starts with the first call and
ends with the program. Any number of threads may call; errors are those of `bmslink` itself, and
Ctrl-C ends a call that waits. A call in the middle of somebody's own event loop works (every cell
of a notebook is one) and holds that loop up; there, `await` the asynchronous interface instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, NoReturn, Self

from bmslink import config
from bmslink import device as aio
from bmslink.arguments import checked
from bmslink.background import background, iterate
from bmslink.config.files.backup import Backup
from bmslink.config.files.profile import Profile
from bmslink.connection import OnProgress
from bmslink.decoding import decode
from bmslink.errors import BmsError, TargetError
from bmslink.link.transport import Endpoint, Pin, Transport
from bmslink.model import Command, Identity, Reading
from bmslink.past import BoardPast
from bmslink.protocols.common.settings_now import Settings
from bmslink.storage.journal import Journal

if TYPE_CHECKING:
    from bmslink.discovery.scan import Found
    from bmslink.transports.ble.transport import BLEDevice, ClientFactory

__all__ = ["Device", "connect", "decode", "scan"]


class Device:
    """A pack, as `bmslink.Device`, with methods that wait. Use it in a `with` block.

    Values are in V, A (positive while charging), °C, Ah, Ω, s and %; `None` is unknown. Methods
    raise errors of `bmslink.errors` and nothing else.
    """

    @checked(TargetError)
    def __init__(self, device: aio.Device) -> None:
        """`connect` calls this."""
        self._device = device
        background.take(device)

    def __reduce__(self) -> NoReturn:
        raise TypeError("An open line cannot be copied or sent elsewhere: connect anew there.")

    @property
    def target(self) -> Endpoint:
        """Where the pack is, as resolved; its protocol is known at the latest when it is open."""
        return self._device.target

    def __enter__(self) -> Self:
        background.run(self._device.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        background.run(self._device.__aexit__(kind, error, trace))

    def open(self) -> None:
        """Open the link, find the protocol where it is not known, and greet the board."""
        background.run(self._device.open())

    def reopen(self) -> None:
        """Close and open again, after the link was lost."""
        background.run(self._device.reopen())

    def close(self) -> None:
        """Close the link; may be called twice."""
        background.run(self._device.close())

    def identify(self) -> Identity:
        """Who the pack is: vendor, model, firmware, serial number, and what it can do."""
        return background.run(self._device.identify())

    def inspect(self) -> Identity:
        """The same, after asking it which settings it has: `capabilities` are those of this board
        then, and not those of its kind."""
        return background.run(self._device.inspect())

    def read(self) -> Reading:
        """One complete reading."""
        return background.run(self._device.read())

    def stream(
        self,
        interval: float = 1.0,
        *,
        reconnect: bool = False,
        on_trouble: Callable[[BmsError, float], None] | None = None,
    ) -> Generator[Reading, None, None]:
        """A reading every `interval` seconds (0: as fast as the board answers), kept to the beat.

        The first error ends it, unless `reconnect`: then silence is passed over, a lost link is
        opened again with pauses that double from 1 s to 30 s, and `on_trouble` gets each error and
        the seconds until the next try. Another board that answers afterwards is not noticed here:
        `identify` tells.
        """
        return iterate(self._device.stream(interval, reconnect=reconnect, on_trouble=on_trouble))

    def clock(self) -> datetime | None:
        """What the board's clock shows; `None` where it does not say."""
        return background.run(self._device.clock())

    def past(self, limit: int = 100) -> BoardPast:
        """What the board itself remembers: the events of its logs, its counters, and what it
        reports now. It only reads.

        At most the newest `limit` entries (1 to 1000) of a log whose entries are asked for one by
        one; another log comes whole, which may take half a minute. What such boards do not have is
        in `missing`, with the reason.
        """
        return background.run(self._device.past(limit))

    def settings(self) -> Settings:
        """All settings as the board holds them now: `settings["cell_ovp"].value`, `.unit`, …

        Raises `SettingError` where none are known of such a board.
        """
        return background.run(self._device.settings())

    def plan(
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
        return background.run(
            self._device.plan(
                wanted,
                raw=raw,
                switches=switches,
                waive=waive,
                chemistry=chemistry,
                journal=journal,
            )
        )

    draft = plan
    """The name that `plan` had in 0.1.0; it goes with 0.3.0."""

    def apply(
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
        return background.run(self._device.apply(plan, confirm=confirm, journal=journal))

    def plan_undo(
        self,
        *,
        keep_changed: bool = False,
        waive: Collection[str] = (),
        chemistry: str | None = None,
        journal: Journal | None = None,
    ) -> config.Plan:
        """What `undo` would do; it only reads. `apply` does it."""
        return background.run(
            self._device.plan_undo(
                keep_changed=keep_changed, waive=waive, chemistry=chemistry, journal=journal
            )
        )

    def undo(
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
        return background.run(
            self._device.undo(
                keep_changed=keep_changed, waive=waive, chemistry=chemistry, journal=journal
            )
        )

    def resume(
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
        return background.run(
            self._device.resume(
                rollback=rollback,
                keep=keep,
                agreed=agreed,
                waive=waive,
                confirm=confirm,
                journal=journal,
            )
        )

    def verify(self, *, journal: Journal | None = None) -> config.Verification:
        """Compare what our last change of this pack left with what the board holds now."""
        return background.run(self._device.verify(journal=journal))

    def balance_session(
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
        return background.run(
            self._device.balance_session(interval=interval, sink=sink, on_news=on_news, **options)
        )

    def switch(
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
        return background.run(self._device.switch(switch, on, waive=waive, journal=journal))

    def set_clock(
        self,
        moment: datetime | None = None,
        *,
        waive: Collection[str] = (),
        journal: Journal | None = None,
    ) -> config.Outcome:
        """Set the board's clock to a moment with its zone, or to now, and read it back."""
        return background.run(self._device.set_clock(moment, waive=waive, journal=journal))

    def set_soc(
        self, percent: float, *, waive: Collection[str] = (), journal: Journal | None = None
    ) -> config.Outcome:
        """Set the state of charge that the board counts on from, 0 to 100 %, and read it back."""
        return background.run(self._device.set_soc(percent, waive=waive, journal=journal))


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
    `with`.

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
    return Device(
        aio.connect(
            target,
            protocol=protocol,
            address=address,
            baudrate=baudrate,
            timeout=timeout,
            record=record,
            pin=pin,
            transport=transport,
            client=client,
            on_progress=on_progress,
        )
    )


def scan(
    *,
    ble: bool | None = None,
    serial: bool | None = None,
    ports: Sequence[str] = (),
    protocol: str | None = None,
    timeout: float | None = None,
    connect: bool = False,
    pin: str | Pin | None = None,
    on_found: Callable[[Found], None] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> list[Found]:
    """Look for packs over Bluetooth and on serial ports at once; the surest first.

    `ble` and `serial` choose (neither: both, and Bluetooth that does not work is a remark);
    `ports` names the ports and gateways instead of all ports of this machine, and leaves
    Bluetooth out unless it is asked for; `protocol` may be a vendor. `timeout` is how long adverts
    are listened to (8 s) and how long one port may take (as long as its questions take, some
    25 s). `connect` asks what an advert leaves open. Ports where nothing was found come last, with
    the reason.

    Raises `TargetError` for a port that cannot be, and what keeps Bluetooth from working where
    `ble` asks for it.
    """
    from bmslink.discovery import scan as discovery  # when it is asked for: it loads every protocol

    return background.run(
        discovery.scan(
            ble=ble,
            serial=serial,
            ports=ports,
            protocol=protocol,
            timeout=timeout,
            connect=connect,
            pin=pin,
            on_found=on_found,
            on_progress=on_progress,
        )
    )
