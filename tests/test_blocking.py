"""`bmslink.blocking`: the asynchronous interface for plain scripts."""

from __future__ import annotations

import copy
import inspect
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import bmslink
import bmslink.config.switching.confirm
import bmslink.config.writer
from bmslink import blocking, device
from bmslink.background import background
from bmslink.errors import LinkClosed, LinkTimeout, PortNotFound, TargetError

QUICK = "sim://jbd?gap=0&cells=5"
SILENT = "sim://jbd?gap=0&fault=silent"


def script(code: str, timeout: float = 20) -> subprocess.CompletedProcess[str]:
    """Run a plain script to its end, with everything that Python can complain about."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def test_a_pack_is_opened_asked_and_closed():
    with bmslink.blocking.connect(QUICK, timeout=0.5) as pack:
        assert isinstance(pack, blocking.Device)
        identity, reading = pack.identify(), pack.read()
        assert isinstance(identity, bmslink.Identity)
        assert isinstance(reading, bmslink.Reading)
        assert identity.cell_count == len(reading.cell_voltages) == 5
        assert str(pack.target) == reading.target == "jbd+sim://?gap=0&cells=5&timeout=0.5"
    with pytest.raises(LinkClosed):
        pack.read()
    pack.open()
    assert pack.read().cell_voltages
    pack.reopen()
    assert pack.read().cell_voltages
    pack.close()
    pack.close()


def test_settings_are_read_planned_and_written(monkeypatch: pytest.MonkeyPatch):
    # the thread's clock is the real one; others wait, on virtual time, for what a board forgets
    monkeypatch.setattr(bmslink.config.writer, "_REST", 0.05)
    monkeypatch.setattr(bmslink.config.switching.confirm, "_HOLDS", 0.05)
    with blocking.connect("sim://jbd?gap=0&cells=4&load=idle") as pack:
        before = pack.settings().to_dict()
        plan = pack.draft({"cell_ovp": before["cell_ovp"] - 0.05})
        assert [edit.key for change in plan.changes for edit in change.edits] == ["cell_ovp"]
        assert pack.apply(plan).result == "done"
        assert pack.settings().to_dict()["cell_ovp"] == pytest.approx(before["cell_ovp"] - 0.05)
        assert pack.plan_undo(chemistry="lfp").raw.transaction
        assert pack.undo(chemistry="lfp").result == "done"
        assert pack.settings().to_dict() == before
        off = bmslink.Command(bmslink.Switch.CHARGE, False)
        assert pack.switch(off).result == "done"
        assert pack.read().charging_allowed is False


def test_it_has_what_the_asynchronous_interface_has_with_the_same_words():
    """Every method of a device is here with its parameters and its text, and nothing else."""

    def of(kind: type, name: str) -> tuple[list[inspect.Parameter], str | None]:
        function = inspect.getattr_static(kind, name)
        function = function.fget if isinstance(function, property) else function
        return list(inspect.signature(function).parameters.values()), function.__doc__

    names = {name for name in dir(device.Device) if not name.startswith("_")} - {"board"}
    assert names == {name for name in dir(blocking.Device) if not name.startswith("_")}
    for name in names:
        assert of(blocking.Device, name) == of(device.Device, name), name
        if inspect.iscoroutinefunction(getattr(device.Device, name)):
            promised = inspect.signature(getattr(device.Device, name)).return_annotation
            assert inspect.signature(getattr(blocking.Device, name)).return_annotation == promised
    for name in ("connect", "scan"):
        here, there = getattr(blocking, name), getattr(bmslink, name)
        assert inspect.signature(here).parameters == inspect.signature(there).parameters
        assert here.__doc__ == there.__doc__.replace("async with", "with")


def test_a_stream_is_an_iterator_that_ends_cleanly():
    with blocking.connect(QUICK) as pack:
        got = []
        for reading in pack.stream(interval=0.01):
            got.append(reading.time)
            if len(got) == 3:
                break
        assert got == sorted(set(got))
        stream = pack.stream(0.01)
        assert next(stream).voltage
        stream.close()
        assert list(stream) == []
        assert pack.read().voltage  # nothing of the streams holds the pack
        inner = pack.stream(0.01)
        next(inner)
    with pytest.raises(LinkClosed):
        next(inner)


def test_errors_are_those_of_the_package():
    with pytest.raises(TargetError, match="is no target"):
        blocking.connect("nonsense")
    with pytest.raises(PortNotFound), blocking.connect("jbd+serial:///dev/nothing"):
        pass
    with blocking.connect(SILENT, timeout=0.02) as pack:
        with pytest.raises(LinkTimeout) as caught:
            pack.read()
        assert caught.value.heard == "silence"
        with pytest.raises(LinkTimeout):
            next(pack.stream())


def test_an_error_in_the_block_closes_the_pack():
    class Stop(Exception):
        pass

    with pytest.raises(Stop), blocking.connect(QUICK) as pack:
        raise Stop
    with pytest.raises(LinkClosed):
        pack.read()


def test_many_threads_may_use_one_pack_and_several():
    """The oldest boards do not say what they answer, so polls must not mix."""
    targets = [f"sim://jbd?gap=0&cells={n}" for n in (4, 5, 6)]

    def poll(target: str) -> set[int]:
        with blocking.connect(target) as pack:
            return {len(pack.read().cell_voltages) for _ in range(5)}

    with ThreadPoolExecutor(8) as pool, blocking.connect(QUICK) as shared:
        one = [pool.submit(shared.read if i % 2 else shared.identify) for i in range(12)]
        several = [pool.submit(poll, target) for target in targets]
        assert all(f.result() for f in one)
        assert [f.result() for f in several] == [{4}, {5}, {6}]
    assert sum("bmslink" in t.name for t in threading.enumerate()) == 1


def test_closing_ends_a_call_that_waits_in_another_thread():
    with blocking.connect(SILENT, timeout=10) as pack, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(pack.read)
        time.sleep(0.1)
        pack.close()
        with pytest.raises(LinkClosed):
            waiting.result(5)


def test_the_loop_can_be_ended_and_starts_again():
    pack = blocking.connect(SILENT, timeout=10)
    pack.open()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(pack.read)
        time.sleep(0.1)
        background.stop()
        with pytest.raises(LinkClosed):
            waiting.result(5)
    assert not [t for t in threading.enumerate() if "bmslink" in t.name]
    with blocking.connect(QUICK) as other:
        assert other.read().voltage


def test_from_its_own_loop_it_refuses_instead_of_waiting_for_ever():
    async def inside() -> None:
        blocking.connect(QUICK).open()

    with pytest.raises(RuntimeError, match="own event loop"):
        background.run(inside())


def test_in_a_running_loop_of_the_caller_it_works():
    """Notebooks run every cell inside a loop."""
    import asyncio

    async def cell() -> int:
        with blocking.connect(QUICK) as pack:
            return len(pack.read().cell_voltages)

    assert asyncio.run(cell()) == 5


# ---------------------------------------------------------------------------- whole programs


def test_a_program_that_leaves_everything_open_ends_quietly(tmp_path: Path):
    """No thread, no file half written, no complaint."""
    record = tmp_path / "session.jsonl"
    done = script(f"""
        import bmslink, threading
        pack = bmslink.blocking.connect({QUICK!r}, record=open({str(record)!r}, "wb"))
        pack.open()
        stream = pack.stream(0.01)
        print(next(stream).soc)
        other = bmslink.blocking.connect({SILENT!r}, timeout=30)
        other.open()
        threading.Thread(target=other.read, daemon=True).start()
    """)
    assert (done.returncode, done.stdout) == (0, "60.0\n")
    assert "Task was destroyed" not in done.stderr
    assert "ResourceWarning" not in done.stderr
    assert "never awaited" not in done.stderr
    assert len(bmslink.decode(record)) == 1


def test_a_plain_program_says_nothing():
    done = script(f"""
        import bmslink
        with bmslink.blocking.connect({QUICK!r}) as pack:
            for reading in pack.stream(0.01):
                break
        print(len(reading.cell_voltages))
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "5\n", "")


def test_ctrl_c_ends_a_call_and_the_pack_is_closed(tmp_path: Path):
    record = tmp_path / "session.jsonl"
    code = f"""
        import bmslink, sys
        try:
            with bmslink.blocking.connect({SILENT!r}, timeout=30,
                                          record=open({str(record)!r}, "wb")) as pack:
                print("waiting", flush=True)
                pack.read()
        except KeyboardInterrupt:
            print("interrupted")
        try:
            pack.read()
        except bmslink.LinkClosed:
            print("closed")
    """
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "interrupted\nclosed\n", "")
    assert record.read_bytes().endswith(b"}\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_starts_its_own_loop():
    done = script(f"""
        import os, sys, warnings, bmslink
        warnings.simplefilter("ignore")  # Python 3.12 warns of threads before a fork
        with bmslink.blocking.connect({QUICK!r}) as pack:
            pack.read()
        child = os.fork()
        with bmslink.blocking.connect({QUICK!r}) as pack:
            os.write(1, b"%d\\n" % len(pack.read().cell_voltages))  # whole, whoever comes first
        if child:
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """)
    assert (done.returncode, done.stdout) == (0, "5\n5\n"), done.stderr


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_device_is_neither_copied_nor_pickled(duplicate):
    """A worker process gets the target, and connects for itself."""
    with pytest.raises(TypeError, match="connect anew"):
        duplicate(blocking.connect(QUICK))


def test_a_device_that_was_not_opened_says_how():
    with pytest.raises(LinkClosed, match="`with` block"):
        blocking.connect(QUICK).read()
