"""JK's parallel bus: what belongs to whom, and a driver that speaks only where nobody else does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bmslink
from bmslink.decoding import decode
from bmslink.errors import BmsError, LinkTimeout, Refused, TargetError
from bmslink.link.capture import Piece, open_capture
from bmslink.link.link import Link
from bmslink.model import Reading
from bmslink.protocols.base import Options, Record
from bmslink.protocols.common.rtu import RTUFrame
from bmslink.protocols.jk.bus.driver import JKBus, JKBusCodec
from bmslink.protocols.jk.bus.framing import BusFrame, JKBusFramer, trigger
from bmslink.protocols.jk.jk02.framing import (
    CELLS,
    INFO,
    LOG,
    PAYLOAD,
    SETTINGS,
    JK02Frame,
    JK02Framer,
    record,
)
from bmslink.protocols.jk.modbus.map import ACTIONS, ARMING
from scripted import ScriptedTransport
from support import FIXTURES, virtual_run

FOLDER = FIXTURES / "jk-bus"


def pieces(name: str) -> list[Piece]:
    return list(open_capture(FOLDER / f"{name}.jsonl")[1])


ADDRESS_3 = [p.data for p in pieces("jk-pb-bus-pb2a16s20p-15.41-addr3")]
_, CELLS_3, CELLS_ACK_3, _, SETTINGS_3, SETTINGS_ACK_3, INFO_3, INFO_ACK_3 = ADDRESS_3
CELLS_OTHER, SETTINGS_OTHER = (p.data for p in pieces("jk-pb-bus-16s-passive-2026"))
CYCLE = [p.data for p in pieces("jk-pb-bus-master-cycle-20240223")]
PAD = b"\0"


def frames(data: bytes) -> list[BusFrame]:
    framer = JKBusFramer()
    return framer.feed(data) + framer.flush()


def explain(*stream: bytes, codec: JKBusCodec | None = None) -> list[Record]:
    codec = codec or JKBusCodec()
    return [codec.decode(frame) for frame in frames(b"".join(stream))]


# ------------------------------------------------------------------------------------ frames


def test_a_padding_zero_delays_nothing() -> None:
    framer = JKBusFramer()
    for address in range(16):
        ack = ack_of(address, 0x1620)
        found = framer.feed(CELLS_3 + PAD + ack)
        assert [f.raw for f in found] == [CELLS_3, ack]
        assert framer.pending == 0


def test_what_stands_before_a_broken_record_is_lost_and_nothing_else() -> None:
    framer = JKBusFramer()
    stream = CELLS_3[:150] + CELLS_ACK_3 + SETTINGS_3 + PAD + SETTINGS_ACK_3
    found = framer.feed(stream) + framer.flush()
    assert [f.raw for f in found][-2:] == [SETTINGS_3, SETTINGS_ACK_3]
    assert framer.skipped_bytes >= 151


def test_junk_that_looks_like_a_start() -> None:
    found = frames(b"\x55\x55\xaa\x00\x03\x10\x0f" + CELLS_ACK_3 + b"\x55")
    assert [f.raw for f in found] == [CELLS_ACK_3]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*ADDRESS_3, *CYCLE[:14], b"\x55", b"\x03\x10\x16", PAD])))
def test_any_order_of_frames(stream: Sequence[bytes]) -> None:
    codec = JKBusCodec()
    for frame in frames(b"".join(stream)):
        record = codec.decode(frame)
        assert codec.decode(frame) == record
        assert JKBusFramer().encode(frame) == frame.raw


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.binary(min_size=293, max_size=293), st.sampled_from([1, 2, 3]))
def test_any_bytes(junk: bytes, content: bytes, code: int) -> None:
    record = JKBusFramer().encode(JK02Frame(code=code, data=content))
    codec = JKBusCodec()
    for frame in frames(junk + record + CELLS_ACK_3):
        clean = codec.scrub(frame)
        assert clean is None or len(clean) == len(frame.raw)
        try:
            told = codec.decode(frame)
            codec.reading([told])
            codec.identity([told])
        except BmsError:
            continue


# ------------------------------------------------------------------------------------ meaning


def test_the_acknowledgement_behind_a_record_tells_whose_it_is() -> None:
    codec = JKBusCodec()
    settings_of, _, cells, ack = explain(
        SETTINGS_3, PAD, SETTINGS_ACK_3, CELLS_3, PAD, CELLS_ACK_3, codec=codec
    )
    alone, found = codec.reading([cells]), codec.reading([cells, ack])
    assert (alone.raw["address"], alone.nominal_capacity, alone.charge_switch) == (None,) * 3
    assert (found.raw["address"], found.nominal_capacity, found.charge_switch) == (3, 280.0, True)
    assert (found.protocol, found.voltage, found.soc) == ("jk-bus", 52.695, 55.0)
    assert settings_of.values["jk_device_address"] == 3  # the record itself agrees


@pytest.mark.parametrize(
    "between",
    [
        pytest.param([CYCLE[0]], id="a request"),
        pytest.param([SETTINGS_OTHER], id="another record"),
        pytest.param([SETTINGS_ACK_3], id="the acknowledgement of another type"),
        pytest.param([CELLS_ACK_3], id="it came already"),
    ],
)
def test_an_acknowledgement_elsewhere_signs_nothing(between: list[bytes]) -> None:
    *_, ack = explain(CELLS_OTHER, *between, CELLS_ACK_3)
    assert ack.part is None


def test_packs_of_one_capture_stay_apart() -> None:
    found = decode(FOLDER / "jk-pb-bus-master-cycle-20240223.jsonl")
    assert [r.raw["address"] for r in found] == [0, 7, 0, 7, 0]
    assert {r.raw["address"]: r.cycle_capacity for r in found} == {0: 7.147, 7: 5.143}
    # address 7 lets no charge current in at first: its switch, known from its second round on
    assert [(r.charge_switch, r.charging_allowed) for r in found[1::2]] == [
        (None, False),
        (False, True),
    ]


def test_settings_of_one_pack_are_not_those_of_another() -> None:
    codec = JKBusCodec()
    *_, cells, ack = explain(
        SETTINGS_3, SETTINGS_ACK_3, CELLS_OTHER, ack_of(5, 0x1620), codec=codec
    )
    found = codec.reading([cells, ack])
    assert (found.raw["address"], found.nominal_capacity) == (5, None)


def test_an_acknowledgement_alone_is_no_reading_with_values() -> None:
    codec = JKBusCodec()
    assert codec.reading([]) == Reading(protocol="jk-bus")
    (ack,) = explain(CELLS_ACK_3, codec=codec)
    assert (ack.role, ack.part) == ("ack", None)


def test_identity_of_several_packs_is_what_they_agree_on() -> None:
    codec = JKBusCodec()
    one = explain(INFO_3, SETTINGS_3, CELLS_3, codec=codec)
    assert codec.identity(one).model == "JK_PB2A16S20P"
    other = [p.data for p in pieces("jk-pb-bus-pb2a16s15p-15.10") if not p.sent]
    both = codec.identity([*one, *explain(*other, codec=codec)])
    assert (both.model, both.cell_count) == (None, None)
    assert (both.vendor, both.protocol) == ("JK", "jk-bus")


def test_registers_read_by_others_are_no_reading() -> None:
    framer = JKBusFramer()
    request = framer.encode(RTUFrame(unit=2, register=0x1290, count=2))
    answer = framer.encode(RTUFrame(unit=2, shape="data", data=bytes(4)))
    records = explain(request, answer)
    assert [(r.kind, r.role, r.part) for r in records] == [
        ("read", "request", None),
        ("live", "other", None),
    ]


def test_passwords_are_blanked() -> None:
    (frame,) = frames(INFO_3)
    clean = JKBusCodec().scrub(frame)
    assert clean is not None
    assert clean[62:78] == clean[118:134] == bytes(16)
    assert [f.raw for f in frames(clean)] == [clean]


def test_only_triggers_can_be_asked_for() -> None:
    assert JKBusFramer().encode(trigger(3, CELLS)) == ADDRESS_3[0]
    made = {trigger(a, c).register for a in range(1, 16) for c in (INFO, SETTINGS, CELLS)}
    assert made == {0x161C, 0x161E, 0x1620}
    assert not made & {ARMING, *ACTIONS}
    for address, code in ((0, CELLS), (16, CELLS), (1, LOG), (1, 4)):
        with pytest.raises(TargetError):
            trigger(address, code)
    with pytest.raises(TargetError):
        JKBusCodec("24s")


# ------------------------------------------------------------------------------------ driver


def ack_of(address: int, register: int) -> bytes:
    return JKBusFramer().encode(
        RTUFrame(unit=address, function=0x10, shape="written", register=register, count=1)
    )


RECORDS = {0x161C: INFO_3, 0x161E: SETTINGS_3, 0x1620: CELLS_3}

Script = Callable[["Bus", RTUFrame], None]


class Bus(ScriptedTransport):
    """A line with whatever the script says on it; remembers what it was asked."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script
        self.asked: list[tuple[int, int]] = []
        self.framer = JKBusFramer()
        self.answers = 0

    def heard(self, data: bytes) -> None:
        for frame in self.framer.feed(data):
            assert isinstance(frame, RTUFrame)
            assert (frame.shape, frame.data) == ("write_many", bytes(2))
            self.asked.append((frame.unit, frame.register))
            self.script(self, frame)

    def say(self, *data: bytes, after: float = 0.038) -> None:
        super().say(*data, after=after)

    def master(self, rounds: int, addresses: Sequence[int] = (0, 7), first: float = 4.0) -> None:
        """A master's rounds: requests to all, records of those that are there."""
        for number in range(rounds):
            for place, address in enumerate(addresses):
                said = [CELLS_OTHER, ack_of(address, 0x1620)]
                said += [SETTINGS_OTHER, ack_of(address, 0x161E)]
                self.say(CYCLE[0], *said, after=first + 5 * number + 0.5 * place)


def usual(bus: Bus, frame: RTUFrame) -> None:
    bus.say(RECORDS[frame.register], PAD, ack_of(frame.unit, frame.register))


def silent(bus: Bus, frame: RTUFrame) -> None:
    return None


Test = Callable[[JKBus, Bus], Coroutine[Any, Any, None]]


def run(script: Script, test: Test, address: int | None = None) -> None:
    async def main() -> None:
        bus = Bus(script)
        link: Link[BusFrame] = Link(bus, JKBus.make_framer(), JKBus.timing)
        await link.open()
        await test(JKBus(link, Options(address=address)), bus)
        await link.close()

    virtual_run(main())


def now() -> float:
    return asyncio.get_running_loop().time()


def test_it_listens_for_a_round_before_it_asks() -> None:
    async def test(driver: JKBus, bus: Bus) -> None:
        await driver.start()
        assert (now() > 6, bus.asked) == (True, [])
        found = await driver.read()
        assert bus.asked == [(3, 0x161E), (3, 0x1620)]
        assert (found.raw["address"], found.voltage, found.nominal_capacity) == (3, 52.695, 280.0)
        identity = await driver.identify()
        assert (identity.model, identity.serial_number) == ("JK_PB2A16S20P", "01234567890")
        assert (identity.cell_count, identity.chemistry) == (16, "lfp")

    run(usual, test, address=3)


def test_the_first_board_is_asked_if_none_is_named() -> None:
    async def test(driver: JKBus, bus: Bus) -> None:
        await driver.start()
        await driver.read()
        assert {address for address, _ in bus.asked} == {1}

    run(usual, test)


@pytest.mark.parametrize(("address", "wanted"), [(7, 7), (0, 0), (None, 7)])
def test_where_a_master_speaks_nothing_is_sent(address: int | None, wanted: int) -> None:
    async def test(driver: JKBus, bus: Bus) -> None:
        bus.master(20)
        await driver.start()
        assert now() < 4.1
        assert driver.listens
        for _ in range(3):
            before = now()
            found = await driver.read()
            assert (found.raw["address"], found.voltage) == (wanted, 52.036)
            assert now() > before  # never one that waited
        assert found.nominal_capacity == 230.0  # its settings went by
        assert (await driver.identify()).cell_count == 16
        assert bus.asked == []

    run(usual, test, address=address)


def test_address_0_is_not_asked_even_on_a_silent_line() -> None:
    async def test(driver: JKBus, bus: Bus) -> None:
        await driver.start()
        with pytest.raises(LinkTimeout) as caught:
            await driver.read()
        assert caught.value.heard == "silence"
        assert bus.asked == []

    run(usual, test, address=0)


@pytest.mark.parametrize("address", [16, 200])
def test_there_are_16_addresses(address: int) -> None:
    with pytest.raises(TargetError, match="0 to 15"):
        run(usual, lambda driver, bus: driver.start(), address=address)
    with pytest.raises(TargetError, match="0 to 15"):  # before anything is opened
        bmslink.connect(f"jk-bus+tcp://127.0.0.1:1?address={address}")


def test_a_master_that_wakes_up_between_two_questions_is_left_alone() -> None:
    async def test(driver: JKBus, bus: Bus) -> None:
        await driver.start()
        await driver.read()
        asked = len(bus.asked)
        bus.master(10, addresses=(0, 3), first=1.0)
        await asyncio.sleep(2)
        found = await driver.read()
        assert (found.raw["address"], found.voltage) == (3, 52.036)
        await driver.read()
        assert len(bus.asked) == asked

    run(usual, test, address=3)


def test_another_poller_in_the_middle_of_an_answer_is_left_alone() -> None:
    def script(bus: Bus, frame: RTUFrame) -> None:
        bus.say(CELLS_OTHER, ack_of(9, 0x1620), after=0.03)
        bus.master(10, addresses=(9, 3), first=1.0)

    async def test(driver: JKBus, bus: Bus) -> None:
        await driver.start()
        found = await driver.read()
        assert (found.raw["address"], found.voltage) == (3, 52.036)
        assert len(bus.asked) == 1  # the question that was already out

    run(script, test, address=3)


def test_an_echo_is_nobody_else() -> None:
    def script(bus: Bus, frame: RTUFrame) -> None:
        bus.say(bus.framer.encode(trigger(frame.unit, CELLS)), after=0.0)
        bus.say(bus.framer.encode(trigger(frame.unit, SETTINGS)), after=0.0)
        usual(bus, frame)

    def echo(bus: Bus, frame: RTUFrame) -> None:
        bus.say(bus.framer.encode(frame), after=0.001)
        usual(bus, frame)

    async def alone(driver: JKBus, bus: Bus) -> None:
        await driver.start()
        await driver.read()
        assert not driver.listens

    async def other(driver: JKBus, bus: Bus) -> None:
        await driver.start()
        bus.master(3, addresses=(3,), first=1.0)
        await driver.read()
        assert driver.listens  # a question that is not ours

    run(echo, alone, address=3)
    run(script, other, address=3)


def test_a_lost_acknowledgement_is_asked_for_again() -> None:
    def script(bus: Bus, frame: RTUFrame) -> None:
        if len(bus.asked) < 3:
            bus.say(RECORDS[frame.register])
        else:
            usual(bus, frame)

    async def test(driver: JKBus, bus: Bus) -> None:
        await driver.start()
        assert (await driver.read()).raw["address"] == 3
        assert len(bus.asked) == 4

    run(script, test, address=3)


def test_a_late_answer_is_not_taken_for_the_next_one() -> None:
    def script(bus: Bus, frame: RTUFrame) -> None:
        bus.answers += 1
        if bus.answers == 1:
            usual(bus, frame)
            bus.say(ack_of(frame.unit, 0x1620), after=0.21)  # of a question long ago
        else:
            usual(bus, frame)

    async def test(driver: JKBus, bus: Bus) -> None:
        await driver.start()
        found = await driver.read()
        assert (found.voltage, driver.listens) == (52.695, False)

    run(script, test, address=3)


def test_a_silent_board_and_a_refusal() -> None:
    async def gone(driver: JKBus, bus: Bus) -> None:
        await driver.start()
        with pytest.raises(LinkTimeout):
            await driver.read()
        assert len(bus.asked) == 1 + JKBus.timing.retries

    def refusing(bus: Bus, frame: RTUFrame) -> None:
        refusal = RTUFrame(unit=frame.unit, function=0x90, shape="exception", code=2)
        bus.say(bus.framer.encode(refusal))

    async def refused(driver: JKBus, bus: Bus) -> None:
        await driver.start()
        with pytest.raises(Refused, match="exception 2"):
            await driver.read()
        assert len(bus.asked) == 1

    run(silent, gone, address=3)
    run(refusing, refused, address=3)


def test_an_address_that_no_master_finds() -> None:
    async def test(driver: JKBus, bus: Bus) -> None:
        bus.master(10)
        await driver.start()
        with pytest.raises(LinkTimeout, match=r"address 4 was not heard.*: 0, 7\.") as caught:
            await driver.read()
        assert caught.value.heard == "other"

    run(silent, test, address=4)


def test_a_cable_that_only_pushes_records() -> None:
    """`jk-pb-bus-16s-passive-2026`: live values and settings, without acknowledgements."""

    async def test(driver: JKBus, bus: Bus) -> None:
        for number in range(20):
            bus.say(CELLS_OTHER, SETTINGS_OTHER, after=5.0 * (number + 1))
        await driver.start()
        found = await driver.read()
        assert (found.voltage, found.raw["address"], found.nominal_capacity) == (52.036, None, None)
        assert (await driver.identify()).cell_count == 16
        assert bus.asked == []

    run(silent, test)


def test_a_jk02_board_that_streams_is_named_where_its_settings_do_not_come() -> None:
    streamed = JK02Framer().encode(record(CELLS, CELLS_OTHER[6:299], counter=17))

    async def test(driver: JKBus, bus: Bus) -> None:
        for number in range(80):
            bus.say(streamed, after=0.5 * (number + 1))
        await driver.start()
        with pytest.raises(LinkTimeout, match="jk02"):
            await driver.identify()
        assert bus.asked == []

    run(silent, test)


def test_a_line_that_never_falls_silent_is_not_spoken_on() -> None:
    async def test(driver: JKBus, bus: Bus) -> None:
        await driver.start()
        for number in range(300):
            bus.say(CELLS_OTHER, after=0.05 * number)
        await asyncio.sleep(0.01)
        with pytest.raises(LinkTimeout):
            await driver.read()
        assert bus.asked == []

    run(usual, test, address=3)


def test_a_record_that_says_nonsense_is_passed_over() -> None:
    """A 24-slot record cannot come from a board of this bus."""
    cells = bytearray(PAYLOAD)
    cells[48:50] = b"\xff\xff"  # the mask of connected cells where 24S boards have it
    nonsense = JK02Framer().encode(record(2, bytes(cells)))

    async def test(driver: JKBus, bus: Bus) -> None:
        bus.master(4)
        for moment in (4.2, 9.2, 14.2):
            bus.say(nonsense, ack_of(7, 0x1620), after=moment)
        await driver.start()
        found = await driver.read()
        assert (found.raw["address"], bus.asked) == (7, [])

    run(silent, test, address=7)
