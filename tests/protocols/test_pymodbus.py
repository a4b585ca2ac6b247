"""pymodbus at the other end: as the slave that our client reads, and as the client of ours.

Its slave holds captured native records turned into registers here, by what JK's documents say and
without our map; a reading through Modbus must equal the reading of the captured records.
"""

from __future__ import annotations

import asyncio
import os
import struct
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from test_serve import serving

import bmslink
from bmslink.errors import Refused
from bmslink.link.capture import open_capture
from bmslink.model import Identity, Reading, Switch
from bmslink.protocols.jk.jk02.driver import JK02Codec, JK02Framer
from bmslink.protocols.jk.jk02.framing import JK02Frame
from support import FIXTURES

SETTINGS, CELLS, INFO = 1, 2, 3
BASES = {SETTINGS: 0x1000, CELLS: 0x1200, INFO: 0x1400}
CAPTURES = (
    "jk02/jk02-32s-b2a8s20p-19.10",
    "jk02/raw-notif-32s-15.41-at",
    "jk02/sess-jk02-32s-b2a20s20p-11.288H-port-heating",
    "jk02/sess-jk02-32s-pb-14.20-precharge",
    "jk-bus/jk-pb-bus-pb2a16s15p-15.10",
    "jk-bus/jk-pb-bus-pb2a16s20p-15.41-addr3",
)
NUMBERS = {
    SETTINGS: "69i H 15s",
    CELLS: (
        "32H I 2H 2B 32H h 3I i 2h I h 2B 4I 2B H I 2B 7H 2B 2s 4H f 4H 8B 2I 3h H 3I 4B H B 18s"
    ),
    INFO: "32s 2I 136s H 54s 7i 33s",
}
"""The native records from byte 6 on (without the sum), as the vendor's field lists have them."""


def native(name: str) -> dict[int, JK02Frame]:
    """The latest record of each type in a capture."""
    framer, found = JK02Framer(), {}
    _, pieces = open_capture(FIXTURES / f"{name}.jsonl")
    for piece in pieces:
        for frame in framer.feed(b"" if piece.sent else piece.data):
            found[frame.code] = frame
    return {code: found[code] for code in BASES}


def tables(name: str) -> dict[int, bytes]:
    """The registers of that board: byte n of a record is byte n - 6 of its table, numbers are
    big-endian, single bytes, texts and flags keep their order."""
    return {
        BASES[code]: struct.pack(
            f">{form}", *struct.unpack(f"<{form}", native(name)[code].raw[6:-1])
        )
        + b"\0"
        for code, form in NUMBERS.items()
    }


def expected(name: str) -> tuple[Reading, Identity]:
    """What the native codec makes of the captured records."""
    codec = JK02Codec("32s")
    records = native(name)
    found = [codec.decode(records[code]) for code in (SETTINGS, INFO, CELLS)]
    return codec.reading(found), codec.identity(found)


def slave(name: str, unit: int = 1, ends: int = 294) -> SimDevice:
    """A board in pymodbus' simulator. Its registers are numbered by bytes, so neighbours overlap:
    each answer is filled in when it is asked for. The live table ends at byte `ends`."""
    memory = tables(name)

    async def fill(function, start, address, count, registers, values):
        base = address & 0xFE00
        data = memory[base][address - base :][: 2 * count]
        end = ends if base == BASES[CELLS] else 294
        if function != 3 or address % 2 or address - base + 2 * count > end:
            return ExcCodes.ILLEGAL_ADDRESS
        registers[address - start : address - start + count] = struct.unpack(f">{count}H", data)
        return None

    blocks = [
        SimData(base, count=294, values=0, datatype=DataType.REGISTERS) for base in sorted(memory)
    ]
    return SimDevice(id=unit, simdata=blocks, action=fill)


@contextmanager
def joined_terminals() -> Iterator[tuple[str, str]]:
    """Two serial ports with a cable between them, inside a running event loop."""
    ends = [os.openpty() for _ in range(2)]
    loop = asyncio.get_running_loop()

    def forward(a: int, b: int) -> None:
        os.write(b, os.read(a, 4096))

    masters = [master for master, _ in ends]
    for fd in (fd for end in ends for fd in end):
        tty.setraw(fd)
    for a, b in (masters, masters[::-1]):
        loop.add_reader(a, forward, a, b)
    try:
        yield os.ttyname(ends[0][1]), os.ttyname(ends[1][1])
    finally:
        for master in masters:
            loop.remove_reader(master)
        for fd in (fd for end in ends for fd in end):
            os.close(fd)


@asynccontextmanager
async def served_by_pymodbus(wire: str, device: SimDevice) -> AsyncIterator[str]:
    """A target behind which pymodbus' own server answers."""
    if wire == "serial":
        with joined_terminals() as (ours, theirs):
            server = ModbusSerialServer(device, port=theirs, baudrate=115200)
            await server.serve_forever(background=True)
            try:
                yield f"jk-modbus+serial://{ours}"
            finally:
                await server.shutdown()
        return
    framer = FramerType.RTU if wire == "tcp" else FramerType.SOCKET
    server = ModbusTcpServer(device, framer=framer, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        port = server.transport.sockets[0].getsockname()[1]
        yield f"jk-modbus+{wire}://127.0.0.1:{port}"
    finally:
        await server.shutdown()


def plain(reading: Reading) -> Reading:
    """Without what only says by which road it came."""
    raw = {k: v for k, v in reading.raw.items() if k not in ("address", "variant")}
    return replace(reading, target=None, time=None, protocol="", raw=raw)


def who(identity: Identity) -> tuple[object, ...]:
    return tuple(
        getattr(identity, name)
        for name in ("vendor", "model", "hardware", "firmware", "serial_number", "cell_count")
    )


# ---------------------------------------------------------------------- our client, their slave


@pytest.mark.parametrize("wire", ["tcp", "serial", "modbus-tcp"])
@pytest.mark.parametrize("name", CAPTURES, ids=lambda name: name.partition("/")[2])
def test_a_captured_board_behind_pymodbus_reads_as_its_native_records(name: str, wire: str) -> None:
    async def main() -> tuple[Reading, Identity]:
        async with (
            served_by_pymodbus(wire, slave(name, unit=3)) as target,
            bmslink.connect(target, address=3).board as device,
        ):
            return await device.read(), await device.identify()

    reading, identity = asyncio.run(main())
    native_reading, native_identity = expected(name)
    assert reading.cell_voltages
    assert plain(reading) == plain(native_reading)
    assert who(identity) == who(native_identity)
    assert reading.raw["address"] == 3


def test_a_table_that_ends_early_leaves_its_end_unknown() -> None:
    name = CAPTURES[-1]

    async def main() -> list[Reading]:
        async with (
            served_by_pymodbus("tcp", slave(name, ends=244)) as target,
            bmslink.connect(target).board as device,
        ):
            return [await device.read() for _ in range(2)]

    full = plain(expected(name)[0])
    for reading in asyncio.run(main()):
        assert reading.cell_voltages == full.cell_voltages
        assert reading.voltage == full.voltage
        assert reading.heater is None
        assert set(reading.temperatures) <= set(full.temperatures)


@pytest.mark.real_time
async def test_an_exception_of_pymodbus_is_a_refusal() -> None:
    async def busy(*_: object) -> ExcCodes:
        return ExcCodes.DEVICE_BUSY

    block = SimData(0x1000, count=0x500, values=0, datatype=DataType.REGISTERS)
    async with (
        served_by_pymodbus("tcp", SimDevice(id=1, simdata=[block], action=busy)) as target,
        bmslink.connect(target).board as device,
    ):
        with pytest.raises(Refused, match="exception 6") as caught:
            await device.read()
        assert caught.value.status == 6


# ---------------------------------------------------------------------- their client, our slave

TYPES = ModbusClientMixin.DATATYPE
PAUSE = 0.06  # s: the board is deaf right after an answer


@asynccontextmanager
async def pymodbus_client(wire: str, tmp_path: Path) -> AsyncIterator[tuple]:
    """pymodbus' client on our simulated board, and that board."""
    place = {"pty": str(tmp_path / "p")} if wire == "serial" else {"tcp": "127.0.0.1:0"}
    async with serving(1, "jk-modbus", address=2, cells=8, seed=3, **place) as served:
        client: AsyncModbusSerialClient | AsyncModbusTcpClient
        if wire == "serial":
            client = AsyncModbusSerialClient(place["pty"], baudrate=115200, timeout=2, retries=0)
        else:
            port = int(served.targets[0].partition("?")[0].rpartition(":")[2])
            client = AsyncModbusTcpClient(
                "127.0.0.1", port=port, framer=FramerType.RTU, timeout=2, retries=0
            )
        assert await client.connect()
        try:
            yield client, served
        finally:
            client.close()


class Registers:
    """What the board holds, as pymodbus reads and converts it."""

    def __init__(self, client: ModbusClientMixin, unit: int = 2) -> None:
        self.client, self.unit = client, unit

    async def words(self, address: int, count: int) -> list[int]:
        answer = await self.client.read_holding_registers(address, count=count, device_id=self.unit)
        await asyncio.sleep(PAUSE)
        assert not answer.isError(), answer
        assert len(answer.registers) == count
        return answer.registers

    async def table(self, base: int, size: int) -> dict[int, int]:
        """Byte offset -> word, for every register of a table."""
        found: dict[int, int] = {}
        for start in range(0, size, 200):
            count = min(100, (size - start) // 2)
            for number, word in enumerate(await self.words(base + start, count)):
                found[start + 2 * number] = word
        return found


def number(table: dict[int, int], offset: int, kind: TYPES = TYPES.UINT32) -> int:
    words = [table[offset + 2 * n] for n in range(kind.value[1])]
    value = ModbusClientMixin.convert_from_registers(words, kind)
    assert isinstance(value, int)
    return value


def text(table: dict[int, int], offset: int, size: int) -> str:
    words = [table[offset + n] for n in range(0, size, 2)]
    value = ModbusClientMixin.convert_from_registers(words, TYPES.STRING)
    assert isinstance(value, str)
    return value


def check_live(live: dict[int, int], truth: Reading) -> None:
    cells = len(truth.cell_voltages)
    volts = [number(live, 2 * n, TYPES.UINT16) / 1000 for n in range(32)]
    assert tuple(volts[:cells]) == truth.cell_voltages
    assert volts[cells:] == [0] * (32 - cells)
    assert number(live, 0x40) == (1 << cells) - 1
    assert truth.cell_resistances is not None
    ohms = [number(live, 0x4A + 2 * n, TYPES.UINT16) / 1000 for n in range(cells)]
    assert ohms == pytest.approx(list(truth.cell_resistances), abs=0.0005)
    # a register of one decimal
    for offset, name in ((0x8A, "mosfet"), (0x9C, "cell_1"), (0x9E, "cell_2")):
        assert number(live, offset, TYPES.INT16) / 10 == truth.temperatures[name]
    assert number(live, 0x90) / 1000 == truth.voltage
    assert number(live, 0x98, TYPES.INT32) / 1000 == truth.current
    assert number(live, 0xA0) == 0  # alarms
    assert live[0xA6] & 0xFF == truth.soc
    assert number(live, 0xA8) / 1000 == truth.remaining_capacity
    assert number(live, 0xAC) / 1000 == truth.full_capacity
    assert number(live, 0xB0) == truth.cycles
    assert number(live, 0xB4) / 1000 == truth.cycle_capacity
    assert live[0xB8] >> 8 == truth.soh
    assert live[0xC0] == 0x0100 * bool(truth.charging_allowed) + bool(truth.discharging_allowed)


def check_settings(table: dict[int, int], settings: dict[str, float]) -> None:
    offsets = {
        "cell_uvp": 0x04, "cell_uvp_release": 0x08, "cell_ovp": 0x0C, "cell_ovp_release": 0x10,
        "charge_ocp": 0x2C, "discharge_ocp": 0x38, "balance_start_voltage": 0x84,
    }  # fmt: skip
    for name, offset in offsets.items():
        assert number(table, offset) / 1000 == settings[name], name
    for name, offset in (("charge_otp", 0x4C), ("charge_utp", 0x5C), ("mosfet_otp", 0x64)):
        assert number(table, offset, TYPES.INT32) / 10 == settings[name], name


@pytest.mark.parametrize("wire", ["tcp", "serial"])
@pytest.mark.real_time
async def test_pymodbus_reads_our_board_value_by_value(wire: str, tmp_path: Path) -> None:
    async with pymodbus_client(wire, tmp_path) as (client, served):
        registers, pack = Registers(client), served.pack
        pack.set_cell_voltage(5, 3.123)
        pack.set_temperature("cell_2", -12.5)
        pack.switch(Switch.CHARGE, False)
        live = await registers.table(0x1200, 294)
        check_live(live, pack.truth())
        table = await registers.table(0x1000, 294)
        check_settings(table, pack.settings)
        assert [number(table, 0x6C + 4 * n) for n in range(4)] == [8, 0, 1, 1]
        assert number(table, 0x7C) / 1000 == pack.settings["nominal_capacity"]
        assert number(table, 0x108) == 2  # the address
        info = await registers.table(0x1400, 244)
        assert text(info, 0, 16) == "JK_PB2A16S20P"
        await served.command("load -12.5")
        current = await registers.words(0x1298, 2)
        assert client.convert_from_registers(current, TYPES.INT32) == -12_500


@pytest.mark.parametrize("wire", ["tcp", "serial"])
@pytest.mark.real_time
async def test_what_our_board_refuses_is_a_modbus_exception(wire: str, tmp_path: Path) -> None:
    async with pymodbus_client(wire, tmp_path) as (client, served):
        before = dict(served.pack.switches)

        async def refused(answer) -> int:
            found = await answer
            await asyncio.sleep(PAUSE)
            assert found.isError()
            assert found.dev_id == 2
            return found.exception_code

        read = client.read_holding_registers
        for address, count in ((0x1600, 1), (0x1201, 2), (0x1200, 124), (0x14F0, 3)):
            assert await refused(read(address, count=count, device_id=2)) == 2
        # half a field, a part of the unknown, and what is no setting at all
        for address in (0x1072, 0x1110, 0x1298, 0x1600, 0x160E, 0x1626):
            assert await refused(client.write_registers(address, [0], device_id=2)) == 2
        assert await refused(client.write_register(0x1070, 0, device_id=2)) == 1
        assert served.pack.switches == before


@pytest.mark.parametrize("wire", ["tcp", "serial"])
@pytest.mark.real_time
async def test_what_pymodbus_writes_stands_in_the_pack(wire: str, tmp_path: Path) -> None:
    async with pymodbus_client(wire, tmp_path) as (client, served):
        for address, words in (
            (0x1070, [0, 0]),
            (0x100C, [0, 3600]),
            (0x105C, [0xFFFF, 0xFFCE]),
        ):
            found = await client.write_registers(address, words, device_id=2)
            assert not found.isError()
            assert (found.dev_id, found.address, found.count) == (2, address, 2)
            await asyncio.sleep(PAUSE)
        assert served.pack.switches[Switch.CHARGE] is False
        assert served.pack.settings["cell_ovp"] == 3.6
        assert served.pack.settings["charge_utp"] == -5.0


@pytest.mark.real_time
async def test_both_read_the_same_board(tmp_path: Path) -> None:
    async with pymodbus_client("tcp", tmp_path) as (client, served):
        live = await Registers(client).table(0x1200, 294)
        async with bmslink.connect(served.targets[0]).board as device:
            reading = await device.read()
        cells = [number(live, 2 * n, TYPES.UINT16) / 1000 for n in range(8)]
        assert tuple(cells) == reading.cell_voltages
        assert number(live, 0x90) / 1000 == reading.voltage
        assert live[0xA6] & 0xFF == reading.soc
