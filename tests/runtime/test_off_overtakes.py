"""Off, while something older that switches on is under way: the older one gives way, on the board
of a service, whose line both of them have."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bmslink.errors import BmsError
from bmslink.runtime.jobs import PackJobs
from bmslink.service_forms import SwitchRequest
from bmslink.testing import SimulatedPack
from served_support import served

ON, OFF = SwitchRequest(switch="charge", on=True), SwitchRequest(switch="charge", on=False)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))


class Nobody:
    """A client that takes no news."""

    def __call__(self, doing: str, done: int, total: int) -> None: ...

    def note(self, text: str) -> None: ...


@pytest.mark.parametrize(
    ("protocol", "later"),
    [("jbd", 0.2), ("daly-a5", 2.0), ("jk02", 2.5), ("jk02", 5.0)],
    ids=["before the frame", "before a slow one", "before a setting", "before its proof"],
)
async def test_an_on_that_was_asked_for_earlier_does_not_leave_later(
    protocol: str, later: float
) -> None:
    pack = SimulatedPack(protocol, cells=4, load=0.0)
    async with served(pack.target) as service:
        jobs = PackJobs(next(iter(service.packs.values())))
        await jobs.switch(Nobody(), OFF)
        on = asyncio.create_task(jobs.switch(Nobody(), ON))
        await asyncio.sleep(later)
        assert not on.done()
        assert (await jobs.switch(Nobody(), OFF))["result"] == "done"
        with pytest.raises(BmsError, match="switched charge off meanwhile|was cut off"):
            await on
        assert not pack.truth().charge_switch
        await jobs.switch(Nobody(), ON)  # one that is asked for afterwards is as ever
        assert pack.truth().charge_switch
