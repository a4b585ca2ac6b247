"""Balancing: one command brings the cells of a pack together and leaves everything as it was."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import bmslink
from bmslink.testing import SimulatedPack
from cli_support import Cli

PACK = {
    "cells": 16,
    "capacity": 10.0,
    "soc": 96.0,
    "imbalance": 90.0,
    "load": "supply:2:57",
    "speed": 30.0,
}
"""So far apart that 60 mV and more are left at the top, though boards balance on the way. The
charger obeys what it is told."""


@pytest.mark.parametrize("protocol", ["jk-modbus", "daly-a5", "jbd"])
async def test_sixty_millivolts_become_ten_and_all_is_as_before(protocol: str) -> None:
    pack = SimulatedPack(protocol, **PACK)
    before = pack.settings
    async with bmslink.connect(pack.target) as device:
        held = dict((await device.settings()).items())
        report = await device.balance_session(chemistry="lfp", capacity=10.0, interval=1.0)
        assert {k: v.value for k, v in (await device.settings()).items()} == {
            k: v.value for k, v in held.items()
        }
    assert pack.settings == before
    assert report["done"]
    assert report["result"] == "done"
    assert report["at_top"]["delta"] >= 0.060, "what it really was shows at the top only"
    assert report["after"]["delta"] <= 0.010
    assert max(report["after"]["cells"]) - min(report["after"]["cells"]) <= 0.0101
    assert report["highest"] <= 3.52, "no cell beyond the top, but for what a step moves it"
    assert 0.02 <= report["regained"] <= 1.0, "Ah of the 10"
    assert report["set_back"]["restored"]
    assert report["set_back"]["left"] == []
    assert report["writes"] == 2, "the trigger, and back"
    (row,) = report["set_back"]["settings"]
    assert (row["key"], row["before"], row["after"]) == ("balance_delta", 0.01, 0.01)


def test_one_command_and_a_report(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cli = Cli(capsys)
    pack = SimulatedPack("jk02", **PACK)
    before, file = pack.settings, tmp_path / "report.txt"
    found = cli.hurried(
        "balance", "session", pack.target, "--chemistry", "lfp", "--yes", "--interval", "1",
        "-o", str(file),
    )  # fmt: skip
    assert found.code == 0, found.err
    assert "Result: balanced." in found.out
    assert re.search(
        r"At the top the cells were [6-9]\d mV apart, and are \d mV apart now", found.out
    )
    assert "Ah that the imbalance kept from being used are usable again" in found.out
    assert "Everything the session set is read back as it was." in found.out
    assert "Result: balanced." in file.read_text()
    assert pack.settings == before
    shown = cli.hurried("balance", "status", pack.target, "--json")
    (line,) = map(json.loads, shown.out.splitlines())
    assert line["balance"]["state"] == "none"
    assert line["balance"]["report"]["done"]
