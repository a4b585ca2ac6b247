"""`control run` with and without acting: what goes out, what carries limits out, who stops it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import bmslink
from acting_support import approve, policy_text
from bmslink.config.identity.known_as import pack_of
from bmslink.control.act.sinks import LimitMessage, in_force
from bmslink.control.decide.decision import Decision
from bmslink.control.files import parse_policies
from bmslink.control.status import StateError, runs
from bmslink.errors import GateError, LinkTimeout, PortBusy, VerifyError
from bmslink.model import Command, Switch
from bmslink.runtime.acting.acting_side import ActingSide
from bmslink.runtime.acting.direct import do_directly
from bmslink.runtime.acting.limit_sinks import CommandSink, LimitSinks, LineSink
from bmslink.runtime.acting.mailbox import switch_by_run
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.acting.shown import nothing_known
from bmslink.runtime.judging.disk import DiskQueue
from bmslink.runtime.judging.pack_memory import (
    MemoryPlace,
    PackDisk,
    PackMemory,
    board_name,
    default_folder,
)
from bmslink.runtime.supervisor import Enforcing, PackSupervisor, StatusBoard
from bmslink.storage.journal import Journal
from bmslink.storage.state import StateFolder, UnwritableState
from bmslink.testing import SimulatedPack


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))


class Notes:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.acting: list[tuple[str, str]] = []

    def on_decision(self, index: int, decision: Decision, *, changed: bool) -> None: ...

    def on_error(self, index: int, error: Exception) -> None: ...

    def on_finding(self, index: int, finding: object) -> None: ...

    def on_trouble(self, sentence: str) -> None: ...

    def on_acting(self, index: int, what: str, text: str, *, alarm: bool) -> None:
        self.acting.append((what, text))


def supervised(
    pack: SimulatedPack,
    text: str,
    sinks: LimitSinks | None = None,
    *,
    enforce: bool = True,
    memory: PackMemory | None = None,
) -> tuple[Notes, PackSupervisor, bmslink.board.Board]:
    notes = Notes()
    device = bmslink.connect(pack.target).board
    board = StatusBoard(notes, "p.toml", [str(device.target)], 1.0, shadow=not enforce)

    def note(event: str, **data: object) -> None: ...

    def tell(what: str, said: str, **more: object) -> None:
        notes.on_acting(0, str(more.get("change", what)), said, alarm=False)

    side = ActingSide(
        device, text, "p.toml", enforce=True, interval=1.0, note=note, target=str(device.target),
        tell=tell, sinks=sinks,
    )  # fmt: skip
    return notes, PackSupervisor(
        notes, board, 0, parse_policies(text, Path("p.toml")), None, {}, interval=1.0,
        sink=bool(sinks), enforcing=Enforcing(side, note, memory) if enforce else None,
    ), device  # fmt: skip


async def test_limits_are_said_and_die_with_who_says_them() -> None:
    """A sink that takes them: the current is asked to fall first. A violation lowers them."""
    pack = SimulatedPack("jbd", cells=4, load=20.0)
    text = policy_text("jbd")
    await approve(pack, text)
    lines: list[dict] = []
    _, supervisor, device = supervised(pack, text, LimitSinks([LineSink(lines.append)]))
    task = asyncio.create_task(supervisor.follow(device, 1.0, None))
    await asyncio.sleep(30)
    assert lines[-1]["ccl"] > 0
    assert lines[-1]["ttl"] == 10.0
    numbers = [line["sequence"] for line in lines]
    assert numbers == sorted(set(numbers))
    pack.set_cell_voltage(2, 3.58)
    await asyncio.sleep(3)
    assert lines[-1]["ccl"] == 0.0
    assert pack.truth().charge_switch, "a sink is alive: it waits for the current to fall"
    await asyncio.sleep(4)
    assert not pack.truth().charge_switch, "and not for longer than 3 s"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    count = len(lines)
    await asyncio.sleep(30)
    assert len(lines) == count, "nobody says them any more"
    known = {name: lines[-1][name] for name in LimitMessage.__struct_fields__}
    assert in_force(LimitMessage(**known), 10.5) is None


@asynccontextmanager
async def runs_of(
    pack: SimulatedPack, text: str
) -> AsyncIterator[Callable[[float, float | None], Awaitable[None]]]:
    """Run it for so many seconds, with a cell at so many volts from the tenth on, and end it."""
    queue = DiskQueue()
    writing = asyncio.create_task(queue.run())
    disk = PackDisk(queue, default_folder(), Journal())

    async def run(seconds: float, volts: float | None) -> None:
        memory = PackMemory(MemoryPlace("pack", pack.target), disk, print)
        _, supervisor, device = supervised(pack, text, memory=memory)
        task = asyncio.create_task(supervisor.follow(device, 1.0, None))
        await asyncio.sleep(10)
        pack.set_cell_voltage(2, volts)
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await queue.flush(5)

    try:
        yield run
    finally:
        writing.cancel()
        queue.close()


async def reset_directly(pack: SimulatedPack, policy: str = "") -> list[str]:
    """On a board that nothing watches."""
    async with bmslink.connect(pack.target).board as device:
        before = pack.counters["commands"]
        done = await do_directly(device, ActingWish(do="reset", policy=policy), "anna")
        assert pack.counters["commands"] == before
    return done.done


async def test_what_waits_for_a_person_does_so_after_a_restart_of_a_run() -> None:
    """A latch of `control run --enforce` is no less one after its end."""
    pack = SimulatedPack("jk02", cells=4, load=0.0)
    text = policy_text("jk02")
    await approve(pack, text)
    async with runs_of(pack, text) as run:
        await run(10, 3.66)
        assert not pack.truth().charge_switch
        pack.set_cell_voltage(2, None)
        await run(300, None)
    assert not pack.truth().charge_switch, "cell_overvoltage_critical waits for a person"


@pytest.mark.parametrize("protocol", ["jk02", "daly-a5", "jbd"])
async def test_a_latch_is_reset_on_a_board_that_nothing_watches(protocol: str) -> None:
    """Not while its cause lasts; then what acts next gives the switch back by its own rules."""
    pack = SimulatedPack(protocol, cells=4, load=0.0)
    text = policy_text(protocol)
    await approve(pack, text)
    async with runs_of(pack, text) as run:
        await run(10, 3.66)
        done = await reset_directly(pack)  # the ledger's holders, at least
        assert "cannot be reset while its cause lasts" in done[-1]
        with pytest.raises(GateError, match="cannot be reset while its cause lasts"):
            await reset_directly(pack)
        pack.set_cell_voltage(2, None)
        name = "" if protocol == "jk02" else "cell_overvoltage_critical"
        assert await reset_directly(pack, name) == ["cell_overvoltage_critical is reset."]
        with pytest.raises(GateError, match="Nothing is stopped or latched"):
            await reset_directly(pack)
        assert not pack.truth().charge_switch
        await run(300, None)
    assert pack.truth().charge_switch


async def test_what_a_reset_does_not_reach_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is damaged, one that cannot be written, no approval, a board that is silent."""
    pack = SimulatedPack("jk02", cells=4, load=0.0)
    text = policy_text("jk02")
    await approve(pack, text)
    async with runs_of(pack, text) as run:
        await run(10, 3.66)
    pack.set_cell_voltage(2, None)
    (file,) = (
        f for f in (tmp_path / "state" / "packs").glob("*.json") if "engine" in f.read_text()
    )
    kept = file.read_text()
    file.unlink()
    assert "is reset" not in " ".join(await reset_directly(pack)), "the ledger's holders alone"
    with pytest.raises(GateError, match="Nothing is stopped or latched"):
        await reset_directly(pack)
    file.write_text(kept)
    (approval,) = (tmp_path / "state" / "approvals").glob("*.json")
    approval.rename(tmp_path / "approval")
    with pytest.raises(
        GateError, match=r"cell_overvoltage_critical cannot be reset here: nothing is approved for"
    ):
        await reset_directly(pack)
    (tmp_path / "approval").rename(approval)
    for damage in ("{", kept.replace('"latched": true', '"latched": 3')):
        file.write_text(damage)
        with pytest.raises(GateError, match=r"What its policies knew is lost: they begin anew"):
            await reset_directly(pack)
        assert file.exists()
    file.write_text(kept)
    with monkeypatch.context() as patch:
        patch.setattr(StateFolder, "save", _full)
        with pytest.raises(UnwritableState, match=r"critical cannot be reset, and stays latched"):
            await reset_directly(pack)
    assert file.read_text() == kept
    approval.write_text(approval.read_text().replace("3.62", "3.63"))
    with pytest.raises(GateError, match=r"cell_overvoltage_critical cannot be reset here: nothing"):
        await reset_directly(pack)


@pytest.mark.parametrize(
    "before",
    [
        "daly-a5+serial:///dev/ttyS9",
        "daly-a5+serial:///dev/ttyS9?baudrate=9600",
        "serial:///dev/ttyS9",
    ],
)
async def test_a_latch_is_found_however_the_place_is_written(before: str) -> None:
    """A board without a serial number; also where an earlier version kept it."""
    queue = DiskQueue()
    writing = asyncio.create_task(queue.run())
    who = bmslink.Identity(vendor="Daly", protocol="daly-a5")
    kept = {"pack": pack_of(who), "engine": {"tripped": {}}}
    default_folder().save(f"policies {board_name(who, before)}", kept, None)
    memory = PackMemory(
        MemoryPlace("van", before), PackDisk(queue, default_folder(), Journal()), print
    )
    assert await memory.take(who) == kept["engine"]
    memory.save(0.0, lambda: {"tripped": {"x": {}}}, who, active=False, at_once=True)
    await queue.flush(5)
    other = PackMemory(
        MemoryPlace("van", "daly-a5+serial:///dev/ttyS9?timeout=2"),
        PackDisk(queue, default_folder(), Journal()), print,
    )  # fmt: skip
    assert await other.take(who) == {"tripped": {"x": {}}}
    writing.cancel()
    queue.close()


def _full(*args: object) -> None:
    raise UnwritableState("It cannot be written.")


async def test_a_latch_stays_where_the_board_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pack = SimulatedPack("jk02", cells=4, load=0.0)
    text = policy_text("jk02")
    await approve(pack, text)
    async with runs_of(pack, text) as run:
        await run(10, 3.66)
    pack.set_cell_voltage(2, None)
    with monkeypatch.context() as patch:
        patch.setattr("bmslink.board.Board.read", _silent)
        done = await reset_directly(pack)
    assert "cell_overvoltage_critical cannot be reset: whether its cause is gone" in done[-1]
    assert "cell_overvoltage_critical is reset." in await reset_directly(pack)


async def _silent(board: object) -> None:
    raise LinkTimeout("Silence.")


async def test_a_switch_by_hand_goes_through_the_run_that_has_the_pack() -> None:
    """Who holds it is named; off goes out, and no policy gives it back."""
    pack = SimulatedPack("jbd", cells=4, load=0.0)
    text = policy_text("jbd")
    await approve(pack, text)
    _, supervisor, device = supervised(pack, text)
    target = str(device.target)
    task = asyncio.create_task(supervisor.follow(device, 1.0, None))
    await asyncio.sleep(10)
    pack.set_cell_voltage(2, 3.58)
    await asyncio.sleep(5)
    with pytest.raises(GateError, match=r"held off by cell_overvoltage .*control override"):
        await switch_by_run(target, Command(Switch.CHARGE, on=True), "anna")
    assert not pack.truth().charge_switch
    pack.set_cell_voltage(2, 3.45)
    await asyncio.sleep(2)
    (said,) = (text for text in supervisor._pack.policies if "cell_overvoltage (" in text)
    assert re.search(r"3\.58\d V, at or above 3\.550 V for 1\.0 s; now 3\.45\d V$", said)
    await switch_by_run(target, Command(Switch.DISCHARGE, on=False), "anna")
    assert not pack.truth().discharge_switch
    await asyncio.sleep(200)
    assert not pack.truth().discharge_switch
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_no_decision_waits_for_the_state_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs or is full; once it is well again, the state is there."""
    written: list[Path] = []

    def full(path: Path, run: object) -> None:
        raise StateError("full")

    notes, queue = Notes(), DiskQueue()
    monkeypatch.setattr("bmslink.runtime.supervisor.write", full)
    board = StatusBoard(notes, "p.toml", ["jbd"], 1.0, shadow=False, queue=queue)
    board.show(at_once=True)
    board.show(at_once=True)
    writing = asyncio.create_task(queue.run())
    await queue.flush(5)
    monkeypatch.setattr("bmslink.runtime.supervisor.write", lambda path, run: written.append(path))
    board.show(at_once=True)
    await queue.flush(5)
    assert len(written) == 1
    writing.cancel()
    queue.close()


@pytest.mark.real_time
async def test_a_command_hears_answers_and_its_death_is_known(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    script = (
        "import sys\n"
        "for line in sys.stdin:\n"
        f"    open({str(heard)!r}, 'a').write(line)\n"
        "    print('ok', flush=True)\n"
    )
    sink = CommandSink(f"{sys.executable} -u -c {json.dumps(script)}".replace("\\n", "\n"))
    sinks = LimitSinks([sink], {"target": "jbd"})
    task = asyncio.create_task(sinks.run())
    loop = asyncio.get_running_loop()
    sinks.publish(nothing_known(0.0).limits, loop.time(), lasts=10)
    for _ in range(100):
        await asyncio.sleep(0.05)
        if sink.state.acked_at is not None:
            break
    assert sinks.alive(loop.time()) == {"charge": True, "discharge": True}
    assert json.loads(heard.read_text().splitlines()[0])["ccl"] == 0.0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    dead = CommandSink(f"{sys.executable} -c pass")
    task = asyncio.create_task(dead.run())
    dead.give({"ccl": 0}, loop.time())
    for _ in range(100):
        await asyncio.sleep(0.05)
        if dead.state.failed:
            break
    assert not dead.state.health(loop.time()).alive
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("protocol", ["jk02", "daly-a5", "jbd"])
async def test_shadow_asks_nothing_more_than_reading(protocol: str) -> None:
    """With an approved file and a violation, too."""
    text = policy_text(protocol)
    asked = []
    for watched in (False, True):
        pack = SimulatedPack(protocol, cells=4)
        if watched:
            await approve(pack, text)
        pack = SimulatedPack(protocol, cells=4)
        pack.set_cell_voltage(2, 3.58)
        if watched:
            _, supervisor, device = supervised(pack, text, enforce=False)
            await supervisor.follow(device, 1.0, 20)
        else:
            device = bmslink.connect(pack.target).board
            async with device:
                for _ in range(20):
                    await device.read()
                    await asyncio.sleep(0.5)
        assert pack.counters["commands"] == 0
        asked.append(device.link.counters.requests)
    assert asked[0] == asked[1]


@pytest.mark.parametrize("protocol", ["jk02", "daly-a5", "jbd"])
async def test_a_stop_of_a_pack_that_nothing_watches(protocol: str) -> None:
    """On the board itself, read back, and known to what watches it next."""
    pack = SimulatedPack(protocol, cells=4)
    async with bmslink.connect(pack.target).board as device:
        found = await do_directly(device, ActingWish(do="stop", why="smoke"), "anna")
        assert found.status["switches"]["charge"]["command"]["read_back"]
        assert not pack.truth().charge_switch
        assert not pack.truth().discharge_switch
        with pytest.raises(GateError, match="not set aside"):
            await do_directly(device, ActingWish(do="override", policy="x", minutes=5), "bob")
    text = policy_text(protocol)
    await approve(pack, text)
    _, supervisor, device = supervised(pack, text)
    task = asyncio.create_task(supervisor.follow(device, 1.0, None))
    await asyncio.sleep(90)
    pack.set_switch("charge", True)
    await asyncio.sleep(20)
    assert not pack.truth().charge_switch, "the stop goes on"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with bmslink.connect(pack.target).board as device:
        before = pack.counters["commands"]
        done = await do_directly(device, ActingWish(do="reset"), "anna")
        assert "reset" in done.done[0]
        assert pack.counters["commands"] == before
    assert not pack.truth().charge_switch


@pytest.mark.parametrize("fault", ["command_no_effect", "command_ignored"])
async def test_a_stop_that_the_board_does_not_obey_ends_in_time(fault: str) -> None:
    """It is sent before anybody asks who answers, says how far it is, and claims nothing."""
    pack = SimulatedPack("daly-a5", cells=16, faults=[fault])
    said: list[str] = []
    async with bmslink.connect(pack.target).board as device:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with pytest.raises(VerifyError, match=r"did not read back.*still shown as on"):
            await do_directly(device, ActingWish(do="stop"), "anna", progress=said.append)
        assert loop.time() - begun < 16
    assert said == [
        "Off is sent: charge, discharge.",
        "charge is still shown as on, discharge is still shown as on.",
    ]


async def test_a_stop_leaves_before_anybody_asks_who_answers() -> None:
    pack = SimulatedPack("daly-a5", cells=4)
    async with bmslink.connect(pack.target).board as device:
        asked = device.link.counters.requests
        with pytest.MonkeyPatch.context() as patch:

            async def who() -> bmslink.Identity:
                assert not pack.truth().charge_switch
                assert device.link.counters.requests - asked <= 2
                raise LinkTimeout("Silence.")

            patch.setattr(device, "who", who)
            with pytest.raises(VerifyError, match=r"Off was sent \(charge, discharge\)"):
                await do_directly(device, ActingWish(do="stop"), "anna")


def test_two_runs_have_no_pack_in_common() -> None:
    """The second is refused, however it writes the place, and leaves what the first one says."""
    target = str(bmslink.connect("jbd+serial:///dev/null").target)
    first = StatusBoard(Notes(), "one.toml", [target, "jbd+sim://?pack=7"], 1.0)
    first.claim()
    first.show(at_once=True)
    (said,) = runs().runs
    second = StatusBoard(Notes(), "two.toml", ["jbd+serial:///dev/../dev/null"], 1.0)
    with pytest.raises(GateError, match=rf"\(process {os.getpid()}\) has jbd\+serial.*end it"):
        second.claim()
    second.show(at_once=True)
    second.remove()
    assert runs().runs == [said]
    first.remove()
    second.claim()
    second.show(at_once=True)
    assert [run.policies for run in runs().runs] == ["two.toml"]
    second.remove()
    assert not runs().runs


async def test_a_port_that_somebody_has_is_waited_for_only_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the start that protects nothing; in the middle others go on, and the cable comes back."""
    pack = SimulatedPack("jbd", cells=4)
    _, supervisor, device = supervised(pack, policy_text("jbd"), enforce=False)

    async def busy() -> None:
        raise PortBusy("/dev/x is in use by thief (pid 9); end that program first.")

    with monkeypatch.context() as patch:
        patch.setattr(device, "open", busy)
        with pytest.RaisesGroup(pytest.RaisesExc(PortBusy, match="pid 9")):
            await supervisor.follow(device, 1.0, None)
    task = asyncio.create_task(supervisor.follow(device, 1.0, None))
    await asyncio.sleep(5)
    with monkeypatch.context() as patch:
        patch.setattr(device, "open", busy)
        await device.link.close()
        await asyncio.sleep(20)
        assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
