"""`bmslink service lend` and `release`: the line of a served pack, for somebody else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bmslink.cli import options as o
from bmslink.cli.output import FOUND, Session
from bmslink.cli.serving import ListenOptions
from bmslink.errors import PortNotFound, TargetError, TransportError

if TYPE_CHECKING:
    from bmslink.link.transport import Endpoint
    from bmslink.registry import Served
    from bmslink.service_client import ServiceClient

__all__ = ["lend", "release"]

_TIME = re.compile(r"(\d+(?:\.\d+)?) *(s|min|m|h|)")
_SECONDS = {"s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_GOODBYE = 30.0
"""How long the comparing afterwards may take, s."""
_OLD = 1.0
"""How long a guest's bytes may wait until the line is lent, s."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _duration(text: str | float) -> float:
    """`90`, `90s`, `10m`, `1.5h`: in s; up to a day."""
    from bmslink.runtime.lending import LONGEST

    found = _TIME.fullmatch(str(text).strip())
    value = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if not 0 < value <= LONGEST:
        raise typer.BadParameter(f"{text!r} is no time like 90s, 10m or 2h, up to a day.")
    return value


Pack = Annotated[str, typer.Argument(metavar="PACK", help="A served pack: its name or target.")]
End = Annotated[bool, typer.Option("--end", help="Take the line back now.")]


def lend(
    ctx: typer.Context,
    pack: Pack,
    duration: Annotated[
        float,
        typer.Option(
            "--for", parser=_duration, metavar="TIME", help="How long.", show_default="10m"
        ),
    ] = 600.0,
    end: End = False,
    *,
    listen: ListenOptions,
) -> None:
    """Lend the line of a served pack to another program, byte for byte.

    On a pseudo-terminal or a TCP port of this machine, until the time is up or Ctrl-C. Meanwhile
    the pack is not read, and to policies it is silent. Switching anything off ends it at once.
    Afterwards the settings are compared: exit code 5 if any changed.
    """
    from bmslink.cli.loop import run

    session = o.session_of(ctx)
    session.no_trace("service lend")
    if end:
        _end(session, pack, "lend")
        return
    if listen.tcp is not None:
        _require_loopback(listen.tcp)
    lending = _Lending(session, _find(pack))
    run(lending.run(listen.pty, listen.tcp, duration))
    if lending.drift:
        raise typer.Exit(FOUND)


def release(
    ctx: typer.Context,
    pack: Pack,
    duration: Annotated[
        float,
        typer.Option(
            "--for", parser=_duration, metavar="TIME", help="How long.", show_default="15m"
        ),
    ] = 900.0,
    end: End = False,
) -> None:
    """Give up the Bluetooth link of a served pack, so that the phone's app can connect.

    The service reconnects when the time is up. Until then, switch off with the app: bmslink cannot.
    """
    from bmslink.cli.loop import run

    session = o.session_of(ctx)
    session.no_trace("service release")
    if end:
        _end(session, pack, "release")
        return
    served = _find(pack)
    found = run(_post(served, "release", {"seconds": duration}))
    if session.json:
        session.record({"released": served.name, "until": found.get("until")})
    else:
        session.print(
            f"{served.name}: the Bluetooth link is given up until {_clock(found.get('until'))}. "
            "Connect with the phone's app; close it before the time is over."
        )


def _find(pack: str) -> Served:
    """The served pack of a name or target. Raises `PortNotFound`."""
    from bmslink import registry
    from bmslink.target import resolve

    found = registry.served_pack(pack)
    if found is None:
        try:
            found = registry.find(resolve(pack))
        except TargetError as error:
            raise PortNotFound(
                f"No running service has a pack {pack!r}; `bmslink service status` lists them."
            ) from error
    if found is None:
        raise PortNotFound(
            f"No running service owns {pack}: other programs can use its line as it is. What is "
            "served lists `bmslink service status`."
        )
    return found


def _client(served: Served) -> tuple[ServiceClient, str]:
    from urllib.parse import quote

    from bmslink.service_client import ServiceClient

    path = f"/api/v1/packs/{quote(served.name, safe='')}"
    return ServiceClient(served.service, served.name), path


async def _post(served: Served, road: str, wish: dict[str, Any]) -> dict[str, Any]:
    from bmslink.service_errors import error_of

    client, path = _client(served)
    status, found = await client.ask("POST", f"{path}/{road}", wish)
    if status >= 400:
        raise error_of(found)
    return found


def _end(session: Session, pack: str, road: str) -> None:
    from bmslink.cli.loop import run

    served = _find(pack)
    ended = run(_post(served, road, {"end": True})).get("ended")
    if session.json:
        session.record({"pack": served.name, "ended": bool(ended)})
    elif ended:
        session.print(f"{served.name}: the line is on its way back.")
    else:
        session.print(f"{served.name}: nobody else had the line.")


def _require_loopback(place: str) -> None:
    """What is lent has no password: only programs of this machine may reach it."""
    from bmslink.link.transport import split_host

    host = split_host(f"{place[:-2]}:1" if place.endswith(":0") else place)[0]
    if host.lower() not in _LOOPBACK:
        raise TargetError(
            f"A lent line has no password, so it is for programs of this machine: --tcp "
            f"127.0.0.1:{place.rpartition(':')[2]}. From another one, `ssh -L` leads there."
        )


def _clock(until: object) -> str:
    from datetime import datetime

    try:
        return f"{datetime.fromisoformat(str(until)).astimezone():%H:%M:%S}"
    except ValueError:
        return "later"


class _Lending:
    """The line between the service and whoever connects here."""

    def __init__(self, session: Session, served: Served) -> None:
        self.drift: list[dict[str, Any]] = []
        self._session = session
        self._served = served
        self._client, self._path = _client(served)
        self._guests: list[Callable[[bytes], None]] = []
        self._typed = bytearray()
        self._typed_at = 0.0
        self._news = asyncio.Event()
        self._key = ""

    async def run(self, pty: str | None, tcp: str | None, seconds: float) -> None:
        """Until it is over; Ctrl-C gives the line back and waits for what changed."""
        from bmslink.simulation.serve import open_places

        async with AsyncExitStack() as stack:
            places = await open_places(stack, self._open, "", pty=pty, tcp=tcp)
            whom = " and ".join(place.place for place in places)
            wish = {"seconds": seconds, "to": whom}
            self._session.say(
                f"{self._served.name}: its settings are read first, to be compared afterwards; "
                "what is sent meanwhile goes nowhere."
            )
            sending = asyncio.create_task(self._send())
            stack.callback(sending.cancel)
            following = asyncio.create_task(self._follow(wish, places))
            try:
                await asyncio.shield(following)
            except asyncio.CancelledError:
                await self._give_back(following)
                raise

    async def _give_back(self, following: asyncio.Task[None]) -> None:
        try:
            async with asyncio.timeout(_GOODBYE):
                await _post(self._served, f"lend/{self._key}", {"end": True})
                await following
        except (TransportError, TimeoutError):
            self._session.complain("Whether the settings changed meanwhile is not known.")
        finally:
            following.cancel()

    async def _follow(self, wish: dict[str, Any], places: list[Endpoint]) -> None:
        from bmslink.service_errors import error_of

        lines = self._client.lines("POST", f"{self._path}/lend", wish)
        async with aclosing(lines) as coming:
            async for line in coming:
                if "error" in line:
                    raise error_of(line)
                if "begun" in line:
                    self._drop_old()
                    self._key = str(line["begun"])
                    self._news.set()
                    self._tell_begun(places, line.get("until"))
                elif isinstance(data := line.get("rx"), str):
                    self._deliver(bytes.fromhex(data))
                elif isinstance(ended := line.get("done"), dict):
                    self._tell_ended(ended)
                    return

    def _deliver(self, data: bytes) -> None:
        for guest in tuple(self._guests):
            guest(data)

    async def _send(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._key and self._typed:
                data = bytes(self._typed)
                self._typed.clear()
                try:
                    await _post(self._served, f"lend/{self._key}", {"tx": data.hex()})
                except TransportError as error:  # it is over; the other task says how
                    self._session.say(str(error))
                    return

    def _open(
        self, deliver: Callable[[bytes], None], *, client_rate: Callable[[], int] | None = None
    ) -> _Guest:
        del client_rate  # the line behind has its own
        return _Guest(self, deliver)

    def take(self, data: bytes) -> None:
        """Bytes from a guest."""
        if not self._key:
            self._drop_old()
        self._typed += data
        self._typed_at = asyncio.get_running_loop().time()
        self._news.set()

    def _drop_old(self) -> None:
        """What a guest sent long before the line is its own goes nowhere: nobody waits for the
        answer any more, and a command may mean something else by now."""
        if asyncio.get_running_loop().time() - self._typed_at > _OLD:
            self._typed.clear()

    @property
    def guests(self) -> list[Callable[[bytes], None]]:
        """What hands bytes to those who are connected."""
        return self._guests

    def _tell_begun(self, places: list[Endpoint], until: object) -> None:
        name = self._served.name
        targets = [str(place) for place in places]
        if self._session.json:
            self._session.record({"lent": name, "at": targets, "until": until})
        else:
            self._session.write(
                f"{name} is lent at {' and '.join(targets)} until {_clock(until)}; Ctrl-C gives it "
                "back."
            )

    def _tell_ended(self, ended: dict[str, Any]) -> None:
        from bmslink.runtime.lending import REASONS

        rows = ended.get("drift")
        self.drift = (
            [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        )
        reason = str(ended.get("reason") or "over")[:40]
        name = self._served.name
        if self._session.json:
            drift = self.drift if isinstance(rows, list) else None
            self._session.record({"returned": name, "reason": reason, "drift": drift})
            return
        why = REASONS.get(reason, reason)
        if not isinstance(rows, list):
            self._session.print(
                f"{name}: the line is back ({why}); its settings cannot be read, so whether they "
                "changed is not known."
            )
            return
        if not self.drift:
            self._session.print(f"{name}: the line is back ({why}); its settings are as before.")
            return
        self._session.print(
            f"{name}: the line is back ({why}), and its settings changed meanwhile:"
        )
        for row in self.drift:
            unit = f" {row.get('unit')}" if row.get("unit") else ""
            self._session.print(
                f"  {row.get('key')}: {row.get('before')} -> {row.get('after')}{unit}"
            )


class _Guest:
    """One program that is connected."""

    def __init__(self, lending: _Lending, deliver: Callable[[bytes], None]) -> None:
        self._lending = lending
        self._deliver = deliver
        lending.guests.append(deliver)

    def receive(self, data: bytes) -> None:
        """Bytes from it."""
        self._lending.take(data)

    def close(self) -> None:
        """It has gone."""
        if self._deliver in self._lending.guests:
            self._lending.guests.remove(self._deliver)
