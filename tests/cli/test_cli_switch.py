"""`bmslink switch`: what it does, what it asks, and what it says when nothing came of it."""

from __future__ import annotations

import os
from typing import Any

import pytest

import bmslink.config.switching.confirm
import bmslink.config.writer
from bmslink.cli.output import Session
from bmslink.runtime.acting import mailbox
from bmslink.runtime.acting.mailbox import RunAt
from bmslink.storage.journal import Journal
from cli_support import Cli

JBD = "sim://jbd?gap=0&cells=16&load=idle"
JK = "sim://jk02?cells=16&load=idle"
A5 = "sim://daly-a5?gap=0&cells=16&load=idle"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.delenv("BMSLINK_TARGET", raising=False)
    monkeypatch.setattr(bmslink.config.writer, "_REST", 0.01)
    monkeypatch.setattr(bmslink.config.switching.confirm, "_BETWEEN", 0.05)
    monkeypatch.setattr(bmslink.config.switching.confirm, "_HOLDS", 0.05)
    return Cli(capsys)


def nothing_was_written() -> bool:
    return not list(Journal().records())


@pytest.mark.parametrize("target", [JBD, JK, A5, "sim://jk-modbus?gap=0&load=idle"])
def test_a_fet_is_switched_and_read_back(cli, target):
    result = cli("switch", target, "charge", "off", "--yes")
    assert result.code == 0, result
    assert "charge off: read back." in result.out
    assert any(r["event"] == "end" and r["outcome"] == "done" for r in Journal().records())


def test_json_is_one_object(cli):
    (found,) = cli("switch", JBD, "discharge", "off", "--yes", "--json").objects
    assert list(found) == ["schema", "target", "outcome"]
    assert found["outcome"]["result"] == "done"


def test_a_run_that_has_gone_is_no_reason_to_ask_twice(cli, monkeypatch):
    questions: list[str] = []

    async def agree(session: Session, question: str, *, yes: bool, **more: Any) -> None:
        if not yes:
            questions.append(question)

    found = [RunAt("elsewhere", os.getpid())]
    monkeypatch.setattr("bmslink.cli.change.agree", agree)
    monkeypatch.setattr(mailbox, "run_at", lambda target: found.pop() if found else None)
    result = cli("switch", JBD, "charge", "off")
    assert "charge off: read back." in result.out
    assert len(questions) == 1


def test_it_asks_and_nobody_answering_is_no(cli):
    result = cli("switch", JBD, "charge", "off")
    assert (result.code, result.out) == (3, "")
    assert "--yes" in result.err
    assert nothing_was_written()


def test_a_dry_run_shows_the_frame_and_sends_nothing(cli):
    result = cli("switch", JBD, "charge", "off", "--dry-run")
    assert (result.code, result.out) == (0, "dd 5a e1 02 00 01 ff 1c 77\n")
    frames = cli("switch", JBD, "charge", "off", "--dry-run", "--json").objects
    assert [o["frame"] for o in frames] == ["dd5ae1020001ff1c77"]
    assert nothing_was_written()


def test_the_target_may_come_from_the_environment(cli, monkeypatch):
    monkeypatch.setenv("BMSLINK_TARGET", JBD)
    assert cli("switch", "charge", "off", "--dry-run").code == 0


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (("charge", "off"), "Which pack?"),
        ((JBD, "charge"), "choose charge"),
        ((JBD, "charge", "maybe"), "choose charge"),
        ((JBD, "heater", "on"), "choose charge"),
        ((JBD, "charge", "off", "now"), "what to switch"),
    ],
)
def test_wrong_usage(cli, words, word):
    cli("switch", *words, "--yes").failed(2, word)


@pytest.mark.parametrize(
    ("target", "what"),
    [(A5, "balance"), ("sim://jk04", "charge"), ("sim://jk-nw?gap=0", "balance")],
)
def test_what_cannot_be_switched_is_refused_with_the_reason(cli, target, what):
    result = cli("switch", target, what, "off", "--yes")
    assert result.code == 3
    assert what in result.err
    assert not [r for r in Journal().records() if r["event"] in ("write", "switch")]


@pytest.mark.parametrize("more", [("--yes",), ("--dry-run",)])
@pytest.mark.parametrize("state", ["on", "off"])
@pytest.mark.parametrize(
    ("target", "what"),
    [(A5, "balance"), ("sim://jk-nw?gap=0", "balance"), ("sim://jbd-up", "charge")],
)
def test_a_dry_run_refuses_what_the_real_run_refuses(cli, target, what, state, more):
    result = cli("switch", target, what, state, *more)
    assert (result.code, result.out) == (3, ""), result


@pytest.mark.parametrize("target", [JBD, "sim://daly-d2?gap=0&load=idle"])
def test_what_is_not_read_back_is_no_success(cli, target, monkeypatch):
    """Boards acknowledge a command and ignore it while a high current flows."""
    monkeypatch.setattr("bmslink.simulation.pack.pack.Pack.switch", lambda *_: None)
    result = cli("switch", target, "charge", "off", "--yes", "--untested")
    assert result.code == 4, result
    assert "was sent, but" in result.out


def test_a_change_that_can_change_nothing_is_refused(cli, tmp_path):
    profile = tmp_path / "profile.toml"
    profile.write_text('[settings]\ncell_ovp = "3.6 V"\n')
    for more in (("--yes",), ("--dry-run",)):
        found = cli(
            "config", "apply", str(profile), "sim://jk-nw?gap=0", "--waive", "partial", *more
        )
        assert found.code == 3, found
        assert "Nothing was sent" in found.err
