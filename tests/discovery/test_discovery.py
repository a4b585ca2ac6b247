"""Finding packs: on lines of simulated packs, in virtual time."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import bmslink
from bmslink.discovery import scan as discovery
from bmslink.discovery.probe_line import overheard
from bmslink.discovery.probes import LISTEN, PROBES, STEPS
from bmslink.discovery.scan import ALSO, CERTAIN, LIKELY, OVERHEARD, POSSIBLE, Found, detect
from bmslink.errors import (
    LinkClosed,
    LinkTimeout,
    PortBusy,
    PortDenied,
    PortNotFound,
    TargetError,
    TransportError,
    UnknownDevice,
)
from bmslink.link.capture import open_capture
from bmslink.link.gatt import SeenDevice, uuid16
from bmslink.link.transport import (
    SCHEMES,
    Endpoint,
    Line,
    OnData,
    OnLost,
    Scheme,
    Transport,
    parse_target,
)
from bmslink.model import Identity
from bmslink.protocols import DRIVERS, load_driver
from bmslink.protocols.common.rtu import crc16
from bmslink.protocols.jk.jk02.framing import JK02Framer, command
from bmslink.simulation.responder import RESPONDERS
from bmslink.simulation.transport import SimDevice, SimLine, make_device
from bmslink.transports import ports
from support import FIXTURES, virtual_run

PORT = "serial:///dev/ttyTEST"


class World:
    """What hangs at `serial://` places in a test, and all that was written there."""

    def __init__(self) -> None:
        self.places: dict[str, Callable[[OnData, Callable[[], int]], Any] | Exception] = {}
        self.written: list[tuple[str, int, bytes]] = []
        self.opened: list[tuple[str, int]] = []

    def hang(self, place: str, device: SimDevice) -> None:
        self.places[place] = lambda on_data, rate: SimLine(
            device, on_data, client_rate=rate, pace=True
        )

    def sim(self, place: str, protocol: str, *addresses: int, fault: str = "") -> SimDevice:
        device = make_device(protocol, address=addresses, faults=[fault] if fault else [])
        self.hang(place, device)
        return device


world = World()


@pytest.fixture(autouse=True)
def lines(monkeypatch: pytest.MonkeyPatch) -> World:
    """The ports of this test instead of real ones."""
    world.__init__()
    for name in ("serial", "tcp"):
        monkeypatch.setitem(SCHEMES, name, Scheme("test_discovery:WorldTransport", asked=True))
    monkeypatch.setattr(ports, "serial_ports", list)
    return world


class Chatter:
    """Says something every so often, and hears nothing."""

    def __init__(self, on_data: OnData, make: Callable[[], bytes], every: float) -> None:
        self.task = asyncio.ensure_future(self.talk(on_data, make, every))

    async def talk(self, on_data: OnData, make: Callable[[], bytes], every: float) -> None:
        while True:
            await asyncio.sleep(every)
            on_data(make())

    def receive(self, data: bytes) -> None:
        """Nothing."""

    def close(self) -> None:
        self.task.cancel()


class WorldTransport(Transport):
    def __init__(self, endpoint: Endpoint) -> None:
        self.place = endpoint.place
        self.rate = endpoint.integer("baudrate", 9600) or 9600
        self.open_line: Any = None

    def line(self) -> Line:
        return Line(self.place, str(self.rate))

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        world.opened.append((self.place, self.rate))
        there = world.places.get(self.place)
        if isinstance(there, Exception):
            raise there
        if there is not None:
            self.open_line = there(on_data, lambda: self.rate)

    async def close(self) -> None:
        if self.open_line is not None:
            self.open_line.close()

    async def write(self, data: bytes) -> None:
        world.written.append((self.place, self.rate, data))
        if self.open_line is not None:
            self.open_line.receive(data)


def scan(*places: str, **options: Any) -> list[Found]:
    async def main() -> list[Found]:
        return await bmslink.scan(ports=[f"serial://{place}" for place in places], **options)

    found: list[Found] = virtual_run(main())
    return found


def timed(main: Any) -> tuple[Any, float]:
    async def run() -> tuple[Any, float]:
        return await main, asyncio.get_running_loop().time()

    result: tuple[Any, float] = virtual_run(run())
    return result


def targets(found: Sequence[Found]) -> list[str]:
    return [one.target for one in found if one.protocol is not None]


# ------------------------------------------------------------------------- what may be sent

READS = {
    "4e5700130000000006030000000000006800000129": "jk-nw: read all (06)",
    "aa5590eb97000000000000000000000000000011": "jk02: command 97, no value",
    "d2030000003ed7b9": "daly-d2: read",
    "dda50300fffd77": "jbd: A5 reads 03",
    "a540900800000000000000007d": "daly-a5: id 90, from the PC",
    "a58090080000000000000000bd": "daly-a5: id 90, from the app",
    "0a0b02": "daly-sinowealth: pack voltage",
    "0a1702": "daly-sinowealth: configuration",
}
FAMILIES = [
    (115200, r"(0[1-9a-f])031400001c", "jk-modbus: function 03"),
    (115200, r"(0[1-9a-f])10161c0001020000", "jk-bus: trigger 161C"),
    (9600, r"(8[1-9a-f])0300000040", "daly-p81: function 03"),
    (9600, r"(0[1-9a-f])031400001c", "jk-modbus: function 03"),
    (9600, r"(0[1-9a-f]|10)78100010a00000", "jbd-up: 78 reads"),
]


def known_read(rate: int, data: bytes) -> bool:
    """Whether these bytes are a read, by tables that know nothing of our code."""
    if data.hex() in READS:
        return True
    if crc16(data[:-2]) == int.from_bytes(data[-2:], "little"):
        body = data[:-2].hex()
        return any(r == rate and re.fullmatch(pattern, body) for r, pattern, _ in FAMILIES)
    if data[0] == 0xDD:  # DD, address, A5, 03, no data
        return data[1] <= 4 and data[2:5] == b"\xa5\x03\0" and data[-1] == 0x77 and len(data) == 8
    # A5, host of board n, 90, no data
    return (
        data[0] == 0xA5
        and 0x41 <= data[1] <= 0x4E
        and data[2:4] == b"\x90\x08"
        and (data[4:12] == bytes(8))
    )


def test_nothing_but_known_reads_is_ever_sent(lines: World) -> None:
    found, seconds = timed(bmslink.scan(ports=[PORT]))
    assert [one.protocol for one in found] == [None]
    assert seconds < 30
    assert len(lines.written) >= len(STEPS)
    for _, rate, data in lines.written:
        assert known_read(rate, data), (rate, data.hex())
    asked = {data[0] for _, rate, data in lines.written if data[1:4] == b"\x10\x16\x1c"}
    assert asked == set(range(1, 16))  # and never 0, which is the master's


def test_the_second_question_of_sinowealth_is_a_read_too(lines: World) -> None:
    lines.sim("/dev/ttyTEST", "daly-sinowealth")
    assert targets(scan("/dev/ttyTEST")) == ["daly-sinowealth+serial:///dev/ttyTEST"]
    assert all(known_read(rate, data) for _, rate, data in lines.written)


def test_half_of_sinowealths_answers_is_none(lines: World) -> None:
    device = make_device("daly-sinowealth")

    class Half(SimLine):
        def receive(self, data: bytes) -> None:
            if data != b"\x0a\x17\x02":
                super().receive(data)

    lines.places["/dev/ttyTEST"] = lambda on_data, rate: Half(device, on_data, client_rate=rate)
    assert targets(scan("/dev/ttyTEST")) == []
    assert ("/dev/ttyTEST", 9600, b"\x0a\x17\x02") in lines.written


def test_a_trigger_goes_only_to_addresses_that_are_silent_to_a_read(lines: World) -> None:
    """A Modbus write by its form: a foreign device at 115200 baud must never get one."""

    class Foreign:
        """A Modbus device at address 1, 5 and 9 that knows no register of JK."""

        def __init__(self, on_data: OnData) -> None:
            self.on_data = on_data

        def receive(self, data: bytes) -> None:
            if data[0] in (1, 5, 9) and data[1] == 3:
                refusal = bytes([data[0], 0x83, 2])
                answer = refusal + crc16(refusal).to_bytes(2, "little")
                asyncio.get_running_loop().call_later(0.02, self.on_data, answer)

        def close(self) -> None:
            """Nothing is open."""

    lines.places["/dev/ttyTEST"] = lambda on_data, rate: Foreign(on_data)
    (found,) = scan("/dev/ttyTEST")
    assert found.protocol is None
    assert "valid frames came" in found.why
    triggered = {data[0] for _, _, data in lines.written if data[1:3] == b"\x10\x16"}
    assert triggered == set(range(1, 16)) - {1, 5, 9}


class Slow:
    """A Modbus device of somebody else that takes its time to refuse, or says what nobody knows."""

    def __init__(self, on_data: OnData, delay: float, unit: int, garble: bool) -> None:
        self.on_data, self.delay, self.unit, self.garble = on_data, delay, unit, garble

    def receive(self, data: bytes) -> None:
        if data[:2] == bytes([self.unit, 3]):
            refusal = bytes([self.unit, 0x83, 2])
            answer = refusal + crc16(refusal).to_bytes(2, "little")
            answer = answer[:-1] if self.garble else answer
            asyncio.get_running_loop().call_later(self.delay, self.on_data, answer)

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("garble", [False, True])
@pytest.mark.parametrize("delay", [0.1, 0.6, 0.95])
@pytest.mark.parametrize("unit", [1, 9, 15])
@pytest.mark.parametrize("target", [PORT, "tcp://host:8899", f"{PORT}?address={{}}"])
async def test_nor_to_a_device_that_is_slow_to_answer_the_read(
    lines: World, target: str, unit: int, delay: float, garble: bool
) -> None:
    there = target.format(unit)
    lines.places[parse_target(there).place] = lambda on_data, rate: Slow(
        on_data, delay, unit, garble
    )
    found = await bmslink.scan(ports=[there])
    assert targets(found) == []
    triggered = {data[0] for _, _, data in lines.written if data[1:3] == b"\x10\x16"}
    assert unit not in triggered
    if not garble and "address" not in there:
        assert len(triggered) >= 13  # and whose turn it was then got the blame


def test_a_trigger_goes_at_its_own_speed_alone(lines: World) -> None:
    scan("/dev/ttyTEST?baudrate=9600")
    scan("/dev/ttyTEST?baudrate=19200")
    assert lines.written
    assert not [data for _, _, data in lines.written if data[1:3] == b"\x10\x16"]


def test_a_modbus_device_of_somebody_else_is_no_jk_board(lines: World) -> None:
    class Meter:
        """Answers every read of address 1 with numbers."""

        def __init__(self, on_data: OnData) -> None:
            self.on_data = on_data

        def receive(self, data: bytes) -> None:
            if data[:2] == b"\x01\x03":
                body = bytes([1, 3, 2 * data[5]]) + bytes(range(2 * data[5]))
                answer = body + crc16(body).to_bytes(2, "little")
                asyncio.get_running_loop().call_later(0.02, self.on_data, answer)

        def close(self) -> None:
            """Nothing is open."""

    lines.places["/dev/ttyTEST"] = lambda on_data, rate: Meter(on_data)
    assert targets(scan("/dev/ttyTEST")) == []


def test_every_protocol_has_a_probe_and_its_questions_are_its_drivers() -> None:
    assert {name for probe in PROBES for name in probe.protocols} == set(DRIVERS)
    for step in STEPS:
        driver = load_driver(step.probe.protocol)
        sent = driver.make_framer().encode(step.probe.ask(step.address))
        assert known_read(step.baudrate, sent), (step.probe.protocol, sent.hex())
        assert step.address is None or step.address in driver.addresses


# ---------------------------------------------------------------------------------- finding


@pytest.mark.parametrize("protocol", RESPONDERS)
def test_every_simulated_pack_is_found_at_its_speed(lines: World, protocol: str) -> None:
    lines.sim("/dev/ttyTEST", protocol)
    found, seconds = timed(detect(parse_target("/dev/ttyTEST")))
    assert seconds < 10
    assert found.protocol == protocol
    assert "baudrate" not in found.query  # its driver's own
    (one,) = scan("/dev/ttyTEST")
    assert (one.protocol, one.confidence) == (protocol, CERTAIN)
    device = bmslink.connect(one.target).board
    assert device.target.protocol == protocol


@pytest.mark.parametrize(
    ("protocol", "address", "limit"),
    [
        ("jk-modbus", 15, 10),
        ("jk-bus", 15, 10),
        ("daly-p81", 4, 11),
        ("daly-p81", 15, 14),
        ("daly-a5", 3, 10),
        ("daly-a5", 15, 14),
        ("jbd", 1, 10),
        ("jbd", 4, 15),
        ("jbd-up", 2, 10),
        ("jbd-up", 16, 25),
    ],
)
def test_a_pack_is_found_at_its_address(
    lines: World, protocol: str, address: int, limit: float
) -> None:
    lines.sim("/dev/ttyTEST", protocol, address)
    found, seconds = timed(detect(parse_target("/dev/ttyTEST")))
    assert str(found) == f"{protocol}+{PORT}?address={address}"
    assert seconds < limit


@pytest.mark.parametrize(
    ("protocol", "addresses"),
    [
        ("jk-modbus", (2, 7)),
        ("jk-bus", (1, 3)),
        ("daly-p81", (1, 4)),
        ("daly-a5", (1, 3)),
        ("daly-a5", (2, 5)),
        ("jbd", (1, 2)),
        ("jbd-up", (1, 2)),
    ],
)
def test_two_packs_on_one_bus_are_both_found(
    lines: World, protocol: str, addresses: tuple[int, int]
) -> None:
    lines.sim("/dev/ttyTEST", protocol, *addresses)
    assert targets(scan("/dev/ttyTEST")) == [f"{protocol}+{PORT}?address={n}" for n in addresses]
    said: list[str] = []
    virtual_run(detect(parse_target("/dev/ttyTEST"), tell=said.append))
    assert f"address={addresses[0]}" in said[-1] or protocol == "daly-a5"


@pytest.mark.parametrize("fault", ["echo", "sleepy", "noise:3", "chunk:5"])
@pytest.mark.parametrize("protocol", ["jk-nw", "jk-bus", "daly-a5", "daly-d2", "jbd", "jbd-up"])
def test_found_through_the_faults_of_real_lines(lines: World, protocol: str, fault: str) -> None:
    lines.sim("/dev/ttyTEST", protocol, fault=fault)
    assert [one.protocol for one in scan("/dev/ttyTEST")] == [protocol]


def test_a_jk_modbus_board_at_9600_baud_says_so_in_its_target(lines: World) -> None:
    device = make_device("jk-modbus", address=2)
    line: list[SimLine] = []

    def hang(on_data: OnData, rate: Callable[[], int]) -> Any:
        # UART protocol 013: the same board, slower
        line[:] = [SimLine(device, on_data, client_rate=lambda: rate() * 12)]
        return line[0]

    lines.places["/dev/ttyTEST"] = hang
    assert targets(scan("/dev/ttyTEST")) == [f"jk-modbus+{PORT}?baudrate=9600&address=2"]


def test_of_several_dialects_the_best_comes_first(lines: World) -> None:
    """Some Daly boards answer three."""

    class Board:
        def __init__(self, on_data: OnData, rate: Callable[[], int]) -> None:
            self.lines = [
                SimLine(make_device(p), on_data, client_rate=rate)
                for p in ("daly-a5", "daly-p81", "daly-d2")
            ]

        def receive(self, data: bytes) -> None:
            for line in self.lines:
                line.receive(data)

        def close(self) -> None:
            for line in self.lines:
                line.close()

    lines.places["/dev/ttyTEST"] = Board
    found = scan("/dev/ttyTEST")
    assert [(one.protocol, one.confidence) for one in found][:1] == [("daly-d2", CERTAIN)]
    assert {one.protocol: one.confidence for one in found[1:]} == {
        "daly-p81": ALSO,
        "daly-a5": ALSO,
    }
    said: list[str] = []
    best = virtual_run(detect(parse_target("/dev/ttyTEST"), tell=said.append))
    assert best.protocol == "daly-d2"
    assert "daly-d2" in said[-1]


async def test_a_gateway_is_asked_at_the_speed_it_has(lines: World) -> None:
    lines.sim("host:8899", "jbd")
    found = await bmslink.scan(ports=["tcp://host:8899"])
    assert targets(found) == ["jbd+tcp://host:8899"]
    assert {rate for _, rate in lines.opened} == {9600}
    sent = [data for _, _, data in lines.written]
    assert len([data for data in sent if data[:2] == b"\x01\x03"]) == 1  # not for each speed


async def test_a_gateway_far_away_is_waited_for(lines: World) -> None:
    device = make_device("jk-nw")

    def hang(on_data: OnData, rate: Callable[[], int]) -> Any:
        def late(data: bytes) -> None:
            asyncio.get_running_loop().call_later(0.25, on_data, data)

        return SimLine(device, late)

    lines.places["host:8899"] = hang
    assert targets(await bmslink.scan(ports=["tcp://host:8899"])) == ["jk-nw+tcp://host:8899"]


# ---------------------------------------------------------------------- who is left alone


@pytest.mark.parametrize("protocol", ["jk-modbus", "daly-a5", "daly-p81"])
def test_a_line_with_another_master_is_only_listened_to(lines: World, protocol: str) -> None:
    lines.sim("/dev/ttyTEST", protocol, 1, fault="second_master:2")
    (found,) = scan("/dev/ttyTEST")
    assert lines.written == []
    assert (found.protocol, found.confidence) == (protocol, OVERHEARD)
    assert found.target.endswith("?address=1")
    assert "nothing was sent" in found.why
    with pytest.raises(UnknownDevice, match=f"Somebody else already asks {protocol}"):
        virtual_run(detect(parse_target("/dev/ttyTEST")))
    assert lines.written == []


def test_the_master_of_a_jk_bus_is_left_alone_and_its_packs_are_named(lines: World) -> None:
    device = make_device("jk-bus", address=(0, 3, 5))
    hung: list[SimLine] = []

    def hang(on_data: OnData, rate: Callable[[], int]) -> Any:
        hung.append(SimLine(device, on_data, client_rate=rate, pace=True))
        hung[-1]._stream_due -= 5.0  # its round runs already
        hung[-1]._stream()
        return hung[-1]

    lines.places["/dev/ttyTEST"] = hang
    found = scan("/dev/ttyTEST")
    assert lines.written == []
    assert targets(found) == [f"jk-bus+{PORT}?address={n}" for n in (0, 3, 5)]

    async def main() -> str:
        async with bmslink.connect("/dev/ttyTEST").board as listener:
            return (await listener.read()).protocol

    assert virtual_run(main()) == "jk-bus"
    assert lines.written == []  # its driver only listens, too


def streaming(device: SimDevice) -> Callable[[OnData, Callable[[], int]], Any]:
    """A line on which the board streams already, because somebody asked it before."""

    def hang(on_data: OnData, rate: Callable[[], int]) -> Any:
        line = SimLine(device, on_data, client_rate=rate, pace=True)
        if rate() == 115200:
            for code in (0x97, 0x96):
                line.receive(JK02Framer().encode(command(code)))
        return line

    return hang


@pytest.mark.parametrize("firmware", ["15.41", "10.07"])
def test_a_jk02_board_that_streams_is_not_a_pack_of_the_bus(lines: World, firmware: str) -> None:
    lines.places["/dev/ttyTEST"] = streaming(make_device("jk02", firmware=firmware))
    (found,) = scan("/dev/ttyTEST")
    assert lines.written == []
    assert (found.target, found.confidence) == (f"jk02+{PORT}", OVERHEARD)
    assert "nobody was heard asking it" in found.why

    async def main() -> tuple[str, object]:
        async with bmslink.connect("/dev/ttyTEST").board as device:
            assert str(device.target) == f"jk02+{PORT}"
            settings = await device.settings(await device.settings_map(await device.identify()))
            return (await device.read()).protocol, settings.values()["cell_ovp"]

    assert virtual_run(main()) == ("jk02", 3.65)


def test_a_jk02_board_that_somebody_asks_is_left_alone(lines: World) -> None:
    device = make_device("jk02")

    def hang(on_data: OnData, rate: Callable[[], int]) -> Any:
        line = streaming(device)(on_data, rate)
        on_data(JK02Framer().encode(command(0x96)))
        return line

    lines.places["/dev/ttyTEST"] = hang
    (found,) = scan("/dev/ttyTEST")
    assert "somebody else speaks" in found.why
    with pytest.raises(UnknownDevice, match="Somebody else already asks jk02"):
        virtual_run(detect(parse_target("/dev/ttyTEST")))
    assert lines.written == []


def test_a_record_that_may_be_of_the_bus_or_not_is_taken_for_both() -> None:
    _, pieces = open_capture(FIXTURES / "jk-bus" / "jk-pb-bus-16s-passive-js.jsonl")
    data = b"".join(piece.data for piece in pieces)
    assert {hit.protocol for hit in overheard(data, 115200)} == {"jk-bus", "jk02"}


def test_an_address_that_may_be_why_nobody_answers_is_named(lines: World) -> None:
    lines.sim("/dev/ttyTEST", "jk-modbus", 2)
    with pytest.raises(UnknownDevice, match=r"Only address 9 was asked \(--address\)"):
        virtual_run(detect(parse_target("/dev/ttyTEST?address=9")))
    lines.places.clear()
    (found,) = scan("/dev/ttyTEST")
    assert "--address" not in found.why


def test_a_master_that_comes_later_ends_the_search(lines: World) -> None:
    lines.sim("/dev/ttyTEST", "jk-bus", 0, 3)  # its first round begins after 5 s
    found = scan("/dev/ttyTEST")
    assert {one.target for one in found} >= {f"jk-bus+{PORT}?address=0"}
    assert all("another master" in one.why.lower() for one in found)
    assert len(lines.written) < 40
    assert {rate for _, rate, _ in lines.written} == {115200}


def test_a_master_of_whom_no_pack_is_known_ends_the_search_too(lines: World) -> None:
    asked = bytes.fromhex("150310000002")
    asked += crc16(asked).to_bytes(2, "little")

    class Later(Chatter):
        async def talk(self, on_data: OnData, make: Callable[[], bytes], every: float) -> None:
            await asyncio.sleep(LISTEN + 0.1)
            await super().talk(on_data, make, every)

    lines.places["/dev/ttyTEST"] = lambda on_data, rate: Later(on_data, lambda: asked, 0.2)
    (found,) = scan("/dev/ttyTEST")
    assert found.protocol is None
    assert "Another master began to ask" in found.why
    assert {rate for _, rate, _ in lines.written} == {115200}
    assert len(lines.written) < 10


@pytest.mark.parametrize("seed", range(3))
def test_a_port_that_never_stops_talking_is_left_alone(lines: World, seed: int) -> None:
    noise = random.Random(seed)
    lines.places["/dev/ttyTEST"] = lambda on_data, rate: Chatter(
        on_data, lambda: noise.randbytes(40), 0.05
    )
    (found,) = scan("/dev/ttyTEST")
    assert found.protocol is None
    assert lines.written == []
    assert "no protocol here explains" in found.why
    assert any(
        re.match(r"listened at 9600 baud: \d+ bytes came unasked", text) for text in found.tried
    )


def test_a_glitch_at_opening_is_no_master(lines: World) -> None:
    device = make_device("jbd")

    def hang(on_data: OnData, rate: Callable[[], int]) -> Any:
        asyncio.get_running_loop().call_later(0.01, on_data, b"\0\xff")
        return SimLine(device, on_data, client_rate=rate)

    lines.places["/dev/ttyTEST"] = hang
    assert targets(scan("/dev/ttyTEST")) == [f"jbd+{PORT}"]


def test_an_endless_answer_does_not_hold_the_search_up(lines: World) -> None:
    class Flood(Chatter):
        def __init__(self, on_data: OnData) -> None:
            self.on_data = on_data
            self.task = asyncio.ensure_future(asyncio.sleep(0))

        def receive(self, data: bytes) -> None:
            self.task.cancel()
            noise = random.Random(1)
            self.task = asyncio.ensure_future(
                self.talk(self.on_data, lambda: noise.randbytes(999), 0.05)
            )

    lines.places["/dev/ttyTEST"] = lambda on_data, rate: Flood(on_data)
    (found,), seconds = timed(bmslink.scan(ports=[PORT], timeout=20))
    assert found.protocol is None
    assert seconds == pytest.approx(20, abs=2)
    assert len(lines.written) > 4


# -------------------------------------------------------------------------------- why not


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            PortBusy("/dev/ttyTEST is in use by minicom (pid 12); end that program first."),
            "minicom",
        ),
        (PortDenied("You may not open /dev/ttyTEST: it belongs to the group dialout."), "dialout"),
        (PortNotFound("There is no serial port /dev/ttyTEST."), "no serial port"),
        (TransportError("/dev/ttyTEST cannot do 115200 baud."), "115200"),
    ],
)
def test_a_port_that_cannot_be_opened_says_why_beside_one_that_can(
    lines: World, error: TransportError, words: str
) -> None:
    lines.places["/dev/ttyTEST"] = error
    lines.sim("/dev/ttyGOOD", "jk-nw")
    good, bad = scan("/dev/ttyTEST", "/dev/ttyGOOD")
    assert (good.protocol, good.target) == ("jk-nw", "jk-nw+serial:///dev/ttyGOOD")
    assert (bad.protocol, bad.confidence, bad.tried) == (None, 0.0, ())
    assert words in bad.why
    with pytest.raises(type(error), match=re.escape(words)):
        virtual_run(detect(parse_target("/dev/ttyTEST")))


def test_silence_says_what_was_tried(lines: World) -> None:
    (found,) = scan("/dev/ttyTEST")
    assert found.target == PORT
    assert "Silence" in found.why
    assert found.tried[0] == "listened at 115200 baud"
    assert found.tried[1].startswith("at 115200 baud: jk-nw: silence, jk-modbus 1-15: silence")
    assert "jbd-up 1-16: silence" in found.tried[2]
    assert "jbd plain and 0-4: silence, daly-a5 plain and 2-15: silence" in found.tried[2]
    said: list[str] = []
    with pytest.raises(UnknownDevice, match="Silence"):
        virtual_run(detect(parse_target("/dev/ttyTEST"), tell=said.append))
    assert any("jbd-up 1-16: silence" in text for text in said)


def test_an_echo_is_no_answer(lines: World) -> None:
    class Echo:
        def __init__(self, on_data: OnData) -> None:
            self.on_data = on_data

        def receive(self, data: bytes) -> None:
            asyncio.get_running_loop().call_later(0.005, self.on_data, data)

        def close(self) -> None:
            """Nothing is open."""

    lines.places["/dev/ttyTEST"] = lambda on_data, rate: Echo(on_data)
    (found,) = scan("/dev/ttyTEST")
    assert found.protocol is None
    assert "Echo only" in found.why


def test_a_board_is_found_behind_an_adapter_that_echoes_with_junk(lines: World) -> None:
    device = make_device("jk-bus", address=2)

    class Turning:
        """What RS485 adapters make that switch their direction late."""

        def __init__(self, on_data: OnData, rate: Callable[[], int]) -> None:
            self.on_data = on_data
            self.line = SimLine(device, on_data, client_rate=rate)

        def receive(self, data: bytes) -> None:
            asyncio.get_running_loop().call_later(0.002, self.on_data, b"\xfe" + data)
            self.line.receive(data)

        def close(self) -> None:
            self.line.close()

    lines.places["/dev/ttyTEST"] = Turning
    assert targets(scan("/dev/ttyTEST")) == [f"jk-bus+{PORT}?address=2"]


async def test_garbage_at_another_speed_says_so(lines: World) -> None:
    lines.sim("/dev/ttyTEST", "jbd")
    found = await bmslink.scan(ports=[f"{PORT}?baudrate=19200"])
    assert [one.protocol for one in found] == [None]
    assert "Garbage at 19200 baud" in found[0].why
    assert {rate for _, rate in lines.opened} == {19200}


async def test_a_pack_of_another_protocol_says_so(lines: World) -> None:
    """Asked as JK only, it still shows whose frames came."""

    class Late:
        """An answer to a question that nobody of us asked."""

        def __init__(self, on_data: OnData) -> None:
            self.on_data = on_data

        def receive(self, data: bytes) -> None:
            answer = bytes.fromhex("DD 04 00 08 0D 2E 0D 2B 0D 2B 0D 2B FF 15 77")
            asyncio.get_running_loop().call_later(0.01, self.on_data, answer)

        def close(self) -> None:
            """Nothing is open."""

    lines.places["/dev/ttyTEST"] = lambda on_data, rate: Late(on_data)
    found = await bmslink.scan(ports=[f"jk+{PORT}"])
    assert found[0].protocol is None
    assert "frames of jbd" in found[0].why


def test_a_pulled_cable_is_a_sentence(lines: World) -> None:
    class Pulled(WorldTransport):
        async def write(self, data: bytes) -> None:
            raise LinkClosed("/dev/ttyTEST is gone: the cable was pulled or it hung up.")

    lines.places["/dev/ttyTEST"] = LinkClosed("gone")
    (found,) = scan("/dev/ttyTEST")
    assert found.why == "gone"


def test_a_pack_that_answered_is_kept_when_the_line_is_lost_after_it(
    lines: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines.sim("/dev/ttyTEST", "jk-modbus", 3)
    write = WorldTransport.write

    async def pulled(self: WorldTransport, data: bytes) -> None:
        if data[:2] == b"\x07\x03":
            raise LinkClosed("/dev/ttyTEST is gone: the cable was pulled or it hung up.")
        await write(self, data)

    monkeypatch.setattr(WorldTransport, "write", pulled)
    (found,) = scan("/dev/ttyTEST")
    assert (found.protocol, found.confidence) == ("jk-modbus", CERTAIN)
    assert "the line was lost before all was tried" in found.why


def test_the_time_that_is_given_is_kept(lines: World) -> None:
    (found,), seconds = timed(bmslink.scan(ports=[PORT], timeout=4))
    assert seconds == pytest.approx(4, abs=0.2)
    assert "ended after 4 s" in found.why
    assert found.tried


def test_the_address_of_a_jk_master_is_never_asked(lines: World) -> None:
    scan("/dev/ttyTEST?address=0")
    assert {data[0] for _, _, data in lines.written} == {0xDD}


def test_the_target_narrows_the_search(lines: World) -> None:
    lines.sim("/dev/ttyTEST", "daly-p81", 20)
    assert targets(virtual_run(bmslink.scan(ports=[f"daly+{PORT}?address=20"]))) == [
        f"daly-p81+{PORT}?address=20"
    ]
    assert {rate for _, rate in lines.opened} == {9600}
    lines.sim("/dev/ttyTEST", "jk-bus", 4)
    assert targets(virtual_run(bmslink.scan(ports=[f"jk-bus+{PORT}"]))) == [
        f"jk-bus+{PORT}?address=4"
    ]


@pytest.mark.parametrize("text", ["sim://jbd", "ble://C8:47:8C:E4:55:12", "nonsense", ""])
async def test_what_is_no_port_is_refused_at_once(text: str) -> None:
    with pytest.raises(TargetError):
        await bmslink.scan(ports=[text])


def test_impossible_wishes() -> None:
    for bad in ({"ports": [f"{PORT}?address=255"]}, {"protocol": "pylontech"}):
        with pytest.raises(TargetError):
            virtual_run(bmslink.scan(**bad))
    for bad in ({"ports": [f"warp+{PORT}"]}, {"ports": [PORT], "ble": True, "pin": ""}):
        with pytest.raises(TargetError):
            virtual_run(bmslink.scan(**bad))


def test_one_port_by_two_names_is_searched_once(lines: World) -> None:
    scan("/dev/ttyTEST", "/dev/ttyTEST")
    assert [rate for _, rate in lines.opened] == [115200, 9600]


def test_random_bytes_are_no_pack() -> None:
    noise = random.Random(7)
    for _ in range(20):
        assert overheard(noise.randbytes(2000), 9600) == []


@pytest.mark.counted
@pytest.mark.parametrize("folder", sorted(set(DRIVERS) - {"daly-sinowealth", "jk-modbus"}))
def test_what_real_boards_said_is_taken_for_theirs_or_for_nobodys(folder: str) -> None:
    """Bytes as they would be overheard; a record of JK's bus without its acknowledgement may be
    one of JK02."""
    known = 0
    for path in sorted((FIXTURES / folder).glob("*.jsonl")):
        heard = b"".join(piece.data for piece in open_capture(str(path))[1])
        names = {hit.protocol for hit in overheard(heard[:16384], 9600)}
        assert names <= {folder} or names == {"jk02", "jk-bus"}, path.name
        known += folder in names
    assert known


def test_numbers_of_a_24s_board_are_never_taken_for_those_of_the_bus() -> None:
    for path in (FIXTURES / "jk02").glob("*24s*.jsonl"):
        heard = b"".join(piece.data for piece in open_capture(str(path))[1])
        assert "jk-bus" not in {hit.protocol for hit in overheard(heard[:16384], 9600)}, path.name


# ----------------------------------------------------------------------- devices that ask


async def test_a_device_finds_its_protocol_when_it_is_opened(lines: World) -> None:
    lines.sim("/dev/ttyTEST", "jk-modbus", 3)

    device = bmslink.connect("jk+serial:///dev/ttyTEST").board
    assert device.target.protocol == "jk"
    async with device:
        assert str(device.target) == f"jk-modbus+{PORT}?address=3"
        reading = await device.read()
        assert reading.target == str(device.target)
        assert (await device.identify()).protocol == "jk-modbus"
        await device.reopen()
        await device.read()


async def test_a_device_that_finds_nothing_leaves_nothing_open(lines: World, tmp_path: Any) -> None:
    path = tmp_path / "file.jsonl"

    with path.open("wb") as file:
        device = bmslink.connect("/dev/ttyTEST", record=file).board
        with pytest.raises(UnknownDevice):
            async with device:
                pass
        assert file.closed


async def test_a_device_that_was_not_found_yet_says_what_to_do(lines: World, tmp_path: Any) -> None:
    with (tmp_path / "file.jsonl").open("wb") as file:
        device = bmslink.connect("/dev/ttyTEST", record=file).board
        for ask in (device.read, device.identify):
            with pytest.raises(LinkClosed, match="not open"):
                await ask()
        await device.close()
        with pytest.raises(TransportError, match="recording of this device is finished"):
            await device.open()
    assert lines.opened == []


async def test_a_recording_begins_with_the_pack(lines: World, tmp_path: Any) -> None:
    lines.sim("/dev/ttyTEST", "jbd")
    path = tmp_path / "file.jsonl"

    with path.open("wb") as file:
        async with bmslink.connect("/dev/ttyTEST", record=file).board as device:
            await device.read()
    assert '"jbd"' in path.read_text().splitlines()[0]


async def test_a_board_on_a_wire_is_never_shown_a_bluetooth_pin(lines: World) -> None:
    """Its FF AA frames are for the radio module: on a bus they would be noise to all."""

    with pytest.raises(LinkTimeout):
        async with bmslink.connect(f"jbd+{PORT}", pin="123456", timeout=0.05).board as device:
            await device.read()
    assert lines.written
    assert {data[0] for _, _, data in lines.written} == {0xDD}


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("modbus-tcp://127.0.0.1:502", {}),
        ("/dev/ttyTEST?baudrate=1", {}),
        ("/dev/ttyTEST", {"address": 400}),
        ("/dev/ttyTEST", {"protocol": "pylontech"}),
        ("jk+sim://", {}),
    ],
)
def test_nonsense_is_refused_before_anything_is_opened(
    lines: World, target: str, options: dict[str, Any]
) -> None:
    with pytest.raises(TargetError):
        bmslink.connect(target, **options)
    assert lines.opened == []


# -------------------------------------------------------------------------------- Bluetooth

JK = SeenDevice(
    address="C8:47:8C:E4:55:12",
    name="My van",
    services=frozenset({uuid16(0xFFE0)}),
    manufacturers={0x0B65: b"\x88\xa0\xc8\x47\x8c\xe4\x55\x12"},
    rssi=-60,
)
DALY = SeenDevice(address="41:18:12:01:37:71", name="DL-411812013771", rssi=-71)
WEAK = SeenDevice(address="A4:C1:38:00:00:01", services=frozenset({uuid16(0xFF00)}), rssi=-90)
PHONE = SeenDevice(address="11:22:33:44:55:66", name="Pixel \x1b[2J 8", rssi=-40)


@pytest.fixture
def air(monkeypatch: pytest.MonkeyPatch) -> list[SeenDevice]:
    """The adverts of this test."""
    from bmslink.transports.ble import transport as ble

    seen: list[SeenDevice] = []

    async def scan_adverts(
        timeout: float, on_seen: Callable[[SeenDevice], None]
    ) -> list[SeenDevice]:
        await asyncio.sleep(timeout)
        for one in (*seen, *seen):
            on_seen(one)
        return seen

    monkeypatch.setattr(ble, "scan_adverts", scan_adverts)
    return seen


def test_adverts_become_targets_the_surest_first(air: list[SeenDevice]) -> None:
    air += [PHONE, WEAK, DALY, JK]
    said: list[str] = []
    found = virtual_run(bmslink.scan(ble=True, on_progress=said.append))
    assert len([text for text in said if "My van" in text]) == 1
    assert [(one.target, one.name, one.confidence, one.signal) for one in found] == [
        ("jk02+ble://C8:47:8C:E4:55:12", "My van", LIKELY, -60),
        ("daly-d2+ble://41:18:12:01:37:71", "DL-411812013771", LIKELY, -71),
        ("jbd+ble://A4:C1:38:00:00:01", None, POSSIBLE, -90),
    ]
    assert "jk02 or jk04" in found[0].why
    assert [one.protocol for one in virtual_run(bmslink.scan(ble=True, protocol="jk"))] == ["jk02"]


async def test_two_packs_of_one_name_have_two_targets(air: list[SeenDevice]) -> None:
    twin = SeenDevice(address="C8:47:8C:00:00:01", name=JK.name, manufacturers=JK.manufacturers)
    air += [JK, twin]
    assert len(set(targets(await bmslink.scan(ble=True)))) == 2


def test_bluetooth_that_does_not_work_is_a_remark_unless_asked_for(
    lines: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bmslink.transports.ble import transport as ble

    async def absent(timeout: float, on_seen: Any) -> list[SeenDevice]:
        raise PortNotFound("There is no Bluetooth adapter.")

    monkeypatch.setattr(ble, "scan_adverts", absent)
    said: list[str] = []
    assert virtual_run(bmslink.scan(on_progress=said.append)) == []
    assert any("no Bluetooth adapter" in text for text in said)
    with pytest.raises(PortNotFound):
        virtual_run(bmslink.scan(ble=True))
    lines.sim("/dev/ttyTEST", "jk-nw")
    heard: list[Found] = []
    with pytest.raises(PortNotFound):
        virtual_run(bmslink.scan(ble=True, ports=[PORT], on_found=heard.append))
    assert targets(heard) == [f"jk-nw+{PORT}"]  # what was found besides is not lost


class Radio(Transport):
    """A Bluetooth module with a simulated board behind it."""

    protocol = "jk02"
    peers = (JK, DALY)

    def __init__(self, endpoint: Endpoint, modules: Sequence[Any], pin: object) -> None:
        assert modules
        self.place = endpoint.place
        self.open_line: SimLine | None = None

    def line(self) -> Line:
        return Line(f"ble://{self.place}")

    def peer(self) -> SeenDevice | None:
        return next((seen for seen in self.peers if seen.address == self.place), None)

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        self.open_line = SimLine(make_device(self.protocol), on_data)

    async def close(self) -> None:
        if self.open_line is not None:
            self.open_line.close()

    async def write(self, data: bytes) -> None:
        assert self.open_line is not None
        self.open_line.receive(data)


@pytest.fixture
def radio(monkeypatch: pytest.MonkeyPatch) -> type[Radio]:
    monkeypatch.setitem(SCHEMES, "ble", Scheme("test_discovery:Radio", asked=True))
    monkeypatch.setattr(Radio, "protocol", "jk02")
    return Radio


@pytest.mark.parametrize("protocol", ["jk02", "jk04", "jbd", "daly-d2", "daly-p81", "daly-a5"])
async def test_connecting_tells_the_dialect(
    radio: type[Radio], monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    monkeypatch.setattr(radio, "protocol", protocol)
    said: list[str] = []
    found = await detect(parse_target(f"ble://{DALY.address}"), tell=said.append)
    assert str(found) == f"{protocol}+ble://{DALY.address}"
    assert str(found) in said[-1]


async def test_a_module_that_hangs_up_at_a_foreign_question_is_asked_the_next(
    radio: type[Radio], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(radio, "protocol", "daly-d2")
    opened = radio.open
    lost: list[OnLost] = []

    async def open_(self: Radio, on_data: OnData, on_lost: OnLost) -> None:
        lost.append(on_lost)
        await opened(self, on_data, on_lost)

    async def write(self: Radio, data: bytes) -> None:
        assert self.open_line is not None
        if data[:4] == b"\xaa\x55\x90\xeb":
            lost[-1](None)
        self.open_line.receive(data)

    monkeypatch.setattr(radio, "open", open_)
    monkeypatch.setattr(radio, "write", write)
    found = await detect(parse_target("ble://11:22:33:44:55:66"))
    assert found.protocol == "daly-d2"
    assert len(lost) > 1


def test_the_vendor_of_the_advert_is_asked_first(
    radio: type[Radio], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    virtual_run(detect(parse_target(f"ble://{JK.address}"), tell=said.append))
    assert [text for text in said if "asking" in text] == [f"{JK.address}: asking for jk02"]
    said.clear()
    monkeypatch.setattr(radio, "protocol", "daly-d2")
    virtual_run(detect(parse_target(f"ble://{DALY.address}"), tell=said.append))
    assert [text for text in said if "asking" in text] == [f"{DALY.address}: asking for daly-d2"]


def test_connect_settles_what_an_advert_leaves_open(
    radio: type[Radio], air: list[SeenDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(radio, "protocol", "daly-p81")
    air.append(DALY)
    (found,) = virtual_run(bmslink.scan(ble=True, connect=True))
    assert (found.target, found.confidence) == (f"daly-p81+ble://{DALY.address}", CERTAIN)
    monkeypatch.setattr(radio, "protocol", "jbd")  # no Daly at all behind it
    (found,) = virtual_run(bmslink.scan(ble=True, connect=True))
    assert (found.protocol, found.confidence) == ("daly-d2", POSSIBLE)
    assert "answers in no protocol" in found.why


def test_a_vendor_alone_is_the_only_pack_of_it(
    lines: World, air: list[SeenDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = [
        ports.PortInfo("/dev/ttyTEST"),
        ports.PortInfo("/dev/ttyS9", skip_reason="has no hardware behind it"),
    ]
    monkeypatch.setattr(ports, "serial_ports", lambda: own)
    lines.sim("/dev/ttyTEST", "jk-nw")

    async def main() -> str:
        async with bmslink.connect("jk").board as device:
            await device.read()
            return str(device.target)

    assert virtual_run(main()) == f"jk-nw+{PORT}"
    assert {place for place, _ in lines.opened} == {"/dev/ttyTEST"}
    air.append(JK)
    with pytest.raises(TargetError, match="2 packs may be meant"):
        virtual_run(main())
    with pytest.raises(UnknownDevice, match="No daly pack"):
        virtual_run(bmslink.connect("daly").board.open())


def test_a_vendor_alone_over_bluetooth_is_asked_for_its_dialect(
    radio: type[Radio], air: list[SeenDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(radio, "protocol", "daly-a5")
    air += [DALY, JK]

    async def main() -> str:
        async with bmslink.connect("Daly").board as device:
            return str(device.target)

    assert virtual_run(main()) == f"daly-a5+ble://{DALY.address}"


def test_found_is_what_scripts_rely_on() -> None:
    one = Found(target="jbd+serial:///dev/ttyUSB0")
    fields = ("target", "protocol", "name", "confidence", "signal", "tried", "why")
    assert tuple(one.__dataclass_fields__) == fields
    assert discovery.by_confidence([one, Found(target="x", confidence=0.7)])[1] is one
    assert Identity() == Identity()
    assert LISTEN < 4.4  # s: the shortest round of a JK master
    assert issubclass(LinkTimeout, TransportError)


# ------------------------------------------------------------------------------ own ports


def test_ports_that_lead_nowhere_are_left_out_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.undo()
    from serial.tools import list_ports
    from serial.tools.list_ports_common import ListPortInfo

    def port(device: str, description: str = "n/a", vid: int | None = None) -> ListPortInfo:
        info = ListPortInfo(device)
        info.description, info.vid = description, vid
        return info

    (tmp_path / "ttyS4").mkdir()
    (tmp_path / "ttyS4" / "type").write_text("0\n")
    (tmp_path / "ttyS0").mkdir()
    (tmp_path / "ttyS0" / "type").write_text("4\n")
    monkeypatch.setattr(ports, "_TTYS", tmp_path)
    monkeypatch.setattr(ports.sys, "platform", "linux")
    listed = [
        port("/dev/rfcomm0"),
        port("/dev/ttyS0"),
        port("/dev/ttyS4"),
        port("/dev/ttyUSB0", "CH340 \x1b[2J serial", 0x1A86),
        port("/dev/cu.Bluetooth-Incoming-Port"),
    ]
    monkeypatch.setattr(list_ports, "comports", lambda: listed)
    found = ports.serial_ports()
    assert found[0] == ports.PortInfo("/dev/ttyUSB0", "CH340 [2J serial")
    assert {p.device: bool(p.skip_reason) for p in found} == {
        "/dev/ttyUSB0": False,
        "/dev/ttyS0": False,
        "/dev/ttyS4": True,
        "/dev/rfcomm0": True,
        "/dev/cu.Bluetooth-Incoming-Port": True,
    }


# ---------------------------------------------------------------------------------- hostility


class Liar:
    """Answers every question with what another one's answer would be, damaged, glued or made up."""

    def __init__(self, on_data: OnData, seed: int) -> None:
        self.random = random.Random(seed)
        self.on_data = on_data
        self.answers: list[bytes] = []
        self.boards = [make_device(name).responder for name in RESPONDERS]

    def receive(self, data: bytes) -> None:
        for board in self.boards:
            self.answers += [answer.data for answer in board.receive(data)]
        known = self.random.choice(self.answers) if self.answers else b""
        told = bytearray(known + self.random.choice((b"", data, known, self.random.randbytes(9))))
        for _ in range(self.random.randrange(3)):
            if told:
                told[self.random.randrange(len(told))] ^= 1 << self.random.randrange(8)
        where = self.random.randrange(len(told) + 1)
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, self.on_data, bytes(told[:where]))
        loop.call_later(0.03, self.on_data, bytes(told[where:]))

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.counted
@pytest.mark.parametrize("seed", range(12))
def test_nothing_that_a_line_says_breaks_the_search(lines: World, seed: int) -> None:
    lines.places["/dev/ttyTEST"] = lambda on_data, rate: Liar(on_data, seed)
    found, seconds = timed(bmslink.scan(ports=[PORT]))
    assert found
    assert seconds < 60
    for _, rate, data in lines.written:
        assert known_read(rate, data)
