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


TOUR = next(block for block in blocks("sh") if "config undo" in block)
"""It needs simulated packs in the background, so it runs as the one script that it is."""


def test_the_tour_of_a_set_up_pack(tmp_path: Path) -> None:
    """A preset, three edits, plan, apply, resume, undo twice, comparison and export."""
    script = tmp_path / "tour.sh"
    ended = "trap 'kill $(jobs -p) 2>/dev/null' EXIT\n"
    script.write_text(ended + re.sub(r"/\w+(?=/(?:van|shed)\b)", str(tmp_path), TOUR))
    done = subprocess.run(
        ["bash", "-e", "-m", str(script)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=400,
        env=os.environ | {"PATH": f"{Path(COMMAND).parent}:{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("written, and the whole table read back") == 4, done.stdout
    for said in (
        "ready daly-a5+serial",
        "van (daly-a5",
        "shed (jk02",
        "No change of this pack was cut off.",
    ):
        assert said in done.stdout
    edited = (tmp_path / "house.toml").read_text()
    assert all(f'"{value}"' in edited for value in ("3.60 V", "2 °C", "40 A"))
    assert 'cell_ovp = "3.6 V"' in (tmp_path / "van.toml").read_text()


SERVED = next(block for block in blocks("sh") if "service stop" in block)
"""It needs the service in the background."""


def test_the_service_in_the_background(tmp_path: Path) -> None:
    """Started, asked, read through, and stopped."""
    script = tmp_path / "service.sh"
    ended = "trap 'kill $(jobs -p) 2>/dev/null' EXIT\n"
    script.write_text(ended + SERVED)
    done = subprocess.run(
        ["bash", "-e", "-m", str(script)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=90,
        env=os.environ | {"PATH": f"{Path(COMMAND).parent}:{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stderr
    for said in ("ready /", "  jk02: ok since", "ExecStart=", "has ended"):
        assert said in done.stdout
    assert "asked through the service" in done.stderr


SCRIPTS = (TOUR, SERVED)


@pytest.mark.parametrize(
    "block", [b for b in blocks("sh") if offline_commands(b) and b not in SCRIPTS]
)
def test_commands(block: str, tmp_path: Path) -> None:
    """In an empty folder that has `tests/`, which README names: nothing lands elsewhere."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    for line in offline_commands(block):
        arguments = shlex.split(line, comments=True)[1:]
        done = subprocess.run(
            [COMMAND, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=90
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
    assert set(exports) == {"$PWD/example.toml"}


def test_the_changelog_has_one_list_for_each_kind_of_change() -> None:
    for release in re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]:
        kinds = re.findall(r"^### (\w+)$", release, re.MULTILINE)
        assert len(kinds) == len(set(kinds)) > 0, release[:40]


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
        timeout=300,  # a change is looked at for some ten seconds before it counts as made
        env=os.environ | {"PYTHONDEVMODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() or "print(" not in SCRIPTS[name]
    slow = "Executing <"  # the debug mode's remark that the machine was busy
    assert not [line for line in done.stderr.splitlines() if not line.startswith(slow)]
