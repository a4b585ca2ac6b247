"""A hostile board at the end of a line.

In this process: `Port` in `PORTS` and bmslink's scheme `tcp` pointed to `HostileTransport` (see
`reachable`), on whatever loop runs, also on virtual time. For the installed command and for people:

```
PYTHONPATH=tests python -m hostile.line jbd --quirk delayed-view --quirk late-by-one=after:20
PYTHONPATH=tests python -m hostile.line jk-modbus --pty /tmp/jk --quirk forgets=seconds:8
```
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

from bmslink.errors import LinkClosed, PortNotFound
from bmslink.link import transport
from bmslink.link.transport import Endpoint, Line, OnData, OnLost, Scheme, Transport
from hostile.board import Board
from hostile.daly_d2 import DalyD2Board
from hostile.jbd import JBDBoard
from hostile.jk_modbus import JKModbusBoard
from hostile.quirks import QUIRKS, parse

__all__ = ["BOARDS", "PORTS", "HostileTransport", "Port", "reachable", "serve"]

BOARDS: dict[str, type[Board]] = {
    board.name: board for board in (JBDBoard, DalyD2Board, JKModbusBoard)
}


class Port:
    """One board behind one address. `clock` gives the time of the board, s."""

    def __init__(self, board: Board, clock: Callable[[], float] | None = None) -> None:
        self.board = board
        self._clock = clock

    def now(self) -> float:
        """The time of the board."""
        return self._clock() if self._clock else asyncio.get_running_loop().time()


PORTS: dict[str, Port] = {}
"""`HOST:PORT` -> what is there."""


@contextlib.contextmanager
def reachable(place: str, port: Port) -> Iterator[Port]:
    """While this lasts, `tcp://PLACE` is this port, and no other address can be reached."""
    before = transport.SCHEMES["tcp"]
    transport.SCHEMES["tcp"] = Scheme("hostile.line:HostileTransport", before.keys)
    PORTS[place] = port
    try:
        yield port
    finally:
        transport.SCHEMES["tcp"] = before
        del PORTS[place]


class HostileTransport(Transport):
    """The byte road to a port of `PORTS`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._place = endpoint.place
        self._on_data: OnData | None = None
        self._on_lost: OnLost | None = None
        self._timers: set[asyncio.TimerHandle] = set()

    def line(self) -> Line:
        return Line(f"tcp://{self._place}")

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        await self.close()
        port = PORTS.get(self._place)
        if port is None or not port.board.connect(port.now()):
            raise PortNotFound(f"Nothing listens at {self._place}.")
        self._on_data, self._on_lost = on_data, on_lost

    async def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._on_data = self._on_lost = None

    async def write(self, data: bytes) -> None:
        if self._on_data is None:
            raise LinkClosed(f"{self._place} is not open.")
        port = PORTS[self._place]
        loop = asyncio.get_running_loop()
        for delay, answer in port.board.receive(data, port.now()):
            timer = loop.call_later(delay, self._deliver, answer)
            self._timers.add(timer)
        if port.board.hung_up:
            loop.call_soon(self._lost)

    def _deliver(self, data: bytes) -> None:
        if self._on_data is not None:
            self._on_data(data)

    def _lost(self) -> None:
        on_lost = self._on_lost
        self._on_data = self._on_lost = None
        for timer in self._timers:
            timer.cancel()
        if on_lost is not None:
            on_lost(LinkClosed(f"{self._place} closed the connection."))


# ------------------------------------------------------------------------ for other processes


class _Client(asyncio.Protocol):
    """One connection to a served board."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._wire: asyncio.Transport | None = None

    def connection_made(self, wire: asyncio.BaseTransport) -> None:
        if isinstance(wire, asyncio.Transport):
            self._wire = wire
            if not self._port.board.connect(self._port.now()):
                wire.abort()

    def data_received(self, data: bytes) -> None:
        for delay, answer in self._port.board.receive(data, self._port.now()):
            asyncio.get_running_loop().call_later(delay, self._write, answer)
        if self._port.board.hung_up and self._wire is not None:
            self._wire.abort()

    def _write(self, data: bytes) -> None:
        if self._wire is not None and not self._wire.is_closing():
            self._wire.write(data)


async def serve(board: Board, host: str = "127.0.0.1", port: int = 0) -> asyncio.Server:
    """The board behind a TCP port."""
    at = Port(board)
    return await asyncio.get_running_loop().create_server(lambda: _Client(at), host, port)


def attach_pty(board: Board, link: Path) -> tuple[int, Callable[[], None]]:
    """The board behind a pseudo-terminal that `link` points to: the slave's descriptor, to be
    kept open, and what ends it."""
    master, slave = os.openpty()
    tty.setraw(slave)
    link.unlink(missing_ok=True)
    link.symlink_to(os.ttyname(slave))
    loop = asyncio.get_running_loop()
    at = Port(board)
    board.connect(at.now())

    def arrived() -> None:
        for delay, answer in board.receive(os.read(master, 4096), at.now()):
            loop.call_later(delay, os.write, master, answer)

    def close() -> None:
        loop.remove_reader(master)
        os.close(master)

    loop.add_reader(master, arrived)
    return slave, close


async def _main(options: argparse.Namespace) -> None:
    quirks = [parse(text) for text in options.quirk]
    board = BOARDS[options.board](*quirks, serial=options.serial, current=options.current)
    if options.pty:
        attach_pty(board, Path(options.pty))
        print(f"{board.name}+serial://{options.pty}", flush=True)
    else:
        server = await serve(board, port=options.tcp)
        host, port = server.sockets[0].getsockname()
        print(f"{board.name}+tcp://{host}:{port}", flush=True)
    told = 0
    while True:
        await asyncio.sleep(0.2)
        board.pass_time(asyncio.get_running_loop().time())
        for write in board.log[told:]:
            print(
                f"{write.by}: {write.register:04X} {write.old.hex()} -> {write.new.hex()}"
                + (f" (board {write.unit})" if write.unit else ""),
                flush=True,
            )
        told = len(board.log)


def main(argv: list[str]) -> None:
    """Serve a board until somebody ends it, and say what it stores."""
    parser = argparse.ArgumentParser(prog="hostile.line", description=main.__doc__)
    parser.add_argument("board", choices=sorted(BOARDS))
    parser.add_argument("--quirk", action="append", default=[], help=f"of {', '.join(QUIRKS)}")
    parser.add_argument("--serial", default="", help="its serial number; none by default")
    parser.add_argument("--current", type=float, default=0.0, help="A; positive while charging")
    parser.add_argument("--tcp", type=int, default=0, help="port number; a free one by default")
    parser.add_argument("--pty", default="", help="the link to a pseudo-terminal instead of TCP")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(parser.parse_args(argv)))


if __name__ == "__main__":
    main(sys.argv[1:])
