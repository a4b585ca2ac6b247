"""A board whose line a running service owns: what is asked of it is done there.

Where a program makes a `Board`, `board_at` looks whether a service owns the place, and then makes
one of these: the same to its user, who gets readings, settings, plans and outcomes, and no frames.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

from bmslink import registry
from bmslink.board import Board
from bmslink.connection import MakeTransport
from bmslink.errors import BmsError, PortBusy, TargetError, TransportError
from bmslink.link.gatt import SeenDevice
from bmslink.link.link import Link
from bmslink.link.transport import Endpoint, Pin
from bmslink.model import Adjustment, Command, Identity, Reading
from bmslink.packs import NamedPack
from bmslink.past import BoardPast
from bmslink.protocols import is_protocol
from bmslink.protocols.base import Driver
from bmslink.protocols.common.settings_map import SettingsMap, SettingsSnapshot, Slot
from bmslink.registry import Served
from bmslink.served_recording import ServedRecording
from bmslink.service_client import Lost, ServiceClient
from bmslink.storage.journal import Transaction

if TYPE_CHECKING:
    from bmslink.served_changes import ServedChanges

__all__ = ["ServedBoard", "board_at"]

_log = logging.getLogger(__name__)


def board_at(
    endpoint: Endpoint,
    *,
    record: IO[bytes] | None = None,
    pin: Pin | None = None,
    tell: Callable[[str], None] = _log.info,
    named: NamedPack | None = None,
    transport: MakeTransport | None = None,
    tapped: bool = False,
) -> Board:
    """The board at a place, not opened yet: asked through the service that owns it, if one runs.

    The arguments are those of `Board`. Raises `PortBusy` where a service owns the line and serves
    other addresses on it.
    """
    served = registry.find(endpoint) if transport is None else None
    if served is not None:
        return ServedBoard(served, endpoint, record=record, tell=tell, named=named)
    return Board(
        endpoint,
        record=record,
        pin=pin,
        tell=tell,
        named=named,
        transport=transport,
        tapped=tapped,
    )


class ServedBoard(Board):
    """A pack that a running service owns."""

    def __init__(
        self,
        served: Served,
        endpoint: Endpoint,
        *,
        record: IO[bytes] | None = None,
        tell: Callable[[str], None] = _log.info,
        named: NamedPack | None = None,
    ) -> None:
        """`served` is what the registry says of it."""
        self.served = served
        self._client = ServiceClient(served.service, endpoint.label)
        self._path = f"/api/v1/packs/{quote(served.name, safe='')}"
        self._greeting: dict[str, Any] = {}
        self._recording: ServedRecording | None = None
        self._counted = (0, 0)
        self._greeted = False
        self._heard: datetime | None = None
        self._changes: ServedChanges | None = None
        super().__init__(endpoint, record=record, tell=tell, named=named)

    def _build(self) -> None:
        """Nothing here depends on the protocol."""
        self._built = True

    def _away(self, what: str) -> NoReturn:
        raise PortBusy(
            f"A service (process {self.served.service.pid}) owns the line of {self.target}: {what} "
            f"here. `bmslink service lend {self.served.name}` hands its line over for a while."
        )

    @property
    def link(self) -> Link[Any]:
        """Raises `PortBusy`: the link is the service's."""
        self._away("there is no link")

    @property
    def driver(self) -> Driver[Any]:
        """Raises `PortBusy`: the driver is the service's."""
        self._away("there is no driver")

    @property
    def certain(self) -> bool:
        """Never: the service knows."""
        return False

    def peer(self) -> SeenDevice | None:
        """The radio module that the service is connected with."""
        told = self._greeting.get("peer")
        if not isinstance(told, dict) or not isinstance(told.get("address"), str):
            return None
        return SeenDevice(address=told["address"], name=str(told.get("name") or ""))

    @property
    def recorded(self) -> tuple[int, int]:
        """Pieces and bytes in the recording."""
        return self._counted if self._recording is None else self._recording.counted

    # ------------------------------------------------------------------------- opening and closing

    async def open(self) -> None:
        """Greet the service; the pack itself is open there, or opened again and again."""
        if self._record is not None and self._record.closed:
            raise TransportError("The recording of this device is finished: connect anew.")
        status, found = await self._client.ask("GET", f"{self._path}/hello")
        if status != 200:
            raise _error(found)
        if found.get("service") != "bmslink":
            raise TransportError(
                f"What answers at {self.served.service.socket} is no service of bmslink. If none "
                f"runs, remove {self.served.service.file} and try again."
            )
        self._greeting = found
        self._settle(str(found.get("protocol") or ""))
        self._built, self.known = True, None
        self.introduce(self._tell)
        if self._record is not None and self._recording is None:
            self._recording = await ServedRecording.begin(self._client, self._path, self._record)

    def introduce(self, tell: Callable[[str], None]) -> None:
        """Say who is asked, once."""
        if not self._greeted:
            self._greeted = True
            tell(
                f"{self.target.label}: asked through the service (process "
                f"{self.served.service.pid}), which owns its line."
            )

    def _settle(self, protocol: str) -> None:
        """Take the protocol from the service; `TargetError` where another one was asked for."""
        asked = self.target.protocol
        if protocol and is_protocol(asked) and asked != protocol:
            raise TargetError(
                f"The service (process {self.served.service.pid}) owns this place and speaks "
                f"{protocol} there, not {asked}: leave the protocol out, or change it in the "
                "service's bmslink.toml."
            )
        if protocol:
            self.target = replace(self.target, protocol=protocol)

    async def close(self) -> None:
        """End the recording; the service goes on."""
        recording, self._recording = self._recording, None
        try:
            if recording is not None:
                await recording.end()
                self._counted = recording.counted
        finally:
            if self._record is not None:
                self._record.close()

    async def reopen(self) -> None:
        """Greet it again, or the service that has come in its place."""
        found = registry.served_pack(self.served.name)
        if found is not None:
            self.served = found
            self._client = ServiceClient(found.service, self.target.label)
        await self.open()

    # -------------------------------------------------------------------------------------- asking

    def require_version(self) -> None:
        """`TransportError` where the service runs another version, whose forms may differ."""
        other, mine = str(self._greeting.get("version"))[:40], registry.running_version()
        if other != mine:
            raise TransportError(
                f"The service (process {self.served.service.pid}) runs bmslink {other}, and this "
                f"is {mine}: restart the service. `bmslink switch` turns off all the same."
            )

    async def call(
        self, road: str, request: Any, *, first: float = 15.0, lost: Lost | None = None
    ) -> Any:
        """What the service answers to a request, with its progress on the way.

        Raises the errors that it raised, as if they were raised here. `lost` makes the error where
        the service itself fails; it gets that error, and whether the request had gone out.
        """
        if self._recording is not None:
            self._recording.check()
        out: list[bool] = []
        try:
            end = await self._client.end_of(
                f"{self._path}/{road}",
                request,
                first=first,
                progress=self.progress,
                note=lambda text: self._tell(f"{self.target.label}: {text}"),
                sent=lambda: out.append(True),
            )
        except TransportError as error:
            raise error if lost is None else lost(error, bool(out)) from error
        if "error" in end:
            raise _error(end)
        return end["done"]

    async def _ask(self, what: str, **more: Any) -> Any:
        self.require_version()
        return await self.call("ask", {"what": what, **more})

    async def identify(self) -> Identity:
        """Who the pack is."""
        return await self._identity("identify")

    async def _identity(self, what: str) -> Identity:
        from bmslink.service_values import of_form

        self.known = of_form(Identity, await self._ask(what))
        return self.known

    async def who(self) -> Identity:
        """The same."""
        return await self.identify()

    async def inspect(self) -> Identity:
        """Who the pack is, after it was asked which settings it has."""
        return await self._identity("inspect")

    async def read(self) -> Reading:
        """A reading that is newer than the last one: the service's latest while it is younger than
        its interval, else a new one. What is recorded is always asked anew."""
        after = None if self._heard is None else self._heard.isoformat()
        found = await self._ask("read", after=after, anew=self._recording is not None)
        reading = Reading.from_dict(found)
        self._heard = reading.time or self._heard
        return replace(reading, target=str(self.target), name=self.target.name or None)

    async def past(self, limit: int = 100, *, brief: bool = False) -> BoardPast:
        """What the board remembers; the service asks for little where policies act on it."""
        from bmslink.service_values import of_form

        found = of_form(BoardPast, await self._ask("past", limit=limit))
        return replace(found, target=str(self.target), name=self.target.name or None)

    async def settings_map(self, identity: Identity) -> SettingsMap:
        """The settings that this board has."""
        from bmslink.service_tables import MapForm
        from bmslink.service_values import of_form

        return of_form(MapForm, await self._ask("map")).map()

    async def settings(self, settings_map: SettingsMap | None = None) -> SettingsSnapshot:
        """All settings as the board holds them now, or those of a map."""
        return await self._table("settings", settings_map)

    async def glance(self, settings_map: SettingsMap, *, again: bool = False) -> SettingsSnapshot:
        """The same, read once."""
        return await self._table("glance", settings_map, again=again)

    async def _table(
        self, what: str, settings_map: SettingsMap | None, **more: Any
    ) -> SettingsSnapshot:
        from bmslink.service_tables import SnapshotForm
        from bmslink.service_values import of_form

        slots = None if settings_map is None else [s.address for s in settings_map.slots]
        found = of_form(SnapshotForm, await self._ask(what, slots=slots, **more)).snapshot()
        return found if settings_map is None else replace(found, map=settings_map)

    async def clock(self) -> datetime | None:
        """What the board's clock shows."""
        told = await self._ask("clock")
        return datetime.fromisoformat(told) if isinstance(told, str) else None

    @asynccontextmanager
    async def conversation(self) -> AsyncIterator[None]:
        """Each question is one of its own: the service lets nobody hold the line."""
        yield

    async def leave_session(self) -> None:
        """Nothing is kept open."""

    # ------------------------------------------------------------------------------------- changes

    def elsewhere(self, name: str) -> Callable[..., Any] | None:
        """What does a function of `config` with this pack."""
        if self._changes is None:
            from bmslink.served_changes import ServedChanges

            self._changes = ServedChanges(self)
        return self._changes.function(name)

    @property
    def open_change(self) -> str | None:
        """What was cut off earlier on this pack, as the service said when it was greeted."""
        told = self._greeting.get("open_change")
        return told if isinstance(told, str) else None

    def writing(self, *, waits: bool = True) -> Any:
        """Raises `PortBusy`: the service writes."""
        self._away("nothing is written from")

    async def fetch(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        """Raises `PortBusy`."""
        self._away("no raw slot is read from")

    async def store(
        self,
        settings_map: SettingsMap,
        slot: Slot,
        data: bytes,
        transaction: Transaction,
        patience: float = 0.0,
    ) -> float:
        """Raises `PortBusy`."""
        self._away("nothing is written from")

    async def send(self, command: Command, transaction: Transaction) -> None:
        """Raises `PortBusy`."""
        self._away("no frame is sent from")

    async def adjust(self, wish: Adjustment, transaction: Transaction) -> None:
        """Raises `PortBusy`."""
        self._away("no frame is sent from")


def _error(form: dict[str, Any]) -> BmsError:
    """What was raised there; who only reads need not load what it takes."""
    from bmslink.service_errors import error_of

    return error_of(form)
