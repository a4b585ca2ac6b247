"""Files are written as regular files only: nothing is replaced or reached through a link."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bmslink
from bmslink.cli.outfile import open_new, write_text
from bmslink.config.files.backup import BackupError, load_backup, save_backup
from bmslink.config.identity.locks import locked
from bmslink.control.status import Run, StateError
from bmslink.control.status import write as write_state
from bmslink.errors import BmsError, TargetError
from bmslink.packs import add
from bmslink.storage.atomic import append_handle, new_handle, replace_file
from bmslink.storage.journal import Journal
from cli_support import Cli, finish, start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has no such links and pipes")

SOURCE = Path(bmslink.__file__).parent
PACK = "sim://jbd?gap=0&cells=4&load=idle"
KINDS = ["link", "dangling", "fifo", "socket", "device", "folder"]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.delenv("BMSLINK_TARGET", raising=False)
    return Cli(capsys)


@contextlib.contextmanager
def trap(place: Path, kind: str) -> Iterator[None]:
    """Something that is no regular file; nothing may have happened to it afterwards."""
    victim = place.parent / "victim"
    victim.write_bytes(b"precious")
    place.parent.mkdir(parents=True, exist_ok=True)
    if kind == "link":
        place.symlink_to(victim)
    elif kind == "dangling":
        place.symlink_to(place.parent / "nothing")
    elif kind == "device":
        place.symlink_to("/dev/tty")  # a node of one's own needs root
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        with contextlib.chdir(place.parent), socket.socket(socket.AF_UNIX) as end:
            end.bind(place.name)
    before = os.lstat(place)
    yield
    after = os.lstat(place)
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert victim.read_bytes() == b"precious"
    assert not (place.parent / "nothing").exists()
    assert {p.name for p in place.parent.iterdir()} <= {"victim", place.name}


def state() -> Run:
    return Run(policies="p", shadow=True, pid=1, began=0.0, written=0.0, interval=1.0, packs=[])


WRITERS: dict[str, tuple[Callable[[Path], object], type[Exception]]] = {
    "replace_file": (lambda p: replace_file(p, b"x"), OSError),
    "append_handle": (append_handle, OSError),
    "new_handle": (new_handle, OSError),
    "open_new": (lambda p: open_new(str(p)), TargetError),
    "open_new --force": (lambda p: open_new(str(p), force=True), TargetError),
    "write_text": (lambda p: write_text(str(p), "x", force=False), TargetError),
    "write_text --force": (lambda p: write_text(str(p), "x", force=True), TargetError),
    "state": (lambda p: write_state(p, state()), StateError),
    "packs": (lambda p: add("van", "sim://jbd", path=p), TargetError),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("writer", WRITERS)
def test_nothing_but_regular_files(tmp_path, kind, writer):
    place = tmp_path / "folder" / "out"
    place.parent.mkdir()
    if writer == "packs" and kind in ("link", "fifo", "device"):
        pytest.skip("it is read first, and reading may follow links: see test_packs")
    write, error = WRITERS[writer]
    with trap(place, kind), pytest.raises(error, match=r"regular files|exists|cannot be read"):
        write(place)


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo"])
def test_the_journal_and_the_locks(tmp_path, monkeypatch, kind):
    folder = tmp_path / "journal"
    folder.mkdir()
    made = Journal(folder)
    made.append("note")
    (month,) = folder.iterdir()
    month.unlink()
    with trap(month, kind), pytest.raises(BmsError, match="regular files"):
        made.append("note")
    for each in folder.iterdir():
        each.unlink()
    with locked(folder, ["pack"]):
        (lock,) = folder.glob("*.lock")
    lock.unlink()
    refused = pytest.raises(BmsError, match="regular files")
    with trap(lock, kind), refused, locked(folder, ["pack"]):
        pass


COMMANDS = {
    "config backup": ("config", "backup", PACK, "--force", "-o"),
    "config export": ("config", "export", PACK, "--force", "-o"),
    "config presets": ("config", "presets", "lfp-280", "--force", "-o"),
    "control presets": ("control", "presets", "--cells", "4", "--force", "-o"),
    "capture": ("capture", PACK, "--count", "1", "--force", "-o"),
    "--trace": ("read", PACK, "--trace"),
}


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "device"])
@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_every_output_of_the_command_line(cli, tmp_path, words, kind):
    place = tmp_path / "folder" / "out"
    place.parent.mkdir()
    with trap(place, kind):
        cli(*words, str(place)).failed(2, "only regular files are written", str(place))


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_force_replaces_a_regular_file(cli, tmp_path, words):
    place = tmp_path / "out"
    place.write_bytes(b"old" if "--force" in words else b"")
    assert cli(*words, str(place)).code == 0
    assert place.read_bytes()[:3] not in (b"old", b"")


def test_a_new_file_has_the_rights_of_new_files_and_an_old_one_keeps_its_own(tmp_path):
    place = tmp_path / "out"
    before = os.umask(0o027)
    try:
        write_text(str(place), "a", force=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE(place.stat().st_mode) == 0o640
    place.chmod(0o604)
    write_text(str(place), "b", force=True)
    assert stat.S_IMODE(place.stat().st_mode) == 0o604
    with pytest.raises(TargetError, match="exists already"):
        write_text(str(place), "c", force=False)
    assert place.read_text() == "b"


def test_a_disk_that_is_full_leaves_no_new_file(tmp_path, monkeypatch):
    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bmslink.storage.atomic.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(tmp_path / "out", b"x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_standard_output_can_be_written_to(tmp_path, name):
    result = finish(start("capture", PACK, "-o", name, "--count", "1", "--quiet"))
    assert result.code == 0, result
    assert "dir" in result.objects[1]
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize(
    "words", [("config", "export", PACK), ("control", "presets", "--cells", "4")]
)
def test_a_text_on_standard_output_is_the_text_alone(cli, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = cli(*words).out
    assert plain
    for name in ("-", "/dev/stdout"):
        assert cli(*words, "-o", name).out == plain
    assert list(tmp_path.glob("*")) == []


def test_a_backup_on_a_link_says_so(tmp_path, cli):
    made, link = tmp_path / "made.json", tmp_path / "link.json"
    assert cli("config", "backup", PACK, "-o", str(made)).code == 0
    link.symlink_to(made)
    kept = load_backup(link)  # reading may follow links
    text = made.read_text()
    with pytest.raises(BackupError, match="symbolic link"):
        save_backup(kept, link, overwrite=True)
    with pytest.raises(BackupError, match="exists already"):
        save_backup(kept, made)
    assert made.read_text() == text
    assert json.loads(text)["kind"] == "bmslink-backup"


ALLOWED = {
    ("storage/chain.py", "os.open"),  # asks require_regular first, and for reading as well
    ("storage/atomic.py", "os.open"),
    ("storage/atomic.py", "tempfile.mkstemp"),
    ("storage/atomic.py", "open('r+b')"),  # a draft of its own
    ("storage/readings/csv_table.py", "open('r+b')"),  # a draft of `draft_of`
    ("cli/dashboard/driver.py", "os.open"),  # the terminal
    ("cli/streams.py", "os.open"),  # the null device, in the place of a closed pipe
    ("storage/alone.py", "os.open"),  # the null device, where the disk takes no lock
    ("cli/outfile.py", "open('wb')"),  # the null device
    ("cli/decode.py", "open('wb')"),  # in a folder of its own
    ("storage/journal.py", "os.open"),  # the folder, to have its names on the disk
    ("storage/journal.py", "tempfile.TemporaryFile"),
    ("cli/completion/scripts.py", "open('a')"),  # .bashrc, which may be a link to dotfiles
    ("cli/completion/world.py", "os.open"),  # for reading
    ("transports/serial.py", "os.open"),  # ports are devices
    ("transports/port_owner.py", "os.open"),  # for reading
    ("transports/port_owner.py", "tempfile.mkstemp"),  # lock files of other programs have their way
}


def test_no_other_module_opens_a_file_for_writing():
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            last = name.rpartition(".")[2]
            if name == "os.open" or (name.startswith("tempfile.") and "Directory" not in name):
                found.add((str(path.relative_to(SOURCE)), name))
            elif last in ("write_text", "write_bytes") and name != "write_text":
                found.add((str(path.relative_to(SOURCE)), last))
            elif last == "open" and name != "os.open":
                modes = [a.value for a in node.args if isinstance(a, ast.Constant)]
                modes += [k.value.value for k in node.keywords if k.arg == "mode"]
                if any(isinstance(m, str) and set(m) & set("wax+") for m in modes):
                    found.add((str(path.relative_to(SOURCE)), f"open({modes[0]!r})"))
    assert found <= ALLOWED, found - ALLOWED
