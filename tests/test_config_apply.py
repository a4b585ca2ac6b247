"""Applying a plan: it ends as planned, as it was, or with the truth about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmslink.config import apply
from bmslink.errors import RollbackError, VerifyError
from config_faults import FAULTS, World, equal
from support import virtual_run

PROTOCOLS = ("jbd",)
WRITES = 4


@pytest.mark.parametrize("at", range(1, WRITES + 1))
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_fault_leaves_a_silent_difference(
    protocol: str, fault: str, at: int, tmp_path: Path
) -> None:
    async def main() -> None:
        world = World(protocol, tmp_path, fault, at)
        plan = await world.plan()
        assert len(plan.changes) == WRITES
        before, goal = plan.table.image, {**plan.table.image, **plan.goal}
        async with world.device() as device:
            try:
                outcome = await apply(device, plan, journal=world.journal)
            except VerifyError as error:
                ended = error
            except RollbackError as error:
                ended = error
            else:
                ended = outcome
        world.fault, world.deaf_until = "", -1.0
        table = await world.table()
        print(protocol, fault, at, type(ended).__name__, str(ended)[:300])
        if isinstance(ended, RollbackError):
            told = ended.outcome.stands
            values = table.values()
            assert all(values[key] == value for key, value in told.items())
            assert len(world.journal.unfinished()) == 1
            return
        assert equal(table, before if isinstance(ended, VerifyError) else goal)
        assert not world.journal.unfinished()

    virtual_run(main())
