"""`bmslink read` and `bmslink info` on simulated packs."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from bmslink.board import Board
from bmslink.cli.app import main
from bmslink.errors import BmsError, LinkClosed, LinkTimeout, PortNotFound
from bmslink.model import Reading
from bmslink.polling import poll
from bmslink.target import resolve
from cli_support import QUICK, SILENT, Cli, finish, start
from support import virtual_run


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.delenv("BMSLINK_TARGET", raising=False)
    return Cli(capsys)


def test_read_json_is_the_reading_with_its_schema(cli):
    (found,) = cli("read", "--json", QUICK).objects
    assert list(found) == ["schema", *Reading().to_dict()]
    assert found["schema"] == 1
    assert found["protocol"] == "jbd"
    assert found["target"].startswith("jbd+sim://")
    assert len(found["cell_voltages"]) == 4
    assert found["time"].endswith("Z")


def test_read_for_people_shows_the_same_values(cli):
    result = cli("read", QUICK)
    (found,) = cli("read", "--json", QUICK).objects
    assert result.code == 0
    assert f"{found['voltage']:.2f} V" in result.out
    assert f"{found['cell_voltages'][3]:.3f}" in result.out
    assert max(len(line) for line in result.out.splitlines()) <= 80


def test_options_override_the_target(cli):
    (found,) = cli("read", "--json", "--protocol", "jbd", "--timeout", "0.3", "sim://").objects
    assert found["target"] == "jbd+sim://?timeout=0.3"
    result = cli("read", "--json", "--address", "0x03", f"{QUICK}&address=9")
    assert result.objects[0]["target"].endswith("address=3")


def test_several_targets_are_read_and_a_failed_one_is_a_line_and_1(cli):
    result = cli("read", "--json", QUICK, SILENT, "sim://jbd?gap=0&cells=3")
    assert result.code == 1
    by_cells = {len(o.get("cell_voltages", ())): o for o in result.objects}
    assert set(by_cells) == {4, 3, 0}
    failed = by_cells[0]
    assert list(failed) == ["schema", "target", "error"]
    assert "fault=silent" in failed["target"]
    assert "No answer" in failed["error"]
    assert result.err.count("\n") == 1


def test_several_targets_are_read_at_the_same_time(capsys):
    """As the clock goes, and not on the virtual time of `cli`."""
    slow = "sim://jbd?gap=0&cells=4&fault=late:0.4"
    began = time.monotonic()
    assert main(("read", "--json", slow)) == 0
    alone = time.monotonic() - began
    assert main(("read", "--json", slow, slow, slow, slow)) == 0
    assert time.monotonic() - began < 3 * alone
    assert capsys.readouterr().out.count("\n") == 5


def test_one_wrong_target_among_several_is_wrong_usage_and_nothing_is_read(cli):
    cli("read", "--json", QUICK, "nonsense").failed(2, "nonsense")


def test_count_ends_it_and_watch_keeps_going(cli):
    result = cli("read", "--json", "--watch", "0.02", "--count", "3", QUICK)
    assert result.code == 0
    assert len(result.objects) == 3
    lines = cli("read", "--watch", "0.02", "--count", "2", QUICK).out.splitlines()
    assert len(lines) == 4
    assert lines[1].split()[:3] == ["time", "voltage", "current"]
    assert " V " in lines[3]


def test_watching_several_packs_says_which_line_is_whose(cli):
    out = cli("read", "--watch", "0.02", "--count", "2", QUICK, "sim://jbd?gap=0&cells=3").out
    lines = out.splitlines()
    assert lines[0].startswith("#1 jbd+sim://")
    assert lines[1].startswith("#2 jbd+sim://")
    assert sorted(line[:2] for line in lines[3:]) == ["#1", "#1", "#2", "#2"]


def test_watching_goes_on_through_silence_and_the_code_is_1(cli):
    result = cli("read", "--json", "--watch", "0.02", "--count", "3", SILENT)
    assert result.code == 1
    assert [list(o) for o in result.objects] == [["schema", "target", "error"]] * 3


def test_watching_a_recording_ends_with_it(cli, fixtures: Path):
    target = f"replay://{fixtures / 'jbd' / 'jbd-aces-4s.jsonl'}"
    result = cli("read", "--json", "--watch", "0.01", target)
    assert result.code == 0
    assert result.objects[0]["voltage"] == 13.36
    assert result.err == ""


def test_a_recording_that_holds_no_answer_says_so_and_what_to_do(cli, tmp_path: Path):
    header = '{"format":"bmslink-capture","version":1,"protocol":"jbd"}\n'
    name = '{"t":%s,"dir":"rx","hex":"dd050003616263fed777"}\n'
    other, silent = tmp_path / "other.jsonl", tmp_path / "silent.jsonl"
    other.write_text(header + "".join(name % t for t in range(20)))
    silent.write_text(header + '{"t":0,"dir":"tx","hex":"dda50500fffb77"}\n' + name % 900)
    for file in (other, silent):
        for command in ("read", "info"):
            result = cli(command, "--timeout", "0.02", f"replay://{file}?gap=0")
            result.failed(1, str(file), "no further answer", f"bmslink decode {file}")
            assert "master" not in result.err
            assert "awake" not in result.err
    for file in (other, silent):
        over = cli("read", f"jk02+replay://{file}?gap=0&speed=1000")
        over.failed(1, str(file), "holds no valid jk02 frame")


def test_ctrl_c_is_130_and_silent():
    process = start("read", "--json", "--watch", "0.05", QUICK)
    assert process.stdout is not None
    assert process.stdout.readline().startswith('{"schema":1,')
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert (result.code, result.err) == (130, "")


def test_info_json_has_the_keys_of_the_contract(cli):
    (found,) = cli("info", "--json", QUICK).objects
    assert list(found) == [
        "schema",
        "vendor",
        "model",
        "hardware",
        "firmware",
        "serial_number",
        "cell_count",
        "chemistry",
        "protocol",
        "variant",
        "capabilities",
        "map",
        "open_change",
        "target",
    ]
    assert found["vendor"] == "JBD"
    assert found["cell_count"] == 4
    assert found["capabilities"]["settings"] == {"supported": True, "reason": ""}
    assert found["capabilities"]["switch_balance"]["supported"] is True
    assert found["map"]["name"] == "jbd-classic"
    assert "8.0" in found["map"]["evidence"]


def test_info_for_people_says_what_cannot_be_written_and_why(cli):
    out = cli("info", "sim://jbd?gap=0&firmware=3.3").out
    assert "JBD" in out
    assert "written with --untested only" in out
    out = cli("info", "sim://jbd-up?gap=0").out
    assert "settings          no: read-only" in out


# ----------------------------------------------------------------------------- the poller


class Scripted:
    """A device whose openings and readings go as written: a reading, or an error."""

    def __init__(self, openings: list[Any], reads: list[Any], target: str = QUICK) -> None:
        self.target = resolve(target)
        self.openings = openings
        self.reads = reads
        self.log: list[tuple[str, float]] = []

    def _note(self, what: str) -> None:
        self.log.append((what, round(asyncio.get_running_loop().time(), 3)))

    def _open(self, what: str) -> None:
        self._note(what)
        outcome = self.openings.pop(0) if self.openings else None
        if outcome is not None:
            raise outcome

    async def open(self) -> None:
        self._open("open")

    async def reopen(self) -> None:
        self._open("reopen")

    async def close(self) -> None:
        self._note("close")

    async def read(self) -> Reading:
        self._note("read")
        outcome = self.reads.pop(0) if self.reads else Reading()
        if isinstance(outcome, BmsError):
            raise outcome
        return outcome

    def times(self, what: str) -> list[float]:
        return [at for name, at in self.log if name == what]


def follow(device: Scripted, count: int, interval: float = 1.0) -> list[Any]:
    news: list[Any] = []
    virtual_run(poll(device, news.append, interval=interval, count=count))
    assert device.log[-1][0] == "close"
    return [n if isinstance(n, Reading) else type(n) for n in news]


def test_the_beat_is_kept_through_timeouts():
    device = Scripted([], [LinkTimeout("x"), Reading(), LinkTimeout("x")])
    assert follow(device, 4) == [LinkTimeout, Reading(), LinkTimeout, Reading()]
    assert device.times("read") == [0, 1, 2, 3]
    assert device.times("reopen") == []


def test_a_lost_link_is_opened_again_with_pauses_that_grow():
    gone = PortNotFound("unplugged")
    device = Scripted([None, gone, gone, gone, gone, gone, gone, None], [LinkClosed("pulled")])
    news = follow(device, 9)
    assert news == [LinkClosed, *[PortNotFound] * 6, Reading(), Reading()]
    assert device.times("reopen") == [1, 3, 7, 15, 31, 61, 91]
    assert device.times("read")[1:] == [91, 92]


def test_the_pauses_begin_anew_after_a_reading():
    lost = LinkClosed("pulled")
    device = Scripted([], [lost, Reading(), lost, Reading()])
    follow(device, 4)
    assert device.times("reopen") == [1, 3]


def test_a_port_that_is_not_there_at_the_start_ends_it():
    device = Scripted([PortNotFound("no such port")], [])
    with pytest.raises(PortNotFound):
        follow(device, 5)
    assert device.log == [("open", 0), ("close", 0)]


def test_a_pack_that_sleeps_at_the_start_is_tried_again():
    device = Scripted([LinkTimeout("asleep")], [])
    assert follow(device, 2) == [LinkTimeout, Reading()]
    assert [name for name, _ in device.log] == ["open", "open", "read", "close"]


def test_a_recording_ends_once_it_gave_a_reading(fixtures: Path):
    target = f"jbd+replay://{fixtures / 'jbd' / 'jbd-aces-4s.jsonl'}"
    assert follow(Scripted([], [Reading(), LinkClosed("over")], target), 9) == [Reading()]
    with pytest.raises(LinkClosed):
        follow(Scripted([], [LinkClosed("over")], target), 9)


def test_the_poller_keeps_to_the_interface_of_the_device():
    for name in ("open", "reopen", "close", "read"):
        assert asyncio.iscoroutinefunction(getattr(Board, name))


def test_watching_a_recording_that_cannot_be_played_ends(cli, tmp_path: Path):
    """It will not be better a second later."""
    file = tmp_path / "empty.jsonl"
    file.write_text('{"format":"bmslink-capture","version":1,"protocol":"jbd"}\n')
    result = cli("read", "--watch", "0.01", "--count", "3", f"replay://{file}")
    result.failed(1, str(file), "holds no answers")
