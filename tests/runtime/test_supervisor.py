"""Packs under policies from a script: what an observer hears, without the command line."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bmslink.board import Board
from bmslink.control.decide.catalogue import default_policies
from bmslink.errors import LinkTimeout, PortNotFound
from bmslink.link.transport import Endpoint
from bmslink.runtime.supervisor import PackSupervisor, StatusBoard
from bmslink.storage.journal import Journal
from control_support import LFP
from support import virtual_run


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))


class Notes:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.decisions: list[tuple[int, bool, bool]] = []
        self.errors: list[tuple[int, str]] = []
        self.findings: list[int] = []
        self.troubles: list[str] = []

    def on_decision(self, index, decision, *, changed) -> None:
        self.decisions.append((index, decision.discharge.allowed, changed))

    def on_error(self, index, error) -> None:
        self.errors.append((index, str(error)))

    def on_finding(self, index, finding) -> None:
        self.findings.append(index)

    def on_trouble(self, sentence) -> None:
        self.troubles.append(sentence)


def supervise(policies, *devices: Board, count: int) -> tuple[Notes, list[PackSupervisor]]:
    notes = Notes()

    async def main() -> list[PackSupervisor]:
        board = StatusBoard(notes, "policy.toml", [str(d.target) for d in devices], 1.0)
        made = []
        for index, device in enumerate(devices):
            each = PackSupervisor(notes, board, index, policies, None, {}, interval=1.0, sink=False)
            await each.follow(device, 1.0, count)
            made.append(each)
        board.remove()
        return made

    return notes, virtual_run(main())


def pack(**query: str) -> Board:
    return Board(Endpoint("sim", "", "jbd", query))


def test_an_overload_is_heard_as_a_changed_decision_and_nothing_is_printed(capsys) -> None:
    weak = msgspec.structs.replace(LFP, capacity=10.0, discharge_current=20.0)
    notes, (supervisor,) = supervise(default_policies(weak), pack(load="-90"), count=20)
    assert (0, False, True) in notes.decisions
    assert not supervisor.failed
    assert notes.findings, "the file is for another capacity"
    assert [r for r in Journal().records() if r["event"] == "decision"]
    assert capsys.readouterr() == ("", "")


def test_one_error_is_heard_once_and_with_the_index_of_its_pack() -> None:
    silent = pack(fault="silent", timeout="0.1")
    notes, (well, ill) = supervise(default_policies(LFP), pack(), silent, count=3)
    assert (well.failed, ill.failed) == (False, True)
    assert [index for index, _ in notes.errors] == [1]
    assert {index for index, *_ in notes.decisions} == {0, 1}


def test_a_journal_that_cannot_be_written_is_trouble_and_no_end(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("no folder")
    notes, (supervisor,) = supervise(default_policies(LFP), pack(), count=3)
    assert len(notes.troubles) == 1
    assert notes.decisions and not supervisor.failed


async def test_the_error_tells_what_kind_it_is() -> None:
    heard = []
    notes = Notes()
    notes.on_error = lambda index, error: heard.append(error)  # type of the error, not its text
    board_of = pack(fault="silent", timeout="0.1")

    board = StatusBoard(notes, "policy.toml", [str(board_of.target)], 1.0)
    each = PackSupervisor(
        notes, board, 0, default_policies(LFP), None, {}, interval=1.0, sink=False
    )
    await each.follow(board_of, 1.0, 1)
    assert [type(error) for error in heard] == [LinkTimeout]


class LateBoard(Board):
    """Its adapter is plugged in later."""

    missing = 3

    async def open(self) -> None:
        if self.missing:
            self.missing -= 1
            raise PortNotFound("There is no port /dev/ttyUSB9.")
        await super().open()


def test_a_port_that_is_missing_at_the_start_is_waited_for() -> None:
    """It dropped that pack for ever."""
    late = LateBoard(Endpoint("sim", "", "jbd", {}))
    notes, (supervisor,) = supervise(default_policies(LFP), late, count=12)
    assert [text for _, text in notes.errors] == ["There is no port /dev/ttyUSB9."]
    assert supervisor.failed
    pack_status = supervisor._pack
    assert (pack_status.error, pack_status.stale) == ("", False)
    assert pack_status.limits["dcl"] > 0


def test_rules_about_balancing_are_no_trips_of_a_healthy_pack() -> None:
    _, (supervisor,) = supervise(default_policies(LFP), pack(), count=20)
    assert supervisor._pack.trips == 0
