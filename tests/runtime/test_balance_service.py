"""The balancing session of a served pack: asked for, watched, cancelled, alive after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import bmslink
from acting_support import EnforcedBench, approve, policy_text
from bmslink.control.sessions.kept import SessionStore
from bmslink.control.sessions.options import SessionOptions
from bmslink.errors import GateError
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.pack_task import ServedPack
from bmslink.testing import SimulatedPack
from served_support import served, until

OPTIONS = SessionOptions(chemistry="lfp", capacity=50.0)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE", "JOURNAL", "RUNTIME"):
        monkeypatch.setenv(f"BMSLINK_{name}", str(tmp_path / name.lower()))
    (tmp_path / "runtime").mkdir()


def _pack(protocol: str = "jbd", **more: Any) -> SimulatedPack:
    about: dict[str, Any] = {
        "cells": 8, "capacity": 20.0, "soc": 97.0, "imbalance": 60.0, "load": "supply:4:28.5",
        "speed": 20.0,
    }  # fmt: skip
    return SimulatedPack(protocol, **{**about, **more})


async def _begun(pack: ServedPack, options: SessionOptions = OPTIONS) -> None:
    looked = await pack.balance.plan(options)
    assert not looked["refused"], looked["checks"]
    await pack.balance.start(options, looked["plan"]["agreement"], "anna")


async def _over(pack: ServedPack) -> dict[str, Any]:
    await until(lambda: not pack.balance.running, 4000)
    found = pack.balance.status()
    assert found["state"] == "none", found
    report: dict[str, Any] = found["report"]
    return report


@asynccontextmanager
async def _service(pack: SimulatedPack) -> AsyncIterator[ServedPack]:
    async with served(pack.target) as service:
        yield next(iter(service.packs.values()))


async def test_any_client_begins_it_and_gets_the_report() -> None:
    pack = _pack()
    before = pack.settings
    async with _service(pack), bmslink.connect(pack.target) as client:
        report = await client.balance_session(chemistry="lfp", capacity=20.0)
    assert report["done"]
    assert report["after"]["delta"] <= 0.010
    assert report["set_back"]["restored"]
    assert pack.settings == before


async def test_it_goes_on_after_a_restart_of_the_service() -> None:
    pack = _pack()
    before = pack.settings
    async with _service(pack) as first:
        await _begun(first)
        await until(lambda: pack.settings["balance_delta"] == 0.005, 200)
        with pytest.raises(GateError, match="runs already"):
            await first.balance.start(OPTIONS, "", "ben")
    assert pack.settings["balance_delta"] == 0.005, "the service ended, and the session has not"
    (kept,) = SessionStore().all()
    assert kept.before == {"balance_delta": 0.01}
    async with _service(pack) as second:
        await until(lambda: second.balance.running, 60)
        report = await _over(second)
    assert report["done"]
    assert report["id"] == kept.id
    assert pack.settings == before
    assert not [*SessionStore().all()]


async def test_it_is_cancelled_by_anybody() -> None:
    pack = _pack()
    before = pack.settings
    async with _service(pack) as served_pack:
        await _begun(served_pack)
        await until(lambda: pack.settings != before, 200)
        served_pack.balance.cancel("ben")
        report = await _over(served_pack)
    assert (report["result"], report["text"]) == ("cancelled", "ben cancelled it.")
    assert pack.settings == before


async def test_what_was_not_agreed_to_is_not_done() -> None:
    pack = _pack()
    before = pack.settings
    async with _service(pack) as served_pack:
        with pytest.raises(GateError, match="agreed to"):
            await served_pack.balance.start(OPTIONS, "another", "anna")
        assert not served_pack.balance.running
    assert pack.settings == before


async def test_one_of_a_command_that_died_is_set_back_by_the_service() -> None:
    pack = _pack()
    before = pack.settings
    async with _service(pack) as served_pack:
        await _begun(served_pack)
        await until(lambda: pack.settings != before, 200)
    store = SessionStore()
    (kept,) = store.all()
    store.save(kept.with_(owner="command"))
    async with _service(pack) as served_pack:
        await until(lambda: pack.settings == before, 300)
        report = await _over(served_pack)
    assert report["result"] == "cancelled"
    assert report["set_back"]["restored"]


async def test_policies_that_act_bind_its_limits_and_a_stop_ends_it() -> None:
    pack = _pack(soc=98.0, load="idle")
    text = policy_text("jbd", cells=8)
    before = pack.settings
    await approve(pack, text)
    async with EnforcedBench(pack, text).running() as bench:
        await bench.until(lambda: bench.served.judge.enforcing, 60)
        await asyncio.sleep(65)
        pack.set_load("supply:4:28.5")
        await _begun(bench.served)
        await bench.until(lambda: pack.settings != before, 200)
        await asyncio.sleep(60)
        limits = bench.served.judge.decision.limits
        obeyed = pack._device.pack.around.limits  # what the charger was told
        assert obeyed["cvl"] <= limits.cvl.value
        assert obeyed["ccl"] <= limits.ccl.value
        await bench.served.act(ActingWish(do="stop", why="fire"), "ben")
        report = await _over(bench.served)
        assert report["result"] == "stopped"
        assert pack.settings == before
        assert bench.on("balance") is False, "the stop holds"
        assert [e for e in bench.events if e.what == "balance"]
