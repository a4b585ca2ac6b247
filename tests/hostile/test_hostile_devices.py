"""The hostile devices by themselves: they speak as the captures do; each quirk does its part."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import serial
from bmstools.jbd.jbd import JBD

from hostile.board import Board, crc16
from hostile.daly_d2 import DalyD2Board
from hostile.jbd import JBDBoard
from hostile.jk_modbus import JKModbusBoard
from hostile.line import BOARDS, attach_pty, serve
from hostile.quirks import QUIRKS, parse
from support import FIXTURES

ENTER = bytes.fromhex("DD5A00025678FF3077")
KEEP = bytes.fromhex("DD5A01022828FFAD77")
PLAIN = bytes.fromhex("DD5A01020000FFFD77")
OVP_3600 = bytes.fromhex("DD5A24020E10FFBC77")
READ_OVP = bytes.fromhex("DDA52400FFDC77")


def d2(register: int, *words: int, function: int = 3) -> bytes:
    body = bytes((0xD2, function)) + b"".join(w.to_bytes(2, "big") for w in (register, *words))
    return body + crc16(body)


def jk_write(register: int, number: int) -> bytes:
    body = bytes((1, 0x10)) + register.to_bytes(2, "big") + b"\x00\x02\x04"
    body += number.to_bytes(4, "big")
    return body + crc16(body)


def jk_read(register: int, count: int = 2) -> bytes:
    body = bytes((1, 3)) + register.to_bytes(2, "big") + count.to_bytes(2, "big")
    return body + crc16(body)


def talk(board: Board, *requests: bytes, pause: float = 0.5, start: float = 0.0) -> list[bytes]:
    """What each request is answered, glued together."""
    return [
        b"".join(data for _, data in board.receive(request, start + pause * number))
        for number, request in enumerate(requests)
    ]


def sent(path: str) -> list[bytes]:
    lines = (FIXTURES / path).read_text().splitlines()[1:]
    records: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [bytes.fromhex(record["hex"]) for record in records if record["dir"] == "tx"]


# ------------------------------------------------------------------------- as the captures speak


def test_jbd_answers_what_the_vendors_app_sent() -> None:
    board = JBDBoard()
    answers = talk(board, *sent("jbd/jbd-syssi-sp04s034-btsnoop-config-read.jsonl"))
    assert sum(bool(answer) for answer in answers) > 50
    for answer in filter(None, answers):
        assert answer[0] == 0xDD
        assert answer[-1] == 0x77
        covered = answer[2:-3]
        assert int.from_bytes(answer[-3:-1], "big") == -sum(covered) & 0xFFFF
    assert not board.log


def test_d2_answers_the_questions_that_were_recorded() -> None:
    (answer,) = talk(DalyD2Board(), bytes.fromhex("d2030000003ed7b9"))
    assert answer[:3] == bytes((0xD2, 3, 0x7C))
    settings = sent("daly-d2/daly-d2-105ah-settings.jsonl")
    answers = talk(DalyD2Board(), *settings)
    assert [len(answer) for answer in answers] == [5 + 2 * 0x29, 5 + 2 * 0x20, 5 + 2 * 3]
    assert all(crc16(answer) == b"\0\0" for answer in answers if answer)
    assert b"SH39F003" in answers[1]


def test_jk_answers_the_identity_that_was_recorded() -> None:
    capture = "jk-modbus/jk-modbus-info-head-15.41.jsonl"
    (request,) = sent(capture)
    (answer,) = talk(JKModbusBoard(), request)
    recorded = json.loads((FIXTURES / capture).read_text().splitlines()[2])["hex"]
    assert answer[3:-2].hex() == recorded


def test_a_jbd_board_is_closed_outside_factory_mode() -> None:
    board = JBDBoard()
    answers = talk(board, READ_OVP, OVP_3600, ENTER, OVP_3600, READ_OVP, KEEP, READ_OVP)
    assert [answer[2] for answer in answers] == [0x81, 0x81, 0, 0, 0, 0, 0x81]
    assert board.snapshot()[0x24] == b"\x0e\x10"
    assert [(w.register, w.old, w.new, w.by) for w in board.log] == [
        (0x24, b"\x0e\x42", b"\x0e\x10", "asked")
    ]


def test_jk_refuses_what_crosses_its_neighbours() -> None:
    board = JKModbusBoard()
    (answer,) = talk(board, jk_write(0x100C, 3400))
    assert answer[1:3] == b"\x90\x02"
    assert not board.log


# ---------------------------------------------------------------------------------- the quirks


def read_ovp(board: Board, at: float) -> int:
    """Cell over-voltage as the D2 board shows it."""
    ((_, data),) = board.receive(d2(0x8C, 1), at)
    return int.from_bytes(data[3:5], "big")


WRITE_D2 = d2(0x8C, 3590, function=6)


def test_late_by_one() -> None:
    board = DalyD2Board(parse("late-by-one=after:1"))
    answers = talk(board, d2(0x8C, 1), d2(0x8B, 1), d2(0x8E, 1), d2(0x8F, 1))
    shown = [int.from_bytes(answer[3:5], "big") for answer in answers]
    assert shown == [3600, 0, 3500, 2500]
    assert all(crc16(answer) == b"\0\0" for answer in answers if answer)


def test_late_by_a_time() -> None:
    board = DalyD2Board(parse("late=seconds:0.7,first:2,last:2"))
    delays = [board.receive(d2(0x8C, 1), at)[0][0] for at in (0, 1, 2)]
    assert [delay > 0.7 for delay in delays] == [False, True, False]


def test_delayed_view() -> None:
    board = DalyD2Board(parse("delayed-view=low:4,high:6"))
    assert talk(board, WRITE_D2) == [WRITE_D2]
    assert board.snapshot()[0x8C] == (3590).to_bytes(2, "big")
    assert [read_ovp(board, at) for at in (1, 3.9, 6.1)] == [3600, 3600, 3590]


@pytest.mark.parametrize(
    ("quirk", "after_1", "after_9"),
    [
        ("forgets=seconds:8", 3590, 3600),
        ("acks-and-ignores=register:cell_ovp", 3600, 3600),
        ("acks-and-ignores=register:cell_uvp", 3590, 3590),
        ("rounds=step:16", 3584, 3584),
        ("clamps", 3595, 3595),
        ("refuses=register:cell_ovp", 3600, 3600),
        ("refuses=nth:1", 3600, 3600),
        ("loses-link=applied:no,hangs_up:no,seconds:0.5", 3600, 3600),
        ("loses-link=applied:yes,hangs_up:no,seconds:0.5", 3590, 3590),
        ("restarts=boot:0.2", 3600, 3600),
        ("swaps=hangs_up:no,seconds:0.5", 3600, 3600),
    ],
)
def test_what_is_stored(quirk: str, after_1: int, after_9: int) -> None:
    board = DalyD2Board(parse(quirk))
    talk(board, WRITE_D2)
    assert [read_ovp(board, at) for at in (1, 9)] == [after_1, after_9]


def test_a_neighbour_is_written_too() -> None:
    for board in (JBDBoard, DalyD2Board, JKModbusBoard):
        struck = board(parse("neighbour=register:cell_count,add:-1"))
        writes = {"jbd": [ENTER, OVP_3600], "daly-d2": [WRITE_D2]}
        talk(struck, *writes.get(struck.name, [jk_write(0x100C, 3610)]))
        struck.pass_time(9)
        changed = {write.register for write in struck.log if write.by == "board"}
        assert struck.register("cell_count") in changed


def test_a_foreign_master() -> None:
    board = DalyD2Board(parse("foreign-master=register:cell_uvp,add:2,seconds:0.2"))
    talk(board, WRITE_D2)
    board.pass_time(1)
    assert [write.by for write in board.log] == ["asked", "foreign"]
    assert board.snapshot()[0x8E] == (2502).to_bytes(2, "big")


def test_a_lost_link_comes_back() -> None:
    board = DalyD2Board(parse("loses-link=seconds:3"))
    assert board.connect(0)
    assert talk(board, WRITE_D2) == [b""]
    assert board.hung_up
    assert [board.connect(at) for at in (1, 2.9, 3.1)] == [False, False, True]
    assert read_ovp(board, 3.2) == 3590


def test_another_board_behind_the_port() -> None:
    board = JKModbusBoard(parse("swaps=different:yes"))
    talk(board, jk_write(0x100C, 3610))
    assert board.connect(5)
    (answer,) = talk(board, jk_read(0x1400, 8), start=5)
    assert answer[3:16] == b"JK_PB2A16S20X"
    assert board.snapshot(0)[0x100E] == (3610).to_bytes(2, "big")
    assert board.snapshot(1)[0x100E] == (3650).to_bytes(2, "big")


def test_refusals_and_switches_that_do_not_switch() -> None:
    assert talk(JBDBoard(parse("refuses=nth:2")), ENTER, OVP_3600, OVP_3600)[2][2] == 0x81
    assert talk(JKModbusBoard(parse("refuses=nth:1")), jk_write(0x100C, 3610))[0][1] == 0x90
    assert talk(DalyD2Board(parse("refuses=nth:1")), WRITE_D2) == [b""]
    stuck = DalyD2Board(parse("refuses=nth:2,stuck:yes"))
    other = d2(0x8E, 2510, function=6)
    assert talk(stuck, WRITE_D2, other, other, WRITE_D2) == [WRITE_D2, b"", b"", WRITE_D2]
    ignores = DalyD2Board(parse("ignores-switches=above:10"))
    assert ignores.current == 20
    talk(ignores, d2(0xA5, 0, function=6))
    assert ignores.snapshot()[0xA5] == b"\0\1"


def test_noise_doubles_and_cut_texts() -> None:
    assert talk(DalyD2Board(parse("answers-twice")), WRITE_D2) == [WRITE_D2 * 2]
    (noisy,) = talk(DalyD2Board(parse("garbage")), WRITE_D2)
    assert noisy.endswith(WRITE_D2)
    assert len(noisy) > len(WRITE_D2)
    (noisy,) = talk(DalyD2Board(parse("garbage=before:no")), WRITE_D2)
    assert noisy.startswith(WRITE_D2)
    assert len(noisy) > len(WRITE_D2)
    names = talk(
        JBDBoard(parse("truncates-texts=keep:3,after:1")), *[b"\xdd\xa5\x05\0\xff\xfbw"] * 2
    )
    assert [answer[4:-3] for answer in names] == [b"JBD-SP16S020-L16S-100A-B-U", b"JBD"]


def test_nonsense_and_flickering_values() -> None:
    board = JKModbusBoard(
        parse("implausible=register:charge_otp"), parse("implausible=register:delay")
    )
    assert board.decode("charge_otp", talk(board, jk_read(0x104C))[0][3:-2]) == 355
    assert talk(board, jk_read(0x1030), start=1)[0][3:-2] == (3200).to_bytes(4, "big")
    board = JKModbusBoard(parse("flickers=register:charge_otp,add:30"))
    shown = talk(board, *[jk_read(0x104C)] * 4)
    assert [int.from_bytes(answer[3:-2], "big") for answer in shown] == [350, 380, 350, 380]
    assert not board.log


@pytest.mark.parametrize(("leave", "kept"), [(KEEP, 3600), (PLAIN, 3650)])
def test_memory_that_counts_only_after_the_right_exit(leave: bytes, kept: int) -> None:
    board = JBDBoard(parse("commits-on-exit"))
    answers = talk(board, ENTER, OVP_3600, READ_OVP, leave, ENTER, READ_OVP)
    assert [int.from_bytes(answers[at][4:6], "big") for at in (2, 5)] == [3600, kept]


def test_factory_mode_that_stays_open() -> None:
    board = JBDBoard(parse("factory-stays"))
    answers = talk(board, ENTER, PLAIN, READ_OVP)
    assert [answer[2] for answer in answers] == [0, 0, 0]


@pytest.mark.parametrize("name", QUIRKS)
@pytest.mark.parametrize("kind", BOARDS.values(), ids=BOARDS)
def test_every_quirk_fits_every_board(kind: type[Board], name: str) -> None:
    board = kind(parse(name))
    before = board.snapshot()
    board.connect(0)
    board.pass_time(100)
    assert board.snapshot() == before
    assert not board.log


def test_a_clock_that_runs() -> None:
    board = DalyD2Board()
    board.receive(bytes.fromhex("d21000d40003180b0709341cf7d8"), 10)
    ((_, answer),) = board.receive(d2(0xD4, 3), 70)
    assert answer[3:-2] == bytes((24, 11, 7, 9, 53, 28))


# ------------------------------------------------------------------------------ for other programs


def test_bmstools_reads_the_jbd_board(tmp_path: Any) -> None:
    async def over_a_terminal() -> dict[str, Any]:
        import os

        link = tmp_path / "port"
        slave, close = attach_pty(JBDBoard(), link)
        try:
            return await asyncio.to_thread(_eeprom, str(link))
        finally:
            close()
            os.close(slave)

    values = asyncio.run(over_a_terminal())
    assert (values["covp"], values["cuvp_rel"], values["chgot"]) == (3650, 2700, 65)


def _eeprom(port: str) -> dict[str, Any]:
    found: dict[str, Any] = JBD(serial.Serial(port, 9600, timeout=0.5)).readEeprom()
    return found


@pytest.mark.real_time
async def test_a_board_behind_tcp() -> None:
    server = await serve(DalyD2Board())
    host, port = server.sockets[0].getsockname()
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(WRITE_D2)
    answer = await reader.readexactly(8)
    writer.close()
    await writer.wait_closed()
    server.close()
    await asyncio.sleep(0.01)
    assert answer == WRITE_D2
