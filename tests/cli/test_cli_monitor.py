"""`bmslink monitor` in a real terminal, as a person sees it."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli_support import SILENT, Cli, Terminal, environment, finish, start

SIM = "sim://jbd?cells=16&seed=1"
ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
SHOW_CURSOR = b"\x1b[?25h"


@contextlib.contextmanager
def terminal(*argv: str, **more: object) -> Iterator[Terminal]:
    result = Terminal(*argv, **more)
    try:
        yield result
    finally:
        result.close()


def restored(window: Terminal) -> bool:
    """The normal screen, a cursor, and the modes from before."""
    return (
        window.raw.rindex(LEAVE) > window.raw.rindex(ENTER)
        and window.raw.rindex(SHOW_CURSOR) > window.raw.rindex(ENTER)
        and window.modes() == window.modes_before
    )


def test_it_shows_a_live_pack_at_80x24_follows_a_resize_and_quits_by_q():
    with terminal("monitor", SIM) as window:
        text = window.wait(lambda text: "live," in text and "16 3." in text)
        assert "\x1b" not in text
        for word in ("jbd+sim://", "SOC", " A ", "delta", "FETs", "conditions", "q quits"):
            assert word in text
        for n in range(1, 17):
            assert re.search(rf"(?<!\d){n} \d\.\d{{3}}", text), (n, text)
        window.resize(120, 40)
        window.wait(lambda text: "q quits" in text.splitlines()[39] and "live" in text[100:121])
        window.resize(40, 12)
        window.wait(lambda text: "q quits" in text.splitlines()[11] and "live" in text[:40])
        window.type("xq")  # a question, and a no
        window.wait(lambda text: "Nothing was switched" in text)
        window.type("q")
        assert window.end() == 0
        assert restored(window)


def test_32_cells_fit_80x24():
    with terminal("monitor", "sim://jbd?cells=32") as window:
        text = window.wait(lambda text: "32 3." in text and "conditions" in text)
        for n in range(1, 33):
            assert re.search(rf"(?<!\d){n} \d\.\d{{3}}", text), (n, text)
        window.type("q")
        assert window.end() == 0


def test_ctrl_c_ends_it_with_130_and_the_terminal_as_it_was():
    with terminal("monitor", SIM) as window:
        window.wait(lambda text: "live," in text)
        window.type("\x03")
        assert window.end() == 130
        assert restored(window)
        assert b"Traceback" not in window.raw  # the key drops what the terminal still held


def test_sigterm_ends_it_with_the_terminal_as_it_was():
    with terminal("monitor", SIM) as window:
        window.wait(lambda text: "live," in text)
        window.process.send_signal(signal.SIGTERM)
        assert window.end() == 130
        assert restored(window)


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again():
    with terminal("monitor", SIM) as window:
        window.wait(lambda text: "live," in text)
        window.type("\x1a")
        pid, status = os.waitpid(window.process.pid, os.WUNTRACED)
        assert pid and os.WIFSTOPPED(status)
        window.wait(lambda text: LEAVE in window.raw)
        assert restored(window)
        window.process.send_signal(signal.SIGCONT)
        window.wait(lambda text: window.raw.rindex(ENTER) > window.raw.rindex(LEAVE))
        window.type("q")
        assert window.end() == 0
        assert restored(window)


def test_a_pack_that_falls_silent_is_shown_as_stale_with_the_reason(tmp_path: Path):
    link = tmp_path / "pack"
    simulator = start("simulate", "jbd", "--pty", str(link), stdin=-1)
    try:
        assert simulator.stdout is not None and simulator.stdin is not None
        ready = simulator.stdout.readline().split()
        assert ready == ["ready", f"jbd+serial://{link}"]
        with terminal("monitor", f"{ready[1]}?timeout=0.1") as window:
            window.wait(lambda text: "live," in text)
            simulator.stdin.write("fault silent\n")
            simulator.stdin.flush()
            text = window.wait(lambda text: "STALE" in text and "No answer" in text)
            assert "last known" in text
            assert "live," not in text
            simulator.stdin.write("fault silent off\n")
            simulator.stdin.flush()
            window.wait(lambda text: "live," in text and "STALE" not in text)
            window.type("q")
            assert window.end() == 0
    finally:
        simulator.terminate()
        finish(simulator)


def test_ten_packs_at_80x24_the_one_in_trouble_first_and_its_zoom():
    others = [f"sim://jbd?cells=4&seed={n}" for n in range(9)]
    high = "sim://jbd?cells=4&seed=9&fault=condition:cell_overvoltage"
    with terminal("monitor", *others, high) as window:
        text = window.wait(lambda text: "10 packs" in text.splitlines()[0] and ">!" in text)
        assert "vervoltage" in next(line for line in text.splitlines() if line.startswith(">!"))
        window.type("\r")
        window.wait(lambda text: "cell over-voltage" in text and "[live]" in text)
        window.type("\x1b")
        window.wait(lambda text: "what is wrong" in text)
        window.type("q")
        assert window.end() == 0


def test_a_terminal_without_unicode_and_colours_gets_plain_ascii():
    with terminal("monitor", SIM, PYTHONIOENCODING="ascii", NO_COLOR="1") as window:
        window.wait(lambda text: "live," in text)
        window.type("q")
        assert window.end() == 0
        assert window.raw.isascii()
        assert "\\u" not in window.raw.decode()
        assert not re.search(rb"\x1b\[[0-9;]*m", window.raw)


def test_the_linux_console_gets_signs_that_its_font_has():
    with terminal("monitor", SIM, TERM="linux") as window:
        window.wait(lambda text: "live," in text)
        window.type("q")
        assert window.end() == 0
        assert window.raw.isascii()


@pytest.mark.parametrize(
    "argv",
    [
        ["monitor", SIM],
        ["monitor", SILENT],
        ["read", "--watch", "0.1", SIM],
        ["read", "--watch", "0.1", SILENT],
        ["simulate", "jbd", "--tcp", "127.0.0.1:0"],
    ],
)
def test_the_loss_of_the_terminal_ends_it_without_any_signal(argv: list[str], tmp_path: Path):
    master, slave = os.openpty()
    with (tmp_path / "errors").open("w") as errors:
        # in a session without a controlling terminal nobody gets a SIGHUP
        process = start(
            *argv,
            stdin=slave,
            stdout=slave,
            stderr=errors if argv[0] == "simulate" else slave,
            start_new_session=True,
            env=environment(TERM="xterm-256color"),
        )
        os.close(slave)
        try:
            while not select.select([master], [], [], 10)[0]:
                pass
            time.sleep(0.5)
            os.read(master, 65536)
            os.close(master)
            assert process.wait(timeout=15) == 1
        finally:
            process.kill()
            process.wait()
    assert (tmp_path / "errors").read_text() == ""


def test_a_recording_that_ends_stays_on_the_screen_as_ended(fixtures: Path):
    capture = fixtures / "jbd" / "jbd-aces-4s.jsonl"
    with terminal("monitor", f"replay://{capture}?speed=100") as window:
        text = window.wait(lambda text: "ENDED" in text)
        assert "live," not in text
        window.type("q")
        assert window.end() == 0


def test_a_port_that_cannot_be_opened_ends_it_with_a_sentence():
    with terminal("monitor", "jbd+serial:///nowhere/at/all") as window:
        assert window.end() == 1
        assert restored(window)
        assert "/nowhere/at/all" in window.text
        assert "Traceback" not in window.text


def test_without_a_terminal_it_prints_lines_as_read_watch_does():
    process = start("monitor", SIM)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(4)]
    process.send_signal(signal.SIGTERM)
    assert finish(process).code == 130
    assert lines[0].startswith("jbd+sim://")
    assert "voltage" in lines[1] and "conditions" in lines[1]
    assert re.search(r"\d\d:\d\d:\d\d +5\d\.\d\d V", lines[3])


def test_a_dumb_terminal_gets_lines_too():
    with terminal("monitor", SIM, TERM="dumb") as window:
        window.wait(lambda text: len(re.findall(r"\d\d:\d\d:\d\d", text)) > 1)
        window.process.send_signal(signal.SIGTERM)
        assert window.end() == 130
        assert ENTER not in window.raw


def test_without_a_target_it_suggests_the_simulated_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("BMSLINK_TARGET", raising=False)
    Cli(capsys)("monitor").failed(2, "sim://", "BMSLINK_TARGET")


def test_json_is_for_programs(capsys: pytest.CaptureFixture[str]):
    Cli(capsys)("monitor", "--json", SIM).failed(2, "read --watch")
