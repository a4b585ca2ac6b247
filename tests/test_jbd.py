"""JBD: framing, quirks by capture, hostile bytes, and the driver against a scripted board."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bmslink.errors import FrameError, LinkTimeout, Refused
from bmslink.link import Link
from bmslink.model import Condition
from bmslink.protocols.base import Options
from bmslink.protocols.jbd import JBD, JBDCodec, JBDFrame, JBDFramer, read_request, write_request
from bmslink.transport import OnData, OnLost, Transport
from support import virtual_run

BASIC = bytes.fromhex("dd03001b052bfd4f3e224e2000852c5600000000000017500304020bd70bdffa5877")
CELLS = bytes.fromhex("dd0400080d2e0d2b0d2b0d2bff1577")  # both: jbd-idx-gxbridge-4s


def frames(data: bytes) -> list[JBDFrame]:
    framer = JBDFramer()
    return framer.feed(data) + framer.flush()


def record(data: bytes, codec: JBDCodec | None = None, *, sent: bool = False) -> Any:
    (frame,) = frames(data)
    return (codec or JBDCodec()).explain(frame, sent=sent)


def answer(register: int, data: bytes, status: int = 0, address: int | None = None) -> bytes:
    return JBDFramer().encode(JBDFrame(mark=register, code=status, data=data, address=address))


# ------------------------------------------------------------------------------- framing


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (read_request(0x03), "dda50300fffd77"),
        (read_request(0x00), "dda50000000077"),  # a sum of zero stays zero: 0x10000 is masked
        (write_request(0x00, b"\x56\x78"), "dd5a00025678ff3077"),
        (write_request(0x01, b"\x28\x28"), "dd5a01022828ffad77"),
        (write_request(0xE1, b"\x00\x02"), "dd5ae1020002ff1b77"),
        (read_request(0x03, address=1), "dd01a50300ff5777"),
        (JBDFrame(mark=0xE1, code=0), "dde10000000077"),
        (JBDFrame(code=0x17, module=True), "ffaa170017"),
    ],
)
def test_encode(frame: JBDFrame, text: str) -> None:
    assert JBDFramer().encode(frame).hex() == text
    (again,) = frames(bytes.fromhex(text))
    assert (again.mark, again.code, again.data) == (frame.mark, frame.code, frame.data)
    assert (again.address, again.module) == (frame.address, frame.module)


def test_the_end_mark_inside_data_splits_nothing() -> None:
    data = answer(0x05, b"wwwwww")
    assert data.count(0x77) == 7
    assert [f.data for f in frames(data + CELLS)] == [b"wwwwww", CELLS[4:-3]]


def test_answers_interleaved_by_two_readers() -> None:
    """jbd-idx-interleaved-stream: an answer begins inside another; only whole ones count."""
    assert [f.raw for f in frames(BASIC[:7] + CELLS + BASIC)] == [CELLS, BASIC]


def test_a_frame_behind_a_long_false_start_is_found_when_the_line_is_silent() -> None:
    framer = JBDFramer()
    assert framer.feed(b"\xdd\x03\x00\xff" + CELLS) == []
    assert [f.raw for f in framer.flush()] == [CELLS]
    assert [s.reason for s in framer.skipped] == ["truncated"]


def test_a_wrong_checksum_is_counted_and_named() -> None:
    framer = JBDFramer()
    assert framer.feed(BASIC[:-2] + b"\x59\x77") == []
    assert framer.bad_frames == 1
    assert framer.skipped[0].reason == "checksum"


def test_module_frames_between_dd_frames() -> None:
    """The write characteristic is shared, so FF AA answers stand among DD answers."""
    found = frames(CELLS + bytes.fromhex("ffaa1701627a") + BASIC)
    assert [f.module for f in found] == [False, True, False]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
@example(b"\xff\xaa\x17\x20")
@example(b"\xdd\x01\x03\x00\xff")
def test_any_bytes(junk: bytes) -> None:
    """Nothing but our own errors, and the frame behind the junk is found."""
    framer = JBDFramer()
    codec = JBDCodec()
    found = framer.feed(junk) + framer.feed(BASIC) + framer.flush()
    assert framer.pending == 0
    for frame in found:
        try:
            codec.explain(frame)
        except FrameError:
            continue
    if b"\xdd" not in junk and b"\xff" not in junk:
        assert found[-1].raw == BASIC


@settings(max_examples=200, deadline=None)
@given(
    st.builds(
        JBDFrame,
        mark=st.integers(0, 255),
        code=st.integers(0, 255),
        data=st.binary(max_size=255),
    )
)
def test_encode_then_cut(frame: JBDFrame) -> None:
    raw = JBDFramer().encode(frame)
    (again,) = frames(raw)
    assert (again.mark, again.code, again.data) == (frame.mark, frame.code, frame.data)
    assert JBDFramer().encode(again) == raw


# ------------------------------------------------------------------------------- meaning


def test_unknown_bits_stay_visible() -> None:
    data = bytearray(BASIC[4:-3])
    data[16:18] = b"\xf0\x01"  # protection: bits 0, 12-15
    data[20] = 0x0B  # FETs and a bit without a proven meaning
    reading = JBDCodec().reading([record(answer(3, bytes(data)))])
    assert reading.protections == (Condition.CELL_OVERVOLTAGE,)
    assert reading.alarms == (Condition.SOFTWARE_LOCK,)
    assert reading.raw["protection_bits"] == [13, 14, 15]
    assert reading.raw["state_bits"] == [3]


def test_tenfold_units() -> None:
    data = bytearray(BASIC[4:-3])
    data[20] |= 0x80
    plain = JBDCodec().reading([record(BASIC)])
    tenfold = JBDCodec().reading([record(answer(3, bytes(data)))])
    assert plain.current == -6.89
    assert tenfold.current == -68.9
    assert tenfold.nominal_capacity == 2000.0


def test_balance_bits_count_from_the_lowest() -> None:
    """jbd-jakeler-tests: 0282 on an 11S pack is cells 2, 8, 10; others read it mirrored."""
    data = bytearray(BASIC[4:-3])
    data[12:14] = b"\x02\x82"
    data[14:16] = b"\x00\x01"
    data[21] = 11
    reading = JBDCodec().reading([record(answer(3, bytes(data)))])
    assert reading.balancing_cells == (2, 8, 10)
    assert reading.balancing_active is True
    assert reading.raw["balance_bits"] == [16]  # cell 17 of 11


def test_missing_probes_are_none() -> None:
    """jbd-overkill-ble-doc: the NTC table's ends stand for an open or shorted probe."""
    data = bytearray(BASIC[4:-3])
    data[23:27] = b"\x09\x7f\x10\x87"
    reading = JBDCodec().reading([record(answer(3, bytes(data)))])
    assert reading.temperatures == {"sensor_1": None, "sensor_2": None}


def test_an_open_wire_is_a_value_and_a_fault() -> None:
    """jbd-syssi-sp25s003-no-ntc: 16 cells announced, the 16th measures 0 mV."""
    data = bytearray(BASIC[4:-3])
    data[21] = 2
    cells = record(answer(4, b"\x0d\x00\x00\x00\x0d\x01"))
    reading = JBDCodec().reading([record(answer(3, bytes(data))), cells])
    assert reading.cell_voltages == (3.328, 0.0)  # the third slot is beyond the count
    assert reading.min_cell_voltage == 0.0
    assert reading.faults == (Condition.VOLTAGE_SENSE,)


@pytest.mark.parametrize("tail", range(20))
def test_the_tail_may_end_anywhere(tail: int) -> None:
    everything = bytes.fromhex("00 0003 2710 1234 0032 0001 19 abcd 0007")
    full = BASIC[4:-3] + everything + b"zz"
    said = record(answer(3, full[: 27 + tail]))
    reading = JBDCodec().reading([said])
    assert ("surplus" in reading.raw) == (tail not in (0, 1, 3, 5, 7, 9, 11, 12, 14, 16))
    assert (reading.full_capacity is None) == (tail < 5)
    if tail >= 5:
        assert reading.full_capacity == 100.0
    if tail >= 3:
        assert reading.alarms == (Condition.CELL_OVERVOLTAGE, Condition.CELL_UNDERVOLTAGE)


@pytest.mark.parametrize("data", [b"", b"\x00" * 10, BASIC[4:24], BASIC[4:-4]])
def test_short_basic_information_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        record(answer(3, data))


def test_odd_cell_bytes_are_refused() -> None:
    with pytest.raises(FrameError, match="odd"):
        record(answer(4, b"\x0d\x00\x0d"))


def test_the_oldest_boards_do_not_repeat_the_register() -> None:
    """jbd-simat-issue12-a5-echo: byte 1 is A5; only the request tells what it answers."""
    old = answer(0xA5, CELLS[4:-3])
    with pytest.raises(FrameError, match="no known request"):
        record(old)
    codec = JBDCodec()
    codec.explain(read_request(0x04), sent=True)
    assert record(old, codec).kind == "cells"


def test_a_refusal_is_not_a_value() -> None:
    """jbd-syssi-ffaa-auth-v13-1: configuration outside factory mode."""
    said = record(bytes.fromhex("dd248100ff7f77"))
    assert said.role == "refusal"
    assert said.values["register"] == 0x24
    assert "factory mode" in said.values["meaning"]


def test_settings_are_in_common_units() -> None:
    assert record(answer(0x24, b"\x0e\x42")).values == {"cell_ovp": 3.65}
    assert record(answer(0x29, b"\xf8\x30")).values == {"discharge_ocp": 20.0}
    assert record(answer(0x1A, b"\x0a\x47")).values == {"charge_utp": -10.0}
    assert record(answer(0xA0, b"\x05DGJBDxx")).values == {"jbd_manufacturer": "DGJBD"}
    assert record(answer(0x3D, b"\x02\x01")).values == {"cell_uvp_delay": 2, "cell_ovp_delay": 1}


def test_what_is_not_known_is_shown_as_bytes() -> None:
    """jbd-jbdtool-e3-reset wrote an undocumented command; such bytes are kept, not guessed at."""
    said = record(JBDFramer().encode(write_request(0x0B, b"\x18\x81")), sent=True)
    assert (said.role, said.values) == ("request", {"register": 0x0B, "data": "1881"})
    assert record(JBDFramer().encode(write_request(0x0B, b"")), sent=True).values == {
        "register": 0x0B
    }
    said = record(answer(0x0E, b"\x01\x02\x03"))
    assert (said.role, said.values) == ("other", {"register": 0x0E, "data": "010203"})


def test_an_empty_name_is_unknown() -> None:
    codec = JBDCodec()
    assert codec.identity([record(answer(5, b""), codec)]).model is None


def test_pins_are_blanked() -> None:
    secret = JBDFramer().encode(write_request(0x06, b"\x06123456"))
    (frame,) = frames(secret)
    clean = JBDCodec().scrub(frame)
    assert clean is not None
    assert b"123456" not in clean
    assert len(clean) == len(secret)
    (again,) = frames(clean)  # its checksum is right again
    assert again.code == 0x06
    assert "secret" not in record(secret, sent=True).values
    assert JBDCodec().scrub(frames(BASIC)[0]) is None


@pytest.mark.parametrize("command", [0x16, 0x18, 0x1D])
def test_the_modules_keys_are_blanked(command: int) -> None:
    """What 18 and 1D carry gives the password away to who knows the address."""
    (frame,) = frames(JBDFramer().encode(JBDFrame(code=command, data=b"abcdef", module=True)))
    clean = JBDCodec().scrub(frame)
    assert clean is not None
    assert frames(clean)[0].data == bytes(6)
    (random,) = frames(JBDFramer().encode(JBDFrame(code=0x17, data=b"b", module=True)))
    assert JBDCodec().scrub(random) is None


# ------------------------------------------------------------------------------- the driver


class Board(Transport):
    """Answers from a table; what is not in it stays unanswered."""

    def __init__(self, table: dict[bytes, list[bytes]]) -> None:
        self.table = table
        self.asked: list[bytes] = []

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        self.on_data = on_data

    async def close(self) -> None: ...

    async def write(self, data: bytes) -> None:
        self.asked.append(data)
        answers = self.table.get(data, [])
        if answers:
            asyncio.get_running_loop().call_later(0.01, self.on_data, answers[0])
        if len(answers) > 1:
            answers.pop(0)


ASK_BASIC, ASK_CELLS = bytes.fromhex("dda50300fffd77"), bytes.fromhex("dda50400fffc77")
ASK_NAME = bytes.fromhex("dda50500fffb77")


def use(table: dict[bytes, list[bytes]], what: str, **options: Any) -> tuple[Any, Board]:
    board = Board(table)

    async def main() -> Any:
        link: Link[JBDFrame] = Link(board, JBDFramer(), JBD.timing)
        driver = JBD(link, Options(**options))
        await link.open()
        try:
            return await getattr(driver, what)()
        finally:
            await link.close()

    return virtual_run(main()), board


def test_one_poll_is_03_and_04() -> None:
    reading, board = use({ASK_BASIC: [BASIC], ASK_CELLS: [CELLS]}, "read")
    assert reading.voltage == 13.23
    assert reading.cell_voltages == (3.374, 3.371, 3.371, 3.371)
    assert board.asked == [ASK_BASIC, ASK_CELLS]


def test_identity() -> None:
    name = answer(5, b"JBD-SP04S034-L4S-200A-B-U")
    identity, _ = use({ASK_BASIC: [BASIC], ASK_NAME: [name]}, "identify")
    assert identity.model == "JBD-SP04S034-L4S-200A-B-U"
    assert identity.firmware == "1.7"
    assert identity.cell_count == 4


def test_the_first_requests_only_wake_the_board() -> None:
    reading, board = use({ASK_BASIC: [b"", b"", b"\x00", BASIC], ASK_CELLS: [CELLS]}, "read")
    assert reading.soc == 80.0
    assert board.asked.count(ASK_BASIC) == 4


def test_a_late_answer_to_the_other_question_is_not_taken() -> None:
    reading, _ = use({ASK_BASIC: [CELLS + BASIC], ASK_CELLS: [BASIC, CELLS]}, "read")
    assert reading.soc == 80.0
    assert reading.max_cell_voltage == 3.374


def test_the_own_request_coming_back_is_no_answer() -> None:
    reading, _ = use(
        {ASK_BASIC: [ASK_BASIC + BASIC], ASK_CELLS: [ASK_CELLS, ASK_CELLS + CELLS]}, "read"
    )
    assert reading.soc == 80.0
    with pytest.raises(LinkTimeout) as error:
        use({ASK_BASIC: [ASK_BASIC]}, "read")
    assert error.value.heard == "other"


def test_a_refused_register_is_said_so() -> None:
    with pytest.raises(Refused, match="factory mode") as error:
        use({ASK_BASIC: [answer(3, b"", status=0x81)]}, "read")
    assert error.value.status == 0x81


def test_a_board_that_is_not_ready_is_asked_again() -> None:
    waking = bytearray(BASIC[4:-3])
    waking[21] = 0
    reading, board = use({ASK_BASIC: [answer(3, bytes(waking)), BASIC], ASK_CELLS: [CELLS]}, "read")
    assert len(reading.cell_voltages) == 4
    assert board.asked.count(ASK_BASIC) == 2


def test_a_board_that_never_gets_ready_is_read_as_it_is() -> None:
    waking = bytearray(BASIC[4:-3])
    waking[21] = 0
    reading, board = use({ASK_BASIC: [answer(3, bytes(waking))], ASK_CELLS: [CELLS]}, "read")
    assert board.asked.count(ASK_BASIC) == 3
    assert len(reading.cell_voltages) == 4  # nothing is announced, so nothing is cut


def test_an_addressed_board_answers_only_its_address() -> None:
    """jbd-stefan064-up16s010-addressed."""
    ask = JBDFramer().encode(read_request(0x03, address=2))
    data = BASIC[4:26] + bytes.fromhex("40000bba0bb3010bd7")
    basic = {n: answer(3, data, address=n) for n in (1, 2)}
    cells = answer(4, CELLS[4:-3], address=2)
    ask_cells = JBDFramer().encode(read_request(0x04, address=2))
    reading, _ = use({ask: [basic[1] + basic[2]], ask_cells: [cells]}, "read", address=2)
    assert reading.alarms == (Condition.SOC_LOW,)
    assert reading.temperatures == {"sensor_1": 30.0, "ambient": 27.1, "mosfet": 26.4}
    with pytest.raises(LinkTimeout):
        use({ask: [basic[1]]}, "read", address=2)


@pytest.mark.parametrize("said", [b"", answer(5, b"", status=0x80)], ids=["silent", "refused"])
def test_a_board_without_a_name_is_a_board(said: bytes) -> None:
    identity, _ = use({ASK_BASIC: [BASIC], ASK_NAME: [said]}, "identify")
    assert (identity.model, identity.firmware, identity.cell_count) == (None, "1.7", 4)


def test_cells_that_did_not_come_are_unknown() -> None:
    reading, _ = use({ASK_BASIC: [BASIC], ASK_CELLS: [answer(4, CELLS[4:10])]}, "read")
    assert reading.cell_voltages == (3.374, 3.371, 3.371, None)


def test_no_cells_at_all_are_asked_for_again() -> None:
    reading, board = use({ASK_BASIC: [BASIC], ASK_CELLS: [answer(4, b""), CELLS]}, "read")
    assert len(reading.cell_voltages) == 4
    assert board.asked.count(ASK_CELLS) == 2
