"""`bmslink decode`: hex, raw bytes and capture files, into readings or frames."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pyte
import pytest

from bmslink.cli import progress
from bmslink.link.capture import open_capture
from cli_support import Cli, Result, finish, start
from support import FIXTURES

NAME = "dd 05 00 03 61 62 63 fe d7 77"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture
def capture(fixtures: Path) -> Path:
    return fixtures / "jbd" / "jbd-aces-4s.jsonl"


@pytest.fixture
def received(capture: Path) -> bytes:
    pieces = [json.loads(line) for line in capture.read_text().splitlines()[1:]]
    return b"".join(bytes.fromhex(p["hex"]) for p in pieces if p["dir"] == "rx")


def test_a_capture_file_gives_its_reading(cli, capture):
    (found,) = cli("decode", "--json", str(capture)).objects
    assert found["schema"] == 1
    assert found["voltage"] == 13.36
    assert found["cell_voltages"] == [3.554, 3.548, 3.564, 3.565]
    out = cli("decode", str(capture)).out
    assert "13.36 V" in out
    assert "3.565" in out


def test_hex_raw_bytes_and_capture_say_the_same(cli, tmp_path, received):
    raw, text = tmp_path / "raw.bin", tmp_path / "text.hex"
    raw.write_bytes(received)
    text.write_text("\n".join(f"0x{b:02x}:" for b in received))
    by_hex = cli("decode", "--json", "--hex", received.hex(" ")).objects
    assert by_hex[0]["cell_voltages"] == [3.554, 3.548, 3.564, 3.565]
    assert cli("decode", "--json", str(raw)).objects == by_hex
    assert cli("decode", "--json", str(text)).objects == by_hex


def test_standard_input_may_be_any_of_them(cli, monkeypatch, capture, received):
    wanted = cli("decode", "--json", "--hex", received.hex()).objects
    for content in (received, received.hex(":").encode(), capture.read_bytes()):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        found = cli("decode", "--json", "-").objects
        assert found[0]["cell_voltages"] == wanted[0]["cell_voltages"]


def test_frames_are_one_object_each_with_what_they_say_under_their_role(cli, capture, received):
    result = cli("decode", "--json", "--frames", str(capture))
    assert not any(o["sent"] for o in result.objects)
    by_kind = {o["kind"]: o for o in result.objects}
    assert by_kind["basic_info"]["reading"]["voltage"] == 13.36
    assert by_kind["basic_info"]["protocol"] == "jbd"
    (asked,) = cli("decode", "--json", "--frames", "--hex", "dd a5 03 00 ff fd 77").objects
    assert asked["request"] == {"register": 3}
    (named,) = cli("decode", "--json", "--frames", "--hex", f"00 {NAME}").objects
    assert list(named) == [
        "schema",
        "offset",
        "protocol",
        "kind",
        "identity",
        "sent",
        "time",
        "hex",
    ]
    assert named["offset"] == 1
    assert named["identity"]["model"] == "abc"
    assert bytes.fromhex(named["hex"]) == bytes.fromhex(NAME)


def test_frames_for_people_are_one_line_each(cli, capture):
    lines = cli("decode", "--frames", str(capture)).out.splitlines()
    assert any("basic_info (reading)" in line and "voltage=13.36" in line for line in lines)
    assert len(lines) == len(cli("decode", "--frames", "--json", str(capture)).objects)


def test_what_is_skipped_is_said_on_stderr_only(cli):
    result = cli("decode", "--json", "--frames", "--hex", f"aa bb {NAME} cc")
    assert len(result.objects) == 1
    assert "offset 0 (received): 2 bytes skipped, noise: aabb" in result.err
    assert "offset 12 (received): 1 byte skipped" in result.err


def test_a_file_of_nearly_hex_is_wrong_usage_as_on_the_command_line(cli, tmp_path, monkeypatch):
    said = "DD 04 00 08 zz\n"
    file = tmp_path / "nearly.hex"
    file.write_text(said)
    cli("decode", "--hex", said).failed(2, "no hex", "'z'")
    cli("decode", str(file)).failed(2, "no hex", "'z'")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(said.encode())))
    cli("decode", "-").failed(2, "no hex", "'z'")


DAMAGED = NAME.replace("63", "64")


@pytest.mark.parametrize("more", [[], ["--json"], ["--frames", "--json"]])
def test_a_wrong_checksum_is_said_with_the_protocol_and_the_bytes(cli, more):
    result = cli("decode", "--hex", f"00 {DAMAGED}", *more)
    assert (result.code, result.out) == (1, "")
    *skips, last = result.err.splitlines()
    assert skips == [
        "bmslink: offset 0 (received): 1 byte skipped, noise: 00",
        "bmslink: offset 1 (received): 10 bytes skipped, checksum: dd050003616264fed777",
    ]
    assert "jbd" in last
    assert "1 with a wrong checksum" in last
    assert "daly" not in last
    known = cli("decode", "--protocol", "jbd", "--hex", DAMAGED, *more)
    assert known.code == 1
    assert "1 with a wrong checksum" in known.err
    assert "10 bytes skipped, checksum" in known.err


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("daly-a5", "daly-a5-r24ts"),
        ("daly-p81", "daly-p81-hkms-identity"),
        ("jbd", "jbd-fogstar-drift-628"),
        ("jbd", "jbd-daren-b"),
        ("jbd-up", "jbd-dbus-up16s015-testframes"),
        ("jk-nw", "nw-8s-15a-15.29-alarm"),
        ("jk02", "jk02-b2a25s-bit4"),
    ],
)
def test_the_protocol_that_the_bytes_look_like_most_is_named(cli, folder, name):
    """Inside a damaged frame the others find short ones of theirs that are damaged too."""
    _, pieces = open_capture(FIXTURES / folder / f"{name}.jsonl")
    damaged = bytearray(next(p.data for p in pieces if p.dir == "rx"))
    damaged[len(damaged) // 2] ^= 0x5A
    last = cli("decode", "--hex", damaged.hex()).err.splitlines()[-1]
    assert f"No valid {folder} frame" in last


def test_all_protocols_with_that_framing_are_named(cli):
    record = "55aaeb9002" + "00" * 295
    last = cli("decode", "--hex", record).err.splitlines()[-1]
    assert "jk02" in last
    assert "jk-bus" in last
    assert "jbd" not in last


def test_bytes_of_no_protocol_at_all_are_named_too(cli, tmp_path):
    result = cli("decode", "--json", "--hex", "00 01 02 03")
    assert (result.code, result.out) == (1, "")
    assert "offset 0 (received): 4 bytes skipped, noise: 00010203" in result.err
    assert "No valid frame of any known protocol" in result.err


def test_valid_frames_without_a_reading_are_no_failure(cli):
    result = cli("decode", "--json", "--hex", NAME)
    assert (result.code, result.out) == (0, "")
    assert "--frames" in result.err


@pytest.mark.parametrize(
    "argv",
    [
        ["--hex", ""],
        ["--hex", "00 01 02 03"],
        ["--hex", NAME.replace("63", "64")],
        ["--hex", NAME, "--protocol", "daly-a5"],
    ],
)
def test_a_stream_without_one_valid_frame_is_1(cli, argv):
    result = cli("decode", "--quiet", *argv)
    result.failed(1, "alid")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--hex", "dd 0z"], ["hex", "'z'"]),
        (["--hex", "ddd"], ["hex"]),
        (["--hex", NAME, "--protocol", "frob"], ["'frob'"]),
        (["--hex", "zz", "--protocol", "frob"], ["hex"]),
        ([], ["--hex"]),
        (["file", "--hex", NAME], ["one FILE"]),
        (["file", "other"], ["other"]),
    ],
)
def test_wrong_usage_is_2(cli, argv, words):
    cli("decode", *argv).failed(2, *words)


def test_a_damaged_capture_file_is_1_and_names_the_line(cli, tmp_path, capture):
    lines = capture.read_bytes().splitlines(keepends=True)
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_bytes(b"".join(lines[:2]) + lines[2].replace(b'"hex":"', b'"hex":"zz'))
    cli("decode", str(damaged)).failed(1, str(damaged), "line 3")
    damaged.write_bytes(b"".join(lines)[:-5])
    result = cli("decode", "--json", str(damaged))
    assert result.code == 1
    assert f"line {len(lines)}" in result.err
    damaged.write_bytes(b'{"format":"other"}\n')
    cli("decode", str(damaged)).failed(1, "line 1")


def test_a_missing_file_or_a_folder_is_1(cli, tmp_path):
    cli("decode", str(tmp_path / "nothing")).failed(1, str(tmp_path / "nothing"))
    cli("decode", str(tmp_path)).failed(1, str(tmp_path))


def test_a_name_that_steers_the_terminal_does_not_reach_it():
    evil = b"\x1b]0;x\x07\x9b2J"
    body = bytes([0, len(evil)]) + evil
    frame = b"\xdd\x05" + body + (-sum(body) & 0xFFFF).to_bytes(2, "big") + b"\x77"
    result = finish(start("decode", "--frames", "--hex", frame.hex()))
    assert result.code == 0
    assert "name" in result.out
    assert not {"\x1b", "\x07", "\x9b"} & set(result.out)


def test_standard_input_works_as_a_process():
    process = start("decode", "-", "--frames", "--json", stdin=-1)
    out, err = process.communicate(NAME, timeout=20)
    assert process.returncode == 0, err
    assert json.loads(out)["kind"] == "name"


@pytest.mark.parametrize(
    ("protocol", "frame", "known"),
    [
        ("daly-a5", "A5 01 90 08 02 10 00 00 75 30 03 5C 54", False),
        ("daly-a5", "A5 01 98 08 00 00 00 00 00 00 00 00 46", True),
        ("jbd", "DD 04 00 08 0D 2E 0D 2B 0D 2B 0D 2B FF 15 77", False),
    ],
)
def test_that_nothing_is_wrong_is_said_only_where_it_was_read(cli, protocol, frame, known):
    (reading,) = cli("decode", "--json", "--protocol", protocol, "--hex", frame).objects
    lists = [reading[name] for name in ("alarms", "protections", "faults")]
    assert lists == ([[]] * 3 if known else [None] * 3)
    text = cli("decode", "--protocol", protocol, "--hex", frame).out
    assert ("none" in text) is known


# ----------------------------------------------------------------------------------- progress


class Console(io.StringIO):
    """A terminal behind stderr."""

    def isatty(self) -> bool:
        return True

    @property
    def left(self) -> str:
        """What still stands on it at the end."""
        screen = pyte.Screen(200, 50)
        pyte.Stream(screen).feed(self.getvalue().replace("\n", "\r\n"))
        return "\n".join(line.rstrip() for line in screen.display).rstrip()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every piece of work takes long."""
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    monkeypatch.setattr(progress, "_PERIOD", 0.0)


@pytest.fixture
def watched(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Result, Console]]:
    """Runs a command whose stderr is a terminal."""

    def run(*argv: str) -> tuple[Result, Console]:
        console = Console()
        with monkeypatch.context() as patch:
            patch.setattr("sys.stderr", console)
            return cli(*argv), console

    return run


def shares(console: Console, doing: str) -> list[int]:
    """The progress that was shown, %."""
    return [int(n) for n in re.findall(rf"\r{doing}: (\d+)%", console.getvalue())]


@pytest.mark.usefixtures("slow")
def test_progress_of_raw_bytes_is_shown_and_gone_at_the_end(watched, tmp_path):
    file = tmp_path / "raw.bin"
    file.write_bytes(bytes.fromhex(NAME) * 2000)
    done, console = watched("decode", str(file))
    assert done.code == 0
    for doing in ("Looking for the protocol", "Decoding"):
        found = shares(console, doing)
        assert found == sorted(found)
        assert found[0] == 0
        assert found[-1] > 75
    assert console.left.startswith("bmslink: 2000 valid frame(s)")
    assert console.left.endswith("they are.")  # one sentence, on the lines that it needs
    assert "%" not in console.left


@pytest.mark.usefixtures("slow")
def test_progress_of_a_capture_is_shown_and_results_stand_alone(watched, capture):
    done, console = watched("decode", str(capture))
    assert "13.36 V" in done.out
    assert shares(console, "Decoding")[-1] == 100
    assert console.left == ""


@pytest.mark.usefixtures("slow")
def test_an_error_and_a_skip_stand_on_their_own_line(watched, tmp_path):
    file = tmp_path / "raw.bin"
    file.write_bytes(bytes(5000))
    done, console = watched("decode", str(file))
    assert done.code == 1
    assert shares(console, "Looking for the protocol")
    first, *_ = console.left.split("\n")
    assert first.startswith("bmslink: offset 0 (received): 5000 bytes skipped")
    assert "No valid frame" in console.left
    assert "%" not in console.left


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("more", [["--json"], ["--quiet"], ["--frames", "--json"]])
def test_no_progress_where_a_program_reads_or_nobody_wants_it(watched, capture, more):
    done, console = watched("decode", str(capture), *more)
    assert done.code == 0
    assert console.getvalue() == ""


@pytest.mark.usefixtures("slow")
def test_no_progress_in_a_pipe(cli, capture):
    assert cli("decode", str(capture)).err == ""


def test_no_progress_for_what_is_quick(watched, monkeypatch, capture):
    monkeypatch.setattr(progress.time, "monotonic", lambda: 100.0)
    done, console = watched("decode", str(capture))
    assert done.code == 0
    assert console.getvalue() == ""
