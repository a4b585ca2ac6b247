"""A service of 16 packs with everything on: what a scrape takes, and what the process needs.

The packs are simulated in the same process, which is about half of what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

PACKS, EVERY = 16, 5
_SCRAPE = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\naccept: %b\r\nconnection: close\r\n\r\n"
_OPEN = b"application/openmetrics-text;version=1.0.0"
_TICKS = os.sysconf("SC_CLK_TCK")


class Everything(NamedTuple):
    """What was measured."""

    scrapes: dict[str, list[float]]
    """Format -> s of each, with its connection."""
    share: float
    """Of one core: polls, energy, history, alerts, a scrape every 5 s and a listener."""
    memory: int
    """Bytes that are resident."""


class _Quiet(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """An alert."""
        self.rfile.read(int(self.headers["content-length"]))
        self.wfile.write(b"HTTP/1.0 204 No Content\r\n\r\n")


@contextlib.contextmanager
def _receiver() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@contextlib.contextmanager
def _service(folder: Path, port: int) -> Iterator[tuple[str, int]]:
    """Its socket and its process."""
    config = folder / "bmslink.toml"
    packs = "".join(
        f'[packs.p{n}]\ntarget = "sim://jbd?cells=16&seed={n}&load=cycle&speed=60"\n'
        for n in range(PACKS)
    )
    config.write_text(
        f'[service]\ninterval = {EVERY}\n[history]\npath = "h.db"\n[alerts.to.me]\n'
        f'webhook = "http://127.0.0.1:{port}/"\nseverity = "info"\n{packs}'
    )
    own = {"RUNTIME": "r", "JOURNAL": "j", "STATE": "s"}
    environment = os.environ | {f"BMSLINK_{k}": str(folder / v) for k, v in own.items()}
    command = [sys.executable, "-m", "bmslink", "serve", "--config", str(config)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("no output to wait for")
            yield process.stdout.readline().split()[1], process.pid
        finally:
            process.terminate()


async def _scrape(path: str, accept: bytes) -> float:
    begin = time.perf_counter()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(_SCRAPE % accept)
    text = await reader.read()
    while piece := await reader.read():
        text += piece
    spent = time.perf_counter() - begin
    writer.close()
    if text.count(b"bmslink_cell_voltage_volts{") != 16 * PACKS:
        raise RuntimeError("not every pack was scraped")
    return spent


def measure(folder: Path, scrapes: int, seconds: float) -> Everything:
    """So many scrapes of each format, then so many seconds of ordinary work."""

    async def run(path: str, process: int) -> Everything:
        await asyncio.sleep(EVERY + 3)
        found: dict[str, list[float]] = {"classic": [], "OpenMetrics": []}
        for _ in range(scrapes):
            found["classic"].append(await _scrape(path, b"text/plain"))
            found["OpenMetrics"].append(await _scrape(path, _OPEN))
            await asyncio.sleep(0.05)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /api/v1/stream HTTP/1.1\r\nhost: localhost\r\n\r\n")
        listening = asyncio.create_task(_listen(reader))
        begin, before = time.monotonic(), _cpu(process)
        while time.monotonic() < begin + seconds:
            await _scrape(path, _OPEN)
            await asyncio.sleep(EVERY)
        share = (_cpu(process) - before) / (time.monotonic() - begin)
        listening.cancel()
        writer.close()
        return Everything(found, share, _memory(process))

    with _receiver() as port, _service(folder, port) as (path, process):
        return asyncio.run(run(path, process))


async def _listen(reader: asyncio.StreamReader) -> None:
    while await reader.read(1 << 16):
        continue


def _cpu(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
