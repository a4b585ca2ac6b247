"""The README's examples run, as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
COMMAND = str(Path(sys.executable).parent / "bmslink")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def offline_commands() -> list[str]:
    """The command lines that need no hardware and end by themselves."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    runnable = [line for line in lines if line.startswith("bmslink ")]
    return [r for r in runnable if not re.search(r"/dev/|192\.168|bmslink (simulate|monitor)", r)]


@pytest.mark.parametrize("line", offline_commands())
def test_commands(line: str) -> None:
    arguments = shlex.split(line, comments=True)[1:]
    done = subprocess.run(
        [COMMAND, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "Traceback" not in done.stderr


def test_there_are_commands() -> None:
    assert len(offline_commands()) >= 7


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python(number: int, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(blocks("python")[number])
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        capture_output=True,
        text=True,
        timeout=30,
        env=os.environ | {"PYTHONDEVMODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not done.stderr
