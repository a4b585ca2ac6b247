"""The README's examples run, as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bmslink.packs import load_packs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
COMMAND = str(Path(sys.executable).parent / "bmslink")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def offline_commands(block: str) -> list[str]:
    """The command lines that need no hardware and end by themselves."""
    runnable = [line for line in block.splitlines() if line.startswith("bmslink ")]
    waits = r"/dev/|192\.168|bmslink (simulate|monitor|replay)"
    return [line for line in runnable if not re.search(waits, line)]


@pytest.mark.parametrize("block", [b for b in blocks("sh") if offline_commands(b)])
def test_commands(block: str, tmp_path: Path) -> None:
    """In an empty folder that has `tests/`, which README names: nothing lands elsewhere."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    for line in offline_commands(block):
        arguments = shlex.split(line, comments=True)[1:]
        done = subprocess.run(
            [COMMAND, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=30
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
        assert "Traceback" not in done.stderr


def test_there_are_commands() -> None:
    assert sum(len(offline_commands(block)) for block in blocks("sh")) >= 10


def test_nothing_is_written_outside_the_current_folder() -> None:
    lines = [line for block in blocks("sh") for line in offline_commands(block)]
    outputs = [m[1] for line in lines for m in re.finditer(r"(?:-o|--output)[ =](\S+)", line)]
    assert len(outputs) >= 3
    assert not [path for path in outputs if Path(path).name != path]
    exports = re.findall(r"^export BMSLINK_CONFIG=(\S+)", TEXT, re.MULTILINE)
    assert exports == ["$PWD/example.toml"]


def test_named_packs(tmp_path: Path) -> None:
    for number, text in enumerate(blocks("toml")):
        file = tmp_path / f"{number}.toml"
        file.write_text(text)
        assert load_packs(file)


SCRIPTS = {
    f"{name}-{number}": block
    for name in ("README.md", "docs/python.md")
    for number, block in enumerate(
        re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.S)
    )
}
"""Every block of Python of the pages for people who write programs."""


@pytest.mark.parametrize("name", SCRIPTS)
def test_python(name: str, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(SCRIPTS[name])
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        capture_output=True,
        text=True,
        timeout=90,  # a change is looked at for some ten seconds before it counts as made
        env=os.environ | {"PYTHONDEVMODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() or "print(" not in SCRIPTS[name]
    slow = "Executing <"  # the debug mode's remark that the machine was busy
    assert not [line for line in done.stderr.splitlines() if not line.startswith(slow)]
