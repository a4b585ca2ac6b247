"""An emergency stop through the service of a board whose switches nobody has tried."""

from __future__ import annotations

from pathlib import Path

import pytest
from asgi_support import ask

from acting_support import EnforcedBench, enforced, policy_text
from bmslink.errors import UsageError
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.api.app import make_app
from bmslink.testing import SimulatedPack

NEVER_RECORDED = "99"
"""A firmware of daly-d2 that no recording is of."""
ROAD = "/api/v1/packs/pack/acting"
STOP = {"do": "stop", "why": "smoke"}


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))


async def test_a_stop_may_waive_that_nobody_tried_a_switch() -> None:
    pack = SimulatedPack("daly-d2", firmware=NEVER_RECORDED)
    async with EnforcedBench(pack, policy_text("jbd"), enforce=False).running() as bench:
        await bench.until(lambda: bench.served.health.state == "ok", 30)
        app = make_app(bench.service)
        refused = await ask(app, "POST", ROAD, STOP)
        assert refused.status == 409 and "cannot be switched" in refused.values["error"]
        assert bench.on("charge") and bench.on("discharge")
        stopped = await ask(app, "POST", ROAD, {**STOP, "untested": True})
        assert stopped.status == 200, stopped.body
        assert not bench.on("charge") and not bench.on("discharge")
        assert (await ask(app, "POST", ROAD, {"do": "reset"})).status == 200
        assert bench.served.judge.acting.actor is None


async def test_policies_may_not_switch_what_one_stop_was_let_to() -> None:
    text = policy_text("jbd")
    async with enforced("daly-d2", text=text, firmware=NEVER_RECORDED) as bench:
        side = bench.served.judge.acting
        assert side.actor is not None and not side.actor.mandate.able
        app = make_app(bench.service)
        stopped = await ask(app, "POST", ROAD, {**STOP, "untested": True})
        assert stopped.status == 200, stopped.body
        assert not bench.on("charge") and not bench.on("discharge")
        assert side.enforcing
        assert (await ask(app, "POST", ROAD, {"do": "reset"})).status == 200
        await bench.until(lambda: side.enforcing, 60)
        assert side.actor is not None and not side.actor.mandate.able


def test_untested_goes_with_a_stop_alone() -> None:
    with pytest.raises(UsageError, match="untested"):
        ActingWish.of({"do": "reset", "untested": True}).request("anna")
    assert ActingWish(do="reset").to_dict() == {"do": "reset"}
