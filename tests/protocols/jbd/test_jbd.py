"""JBD: framing, quirks by capture, hostile bytes, and the driver against a scripted board."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import bmslink
from bmslink.errors import FrameError, LinkTimeout, Refused, SettingError
from bmslink.link.link import Link
from bmslink.model import Command, Condition, Reading, Switch
from bmslink.protocols.base import Options
from bmslink.protocols.common.settings_map import Slot
from bmslink.protocols.jbd.driver import (
    JBD,
    JBDCodec,
    JBDFrame,
    JBDFramer,
    read_request,
    write_request,
)
from bmslink.protocols.jbd.map import CELL_COUNT
from bmslink.protocols.jbd.settings import REGISTERS
from facts import captured
from scripted import ScriptedTransport
from support import virtual_run

BASIC = bytes.fromhex("dd03001b052bfd4f3e224e2000852c5600000000000017500304020bd70bdffa5877")
CELLS = bytes.fromhex("dd0400080d2e0d2b0d2b0d2bff1577")  # both: jbd-idx-gxbridge-4s


def frames(data: bytes) -> list[JBDFrame]:
    framer = JBDFramer()
    return framer.feed(data) + framer.flush()


def record(data: bytes, codec: JBDCodec | None = None, *, sent: bool = False) -> Any:
    (frame,) = frames(data)
    return (codec or JBDCodec()).decode(frame, sent=sent)


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
            codec.decode(frame)
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


FOGSTAR = captured("jbd", "jbd-fogstar-drift-628")
DAREN = captured("jbd", "jbd-daren-b")


def said_by(data: bytes) -> Reading:
    return JBDCodec().reading([record(answer(3, data))])


def test_a_large_pack_counts_tenfold() -> None:
    """jbd-fogstar-drift-628: the flag stands behind the NTCs, not in the state byte."""
    tenfold = JBDCodec().reading([record(FOGSTAR)])
    assert (tenfold.current, tenfold.remaining_capacity) == (-5.8, 471.9)
    assert (tenfold.nominal_capacity, tenfold.full_capacity) == (628.0, 656.9)
    assert (tenfold.raw["tenfold"], tenfold.raw["humidity"]) == (True, 8)
    data = bytearray(FOGSTAR[4:-3])
    data[29] &= 0x7F
    data[20] |= 0x80
    plain = said_by(bytes(data))
    assert (plain.current, plain.remaining_capacity) == (-0.58, 47.19)
    assert (plain.nominal_capacity, plain.full_capacity) == (62.8, 65.69)
    assert plain.raw["state_bits"] == [7]


def test_the_flag_in_a_tail_nobody_knows_leaves_the_scale_open() -> None:
    data = FOGSTAR[4:-4]  # a tail of eight bytes
    found = said_by(data)
    assert (found.current, found.remaining_capacity, found.nominal_capacity) == (None, None, None)
    assert found.raw["unknown_tail"] == data[29:].hex()


def test_a_daren_pack_says_its_amounts_in_the_tail() -> None:
    said = record(DAREN)
    found = JBDCodec().reading([said])
    assert JBDCodec().identity([said]).variant == "daren"
    assert JBDCodec().identity([said]).firmware is None  # a version byte of 0 is none
    assert (found.current, found.remaining_capacity, found.nominal_capacity) == (-13.2, 142.4, 300)
    assert (found.soh, found.full_capacity, found.cycles) == (99.0, None, 301)
    assert (found.temperatures["mosfet"], found.temperatures["ambient"]) == (25.6, 27.9)
    assert found.conditions_known
    assert found.alarms == found.protections == found.faults == ()
    assert "humidity" not in found.raw


def test_what_a_daren_pack_leaves_out_is_unknown() -> None:
    """FF in a basic field says: look in the tail; where the tail has no such field, or is the
    short one, nobody says it."""
    data = bytearray(DAREN[4:-3])
    data[0:2] = data[8:10] = b"\xff\xff"
    data[19] = 0xFF
    found = said_by(bytes(data[:39]))
    assert (found.voltage, found.cycles, found.soc) == (None, None, None)
    assert (found.current, found.remaining_capacity, found.nominal_capacity) == (None, None, None)


@pytest.mark.parametrize(
    ("at", "new"),
    [
        (10, b"\x01"),  # a production date
        (18, b"\x20"),  # a version
        (31, b"\x08\x00"),  # a temperature below -40 °C
        (33, b"\x11\x00"),  # one above 125 °C
        (35, b"\x00"),  # a state of health of 0 %
        (35, b"\x65"),  # 101 %
    ],
)
def test_nothing_else_is_taken_for_a_daren_pack(at: int, new: bytes) -> None:
    data = bytearray(DAREN[4:-3])
    data[at : at + len(new)] = new
    said = record(answer(3, bytes(data)))
    assert JBDCodec().identity([said]).variant == "classic"
    short = said_by(bytes(data[:39]))  # no classic tail has eight bytes
    assert not short.conditions_known
    assert "humidity" not in short.raw
    assert short.alarms == short.protections == short.faults == ()


def test_bytes_of_a_daren_pack_without_a_meaning_may_be_alarms() -> None:
    data = bytearray(DAREN[4:-3])
    data[37] = 1
    found = said_by(bytes(data))
    assert not found.conditions_known
    assert found.raw["status"] == "000100"


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
def test_a_tail_of_an_unknown_length_is_not_interpreted(tail: int) -> None:
    everything = bytes.fromhex("02 0003 2710 1234 0032 0001 19 abcd 0007")
    full = BASIC[4:-3] + everything + b"zzz"
    reading = said_by(full[: 27 + tail])
    known = tail in (0, 9, 16)
    assert reading.conditions_known == known
    assert reading.raw.get("unknown_tail") == (None if known else full[27 : 27 + tail].hex())
    assert reading.raw.get("humidity") == (2 if known and tail else None)
    assert reading.full_capacity == (100.0 if known and tail else None)
    assert reading.alarms == (
        (Condition.CELL_OVERVOLTAGE, Condition.CELL_UNDERVOLTAGE) if known and tail else ()
    )
    assert (reading.to_dict()["alarms"] is None) == (not known)


def test_a_humidity_that_cannot_be_is_no_known_tail() -> None:
    data = BASIC[4:-3] + bytes.fromhex("65 0003 2710 1234 0032")
    assert not said_by(data).conditions_known


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
    codec.decode(read_request(0x04), sent=True)
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


class Board(ScriptedTransport):
    """Answers from a table; what is not in it stays unanswered."""

    def __init__(self, table: dict[bytes, list[bytes]]) -> None:
        super().__init__()
        self.table = table
        self.asked: list[bytes] = []

    def heard(self, data: bytes) -> None:
        self.asked.append(data)
        answers = self.table.get(data, [])
        if answers:
            self.say(answers[0], after=0.01)
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


@pytest.mark.parametrize("what", ["settings", "session", "write", "switch", "unseen"])
def test_a_daren_pack_is_never_written_to(what: str) -> None:
    """Of these packs nothing but the live values is known: not even factory mode is entered."""
    board = Board({ASK_BASIC: [DAREN]})

    async def main() -> None:
        link: Link[JBDFrame] = Link(board, JBDFramer(), JBD.timing)
        driver = JBD(link, Options())
        await link.open()
        if what == "switch":  # nobody has asked what it is
            with pytest.raises(SettingError, match="Daren"):
                await driver.switches.command(Command(Switch.DISCHARGE, False))
            return
        identity = await driver.identify()
        assert driver.settings.likely_map(identity) is None
        assert not driver.switches.can(Switch.DISCHARGE).supported
        if what == "unseen":  # by this driver
            driver = JBD(link, Options())
        with pytest.raises(SettingError, match="Daren"):
            if what == "session":
                async with driver.settings.session(writing=False):
                    raise AssertionError
            elif what == "write":
                driver.settings.write_command(
                    Slot(address=0x24, layout=REGISTERS[0x24]), b"\x0e\x10"
                )
            else:
                await driver.settings.find_map(identity)

    virtual_run(main())
    assert all(sent[1] == 0xA5 for sent in board.asked)


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


@pytest.mark.parametrize("status", [0x80, 0x81])
async def test_a_register_that_is_refused_is_not_there_unless_the_board_is_closed(
    status: int,
) -> None:
    async with bmslink.connect("sim://jbd").board as device:
        driver = device.driver

        async def refused(register: int, *_: Any) -> JBDFrame:
            return JBDFrame(mark=register, code=status)

        driver._answer = refused
        slots = [Slot(address=CELL_COUNT, layout=REGISTERS[CELL_COUNT])]
        if status == 0x80:
            assert await driver.settings.fetch(slots) == {}
            return
        with pytest.raises(Refused, match="refuses register 2F"):
            await driver.settings.fetch(slots)
