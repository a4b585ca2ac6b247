"""A recording that may be given away: nothing of whose it is, and everything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from bmslink import contribution
from bmslink.app_values import agrees, read_shown
from bmslink.contribution import Contribution, contribute
from bmslink.decoding import explain_pieces
from bmslink.errors import CaptureError, UsageError
from bmslink.link.capture import CaptureHeader, Piece, open_capture
from bmslink.model import Reading
from bmslink.protocols.base import Codec
from cli_support import Cli
from support import FIXTURES

SESSION = "jk02/sess-jk02-32s-pb2a16s20p-15.41-heating"


def recorded(name: str) -> tuple[CaptureHeader, list[Piece]]:
    header, pieces = open_capture(FIXTURES / f"{name}.jsonl")
    return header, list(pieces)


def whole(found: Contribution) -> bytes:
    return b"".join(piece.data for piece in found.pieces)


@pytest.mark.counted
@pytest.mark.parametrize(
    ("name", "secrets", "fields"),
    [
        (SESSION, ["0123456"], {"serial_number"}),
        ("jk-nw/nw-4s-11.21H", ["EddieBlueBMS"], {"manufacturer_id"}),
        ("jk-nw/nw-8s-15a-15.29-alarm", ["BAT_1"], {"manufacturer_id"}),
        (
            "daly-p81/daly-p81-180ah-4s-settings",
            ["221LD091400444"],
            {"daly_serial_number", "daly_battery_code"},
        ),
        ("jbd/jbd-jakeler-dsview-bike2", [], set()),
    ],
)
def test_names_and_numbers_are_gone_and_the_rest_is_as_before(
    name: str, secrets: list[str], fields: set[str]
) -> None:
    header, pieces = recorded(name)
    found = contribute(header, pieces)
    assert set(found.replaced) == fields
    for secret in secrets:
        assert secret.encode() in b"".join(piece.data for piece in pieces)
        assert secret.encode() not in whole(found)
    assert [(p.t, p.dir, len(p.data)) for p in found.pieces] == [
        (p.t, p.dir, len(p.data)) for p in pieces
    ]
    assert (found.header.target, found.header.source) == ("", "contributed")
    again = contribute(found.header, found.pieces)  # of a recording that is redacted already
    assert set(again.replaced) == fields


def test_the_same_name_has_the_same_stand_in_and_another_in_the_next_file() -> None:
    stand_ins = contribution.StandIns()
    assert stand_ins.of(b"AB12\0\0") == stand_ins.of(b"AB12\0") + b"\0"
    assert stand_ins.of(b"BA21") == contribution._swapped(stand_ins.of(b"AB12"))
    assert stand_ins.of(b"\xe4\xf6\xfc") != b"\xe4\xf6\xfc"
    assert stand_ins.of(b"my JK_B2A8S20P").endswith(b"JK_B2A8S20P")
    for harmless in (b"", b"\0\0", b"Input Userdata\0\0", b"JK_PB2A16S20P", b"----"):
        assert stand_ins.of(harmless) == harmless
    assert contribution.StandIns().of(b"AB12CD34EF") != stand_ins.of(b"AB12CD34EF")


@pytest.mark.parametrize(
    "cut",
    [
        lambda data: [data[i : i + 20] for i in range(0, len(data), 20)],
        lambda data: [b"my boat is Titanic " + data, b"\x55\xaa"],
        lambda data: [data[:100], data],  # half a frame, then the whole
    ],
)
def test_frames_in_pieces_among_noise(cut: Callable[[bytes], list[bytes]]) -> None:
    header, pieces = recorded("jk02/jk02-32s-b2a8s20p-19.10")
    torn = [Piece(dir=p.dir, hex=part.hex()) for p in pieces for part in cut(p.data) if part]
    found = contribute(header, torn, secrets=["Titanic"])
    assert b"Titanic" not in whole(found)
    assert b"0123456" not in whole(found)
    assert readings(header, found.pieces) == readings(header, torn)


def readings(header: CaptureHeader, pieces: list[Piece]) -> list[Reading]:
    return [event for event in explain_pieces(header, pieces) if isinstance(event, Reading)]


def test_what_no_layout_names_is_found_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    header, pieces = recorded("jk02/jk02-32s-b2a8s20p-19.10")
    serial = next(p.data for p in pieces if p.data[4] == 3)[86:96]
    monkeypatch.setattr(Codec, "private", lambda self, frame: frozenset())
    assert serial in whole(contribute(header, pieces))
    found = contribute(header, pieces, secrets=[serial.decode()])
    assert serial not in whole(found)
    assert readings(header, found.pieces) == readings(header, pieces)


def test_what_is_left_or_decodes_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    header, pieces = recorded("jk02/jk02-32s-b2a8s20p-19.10")
    with monkeypatch.context() as patch:
        patch.setattr(contribution, "_left_overs", lambda *_: None)
        patch.setattr(contribution, "_private_fields", lambda *_: {})
        serial = next(p.data for p in pieces if p.data[4] == 3)[86:96]
        with pytest.raises(CaptureError, match="names this board is left"):
            contribute(header, pieces, secrets=[serial.decode()])
        address = next(p.data for p in pieces if p.data[4] == 2)[6:12]
        with pytest.raises(CaptureError, match="names this board is left"):
            contribute(header, pieces, secrets=[address[::-1]])

    def spoil(*_: object) -> dict[str, None]:
        streams = _[3]
        assert isinstance(streams, dict)
        streams[False].data[-3:] = b"abc"
        return {}

    monkeypatch.setattr(contribution, "_private_fields", spoil)
    with pytest.raises(CaptureError, match="does not decode as before"):
        contribute(header, pieces)


def test_what_an_app_shows() -> None:
    assert read_shown(["voltage=53.2", "cell_voltages=3.31, 3.32", "app=JK BMS 5.10", "x"][:3]) == {
        "voltage": "53.2",
        "cell_voltages.1": "3.31",
        "cell_voltages.2": "3.32",
        "app": "JK BMS 5.10",
    }
    for wrong in ("voltage", "voltage=1e9", "serial_number=1", "voltage=", "temperatures.A b=1"):
        with pytest.raises(UsageError):
            read_shown([wrong])
    assert agrees(53.249, "53.2")
    assert agrees(53.29, "53.2")  # some apps cut
    assert not agrees(53.4, "53.2")
    assert agrees(88, "88")
    assert not agrees(None, "0")
    assert not agrees(True, "1")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


def test_the_command(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.jsonl"
    words = (
        "capture",
        "sim://jk02?cells=8&soc=60",
        "--contribute",
        "-o",
        str(path),
        "--count",
        "2",
    )
    result = cli(*words, "--shown", "soc=60", "--shown", "voltage=99", "--json")
    assert result.code == 0, result
    (told,) = (each for each in result.objects if "agreeing" in each)
    assert told["replaced"] == ["serial_number"]
    assert told["agreeing"] == {"soc": True, "voltage": False}
    header = json.loads(path.read_text().splitlines()[0])
    assert header["extra"] == {"shown": {"soc": "60", "voltage": "99"}}
    assert "target" not in header
    cli(*words).failed(2, "exists already")
    cli("capture", "sim://jk02", "--shown", "soc=1", "-o", "x").failed(2, "--contribute")
    cli(*words[:4], str(tmp_path / "other"), "--shown", "soc=full").failed(2, "soc is a number")
    assert [each.name for each in tmp_path.iterdir()] == ["mine.jsonl"]


def test_a_terminal_is_asked_what_the_app_shows(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"voltage": ["much", "26.4"], "state of charge": ["60"], "name of the app": ["JK BMS"]}

    async def answer(question: str) -> str:
        told = next((each for key, each in said.items() if key in question), [])
        return told.pop(0) if told else ""

    monkeypatch.setattr("bmslink.cli.asking.can_ask", lambda: True)
    monkeypatch.setattr("bmslink.cli.asking.answer", answer)
    path = tmp_path / "mine.jsonl"
    target = "sim://jk02?cells=8&soc=60"
    result = cli("capture", target, "--contribute", "-o", str(path), "--count", "1")
    assert result.code == 0
    assert "voltage is a number as the app shows it, not 'much'" in result.err
    assert "make goldens" in result.out
    header = msgspec.json.decode(path.read_bytes().splitlines()[0], type=CaptureHeader)
    assert header.extra["shown"] == {"voltage": "26.4", "soc": "60", "app": "JK BMS"}
