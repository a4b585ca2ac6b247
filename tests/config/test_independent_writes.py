"""What we wrote on the simulated boards, as other people's programs read it back.

bmstools reads JBD's registers, pymodbus the register tables of JK and of Daly's D2, dalybms the
switches and the parameter frames of Daly's A5. Where a value stands and how it is scaled is
written down here once more, without our maps.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import serial
from bmstools.jbd.jbd import JBD
from dalybms import DalyBMS
from pymodbus.client import AsyncModbusSerialClient
from test_pymodbus import pymodbus_client
from test_serve import serving

import bmslink
from bmslink.board import Board
from bmslink.model import Command, Switch
from bmslink.settings.setting import Setting, Value
from bmslink.storage.journal import Journal

NOT_TOUCHED = ("charge_switch", "discharge_switch", "jk_device_address", "jk_port_rs485",
               "cell_count")  # fmt: skip
"""Left as they are: what could cut the line that the test is written over, and the number of
cells, of which a simulated pack has as many as it has."""


def another(row: Setting, value: Value | None, number: int) -> Value:
    """A value that the board does not hold now; of numbers one that no neighbour has."""
    if row.kind == "switch":
        return not value
    if row.kind == "choice":
        return next(word for word in row.choices.values() if word != value)
    low, high = row.minimum or 0.0, row.maximum or 0.0
    wanted = row.nearest(low + (high - low) * (number % 97 + 1) / 99)
    return wanted if wanted != value else row.nearest((low + high) / 2)


def hurried(target: str) -> str:
    """Without the pauses that real boards need."""
    return f"{target}{'&' if '?' in target else '?'}gap=0.001"


async def write_all(
    device: Board, tmp_path: Path, without: tuple[str, ...] = NOT_TOUCHED
) -> dict[str, Value]:
    """Write every setting of a board that can be written; gives what it should hold now."""
    device.driver.settings.settle = 0.01  # a simulated board stores at once
    table = await device.settings()
    held = table.values()
    rows = [
        row
        for row in table.map.settings
        if row.writable and row.slot in table.image and not row.key.endswith(without)
    ]
    wanted = {row.key: another(row, held[row.key], number) for number, row in enumerate(rows)}
    new = table.map.encode(table.image, wanted)
    transaction = Journal(tmp_path / "journal").begin("test", {}, [])
    async with device.writing():
        for address, data in new.items():
            await device.store(table.map, table.map.by_address[address], data, transaction)
    return wanted


async def written_and_read(
    protocol: str, tmp_path: Path, reader: Callable[[str], Any], **options: Any
) -> tuple[dict[str, Value], Any]:
    """What we wrote over a pseudo-terminal, and what another program reads over it."""
    port = str(tmp_path / "port")
    async with serving(1, protocol, pty=port, speed=1e-6, **options) as served:
        async with bmslink.connect(hurried(served.targets[0])).board as device:
            wanted = await write_all(device, tmp_path)
        return wanted, await asyncio.to_thread(reader, port)


# ----------------------------------------------------------------------------------------- JBD

BMSTOOLS: Mapping[str, tuple[str, float]] = {
    # our key -> its name there, and how many of its steps are one of our units
    "cell_ovp": ("covp", 1000), "cell_ovp_release": ("covp_rel", 1000),
    "cell_uvp": ("cuvp", 1000), "cell_uvp_release": ("cuvp_rel", 1000),
    "pack_ovp": ("povp", 1000), "pack_ovp_release": ("povp_rel", 1000),
    "pack_uvp": ("puvp", 1000), "pack_uvp_release": ("puvp_rel", 1000),
    "charge_otp": ("chgot", 1), "charge_otp_release": ("chgot_rel", 1),
    "charge_utp": ("chgut", 1), "charge_utp_release": ("chgut_rel", 1),
    "discharge_otp": ("dsgot", 1), "discharge_otp_release": ("dsgot_rel", 1),
    "discharge_utp": ("dsgut", 1), "discharge_utp_release": ("dsgut_rel", 1),
    "charge_ocp": ("chgoc", 1000), "discharge_ocp": ("dsgoc", -1000),
    "cell_uvp_delay": ("cuvp_delay", 1), "cell_ovp_delay": ("covp_delay", 1),
    "pack_uvp_delay": ("puvp_delay", 1), "pack_ovp_delay": ("povp_delay", 1),
    "charge_utp_delay": ("chgut_delay", 1), "charge_otp_delay": ("chgot_delay", 1),
    "discharge_utp_delay": ("dsgut_delay", 1), "discharge_otp_delay": ("dsgot_delay", 1),
    "charge_ocp_delay": ("chgoc_delay", 1), "charge_ocp_release": ("chgoc_rel", 1),
    "discharge_ocp_delay": ("dsgoc_delay", 1), "discharge_ocp_release": ("dsgoc_rel", 1),
    "jbd_hardware_cell_ovp": ("covp_high", 1000), "jbd_hardware_cell_uvp": ("cuvp_high", 1000),
    "jbd_external_switch": ("switch", 1), "jbd_load_detection": ("scrl", 1),
    "balance_switch": ("balance_en", 1), "balance_charging_only": ("chg_balance_en", 1),
    "jbd_leds": ("led_en", 1), "jbd_led_count": ("led_num", 1),
    "balance_start_voltage": ("bal_start", 1000), "balance_delta": ("bal_window", 1000),
    "nominal_capacity": ("design_cap", 1000), "cycle_capacity": ("cycle_cap", 1000),
    "full_charge_voltage": ("cap_100", 1000), "empty_voltage": ("cap_0", 1000),
    "jbd_soc_80_voltage": ("cap_80", 1000), "jbd_soc_60_voltage": ("cap_60", 1000),
    "jbd_soc_40_voltage": ("cap_40", 1000), "jbd_soc_20_voltage": ("cap_20", 1000),
    "jbd_led_time": ("led_timer", 1),
}  # fmt: skip


def bmstools_reads(port: str) -> dict[str, Any]:
    return JBD(serial.Serial(port, 9600, timeout=0.5)).readEeprom()


@pytest.mark.real_time
async def test_bmstools_reads_what_we_wrote_to_jbd(tmp_path: Path) -> None:
    wanted, theirs = await written_and_read("jbd", tmp_path, bmstools_reads, firmware="8.0")
    assert wanted.keys() == BMSTOOLS.keys()
    for key, value in wanted.items():
        name, per = BMSTOOLS[key]
        assert theirs[name] == pytest.approx(float(value) * per), key
    untouched = {"cell_cnt": 16, "shunt_res": 0.1, "serial_num": 1}
    assert {name: theirs[name] for name in untouched} == pytest.approx(untouched)


# ------------------------------------------------------------------------------------------ JK

_U, _I, _B, _SB = ">I", ">i", ">B", ">b"
JK_TABLE: Mapping[str, tuple[int, str, float]] = {
    # our key -> byte offset from 1000 hex, form, steps per unit
    "jk_smart_sleep_voltage": (0x00, _U, 1000), "cell_uvp": (0x04, _U, 1000),
    "cell_uvp_release": (0x08, _U, 1000), "cell_ovp": (0x0C, _U, 1000),
    "cell_ovp_release": (0x10, _U, 1000), "balance_delta": (0x14, _U, 1000),
    "full_charge_voltage": (0x18, _U, 1000), "empty_voltage": (0x1C, _U, 1000),
    "jk_request_charge_voltage": (0x20, _U, 1000), "float_voltage": (0x24, _U, 1000),
    "jk_power_off_voltage": (0x28, _U, 1000), "charge_ocp": (0x2C, _U, 1000),
    "charge_ocp_delay": (0x30, _U, 1), "charge_ocp_release": (0x34, _U, 1),
    "discharge_ocp": (0x38, _U, 1000), "discharge_ocp_delay": (0x3C, _U, 1),
    "discharge_ocp_release": (0x40, _U, 1), "short_circuit_release": (0x44, _U, 1),
    "balance_current": (0x48, _U, 1000), "charge_otp": (0x4C, _I, 10),
    "charge_otp_release": (0x50, _I, 10), "discharge_otp": (0x54, _I, 10),
    "discharge_otp_release": (0x58, _I, 10), "charge_utp": (0x5C, _I, 10),
    "charge_utp_release": (0x60, _I, 10), "mosfet_otp": (0x64, _I, 10),
    "mosfet_otp_release": (0x68, _I, 10),
    "balance_switch": (0x78, _U, 1), "nominal_capacity": (0x7C, _U, 1000),
    "short_circuit_delay": (0x80, _U, 1_000_000), "balance_start_voltage": (0x84, _U, 1000),
    "jk_precharge_time": (0x10C, _U, 1),
    "jk_heating_start": (0x116, _SB, 1), "jk_heating_stop": (0x117, _SB, 1),
    "discharge_utp": (0x122, _SB, 1), "discharge_utp_release": (0x123, _SB, 1),
}  # fmt: skip
JK_WORD = 0x114
"""Sixteen switches; bit 0 is heating."""
JK_BITS = (
    "jk_heating", "jk_temperature_sensors_disabled", "jk_gps_heartbeat", "jk_port_rs485",
    "jk_display_always_on", "jk_special_charger", "jk_smart_sleep", "jk_parallel_limiter_disabled",
    "jk_timed_data", "jk_float_mode", "jk_button_emergency", "jk_dry_contact_intermittent",
    "jk_discharge_ocp_2", "jk_discharge_ocp_3", "jk_gps_lock_charge", "jk_gps_lock_discharge",
)  # fmt: skip


async def table_by_pymodbus(client: Any, unit: int, first: int, size: int) -> bytes:
    """The bytes of registers that are numbered by bytes."""
    found = b""
    while len(found) < size:
        count = min(60, (size - len(found)) // 2)
        answer = await client.read_holding_registers(
            first + len(found), count=count, device_id=unit
        )
        assert not answer.isError(), answer
        found += struct.pack(f">{count}H", *answer.registers)
        await asyncio.sleep(0.06)  # the board is deaf right after an answer
    return found


def test_pymodbus_reads_what_we_wrote_to_jk(tmp_path: Path) -> None:
    """Over another connection than ours, to the same board."""

    async def main() -> tuple[dict[str, Value], bytes]:
        async with pymodbus_client("tcp", tmp_path) as (client, served):
            async with bmslink.connect(served.targets[0]).board as device:
                wanted = await write_all(device, tmp_path)
            return wanted, await table_by_pymodbus(client, 2, 0x1000, 0x124)

    wanted, table = asyncio.run(main())
    word = int.from_bytes(table[JK_WORD : JK_WORD + 2], "big")
    for key, value in wanted.items():
        if key in JK_BITS:
            assert word >> JK_BITS.index(key) & 1 == value, key
            continue
        at, form, per = JK_TABLE[key]
        (raw,) = struct.unpack_from(form, table, at)
        assert raw == round(float(value) * per), key
    assert len(wanted) > 40


# ---------------------------------------------------------------------------------------- Daly

D2_REGISTERS: Mapping[str, tuple[int, float, float]] = {
    # our key -> register, steps per unit, offset
    "nominal_capacity": (0x80, 10, 0), "daly_nominal_cell_voltage": (0x81, 1000, 0),
    "sleep_delay": (0x8A, 1, 0), "cell_ovp": (0x8C, 1000, 0), "cell_uvp": (0x8E, 1000, 0),
    "pack_ovp": (0x90, 10, 0), "pack_uvp": (0x92, 10, 0), "charge_ocp": (0x94, -10, 30000),
    "discharge_ocp": (0x96, 10, 30000), "charge_otp": (0x98, 1, 40), "charge_utp": (0x9A, 1, 40),
    "discharge_otp": (0x9C, 1, 40), "discharge_utp": (0x9E, 1, 40), "cell_delta": (0xA0, 1000, 0),
    "temperature_delta": (0xA2, 1, 0), "balance_start_voltage": (0xA3, 1000, 0),
    "balance_delta": (0xA4, 1000, 0),
}  # fmt: skip


def test_pymodbus_reads_what_we_wrote_to_daly_d2(tmp_path: Path) -> None:
    """These frames are Modbus', unit D2."""
    port = str(tmp_path / "port")

    async def main() -> tuple[dict[str, Value], list[int]]:
        async with serving(1, "daly-d2", pty=port, speed=1e-6) as served:
            async with bmslink.connect(hurried(served.targets[0])).board as device:
                wanted = await write_all(device, tmp_path, (*NOT_TOUCHED, "_warning"))
            client = AsyncModbusSerialClient(port, baudrate=9600, timeout=2, retries=0)
            assert await client.connect()
            answer = await client.read_holding_registers(0x80, count=0x29, device_id=0xD2)
            client.close()
            assert not answer.isError(), answer
            return wanted, answer.registers

    wanted, registers = asyncio.run(main())
    assert wanted.keys() - {"chemistry"} == D2_REGISTERS.keys()
    for key, (register, per, zero) in D2_REGISTERS.items():
        assert registers[register - 0x80] == round(float(wanted[key]) * per) + zero, key
    assert registers[0x89 - 0x80] == ("lfp", "nmc", "lto").index(str(wanted["chemistry"]))


A5_FRAMES: Mapping[str, tuple[str, ...]] = {
    # read id -> our keys in wire order
    "50": ("nominal_capacity", "daly_nominal_cell_voltage"),
    "59": ("cell_ovp_warning", "cell_ovp", "cell_uvp_warning", "cell_uvp"),
    "5a": ("pack_ovp_warning", "pack_ovp", "pack_uvp_warning", "pack_uvp"),
    "5b": ("charge_ocp_warning", "charge_ocp", "discharge_ocp_warning", "discharge_ocp"),
    "5c": ("charge_otp_warning", "charge_otp", "charge_utp_warning", "charge_utp",
           "discharge_otp_warning", "discharge_otp", "discharge_utp_warning", "discharge_utp"),
    "5d": ("soc_high_warning", "soc_high", "soc_low_warning", "soc_low"),
    "5f": ("balance_start_voltage", "balance_delta"),
}  # fmt: skip
A5_FORMS: Mapping[str, tuple[str, tuple[float, ...], float]] = {
    # read id -> form, steps per unit of each, offset
    "50": (">2I", (1000,) * 2, 0),
    "59": (">4H", (1000,) * 4, 0),
    "5a": (">4H", (10,) * 4, 0),
    "5b": (">4H", (-10, -10, 10, 10), 30000),
    "5c": (">8B", (1,) * 8, 40),
    "5d": (">4H", (10,) * 4, 0),
    "5f": (">2H4x", (1000,) * 2, 0),
}


def dalybms_reads(port: str) -> dict[str, bytes]:
    peer = DalyBMS(address=4)
    peer.connect(port)
    try:
        return {name: bytes(peer._read_request(name)) for name in A5_FRAMES}
    finally:
        peer.disconnect()


@pytest.mark.real_time
async def test_dalybms_reads_what_we_wrote_to_daly_a5(tmp_path: Path) -> None:
    wanted, frames = await written_and_read("daly-a5", tmp_path, dalybms_reads)
    for name, keys in A5_FRAMES.items():
        form, per, zero = A5_FORMS[name]
        raws = struct.unpack(form, frames[name])
        expected = [
            round(float(wanted[key]) * step) + zero for key, step in zip(keys, per, strict=True)
        ]
        assert list(raws) == expected, name


@pytest.mark.parametrize("switch", [Switch.CHARGE, Switch.DISCHARGE])
def test_dalybms_sees_the_mosfets_that_we_switched(switch: Switch, tmp_path: Path) -> None:
    port = str(tmp_path / "port")

    def state() -> dict[str, Any]:
        peer = DalyBMS(address=4)
        peer.connect(port)
        try:
            return dict(peer.get_mosfet_status())
        finally:
            peer.disconnect()

    async def main() -> list[dict[str, Any]]:
        async with serving(1, "daly-a5", pty=port) as served:
            seen = [await asyncio.to_thread(state)]
            transaction = Journal(tmp_path / "journal").begin("test", {}, [])
            for on in (False, True):
                async with bmslink.connect(served.targets[0]).board as device:
                    await device.send(Command(switch, on), transaction)
                seen.append(await asyncio.to_thread(state))
            return seen

    name = "charging_mosfet" if switch is Switch.CHARGE else "discharging_mosfet"
    assert [seen[name] for seen in asyncio.run(main())] == [True, False, True]


def test_bmstools_sees_the_fets_that_we_switched(tmp_path: Path) -> None:
    port = str(tmp_path / "port")

    def state() -> tuple[bool, bool]:
        info = JBD(serial.Serial(port, 9600, timeout=0.5)).readBasicInfo()
        return info["chg_fet_en"], info["dsg_fet_en"]

    async def main() -> list[tuple[bool, bool]]:
        async with serving(1, "jbd", pty=port) as served:
            seen = [await asyncio.to_thread(state)]
            transaction = Journal(tmp_path / "journal").begin("test", {}, [])
            for command in (
                Command(Switch.CHARGE, False),
                Command(Switch.DISCHARGE, False),
                Command(Switch.CHARGE, True),
            ):
                async with bmslink.connect(served.targets[0]).board as device:
                    await device.send(command, transaction)
                seen.append(await asyncio.to_thread(state))
            return seen

    assert asyncio.run(main()) == [(True, True), (False, True), (False, False), (True, False)]
