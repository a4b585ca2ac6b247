"""Simulated radio modules and our Bluetooth transport, over bleak and a whole ATT/GATT stack."""

from __future__ import annotations

import asyncio
import random
import socket
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from bleak import BleakClient, BleakScanner
from bleak.exc import BleakDeviceNotFoundError, BleakError
from hypothesis import given
from hypothesis import strategies as st

import bmslink
from bmslink.errors import (
    LinkClosed,
    PortDenied,
    PortNotFound,
    TargetError,
    TransportError,
    UnknownDevice,
)
from bmslink.model import Reading
from bmslink.simulation.ble.catalogue import MODULES, Characteristic, Chunks, Radio, module_of
from bmslink.simulation.ble.login import Login
from bmslink.transports.ble import bumble_host as ble_bumble_host
from bmslink.transports.ble import transport as ble
from bmslink.transports.ble.backend import VARIABLE
from bmslink.transports.ble.bumble_host import open_controller
from fuzz_gatt import hostile_streams
from radio_world import BACKEND, PROTOCOLS, World, backend, world
from support import WHOLE_SWEEP, virtual_run


@pytest.fixture(autouse=True)
def on_the_air(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, BACKEND)


def agrees(here: World, reading: Reading) -> None:
    """The reading is the pack's."""
    truth = here.device.pack.truth()
    assert reading.voltage == pytest.approx(truth.voltage, abs=0.06)
    assert reading.cell_voltages == pytest.approx(truth.cell_voltages, abs=0.003)


# ---------------------------------------------------------------------------------- every module


@pytest.mark.parametrize("chunks", [None, "20", "128+22", "150", "any"])
@pytest.mark.parametrize("mtu", [23, 247])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_reading(protocol: str, mtu: int, chunks: str | None) -> None:
    async with (
        world(protocol, mtu=mtu, chunks=chunks) as here,
        bmslink.connect(here.target) as device,
    ):
        identity = await device.identify()
        assert identity.protocol == protocol
        for _ in range(3):
            reading = await device.read()
            agrees(here, reading)
        sizes = {len(piece) for piece in here.notified}
        assert max(sizes) <= mtu - 3
        if mtu == 23 and chunks != "any":
            assert 20 in sizes
        elif chunks == "128+22" and protocol.startswith("jk"):
            assert {128, 22} <= sizes


@pytest.mark.parametrize(
    ("protocol", "module"),
    [("jk02", "jk-two"), ("jk04", "jk-two"), ("jbd", "jbd-bridge"), ("daly-a5", "daly-locked"),
     ("daly-d2", "daly-locked")],
)  # fmt: skip
async def test_other_modules(protocol: str, module: str) -> None:
    async with (
        world(protocol, module=MODULES[module]) as here,
        bmslink.connect(here.target) as device,
    ):
        agrees(here, await device.read())


async def test_jbd_never_notifies_more_than_20_bytes() -> None:
    async with world("jbd", mtu=247, cells=16) as here, bmslink.connect(here.target) as device:
        await device.read()
        assert {len(piece) for piece in here.notified} <= set(range(1, 21))


async def test_jk_chatters_between_its_records() -> None:
    async with world("jk02") as here, bmslink.connect(here.target) as device:
        for _ in range(3):
            await device.read()
        assert b"AT\r\n" in here.notified
        assert any(piece.startswith(b"AT\r\n") and len(piece) > 4 for piece in here.notified)


# ------------------------------------------------------------------------- the module by itself


def client(found: object, **options: object) -> BleakClient:
    return BleakClient(found, backend=STACK.client, **options)


async def seen(address: str) -> object:
    found = await BleakScanner.find_device_by_address(address, 2, backend=STACK.scanner)
    assert found is not None
    return found


STACK = backend("a phone")


@pytest.fixture
def phone(monkeypatch: pytest.MonkeyPatch):
    """Another program's Bluetooth: bleak alone, without our transport."""
    made = backend("a phone")
    monkeypatch.setattr("test_gatt.STACK", made)
    return made


A5_90 = bytes.fromhex("a5 80 90 08 00 00 00 00 00 00 00 00 bd")


async def test_an_older_daly_answers_once_it_got_an_empty_packet(phone) -> None:
    heard = bytearray()
    async with (
        world("daly-a5", module=MODULES["daly-locked"]) as here,
        client(await seen(here.address)) as daly,
    ):
        by_uuid = {c.uuid: c for s in daly.services for c in s.characteristics}
        await daly.start_notify(by_uuid[ch("fff1")], lambda c, data: heard.extend(data))
        await daly.write_gatt_char(by_uuid[ch("fff2")], A5_90, response=False)
        await asyncio.sleep(1)
        assert heard == b""
        await daly.write_gatt_char(
            by_uuid["02f00000-0000-0000-0000-00000000ff01"], b"", response=False
        )
        await daly.write_gatt_char(by_uuid[ch("fff2")], A5_90, response=False)
        await asyncio.sleep(1)
        assert heard[:4] == bytes.fromhex("a5 01 90 08")
        assert len(heard) == 13
    await phone.close()


def ch(short: str) -> str:
    return f"0000{short}-0000-1000-8000-00805f9b34fb"


async def test_what_does_not_fit_is_refused_as_by_real_stacks(phone) -> None:
    async with world("jk02", mtu=23) as here, client(await seen(here.address)) as jk:
        (ffe1,) = [c for s in jk.services for c in s.characteristics if c.uuid == ch("ffe1")]
        assert (jk.mtu_size, ffe1.max_write_without_response_size) == (23, 20)
        assert {"write", "write-without-response", "notify"} == set(ffe1.properties)
        await jk.write_gatt_char(ffe1, bytes(20), response=False)
        with pytest.raises(BleakError, match="21 bytes"):
            await jk.write_gatt_char(ffe1, bytes(21), response=False)
    await phone.close()


async def test_an_address_is_enough(phone) -> None:
    async with world("jbd") as here:
        async with client(here.address, timeout=2) as jbd:
            assert jbd.is_connected
        with pytest.raises(BleakDeviceNotFoundError):
            await client("A4:C1:38:00:00:00", timeout=2).connect()
    await phone.close()


async def test_a_module_looks_like_itself(phone) -> None:
    """Name, services and manufacturer data of the advert; the characteristics behind it."""
    expected = {
        "jk02": ("JK-B2A16S20P", "ffe0", {0x0B65: "88a0c84780b16522"}, ["ffe1", "ffe2"]),
        "jbd": ("JBD-SP04S034", "ff00", {}, ["ff01", "ff02", "ff03"]),
        "daly-d2": ("DL-411812B16522", "fff0", {0x0102: "411812b16522"}, ["fff1", "fff2", "fff3"]),
    }

    async def main(protocol: str) -> None:
        name, service, makers, characteristics = expected[protocol]
        async with world(protocol) as here:
            found = await BleakScanner.discover(0.5, return_adv=True, backend=STACK.scanner)
            ((device, advert),) = found.values()
            assert (device.address, device.name) == (here.address, name)
            assert advert.service_uuids == [ch(service)]
            assert {k: v.hex() for k, v in advert.manufacturer_data.items()} == makers
            async with client(device) as connected:
                there = connected.services.get_service(ch(service))
                assert [c.uuid[4:8] for c in there.characteristics] == characteristics
                assert await BleakScanner.discover(0.5, backend=STACK.scanner) == []
            assert len(await BleakScanner.discover(0.5, backend=STACK.scanner)) == 1
        await phone.close()

    for protocol in expected:
        await main(protocol)


async def test_connecting_to_nobody_ends_and_leaves_the_adapter_usable(phone) -> None:
    async with world("jk02") as here:
        device = await seen(here.address)
        await here.served.bumble.stop_advertising()
        loop = asyncio.get_running_loop()
        before = loop.time()
        with pytest.raises(TimeoutError):
            await client(device, timeout=3).connect()
        assert loop.time() - before < 5
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):  # given up by the caller
                await client(device, timeout=30).connect()
        await here.served.advertise()
        async with client(device, timeout=3) as jk:
            assert jk.is_connected
    await phone.close()


async def test_of_two_that_connect_at_once_one_finds_out(phone) -> None:
    async with world("jk02") as here:
        other = backend("another phone")
        device = await seen(here.address)
        first = BleakClient(device, backend=phone.client, timeout=2)
        second = BleakClient(device, backend=other.client, timeout=2)
        ends = await asyncio.gather(first.connect(), second.connect(), return_exceptions=True)
        assert sorted([first.is_connected, second.is_connected]) == [False, True], ends
        assert sum(isinstance(end, (BleakError, TimeoutError)) for end in ends) == 1
        for each in (first, second):
            await each.disconnect()
        await phone.close()
        await other.close()


# ------------------------------------------------------------------------------- what goes wrong


async def test_cut_off_in_mid_frame() -> None:
    """Half a record is never made into a reading, and the next connection begins anew."""

    async def main(protocol: str) -> None:
        async with world(protocol, mtu=23) as here, bmslink.connect(here.target) as device:
            agrees(here, await device.read())
            for cut in (5, 30, 45):
                here.device.faults.enable(f"ble_drop:{cut}")
                with pytest.raises(LinkClosed, match="disconnected"):
                    for _ in range(5):
                        agrees(here, await device.read())
                assert "ble_drop" not in here.device.faults.active
                await device.reopen()
                agrees(here, await device.read())

    for protocol in PROTOCOLS:
        await main(protocol)


def fails(kind: type[Exception], *words: str, protocol: str = "jk02", **options: object) -> None:
    """Opening a pack fails like that, in a sentence."""

    async def main() -> None:
        pin = options.pop("given", None)
        async with world(protocol, **options) as here:
            with pytest.raises(kind) as caught:
                async with bmslink.connect(here.target, pin=pin) as device:
                    await device.read()
            assert here.served.session is None or not here.served.bumble.connections
        for word in words:
            assert word in str(caught.value)
        assert str(caught.value)[-1] in ".?"

    virtual_run(main())


def test_another_kind_of_module() -> None:
    fails(UnknownDevice, "services are", "FFF0", "FFE0", module=MODULES["daly"])


def test_a_characteristic_is_missing() -> None:
    lame = replace(MODULES["jk"], services={"ffe0": (Characteristic("ffe1", "send write", "in"),)})
    fails(UnknownDevice, "characteristics", "FFE1 (", module=lame)


@pytest.mark.parametrize("protocol", ["jk02", "daly-d2"])
def test_pairing(protocol: str) -> None:
    async def main() -> None:
        async with (
            world(protocol, pin="042317") as here,
            bmslink.connect(here.target, pin="042317") as device,
        ):
            agrees(here, await device.read())
            await device.reopen()
            agrees(here, await device.read())

    virtual_run(main())
    fails(PortDenied, "paired", protocol=protocol, pin="042317")
    fails(PortDenied, "passkey", protocol=protocol, pin="042317", given="111111")
    fails(PortDenied, "passkey", protocol=protocol, pin="042317", given="secret")


def test_jbd_authentication() -> None:
    async def main() -> None:
        async with (
            world("jbd", pin="123456") as here,
            bmslink.connect(here.target, pin="123456") as device,
        ):
            agrees(here, await device.read())
            await device.reopen()
            agrees(here, await device.read())

    virtual_run(main())
    fails(PortDenied, "password", protocol="jbd", pin="123456")
    fails(PortDenied, "refused the password", protocol="jbd", pin="123456", given="123457")


def test_the_password_goes_over_the_air_as_recorded() -> None:
    """The example of docs/protocols/jbd.md, worked out by hand."""
    login = Login(bytes.fromhex("020000000001"), "123456")
    assert login.receive(bytes.fromhex("dda50300fffd77")) == (b"", b"")
    assert login.receive(bytes.fromhex("ffaa1506303030303030") + b"\x3b") == (
        bytes.fromhex("ffaa15010016"),
        b"",
    )
    answer, _ = login.receive(bytes.fromhex("ffaa170017"))
    number = answer[4]
    assert answer[:4] == bytes.fromhex("ffaa1701")
    hidden = bytes((byte + number) & 0xFF for byte in bytes.fromhex("333233343537"))
    frame = bytes.fromhex("1806") + hidden
    login.receive(b"\xff\xaa" + frame + bytes([sum(frame) & 0xFF]))
    assert login.passed
    assert login.receive(b"\xdd") == (b"", b"\xdd")


async def test_somebody_else_is_connected(phone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ble, "SCAN_TIMEOUT", 1.0)

    async with (
        world("jk02") as here,
        world("jbd", air=here.air, seed=2) as neighbour,
        client(await seen(here.address)),
    ):
        with pytest.raises(PortNotFound, match=r"JBD-SP04S034.*phone app"):
            async with bmslink.connect(here.target):
                pass
        async with bmslink.connect(neighbour.target) as device:
            agrees(neighbour, await device.read())
        await phone.close()


async def test_two_packs_of_one_name() -> None:
    async with world("jk02") as here, world("jk02", air=here.air, seed=2) as twin:
        with pytest.raises(TargetError, match="2 devices") as caught:
            async with bmslink.connect("jk02+ble://JK-B2A16S20P"):
                pass
        assert here.address in str(caught.value)
        for each in (here, twin):
            async with bmslink.connect(each.target) as device:
                agrees(each, await device.read())


async def test_both_packs_on_one_radio_at_once() -> None:
    async with (
        world("jk02") as here,
        world("jbd", air=here.air, seed=2) as there,
        bmslink.connect(here.target) as first,
        bmslink.connect(there.target) as second,
    ):
        for _ in range(3):
            one, two = await asyncio.gather(first.read(), second.read())
            agrees(here, one)
            agrees(there, two)


async def test_the_pack_loses_its_power_and_gets_it_back() -> None:
    async with world("jk02") as here, bmslink.connect(here.target) as device:
        await device.read()
        here.controller.leave()
        with pytest.raises(LinkClosed):
            for _ in range(5):
                await device.read()
        async with world("jk02", air=here.air) as again:
            assert again.address == here.address
            await device.reopen()
            agrees(again, await device.read())


def test_no_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(where: str) -> str:
        monkeypatch.setenv(VARIABLE, f"bumble:{where}")

        async def main() -> None:
            async with bmslink.connect("jk02+ble://C8:47:80:00:00:01"):
                pass

        with pytest.raises((PortNotFound, TargetError)) as caught:
            asyncio.run(main())
        assert str(caught.value)[-1] in ".?"
        return str(caught.value)

    assert "listens at tcp-client:127.0.0.1:1" in refused("tcp-client:127.0.0.1:1")
    assert "name one as bumble does" in refused("nonsense")
    monkeypatch.setenv(VARIABLE, "bumble")
    with pytest.raises(TargetError, match="its controller"):
        asyncio.run(bmslink.connect("jk02+ble://C8:47:80:00:00:01").open())


@pytest.mark.real_time
async def test_no_controller_but_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ble_bumble_host, "_OPENING", 0.3)

    async def babble(reader, writer) -> None:
        writer.write(random.Random(1).randbytes(5000) + b"HTTP/1.1 400 Bad Request\r\n")
        await reader.read()
        writer.close()
        ended.set()

    ended = asyncio.Event()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv(VARIABLE, f"bumble:tcp-client:127.0.0.1:{port}")
    with pytest.raises(TransportError, match="no Bluetooth controller"):
        async with bmslink.connect("jk02+ble://C8:47:80:00:00:01"):
            pass
    await ended.wait()
    server.close()


# ------------------------------------------------------------------------------ hostile neighbours


@pytest.mark.sweep
@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_hostile_notifications_leave_the_link_usable(protocol: str) -> None:
    streams = 100 if WHOLE_SWEEP else 10
    assert (await hostile_streams(protocol, streams)).noise > 50 * streams


@pytest.mark.real_time
async def test_a_program_that_is_no_bluetooth_host_does_no_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever comes by TCP, those who join the radio properly are served."""
    chance = random.Random(3)

    async with world("jk02") as here, AsyncExitStack() as stack:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            place = f"127.0.0.1:{probe.getsockname()[1]}"
        await here.air.serve(stack, place)
        for _ in range(30):
            _, writer = await asyncio.open_connection(*place.split(":"))
            kinds = bytes([chance.choice([1, 1, 1, 2, 4, 7])])
            writer.write(kinds + chance.randbytes(chance.randrange(2000)))
            await writer.drain()
            await asyncio.sleep(0.002)
            writer.close()
            await writer.wait_closed()
        monkeypatch.setenv(VARIABLE, f"bumble:tcp-client:{place}")
        async with bmslink.connect(here.target) as device:
            agrees(here, await device.read())
        await asyncio.sleep(0.05)
        assert len(here.air.controllers) == 1


@pytest.mark.real_time
async def test_a_host_that_comes_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the Linux kernel does through vhci."""

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{probe.getsockname()[1]}"
    async with world("jk02") as here, await open_controller(f"tcp-server:{place}") as kernel:
        here.air.attach(kernel)
        monkeypatch.setenv(VARIABLE, f"bumble:tcp-client:{place}")
        async with bmslink.connect(here.target) as device:
            agrees(here, await device.read())
        kernel.server.close()


async def test_hostile_adverts() -> None:
    """Nothing that can be advertised ends a scan, or hides those that we look for."""

    chance = random.Random(5)
    async with world("jk02") as here, world("jbd", air=here.air, seed=2) as evil:
        advertiser = evil.controller.le_legacy_advertiser
        for _ in range(100):
            kinds = bytes(chance.choices(range(256), k=4))
            advertiser.advertising_data = b"".join(
                bytes([chance.choice([0, 1, 2, 5, 17, 255]), kind]) + chance.randbytes(7)
                for kind in (kinds[0], 0x09, 0xFF, 0x07, 0x03)
            )[: chance.randrange(32)]
            advertiser.scan_response_data = chance.randbytes(chance.randrange(32))
            found = await ble.scan_adverts(0.1)
            assert here.address in {seen.address for seen in found}


# -------------------------------------------------------------------------------- chunks, options


@given(st.lists(st.binary(min_size=1, max_size=400), max_size=6), st.integers(20, 514),
       st.sampled_from([None, "20", "128+22", "7", "any"]))  # fmt: skip
def test_chunks_lose_nothing(answers: list[bytes], most: int, rule: str | None) -> None:
    chunks = Chunks(rule, MODULES["jk"])
    pieces = [piece for answer in answers for piece in chunks.cut(answer, most)]
    pieces.append(chunks.rest())
    assert b"".join(pieces) == b"".join(answers)
    assert all(0 < len(piece) <= most for piece in pieces[:-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunks": "20+"}, "lengths of notifications"),
        ({"chunks": "0"}, "lengths of notifications"),
        ({"mtu": 22}, "23 to 517"),
        ({"pin": "12345"}, "six digits"),
        ({"name": "x" * 30}, "1 to 29 bytes"),
        ({"name": "\udcff"}, "printable"),
        ({"module": "hm-10"}, "no module 'hm-10'; known: jk "),
    ],
)
def test_a_radio_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(TargetError, match=message):
        Radio(transport="usb:0", **options).settled("jk02")


def test_what_is_not_on_the_air() -> None:
    with pytest.raises(TargetError, match="over Bluetooth are: daly-a5, "):
        module_of("jk-nw")
