"""`config apply` onto several packs: at once, after one question, none touching another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import bmslink.cli.asking
import bmslink.config
from bmslink import places
from bmslink.cli.several import at_once
from bmslink.config import Outcome
from bmslink.errors import GateError, RollbackError
from bmslink.storage.journal import Journal
from cli_support import Cli
from support import VirtualLoop

PACKS = [f"jbd+sim://?cells=16&load=idle&seed={n}" for n in range(1, 4)]
SILENT = "jbd+sim://?fault=silent&timeout=0.01"
LACKING = "jk04+sim://?cells=16&load=idle"
"""It has none of the profile's settings."""
PROFILE = "[settings]\ncell_ovp = 3.6\ncharge_utp = 2\n"


class Clock(VirtualLoop):
    """Remembers how long it ran."""

    ran = 0.0

    def close(self) -> None:
        Clock.ran = self.time()
        super().close()


@pytest.fixture
def cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Cli]:
    monkeypatch.setattr(asyncio, "Runner", partial(asyncio.Runner, loop_factory=Clock))
    monkeypatch.delenv("BMSLINK_TARGET", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    Path("p.toml").write_text(PROFILE)
    yield Cli(capsys)


def began() -> list[str]:
    """The packs that a change was begun of."""
    return [r["target"] for r in Journal().records() if r["event"] == "begin"]


def test_packs_on_different_lines_take_as_long_as_one(cli):
    assert cli("config", "apply", "p.toml", PACKS[0], "--yes").code == 0
    alone = Clock.ran
    done = cli("config", "apply", "p.toml", *PACKS, "--yes")
    assert done.code == 0, done
    assert done.out.count("2 settings written, and the whole table read back.") == 3
    for target in PACKS:
        assert f"{target}: 2 settings" in done.out
    assert Clock.ran < alone * 1.2


def test_packs_on_one_line_follow_each_other(cli):
    assert cli("config", "apply", "p.toml", PACKS[0], "--yes").code == 0
    alone = Clock.ran
    again = cli("config", "apply", "p.toml", PACKS[0], PACKS[0], PACKS[1], "--yes", "--json")
    assert [o["outcome"]["result"] for o in again.objects] == ["done"] * 3
    assert Clock.ran > alone * 1.6


@pytest.mark.parametrize(
    ("others", "code"),
    [
        ((), 0),
        ((SILENT,), 1),
        ((LACKING,), 3),
        ((SILENT, LACKING), 1),
    ],
)
def test_one_that_fails_touches_no_other(cli, others, code):
    result = cli("config", "apply", "p.toml", PACKS[0], *others, PACKS[1], "--yes", "--json")
    assert result.code == code, result
    ends = {o["target"]: o["outcome"]["result"] for o in result.objects if "outcome" in o}
    assert ends == dict.fromkeys(PACKS[:2], "done")
    failed = [o["target"] for o in result.objects if "error" in o]
    assert failed == list(others)


def test_what_is_not_proven_is_the_worst(cli, monkeypatch):
    """4 before 1 before 3 before 0, whatever the order of the packs."""
    apply = bmslink.config.apply
    ends = {
        PACKS[0]: RollbackError("Half of it.", Outcome(result="unknown", sentence="Half of it.")),
        PACKS[1]: GateError("Nothing was sent: no.", []),
    }

    async def applied(device, plan, **how):
        if (error := ends.get(str(device.target))) is not None:
            raise error
        return await apply(device, plan, **how)

    monkeypatch.setattr(bmslink.config, "apply", applied)
    result = cli("config", "apply", "p.toml", *PACKS, SILENT, "--yes")
    assert result.code == 4
    assert result.out.count("settings written") == 1
    for target, word in ((PACKS[0], "Half of it."), (PACKS[1], "no."), (SILENT, "No answer")):
        assert any(target in line and word in line for line in result.err.splitlines()), result
    assert cli("config", "apply", "p.toml", *PACKS[1:], "--yes").code == 3


@pytest.mark.parametrize(("typed", "code", "sent"), [("y", 0, 3), ("n", 3, 0)])
def test_one_question_for_all(cli, monkeypatch, typed, code, sent):
    asked = []

    async def answer(question: str) -> str:
        asked.append(question)
        return typed

    monkeypatch.setattr(bmslink.cli.asking, "can_ask", lambda: True)
    monkeypatch.setattr(bmslink.cli.asking, "answer", answer)
    result = cli("config", "apply", "p.toml", *PACKS)
    assert result.code == code, result
    assert len(asked) == 1
    assert asked[0].count("2 settings to jbd+sim://") == 3
    assert len(began()) == sent
    assert result.err.count("Declined: nothing was sent.") == 3 - sent


def test_nobody_there_to_ask_is_a_no_for_each(cli):
    result = cli("config", "apply", "p.toml", *PACKS, "--json")
    assert result.code == 3
    assert ["nobody was there" in o["error"] for o in result.objects] == [True] * 3
    assert not began()


def test_a_dry_run_of_several_sends_nothing(cli):
    result = cli("config", "apply", "p.toml", *PACKS, "--dry-run", "--json")
    assert result.code == 0
    assert [len(o["plan"]["changes"]) for o in result.objects] == [2, 2, 2]
    assert not began()


def test_ctrl_c_leaves_each_to_be_resumed(cli, monkeypatch):
    """As with one pack: what is under way is named, and what was not begun as well."""
    from bmslink.cli import config_apply

    several = config_apply._Several.apply

    async def interrupted(self):
        task, loop = asyncio.ensure_future(several(self)), asyncio.get_running_loop()

        def look() -> None:
            if sum(r["event"] == "write" for r in Journal().records()) < 3:
                loop.call_later(0.05, look)
            else:
                task.cancel()

        look()
        await task

    monkeypatch.setattr(config_apply._Several, "apply", interrupted)
    result = cli("config", "apply", "p.toml", *PACKS, PACKS[0], "--yes", "--json")
    assert result.code == 130, result
    for target in PACKS:
        assert f"`bmslink config resume {target}`" in result.err
    assert f"Not begun: {PACKS[0]}." in result.err
    assert result.objects[-1] == {
        "schema": 1,
        "target": PACKS[0],
        "error": "Not begun.",
    }
    assert len(Journal().unfinished()) == 3


def test_a_reader_that_goes_away_stops_no_pack(cli, monkeypatch):
    """Nobody reads how the first one ended; the others are finished all the same."""
    from bmslink.cli.output import Session
    from bmslink.cli.streams import ClosedPipeError

    def closed(self, *lines):
        raise ClosedPipeError

    monkeypatch.setattr(Session, "print", closed)
    assert cli("config", "apply", "p.toml", *PACKS, "--yes").code == 0
    ends = [r["outcome"] for r in Journal().records() if r["event"] == "end"]
    assert ends == ["done"] * 3


def test_the_journal_says_what_a_change_was_made_with(cli):
    assert cli("config", "apply", "p.toml", *PACKS[:2], "--yes").code == 0
    assert cli("config", "journal").out.count("(config apply p.toml): done") == 2
    begun = [json.loads(line) for line in cli("config", "journal", "--json").out.splitlines()]
    assert [r["command"] for r in begun if r["event"] == "begin"] == ["config apply p.toml"] * 2


async def test_names_that_are_one_line_by_way_of_a_third_are_one_line(monkeypatch):
    """A server may have two names and two addresses: two programs' worth of questions on one line
    would take each other's answers."""
    marks = {"a": ("a", "10.0.0.1"), "c": ("c", "10.0.0.2"), "b": ("b", "10.0.0.1", "10.0.0.2")}
    monkeypatch.setattr(places, "where", lambda name: places.Place({"net": marks[name]}))
    busy, seen = [], []

    async def act(name):
        assert not busy
        busy.append(name)
        await asyncio.sleep(1)
        seen.append(busy.pop())

    await at_once("acb", lambda name: name, act)
    assert sorted(seen) == ["a", "b", "c"]


async def test_what_ends_one_line_waits_until_the_others_are_done(monkeypatch):
    """Else a change that is under way on another line would be cut off."""
    monkeypatch.setattr(places, "where", lambda name: places.Place({"net": (name,)}))
    done = []

    async def act(name):
        if name == "a":
            raise OSError("the disk is full")
        await asyncio.sleep(5)
        done.append(name)

    with pytest.raises(OSError, match="full"):
        await at_once("abc", lambda name: name, act)
    assert done == ["b", "c"]
