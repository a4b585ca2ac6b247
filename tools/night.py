"""A night of a service in half a minute: do history, events, metrics, alerts and logs agree?

    python tools/night.py [FOLDER]

A real service (its sockets, its disk, its threads) runs eight hours on a clock that jumps to the
next timer, with a fault, a kill -9 in it, a stop, and a second fault. Meanwhile a Prometheus
scrapes it, `bmslink log` writes each format, and a webhook and apprise are sent alerts. Then all of
them are compared, to the last digit, with the readings as they were published. Prometheus, apprise
and duckdb are left out where they are missing. Exit code 0: one story.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from virtual_time import VirtualLoop

BEGIN = datetime(2026, 1, 31, 22, tzinfo=UTC)
HOUR = 3600.0
FAULTS = ((2.5 * HOUR, 3.2 * HOUR), (6 * HOUR, 6.3 * HOUR))
"""When cells are too high, s since `BEGIN`; the first lasts over the kill."""
KILLED, AGAIN = 2.7 * HOUR, 2.9 * HOUR
STOPPED, BACK = 5 * HOUR, 5.1 * HOUR
END = 8 * HOUR
LOGS = (".csv", ".jsonl", ".jsonl.gz", ".db", *([".parquet"] if find_spec("duckdb") else []))
CONFIG = """\
[service]
interval = 5
tcp = "127.0.0.1:{port}"
token_file = "token"
[packs.van]
target = "{target}"
[history]
path = "history.db"
interval = 0
[alerts.to.hook]
webhook = "http://127.0.0.1:{hook}/"
kinds = ["condition"]
"""
APPRISE = """\
[alerts.to.app]
apprise = "json://127.0.0.1:{hook}/app"
kinds = ["condition"]
"""


# ---------------------------------------------------------------------------- the served process


def serve(folder: Path, start: float, end: float, how: str) -> None:
    """A part of the night, s since `BEGIN`; then it is killed, stops, or stays and answers."""
    import bmslink.moments

    loop = VirtualLoop()

    def now() -> datetime:
        found = BEGIN + timedelta(seconds=start + loop.now)
        return found.replace(microsecond=found.microsecond // 1000 * 1000)

    bmslink.moments.utc_now = now  # before anything else takes it from there
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(_serve(loop, folder, start, end, how))


async def _serve(loop: VirtualLoop, folder: Path, start: float, end: float, how: str) -> None:
    from bmslink.runtime.api.hosting import host
    from bmslink.runtime.service import Service
    from bmslink.runtime.service_file import load_plan
    from bmslink.testing import SimulatedPack

    pack = SimulatedPack("jbd", cells=4, soc=60, seed=7, load="-8")
    file = folder / "bmslink.toml"
    file.write_text((folder / "template.toml").read_text().replace("{target}", pack.target))
    file.chmod(0o600)
    service = Service(load_plan((), file))
    went = asyncio.Event()
    holds = 0

    def hold(_: object = None) -> None:
        """No time passes; what is asked is answered."""
        nonlocal holds
        loop.at_work += 1
        holds += 1
        print("ready", flush=True)

    def go() -> None:
        nonlocal holds
        loop.at_work -= holds
        holds = 0
        went.set()

    def stop() -> None:
        go()
        service.stop()

    loop.add_signal_handler(signal.SIGUSR1, go)
    loop.add_signal_handler(signal.SIGTERM, stop)

    async def live() -> None:
        await went.wait()
        while (second := start + loop.now) < end:
            high = any(begin <= second < over for begin, over in FAULTS)
            pack.set_condition("cell_overvoltage", "protection" if high else None)
            hour = second / HOUR
            pack.set_load(f"{-12 + 5 * (hour % 3):.2f}")  # A: it is charged now and then
            await asyncio.sleep(7)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        hold() if how == "stay" else service.stop()

    async def note() -> None:
        with (
            (folder / "truth.jsonl").open("a") as out,
            service.feed.subscribe(kinds=["reading"], size=100_000) as news,
        ):
            async for item in news:
                out.write(json.dumps(item.data.to_dict()) + "\n")
                out.flush()

    async with asyncio.TaskGroup() as group:
        beside = [group.create_task(live()), group.create_task(note())]
        await host(service, ready=hold)
        for task in beside:
            task.cancel()


# ---------------------------------------------------------------------------- what listens to it


class Hook(ThreadingHTTPServer):
    """Takes alerts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Post)
        self.came: list[tuple[str, dict[str, Any]]] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def sent(self, path: str) -> list[dict[str, Any]]:
        """What came to a path."""
        return [body for where, body in self.came if where == path]


class _Post(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.came.append((self.path, json.loads(body)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_request(self, *about: object) -> None:
        """Nothing."""


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise TimeoutError(f"It did not come to this: {what}.")
        time.sleep(0.05)


@contextmanager
def prometheus(folder: Path, scraped: int) -> Iterator[int | None]:
    """One that scrapes the service; the port of its answers. `None`: it is not installed."""
    program = shutil.which("prometheus")
    if program is None:
        yield None
        return
    port = free_port()
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\nscrape_configs:\n"
        f"- job_name: bmslink\n  authorization: {{credentials_file: {folder / 'token'}}}\n"
        f"  static_configs: [{{targets: ['127.0.0.1:{scraped}']}}]\n"
    )
    words = [
        program, f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    nothing = subprocess.DEVNULL
    with subprocess.Popen(words, stdout=nothing, stderr=nothing) as process:
        try:
            wait_for(lambda: _answers(port), "Prometheus is ready")
            yield port
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    from night_story import get

    with suppress(OSError):
        return get(port, "/-/ready")[0] == 200
    return False


class Night:
    """All of it, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hook, self.port = Hook(), free_port()
        self.receivers = ("/", "/app") if find_spec("apprise") else ("/",)
        text = CONFIG + (APPRISE if "/app" in self.receivers else "")
        self.env = {
            **os.environ, "BMSLINK_RUNTIME": str(folder / "run"), "TZ": "UTC",
            "BMSLINK_STATE": str(folder / "state"), "BMSLINK_JOURNAL": str(folder / "journal"),
            "BMSLINK_CONFIG": str(folder / "bmslink.toml"),
        }  # fmt: skip
        (folder / "template.toml").write_text(
            text.format(port=self.port, hook=self.hook.server_port, target="{target}")
        )

    def alerted(self) -> bool:
        """Whether both faults and their ends were sent, in each way."""
        return all(len(self.hook.sent(path)) >= 4 for path in self.receivers)

    def part(self, start: float, end: float, how: str) -> subprocess.Popen[str]:
        """A part of the night: it waits for `SIGUSR1`."""
        words = [sys.executable, __file__, "--serve", str(self.folder), f"{start}", f"{end}", how]
        with (self.folder / "serve.log").open("a") as log:
            process = subprocess.Popen(
                words, env=self.env, stdout=subprocess.PIPE, stderr=log, text=True
            )
        _await_ready(process)
        return process

    def run(self, *words: str) -> str:
        """A command; its output."""
        done = subprocess.run(
            [sys.executable, "-m", "bmslink", *words], env=self.env, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.returncode}: {done.stderr}")
        return done.stdout

    def log(self, end: str) -> subprocess.Popen[bytes]:
        """`bmslink log` to a file of this kind."""
        words = ["log", "van", "-o", str(self.folder / f"log{end}"), "--watch", "0.2", "--quiet"]
        return subprocess.Popen(
            [sys.executable, "-m", "bmslink", *words], env=self.env, stderr=subprocess.DEVNULL
        )


def _await_ready(process: subprocess.Popen[str]) -> None:
    if process.stdout is None or process.stdout.readline().strip() != "ready":
        raise RuntimeError("The service did not become ready; serve.log says why.")


def sleep_through(folder: Path) -> list[str]:
    """The night; what differs, in sentences."""
    from night_story import compare  # it loads bmslink, for which `serve` sets the clock first

    night = Night(folder)
    parts = ((0.0, KILLED, "kill"), (AGAIN, STOPPED, "stop"), (BACK, END, "stay"))
    with prometheus(folder, night.port) as server, ExitStack() as ends:
        logs: list[subprocess.Popen[bytes]] = []
        for start, end, how in parts:
            process = night.part(start, end, how)
            ends.callback(process.kill)
            for each in LOGS if how == "stay" else ():
                logs.append(night.log(each))
                ends.callback(logs[-1].kill)
            if logs:
                wait_for(lambda: len([*folder.glob("log.*")]) >= len(LOGS), "logs are there")
            os.kill(process.pid, signal.SIGUSR1)
            if how != "stay":
                process.wait(120)
        _await_ready(process)
        wait_for(night.alerted, "the alerts came")
        time.sleep(1)  # one more scrape
        for each_log in logs:
            each_log.send_signal(signal.SIGINT)
            each_log.wait(30)
        found = compare(night, server)
        os.kill(process.pid, signal.SIGTERM)
        process.wait(60)
    night.hook.shutdown()
    return found


def main() -> int:
    """As the command line says."""
    if sys.argv[1:2] == ["--serve"]:
        folder, start, end, how = sys.argv[2:]
        serve(Path(folder), float(start), float(end), how)
        return 0
    if len(sys.argv) > 1:
        folder_given = Path(sys.argv[1]).absolute()
        folder_given.mkdir(parents=True)
        return _said(sleep_through(folder_given))
    with tempfile.TemporaryDirectory() as name:
        return _said(sleep_through(Path(name)))


def _said(differences: list[str]) -> int:
    print(*(differences or ["One story."]), sep="\n")
    return 1 if differences else 0


if __name__ == "__main__":
    raise SystemExit(main())
