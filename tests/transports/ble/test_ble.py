"""The Bluetooth transport over a bleak backend without a radio (`ble_memory`)."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

import bmslink
from ble_memory import AIR, OPENED, cut
from ble_support import ADDRESS, PROTOCOLS, Parrot, board, clear_air, opening, parrot, read
from bmslink.errors import (
    BmsError,
    LinkClosed,
    PortNotFound,
    TargetError,
)
from bmslink.link.gatt import SeenDevice, uuid16
from bmslink.link.transport import make_transport, parse_target
from bmslink.protocols import load_driver
from bmslink.transports.ble.scan import merged
from bmslink.transports.ble.transport import scan_adverts
from support import virtual_run
from wires import Ear

CHUNKS = {
    "20": (20,),
    "128+22": (128, 22),
    "150+150+20": (150, 150, 20),
    "1": (1,),
    "7+13": (7, 13),
}


@pytest.fixture(autouse=True)
def air(monkeypatch):
    monkeypatch.setenv("BMSLINK_BLE_BACKEND", "ble_memory:factory")
    monkeypatch.delenv("BMSLINK_PIN", raising=False)
    clear_air()
    yield
    clear_air()


# --- reading


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_reads_in_every_chunking(protocol, chunks):
    module = board(protocol)
    module.cut, module.mtu = cut(*chunks), 247
    identity, reading = read(f"{protocol}+ble://{ADDRESS}")
    assert (identity.protocol, reading.protocol) == (protocol, protocol)
    assert len([v for v in reading.cell_voltages if v]) == identity.cell_count
    assert ("disconnect", None) in module.log
    assert OPENED == ["open", "close"]


def test_notifications_are_enabled_before_anything_is_written():
    module = board("jbd")
    read(f"jbd+ble://{ADDRESS}")
    steps = [step.split()[0] for step, _ in module.log]
    assert steps[:3] == ["connect", "notify", "write"]


async def test_jk_is_asked_in_its_order_and_streams():
    module = board("jk02")

    async with bmslink.connect(f"jk02+ble://{ADDRESS}").board as device:
        for _ in range(5):
            await device.read()
    writes = [data for step, data in module.log if step.startswith("write")]
    assert [data[4] for data in writes] == [0x97, 0x96]
    assert all(len(data) == 20 for data in writes)


def test_an_empty_packet_wakes_a_daly_module():
    wake = "02f00000-0000-0000-0000-00000000ff01"
    table = [
        (
            uuid16(0xFFF0),
            [(uuid16(0xFFF1), ["notify"]), (uuid16(0xFFF2), ["write-without-response"])],
        ),
        ("02f00000-0000-0000-0000-00000000fe00", [(wake, ["write-without-response"])]),
    ]
    module = board("daly-a5", table=table)
    read(f"daly-a5+ble://{ADDRESS}")
    writes = [(step, data) for step, data in module.log if step.startswith("write")]
    assert writes[0] == ("write 8", b"")
    assert writes[1][0] == "write 5"
    assert writes[1][1][:2] == b"\xa5\x80"  # over Bluetooth, boards expect the phone


NOTIFY, WRITE = ["notify"], ["write-without-response", "write"]
FFE1, FFE2 = uuid16(0xFFE1), uuid16(0xFFE2)


@pytest.mark.parametrize(
    ("chars", "listens", "writes"),
    [
        ([(FFE1, [*NOTIFY, *WRITE])], 0, 0),
        ([(FFE1, [*NOTIFY, *WRITE]), (FFE2, WRITE)], 0, 0),
        ([(FFE1, WRITE), (FFE1, NOTIFY)], 1, 0),
        ([(FFE1, NOTIFY), (FFE1, WRITE)], 0, 1),
        ([(FFE1, NOTIFY), (FFE2, ["write"])], 0, 1),
    ],
    ids=["one FFE1", "one FFE1 and FFE2", "two, write first", "two, notify first", "FFE2 writes"],
)
def test_jk_characteristics_are_chosen_by_property(chars, listens, writes):
    module = board("jk02", table=[(uuid16(0x180A), []), (uuid16(0xFFE0), chars)])
    read(f"jk02+ble://{ADDRESS}")
    handles = [4 + 2 * number for number in range(len(chars))]
    used = {step for step, _ in module.log if step.startswith("write")}
    assert used == {f"write {handles[writes]}"}
    assert ("notify", handles[listens]) in module.log


def test_uuids_in_capitals_are_the_same():
    """Stacks other than the systems' own may write them so."""
    gatt = load_driver("daly-a5").modules[0]
    here = [(gatt.notify.upper(), NOTIFY), (gatt.write.upper(), ["write-without-response"])]
    module = board("daly-a5", table=[(gatt.service.upper(), here)])
    read(f"daly-a5+ble://{ADDRESS}")
    assert ("notify", 3) in module.log


def test_detection_knows_all_modules_of_a_vendor():
    table = [(uuid16(0xFFE0), [(FFE1, NOTIFY), (FFE2, ["write"])])]
    board("jk02", table=table)
    assert read(f"ble://{ADDRESS}")[0].protocol == "jk02"


def test_a_long_write_goes_in_pieces_that_the_module_takes():
    got = []

    class Sink(Parrot):
        def receive(self, data):
            got.append(data)

    module = parrot(None)
    module.line = partial(Sink, None)

    async def main(mtu: int) -> list[bytes]:
        got.clear()
        module.mtu = mtu
        ear = Ear()
        transport = make_transport(parse_target(f"jbd+ble://{ADDRESS}"), load_driver("jbd").modules)
        await transport.open(ear.data, ear.end)
        await transport.write(bytes(range(50)))
        await transport.close()
        return list(got)

    assert [len(p) for p in virtual_run(main(23))] == [20, 20, 10]
    assert [len(p) for p in virtual_run(main(40))] == [37, 13]
    assert b"".join(virtual_run(main(247))) == bytes(range(50))


def test_a_name_finds_the_pack_and_reopening_finds_the_same_one():
    first = board("jbd", name="Van", soc=30)

    async def main():
        async with bmslink.connect("jbd+ble://van").board as device:
            before = await device.read()
            first.drop()
            with pytest.raises(LinkClosed, match="disconnected"):
                await device.read()
            first.seen = SeenDevice(address=ADDRESS, name="renamed")
            board("jbd", name="Van", address="A5:C2:37:00:00:02", soc=90)
            await device.reopen()
            return before, await device.read()

    before, after = virtual_run(main())
    assert before.soc == after.soc == 30


def test_a_neighbour_of_the_same_name_is_not_taken_for_a_pack_that_is_gone():
    first = board("jbd", name="Van", soc=30)

    async def main():
        async with bmslink.connect("jbd+ble://van").board as device:
            AIR.clear()
            first.drop()
            board("jbd", name="Van", address="A5:C2:37:00:00:02", soc=90)
            words = rf"van \(last {ADDRESS}\) was not seen in 10 s \(seen were Van\)"
            with pytest.raises(PortNotFound, match=words):
                await device.reopen()
            AIR.append(first)
            await device.reopen()
            return (await device.read()).soc

    assert virtual_run(main()) == 30


def test_two_packs_of_one_name_are_told_apart_by_address():
    board("jbd", name="Van")
    board("jbd", name="VAN", address="A5:C2:37:00:00:02")
    error = opening("jbd+ble://Van")
    assert isinstance(error, TargetError)
    assert ADDRESS in str(error)
    assert "A5:C2:37:00:00:02" in str(error)
    assert read("jbd+ble://a5-c2-37-00-00-02")[1].soc is not None


# --- disconnection


def test_a_frame_cut_by_a_disconnect_is_dropped_and_reading_goes_on():
    module = board("jbd")
    heard = 0

    def half(data: bytes):
        nonlocal heard
        heard += 1
        if heard == 2:  # the second answer breaks off after 20 bytes
            yield data[:20]
            module.drop()
        else:
            yield from cut(20)(data)

    module.cut = half

    async def main():
        async with bmslink.connect(f"jbd+ble://{ADDRESS}").board as device:
            with pytest.raises(LinkClosed, match="disconnected: out of reach"):
                await device.read()
                await device.read()
            await device.reopen()
            assert device.link.framer.pending == 0
            return await device.read()

    assert virtual_run(main()).soc is not None
    assert OPENED.count("open") == OPENED.count("close")


async def test_the_end_is_told_once_and_not_after_closing():
    module = board("jbd")

    ear = Ear()
    transport = make_transport(parse_target(f"jbd+ble://{ADDRESS}"), load_driver("jbd").modules)
    await transport.open(ear.data, ear.end)
    client = module.client
    module.drop()
    client._disconnected_callback()
    assert len(ear.lost) == 1
    with pytest.raises(LinkClosed):
        await transport.write(b"x")
    await transport.open(ear.data, ear.end)
    await transport.close()
    await transport.close()
    assert len(ear.lost) == 1


async def test_watching_goes_on_after_a_power_cut():
    from bmslink.polling import poll

    module = board("jk02")
    told = []

    device = bmslink.connect(f"jk02+ble://{ADDRESS}").board

    def tell(news):
        told.append(news)
        if len(told) == 2:
            AIR.clear()
            module.drop()
            asyncio.get_running_loop().call_later(30, AIR.append, module)

    await poll(device, tell, interval=1.0, count=12)
    kinds = ["error" if isinstance(news, BmsError) else "reading" for news in told]
    assert kinds[:3] == ["reading", "reading", "error"]
    assert kinds[-3:] == ["reading"] * 3
    assert any("was not seen in 10 s" in str(news) for news in told if isinstance(news, BmsError))


# --- scanning


async def test_scan_merges_what_comes_in_several_packets():
    first = board("jbd", name="")
    other = board("jk02", address="C8:47:8C:00:00:01")
    other.seen = SeenDevice(
        address="C8:47:8C:00:00:01", name="JK", manufacturers={0x0B65: b"\x88\xa0"}, rssi=-40
    )
    told = []

    def scan_response():
        first.seen = SeenDevice(address=ADDRESS, name="Van")

    asyncio.get_running_loop().call_later(0.5, scan_response)
    found = await scan_adverts(2.0, told.append)
    assert [seen.address for seen in found] == ["C8:47:8C:00:00:01", ADDRESS]
    assert (found[0].manufacturers, found[0].rssi) == ({0x0B65: b"\x88\xa0"}, -40)
    assert found[1].name == "Van"
    assert found[1].services == {uuid16(0xFF00)}
    assert len(told) == 3
    assert OPENED == ["open", "close"]


def test_a_name_that_was_said_once_stays():
    one = SeenDevice(address=ADDRESS, name="Van", manufacturers={1: b"x"}, rssi=-40)
    two = SeenDevice(address=ADDRESS, services=frozenset({uuid16(0xFF00)}), rssi=-50)
    both = merged(one, two)
    assert (both.name, both.rssi, both.manufacturers) == ("Van", -50, {1: b"x"})
    assert merged(both, SeenDevice(address=ADDRESS, name="Bus")).name == "Bus"


def test_a_flood_of_made_up_devices_hides_no_pack():
    for number in range(700):
        board("jbd", name="x", address=f"A5:C2:37:00:{number >> 8:02X}:{number & 255:02X}")
    assert len(virtual_run(scan_adverts(0.5))) == 500
    board("jbd")
    assert read(f"jbd+ble://{ADDRESS}")[1].soc is not None


async def test_a_device_that_changes_what_it_says_fills_no_memory():
    module = board("jbd")

    def change(number: int) -> None:
        module.seen = SeenDevice(
            address=ADDRESS,
            services=frozenset({uuid16(number)}),
            manufacturers={number: bytes(20)},
        )
        asyncio.get_running_loop().call_later(0.5, change, number + 1)

    change(0x1000)
    (seen,) = await scan_adverts(60)
    assert len(seen.services) == len(seen.manufacturers) == 32


async def test_two_packs_are_opened_at_once_over_one_adapter():
    board("jbd", soc=30)
    board("jk02", soc=70, address="C8:47:8C:00:00:01")

    async def one(target):
        async with bmslink.connect(target).board as device:
            return (await device.read()).soc

    assert (
        await asyncio.gather(one(f"jbd+ble://{ADDRESS}"), one("jk02+ble://C8:47:8C:00:00:01"))
    ) == [30, 70]
    assert OPENED == ["open", "close"]


def test_a_frame_may_come_slowly():
    """Packets that were lost on the air are repeated, and what follows waits."""
    module = board("jbd")
    inner = module.say

    def slowly(data: bytes) -> None:
        loop = asyncio.get_running_loop()
        for number, start in enumerate(range(0, len(data), 20)):
            loop.call_later(0.3 * number, inner, data[start : start + 20])

    module.say = slowly
    assert read(f"jbd+ble://{ADDRESS}")[1].soc is not None


async def test_a_write_that_fails_because_the_pack_is_gone_says_that():
    module = board("jbd")

    async with bmslink.connect(f"jbd+ble://{ADDRESS}").board as device:
        client = module.client
        client._disconnected_callback = None  # the stack has not told yet
        module.drop()
        with pytest.raises(LinkClosed, match="disconnected: out of reach"):
            await device.read()
