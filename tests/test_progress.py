"""How far reading and changing settings are: for programs, and as a line for people."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pyte
import pytest

import bmslink.config.writer
from bmslink import blocking, connect
from bmslink.cli import progress, streams
from bmslink.cli.app import main
from bmslink.config import apply, draft
from bmslink.protocols import DRIVERS
from bmslink.storage.journal import Journal

JBD = "sim://jbd?cells=4&load=idle&gap=0"
SET = ("settings", "set", JBD, "cell_ovp=3.6", "--yes", "--chemistry", "lfp")
Told = list[tuple[str, int, int]]


async def test_a_program_is_told_how_far_a_change_is(tmp_path: Path) -> None:
    told: Told = []
    journal = Journal(tmp_path)
    async with connect(JBD, on_progress=lambda *news: told.append(news)).board as device:
        plan = await draft(device, {"cell_ovp": 3.6}, chemistry="lfp", journal=journal)
        await apply(device, plan, journal=journal)
    slots = len(plan.table.map.slots)
    assert list(dict.fromkeys(doing for doing, _, _ in told)) == [
        *("reading", "writing", "waiting", "checking")
    ]
    assert [news for news in told if news[0] == "writing"] == [("writing", 1, 1)]
    assert [done for doing, done, _ in told if doing == "waiting"] == list(range(9))
    assert [done for doing, done, _ in told if doing == "reading"] == [*range(1, slots + 1)] * 2
    assert [done for doing, done, _ in told if doing == "checking"] == [*range(1, 2 * slots + 1)]
    assert {total for doing, _, total in told if doing == "checking"} == {2 * slots}


@pytest.mark.parametrize("protocol", DRIVERS)
async def test_no_protocol_counts_beyond_its_settings(protocol: str) -> None:
    told: Told = []
    async with connect(
        f"sim://{protocol}?load=idle", on_progress=lambda *n: told.append(n)
    ).board as pack:
        if pack.driver.settings is None:
            return
        await pack.settings()
    assert all(0 < done <= total for _, done, total in told)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    if protocol not in ("jk02", "jk04", "jk-nw"):  # one answer holds them all
        assert told[-1][1] == told[-1][2]


async def test_what_a_listener_raises_is_not_for_the_change(tmp_path: Path) -> None:
    def broken(doing: str, done: int, total: int) -> None:
        raise RuntimeError("no screen")

    journal = Journal(tmp_path)
    async with connect(JBD, on_progress=broken).board as device:
        plan = await draft(device, {"cell_ovp": 3.6}, chemistry="lfp", journal=journal)
        assert (await apply(device, plan, journal=journal)).result == "done"


@pytest.mark.real_time
def test_a_plain_script_is_told_too() -> None:
    told: Told = []
    with blocking.connect(JBD, on_progress=lambda *news: told.append(news)) as device:
        device.settings()
    assert told[-1][0] == "reading"


# --------------------------------------------------------------------------------- on a terminal


class Console(io.StringIO):
    """A terminal of 40 columns behind stdout and stderr."""

    def isatty(self) -> bool:
        return True

    @property
    def left(self) -> list[str]:
        """What is left on it at the end."""
        screen = pyte.Screen(40, 100)
        pyte.Stream(screen).feed(self.getvalue().replace("\n", "\r\n"))
        return [line.rstrip() for line in screen.display if line.strip()]

    @property
    def shown(self) -> list[str]:
        """The lines that came and went."""
        return re.findall(r"\r([^\r\x1b\n]+)\x1b\[K", self.getvalue())


class Out(io.StringIO):
    """What is written to stdout, on the same screen."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def write(self, text: str) -> int:
        return self.console.write(text)


def run(console: Console, *argv: str) -> int:
    """A command on that terminal."""
    with patch("sys.stderr", console), patch("sys.stdout", Out(console)):
        return main(argv)


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Console]:
    monkeypatch.setattr(progress, "_LONG", 0.0)
    monkeypatch.setattr(progress, "_PERIOD", 0.0)
    monkeypatch.setattr(bmslink.config.writer, "_REST", 0.01)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path))
    made = Console()
    yield made
    assert not streams.progress_line.shown


@pytest.mark.parametrize(
    "command",
    [
        SET,
        ("settings", "show", JBD),
        ("settings", "get", JBD, "cell_ovp"),
        ("config", "backup", JBD, "-o", "FILE"),
        ("config", "verify", JBD),
    ],
    ids=lambda command: " ".join(command[:2]),
)
@pytest.mark.parametrize("plain", [False, True])
def test_the_line_is_gone_before_anything_else_appears(
    console: Console,
    command: tuple[str, ...],
    plain: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if plain:
        monkeypatch.setenv("NO_COLOR", "1")
    assert run(console, *(str(tmp_path / "b") if word == "FILE" else word for word in command)) == 0
    assert console.shown
    assert any(re.fullmatch(r"reading \d+/\d+", line) for line in console.shown)
    if command is SET:
        assert {"writing 1/1", "waiting 0/1 s: does the board keep it?"} <= set(console.shown)
        assert any(line.startswith("checking ") for line in console.shown)
    assert max(map(len, console.shown)) < 40
    assert not [line for line in console.left if re.search(r"(read|writ|check|wait)ing \d", line)]


def test_it_is_gone_after_an_error_too(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(console, "settings", "get", f"{JBD}&fault=corrupt:100&timeout=0.01", "cell_ovp") == 1
    assert not any("reading" in line for line in console.left)


@pytest.mark.parametrize("more", ["--json", "--quiet", "dumb", "pipe"])
def test_none_for_programs(console: Console, more: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if more == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    if more == "pipe":
        monkeypatch.setattr(Console, "isatty", lambda self: False)
    assert run(console, *SET, *([more] if more.startswith("--") else [])) == 0
    assert "\r" not in console.getvalue()
    assert "reading" not in console.getvalue()


def test_none_for_what_is_quick(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LONG", 60.0)
    assert run(console, *SET) == 0
    assert console.shown == []


def test_of_several_packs_each_by_its_target(console: Console) -> None:
    assert run(console, "settings", "show", JBD) == 0
    assert not any("jbd" in line for line in console.shown)


def test_a_terminal_that_takes_nothing_delays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-S, or nobody reads the other side: the line is left out instead of waited for."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with os.fdopen(writer, "w") as stream, os.fdopen(reader):
        assert streams.takes(stream)
        try:
            while os.write(writer, b"x" * 4096):
                pass
        except BlockingIOError:
            pass
        os.set_blocking(writer, True)
        assert not streams.takes(stream)
        monkeypatch.setattr("sys.stderr", stream)
        streams.progress_line.show("reading 1/2")
        assert not streams.progress_line.shown
        os.set_blocking(writer, False)
