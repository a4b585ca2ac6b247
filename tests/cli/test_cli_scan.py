"""`bmslink scan` and bare targets, on real pseudo-terminals and sockets."""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import shlex
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from bmslink.cli.render import scan as render
from bmslink.discovery.scan import Found
from bmslink.errors import PortNotFound
from bmslink.link.gatt import SeenDevice
from bmslink.simulation.serve import serve
from bmslink.transports import ports
from bmslink.transports.ble import transport as ble
from cli_support import Cli, finish, start


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@contextmanager
def served(*wanted: tuple[str, Path | None, int | tuple[int, ...] | None]) -> Iterator[list[str]]:
    """Simulated packs on pseudo-terminals (or, without a path, TCP), in a thread of their own."""
    ready, targets = threading.Semaphore(0), list[str]()
    loop = asyncio.new_event_loop()

    def announce(target: str) -> None:
        targets.append(target)
        ready.release()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for protocol, path, address in wanted:
                place = {"pty": str(path)} if path else {"tcp": "127.0.0.1:0"}
                group.create_task(serve(protocol, **place, address=address, announce=announce))

    def run() -> None:
        asyncio.set_event_loop(loop)
        tasks.append(loop.create_task(main()))
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(tasks[0])
        loop.close()

    tasks: list[asyncio.Task[None]] = []
    thread = threading.Thread(target=run)
    thread.start()
    for _, _, address in wanted:
        for _ in address if isinstance(address, tuple) else (0,):
            assert ready.acquire(timeout=10)
    try:
        yield targets
    finally:
        loop.call_soon_threadsafe(tasks[0].cancel)
        thread.join(10)


@contextmanager
def terminal(link: Path, talk: bool = False) -> Iterator[list[bytes]]:
    """A pseudo-terminal with nobody behind it, or with somebody who never stops talking."""
    master, slave = os.openpty()
    tty.setraw(slave)
    link.symlink_to(os.ttyname(slave))
    os.set_blocking(master, False)
    over, heard, noise = threading.Event(), list[bytes](), random.Random(3)

    def live() -> None:
        while not over.wait(0.05):
            with suppress(BlockingIOError):
                heard.append(os.read(master, 4096))
            with suppress(BlockingIOError):
                os.write(master, noise.randbytes(20) if talk else b"")

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield heard
    finally:
        over.set()
        thread.join(5)
        os.close(master)
        os.close(slave)


def test_every_serial_protocol_among_silent_noisy_and_busy_ports(cli: Cli, tmp_path: Path) -> None:
    wanted: list[tuple[str, int | tuple[int, ...] | None]] = [
        ("jk-nw", None), ("jk-modbus", (2, 7)), ("jk-bus", 3), ("jk02", None),
        ("daly-d2", None), ("daly-p81", 1), ("daly-a5", None), ("daly-sinowealth", None),
        ("jbd", None), ("jbd-up", (1, 2)),
    ]  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(served(*((name, tmp_path / name, a) for name, a in wanted)))
        silent = stack.enter_context(terminal(tmp_path / "silent"))
        noisy = stack.enter_context(terminal(tmp_path / "noisy", talk=True))
        stack.enter_context(terminal(tmp_path / "busy"))
        holder = os.open(tmp_path / "busy", os.O_RDWR | os.O_NOCTTY)
        stack.callback(os.close, holder)
        fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        names = [*(name for name, _ in wanted), "silent", "noisy", "busy", "missing"]
        arguments = [word for name in names for word in ("--port", str(tmp_path / name))]
        result = cli("scan", "--json", "--quiet", "--timeout", "12", *arguments)
    assert result.code == 1  # one of the named ports is missing, one is busy
    found = {one["target"]: one for one in result.objects}
    expected = {
        f"{name}+serial://{tmp_path / name}" + (f"?address={n}" if n is not None else "")
        for name, address in wanted
        for n in (address if isinstance(address, tuple) else (address,))
    }
    assert {target for target, one in found.items() if one["protocol"]} == expected
    assert all(one["schema"] == 1 for one in found.values())
    why = {Path(target).name: one["why"] for target, one in found.items()}
    assert "ended after 12 s" in why["silent"]
    assert "nothing was sent" in why["noisy"]
    assert "in use" in why["busy"]
    assert "no serial port" in why["missing"]
    assert b"".join(silent)
    assert not b"".join(noisy)


def test_read_info_and_capture_take_a_bare_port(tmp_path: Path) -> None:
    one, other = (str(tmp_path / name) for name in ("one", "other"))
    with (
        served(("jk-modbus", Path(one), 4), ("jk-modbus", Path(other), 1)),
        served(("jk-nw", None, None)) as targets,
    ):
        bare = targets[0].removeprefix("jk-nw+")
        assert bare.startswith("tcp://")
        processes = [
            start("read", "--json", bare),
            start("info", f"jk+serial://{one}"),
            start("capture", other, "-o", str(tmp_path / "c.jsonl"), "--count", "1"),
        ]
        read, info, captured = map(finish, processes)
    assert read.code == info.code == captured.code == 0, (read, info, captured)
    assert read.objects[0]["protocol"] == "jk-nw"
    assert "found jk-nw" in read.err
    assert "jk-modbus" in info.out
    assert f"jk-modbus+serial://{one}?address=4" in info.err
    assert "jk-modbus" in (tmp_path / "c.jsonl").read_text().splitlines()[0]


def test_a_scan_for_people_can_be_pasted(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    with served(("jk-modbus", folder / "bms", 2)):
        result = cli("scan", "--port", str(folder / "bms"))
        assert result.code == 0
        first = shlex.split(result.out.splitlines()[0])
        assert first[0] == "certain"
        assert cli("info", first[1]).code == 0
    assert "listening at 115200 baud" in result.err
    assert "answered" in result.out


def test_nothing_found_is_5(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ports, "serial_ports", list)
    result = cli("scan", "--serial")
    assert (result.code, result.out) == (5, "")
    assert "No serial port" in result.err
    with terminal(tmp_path / "silent"):
        result = cli("scan", "--port", str(tmp_path / "silent"), "--timeout", "0.3")
        assert result.code == 5
        assert "nothing    serial://" in result.out
        assert "ended after 0.3 s" in result.out


def test_absent_bluetooth_fails_only_who_asks_for_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def absent(timeout: float, on_seen: object) -> list[object]:
        raise PortNotFound("There is no Bluetooth adapter here.")

    monkeypatch.setattr(ble, "scan_adverts", absent)
    monkeypatch.setattr(ports, "serial_ports", list)
    asked = cli("scan", "--ble", "--quiet")
    asked.failed(1, "no Bluetooth adapter")
    usual = cli("scan")
    assert usual.code == 5
    assert "Bluetooth was left out" in usual.err


@pytest.mark.parametrize(
    ("heard", "words"),
    [
        ([], ["no devices in reach", "phone app"]),
        ([("00:00:5E:00:53:01", "Kettle")], ["1 device in reach, none", "phone app"]),
        ([("C8:47:80:00:53:01", "JK-B2A16S20P")], ["1 device in reach, 1 may be a pack"]),
    ],
)
def test_bluetooth_says_who_is_in_reach_and_why_a_pack_may_be_missing(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, heard: list[tuple[str, str]], words: list[str]
) -> None:
    async def adverts(timeout: float, on_seen: object) -> list[SeenDevice]:
        return [SeenDevice(address=address, name=name) for address, name in heard]

    monkeypatch.setattr(ble, "scan_adverts", adverts)
    result = cli("scan", "--ble")
    assert all(word in result.err for word in words)


def test_what_was_found_is_shown_when_the_search_is_interrupted(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(*, on_found: Callable[[Found], None], **options: object) -> None:
        on_found(Found(target="jbd+serial:///dev/ttyUSB0", protocol="jbd", confidence=1.0))
        raise KeyboardInterrupt

    monkeypatch.setattr("bmslink.discovery.scan.scan", interrupted)
    result = cli("scan")
    assert result.code == 130
    assert "jbd+serial:///dev/ttyUSB0" in result.out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--port", "sim://jbd"], ["no serial port or gateway"]),
        (["--port", "nonsense"], ["nonsense"]),
        (["--protocol", "pylontech"], ["pylontech"]),
        (["--timeout", "0"], ["--timeout"]),
        (["--port", "/dev/ttyUSB0?address=255"], ["address 255"]),
        (["--trace", "file"], ["capture"]),
    ],
)
def test_wrong_wishes_are_2(cli: Cli, argv: list[str], words: list[str]) -> None:
    cli("scan", "--quiet", *argv).failed(2, *words)


def test_a_hostile_name_does_not_steer_the_terminal() -> None:
    found = Found(
        target="jk02+ble://C8:47:8C:E4:55:12",
        protocol="jk02",
        name="\x1b[2J" + "x" * 500,
        confidence=0.3,
        signal=-60,
        why="says \x07 so",
    )
    text = "\n".join(render.block(found))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert max(map(len, text.splitlines())) < 130
    assert text.startswith("possible   jk02+ble://C8:47:8C:E4:55:12")


def test_what_needs_quoting_is_quoted() -> None:
    assert render.quoted("jk-modbus+serial:///dev/ttyUSB0?address=2") == (
        "'jk-modbus+serial:///dev/ttyUSB0?address=2'"
    )
    assert render.quoted("jbd+serial:///dev/ttyUSB0") == "jbd+serial:///dev/ttyUSB0"
