"""Policies that act, under the service: on simulated boards of every vendor, on virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from acting_support import VENDORS, enforced


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))


@pytest.mark.parametrize("protocol", VENDORS)
async def test_a_violation_opens_and_is_given_back(protocol: str) -> None:
    async with enforced(protocol) as bench:
        assert bench.on("charge")
        assert not bench.switch("charge")["holders"]
        bench.pack.set_cell_voltage(2, 3.58)
        took = await bench.until(lambda: not bench.on("charge"), 30)
        print(took)
        await bench.until(lambda: bench.switch("charge")["command"]["read_back"], 5)
        shown = bench.switch("charge")
        assert shown["owner"] == "ours"
        assert shown["holders"]
        assert shown["given_back"]
        print(shown)
        bench.pack.set_cell_voltage(2, None)
        took = await bench.until(lambda: bench.on("charge"), 900)
        print(took)
        await asyncio.sleep(3)
        print([e.text for e in bench.events])
