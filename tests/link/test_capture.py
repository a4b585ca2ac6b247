"""The capture file: round trip, damage, and secrets that never reach it."""

from __future__ import annotations

import errno
import io
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmslink.errors import BmsError, CaptureError, PortNotFound, TransportError
from bmslink.link.capture import (
    CaptureHeader,
    Piece,
    Writer,
    is_capture,
    moment,
    open_capture,
)
from bmslink.link.recorder import Recorder
from bmslink.protocols import load_driver
from bmslink.protocols.base import Options
from bmslink.protocols.jbd.driver import JBD, JBDFrame, JBDFramer, read_request, write_request
from scripted import ScriptedTransport
from support import FIXTURES

HEADER = '{"format":"bmslink-capture","version":1,"protocol":"jbd"}\n'
PIECE = '{"t":0.5,"dir":"rx","hex":"dd03"}\n'


class Clock:
    """Time for a writer, set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Kept(io.BytesIO):
    """A file whose content outlives its closing."""

    content = b""

    def close(self) -> None:
        if not self.closed:
            self.content = self.getvalue()
        super().close()


def lines(content: bytes) -> list[dict]:
    assert content.endswith(b"\n")
    return [json.loads(line) for line in content.splitlines()]


def stored(tmp_path, content: str | bytes):
    path = tmp_path / "session.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read_all(path):
    header, pieces = open_capture(path)
    return header, list(pieces)


# ------------------------------------------------------------------------------ round trip


def test_what_is_written_is_read_again(tmp_path):
    clock = Clock()
    path = tmp_path / "session.jsonl"
    header = CaptureHeader.now(protocol="jbd", target="jbd+serial:///dev/ttyUSB0?address=1")
    writer = Writer(path.open("wb"), header, clock=clock)
    writer.write("tx", b"\xdd\xa5")
    clock.now += 0.0210002
    writer.write("rx", b"\xdd\x03\x00")
    clock.now += 1
    writer.write("rx", b"")
    writer.close()
    assert (writer.pieces, writer.bytes) == (3, 5)
    again, pieces = read_all(path)
    assert again == header
    assert pieces == [
        Piece(t=0.0, dir="tx", hex="dda5"),
        Piece(t=0.021, dir="rx", hex="dd0300"),
        Piece(t=1.021, dir="rx", hex=""),
    ]
    assert [p.sent for p in pieces] == [True, False, False]
    assert is_capture(path.read_bytes())
    assert moment(again, pieces[2]) is not None


def test_every_line_is_in_the_file_before_the_next_piece_comes(tmp_path):
    path = tmp_path / "session.jsonl"
    header = CaptureHeader.now(protocol="jbd", target="")
    writer = Writer(path.open("wb"), header)
    for n in range(3):
        writer.write("rx", bytes([n]))
        assert [line.get("hex") for line in lines(path.read_bytes())[1:]] == [
            f"{i:02x}" for i in range(n + 1)
        ]
    writer.close()


@given(st.lists(st.tuples(st.sampled_from(["rx", "tx"]), st.binary(max_size=20))))
def test_pieces_keep_their_order_and_their_bytes(parts):
    file = Kept()
    writer = Writer(file, CaptureHeader.now(protocol="", target=""))
    for direction, data in parts:
        writer.write(direction, data)
    writer.close()
    assert [(p["dir"], bytes.fromhex(p["hex"])) for p in lines(file.content)[1:]] == parts


def test_chunks_cut_a_piece_and_the_rest_comes_last():
    piece = Piece(dir="rx", hex="0102030405", chunks=[2, 1])
    assert list(piece.parts()) == [b"\x01\x02", b"\x03", b"\x04\x05"]
    assert list(Piece(dir="rx", hex="0102").parts()) == [b"\x01\x02"]


def test_a_piece_has_a_moment_only_where_the_file_says_both():
    started = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    header = CaptureHeader(format="bmslink-capture", version=1, started=started)
    piece = Piece(t=60.5, dir="rx", hex="")
    assert moment(header, piece) == datetime(2026, 1, 2, 3, 5, 5, 500000, tzinfo=UTC)
    assert moment(header, Piece(dir="rx", hex="")) is None
    assert moment(CaptureHeader(format="bmslink-capture", version=1), piece) is None


def test_blank_lines_between_pieces_are_no_damage(tmp_path):
    _, pieces = read_all(stored(tmp_path, f"{HEADER}\n{PIECE}\n \n{PIECE}"))
    assert len(pieces) == 2


# ---------------------------------------------------------------------------------- damage


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("", 1, "no capture header"),
        ("\n\n", 1, "no capture header"),
        (b"\x00\xff\xdd\x03\n", 1, "no capture header"),
        (b"\xdd\xa5\x03\x00\xff\xfd\x77", 1, "cut off"),
        ("{}\n", 1, "no capture header"),
        ("[]\n", 1, "no capture header"),
        ('"bmslink-capture"\n', 1, "no capture header"),
        ("hello\n", 1, "no capture header"),
        (PIECE, 1, "no capture header"),
        (HEADER.replace("bmslink-capture", "other"), 1, "not a bmslink-capture file"),
        (HEADER.replace("1", "2"), 1, "version 1"),
        (HEADER.replace('"jbd"', "7"), 1, "no capture header"),
        (HEADER.replace("protocol", "protokoll"), 1, "protokoll"),
        (HEADER.replace('"protocol":"jbd"', '"started":"soon"'), 1, "no capture header"),
        (HEADER.replace('"protocol":"jbd"', '"started":"2026-01-02T03:04:05"'), 1, "timezone"),
        (HEADER.replace('"protocol":"jbd"', '"started":"0001-01-01T00:00:00Z"'), 1, "year 1"),
        (HEADER.replace('"jbd"', '"jbd","extra":' + "[" * 99999), 1, "no capture header"),
        (HEADER[:-1], 1, "cut off"),
        (HEADER[:20], 1, "cut off"),
        (HEADER + PIECE[:-1], 2, "cut off"),
        (HEADER + PIECE + PIECE[:12], 3, "cut off"),
        (HEADER + PIECE + "{\n", 3, "truncated"),
        (HEADER + PIECE + "what?\n" + PIECE, 3, "malformed"),
        (HEADER + PIECE.encode().decode() + "\x00\n", 3, "malformed"),
        (HEADER.encode() + b'{"dir":"rx","hex":"","note":"\xff"}\n', 2, "no JSON text in UTF-8"),
        (HEADER + PIECE.replace("hex", "hax"), 2, "hax"),
        (HEADER + PIECE.replace('"t"', '"T"'), 2, "T"),
        (HEADER + PIECE.replace("dd03", "dd0"), 2, "`hex` holds something that is no hex.$"),
        (HEADER + PIECE.replace("dd03", "dg03"), 2, "`hex` holds something that is no hex.$"),
        (HEADER + PIECE.replace("dd03", "  "), 2, "`hex` is blank"),
        (HEADER + PIECE.replace("rx", "up"), 2, "up"),
        (HEADER + PIECE.replace("0.5", '"0.5"'), 2, "float"),
        (HEADER + PIECE.replace("0.5", "1e99"), 2, "no time"),
        (HEADER + PIECE.replace("0.5", "-1e10"), 2, "no time"),
        (HEADER + PIECE.replace("0.5", "NaN"), 2, "malformed"),
        (HEADER + '{"t":1,"hex":"dd"}\n', 2, "dir"),
        (HEADER + '{"t":1,"dir":"rx"}\n', 2, "hex"),
        (HEADER + PIECE + PIECE.replace("0.5", "0.4"), 3, "backwards"),
        (HEADER + PIECE + '{"dir":"rx","hex":""}\n' + PIECE.replace("0.5", "0"), 4, "backwards"),
        (HEADER + '{"dir":"rx","hex":"dd03","chunks":[2,1]}\n', 2, "chunks"),
        (HEADER + '{"dir":"rx","hex":"dd03","chunks":[0]}\n', 2, "chunks"),
        (HEADER + '{"dir":"rx","hex":"dd03","chunks":[-1,3]}\n', 2, "chunks"),
        (HEADER + '{"dir":"rx","hex":"","extra":' + '{"a":' * 99999 + "\n", 2, "."),
        (HEADER + PIECE + '{"dir":"rx","hex":"' + "00" * (1 << 21) + '"}\n', 3, "too long"),
        (HEADER + PIECE + "\n" + HEADER, 4, "format"),
    ],
    ids=lambda value: None if isinstance(value, int) else str(value)[-40:].strip()[:30],
)
def test_damage_is_reported_with_its_line(tmp_path, content, line, words):
    path = stored(tmp_path, content)
    with pytest.raises(CaptureError, match=rf"session\.jsonl, line {line}: .*{words}") as caught:
        read_all(path)
    assert (caught.value.path, caught.value.line) == (str(path), line)
    assert len(str(caught.value)) < 400


def test_a_hostile_key_is_not_repeated_as_it_is(tmp_path):
    key = "\\u001b[2J" + "k" * 100_000
    with pytest.raises(CaptureError) as caught:
        read_all(stored(tmp_path, HEADER + f'{{"{key}":1}}\n'))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_the_pieces_before_the_damage_are_still_given(tmp_path):
    _, pieces = open_capture(stored(tmp_path, HEADER + PIECE + PIECE + "?\n"))
    assert next(pieces).hex == next(pieces).hex == "dd03"
    with pytest.raises(CaptureError):
        next(pieces)


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path):
    for name in ("missing.jsonl", "a\0b", "x" * 300):
        with pytest.raises(TransportError) as caught:
            open_capture(tmp_path / name)
        assert (type(caught.value) is PortNotFound) == (len(name) < 300)
    with pytest.raises(TransportError, match="cannot be read: Is a directory"):
        open_capture(tmp_path)


GOOD = (HEADER + PIECE * 3).encode()


@given(st.data())
def test_any_change_to_a_file_gives_pieces_or_our_error(tmp_path_factory, data):
    content = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        until = data.draw(st.integers(at, min(len(content), at + 30)))
        content[at:until] = data.draw(st.binary(max_size=8))
    path = tmp_path_factory.getbasetemp() / "changed.jsonl"
    path.write_bytes(content)
    try:
        header, pieces = read_all(path)
    except BmsError as error:
        assert isinstance(error, CaptureError)
        assert 1 <= error.line <= content.count(b"\n") + 1
    else:
        assert header.format == "bmslink-capture"
        assert all(isinstance(p.data, bytes) for p in pieces)


# --------------------------------------------------------------------------------- secrets


def scrubbing(clock=None) -> tuple[Kept, Writer]:
    file = Kept()
    writer = Writer(
        file,
        CaptureHeader.now(protocol="jbd", target=""),
        framer=JBD.make_framer,
        scrub=JBD.make_codec(Options()).scrub,
        clock=clock or Clock(),
    )
    return file, writer


def wire(frame: JBDFrame) -> bytes:
    return JBD.make_framer().encode(frame)


PIN = b"\x06" + b"271828"
PIN_WRITE = wire(write_request(0x06, PIN))
BLANKED = wire(write_request(0x06, b"\x06" + bytes(6)))
READ_03 = wire(read_request(0x03))
ANSWER_04 = wire(JBDFrame(mark=0x04, data=bytes.fromhex("0cf80cf9")))


def streams(content: bytes) -> dict[str, bytes]:
    pieces = lines(content)[1:]
    return {
        side: b"".join(bytes.fromhex(p["hex"]) for p in pieces if p["dir"] == side)
        for side in ("rx", "tx")
    }


@given(st.data())
def test_a_pin_never_reaches_the_file_and_every_other_byte_does(data):
    """The write of a PIN, and its echo, cut anywhere and mixed with each other's pieces."""
    before, after = READ_03 + READ_03, wire(read_request(0x04))
    left = {
        "tx": before + PIN_WRITE + after,
        "rx": b"\x00\xdd" + PIN_WRITE + ANSWER_04,
    }
    clock = Clock()
    file, writer = scrubbing(clock)
    fed = []
    while left["tx"] or left["rx"]:
        side = data.draw(st.sampled_from([s for s in ("tx", "rx") if left[s]]))
        count = data.draw(st.integers(1, len(left[side])))
        fed.append((side, count))
        clock.now += 0.001
        writer.write(side, left[side][:count])
        assert b"271828".hex().encode() not in file.getvalue()
        left[side] = left[side][count:]
    writer.close()
    assert streams(file.content) == {
        "tx": before + BLANKED + after,
        "rx": b"\x00\xdd" + BLANKED + ANSWER_04,
    }
    pieces = lines(file.content)[1:]
    assert [(p["dir"], len(p["hex"]) // 2) for p in pieces] == fed
    assert [p["t"] for p in pieces] == [pytest.approx(0.001 * i) for i in range(1, len(fed) + 1)]
    assert all(("note" in p) <= (p.get("note") == "password blanked") for p in pieces)


@pytest.mark.parametrize("cut", range(1, len(PIN_WRITE)))
def test_a_recording_that_ends_inside_a_pin_holds_nothing_of_it(cut):
    file, writer = scrubbing()
    writer.write("tx", READ_03 + PIN_WRITE[:cut])
    writer.close()
    assert streams(file.content)["tx"] == READ_03 + bytes(cut)
    assert lines(file.content)[1]["note"] == "half a request blanked"


@pytest.mark.parametrize(
    "frame",
    [
        write_request(0x07, bytes.fromhex("0631") + b"41592"),
        write_request(0x09, b"\x06" + b"161803"),
        JBDFrame(code=0x16, data=b"141421", module=True),
        JBDFrame(code=0x1D, data=b"\x06" + b"141421", module=True),
    ],
)
def test_other_frames_with_secrets_are_blanked_too(frame):
    file, writer = scrubbing()
    writer.write("tx", wire(frame))
    writer.close()
    kept = streams(file.content)["tx"]
    assert len(kept) == len(wire(frame))
    assert frame.data[1:] not in kept
    assert JBD.make_framer().feed(kept)  # still a valid frame


def test_pieces_wait_for_the_end_of_a_frame_and_no_longer():
    clock = Clock()
    file, writer = scrubbing(clock)
    writer.write("rx", ANSWER_04[:5])
    assert (writer.pieces, len(lines(file.getvalue()))) == (0, 1)
    writer.write("rx", ANSWER_04[5:])
    assert (writer.pieces, writer.bytes) == (2, len(ANSWER_04))
    writer.write("rx", ANSWER_04[:5])  # the rest of this one was lost on the way
    for _ in range(50):
        clock.now += 0.5
        writer.write("tx", READ_03)
    assert writer.pieces >= 2 + 1 + 49
    writer.close()
    assert streams(file.content)["rx"] == ANSWER_04 + ANSWER_04[:5]


# ------------------------------------------------------------------------------ the recorder


class Loopback(ScriptedTransport):
    """Answers each write with the same bytes, in two pieces."""

    streaming_clock = 7.0

    def heard(self, data):
        self.deliver(data[:1])
        self.deliver(data[1:])


async def test_a_recorder_passes_everything_on_and_writes_it_down():
    file, inner, got, lost = Kept(), Loopback(), [], []
    recorder = Recorder(inner, Writer(file, CaptureHeader.now(protocol="", target="")))
    assert recorder.streaming_clock == 7.0
    await recorder.open(got.append, lost.append)
    await recorder.write(b"abc")
    inner.on_lost(None)
    await recorder.close()
    assert (got, lost, inner.on_data) == ([b"a", b"bc"], [None], None)
    assert [(p["dir"], p["hex"]) for p in lines(file.getvalue())[1:]] == [
        ("tx", "616263"),
        ("rx", "61"),
        ("rx", "6263"),
    ]


class FullDisk(Kept):
    """Takes the header and one line."""

    room = 2

    def write(self, data) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= 1
        return super().write(data)


async def test_a_full_disk_ends_the_recording_loudly():
    inner, got, lost = Loopback(), [], []
    writer = Writer(FullDisk(), CaptureHeader.now(protocol="", target=""))
    recorder = Recorder(inner, writer)
    await recorder.open(got.append, lost.append)
    await recorder.write(b"abc")  # the request is written, its answer no more
    assert [str(e) for e in lost] == ["The recording cannot be written: No space left on device."]
    assert got == []
    with pytest.raises(TransportError, match="No space left"):
        await recorder.write(b"abc")
    writer.close()


async def test_what_cannot_be_recorded_is_sent_before_that_is_said():
    """A frame that switches off waits for no disk."""

    inner, lost = Loopback(), []
    sent = []

    async def write(data):
        sent.append(data)

    inner.write = write
    file = FullDisk()
    file.room = 1
    recorder = Recorder(inner, Writer(file, CaptureHeader.now(protocol="", target="")))
    await recorder.open(lost.append, lost.append)
    with pytest.raises(TransportError, match="recording cannot be written"):
        await recorder.write(b"off")
    assert sent == [b"off"]


# ------------------------------------------------------------- passwords in damaged answers

INFO = next(
    piece.data
    for piece in open_capture(FIXTURES / "jk02" / "jk02-32s-pb2a16s20p-19.27.jsonl")[1]
    if piece.kind == "device_info"
)
FULL = next(
    piece.data
    for piece in open_capture(FIXTURES / "jk-nw" / "nw-14s-h6x-s6.1.3S.jsonl")[1]
    if piece.kind == "read_all_response"
)


def recorded(protocol: str, pieces: list[bytes]) -> bytes:
    """What a recording keeps of pieces that came from the device."""
    driver = load_driver(protocol)
    codec = driver.make_codec(Options())
    kept = Kept()
    writer = Writer(
        kept,
        CaptureHeader.now(protocol=protocol, target=""),
        framer=driver.make_framer,
        scrub=codec.scrub,
        scrub_noise=codec.scrub_noise,
    )
    for piece in pieces:
        writer.write("rx", piece)
    writer.close()
    lines = kept.content.splitlines()[1:]
    return b"".join(bytes.fromhex(json.loads(line)["hex"]) for line in lines)


def damaged(record: bytes) -> list[tuple[str, bytes]]:
    flipped = bytearray(record)
    flipped[30] ^= 1
    return [
        ("whole", record),
        ("flipped bit", bytes(flipped)),
        ("cut off", record[:250]),
        ("spliced", record[:55] + b"AT\r\n" + record[55:]),
        ("inside another", record[:150] + record),
    ]


@pytest.mark.parametrize(("what", "stream"), damaged(INFO), ids=[n for n, _ in damaged(INFO)])
@pytest.mark.parametrize("size", [1, 20, 128, 1000])
def test_no_damage_lets_a_jk_password_into_a_recording(what: str, stream: bytes, size: int) -> None:
    """Splices are normal: `jk02-32s-b2a8s30p-19.04-noise`."""
    assert b"1234\0" in stream
    assert b"123456\0" in stream
    kept = recorded("jk02", [stream[i : i + size] for i in range(0, len(stream), size)])
    assert len(kept) == len(stream)
    assert b"1234\0" not in kept.replace(b"8901234\0", b"")
    assert b"123456\0" not in kept
    assert b"JK-PB2A16S20P" in kept


@pytest.mark.counted
@pytest.mark.parametrize("cut", [0, 40, 250, 280])
def test_no_damage_lets_a_jk_nw_password_into_a_recording(cut: int) -> None:
    tag = FULL.index(b"\xb2" + bytes(10))
    secret = bytearray(FULL)
    secret[tag + 1 : tag + 11] = b"4711471147"
    damaged = bytes(secret[:cut]) + b"\x00" + bytes(secret[cut:])  # a byte too many
    assert b"4711" not in recorded("jk-nw", [damaged])
    assert b"4711" not in recorded("jk-nw", [bytes(secret)])  # its sum is wrong


def test_a_cut_off_pin_write_is_blanked_in_what_came_back() -> None:
    echo = JBDFramer().encode(write_request(0x06, b"\x06123456"))
    for end in range(8, len(echo)):
        assert b"12" not in recorded("jbd", [echo[:end]])
    assert b"12" not in recorded("jbd", [echo[:8] + b"\x00" + echo[8:]])
