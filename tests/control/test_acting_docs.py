"""docs/acting.md: its commands run as they stand there, on a simulated pack at rest, and its
numbers are those of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from bmslink.control.act.numbers import ActingNumbers
from cli_support import Cli

_PAGE = (Path(__file__).parents[2] / "docs" / "acting.md").read_text(encoding="utf-8")


def _commands() -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", _PAGE, re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines() if line.strip()]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def test_every_command_is_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BMSLINK_CONFIG", str(tmp_path / "bmslink.toml"))
    cli = Cli(capsys, alone=True)
    place = "sim://jk02?cells=4&load=0&gap=0"
    ran = []
    for words in _commands():
        line = [place if word.startswith("jk02+tcp:") else word for word in words]
        if words[:2] == ["control", "run"]:
            line += ["--count", "2"]
        if set(words) & {"drill", "approve", "offload", "switch"}:
            line += ["--yes"]
        done = cli(*line)
        assert done.code in _allowed(words), (words, done)
        ran.append(words[1])
        if words[1] == "presets":
            file = tmp_path / "house.toml"
            text = file.read_text(encoding="utf-8").replace('mode = "shadow"', 'mode = "enforce"')
            file.write_text(
                text.replace("[battery]", '[battery]\nhost_power = "other"'), encoding="utf-8"
            )
    assert {"drill", "approve", "offload", "emergency-stop", "reset", "resume"} <= set(ran)


def _allowed(words: list[str]) -> set[int]:
    """0; what found something; what nothing runs for (an override, a stand-down to end), or what is
    over already."""
    if words[1] in ("override", "resume", "reset"):
        return {0, 3}
    return {0, 5} if words[1] in ("check", "status") else {0}


def test_its_numbers():
    numbers = ActingNumbers()
    text = " ".join(_PAGE.split())
    for said in (
        f"{numbers.quick_tries} times {numbers.again:g} s apart, then once a minute",
        f"up to {numbers.soft:g} s ({numbers.soft_alternator:g} s with",
        f"at most {numbers.enables_an_hour} times an hour",
        f"{numbers.writes_a_day} switch writes in a day",
        f"A second time within {numbers.clash_window / 60:g} min",
    ):
        assert said in text
    assert (numbers.min_off, numbers.after_start, numbers.slow_again) == (60, 60, 60)
