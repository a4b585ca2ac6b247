"""A simulated pack for other programs: on a pseudo-terminal, a TCP port, over Bluetooth, or on all.

All clients see the same pack; each has a line of its own, so half a request of one cannot spoil
another's. On a pseudo-terminal a client at the wrong baud rate is not understood and gets the
garbage a UART would make of the answer. A client that never sets a rate is at the terminal's
38400, which is wrong for every protocol here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from bmslink.errors import PortNotFound, TargetError, TransportError
from bmslink.link.transport import Endpoint, split_host
from bmslink.simulation.ble.catalogue import Radio
from bmslink.simulation.boards.readback import shows
from bmslink.simulation.console import execute_on, raised
from bmslink.simulation.listening import OpenLine, listen_error
from bmslink.simulation.transport import SimDevice, SimLine, make_device

__all__ = ["open_places", "serve"]

_TICK = 1.0  # s: how often the pack lives on while nobody asks
_MAX_UNREAD = 1 << 16  # bytes a TCP client may leave unread before it loses some


async def serve(
    protocol: str,
    *,
    pty: str | None = None,
    tcp: str | None = None,
    ble: Radio | None = None,
    cells: int | None = None,
    chemistry: str = "lfp",
    capacity: float = 100.0,
    soc: float = 60.0,
    seed: int = 1,
    address: int | Sequence[int] | None = None,
    firmware: str | None = None,
    speed: float = 1.0,
    faults: Sequence[str] = (),
    load: str = "cycle",
    imbalance: float | None = None,
    announce: Callable[[str], None] = lambda target: None,
    commands: AsyncIterator[str] | None = None,
    reply: Callable[[str], None] = lambda text: None,
    tell: Callable[[str], None] = lambda text: None,
    pace: bool = False,
) -> None:
    """Serve a simulated pack until cancelled.

    `cells` and `address` are those of `make_device`: several addresses are several packs.
    `pty` is where the link to the pseudo-terminal is made, `tcp` is `HOST:PORT` (port 0: any
    free one), `ble` how it is on the air. Each target is given to `announce` once it can be
    talked to. `commands` are console lines (`bmslink.simulation.console`), answered through
    `reply`; when they end, serving goes on. `tell` gets remarks: of `faults` for which the
    protocol has no sign. `pace` gives every byte its time at the device's baud rate. Raises
    `TargetError` for a pack that cannot be, `TransportError` for a port that cannot be opened.
    """
    device = make_device(
        protocol,
        cells=cells,
        chemistry=chemistry,
        capacity=capacity,
        soc=soc,
        seed=seed,
        address=address,
        firmware=firmware,
        speed=speed,
        load=load,
        imbalance=imbalance,
        faults=faults,
    )
    async with contextlib.AsyncExitStack() as stack:
        open_line = partial(SimLine, device, pace=pace)
        places = []
        if ble is not None:
            places.append(await _open_radio(stack, open_line, device, protocol, ble, seed))
        if ble is None or pty is not None or tcp is not None:
            places += await open_places(stack, open_line, protocol, pty=pty, tcp=tcp)
        for place in places:
            for number in device.packs or (None,):
                announce(str(place.with_query(address=number)))
        for fault in faults:
            if mute := await _mute(protocol, device, f"fault {fault}"):
                tell(f"{protocol} has no sign for {mute}: no reading will show it.")
        await _live(protocol, device, commands, reply)


async def open_places(
    stack: contextlib.AsyncExitStack,
    open_line: OpenLine,
    protocol: str,
    *,
    pty: str | None,
    tcp: str | None,
) -> list[Endpoint]:
    """Serve a device on a pseudo-terminal, a TCP port or both until the stack is closed.

    Gives back where it can be reached, each place as a target. Raises as `serve` does.
    """
    if pty is None and tcp is None:
        raise TargetError("Say where to serve: a pseudo-terminal (--pty LINK) or --tcp HOST:PORT.")
    places = []
    if pty is not None:
        places.append(_open_terminal(stack, open_line, pty))
    if tcp is not None:
        places.append(await _open_server(stack, open_line, tcp))
    return [Endpoint(place.scheme, place.place, protocol) for place in places]


async def _mute(protocol: str, device: SimDevice, line: str) -> str:
    """What a console line has made the pack report, where the protocol has no sign for it."""
    one = len(device.packs) < 2  # on a bus it would have to be asked which pack is meant
    news = raised(line) if one else None
    return "" if news is None or await shows(protocol, device, news[0]) else " as ".join(news)


async def _live(
    protocol: str,
    device: SimDevice,
    commands: AsyncIterator[str] | None,
    reply: Callable[[str], None],
) -> None:
    async def tick() -> None:
        while True:
            device.tick()
            await asyncio.sleep(_TICK)

    async def obey(lines: AsyncIterator[str]) -> None:
        async for line in lines:
            device.tick()
            text = execute_on(device, line)
            if text == "ok" and (mute := await _mute(protocol, device, line)):
                text = f"ok (this protocol has no sign for it: {mute})"
            if text:
                reply(text)

    tasks = [asyncio.ensure_future(tick())]
    if commands is not None:
        tasks.append(asyncio.ensure_future(obey(commands)))
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# ------------------------------------------------------------------------------------ terminal


def _open_terminal(stack: contextlib.AsyncExitStack, open_line: OpenLine, link: str) -> Endpoint:
    try:
        from bmslink.simulation.terminal import Terminal
    except ImportError as exc:
        raise TransportError(
            "A pseudo-terminal needs Linux or macOS; serve on --tcp 127.0.0.1:0 here."
        ) from exc
    terminal = Terminal(link)
    stack.callback(terminal.close)
    line = open_line(terminal.write, client_rate=lambda: terminal.rate)
    stack.callback(line.close)
    terminal.listen(line.receive)
    return Endpoint("serial", str(terminal.link))


# ----------------------------------------------------------------------------------- Bluetooth


async def _open_radio(
    stack: contextlib.AsyncExitStack,
    open_line: OpenLine,
    device: SimDevice,
    protocol: str,
    radio: Radio,
    seed: int,
) -> Endpoint:
    try:
        from bmslink.simulation.ble.module import open_module
    except ImportError as exc:
        raise TargetError(
            "A simulated pack over Bluetooth needs bumble: install it with "
            "`pip install 'bmslink[bumble]'`."
        ) from exc
    return await open_module(stack, open_line, device, protocol, radio, seed=seed)


# ----------------------------------------------------------------------------------------- TCP


class _TCPClient(asyncio.Protocol):
    """One TCP connection."""

    def __init__(self, open_line: OpenLine, clients: set[asyncio.Transport]) -> None:
        self._open_line = open_line
        self._clients = clients

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"{transport} is no stream")
        self._transport = transport
        self._clients.add(transport)
        self._line = self._open_line(self._write)

    def _write(self, data: bytes) -> None:
        if self._transport.get_write_buffer_size() < _MAX_UNREAD:
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._line.receive(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # clients go as they like
        self._line.close()
        self._clients.discard(self._transport)


async def _open_server(
    stack: contextlib.AsyncExitStack, open_line: OpenLine, place: str
) -> Endpoint:
    free = place.endswith(":0")  # no port to connect to, but one to ask for
    host, port = split_host(f"{place[:-1]}1" if free else place)
    clients: set[asyncio.Transport] = set()
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(
            lambda: _TCPClient(open_line, clients), host, 0 if free else port
        )
    except socket.gaierror as exc:
        raise PortNotFound(f"There is no address {host!r} on this machine.") from exc
    except OSError as exc:
        raise listen_error(exc, place) from exc

    def close() -> None:
        server.close()
        for client in list(clients):
            client.abort()

    stack.callback(close)
    port = server.sockets[0].getsockname()[1]
    return Endpoint("tcp", f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
