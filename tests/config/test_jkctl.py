"""jkctl at the other end: as the board that we write to, and as the program that reads and writes.

jkctl is JK's own protocol by another author, who took it from the vendor's program. It wants a
newer Python than we do, so it is looked for and not installed with the rest: put `jkctl` 0.2.0 into
an environment of its own and name its interpreter in JKCTL_PYTHON (or have `jkctl` on the path).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tty
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from test_independent_writes import JK_BITS, hurried, write_all
from test_serve import serving

import bmslink
from bmslink.config import apply, draft, switch
from bmslink.model import Command, Switch
from bmslink.settings.setting import Value
from bmslink.storage.journal import Journal
from cli_support import leash
from counterparts import missing


def _python() -> str:
    """The interpreter that has jkctl; empty where there is none."""
    if named := os.environ.get("JKCTL_PYTHON"):
        return named
    script = shutil.which("jkctl")
    beside = Path(script).resolve().parent / "python" if script else None
    return str(beside) if beside and beside.exists() else ""


PYTHON = _python()


@pytest.fixture(autouse=True)
def jkctl_is_there() -> None:
    if not PYTHON:
        missing("jkctl", "is not installed: name its interpreter in JKCTL_PYTHON")


BOARD = """
import sys
from jkctl.simulator import Sim
sim = Sim(sys.argv[1])
sim.tables[0x000][281:290] = bytes.fromhex("feffffffff9fe99d03")
sim.tables[0x400][144:160] = bytes.fromhex("feffffff8fe99d0300000000901f0000")
sim.run()
"""
"""Their simulated board, with what it leaves out: which registers a board of firmware 15.41 says
that it has and takes (`sess-jk02-32s-pb2a16s20p-15.41-heating`). Without that we only read it."""
NAMES: Mapping[str, str] = {
    # ours -> theirs, both in V, A, Ah, °C, s, h
    "jk_smart_sleep_voltage": "volSmartSleep",
    "cell_uvp": "volCellUV",
    "cell_uvp_release": "volCellUVPR",
    "cell_ovp": "volCellOV",
    "cell_ovp_release": "volCellOVPR",
    "balance_delta": "volBalanTrig",
    "full_charge_voltage": "volSOCP100",
    "empty_voltage": "volSOCP0",
    "jk_request_charge_voltage": "volCellRCV",
    "float_voltage": "volCellRFV",
    "jk_power_off_voltage": "volSysPwrOff",
    "charge_ocp": "timBatCOC",
    "charge_ocp_delay": "timBatCOCPDly",
    "charge_ocp_release": "timBatCOCPRDly",
    "discharge_ocp": "timBatDcOC",
    "discharge_ocp_delay": "timBatDcOCPDly",
    "discharge_ocp_release": "timBatDcOCPRDly",
    "short_circuit_release": "timBatSCPRDly",
    "balance_current": "curBalanMax",
    "charge_otp": "tmpBatCOT",
    "charge_otp_release": "tmpBatCOTPR",
    "discharge_otp": "tmpBatDcOT",
    "discharge_otp_release": "tmpBatDcOTPR",
    "charge_utp": "tmpBatCUT",
    "charge_utp_release": "tmpBatCUTPR",
    "mosfet_otp": "tmpMosOT",
    "mosfet_otp_release": "tmpMosOTPR",
    "nominal_capacity": "capBatCell",
    "balance_start_voltage": "volStartBalan",
    "balance_switch": "balanEn",
    "charge_switch": "batChargeEn",
    "discharge_switch": "batDischargeEn",
    "cell_count": "cellCount",
    "jk_heating_start": "tmpStartHeating",
    "jk_heating_stop": "tmpStopHeating",
}
SHORT_CIRCUIT = "scpDelay"
"""Theirs in µs, ours (`short_circuit_delay`) in s."""
WORD = "switchStatus"


async def jkctl(port: Path, *words: str) -> str:
    """What it prints; it may not fail."""
    argv = (PYTHON, "-m", "jkctl", *words, "--port", str(port))
    process = await asyncio.create_subprocess_exec(*argv, stdout=-1, stderr=-2)
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, out.decode()
    return out.decode()


async def shown(port: Path) -> dict[str, Any]:
    """All settings as jkctl reads them."""
    found: dict[str, Any] = json.loads(await jkctl(port, "settings", "show", "--json"))
    return found


@asynccontextmanager
async def their_board(folder: Path) -> AsyncIterator[Path]:
    """Their simulated board behind a port: two pseudo-terminals, each other's other end."""
    loop, (near, near_end), (far, far_end) = asyncio.get_running_loop(), os.openpty(), os.openpty()
    for end in (near_end, far_end):
        tty.setraw(end)
    port = folder / "port"
    port.symlink_to(os.ttyname(near_end))
    loop.add_reader(near, lambda: os.write(far, os.read(near, 4096)))
    loop.add_reader(far, lambda: os.write(near, os.read(far, 4096)))
    argv = (*leash(), PYTHON, "-c", BOARD, os.ttyname(far_end))
    board = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
    try:
        assert board.stderr is not None
        assert b"listening" in await asyncio.wait_for(board.stderr.readline(), 30)
        yield port
    finally:
        if board.returncode is None:
            board.terminate()
        await board.wait()
        for master, end in ((near, near_end), (far, far_end)):
            loop.remove_reader(master)
            os.close(master)
            os.close(end)


def compare(theirs: Mapping[str, Any], ours: Mapping[str, Value | None]) -> set[str]:
    """Assert that they say what we say; gives their names of what was compared."""
    compared = set()
    for key, value in ours.items():
        if key in JK_BITS:
            assert theirs[WORD] >> JK_BITS.index(key) & 1 == value, key
            compared.add(WORD)
        elif key == "short_circuit_delay":
            assert theirs[SHORT_CIRCUIT] == pytest.approx(float(value or 0) * 1e6), key
            compared.add(SHORT_CIRCUIT)
        elif key in NAMES:
            assert theirs[NAMES[key]] == pytest.approx(float(value or 0), abs=1e-6), key
            compared.add(NAMES[key])
    return compared


@pytest.mark.real_time
async def test_jkctl_reads_on_its_board_what_we_wrote_and_nothing_else(tmp_path: Path) -> None:
    async with their_board(tmp_path) as port:
        before = await shown(port)
        async with bmslink.connect(hurried(f"jk-modbus+serial://{port}")).board as device:
            compare(before, (await device.settings()).values())
            wanted = await write_all(device, tmp_path)
        after = await shown(port)
        asked = compare(after, wanted)
        assert {key for key in after if after[key] != before[key]} <= asked
        assert len(asked) > 30


@pytest.mark.real_time
async def test_a_whole_change_on_their_board_and_a_switch(tmp_path: Path) -> None:
    """The road that a user takes: plan, gates, proof, and the switch that goes out at once."""

    async with their_board(tmp_path) as port:
        before, journal = await shown(port), Journal(tmp_path / "journal")
        async with bmslink.connect(hurried(f"jk-modbus+serial://{port}")).board as device:
            wish = {"cell_ovp": 3.6, "charge_utp": 2.0, "balance_start_voltage": 3.42}
            waived = ("load", "health")  # 12 A flow, and its uptime stands still
            plan = await draft(device, wish, chemistry="lfp", waive=waived, journal=journal)
            outcome = await apply(device, plan, journal=journal)
            assert outcome.result == "done", outcome.sentence
            off = await switch(
                device, Command(Switch.CHARGE, False), waive=("untested",), journal=journal
            )
        after = await shown(port)
        compare(after, {**wish, "charge_switch": False})
        changed = {key for key in after if after[key] != before[key]}
        assert changed == {*(NAMES[key] for key in wish), "batChargeEn"}
        # their simulated board goes on charging: its live table knows nothing of the switch
        assert off.result == "unproven"


@pytest.mark.real_time
async def test_jkctl_reads_and_writes_our_board(tmp_path: Path) -> None:
    port = tmp_path / "port"
    async with serving(1, "jk-modbus", pty=str(port)) as served:
        async with bmslink.connect(served.targets[0]).board as device:
            wanted = await write_all(device, tmp_path)
        compare(await shown(port), wanted)
        theirs = ("volCellOV=3.61", "tmpBatCUT=3", "timBatCOCPDly=7", "capBatCell=123")
        await jkctl(port, "settings", "set", *theirs)
        async with bmslink.connect(served.targets[0]).board as device:
            values = (await device.settings()).values()
        ours = {"cell_ovp": 3.61, "charge_utp": 3.0, "charge_ocp_delay": 7.0}
        for key, value in {**wanted, **ours, "nominal_capacity": 123.0}.items():
            assert values[key] == value, key
