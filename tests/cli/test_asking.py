"""Questions at a real terminal: what was typed before one was shown answers nothing."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli_support import Terminal
from support import ROOT

pytestmark = pytest.mark.slow

SOURCE = ROOT / "src" / "bmslink"
PACK = "sim://jbd?gap=0&cells=16&load=idle"
SLOW = f"{PACK}&fault=late:0.05&timeout=1"  # the plan takes its time: there is time to type ahead
UNKNOWN_CELLS = "sim://daly-p81?cells=16&load=idle"
PROFILE = 'title = "a"\n[settings]\ncell_ovp = "3.6 V"\n'
ASKING = {
    "settings set": ("settings", "set", SLOW, "cell_ovp=3.6"),
    "switch": ("switch", SLOW, "charge", "off"),
}


@contextlib.contextmanager
def at_terminal(tmp_path: Path, *argv: str) -> Iterator[Terminal]:
    terminal = Terminal(*argv, columns=200, BMSLINK_JOURNAL=str(tmp_path / "journal"))
    try:
        yield terminal
    finally:
        terminal.close()


@pytest.mark.parametrize("words", ASKING.values(), ids=ASKING)
def test_what_was_typed_ahead_agrees_to_nothing(tmp_path, words):
    with at_terminal(tmp_path, *words) as terminal:
        terminal.type("y\ny\ny\nyes")
        terminal.wait(lambda text: "[y/N]" in text)
        terminal.type("\n")  # without the `yes` that stood before it
        assert terminal.end() == 3
        assert "Declined: nothing was sent." in terminal.text


@pytest.mark.parametrize("words", ASKING.values(), ids=ASKING)
def test_an_answer_to_the_question_counts(tmp_path, words):
    with at_terminal(tmp_path, *words) as terminal:
        terminal.type("n\nn\n")
        terminal.wait(lambda text: "[y/N]" in text)
        terminal.type("y\n")
        assert terminal.end(60) == 0  # the proof is read 9 s after the write


def test_each_question_has_its_own_answer(tmp_path):
    """The reader of one question must not swallow the answer to the next."""
    wider = ("settings", "set", UNKNOWN_CELLS, "cell_ovp=3.66")
    with at_terminal(tmp_path, *wider) as terminal:
        terminal.wait(lambda text: "Enter: unknown" in text)
        terminal.type("lfp\n")
        terminal.wait(lambda text: "[y/N]" in text)
        terminal.type("y\n")
        assert terminal.end(60) == 0
        assert "1 setting written" in terminal.text


def test_several_packs_are_one_question(tmp_path):
    profile = tmp_path / "a.toml"
    profile.write_text(PROFILE)
    packs = (PACK, f"{PACK}&seed=2")
    with at_terminal(tmp_path, "config", "apply", str(profile), *packs) as terminal:
        terminal.type("n\n")
        terminal.wait(lambda text: "[y/N]" in text)
        terminal.type("y\n")
        assert terminal.end(60) == 0
        assert terminal.text.count("1 setting written") == 2


def test_ctrl_c_at_a_question_sends_nothing(tmp_path):
    with at_terminal(tmp_path, *ASKING["switch"]) as terminal:
        terminal.wait(lambda text: "[y/N]" in text)
        terminal.type("\x03")
        assert terminal.end() == 130
        assert "Interrupted: nothing was sent." in terminal.text


@pytest.mark.parametrize("typed", ["\x04", "\x03", "n\x04\x04"])
def test_what_is_said_after_a_question_begins_on_a_line_of_its_own(tmp_path, typed):
    with at_terminal(tmp_path, *ASKING["switch"]) as terminal:
        terminal.wait(lambda text: "[y/N]" in text)
        terminal.type(typed)
        assert terminal.end() == (130 if typed == "\x03" else 3)
        (line,) = [each for each in terminal.text.splitlines() if "othing was sent" in each]
        assert "[y/N]" not in line


def test_only_one_module_asks():
    """`input`, `getpass.getpass` and reads of standard input are nowhere else."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = ast.unparse(node) if isinstance(node, (ast.Name, ast.Attribute)) else ""
            if name in ("input", "getpass.getpass", "sys.stdin"):
                found.add((str(path.relative_to(SOURCE)), name))
    assert found == {
        ("cli/asking.py", "getpass.getpass"),
        ("cli/asking.py", "sys.stdin"),
        ("cli/dashboard/start.py", "sys.stdin"),  # whether there are keys
        ("cli/decode.py", "sys.stdin"),  # bytes to decode
        ("cli/stdin.py", "sys.stdin"),  # the simulator's console
        ("cli/terminal.py", "sys.stdin"),  # keys
    }
