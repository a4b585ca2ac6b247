"""Whose life is recorded: boards that are exchanged, moved and renamed, and what a kill leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bmslink.analysis import LifeFacts
from bmslink.model import Reading
from bmslink.runtime.judging.disk import DiskQueue
from bmslink.runtime.life.folder import LifeFolder
from bmslink.runtime.life.keeper import BoardOfPack, LifeKeeper
from bmslink.runtime.watching.energy import EnergyTotals
from bmslink.storage.state import StateFolder

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = 3600.0
ONE = {"vendor": "JBD", "model": "A", "serial_number": "S-1"}
TWO = {"vendor": "JBD", "model": "A", "serial_number": "S-2"}


class Run:
    """A run of a service: the counters of its packs go on from the run before, or begin anew."""

    def __init__(self, before: Run | None = None, *, history: bool = True) -> None:
        self.keeper, self.history = LifeKeeper(), history
        self.boards: dict[str, BoardOfPack] = {}
        self.keeper.board_of = self.boards.get
        self.keeper.new_counter = not history
        self.disk: dict[str, dict[str, str]] = {} if before is None else before.disk
        self.clock, self.time = 0.0, BEGAN if before is None else before.time
        self.totals: dict[str, tuple[float, float]] = {}
        """Pack -> As discharged, s."""
        if history:
            self.totals = {} if before is None else dict(before.totals)
            self.keeper.give({board: {**parts} for board, parts in self.disk.items()})
            self.keeper.complete = True

    def put(self, pack: str, who: Mapping[str, Any], key: str = "") -> None:
        """This board is on a pack from now on."""
        self.boards[pack] = BoardOfPack(key or f"jbd {who['serial_number']}", who, "lfp", 100.0)

    def use(self, pack: str, hours: float, amps: float = 10.0) -> Run:
        """Discharged for so long."""
        step = 60.0
        for _ in range(round(hours * HOUR / step)):
            self.clock, self.time = self.clock + step, self.time + timedelta(seconds=step)
            out, known = self.totals.get(pack, (0.0, 0.0))
            self.totals[pack] = out + amps * step, known + step
            self.hear(pack, amps)
        return self

    def hear(self, pack: str, amps: float = 10.0) -> None:
        out, known = self.totals.get(pack, (0.0, 0.0))
        totals = EnergyTotals(BEGAN, self.time, charge_out=out, known=known)
        reading = Reading(time=self.time, voltage=13.2, current=-amps, soc=50.0,
                          cell_voltages=(3.3,) * 4)  # fmt: skip
        self.keeper.hear(pack, self.clock, reading, totals)
        wanted = {board: self.disk.get(board, {}) for board in self.keeper.wanted}
        if wanted and not self.history:
            self.keeper.give(wanted)
            self.keeper.hear(pack, self.clock, reading, totals)

    def save(self) -> Run:
        rows = self.keeper.changes()
        for row in rows:
            self.disk.setdefault(row.board, {})[row.part] = row.data
        self.keeper.wrote(rows)
        return self

    def facts(self, pack: str) -> LifeFacts:
        found = self.keeper.facts(pack, None)
        assert found is not None
        return found

    def out(self, pack: str) -> float:
        """Ah discharged."""
        return self.facts(pack).throughput.discharged_capacity


both = pytest.mark.parametrize("history", [True, False])


@both
def test_a_board_that_comes_back_has_not_done_what_the_other_did(history: bool) -> None:
    """Exchanged while the service was down, used, and exchanged again, in both orders."""
    run = Run(history=history)
    run.put("van", ONE)
    run.use("van", 2).save()
    run = Run(run, history=history)
    run.put("van", TWO)
    run.use("van", 5).save()
    assert run.out("van") == pytest.approx(50, abs=0.4)
    run.put("van", ONE)  # while it runs
    run.use("van", 1).save()
    assert run.out("van") == pytest.approx(30, abs=0.4)
    assert run.facts("van").throughput.unknown_seconds == pytest.approx(5 * HOUR, abs=120)
    run = Run(run, history=history)
    run.put("van", TWO)
    run.use("van", 1).save()
    assert run.out("van") == pytest.approx(60, abs=0.6)
    assert run.facts("van").throughput.unknown_seconds == pytest.approx(HOUR, abs=120)


def test_the_one_that_went_is_known_to_be_gone_after_a_restart() -> None:
    """ONE was only stored when TWO came: nothing that TWO did afterwards is ONE's."""
    run = Run()
    run.put("van", ONE)
    run.use("van", 1).save()
    for hours in (2, 3):
        run = Run(run)
        run.put("van", TWO)
        run.use("van", hours).save()
    run = Run(run)
    run.put("van", ONE)
    run.use("van", 1)
    assert run.out("van") == pytest.approx(20, abs=0.4)


@both
def test_a_renamed_pack_goes_on(history: bool) -> None:
    run = Run(history=history)
    run.put("van", ONE)
    run.use("van", 2).save()
    run = Run(run, history=history)
    run.put("bus", ONE)
    run.use("bus", 1).save()
    assert run.out("bus") == pytest.approx(30, abs=0.4)
    assert run.keeper.facts("van", None) is None
    assert run.facts("bus").since == BEGAN + timedelta(seconds=60)


@both
def test_two_boards_that_change_places_take_their_lives_along(history: bool) -> None:
    run = Run(history=history)
    run.put("left", ONE)
    run.put("right", TWO)
    run.use("left", 1).use("right", 3)
    run.boards["left"], run.boards["right"] = run.boards["right"], run.boards["left"]
    run.use("left", 1).use("right", 1)
    assert run.out("left") == pytest.approx(40, abs=0.6)
    assert run.out("right") == pytest.approx(20, abs=0.6)


def test_another_board_without_a_serial_number_inherits_nothing() -> None:
    """In the same place, while the service runs: a person confirmed it."""
    run, place = Run(), "place jbd+serial:///dev/ttyUSB0"
    run.put("van", {"vendor": "JBD", "model": "A", "cells": 4}, place)
    run.use("van", 2).save()
    run.put("van", {"vendor": "JBD", "model": "B", "cells": 8}, place)
    run.use("van", 1).save()
    assert run.out("van") == pytest.approx(10, abs=0.4)
    run = Run(run)
    run.put("van", {"vendor": "JBD", "model": "A", "cells": 4}, place)
    run.use("van", 1)
    assert run.out("van") == pytest.approx(10, abs=0.4)


def test_what_was_not_written_counts_once_after_a_kill() -> None:
    run = Run()
    run.put("van", ONE)
    run.use("van", 1).save()
    counters = dict(run.totals)
    run.use("van", 0.5)  # neither of the two reaches the disk
    run.totals = counters
    run = Run(run)
    run.put("van", ONE)
    assert run.use("van", 1).out("van") == pytest.approx(20, abs=0.4)


def test_what_a_later_version_wrote_is_left_alone() -> None:
    run = Run()
    run.put("van", ONE)
    run.use("van", 1).save()
    parts = run.disk["jbd S-1"]
    parts["begun"] = parts["begun"].replace('"version":1', '"version":99')
    parts["capacity"] = '{"passes": "what this version cannot know"}'
    before = {board: {**each} for board, each in run.disk.items()}
    run = Run(run)
    run.put("van", ONE)
    run.use("van", 1).save()
    assert run.disk == before and run.keeper.facts("van", None) is None


def test_rows_that_could_not_be_written_are_written_later() -> None:
    run = Run()
    run.put("van", ONE)
    run.use("van", 0.1)
    rows = run.keeper.changes()
    assert rows and not run.keeper.changes()
    run.keeper.failed(rows)
    assert {row.part for row in run.keeper.changes()} == {row.part for row in rows}


async def test_a_service_that_gets_a_history_later_takes_its_lives_along(tmp_path: Path) -> None:
    folder, queue = StateFolder(tmp_path), DiskQueue()
    writing = asyncio.create_task(queue.run())
    said: list[str] = []
    run = Run(history=False)
    run.put("van", ONE)
    run.keeper.give({"jbd S-1": {}})
    LifeFolder(run.keeper, folder, queue, said.append)
    run.use("van", 2)
    LifeFolder(run.keeper, folder, queue, said.append).save()
    await queue.flush(5)
    later = Run(history=True)  # its history is new, and has a counter of its own
    later.put("van", ONE)
    looking = LifeFolder(later.keeper, folder, queue, said.append, keeps=False)
    looks = asyncio.create_task(looking.run())
    later.time += timedelta(hours=6)
    later.use("van", 0.5)
    assert later.keeper.facts("van", None) is None, "first it is looked up"
    await asyncio.sleep(2)
    later.use("van", 1).save()
    assert later.out("van") == pytest.approx(30, abs=0.4)
    assert later.facts("van").since == BEGAN + timedelta(seconds=60)
    assert later.facts("van").throughput.unknown_seconds == pytest.approx(4.5 * HOUR, abs=200)
    assert "capacity" in later.disk["jbd S-1"] and not said
    for task in (looks, writing):
        task.cancel()
    await asyncio.gather(looks, writing, return_exceptions=True)
    queue.close()
