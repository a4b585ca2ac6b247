"""What clients of the service get while the pack is busy, stopped, silent or lent; virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from asgi_support import ask

import bmslink
from bmslink.board import Board
from bmslink.control.act.actuators import prepare
from bmslink.errors import GateError, LinkClosed, VerifyError
from bmslink.link.transport import parse_target
from bmslink.model import Switch
from bmslink.protocols.jk.jk02.stream import JKStream
from bmslink.runtime.acting.drill import Drill
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.api.app import make_app
from bmslink.runtime.clients.client_job import ClientJob
from bmslink.runtime.jobs import PackJobs
from bmslink.runtime.lending import Lending
from bmslink.runtime.pack_task import ServedPack
from bmslink.runtime.service import Service
from bmslink.runtime.service_file import PackPlan, ServicePlan
from bmslink.service_forms import SwitchRequest
from bmslink.testing import SimulatedPack
from plugs import Plug, PlugTransport
from service_support import serving

VENDORS = ("jk02", "daly-a5", "jbd")


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))


async def nobody() -> None:
    """Nothing listens."""


@asynccontextmanager
async def served(target: str, plug: Plug | None = None) -> AsyncIterator[ServedPack]:
    """A pack without policies, under a service."""
    plan = PackPlan("house", target, parse_target(target))

    def make(plan: PackPlan) -> Board:
        assert plug is not None
        return Board(plan.endpoint, transport=lambda *_: PlugTransport(plug), tapped=True)

    more: Any = {} if plug is None else {"make": make}
    service = Service(ServicePlan((plan,)), **more)
    async with serving(service, nobody):
        pack = service.packs["house"]
        for _ in range(600):
            if pack.health.state != "starting":
                break
            await asyncio.sleep(0.1)
        yield pack


async def asked(work: Any) -> list[dict[str, Any]]:
    """The lines that a client gets."""
    return [line async for line in ClientJob(work, {"user": "anna"}).lines()]


async def act(pack: ServedPack, do: Any, **more: Any) -> list[dict[str, Any]]:
    jobs = PackJobs(pack)
    return await asked(lambda tell: jobs.act(tell, ActingWish(do=do, **more)))


def switches(pack: SimulatedPack) -> tuple[Any, Any]:
    truth = pack.truth()
    return truth.charge_switch, truth.discharge_switch


# ------------------------------------------------------------------------------- emergency stop


@pytest.mark.parametrize("protocol", VENDORS)
async def test_a_pack_without_policies_is_stopped_held_off_and_reset(protocol: str) -> None:
    pack = SimulatedPack(protocol, cells=4)
    async with served(pack.target) as house:
        assert house.status()["acting"] is None
        (*_, end) = await act(house, "stop", why="smoke")
        assert "done" in end, end
        assert switches(pack) == (False, False), "read back before it is answered"
        assert house.status()["acting"]["stopped"] == {"who": "anna", "why": "smoke"}
    async with served(pack.target) as house:  # over a restart
        await asyncio.sleep(30)
        assert house.status()["acting"]["stopped"]["who"] == "anna"
        pack.set_switch("charge", True)  # with the phone's app
        await asyncio.sleep(60)
        assert switches(pack) == (False, False)
        refused = await asked(
            lambda tell: PackJobs(house).switch(tell, SwitchRequest(switch="charge", on=True))
        )
        assert refused[-1]["kind"] == "GateError"
        assert "done" in (await act(house, "reset"))[-1]
        assert house.status()["acting"]["stopped"] is None
        pack.set_switch("charge", True)
        await asyncio.sleep(60)
        assert switches(pack)[0] is True, "nothing holds it any more"
    async with served(pack.target) as house:
        await asyncio.sleep(30)
        assert house.status()["acting"] is None


@pytest.mark.parametrize("protocol", VENDORS)
async def test_a_stop_waits_for_no_change_and_fetches_a_lent_line(protocol: str) -> None:
    pack = SimulatedPack(protocol, cells=4)
    async with served(pack.target) as house:
        lending = Lending(house, 600, "a tool")
        lines = lending.lines()
        while "begun" not in await anext(lines):
            pass
        began = asyncio.get_running_loop().time()
        assert "done" in (await act(house, "stop"))[-1]
        assert switches(pack) == (False, False)
        assert asyncio.get_running_loop().time() - began < 10
        end = [line async for line in lines][-1]
        assert end["done"] == {"reason": "off", "drift": []}, "what we switched off is no drift"


async def test_a_board_whose_switches_nobody_can_set_is_not_called_off() -> None:
    async with served("sim://jk-bus?cells=4") as house:
        (*_, end) = await act(house, "stop")
        assert end["kind"] == GateError.__name__
        assert end["error"].startswith("Nothing was sent: charge and discharge")
        assert house.status()["acting"]["stopped"] is None


async def test_a_drill_that_a_disk_keeps_from_ending_keeps_no_stop() -> None:
    pack = SimulatedPack("jbd", cells=4)
    async with served(pack.target) as house:
        house.drilling = cast(Drill, SimpleNamespace(over=asyncio.Event(), abandon=lambda: None))
        async with asyncio.timeout(20):
            assert "done" in (await act(house, "stop"))[-1]
        assert switches(pack) == (False, False)


async def test_what_does_not_read_back_as_off_is_said() -> None:
    pack = SimulatedPack("jbd", cells=4)
    pack.ignore_commands()
    async with served(pack.target) as house:
        (*_, end) = await act(house, "stop")
        assert end["kind"] == VerifyError.__name__
        assert "charge and discharge" in end["error"]


async def test_without_policies_and_without_a_stop_there_is_nothing_to_reset() -> None:
    async with served("sim://jbd?cells=4") as house:
        for do, why in (
            ("reset", "Nothing is stopped or latched"),
            ("resume", "nobody stopped it"),
        ):
            (*_, end) = await act(house, do)
            assert end["kind"] == GateError.__name__
            assert why in end["error"]
        assert house.status()["acting"] is None


async def test_a_program_confirms_another_board_by_the_interface() -> None:
    plug = Plug("/dev/house")
    plug.insert("jk02", seed=1)
    async with served("jk02+serial:///dev/house", plug) as house:
        plug.pull()
        plug.insert("jk02", seed=2)
        await asyncio.sleep(30)
        assert house.health.state == "replaced"
        service = Service(ServicePlan(()))
        service._packs["house"] = house
        app = make_app(service)
        for confirmed in (True, False):
            told = await ask(app, "POST", "/api/v1/packs/house/confirm", {})
            assert told.values["done"] == {"confirmed": confirmed}
        await asyncio.sleep(5)
        assert house.health.state == "ok"


# ------------------------------------------------------------------------------ while it is busy


async def test_a_read_during_a_change_is_answered_at_once_with_its_age() -> None:
    async with served("sim://jbd?cells=4") as house:
        jobs, loop = PackJobs(house), asyncio.get_running_loop()
        async with house.turn("a change is being made"):
            await asyncio.sleep(12)
            begun = loop.time()
            lines = await asked(lambda tell: jobs.ask(tell, "read", {}))
            assert loop.time() == begun, "it waits for nothing"
            (note,) = [line["note"] for line in lines if "note" in line]
            assert "a change is being made" in note
            assert " 12.1 s old" in note
            taken = lines[-1]["done"]["time"]
            status = house.status()
            assert status["doing"]["what"] == "a change is being made"
            assert status["age"] > 10
            again = asyncio.ensure_future(
                asked(lambda tell: jobs.ask(tell, "read", {"after": taken}))
            )
            other = asyncio.ensure_future(asked(lambda tell: jobs.ask(tell, "identify", {})))
            await asyncio.sleep(30)
            assert not again.done(), "the same reading is never given twice"
            assert not other.done()
        lines = await again
        assert lines[1]["note"].endswith("The next reading comes after that.")
        assert lines[-1]["done"]["time"] > taken
        assert any("This waits for that." in line.get("note", "") for line in await other)
        assert house.status()["doing"] is None


async def test_an_old_reading_is_no_answer() -> None:
    async with served("sim://jbd?cells=4") as house:
        async with house.turn():
            await asyncio.sleep(61)
            reading = asyncio.ensure_future(
                asked(lambda tell: PackJobs(house).ask(tell, "read", {}))
            )
            await asyncio.sleep(10)
            assert not reading.done()
        assert "done" in (await reading)[-1]


# --------------------------------------------------------------------------------- silent boards


async def lent(pack: ServedPack) -> tuple[Lending, Any]:
    """Its line, in the hands of a guest."""
    lending = Lending(pack, 600, "a tool")
    lines = lending.lines()
    async for line in lines:
        assert "error" not in line, line
        if "begun" in line:
            break
    return lending, lines


_ASKS = {
    "jk02": "aa5590eb9600" + "00" * 13 + "10",
    "daly-a5": "a54090080000000000000000" + "7d",
    "jbd": "dda50300fffd77",
}


@pytest.mark.parametrize("protocol", VENDORS)
@pytest.mark.parametrize("before", ["never heard", "heard before"])
async def test_the_line_of_a_silent_board_is_lent(protocol: str, before: str) -> None:
    plug = Plug("/dev/house")
    wire = plug.insert(protocol, cells=4).faults
    if before == "never heard":
        wire.enable("silent")
    async with served(f"{protocol}+serial:///dev/house", plug) as house:
        if before == "heard before":
            await asyncio.sleep(120)  # its settings were looked at meanwhile
            wire.enable("silent")
        await asyncio.sleep(120)
        assert house.health.state in ("silent", "lost"), house.health
        lending, lines = await lent(house)
        assert house.health.state == "lent"
        wire.disable("silent")
        await lending.send(bytes.fromhex(_ASKS[protocol]))
        while "rx" not in (line := await anext(lines)):
            assert "error" not in line, line
        assert house.reading is None or house.status()["age"] > 100, "nothing polls meanwhile"
        lending.end("given back")
        end = [line async for line in lines][-1]
        assert end["done"]["reason"] == "given back", end
        if before == "heard before" and protocol != "jbd":  # JBD tells its settings only if asked
            assert end["done"]["drift"] == []
        await asyncio.sleep(60)
        assert house.health.state == "ok"


async def test_a_line_that_stays_silent_comes_back_and_its_settings_are_unknown() -> None:
    plug = Plug("/dev/house")
    wire = plug.insert("daly-a5", cells=4).faults
    wire.enable("silent")
    async with served("daly-a5+serial:///dev/house", plug) as house:
        lending, lines = await lent(house)
        (*_, refused) = await asked(lambda tell: PackJobs(house).ask(tell, "read", {}))
        assert refused["kind"] == "PortBusy"
        assert "is lent to a tool" in refused["error"]
        lending.end("given back")
        assert [line async for line in lines][-1] == {
            "done": {"reason": "given back", "drift": None}
        }
        assert house.health.state in ("silent", "lost"), "as before"


async def test_a_line_whose_speed_nobody_knows_is_not_lent() -> None:
    plan = PackPlan("house", "serial:///dev/nothing", parse_target("serial:///dev/nothing"))
    service = Service(ServicePlan((plan,)))
    async with serving(service, nobody):
        await asyncio.sleep(1)
        with pytest.raises(LinkClosed, match="write it before the target"):
            async with service.packs["house"].aside("lent", "why"):
                pass


async def test_an_off_does_not_wait_until_a_board_has_said_again_who_it_is() -> None:
    """The service asks now and then; a poll that an off interrupts may have just begun to."""
    pack = SimulatedPack("jk02", cells=4)
    async with bmslink.connect(pack.target) as device:
        board = device.board
        assert isinstance(board.driver, JKStream)
        charge = (await prepare(board)).actuators[Switch.CHARGE]
        board.driver.forget()
        loop = asyncio.get_running_loop()
        assert (await charge.off(loop.time() + 3)).sent is True
        assert switches(pack)[0] is False
        assert not board.driver.info  # nothing was asked before it
        board.link.continuity.outages += 1  # now it may be another board: that is asked first
        assert (await charge.off(loop.time() + 3)).sent is True
        assert board.driver.info
