"""Undoing on boards that misbehave, and undoing that is killed: as any other change ends."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from bmslink.config import Outcome, Plan, apply, draft_undo, resume
from bmslink.errors import RollbackError, VerifyError
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import Responder
from config_faults import (
    ALONE,
    BESIDE,
    FAULTS,
    OTHERS,
    UNLIKE,
    WISHES,
    Killed,
    KilledAt,
    State,
    World,
    ends_of,
    equal,
    set_back,
    writes_of,
)
from support import WHOLE_SWEEP, virtual_run

UNDONE = [protocol for protocol in WISHES if protocol != "jk-nw"]
"""What the simulated board of jk-nw lets be changed are switches, which no undo changes."""


@dataclass
class Prepared:
    """A board after a change that was made in peace, its journal, and the plan to undo it."""

    folder: Path
    pack: Pack
    node: Responder
    plan: Plan
    pokes: dict[str, list[list[bytes]]]
    before: SettingsSnapshot
    """What the board held before that change."""

    def world(self, folder: Path, fault: str = "", at: int = 1) -> World:
        """The same board and journal once more."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        world = World(self.plan.identity.protocol, folder, fault, at, pokes=self.pokes)
        shared = self.pack.chemistry
        world.pack, world.node = copy.deepcopy((self.pack, self.node), {id(shared): shared})
        return world


async def prepare(protocol: str, folder: Path) -> Prepared:
    world = World(protocol, folder)
    first = await world.plan()
    async with world.device(faulty=False) as device:
        await apply(device, first, journal=world.journal)
    async with world.device(faulty=False) as device:
        plan = await draft_undo(device, chemistry="lfp", journal=world.journal)
        assert not plan.blocked, plan.blocked
        world.pokes.clear()
        await world.prepare(device, plan)
    return Prepared(folder, world.pack, world.node, plan, world.pokes, first.table)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Prepared]:
    """The board of each protocol, made once."""
    return cache(lambda name: virtual_run(prepare(name, tmp_path_factory.mktemp(name))))


def strikes() -> Iterator[tuple[str, str, int]]:
    """Every fault of every second protocol, another half of them for the next fault, at the first
    write, the last, or one between, in turn; `BMSLINK_WHOLE_SWEEP=1`: of all, at each. The writes
    of an undo are those of any change, which `test_config_apply.py` strikes."""
    turn = 0
    for protocol in UNDONE:
        writes = writes_of(protocol) - sum(key.endswith("_switch") for key in WISHES[protocol])
        for fault in FAULTS:
            if fault == "other firmware" and protocol not in OTHERS:
                continue
            if fault in BESIDE and protocol in ALONE:
                continue
            if not WHOLE_SWEEP and (UNDONE.index(protocol) + list(FAULTS).index(fault)) % 2:
                continue
            turn += 1
            middle = 1 + turn // 3 % writes
            for at in range(1, writes + 1) if WHOLE_SWEEP else ((1, middle, writes)[turn % 3],):
                yield protocol, fault, at


async def attempt(world: World, plan: Plan) -> Outcome:
    async with world.device() as device:
        try:
            return await apply(device, plan, journal=world.journal)
        except (VerifyError, RollbackError) as error:
            outcome = error.outcome
            assert isinstance(outcome, Outcome)
            assert outcome.result == ("unknown" if type(error) is RollbackError else "rolled back")
            return outcome


@pytest.mark.sweep
@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "fault", "at"), list(strikes()))
def test_no_fault_leaves_a_silent_difference(
    protocol: str, fault: str, at: int, tmp_path: Path, prepared: Callable[[str], Prepared]
) -> None:
    ready = prepared(protocol)
    plan, held = ready.plan, ready.plan.table.image

    async def main() -> None:
        world = ready.world(tmp_path, fault, at)
        outcome = await attempt(world, plan)
        assert world.rewritten, "the fault had nothing to strike at"
        assert outcome.result in ends_of(plan, fault, at), outcome.sentence
        world.recover()
        if outcome.result == "unknown":
            assert len(world.journal.unfinished()) == 1
            async with world.device() as device:
                outcome = await resume(
                    device,
                    rollback=at % 2 == 0,
                    confirm=lambda told: True,
                    journal=world.journal,
                )
        table = await world.table()
        if outcome.result == "done":
            assert equal(table, {**held, **plan.goal})
            before = ready.before.image
            assert all(table.map.same(a, table.image[a], before[a]) for a in plan.goal)
        else:
            assert outcome.result == "rolled back"
            assert set_back(table, held, plan)
        assert not world.journal.unfinished()

    virtual_run(main())


# ------------------------------------------------------------------------------------- killed


def deaths(states: list[State]) -> list[tuple[int, bool]]:
    """The suspensions at which nothing was recorded or sent yet that was not before, each once:
    before it begins, and then at the first one of every state."""
    first = {state: at for at, state in reversed(list(enumerate(states, 1)))}
    chosen = sorted(first.values())
    if not WHOLE_SWEEP and len(chosen) > 6:
        step = len(chosen) / 6
        chosen = [chosen[int(n * step)] for n in range(6)]
    return [(at, bool(number % 2)) for number, at in enumerate(chosen)]


@pytest.mark.sweep
@pytest.mark.slow
@pytest.mark.parametrize("protocol", UNLIKE)
def test_killed_it_is_resumed_and_can_be_undone_again(
    protocol: str, tmp_path: Path, prepared: Callable[[str], Prepared]
) -> None:
    """Whenever its process dies, resuming ends in what was before the undone change or in what it
    wrote, and from there undo goes on."""
    ready = prepared(protocol)
    plan, held = ready.plan, ready.plan.table.image

    async def life() -> list[State]:
        world, states = ready.world(tmp_path / "life"), []
        recorded = len(list(world.journal.records()))
        async with world.device() as device:
            change = apply(device, plan, journal=world.journal)
            await KilledAt(change, world, None, lambda: states.append(world.state(plan)))
        assert recorded and states
        return states

    async def death(at: int, back: bool) -> str:
        world = ready.world(tmp_path / str(at), at=at)
        device = world.device()
        await device.open()
        with suppress(Killed):
            await KilledAt(apply(device, plan, journal=world.journal), world, at)
        assert world.dead
        world.recover()
        async with world.device() as device:
            outcome = await resume(device, rollback=back, journal=world.journal)
        table = await world.table()
        undone = {**held, **plan.goal}
        if outcome.result == "nothing":  # it had not begun, or was over
            assert equal(table, held) or equal(table, undone)
        else:
            assert equal(table, undone) if outcome.result == "done" else set_back(table, held, plan)
        async with world.device() as device:
            again = await draft_undo(device, chemistry="lfp", journal=world.journal)
            assert not again.blocked
            assert (await apply(device, again, journal=world.journal)).result == "done"
        wanted = held if equal(table, undone) else undone
        assert equal(await world.table(), wanted)
        return outcome.result

    states = virtual_run(life())
    ends = {virtual_run(death(at, back)) for at, back in deaths(states)}
    assert ends == {"nothing", "done", "rolled back"}
