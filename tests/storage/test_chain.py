"""Records that are checked and chained: every damage is found, a torn end is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bmslink.storage import chain
from bmslink.storage.journal import Journal, JournalError, JournalRefusal

PATIENT = 5.0


def write(path: Path, count: int, start: int = 0) -> None:
    for n in range(start, start + count):
        chain.add(path, {"schema": 2, "event": "x", "n": n}, patience=PATIENT)


def states(path: Path) -> list[str]:
    return [line.state for line in chain.read_lines(path)]


def test_every_altered_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    write(path, 3)
    whole = path.read_bytes()
    end = len(whole) - 1  # the last newline: a line without it is whole all the same
    for at in range(end):
        for bit in (0, 3, 7):
            path.write_bytes(whole[:at] + bytes((whole[at] ^ 1 << bit,)) + whole[at + 1 :])
            assert set(states(path)) - {"sound"}, (at, bit)
    path.write_bytes(whole[:end])
    assert states(path) == ["sound"] * 3


def test_a_line_taken_out_put_in_or_moved_is_found(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    write(path, 5)
    lines = path.read_bytes().splitlines(keepends=True)
    for changed in (
        lines[1:],
        lines[:2] + lines[3:],
        [*lines[:2], lines[1], *lines[2:]],
        [lines[0], lines[2], lines[1], *lines[3:]],
        [*lines[:3], b'{"schema": 1, "event": "end", "id": "x"}\n', *lines[3:]],
    ):
        path.write_bytes(b"".join(changed))
        assert "gap" in states(path), changed


def test_a_torn_end_is_normal_and_the_next_record_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    write(path, 2)
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole) - 1):
        path.write_bytes(whole[:cut])
        expected = {first: ["sound"]}.get(cut, ["sound", "torn"])
        assert states(path) == expected
        write(path, 1, start=7)
        assert states(path) == ["sound", "sound"]
        assert [line.record["n"] for line in chain.read_lines(path)] == [0, 7]
    path.write_bytes(whole + bytes(300))  # what some file systems leave after a power cut
    write(path, 1)
    assert states(path) == ["sound"] * 3


def test_behind_a_damaged_line_the_chain_goes_on_and_the_damage_stays_visible(
    tmp_path: Path,
) -> None:
    path = tmp_path / "c.jsonl"
    write(path, 3)
    path.write_bytes(path.read_bytes()[:-8] + b"XXXXX" + path.read_bytes()[-3:])
    write(path, 2)
    assert states(path) == ["sound", "sound", "damaged", "sound", "sound"]


def test_old_records_are_read_and_the_first_new_one_names_the_last_of_them(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'{"schema": 1, "event": "a"}\nnoise\n{"event": "b"}\n{"event": "to')
    write(path, 2)
    assert states(path) == ["old", "old", "sound", "sound"]
    path.write_bytes(path.read_bytes().replace(b'"b"', b'"c"'))
    assert states(path) == ["old", "old", "gap", "sound", "sound"]


_WRITER = """
import sys
from pathlib import Path
from bmslink.storage.chain import add
for n in range(int(sys.argv[2])):
    add(Path(sys.argv[1]), {"event": "x", "who": sys.argv[3], "n": n}, patience=30)
"""


def test_writers_in_several_processes_keep_the_chain_whole(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    command = (sys.executable, "-c", _WRITER, str(path), "60")
    crowd = [subprocess.Popen((*command, name)) for name in "abc"]
    assert [process.wait(timeout=60) for process in crowd] == [0, 0, 0]
    assert states(path) == ["sound"] * 180
    for name in "abc":
        mine = [line.record["n"] for line in chain.read_lines(path) if line.record["who"] == name]
        assert mine == list(range(60))


def test_who_appends_for_too_long_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    write(path, 1)
    handle = chain.open_regular(path, os.O_RDWR)
    chain.take(handle)
    with pytest.raises(BlockingIOError, match="another process is writing"):
        chain.add(path, {"event": "x"}, patience=0.05)
    os.close(handle)
    write(path, 1)
    assert states(path) == ["sound"] * 2


@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "device"])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(kind: str, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.append("x")
    (path,) = journal.folder.glob("*.jsonl")
    path.rename(tmp_path / "real")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "real" if kind == "link" else "/dev/zero")
    done = threading.Event()

    def try_all() -> None:
        with pytest.raises(JournalRefusal, match="cannot be written"):
            journal.probe()
        with pytest.raises(JournalError, match="cannot be written"):
            journal.append("y")
        with pytest.raises(JournalRefusal, match="nothing is sent"):
            journal.begin("sim://jbd", {}, [])
        with pytest.raises(JournalError, match="cannot be read"):
            list(journal.lines())
        done.set()

    threading.Thread(target=try_all, daemon=True).start()
    assert done.wait(10)
    assert (tmp_path / "real").read_text().count("\n") == 1


def test_it_is_private_and_made_private(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.append("x")
    (path,) = journal.folder.glob("*.jsonl")
    assert (path.stat().st_mode & 0o777, journal.folder.stat().st_mode & 0o777) == (0o600, 0o700)
    path.chmod(0o644)  # as an earlier version left it
    journal.append("y")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_leaves_no_half_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.jsonl"
    write(path, 2)
    before, real, left = path.read_bytes(), os.write, [20]

    def full(handle: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        count = real(handle, bytes(data)[: left[0]])
        left[0] -= count
        return count

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        write(path, 1)
    monkeypatch.undo()
    assert path.read_bytes() == before


def test_a_record_is_plain_json_with_its_hash_last(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    write(path, 2)
    one, two = (json.loads(line) for line in path.read_text().splitlines())
    assert (one["prev"], two["prev"]) == ("", one["hash"])
    assert list(one)[-2:] == ["prev", "hash"]
