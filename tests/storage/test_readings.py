"""Files of readings: every format gives back what was put in, also after a kill and a cut."""

from __future__ import annotations

import dataclasses
import errno
import gzip
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bmslink.control.backtest.logs import Log
from bmslink.errors import BmsError, TargetError
from bmslink.model import Condition
from bmslink.storage.readings import parquet
from bmslink.storage.readings.log_file import FORMATS, open_log
from bmslink.storage.readings.writer import LogWriter
from cli_support import Cli, environment, leash
from control_support import healthy
from log_support import at

EVERY = pytest.mark.parametrize("end", FORMATS)
LINES = pytest.mark.parametrize("end", [".jsonl", ".jsonl.gz", ".csv"])


def some():
    """Readings of two packs that have little in common."""
    yield at(0, healthy(soc=57.1, cycles=3, alarms=(Condition.SOC_LOW, Condition.OTHER)))
    yield at(1.25, healthy(current=-12.345, balancing_cells=(2, 11), balance_current=0.1))
    yield at(2, healthy(cell_voltages=(3.3, None, 0.0, 3.299), conditions_known=False), "sim://b,=")
    probes = {"cell_1": 25.1, "mosfet": None, "board": -3.0}
    more = {"cell_resistances": (0.001, None), "cell_voltages": (3.3, 3.4), "heater": False}
    yield at(3, healthy(temperatures=probes, name='van "1"\n', **more), "sim://b,=")


def read(path):
    """What `control backtest` finds."""
    log = Log(path)
    found = [entry.reading for entry in log]
    return found, log.skipped.damaged


def written(path, readings):
    file = open_log(path)
    for reading in readings:
        file.write([reading])
    file.close()
    return file


@EVERY
def test_every_format_gives_back_the_same_readings_and_is_continued(tmp_path, end):
    path, readings = tmp_path / f"it's [1]*{end}", [*some()]
    written(path, readings[:2])
    assert written(path, readings[2:]).remarks == []
    if end not in (".jsonl", ".jsonl.gz"):  # a row is a line
        readings[3] = dataclasses.replace(readings[3], name='van "1"?')
    assert read(path) == (readings, 0)
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name or "bmslink" in p.name] == []


@EVERY
def test_a_file_of_something_else_is_refused_and_kept(tmp_path, end):
    path = tmp_path / f"precious{end}"
    path.write_bytes(b"name,price\nbread,3\n")
    with pytest.raises(TargetError, match="precious") as refused:
        open_log(path)
    assert not str(refused.value).endswith("..")
    assert path.read_bytes() == b"name,price\nbread,3\n"
    link = tmp_path / f"link{end}"
    link.symlink_to(path)
    with pytest.raises(TargetError, match="symbolic link"):
        open_log(link)


@pytest.mark.parametrize("end", [".jsonl", ".jsonl.gz"])
def test_a_capture_is_no_log(tmp_path, end):
    path = tmp_path / f"session{end}"
    text = b'{"format":"bmslink-capture","version":1,"target":"sim://jbd"}\n{"t":0,"dir":"rx"}\n'
    path.write_bytes(text if end == ".jsonl" else gzip.compress(text))
    before = path.read_bytes()
    with pytest.raises(TargetError, match="something else than readings"):
        open_log(path)
    assert path.read_bytes() == before


def test_a_name_without_a_format_is_refused(tmp_path):
    with pytest.raises(TargetError, match=r"\.jsonl\.gz"):
        open_log(tmp_path / "log.txt")


@LINES
def test_a_cut_costs_the_last_line_and_the_next_run_mends_it(tmp_path, end):
    path, readings = tmp_path / f"log{end}", [*some()]
    for index in (0, 1, 2, 2):
        written(path, [readings[index]])
    size = path.stat().st_size
    file = open_log(path)
    file.write([readings[2]])
    file.close()
    whole = path.read_bytes()
    for cut in (*range(size + 1, len(whole), 37), len(whole) - 1):
        for tail in (b"", b"\0" * 50):
            path.write_bytes(whole[:cut] + tail)
            assert len(read(path)[0]) >= 4
            file = written(path, [readings[1]])
            assert len(file.remarks) == 1
            found, damaged = read(path)
            assert (found[:4], found[-1], damaged) == (
                [readings[i] for i in (0, 1, 2, 2)], readings[1], 0
            )  # fmt: skip
            assert len(found) in (5, 6)  # a gzip file may lack nothing but its trailer


@EVERY
def test_one_program_at_a_time(tmp_path, end):
    path = tmp_path / f"log{end}"
    file = open_log(path)
    file.write([next(some())])
    if end == ".db":  # SQLite lets both in
        written(path, [next(some())])
    else:
        with pytest.raises(TargetError, match="Another program"):
            open_log(path)
    file.close()
    assert len(read(path)[0]) == (2 if end == ".db" else 1)


@LINES
def test_a_full_disk_is_tried_again_and_nothing_is_there_twice_or_in_part(
    tmp_path, monkeypatch, end
):
    path, readings = tmp_path / f"log{end}", [*some()]
    writer = LogWriter(open_log(path), again=0.01)
    write, full = os.write, []

    def some_of_it(handle, data):
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        full.append(1)
        return write(handle, bytes(data)[: len(data) // 2])

    monkeypatch.setattr(os, "write", some_of_it)
    writer.put(readings[0])
    until = time.monotonic() + 10
    while not writer.trouble and time.monotonic() < until:
        time.sleep(0.01)
    assert writer.trouble == "No space left on device"
    monkeypatch.setattr(os, "write", write)
    writer.put(readings[1])
    assert writer.close() == 0
    assert writer.trouble == ""
    assert read(path) == (readings[:2], 0)


def test_what_never_can_be_written_is_counted(tmp_path, monkeypatch):
    writer = LogWriter(open_log(tmp_path / "log.jsonl"), again=60)

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for reading in some():
        writer.put(reading)
    assert writer.close() == 4


def test_a_part_that_was_taken_in_is_not_taken_in_twice(tmp_path):
    path, readings = tmp_path / "log.parquet", [*some()]
    file = open_log(path)
    file.write(readings[:1])  # the first one is in the file at once
    file.write(readings[1:2])
    part = tmp_path / "log.parquet.part"
    before = part.read_bytes()
    assert read(path)[0] == readings[:2]
    file.close()
    part.write_bytes(before)  # killed just before it was removed
    assert read(path)[0] == readings[:2]
    again = written(path, readings[2:3])
    assert again.remarks == []
    assert read(path)[0] == readings[:3]


def test_a_long_part_becomes_a_part_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_ROWS", 3)
    file = open_log(tmp_path / "log.parquet")
    for second in range(8):
        file.write([at(second, healthy())])
    assert len((tmp_path / "log.parquet.part").read_text().splitlines()) == 2  # with its head
    file.close()
    assert len(read(tmp_path / "log.parquet")[0]) == 8


@pytest.mark.needs(module="pandas")
@EVERY
def test_pandas_reads_it(tmp_path, end):
    import pandas as pd

    path, readings = tmp_path / f"log{end}", [*some()]
    written(path, readings)
    if end == ".csv":
        table = pd.read_csv(path, parse_dates=["time"])
    elif end == ".db":
        import sqlite3
        from contextlib import closing

        with closing(sqlite3.connect(path)) as base:
            table = pd.read_sql("SELECT * FROM readings", base, parse_dates=["time"])
    elif end == ".parquet":
        import duckdb

        table = duckdb.read_parquet(str(path)).df()
    else:
        table = pd.read_json(path, lines=True)
    assert [*table["current"]] == [r.current for r in readings]
    assert [*pd.to_datetime(table["time"], format="ISO8601")] == [r.time for r in readings]
    if "cell_voltage_2" in table:
        assert table["cell_voltage_2"].isna().tolist() == [False, False, True, False]


# -- a program that is killed ---------------------------------------------------------------------


@pytest.mark.slow
@EVERY
def test_kill_9_costs_one_reading_at_most(tmp_path, end):
    path = tmp_path / f"log{end}"
    command = [*leash(), sys.executable, "-m", "bmslink", "log", "sim://jbd?cells=4&gap=0"]
    command += ["sim://jk02?cells=4&gap=0", "-o", str(path), "--watch", "0.05"]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
    until = time.monotonic() + 30
    while time.monotonic() < until and len(of_any(path)) < 10:
        time.sleep(0.2)
    seen = len(of_any(path))
    process.send_signal(signal.SIGKILL)
    process.wait()
    found, damaged = read(path)
    assert len(found) >= seen >= 10
    assert damaged == 0
    assert len({(r.target, r.time) for r in found}) == len(found)
    if end == ".jsonl.gz":  # whole for others too
        assert gzip.decompress(path.read_bytes()).endswith(b"}\n")
    more = next(some())
    written(path, [more])
    assert read(path) == ([*found, more], 0)


def of_any(path: Path):
    """What is in it now, while it is written."""
    try:
        return read(path)[0]
    except (BmsError, OSError, StopIteration):
        return []


# -- the command ----------------------------------------------------------------------------------


def test_the_command_logs_several_packs_and_backtest_reads_it(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("BMSLINK_TARGET", raising=False)
    cli, path = Cli(capsys), tmp_path / "log.csv"
    packs = ("sim://jbd?cells=4&gap=0", "sim://jk02?cells=16&gap=0")
    result = cli("log", *packs, "-o", str(path), "--count", "2", "--watch", "0.02", "--json")
    assert result.code == 0
    assert result.objects == [
        {"schema": 1, "file": str(path), "readings": 4, "packs": 2, "errors": 0}
    ]
    assert {r.protocol: len(r.cell_voltages) for r in read(path)[0]} == {"jbd": 4, "jk02": 16}
    policies = tmp_path / "lfp.toml"
    policies.write_text(cli("control", "presets", "lfp").out)
    tried = cli("control", "backtest", str(path), "--policies", str(policies), "--json")
    assert tried.code == 0, tried.err
    cli("log", *packs, "-o", str(tmp_path / "log.txt"), "--count", "1").failed(2, ".parquet")
    gone = cli("log", "jbd+serial:///dev/nowhere", packs[0], "-o", str(path), "--count", "1")
    assert gone.code == 1
    assert "/dev/nowhere" in gone.err
    assert len(read(path)[0]) == 5
