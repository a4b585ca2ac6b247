"""`bmslink control run --shadow` and `status`: they tell, and they send nothing."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bmslink.board import Board
from bmslink.cli.control_printer import Printer
from bmslink.cli.output import Session
from bmslink.control import status
from bmslink.control.decide.catalogue import default_policies
from bmslink.errors import LinkClosed
from bmslink.link.transport import Endpoint
from bmslink.model import Reading
from bmslink.polling import poll
from bmslink.runtime.supervisor import PackSupervisor, StatusBoard
from bmslink.simulation.responder import RESPONDERS
from bmslink.storage.journal import Journal
from cli_support import SILENT, Cli, environment, finish, start
from control_support import LFP
from support import virtual_run

PACK = "sim://jbd?gap=0&cells=16"


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))


@pytest.fixture
def run(capsys) -> Cli:
    return Cli(capsys)


@pytest.fixture
def policies(run: Cli, tmp_path: Path) -> str:
    path = tmp_path / "policy.toml"
    run("control", "presets", "--cells", "16", "--capacity", "100", "-o", str(path))
    return str(path)


def shadow(policies: str, *targets: str, count: int = 3, watch: str = "0.05") -> list[str]:
    return ["control", "run", "--shadow", "--policies", policies, *targets,
            "--watch", watch, "--count", str(count)]  # fmt: skip


def test_decisions_are_told_as_they_change(run: Cli, policies: str) -> None:
    done = run(*shadow(policies, PACK, count=6))
    assert done.code == 0
    first, *lines = done.out.splitlines()
    assert "in shadow: nothing is sent" in first
    assert "charge on  discharge on" in lines[0]
    told = [line for line in lines if "discharge on" in line]
    assert len(told) <= 4, "only changes are told"


def test_one_lost_value_is_one_line(run: Cli, policies: str) -> None:
    """JK announces probes that nobody fitted: fifteen policies judge by them."""
    done = run(*shadow(policies, "sim://jk02?gap=0&cells=16", count=4))
    (told,) = [line for line in done.out.splitlines() if line.strip().startswith("missing ")]
    assert "policies: coldest cell probe, hottest cell probe" in told
    assert told.endswith(": not measured")


def test_the_decisions_of_one_pack_are_found_in_the_journal(run: Cli, policies: str) -> None:
    run(*shadow(policies, PACK, "sim://daly-a5?gap=0&cells=16"))
    found = run("config", "journal", PACK, "--json").objects
    assert found
    assert {o["target"].split("+")[0] for o in found} == {"jbd"}
    assert "decisions in it as well; --json" in run("config", "journal", PACK).err


def test_json_lines_are_marked_as_shadow(run: Cli, policies: str) -> None:
    done = run(*shadow(policies, PACK, "sim://daly-a5?gap=0&cells=16"), "--json")
    assert {o["target"].split("+")[0] for o in done.objects} == {"jbd", "daly-a5"}
    for each in done.objects:
        assert each["shadow"] is True
        assert each["schema"] == 1
        assert each["time"].endswith("Z")
        assert each["ccl"]["reasons"]
        assert each["phase"] in ("bulk", "absorption", "float", "rebulk")
        kinds = [each["cvl"], *each["cvl"]["reasons"]]
        assert {kind["kind"] for kind in kinds} <= {"protect", "phase"}


def test_without_shadow_it_is_refused_before_anything_is_opened(run: Cli, policies: str) -> None:
    done = run("control", "run", "--policies", policies, "serial:///dev/nothing")
    done.failed(3, "--shadow")


def test_wrong_usage(run: Cli, policies: str) -> None:
    run("control", "run", "--shadow", PACK).failed(2, "--policies")
    run(*shadow("nothing.toml", PACK)).failed(2, "presets")
    run(*shadow(policies, "nonsense")).failed(2, "no target")


def test_a_silent_pack_is_told_once_and_its_data_go_stale(run: Cli, policies: str) -> None:
    done = run(*shadow(policies, SILENT, count=4), "--json")
    assert done.code == 1
    errors = [o for o in done.objects if "error" in o]
    decisions = [o for o in done.objects if "error" not in o]
    assert len(errors) == 1
    assert decisions
    assert all(o["ccl"]["value"] == 0 for o in decisions)


def test_a_pack_that_does_not_fit_the_file_is_said(run: Cli, policies: str) -> None:
    done = run(*shadow(policies, "sim://jbd?gap=0&cells=8"))
    assert "The pack has 8 cells, the file says 16" in done.err


def test_what_changes_is_written_to_the_journal(run: Cli, policies: str) -> None:
    run(*shadow(policies, PACK))
    records = list(Journal().records())
    assert records
    assert {r["event"] for r in records} == {"decision"}
    assert records[0]["shadow"] is True
    assert records[0]["policies"] == policies
    assert records[0]["before"] is None
    assert records[0]["after"]["charge"]["allowed"] is True


def test_a_journal_that_cannot_be_written_is_said_once(
    run: Cli, policies: str, tmp_path: Path
) -> None:
    (tmp_path / "journal").write_text("a file where a folder should be")
    done = run(*shadow(policies, PACK, count=5))
    assert done.code == 0
    assert done.err.count("journal") >= 1
    assert done.err.count("In shadow nothing is sent anyway") == 1


# ----------------------------------------------------------------------- nothing is sent


def _sent(kept: io.BytesIO) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in kept.getvalue().splitlines()]
    return [(p["dir"], p["hex"]) for p in lines[1:] if p["dir"] == "tx"]


class _Kept(io.BytesIO):
    def close(self) -> None:
        """What was written is still wanted."""


def _traffic(protocol: str, follow: Any) -> list[tuple[str, str]]:
    kept = _Kept()

    async def main() -> None:
        query = {"load": "-90"}
        await follow(Board(Endpoint("sim", "", protocol, query), record=kept))

    virtual_run(main())
    return _sent(kept)


@pytest.mark.parametrize("protocol", RESPONDERS)
def test_shadow_sends_not_one_byte_more_than_reading(
    protocol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An overload: policies trip, and what goes to the wire is the same as when reading."""
    session = Session(quiet=True)
    policies = default_policies(msgspec.structs.replace(LFP, capacity=10.0, discharge_current=20.0))

    async def judged(device: Board) -> None:
        printer = Printer(session, [device.target])
        board = StatusBoard(printer, "policy.toml", [str(device.target)], 1.0)
        supervisor = PackSupervisor(printer, board, 0, policies, None, {}, interval=1.0, sink=False)
        await supervisor.follow(device, 1.0, 20)

    async def read(device: Board) -> None:
        await poll(device, lambda news: None, interval=1.0, count=20)

    with_policies, without = _traffic(protocol, judged), _traffic(protocol, read)
    assert with_policies == without
    switch = "balance" if protocol == "jk04" else "discharge"  # jk04 tells no current
    assert f"{switch} OFF" in capsys.readouterr().out, "nothing tripped: nothing is proven"


def test_a_lost_link_ages_the_data_and_is_opened_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The cable is out for a minute: the limits fall, and rise again once it is back."""
    session = Session(quiet=True)

    async def main() -> PackSupervisor:
        device = Board(Endpoint("sim", "", "jbd", {"load": "-5"}))
        loop = asyncio.get_running_loop()
        reopen = device.reopen

        async def out_of_reach() -> None:
            if 10 <= loop.time() < 70:
                raise LinkClosed("The cable was pulled.")
            await reopen()

        read = device.read

        async def pulled() -> Reading:
            if 10 <= loop.time() < 70:
                raise LinkClosed("The cable was pulled.")
            return await read()

        device.read, device.reopen = pulled, out_of_reach
        printer = Printer(session, [device.target])
        board = StatusBoard(printer, "policy.toml", [str(device.target)], 1.0)
        supervisor = PackSupervisor(
            printer, board, 0, default_policies(LFP), None, {}, interval=1.0, sink=False
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(200):
                await supervisor.follow(device, 1.0, None)
        return supervisor

    virtual_run(main())
    done = capsys.readouterr()
    assert done.err.count("The cable was pulled") == 1
    told = done.out.splitlines()
    stale = [n for n, line in enumerate(told) if line.endswith("no fresh data")]
    assert any("stale_data_derate" in line for line in told[stale[0] :])
    assert any("release  stale_data_warning" in line for line in told[stale[-1] :])
    assert not told[-1].endswith("no fresh data")


# --------------------------------------------------------------------------------- status


def test_status_of_nothing(run: Cli) -> None:
    done = run("control", "status")
    assert (done.code, done.out) == (5, "")
    assert "No `control run` is running" in done.err


def test_status_while_it_runs_and_after(run: Cli, policies: str) -> None:
    process = start(*shadow(policies, PACK, count=1000, watch="0.1"), env=environment())
    try:
        deadline = time.monotonic() + 20
        while not (found := status.runs().runs) or not found[0].packs[0].limits.get("ccl"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        done = run("control", "status")
        assert done.code == 0
        assert f"{policies}, in shadow, process {process.pid}" in done.out
        assert "charge on  discharge on" in done.out
        assert "no host can move its switches" in done.out
        assert "bulk charge" in done.out
        (told,) = run("control", "status", "--json").objects
        assert (told["packs"][0]["phase"], told["packs"][0]["kinds"]["cvl"]) == ("bulk", "phase")
        assert told["running"] is True
        assert told["packs"][0]["limits"]["ccl"] > 0
        assert told["began"].endswith("Z")
        process.send_signal(signal.SIGINT)
        assert finish(process).code == 130
        assert run("control", "status").code == 5
    finally:
        process.kill()
        process.wait()


def _run(**changes: Any) -> status.Run:
    now = time.time()
    values: dict[str, Any] = {
        "policies": "p.toml", "shadow": True, "pid": 1, "began": now - 100, "written": now,
        "interval": 1.0, "packs": [status.PackStatus(target="sim://jbd")],
    }  # fmt: skip
    return status.Run(**(values | changes))


def test_a_run_that_ended_without_a_word_is_stale(run: Cli) -> None:
    path = status.place(["sim://jbd"])
    status.write(path, _run(written=time.time() - 3600))
    done = run("control", "status")
    assert done.code == 1
    assert "it ended or hangs" in done.out
    status.write(path, _run(written=time.time() + 3600))
    assert "the clock was set back" in run("control", "status").out
    status.write(path, _run())
    assert run("control", "status").code == 0
    killed = subprocess.Popen(["true"])
    killed.wait()
    status.write(path, _run(pid=killed.pid))  # a moment ago
    assert run("control", "status").code == 1


def test_slow_runs_have_more_time() -> None:
    now = time.time()
    assert not _run(written=now - 100, interval=60.0).gone(now)
    assert _run(written=now - 100, interval=1.0).gone(now)


def test_foreign_files_are_named(run: Cli) -> None:
    folder = status.state_path()
    folder.mkdir(parents=True)
    (folder / "x.json").write_bytes(b"\xff{")
    (folder / "y.json").write_text('{"pid": "no"}')
    status.write(folder / "z.json", _run(began=1e300, written=-1e300))
    done = run("control", "status")
    assert done.code == 1
    assert run("control", "status", "--json").code == 1
    assert done.err.count("no state of a `control run`") == 2


def test_a_state_is_replaced_as_a_whole() -> None:
    path = status.place(["a", "b"])
    assert path == status.place(["b", "a"])
    status.write(path, _run())
    status.write(path, _run(pid=2))
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert status.runs().runs[0].pid == 2


def test_a_file_where_the_folder_should_be(run: Cli, policies: str, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    done = run(*shadow(policies, PACK, count=5))
    assert done.code == 0
    assert done.err.count("BMSLINK_STATE") == 1
