"""JK02: what stands where in the 300-byte records, typed by hand from the documents.

No expectation here is taken from the tables of the code. Offsets count from the frame's first
byte. The sections named are those of the collected protocol facts (2 device info, 3 settings,
4 live values, 5 bit lists, 6 flags, 7 write registers, 14 what is dangerous).
"""

from __future__ import annotations

import struct
from typing import Any

import pytest

from bmslink.model import Reading
from bmslink.protocols.base import Record
from bmslink.protocols.common.fields import parse
from bmslink.protocols.jk.jk02.driver import JK02Codec, JK02Frame, JK02Framer
from bmslink.protocols.jk.settings import REGISTERS
from facts import captured, changed, conditions, fields, put

Edit = tuple[int, bytes]
PB_SESSION = "sess-jk02-32s-pb2a16s20p-15.41-heating"
OLD_SESSION = "sess-jk02-24s-b1a20s15p-10.07"
LIVE = {
    "32s": captured("jk02", PB_SESSION, "cell_info"),
    "24s": captured("jk02", OLD_SESSION, "cell_info"),
}
INFO = captured("jk02", PB_SESSION, "device_info")


def summed(raw: bytes) -> bytes:
    """Section 1.3: the last byte is the sum of the others modulo 256."""
    return raw[:-1] + bytes([sum(raw[:-1]) % 256])


def record(code: int, *edits: Edit) -> bytes:
    """A record of that type, zero but for the edits."""
    blank = bytes.fromhex("55aaeb90") + bytes([code, 0]) + bytes(294)
    return summed(put(blank, *edits))


def command(register: int, value: bytes) -> bytes:
    """Section 1.1: AA 55 90 EB, register, length, value, zeros up to byte 18, sum."""
    head = bytes.fromhex("aa5590eb") + bytes([register, len(value)]) + value
    return summed(head.ljust(20, b"\0"))


def frame(raw: bytes) -> JK02Frame:
    framer = JK02Framer()
    (found,) = framer.feed(raw)
    assert framer.bad_frames == 0
    return found


def explain(raw: bytes, variant: str | None = None) -> Record:
    return JK02Codec(variant).decode(frame(raw))


def read(raw: bytes) -> Reading:
    codec = JK02Codec()
    return codec.reading([codec.decode(frame(raw))])


def live(variant: str, *edits: Edit) -> bytes:
    """A captured type 02 with some bytes replaced."""
    return summed(put(LIVE[variant], *edits))


def test_records_made_here_are_as_captured() -> None:
    for raw in (*LIVE.values(), INFO):
        assert len(raw) == 300
        assert summed(raw) == raw
    assert command(0x96, b"").hex() == "aa5590eb960000000000000000000000000000" + "10"


# ------------------------------------------------------------------ 4 live values (type 02)

BOTH: list[tuple[int, int, str, int | float, dict[str, Any], dict[str, Any]]] = [
    # offset on 32S, on 24S, format, raw, changes in the record, changes in the reading
    (74, 58, "<H", 3301, {"average_voltage": 3.301}, {}),
    (76, 60, "<H", 17, {"delta_voltage": 0.017}, {}),
    (78, 62, "B", 9, {"highest_cell": 9}, {}),
    (79, 63, "B", 10, {"lowest_cell": 10}, {}),
    (144, 134, "<h", 305, {"mosfet_temperature": 30.5}, {"temperatures.mosfet": 30.5}),
    (144, 134, "<h", -105, {"mosfet_temperature": -10.5}, {"temperatures.mosfet": -10.5}),
    (
        146,
        114,
        "<I",
        0x8001,
        {"wire_warning": 0x8001},
        {"raw.wire_resistance_cells.1": 1, "raw.wire_resistance_cells.2": 16},
    ),
    (150, 118, "<I", 4_000_000_123, {"voltage": 4000000.123}, {"voltage": 4000000.123}),
    (150, 118, "<I", 52_501, {"voltage": 52.501}, {"voltage": 52.501}),
    (154, 122, "<I", 1_234_567, {"power": 1234.567}, {}),  # filtered, lagging: not shown
    (158, 126, "<i", 12_345, {"current": 12.345}, {"current": 12.345}),  # + = charge
    (158, 126, "<i", -12_345, {"current": -12.345}, {"current": -12.345}),
    (162, 130, "<h", 211, {"temperature_1": 21.1}, {"temperatures.cell_1": 21.1}),
    (162, 130, "<h", -211, {"temperature_1": -21.1}, {"temperatures.cell_1": -21.1}),
    (164, 132, "<h", 222, {"temperature_2": 22.2}, {"temperatures.cell_2": 22.2}),
    (164, 132, "<h", -222, {"temperature_2": -22.2}, {"temperatures.cell_2": -22.2}),
    (162, 130, "<h", -2000, {"temperature_1": -200.0}, {"temperatures.cell_1": None}),  # absent
    (164, 132, "<h", -2000, {"temperature_2": -200.0}, {"temperatures.cell_2": None}),
    (170, 138, "<h", 1234, {"balance_current": 1.234}, {"balance_current": 1.234}),
    (170, 138, "<h", -1234, {"balance_current": -1.234}, {"balance_current": -1.234}),
    (
        172,
        140,
        "B",
        1,
        {"balance_action": 1},
        {"balancing_active": True, "raw.balance_action": 1},
    ),
    (
        172,
        140,
        "B",
        2,
        {"balance_action": 2},
        {"balancing_active": True, "raw.balance_action": 2},
    ),
    (173, 141, "B", 42, {"soc": 42}, {"soc": 42.0}),
    (174, 142, "<I", 123_456, {"remaining_capacity": 123.456}, {"remaining_capacity": 123.456}),
    (178, 146, "<I", 251_235, {"full_capacity": 251.235}, {"full_capacity": 251.235}),
    (182, 150, "<I", 70_001, {"cycles": 70_001}, {"cycles": 70_001}),
    (186, 154, "<I", 9_876_543, {"cycle_capacity": 9876.543}, {"cycle_capacity": 9876.543}),
    (190, 158, "B", 79, {"soh": 79}, {"soh": 79.0}),
    (191, 159, "B", 3, {"precharge_state": 3}, {"raw.precharge_state": 3}),
    (194, 162, "<I", 16_000_001, {"uptime": 16_000_001}, {"uptime": 16_000_001.0}),
    (198, 166, "B", 0, {"charge_mosfet": 0}, {"charging_allowed": False}),
    (199, 167, "B", 0, {"discharge_mosfet": 0}, {"discharging_allowed": False}),
    (220, 188, "<H", 1011, {"discharge_correction": 1011}, {}),
    (222, 190, "<H", 1022, {"charge_sense": 1022}, {}),
    (224, 192, "<H", 1033, {"discharge_sense": 1033}, {}),
    (226, 194, "<f", 2.75, {"voltage_correction": bytes.fromhex("00003040")}, {}),
    (246, 214, "<I", 3_000_000_001, {"run_ticks": 300_000_000.1}, {}),  # 0.1 s
]


@pytest.mark.parametrize(
    ("variant", "offset", "form", "raw", "said", "shown"),
    [
        *(("32s", at, form, raw, said, shown) for at, _, form, raw, said, shown in BOTH),
        *(("24s", at, form, raw, said, shown) for _, at, form, raw, said, shown in BOTH),
    ],
)
def test_live_value(
    variant: str,
    offset: int,
    form: str,
    raw: int,
    said: dict[str, Any],
    shown: dict[str, Any],
) -> None:
    """4.1 and 4.2: one value at its offset changes one field of record and reading."""
    after = live(variant, (offset, struct.pack(form, raw)))
    assert changed(explain(LIVE[variant]).values, explain(after).values) == said
    assert changed(fields(read(LIVE[variant])), fields(read(after))) == shown


@pytest.mark.parametrize(
    ("offset", "form", "raw", "said", "shown"),
    [
        (192, "<H", 513, {"user_alarm": 513}, {"raw.user_alarm": 513}),
        (200, "<H", 514, {"user_alarm_2": 514}, {"raw.user_alarm_2": 514}),
        (214, "B", 0x15, {"sensor_mask": 0x15}, {}),  # means nothing without flag 36
        (215, "B", 1, {"heating": 1}, {"heater": True, "raw.heating_current": 0.0}),
        (218, "<H", 1801, {"emergency_countdown": 1801}, {"raw.emergency_countdown": 1801}),
        (230, "<H", 1001, {"charge_pwm": 1001}, {}),
        (232, "<H", 1002, {"discharge_pwm": 1002}, {}),
        (234, "<H", 5_251, {"voltage_2": 52.51}, {}),  # 0.01 V
        (236, "<h", 5_100, {"heating_current": 5.1}, {}),  # not shown while heating is off
        (236, "<h", -7_000, {"heating_current": -7.0}, {}),
        (238, "B", 0x51, {"relay": 0x51}, {}),
        (239, "B", 0x52, {"acc": 0x52}, {}),
        (240, "B", 0x53, {"special_charger": 0x53}, {}),
        (241, "B", 0x54, {"startup": 0x54}, {}),
        (242, "B", 0x55, {"vol_c": 0x55}, {}),
        (243, "B", 0x56, {"mcu_id": 0x56}, {}),
        (245, "B", 0x57, {"charger_plugged": 0x57}, {}),
        (250, "<I", 3_000_000_002, {"undervoltage_stamp": 300_000_000.2}, {}),
        (254, "<h", -33, {"temperature_3": -3.3}, {}),  # flag 59 is clear on this board
        (256, "<h", -44, {"temperature_4": -4.4}, {"temperatures.cell_4": -4.4}),
        (258, "<h", -55, {"temperature_5": -5.5}, {"temperatures.cell_5": -5.5}),
        (260, "<H", 1044, {"charge_correction": 1044}, {}),
        (262, "<I", 3_000_000_003, {"clock": 3_000_000_003}, {}),
        (266, "<I", 3_000_000_004, {"log_count": 3_000_000_004}, {}),
        (270, "<I", 3_000_000_005, {"sleep_in": 3_000_000_005}, {}),
        (274, "B", 0x58, {"parallel_limiter": 0x58}, {}),
        (275, "B", 2, {"chemistry": 2}, {}),
        (278, "<H", 1055, {"charge_stage_time": 1055}, {}),
        (280, "B", 2, {"charge_stage": 2}, {"raw.charge_stage": 2}),
        (281, "B", 0x07, {"outputs": 7}, {}),
        (287, "12s", bytes(11) + b"\x05", {"enable_flags": bytes(11) + b"\x05"}, None),
    ],
)
def test_live_value_of_32s_only(
    offset: int, form: str, raw: Any, said: dict[str, Any], shown: dict[str, Any] | None
) -> None:
    """4.1, from 192 on; the board has a heater (37), T4, T5, a chemistry and a stage (6.1)."""
    after = live("32s", (offset, struct.pack(form, raw)))
    assert changed(explain(LIVE["32s"]).values, explain(after).values) == said
    if shown is not None:
        assert changed(fields(read(LIVE["32s"])), fields(read(after))) == shown


UNSIGNED: dict[tuple[int, str], str] = {
    (80, "<H"): "cell_resistances",
    (166, "<I"): "alarms",
    (192, "<H"): "user_alarm",
    (200, "<H"): "user_alarm_2",
    (202, "<H"): "release_countdowns",
    (214, "B"): "sensor_mask",
    (218, "<H"): "emergency_countdown",
    (230, "<H"): "charge_pwm",
    (232, "<H"): "discharge_pwm",
    (234, "<H"): "voltage_2",
    (260, "<H"): "charge_correction",
    (278, "<H"): "charge_stage_time",
    (238, "B"): "relay",
    (239, "B"): "acc",
    (240, "B"): "special_charger",
    (241, "B"): "startup",
    (242, "B"): "vol_c",
    (243, "B"): "mcu_id",
    (245, "B"): "charger_plugged",
    (274, "B"): "parallel_limiter",
    (275, "B"): "chemistry",
    (280, "B"): "charge_stage",
    (281, "B"): "outputs",
    **{(at, form): min(said) for at, _, form, _, said, _ in BOTH if form in ("B", "<H", "<I")},
}


@pytest.mark.parametrize(("place", "name"), UNSIGNED.items())
def test_live_value_is_unsigned(place: tuple[int, str], name: str) -> None:
    """4.1: what the section does not call i16 or i32 is never negative."""
    offset, form = place
    raw = live("32s", (offset, b"\xff" * struct.calcsize(form)))
    found = explain(raw).values[name]
    assert (found[0] if isinstance(found, list) else found) > 0


@pytest.mark.parametrize(("variant", "slots"), [("32s", 32), ("24s", 24)])
def test_cells_and_resistances(variant: str, slots: int) -> None:
    """4.1, 4.2: mV from 6 on, mΩ behind mask, average, delta and the two indices."""
    mask_at, resistances_at = {"32s": (70, 80), "24s": (54, 64)}[variant]
    cells = struct.pack(f"<{slots}H", *range(3001, 3001 + slots))
    ohms = struct.pack(f"<{slots}H", *range(101, 101 + slots))
    mask = struct.pack("<I", (1 << slots) - 1)
    reading = read(live(variant, (6, cells), (mask_at, mask), (resistances_at, ohms)))
    assert reading.cell_voltages[:3] == (3.001, 3.002, 3.003)
    assert reading.cell_voltages == tuple((3001 + n) / 1000 for n in range(slots))
    assert reading.cell_resistances is not None
    assert reading.cell_resistances[:3] == (0.101, 0.102, 0.103)
    assert reading.cell_resistances == tuple((101 + n) / 1000 for n in range(slots))


@pytest.mark.parametrize(("variant", "offset"), [("32s", 202), ("24s", 170)])
def test_release_countdowns(variant: str, offset: int) -> None:
    """4.1: discharge OC, discharge SC, charge OC, charge SC, cell UV, cell OV; u16 s."""
    raw = live(variant, (offset, struct.pack("<6H", 301, 302, 303, 304, 305, 306)))
    found = [301, 302, 303, 304, 305, 306]
    assert explain(raw).values["release_countdowns"] == found
    assert read(raw).raw["release_countdowns"] == found


@pytest.mark.parametrize(("variant", "offset"), [("32s", 70), ("24s", 54)])
def test_mask_of_cells(variant: str, offset: int) -> None:
    """4.1, 4.2: the mask of connected cells cuts the list."""
    raw = live(variant, (offset, b"\xff\x0f\0\0"))
    assert explain(raw).values["cell_mask"] == 0x0FFF
    assert len(read(raw).cell_voltages) == 12


@pytest.mark.parametrize("offset", [112, 160, 168, 183, 196, 202, 234, 236, 256, 287 - 32])
def test_what_24s_does_not_have_changes_nothing(offset: int) -> None:
    """4.2: no heating at 183, no second voltage at 202, no T3-T5, no RTC; 160 is garbage."""
    raw = live("24s", (offset, b"\x01\x01"))
    assert changed(fields(read(LIVE["24s"])), fields(read(raw))) == {}
    assert read(raw).heater is None


@pytest.mark.parametrize(
    ("mask", "present"),
    [
        (0x00, set()),
        (0x01, {"mosfet"}),
        (0x02, {"cell_1"}),
        (0x04, {"cell_2"}),
        (0x07, {"mosfet", "cell_1", "cell_2"}),
    ],
)
def test_sensor_mask_of_24s(mask: int, present: set[str]) -> None:
    """4.2: 182, bit 0 MOS, bit 1 T1, bit 2 T2."""
    reading = read(live("24s", (182, bytes([mask]))))
    assert {k for k, v in reading.temperatures.items() if v is not None} == present


# ------------------------------------------------------- 6.1 enable flags of the live values


def with_flags(*flags: int, edits: tuple[Edit, ...] = ()) -> bytes:
    """Bit k of the twelve bytes at 287 is field k; bit 8, any board's, keeps it a 32S."""
    word = sum(1 << flag for flag in {8, *flags})
    return live("32s", (287, word.to_bytes(12, "little")), *edits)


T3_TO_T5 = (254, struct.pack("<3h", 303, 404, 505))


@pytest.mark.parametrize(
    ("flag", "found"),
    [
        (58, {}),
        (59, {"cell_3": 30.3}),
        (60, {"cell_4": 40.4}),
        (61, {"cell_5": 50.5}),
        (62, {}),
    ],
)
def test_flags_of_the_further_probes(flag: int, found: dict[str, float]) -> None:
    """6.1: 59 is T3 at 254, 60 is T4 at 256, 61 is T5 at 258."""
    temperatures = dict(read(with_flags(flag, edits=(T3_TO_T5,))).temperatures)
    for name in ("cell_1", "cell_2", "mosfet"):
        temperatures.pop(name)
    assert temperatures == found


@pytest.mark.parametrize(
    ("bit", "name"),
    [
        (0, "mosfet"),
        (1, "cell_1"),
        (2, "cell_2"),
        (3, "cell_3"),
        (4, "cell_4"),
        (5, "cell_5"),
    ],
)
def test_flag_of_the_sensor_mask(bit: int, name: str) -> None:
    """4.1: 214 counts only with flag 36; bit 0 is the MOS, 1 to 5 are T1 to T5."""
    edits = (T3_TO_T5, (214, bytes([1 << bit])))
    present = read(with_flags(36, 59, 60, 61, edits=edits)).temperatures
    assert {k for k, v in present.items() if v is not None} == {name}
    without = read(with_flags(35, 37, 59, 60, 61, edits=edits)).temperatures
    assert None not in without.values()
    assert len(without) == 6


@pytest.mark.parametrize("flag", [36, 37, 38])
@pytest.mark.parametrize("on", [0, 1])
def test_flag_of_the_heater(flag: int, on: int) -> None:
    """6.1: 37 is heating, at 215."""
    reading = read(with_flags(flag, edits=((215, bytes([on])),)))
    assert reading.heater is (bool(on) if flag == 37 else None)


@pytest.mark.parametrize("flag", [47, 48, 49])
@pytest.mark.parametrize(("milliamps", "amps"), [(508, 0.508), (-7000, -7.0)])
def test_flag_of_the_heating_current(flag: int, milliamps: int, amps: float) -> None:
    """4.1, 6.1: 236 is signed mA, only with flag 48 and while heating is on."""
    current = (236, struct.pack("<h", milliamps))
    on = read(with_flags(37, flag, edits=(current, (215, b"\x01"))))
    off = read(with_flags(37, flag, edits=(current, (215, b"\x00"))))
    assert on.raw.get("heating_current") == (amps if flag == 48 else None)
    assert "heating_current" not in off.raw


@pytest.mark.parametrize("flag", [66, 67, 68])
@pytest.mark.parametrize(("code", "chemistry"), [(0, "lfp"), (1, "nmc"), (2, "lto"), (3, None)])
def test_flag_of_the_chemistry(flag: int, code: int, chemistry: str | None) -> None:
    """4.1, 6.1: 275 is 0 LFP, 1 Li-ion, 2 LTO, only with flag 67."""
    codec = JK02Codec()
    said = codec.decode(frame(with_flags(flag, edits=((275, bytes([code])),))))
    assert codec.identity([said]).chemistry == (chemistry if flag == 67 else None)


@pytest.mark.parametrize("flag", [69, 70, 71, 72])
def test_flag_of_the_charge_stage(flag: int) -> None:
    """6.1: 70 is the time in the stage, 71 the stage itself, at 280."""
    raw = read(with_flags(flag, edits=((280, b"\x01"),))).raw
    assert raw.get("charge_stage") == (1 if flag == 71 else None)


def test_soh_needs_no_flag() -> None:
    """6.1: flag 23 is never set although 190 is valid."""
    assert read(with_flags(edits=((190, b"\x4f"),))).soh == 79.0


# ------------------------------------------------------------------- 5.1 system alarm word

ALARMS: list[tuple[int, list[tuple[str, str]]]] = [
    (0, [("alarms", "wire_resistance")]),
    (1, [("protections", "mosfet_overtemperature")]),
    (2, [("faults", "cell_count_mismatch")]),
    (3, [("faults", "current_sense")]),
    # 4 is disputed: see below
    (5, [("protections", "pack_overvoltage")]),
    (6, [("protections", "charge_overcurrent")]),
    (7, [("protections", "short_circuit")]),  # charging
    (8, [("protections", "charge_overtemperature")]),
    (9, [("protections", "charge_undertemperature")]),
    (10, [("faults", "communication")]),  # coprocessor
    (11, [("protections", "cell_undervoltage")]),
    (12, [("protections", "pack_undervoltage")]),
    (13, [("protections", "discharge_overcurrent")]),
    (14, [("protections", "short_circuit")]),  # discharging
    (15, [("protections", "discharge_overtemperature")]),
]
ALARMS_32S: list[tuple[int, list[tuple[str, str]]]] = [
    (16, [("faults", "charge_mosfet")]),
    (17, [("faults", "discharge_mosfet")]),
    (18, [("alarms", "communication")]),  # GPS disconnected
    (19, [("alarms", "default_password")]),  # nagging, never a fault
    (20, [("faults", "discharge_mosfet")]),  # discharge-on failed
    (21, [("alarms", "charge_overtemperature"), ("alarms", "discharge_overtemperature")]),
    (22, [("faults", "temperature_sense")]),
    (24, [("protections", "short_circuit")]),  # release failed
    (25, [("protections", "discharge_overcurrent")]),  # level II
    (26, [("protections", "discharge_overcurrent")]),  # level III
    (27, [("protections", "discharge_undertemperature")]),
    (28, [("alarms", "software_lock")]),  # GPS remote lock
]


@pytest.mark.parametrize(("bit", "expected"), ALARMS + ALARMS_32S)
def test_alarm_bit_of_32s(bit: int, expected: list[tuple[str, str]]) -> None:
    """5.1, u32 at 166."""
    reading = read(live("32s", (166, struct.pack("<I", 1 << bit))))
    assert conditions(reading) == expected
    assert "alarm_bits" not in reading.raw


@pytest.mark.parametrize(("variant", "offset"), [("32s", 166), ("24s", 136)])
def test_alarm_bit_4_as_it_was_seen(variant: str, offset: int) -> None:
    """5.1: "fully charged" or cell OVP; the one recording has SOC 100 and cells at 3.25 V."""
    codec = JK02Codec(variant)
    release = (22, struct.pack("<I", 3455))
    codec.decode(frame(record(0x01, release, (114, b"\x10"))))
    cells = (6, struct.pack("<16H", *[3250] * 16))
    soc = ({"32s": 173, "24s": 141}[variant], b"\x64")
    found = codec.decode(frame(live(variant, cells, soc, (offset, b"\x10\0"))))
    assert conditions(codec.reading([found])) == [("alarms", "fully_charged")]


@pytest.mark.parametrize("bit", [23, 29, 30, 31])
def test_alarm_bit_without_a_common_name(bit: int) -> None:
    """5.1: 23 is the PCL module; nothing is known of 29 to 31. They stay visible."""
    reading = read(live("32s", (166, struct.pack("<I", 1 << bit))))
    assert conditions(reading) == []
    assert reading.raw["alarm_bits"] == [bit]


@pytest.mark.parametrize(("bit", "expected"), ALARMS)
def test_alarm_bit_of_24s(bit: int, expected: list[tuple[str, str]]) -> None:
    """5.1, u16 at 136: bits 0-15 of the same list."""
    reading = read(live("24s", (136, struct.pack("<H", 1 << bit))))
    assert conditions(reading) == expected
    assert "alarm_bits" not in reading.raw


# ------------------------------------------------------------------------ 3 settings (type 01)

VOLTS, AMPS, CELSIUS = 1000, 1000, 10
HEAD: list[tuple[int, int, str, int, Any]] = [
    # register, offset, name, raw, value; temperatures are signed
    (0x01, 6, "jk_smart_sleep_voltage", 3201, 3.201),
    (0x02, 10, "cell_uvp", 2602, 2.602),
    (0x03, 14, "cell_uvp_release", 2653, 2.653),
    (0x04, 18, "cell_ovp", 3654, 3.654),
    (0x05, 22, "cell_ovp_release", 3455, 3.455),
    (0x06, 26, "balance_delta", 10, 0.01),
    (0x07, 30, "full_charge_voltage", 3457, 3.457),
    (0x08, 34, "empty_voltage", 2658, 2.658),
    (0x09, 38, "jk_request_charge_voltage", 3459, 3.459),
    (0x0A, 42, "float_voltage", 3360, 3.36),
    (0x0B, 46, "jk_power_off_voltage", 2501, 2.501),
    (0x0C, 50, "charge_ocp", 200_012, 200.012),
    (0x0D, 54, "charge_ocp_delay", 13, 13),
    (0x0E, 58, "charge_ocp_release", 64, 64),
    (0x0F, 62, "discharge_ocp", 100_015, 100.015),
    (0x10, 66, "discharge_ocp_delay", 316, 316),
    (0x11, 70, "discharge_ocp_release", 67, 67),
    (0x12, 74, "short_circuit_release", 518, 518),
    (0x13, 78, "balance_current", 2019, 2.019),
    (0x14, 82, "charge_otp", 601, 60.1),
    (0x15, 86, "charge_otp_release", 502, 50.2),
    (0x16, 90, "discharge_otp", 703, 70.3),
    (0x17, 94, "discharge_otp_release", 604, 60.4),
    (0x18, 98, "charge_utp", -55, -5.5),
    (0x19, 102, "charge_utp_release", -26, -2.6),
    (0x1A, 106, "mosfet_otp", 1007, 100.7),
    (0x1B, 110, "mosfet_otp_release", 808, 80.8),
    (0x1C, 114, "cell_count", 17, 17),
    (0x1D, 118, "charge_switch", 1, True),
    (0x1E, 122, "discharge_switch", 1, True),
    (0x1F, 126, "balance_switch", 1, True),
    (0x20, 130, "nominal_capacity", 280_032, 280.032),
    (0x21, 134, "short_circuit_delay", 1500, 0.0015),  # µs; on 24S register 25
    (0x22, 138, "balance_start_voltage", 3450, 3.45),  # on 24S register 26
]
SWITCHES = {  # bit of the word at 282 -> register 27 + bit
    0: "jk_heating",
    1: "jk_temperature_sensors_disabled",
    2: "jk_gps_heartbeat",
    3: "jk_port_rs485",  # 1 = RS485, 0 = CAN
    4: "jk_display_always_on",
    5: "jk_special_charger",
    6: "jk_smart_sleep",
    7: "jk_parallel_limiter_disabled",
    8: "jk_timed_data",
    9: "jk_float_mode",
    10: "jk_button_emergency",
    11: "jk_dry_contact_intermittent",
    12: "jk_discharge_ocp_2",
    13: "jk_discharge_ocp_3",
    14: "jk_gps_lock_charge",
    15: "jk_gps_lock_discharge",
}
SETTINGS_32S: list[tuple[int, str, int, str, Any]] = [
    # offset, format, raw, name, value
    (142, "<I", 3_000_000_001, "jk_wire_resistances.1", 3_000_000_001),
    (266, "<I", 3_000_000_002, "jk_wire_resistances.32", 3_000_000_002),
    (270, "<I", 3_000_000_003, "jk_device_address", 3_000_000_003),
    (274, "<I", 300, "jk_precharge_time", 300),
    (278, "<I", 1_500_000, "jk_current_range", 1_500_000),
    (284, "b", -10, "jk_heating_start", -10),  # i8 °C
    (285, "b", -9, "jk_heating_stop", -9),
    (286, "B", 200, "jk_smart_sleep_delay", 200),  # h
    (296, "b", -35, "discharge_utp", -35),
    (297, "b", -30, "discharge_utp_release", -30),
]


def settings(variant: str, *edits: Edit) -> dict[str, Any]:
    said = explain(record(0x01, *edits), variant)
    assert (said.kind, said.role) == ("settings", "settings")
    return dict(said.values)


@pytest.mark.parametrize("variant", ["32s", "24s"])
@pytest.mark.parametrize(("register", "offset", "name", "raw", "value"), HEAD)
def test_setting(
    variant: str, register: int, offset: int, name: str, raw: int, value: float
) -> None:
    """3: registers 01 to 22, four bytes each from 6 on, on both variants."""
    assert offset == 6 + 4 * (register - 1)
    found = settings(variant, (offset, struct.pack("<i", raw)))
    assert changed(settings(variant), found) == {name: value}


@pytest.mark.parametrize(
    ("name", "offset", "raw", "value"),
    [
        ("cell_ovp", 18, 4_000_000_001, 4_000_000.001),
        ("charge_ocp", 50, 4_000_000_001, 4_000_000.001),
        ("nominal_capacity", 130, 4_000_000_001, 4_000_000.001),
        ("charge_ocp_delay", 54, 4_000_000_001, 4_000_000_001),
        ("short_circuit_delay", 134, 4_000_000_001, 4000.000001),
    ],
)
def test_settings_other_than_temperatures_are_unsigned(
    name: str, offset: int, raw: int, value: float
) -> None:
    """3: u32 unless noted."""
    assert settings("32s", (offset, struct.pack("<I", raw)))[name] == value


@pytest.mark.parametrize("name_offset", [(n, o) for r, o, n, *_ in HEAD if 0x14 <= r <= 0x1B])
def test_setting_temperatures_are_signed(name_offset: tuple[str, int]) -> None:
    """3: i32 0.1 °C."""
    name, offset = name_offset
    assert settings("32s", (offset, struct.pack("<i", -451)))[name] == -45.1


@pytest.mark.parametrize(("offset", "form", "raw", "name", "value"), SETTINGS_32S)
def test_setting_of_32s_only(offset: int, form: str, raw: int, name: str, value: float) -> None:
    """3: from 142 on."""
    edits = ((offset, struct.pack(form, raw)),)
    assert changed(settings("32s"), settings("32s", *edits)) == {name: value}


@pytest.mark.parametrize(("bit", "name"), SWITCHES.items())
def test_switch_word(bit: int, name: str) -> None:
    """3: bit n of the word at 282 is register 27 + n."""
    edit = (282, struct.pack("<H", 1 << bit))
    assert changed(settings("32s"), settings("32s", edit)) == {name: True}


@pytest.mark.parametrize(("offset", "number"), [(158, 1), (162, 2), (250, 24)])
def test_wire_resistance_settings_of_24s(offset: int, number: int) -> None:
    """3: 24 words from 158 on."""
    found = settings("24s", (offset, struct.pack("<I", 3_000_000_001)))
    assert changed(settings("24s"), found) == {f"jk_wire_resistances.{number}": 3_000_000_001}


@pytest.mark.parametrize(
    ("register", "name"),
    [
        *((register, name) for register, _, name, *_ in HEAD),
        (0x24, "jk_device_address"),
        (0x25, "jk_precharge_time"),
        *((0x27 + bit, name) for bit, name in SWITCHES.items()),
        (0x37, "jk_heating_start"),
        (0x38, "jk_heating_stop"),
        (0x39, "jk_smart_sleep_delay"),
        (0x3A, "discharge_utp"),
        (0x3B, "discharge_utp_release"),
    ],
)
def test_enable_flag_of_a_setting(register: int, name: str) -> None:
    """6.1: bit n of the nine bytes at 287 is register n; clear, the board has no such setting."""
    every = (1 << 72) - 1
    full = settings("32s", (287, every.to_bytes(9, "little")))
    less = settings("32s", (287, (every & ~(1 << register)).to_bytes(9, "little")))
    assert changed(full, less) == {name: None}


def test_live_values_are_completed_with_the_settings() -> None:
    """3: the switches are the user's (118, 122, 126), the configured capacity stands at 130."""
    for offset, name in (
        (118, "charge_switch"),
        (122, "discharge_switch"),
        (126, "balance_switch"),
    ):
        codec = JK02Codec("32s")
        codec.decode(frame(record(0x01, (offset, b"\x01"), (130, struct.pack("<I", 280_000)))))
        reading = codec.reading([codec.decode(frame(LIVE["32s"]))])
        on = {
            "charge_switch": reading.charge_switch,
            "discharge_switch": reading.discharge_switch,
            "balance_switch": reading.balance_switch,
        }
        assert [key for key, value in on.items() if value] == [name]
        assert reading.nominal_capacity == 280.0


# --------------------------------------------------------------------- 2 device info (type 03)


@pytest.mark.parametrize(
    ("offset", "data", "expected"),
    [
        (6, b"JK-PB2A16S20PXY", {"model": "JK-PB2A16S20PXY"}),
        (22, b"V19A-XYZ", {"hardware": "V19A-XYZ"}),
        (30, b"19.27XYZ", {"firmware": "19.27XYZ"}),
        (38, struct.pack("<I", 4_000_000_001), {"run_time": 4_000_000_001}),
        (42, struct.pack("<I", 4_000_000_002), {"power_on_count": 4_000_000_002}),
        (46, b"My pack 16 chars", {"name": "My pack 16 chars"}),
        (62, b"hunter2hunter2hu", {}),  # the password
        (78, b"20231125", {"first_power_on": "20231125"}),
        (86, b"SN4567890123456X", {"serial_number": "SN4567890123456X"}),
        (102, b"Input Userdata16", {}),
        (118, b"hunter3hunter3hu", {}),  # the settings password
        (134, b"user data 2 user", {}),
    ],
)
def test_string_of_the_device_info(offset: int, data: bytes, expected: dict[str, Any]) -> None:
    """2: the strings and counters of identity; passwords and user data are never told."""
    after = explain(summed(put(INFO, (offset, data)))).values
    assert changed(explain(INFO).values, after) == expected
    assert not any("hunter" in str(value) for value in after.values())


def test_both_passwords_are_scrubbed_where_they_stand() -> None:
    """2: 62 and 118 hold them in plain text; the user data between them stays."""
    secret = b"hunter2hunter2hu"
    edits = ((62, secret), (102, b"Input Userdata16"), (118, secret), (134, b"user data 2 user"))
    clean = JK02Codec().scrub(frame(summed(put(INFO, *edits))))
    assert clean is not None
    assert (clean[62:78], clean[118:134]) == (bytes(16), bytes(16))
    assert (clean[102:118], clean[134:150]) == (b"Input Userdata16", b"user data 2 user")
    assert summed(clean) == clean


def layout_values(raw: bytes) -> dict[str, Any]:
    payload = JK02Codec().payload(frame(raw))
    assert payload is not None
    return parse(payload.layout, payload.data, "a record")


@pytest.mark.parametrize(
    ("offset", "form", "raw", "name", "value"),
    [
        (21, "B", 152, "maximum_cells", 152),
        (134, "16s", b"user data 2 user", "user_data_2", b"user data 2 user"),
        (150, "32s", bytes(range(32)), "command_flags", bytes(range(32))),
        (182, "<H", 60_513, "agency", 60_513),
        (184, "B", 229, "uart1_protocol", 229),
        (185, "B", 230, "can_protocol", 230),
        (186, "<I", 0x81020304, "uart1_protocols", 0x81020304),
        (190, "12s", b"CEHMPRTabcde", "hardware_option", b"CEHMPRTabcde"),
        (202, "<I", 0x82030405, "can_protocols", 0x82030405),
        (218, "B", 231, "uart2_protocol", 231),
        (219, "<I", 0x83040506, "uart2_protocols", 0x83040506),
        (234, "B", 232, "buzzer_trigger", 232),
        (235, "B", 233, "dry1_trigger", 233),
        (236, "B", 234, "dry2_trigger", 234),
        (237, "B", 235, "uart_library", 235),
        (238, "<i", -101, "trigger_values.1", -101),  # buzzer trigger, release
        (242, "<i", -102, "trigger_values.2", -102),
        (246, "<i", -103, "trigger_values.3", -103),  # DRY1
        (250, "<i", -104, "trigger_values.4", -104),
        (254, "<i", -105, "trigger_values.5", -105),  # DRY2
        (258, "<i", -106, "trigger_values.6", -106),
        (262, "<I", 4_000_864_000, "store_period", 4_000_864_000),
        (266, "B", 255, "request_charge_time", 25.5),  # 0.1 h
        (267, "B", 201, "float_time", 20.1),
        (268, "B", 236, "can_library", 236),
        (269, "B", 237, "emergency_minutes", 237),
        (270, "B", 238, "uart3_protocol", 238),
        (271, "7s", b"\x81\x02\x03\x04\x05\x06\x87", "uart3_protocols", None),
        (278, "B", 170, "rebulk_soc", 170),
        (279, "B", 239, "uart4_protocol", 239),
        (280, "<I", 0x84050607, "uart4_protocols", 0x84050607),
        (287, "11s", bytes(range(1, 12)), "enable_flags", bytes(range(1, 12))),
        (298, "B", 130, "protocol_version", 130),
    ],
)
def test_rest_of_the_device_info(offset: int, form: str, raw: Any, name: str, value: Any) -> None:
    """2: what has no place in the identity is at least laid out right."""
    after = layout_values(summed(put(INFO, (offset, struct.pack(form, raw)))))
    assert changed(layout_values(INFO), after) == {name: raw if value is None else value}


# ------------------------------------------------------------------- 5.3, 5.4 logs (05 and 06)


def test_logbook() -> None:
    """5.3: u32 count at 6 (may exceed 50), u8 at 10, from 11 on u32 seconds and u8 code."""
    said = explain(
        record(
            0x05,
            (6, struct.pack("<IB", 4_000_000_050, 249)),
            (11, struct.pack("<IB", 4_000_000_001, 59)),
            (16, struct.pack("<IB", 2, 116)),
            (11 + 5 * 49, struct.pack("<IB", 3, 231)),
        )
    )
    entries = said.values["entries"]
    assert (said.kind, said.values["count"], said.values["last"]) == (
        "logbook",
        4_000_000_050,
        249,
    )
    assert len(entries) == 50
    assert entries[0] == {"seconds": 4_000_000_001, "code": 59}
    assert entries[1] == {"seconds": 2, "code": 116}
    assert entries[49] == {"seconds": 3, "code": 231}


def test_detail_log() -> None:
    """5.4: first index at 6, count at 8, 24-byte entries from 9 on."""
    entry = struct.pack(
        "<IBBBBHHHhHHbbbB",
        *(4_000_000_001, 210, 0x8B, 203, 204, 34001, 33002, 52003, -1234, 42345, 43456),
        *(-11, -22, -33, 205),
    )
    assert len(entry) == 24
    said = explain(record(0x06, (6, struct.pack("<HB", 828, 12)), (9 + 24 * 11, entry)))
    assert (said.kind, said.values["first"], said.values["count"]) == ("detail_log", 828, 12)
    assert said.values["entries"][11] == {
        "clock": 4_000_000_001,
        "code": 210,
        "states": 0x8B,
        "highest_cell": 203,
        "lowest_cell": 204,
        "max_cell_voltage": 34.001,
        "min_cell_voltage": 33.002,
        "voltage": 520.03,
        "current": -123.4,  # signed, whatever the vendor's table says
        "remaining_capacity": 4234.5,
        "full_capacity": 4345.6,
        "max_temperature": -11,
        "min_temperature": -22,
        "mosfet_temperature": -33,
        "heating_current": 20.5,
    }


# ------------------------------------------------------------------------ 7 write registers

_HEAD_WRITES = [
    (register, struct.pack("<i", raw), name, int(value) if isinstance(value, bool) else value)
    for register, _, name, raw, value in HEAD
    if register <= 0x20
]


@pytest.mark.parametrize(
    ("variant", "register", "data", "name", "value"),
    [
        *(("32s", *row) for row in _HEAD_WRITES),
        *(("24s", *row) for row in _HEAD_WRITES),
        ("24s", 0x21, struct.pack("<I", 52_501), "jk_voltage_calibration", 52.501),
        ("24s", 0x24, struct.pack("<I", 12_345), "jk_current_calibration", 12.345),
        ("24s", 0x25, struct.pack("<I", 1500), "short_circuit_delay", 0.0015),
        ("24s", 0x26, struct.pack("<I", 3450), "balance_start_voltage", 3.45),
        ("32s", 0x21, struct.pack("<I", 1500), "short_circuit_delay", 0.0015),
        ("32s", 0x22, struct.pack("<I", 3450), "balance_start_voltage", 3.45),
        ("32s", 0x24, struct.pack("<I", 3), "jk_device_address", 3),
        ("32s", 0x25, struct.pack("<I", 300), "jk_precharge_time", 300),
        *(("32s", 0x27 + bit, b"\x01\0\0\0", name, 1) for bit, name in SWITCHES.items()),
        ("32s", 0x37, b"\xf6", "jk_heating_start", -10),
        ("32s", 0x38, b"\xf7", "jk_heating_stop", -9),
        ("32s", 0x39, b"\x17", "jk_smart_sleep_delay", 23),
        ("32s", 0x3A, b"\xdd", "discharge_utp", -35),
        ("32s", 0x3B, b"\xe2", "discharge_utp_release", -30),
        ("32s", 0x64, struct.pack("<I", 52_501), "jk_voltage_calibration", 52.501),
        ("32s", 0x67, struct.pack("<I", 12_345), "jk_current_calibration", 12.345),
        ("32s", 0x6B, b"\x01\0\0\0", "jk_emergency", 1),
        ("32s", 0x6C, struct.pack("<I", 4_000_000_001), "jk_clock", 4_000_000_001),
        ("32s", 0xA5, b"\x0d\0", "jk_uart1_protocol", 13),
        ("32s", 0xA6, b"\x0c\0", "jk_can_protocol", 12),
        ("32s", 0xA8, b"\x0b\0", "jk_uart2_protocol", 11),
        ("32s", 0xA9, b"\x0a\0", "jk_buzzer_trigger", 10),
        ("32s", 0xAA, b"\x09\0", "jk_dry1_trigger", 9),
        ("32s", 0xAB, b"\x08\0", "jk_dry2_trigger", 8),
        ("32s", 0xB3, b"\xff", "jk_request_charge_time", 25.5),
        ("32s", 0xB4, b"\x0c", "jk_float_time", 1.2),
        ("32s", 0xB5, b"\x1f", "jk_emergency_duration", 31),
        ("32s", 0xB6, b"\x07\0", "jk_uart3_protocol", 7),
        ("32s", 0xB7, b"\x2a", "jk_rebulk_soc", 42),
    ],
)
def test_write_register(variant: str, register: int, data: bytes, name: str, value: float) -> None:
    """7: what is written to which register, in how many bytes, by variant."""
    found = frame(command(register, data))
    said = JK02Codec(variant).decode(found, sent=True)
    assert (said.kind, said.role) == ("write", "request")
    assert said.values == {"register": register, name: value}


@pytest.mark.parametrize(
    ("variant", "register", "name"),
    [
        ("24s", 0x21, "jk_voltage_calibration"),
        ("24s", 0x24, "jk_current_calibration"),
        ("24s", 0x1C, "cell_count"),
        ("32s", 0x64, "jk_voltage_calibration"),
        ("32s", 0x67, "jk_current_calibration"),
        ("32s", 0x65, "jk_shutdown"),
        ("32s", 0x66, "jk_restart"),
        ("32s", 0x68, "jk_preset_li_ion"),
        ("32s", 0x69, "jk_preset_lfp"),
        ("32s", 0x6A, "jk_preset_lto"),
        ("32s", 0x9D, "jk_factory_reset"),
        ("32s", 0x1C, "cell_count"),
        ("32s", 0xA5, "jk_uart1_protocol"),
        ("32s", 0xA6, "jk_can_protocol"),
        ("32s", 0xA8, "jk_uart2_protocol"),
        ("32s", 0xB6, "jk_uart3_protocol"),
        ("32s", 0x2A, "jk_port_rs485"),
        ("32s", 0x24, "jk_device_address"),
    ],
)
def test_dangerous_register(variant: str, register: int, name: str) -> None:
    """14: only behind an explicit, typed confirmation and a backup. Names: 7."""
    assert REGISTERS[variant][register].key == name
    assert REGISTERS[variant][register].danger is True


@pytest.mark.parametrize("variant", ["24s", "32s"])
@pytest.mark.parametrize("register", [r for r in range(0x01, 0x21) if r != 0x1C])
def test_ordinary_register(variant: str, register: int) -> None:
    """14 names none of these: a danger that is everywhere warns of nothing."""
    assert REGISTERS[variant][register].danger is False
