"""Output that nothing waits for: a pipe that nobody reads, and what becomes of its lines."""

from __future__ import annotations

import asyncio
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import bmslink
from acting_support import approve, policy_text
from bmslink.cli import streams
from bmslink.cli.control_printer import Printer
from bmslink.cli.output import Session
from bmslink.cli.streams import ClosedPipeError, waiting_for_stdout, written_later
from bmslink.control.files import parse_policies
from bmslink.runtime.acting.acting_side import ActingSide
from bmslink.runtime.acting.limit_sinks import LimitSinks, LineSink
from bmslink.runtime.acting.shown import nothing_known
from bmslink.runtime.supervisor import Enforcing, PackSupervisor, StatusBoard
from bmslink.testing import SimulatedPack


@contextmanager
def full_pipe() -> Iterator[int]:
    """Stdout is a pipe that takes nothing more; gives its reading end. (Not a fixture: pytest sets
    stdout anew between the two.)"""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"\n" * 4096)
    os.set_blocking(writing, True)
    stream = os.fdopen(writing, "w", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, stream:
        patch.setattr("sys.stdout", stream)
        patch.setattr(streams, "_LAST_WORDS", 0.05)
        yield reading
    os.close(reading)


def until(true: Callable[[], bool]) -> None:
    """Wait, in real time, for what a thread does."""
    for _ in range(500):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


def read_all(reading: int, into: bytearray) -> threading.Thread:
    def read() -> None:
        while data := os.read(reading, 1 << 16):
            into.extend(data)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


@pytest.mark.real_time
def test_a_pipe_that_nobody_reads_delays_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    session, heard = Session(json=True), bytearray()
    with full_pipe() as pipe, written_later(lasts=True):
        begun = time.monotonic()
        for number in range(3000):
            session.record({"number": number})
        for limit in range(5):
            session.record({"limit": limit}, latest="limits")
        assert time.monotonic() - begun < 2.0
        until(lambda: waiting_for_stdout() > 0.02)
        read_all(pipe, heard)
        until(lambda: waiting_for_stdout() == 0.0)
        session.record({"last": True})
        until(lambda: b"last" in heard)
    found = [json.loads(line) for line in heard.decode().splitlines() if line]
    assert [each["limit"] for each in found if "limit" in each] == [4], "only the newest counts"
    numbers = [each["number"] for each in found if "number" in each]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 2999
    said = capsys.readouterr().err
    assert "lines are left out here: nobody read them in time" in said
    assert int(said.split()[1]) == 3000 - len(numbers) > 1900


@pytest.mark.real_time
def test_the_end_does_not_wait_either() -> None:
    session = Session(json=True)
    begun = time.monotonic()
    with full_pipe():
        with written_later(lasts=True):
            session.record({"a": 1})
            session.record({"b": 1})
        session.record({"what": "is said after it goes nowhere"})
    assert time.monotonic() - begun < 1.0


@pytest.mark.real_time
@pytest.mark.parametrize("lasts", [True, False])
def test_a_reader_that_has_gone_ends_only_what_may_end(
    monkeypatch: pytest.MonkeyPatch, lasts: bool
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w", encoding="utf-8")
    monkeypatch.setattr("sys.stdout", stream)
    session = Session(json=True)
    with written_later(lasts=lasts):
        session.record({"a": 1})
        until(lambda: waiting_for_stdout() == math.inf)
        if lasts:
            session.record({"b": 1})
        else:
            with pytest.raises(ClosedPipeError):
                session.record({"b": 1})
    stream.close()


def test_limits_that_nobody_reads_limit_nothing() -> None:
    """From then on a switch opens without waiting for the current to fall."""
    waited, lines = [0.0], []
    sink = LineSink(lines.append, lambda: waited[0])
    sinks = LimitSinks([sink])
    limits = nothing_known(0.0).limits
    sinks.publish(limits, 0.0, lasts=10)
    assert sinks.alive(1.0) == {"charge": True, "discharge": True}
    waited[0] = 2.5
    sinks.publish(limits, 2.0, lasts=10)
    assert sinks.alive(2.0) == {"charge": False, "discharge": False}
    waited[0] = 0.0
    sinks.publish(limits, 4.0, lasts=10)
    assert sinks.alive(4.0) == {"charge": True, "discharge": True}


async def test_an_off_leaves_though_nobody_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole of a run that enforces, in JSON and with its limits on the same stdout."""
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))
    pack = SimulatedPack("jbd", cells=4, load=0.0)
    text = policy_text("jbd")
    await approve(pack, text)
    session, device = Session(json=True), bmslink.connect(pack.target).board
    printer = Printer(session, [device.target], shadow=False)
    sinks = LimitSinks([LineSink(session.record, waiting_for_stdout)])

    def tell(what: str, said: str, *, alarm: bool = False, **more: object) -> None:
        printer.on_acting(0, what, said, alarm=alarm)

    def note(event: str, **data: object) -> None: ...

    side = ActingSide(
        device, text, "p.toml", enforce=True, interval=1.0, note=note, tell=tell,
        target=str(device.target), sinks=sinks,
    )  # fmt: skip
    board = StatusBoard(printer, "p.toml", [str(device.target)], 1.0, shadow=False)
    supervisor = PackSupervisor(
        printer, board, 0, parse_policies(text, Path("p.toml")), None, {}, interval=1.0, sink=True,
        enforcing=Enforcing(side, note, None),
    )  # fmt: skip
    with full_pipe(), written_later(lasts=True):
        task = asyncio.create_task(supervisor.follow(device, 1.0, None))
        await asyncio.sleep(10)
        pack.set_cell_voltage(2, 3.58)
        await asyncio.sleep(5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    board.remove()
    assert not pack.truth().charge_switch
