"""JK04: records of floats, who speaks it and who does not, its session, and the simulated board."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bmslink
from bmslink.errors import FrameError, TargetError
from bmslink.link.capture import open_capture
from bmslink.model import Condition, Reading, Switch
from bmslink.protocols.base import Record
from bmslink.protocols.common.fields import build, parse
from bmslink.protocols.jk.jk02.driver import JK02Codec
from bmslink.protocols.jk.jk02.framing import ACK, JK02Frame, JK02Framer, command, record
from bmslink.protocols.jk.jk02.layouts import DEVICE_INFO, PAYLOAD
from bmslink.protocols.jk.jk04.driver import JK04Codec
from bmslink.protocols.jk.jk04.layouts import CELL_INFO, REGISTERS, SETTINGS_TABLE, float_bits
from bmslink.simulation.boards.jk04 import MODELS, JK04Responder
from bmslink.simulation.pack.pack import Pack
from support import FIXTURES, virtual_run

B5A, B2A = "sess-jk04-b5a24s-8.0.3M-writes", "sess-jk04-b2a16s-writes"
SETTINGS, CELLS, INFO = 1, 2, 3


def captured(name: str, kind: str, folder: str = "jk04") -> list[JK02Frame]:
    _, pieces = open_capture(FIXTURES / folder / f"{name}.jsonl")
    return [f for p in pieces if p.kind == kind for f in JK02Framer().feed(p.data)]


def explained(frame: JK02Frame, codec: JK04Codec | None = None, *, sent: bool = False) -> Record:
    return (codec or JK04Codec()).decode(frame, sent=sent)


def reading(frame: JK02Frame, codec: JK04Codec | None = None) -> Reading:
    codec = codec or JK04Codec()
    return codec.reading([codec.decode(frame)])


LIVE = captured(B5A, "cell_info")[0]


def changed(**fields: Any) -> JK02Frame:
    """A live record that says something else."""
    values = parse(CELL_INFO, LIVE.data, "live") | fields
    return record(CELLS, build(CELL_INFO, values, "live"))


def info(model: str, software: str) -> JK02Frame:
    values = parse(DEVICE_INFO, bytes(PAYLOAD), "info") | {
        "vendor_id": model.encode().ljust(15, b"\0"),
        "software_version": software.encode().ljust(8, b"\0"),
        "password": b"secret".ljust(16, b"\0"),
        "settings_password": b"hidden".ljust(16, b"\0"),
        "serial_number": b"SN123\x00pass9".ljust(16, b"\0"),
    }
    return record(INFO, build(DEVICE_INFO, values, "info"))


# ---------------------------------------------------------------------------------- records


def test_all_bytes_of_a_record_have_a_place() -> None:
    assert CELL_INFO.sizeof() == SETTINGS_TABLE.sizeof() == PAYLOAD


@given(st.binary(min_size=PAYLOAD, max_size=PAYLOAD))
@settings(max_examples=100, deadline=None)
def test_any_content_comes_back_to_the_byte(data: bytes) -> None:
    for layout in (CELL_INFO, SETTINGS_TABLE):
        assert layout.build(parse(layout, data, "record")) == data


def test_numbers_that_are_none_come_back_and_are_unknown() -> None:
    # a signalling NaN would change on its way through a float
    nan = 0x7F800001
    ohms = parse(CELL_INFO, LIVE.data, "live")["cell_resistances"]
    frame = changed(
        balance_current=nan, voltage=0x7FF0000000000000, cell_resistances=[nan, *ohms[1:]]
    )
    values = parse(CELL_INFO, frame.data, "live")
    assert values["balance_current"] == nan
    assert build(CELL_INFO, values, "live") == frame.data
    found = reading(frame)
    assert (found.balance_current, found.voltage) == (None, None)
    assert found.cell_resistances is not None
    assert found.cell_resistances[0] is None
    assert found.cell_resistances[1] == 0.080917


def test_a_live_record() -> None:
    found = reading(captured("jk04-b5a24s-8.0.3M", "cell_info")[0])
    assert found.voltage == 53.136154
    assert found.voltage == pytest.approx(sum(v or 0 for v in found.cell_voltages), abs=0.06)
    assert (len(found.cell_voltages), found.cell_voltages[0]) == (16, 3.316655)
    assert found.cell_resistances is not None
    assert (len(found.cell_resistances), found.cell_resistances[0]) == (16, 0.074804)
    assert (found.balancing_active, found.balance_current) == (True, -2.59938)
    assert found.uptime == 591338.0
    for name in ("current", "soc", "soh", "remaining_capacity", "full_capacity", "cycles"):
        assert getattr(found, name) is None
    for name in ("charging_allowed", "discharging_allowed", "charge_switch", "balance_switch"):
        assert getattr(found, name) is None
    assert found.temperatures == {}


def test_settings_complete_what_a_live_record_says() -> None:
    codec = JK04Codec()
    values = explained(captured("jk04-b5a24s-8.0.3M", "settings")[0], codec).values
    assert values == {
        "cell_count": 16,
        "jk_power_off_voltage": 3.2,
        "jk_voltage_reference": 3.033129,
        "jk_balance_start_voltage": 4.25,
        "balance_delta": 0.008,
        "balance_current": 4.5,
        "balance_switch": True,
    }
    assert reading(LIVE, codec).balance_switch is True
    assert reading(changed(cell_mask=0x7FFF), codec).cell_voltages[15:] == (3.309623,)
    assert len(reading(changed(cell_mask=0x7FFF)).cell_voltages) == 15


def test_wires_that_were_not_measured_yet() -> None:
    """The cell count was just changed: resistances come back one by one."""
    counts = [
        sum(ohm is not None for ohm in reading(f).cell_resistances or ())
        for f in captured(B5A, "cell_info")
    ]
    assert counts[:7] == [16, 16, 0, 0, 0, 11, 16]


def test_a_connected_cell_without_voltage_is_a_fault() -> None:
    cells = parse(CELL_INFO, LIVE.data, "live")["cell_voltages"]
    found = reading(changed(cell_voltages=[0, *cells[1:]]))
    assert (found.min_cell_voltage, found.faults) == (0.0, (Condition.VOLTAGE_SENSE,))


def test_the_device_info_keeps_its_secrets() -> None:
    frame = info("JK-B2A16S", "3.3.0")
    codec = JK04Codec()
    said = explained(frame, codec)
    assert not any(s in repr(said) for s in ("secret", "hidden", "pass9"))
    identity = codec.identity([said])
    assert (identity.model, identity.firmware) == ("JK-B2A16S", "3.3.0")
    assert identity.serial_number == "SN123"
    clean = codec.scrub(frame)
    assert clean is not None
    assert not any(s in clean for s in (b"secret", b"hidden", b"pass9"))
    (again,) = JK02Framer().feed(clean)
    assert explained(again).values == said.values
    assert codec.scrub(LIVE) is None


# ---------------------------------------------------------------------------------- commands


def test_every_captured_write() -> None:
    found: dict[int, dict[str, Any]] = {}
    for name in (B2A, B5A):
        _, pieces = open_capture(FIXTURES / "jk04" / f"{name}.jsonl")
        for piece in pieces:
            if piece.kind.startswith("write_reg"):
                (frame,) = JK02Framer().feed(piece.data)
                values = dict(explained(frame, sent=True).values)
                found.setdefault(values.pop("register"), {}).update(values)
    assert found == {
        0x1C: {"cell_count": 16},
        0x20: {"jk_power_off_voltage": 3.2},
        0x44: {"jk_voltage_reference": 3.086797},
        0x64: {"balance_delta": 0.008},
        0x68: {"balance_current": 4.5},
        0x6C: {"balance_switch": True},
    }
    assert set(found) == set(REGISTERS)


def test_a_float_is_written_to_the_byte() -> None:
    (frame,) = JK02Framer().feed(bytes.fromhex("aa5590eb2004000040405601329fbccccc5f352e"))
    assert frame.data == struct.pack("<I", float_bits(3.0)) == bytes.fromhex("00004040")
    codec = JK04Codec()
    payload = codec.payload(frame, sent=True)
    assert payload is not None
    values = {"jk_power_off_voltage": float_bits(3.0)}
    assert build(payload.layout, values, "write") == frame.data


def test_registers_that_are_not_known_show_no_value() -> None:
    for frame in (command(0x58, b"\x00\x00\x88\x40"), command(0x9F, b"1234"), command(0x20, b"x")):
        values = explained(frame, sent=True).values
        assert values == {"register": frame.code, "length": len(frame.data)}
        assert JK04Codec().payload(frame, sent=True) is None
    assert explained(command(ACK, b"\x01")).role == "ack"
    assert explained(command(ACK, b"\x00")).role == "other"


# ---------------------------------------------------------------------------------- who speaks it


@pytest.mark.parametrize(
    ("model", "software", "speaks"),
    [
        ("JK-B1A24S", "3.1.2", True),
        ("JK-B5A24S", "8.0.3M", True),  # a later number than some jk02 boards have
        ("JK-B2A24S", "V3.2.3", True),
        ("JK-BD6A24S10P", "8.0.6G", False),
        ("JK-BD6A20S10P", "4.1.7", False),
        ("JK_B2A20S20P", "11.17", False),
        ("JK-B2A24S", "11.0", False),
    ],
)
def test_the_device_info_says_who_speaks_it(model: str, software: str, *, speaks: bool) -> None:
    frame = info(model, software)
    ours, theirs = (JK04Codec(), JK02Codec()) if speaks else (JK02Codec(), JK04Codec())
    ours.decode(frame)
    with pytest.raises(FrameError, match="speaks jk02" if not speaks else "speaks jk04"):
        theirs.decode(frame)


def test_no_record_is_read_by_both() -> None:
    for folder, refusing in (("jk04", JK02Codec), ("jk02", JK04Codec)):
        for path in sorted((FIXTURES / folder).glob("*.jsonl")):
            for kind in ("cell_info", "settings"):
                for frame in captured(path.stem, kind, folder):
                    with pytest.raises(FrameError):
                        refusing().decode(frame)


def test_a_first_cell_without_voltage_does_not_make_it_jk02() -> None:
    cells = parse(CELL_INFO, LIVE.data, "live")["cell_voltages"]
    with pytest.raises(FrameError, match="jk04"):
        JK02Codec().decode(changed(cell_voltages=[0, *cells[1:]]))


def test_without_cells_only_the_device_info_proves_it() -> None:
    frame = changed(cell_voltages=[0] * 24, cell_mask=0)
    with pytest.raises(FrameError, match="No cells"):
        reading(frame)
    codec = JK04Codec()
    codec.decode(info("JK-B2A16S", "3.3.0"))
    assert reading(frame, codec).cell_voltages == ()


@pytest.mark.parametrize("volts", [6.5, -1.0, 0.001, math.nan, math.inf, 3.5e-31])
def test_cells_that_are_no_voltages(volts: float) -> None:
    cells = parse(CELL_INFO, LIVE.data, "live")["cell_voltages"]
    with pytest.raises(FrameError, match="not jk04"):
        reading(changed(cell_voltages=[*cells[:5], float_bits(volts), *cells[6:]]))


def test_logs_are_not_known() -> None:
    with pytest.raises(FrameError, match="type 05"):
        explained(record(5, bytes(PAYLOAD)))


def test_a_bare_dump_is_recognised() -> None:
    dump = b"".join(JK02Framer().encode(f) for f in captured(B2A, "cell_info")[:2])
    assert [r.protocol for r in bmslink.decode(dump)] == ["jk04", "jk04"]


@given(st.sampled_from([SETTINGS, CELLS, INFO, 5, 6]), st.binary(min_size=293, max_size=293))
@settings(max_examples=150, deadline=None)
def test_any_record(code: int, data: bytes) -> None:
    codec = JK04Codec()
    try:
        said = codec.decode(record(code, data))
    except FrameError:
        return
    codec.reading([said]).to_dict()
    codec.identity([said])


# ---------------------------------------------------------------------------------- simulator


async def poll(
    query: str,
    prepare: Callable[[Pack], None] = lambda pack: None,
    record: io.BytesIO | None = None,
) -> tuple[Reading, Reading]:
    async with bmslink.connect(
        f"jk04+sim://?{query}&speed=0.000001", record=record
    ).board as device:
        transport = device.link.transport
        pack = getattr(transport, "inner", transport).pack
        prepare(pack)
        return await device.read(), pack.truth()


@pytest.mark.parametrize("hours", [0.1, 4, 13])
@pytest.mark.parametrize("query", ["cells=16", "cells=24&chemistry=nmc&soc=97", "cells=4&seed=9"])
async def test_readings_are_the_truth(query: str, hours: float) -> None:
    found, truth = await poll(query, lambda pack: pack.advance(3600 * hours))
    for name in (
        "cell_voltages", "cell_resistances", "balancing_active", "balance_switch",
    ):  # fmt: skip
        assert getattr(found, name) == getattr(truth, name), name
    assert found.voltage == pytest.approx(truth.voltage, abs=1e-6)
    assert found.balance_current == pytest.approx(truth.balance_current, abs=1e-6)
    assert found.uptime == int(truth.uptime or 0)
    assert (found.current, found.soc, found.temperatures) == (None, None, {})


async def test_a_balancing_pack() -> None:
    found, truth = await poll("cells=16&load=idle", lambda p: p.set_cell_voltage(3, 3.6))
    assert truth.balancing_active is True
    assert (found.balancing_active, found.raw["balance_action"]) == (True, 1)
    assert found.balance_current == pytest.approx(truth.balance_current, abs=1e-6)


async def test_the_session_is_that_of_jk02(tmp_path: Any) -> None:
    path = tmp_path / "session.jsonl"
    with path.open("wb") as file:
        found, _ = await poll("cells=16", record=file)
    header, pieces = open_capture(path)
    sent = [p.data[4] for p in pieces if p.sent]
    assert (header.protocol, sent) == ("jk04", [0x97, 0x96])
    (again,) = bmslink.decode(path)
    assert replace(again, target=found.target, time=found.time) == found
    assert b"1234" not in bytes.fromhex("".join(p.hex for p in open_capture(path)[1]))


@pytest.mark.parametrize("firmware", MODELS)
def test_identities(firmware: str) -> None:
    async def go() -> Any:
        async with bmslink.connect(f"jk04+sim://?cells=8&firmware={firmware}").board as device:
            return await device.identify()

    identity = virtual_run(go())
    assert (identity.model, identity.hardware) == MODELS[firmware]
    assert (identity.firmware, identity.cell_count) == (firmware, 8)


def test_jk02_names_the_protocol_of_such_a_board() -> None:
    board = JK04Responder(Pack())
    (said, _) = board.receive(JK02Framer().encode(command(0x97)))
    (frame,) = JK02Framer().feed(said.data)
    with pytest.raises(FrameError, match=r"JK-B2A16S with firmware 3\.3\.0 speaks jk04"):
        JK02Codec().decode(frame)


@pytest.mark.parametrize("fault", ["noise", "glue", "foreign", "duplicate", "late", "sleepy"])
async def test_faults_on_the_wire(fault: str) -> None:
    found, truth = await poll(f"cells=8&load=idle&fault={fault}")
    assert found.cell_voltages == truth.cell_voltages


def write(board: JK04Responder, register: int, value: bytes) -> None:
    (answer,) = board.receive(JK02Framer().encode(command(register, value)))
    assert 0.064 <= answer.delay <= 0.25
    assert JK02Framer().feed(answer.data)[0].data == b"\x01"


def test_writes_change_what_the_settings_say() -> None:
    board = JK04Responder(Pack())
    for register, value in (
        (0x20, struct.pack("<f", 2.75)),
        (0x64, struct.pack("<f", 0.015)),
        (0x68, struct.pack("<f", 1.5)),
        (0x6C, b"\0"),
        (0x44, struct.pack("<f", 9.0)),  # the calibration is left alone, as is the cell count
        (0x1C, b"\x08\0"),
        (0x20, b"\0\0"),
        (0x64, struct.pack("<f", math.nan)),
        (0x99, b"\x01"),
    ):
        write(board, register, value)
    said, _ = board.line().receive(JK02Framer().encode(command(0x96)))
    values = explained(JK02Framer().feed(said.data)[0]).values
    assert values["jk_power_off_voltage"] == 2.75
    assert (values["balance_delta"], values["balance_current"]) == (0.015, 1.5)
    assert (values["balance_switch"], board.pack.switches[Switch.BALANCE]) == (False, False)
    assert (values["jk_voltage_reference"], values["cell_count"]) == (3.0155, 16)


def test_it_streams_after_97_and_96_only() -> None:
    board = JK04Responder(Pack())
    board.receive(JK02Framer().encode(command(0x96)))
    assert board.stream() == b""
    board.receive(JK02Framer().encode(command(0x97)) + JK02Framer().encode(command(0x96)))
    assert len(board.stream()) == 300


@pytest.mark.parametrize("query", ["cells=25", "cells=1", "firmware=15.41"])
def test_boards_that_do_not_exist(query: str) -> None:
    with pytest.raises(TargetError):
        bmslink.connect(f"jk04+sim://?{query}")


def test_old_settings_are_forgotten() -> None:
    codec = JK04Codec()
    (settings_frame, *_) = captured(B2A, "settings")
    codec.decode(settings_frame)
    (live, *_) = captured(B2A, "cell_info")
    assert reading(live, codec).balance_switch is not None
    codec.forget_settings()
    assert reading(live, codec).balance_switch is None


def test_what_is_no_identity_changes_none() -> None:
    codec = JK04Codec()
    ack = bytes.fromhex("aa5590ebc8010100000000000000000000000044")
    said = codec.decode(JK02Framer().feed(ack)[0])
    assert said.role == "ack"
    assert codec.identity([said]).model is None


def test_a_damaged_device_info_keeps_no_password() -> None:
    raw = info("JK-B2A16S", "8.0.3M").raw or JK02Framer().encode(info("JK-B2A16S", "8.0.3M"))
    damaged = raw[:60] + raw[61:]
    assert b"secret" in damaged
    clean = JK04Codec().scrub_noise(damaged)
    assert len(clean) == len(damaged)
    for secret in (b"secret", b"hidden", b"pass9"):
        assert secret not in clean
    assert JK04Codec().scrub_noise(b"harmless") == b"harmless"
