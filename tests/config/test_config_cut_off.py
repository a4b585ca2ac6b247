"""What somebody is told whose change was cut off: at once, and before it is resumed."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import bmslink
from bmslink.config import apply, cut_off_change, draft, resume
from bmslink.config.records.moment import local
from bmslink.errors import GateError, RollbackError
from bmslink.storage.journal import Journal
from cli_support import finish, start

PROFILE = """\
[settings]
cell_ovp = "3.60 V"
charge_utp = 2
discharge_otp = 62
"""


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A pack that remembers what was written to it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.toml").write_text(PROFILE)
    process = start("simulate", "jbd", "--tcp", "127.0.0.1:0", "--cells", "16", "--load", "idle")
    try:
        yield f"{process.stdout.readline().split()[1]}?gap=0"
    finally:
        process.send_signal(signal.SIGTERM)
        finish(process)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_in_the_middle_says_what_is_next(pack: str, number: signal.Signals) -> None:
    process = start("config", "apply", "p.toml", pack, "--yes", "--quiet")
    deadline = time.monotonic() + 20
    while not any(r["event"] == "write" for r in Journal().records()):
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(number)
    told = finish(process)
    assert f"`bmslink config resume {pack}` finishes it or sets it back" in told.err


async def cut_short(target: str, writes: int = 1) -> None:
    """A change that ends after so many writes, as by Ctrl-C."""
    async with bmslink.connect(target).board as device:
        plan = await draft(device, {"cell_ovp": 3.6, "charge_utp": 2.0})
        task = asyncio.ensure_future(apply(device, plan))
        while sum(r["event"] == "stored" for r in Journal().records()) < writes:
            await asyncio.sleep(0.01)
            assert not task.done()
        task.cancel()
        await asyncio.wait([task])


async def test_before_it_is_resumed_it_is_told_what_stands() -> None:
    target = "sim://jbd?gap=0&cells=16&load=idle"
    await cut_short(target)
    async with bmslink.connect(target).board as device:
        found = await cut_off_change(device)
        assert found is not None
        assert set(found.stands) >= {"cell_ovp", "charge_utp"}
        assert not found.back
        assert local(found.begin["time"]) in found.sentence


async def test_over_another_port_of_the_pack_it_says_which_one_it_was() -> None:
    """JK boards have the same serial number on Bluetooth and on RS485, at other addresses."""

    async with bmslink.connect("sim://jk-modbus?gap=0&cells=16&load=idle").board as device:
        identity = await device.identify()
        pack = {"serial_number": identity.serial_number, "protocol": "jk02"}
        Journal().begin("serial:///dev/ttyUSB7", pack, [])
        plan = await draft(device, {"cell_ovp": 3.6})
        (check,) = plan.blocked
        assert "`bmslink config resume jk02+serial:///dev/ttyUSB7`" in check.sentence
        with pytest.raises(GateError, match=r"over jk02\+serial:///dev/ttyUSB7, or"):
            await resume(device)


def test_the_journal_says_by_whom_where_the_environment_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    Journal().begin("sim://jbd", {}, [])
    (record,) = Journal().records()
    assert record["user"] == "ada"


def test_a_line_that_stays_lost_is_told_as_what_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not as the state that our own reconnecting left it in."""
    monkeypatch.setattr("bmslink.config.writer._PAUSES", (0.01,) * 3)
    monkeypatch.setattr(sys.modules["bmslink.config.rollback"], "_PAUSE", 0.01)
    process = start("simulate", "jbd", "--tcp", "127.0.0.1:0", "--cells", "16", "--load", "idle")
    target = f"{process.stdout.readline().split()[1]}?gap=0"

    async def main() -> str:
        async with bmslink.connect(target).board as device:
            plan = await draft(device, {"cell_ovp": 3.6, "charge_utp": 2.0})
            task = asyncio.ensure_future(apply(device, plan))
            while not any(r["event"] == "write" for r in Journal().records()):
                await asyncio.sleep(0)
                assert not task.done()
            process.kill()
            with pytest.raises(RollbackError) as caught:
                await task
            return str(caught.value)

    told = asyncio.run(main())
    finish(process)
    assert "`with` block" not in told
    assert "Setting it back failed" in told
    assert "`bmslink config resume" in told
