"""Modbus/TCP gateways: pymodbus' own server, and hostile ones made by hand."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

import bmslink
from bmslink.errors import LinkClosed, LinkTimeout, PortNotFound, TransportError
from bmslink.link.link import Link, Timing
from bmslink.link.transport import make_transport, parse_target
from bmslink.protocols.common.rtu import (
    MODBUS_SHAPES,
    READ,
    WRITE,
    WRITE_MANY,
    RTUFrame,
    RTUFramer,
    Shape,
    crc16,
)
from wires import Ear, failure

TIMING = Timing(timeout=0.05, gap=0.0, retries=1, wake_retries=1)


def read(register, count, unit=1):
    return RTUFrame(unit=unit, function=READ, shape="read", register=register, count=count)


def rtu(frame):
    return RTUFramer(MODBUS_SHAPES).encode(frame)


def answers_to(frame):
    """What a driver takes for the answer: this unit, this function or its exception."""
    shapes: dict[int, Shape] = {READ: "data", WRITE: "write", WRITE_MANY: "written"}

    def match(answer):
        return answer.unit == frame.unit and (
            (answer.function, answer.shape) == (frame.function, shapes[frame.function])
            or answer.function == frame.function | 0x80
        )

    return match


@asynccontextmanager
async def linked(target):
    link = Link(make_transport(parse_target(target)), RTUFramer(MODBUS_SHAPES), TIMING)
    await link.open()
    try:
        yield link
    finally:
        await link.close()


# ------------------------------------------------------------------------------ a real server


@asynccontextmanager
async def pymodbus_server():
    """Registers 100-199 of unit 1 hold their own number, those of unit 0xD2 ten times that.

    Unit 7 is always busy.
    """

    async def busy(*_):
        return ExcCodes.DEVICE_BUSY

    def device(unit, factor, action=None):
        values = [number * factor for number in range(100, 200)]
        return SimDevice(
            id=unit,
            simdata=[SimData(100, values=values, datatype=DataType.REGISTERS)],
            action=action,
        )

    server = ModbusTcpServer(
        [device(1, 1), device(0xD2, 10), device(7, 0, busy)], address=("127.0.0.1", 0)
    )
    await server.serve_forever(background=True)
    try:
        yield f"modbus-tcp://127.0.0.1:{server.transport.sockets[0].getsockname()[1]}"
    finally:
        await server.shutdown()


@pytest.mark.real_time
async def test_registers_of_a_pymodbus_server_are_read_and_written():
    async with pymodbus_server() as target, linked(target) as link:

        async def ask(frame):
            return await link.request(frame, answers_to(frame))

        assert (await ask(read(100, 3))).words == [100, 101, 102]
        assert (await ask(read(110, 80))).words == list(range(110, 190))
        assert (await ask(read(100, 2, unit=0xD2))).words == [1000, 1010]
        one = RTUFrame(unit=1, function=WRITE, shape="write", register=101, count=0xABCD)
        assert (await ask(one)).raw == rtu(one)
        many = RTUFrame(
            unit=1,
            function=WRITE_MANY,
            shape="write_many",
            register=102,
            count=2,
            data=bytes.fromhex("12345678"),
        )
        done = await ask(many)
        assert (done.shape, done.register, done.count) == ("written", 102, 2)
        assert (await ask(read(100, 5))).words == [100, 0xABCD, 0x1234, 0x5678, 104]
        refused = await ask(read(500, 2))
        assert (refused.shape, refused.code) == ("exception", 2)
        refused = await ask(read(100, 1, unit=7))
        assert (refused.unit, refused.shape, refused.code) == (7, "exception", 6)


@pytest.mark.real_time
async def test_two_units_behind_one_gateway_share_one_connection():
    """What a device of each address does, without a driver: it shares the line."""
    from bmslink.link.shared_line import shared

    async with pymodbus_server() as target:
        links = [
            Link(shared(make_transport(parse_target(target))), RTUFramer(MODBUS_SHAPES), TIMING)
            for _ in range(2)
        ]
        for link in links:
            await link.open()
        frames = [read(100, 9), read(100, 9, unit=0xD2)]
        answers = await asyncio.gather(
            *(
                link.request(frame, answers_to(frame))
                for link, frame in zip(links * 5, frames * 5, strict=True)
            )
        )
        assert [a.words[0] for a in answers] == [100, 1000] * 5
        for link in links:
            await link.close()


# -------------------------------------------------------------------------- hostile gateways


class Gateway:
    """A gateway made by hand: `answer(self, request)` gives the bytes it sends for a request."""

    def __init__(self, answer) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.asked = asyncio.Event()

    async def client(self, reader, writer):
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readexactly(6)
                request = head + await reader.readexactly(int.from_bytes(head[4:], "big"))
                self.requests.append(request)
                self.asked.set()
                said = self.answer(self, request)
                if said is None:
                    break
                for piece in [said] if isinstance(said, bytes) else said:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.005 if not isinstance(said, bytes) else 0)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def gateway(answer, query="timeout=0.1"):
    made = Gateway(answer)
    server = await asyncio.start_server(made.client, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        async with linked(f"modbus-tcp://127.0.0.1:{port}?{query}") as link:
            yield made, link
    finally:
        server.close()
        for writer in made.writers:
            writer.transport.abort()
        await asyncio.sleep(0)


def envelope(request, body, *, unit=None, number=None):
    """An answer to a request, as told."""
    number = request[:2] if number is None else number
    unit = request[6] if unit is None else unit
    return number + b"\0\0" + (len(body) + 1).to_bytes(2, "big") + bytes([unit]) + body


def other(request, by=1):
    return ((int.from_bytes(request[:2], "big") - by) % 65536).to_bytes(2, "big")


def words(*values):
    return bytes([3, 2 * len(values)]) + b"".join(v.to_bytes(2, "big") for v in values)


def ask(answer, frame=None, query="timeout=0.1"):
    """What becomes of one request: the answering frame, or the error; and the gateway's view."""
    frame = frame or read(100, 2)

    async def main():
        async with gateway(answer, query) as (made, link):
            try:
                return await link.request(frame, answers_to(frame)), made
            except bmslink.BmsError as exc:
                return exc, made

    return asyncio.run(main())


@pytest.fixture(autouse=True)
def no_foreign_words(caplog, capfd):
    """Nothing of asyncio's or pymodbus' own may reach the user."""
    caplog.set_level(logging.WARNING, "asyncio")
    yield
    assert [r.getMessage() for r in caplog.records if r.name == "asyncio"] == []
    assert capfd.readouterr().err == ""


def test_what_goes_over_the_wire():
    answer, made = ask(lambda _, request: envelope(request, words(7, 8)))
    assert answer.words == [7, 8]
    assert answer.raw == bytes.fromhex("010304 0007 0008") + crc16(
        bytes.fromhex("01030400070008")
    ).to_bytes(2, "little")
    (request,) = made.requests
    assert request[2:] == bytes.fromhex("0000 0006 01 03 0064 0002")


@pytest.mark.parametrize("cut", [0, 1, 6, 7, 100, 249, 255, 262, 266, 270])
def test_an_answer_in_pieces_and_three_in_one(cut):
    """The answer of another client comes glued to ours, before or behind it, cut anywhere."""

    def glued(_, request):
        stream = (
            envelope(request, words(*range(120)), number=other(request))
            + envelope(request, words(7, 8))
            + envelope(request, words(9, 9), number=other(request, -1), unit=3)
        )
        return [stream[:cut], stream[cut:]]

    assert ask(glued)[0].words == [7, 8]


def test_an_exception_is_an_rtu_exception():
    for code in (1, 2, 4, 6, 0x0A, 0x0B, 0xFF):
        answer, _ = ask(lambda _, request, code=code: envelope(request, bytes([0x83, code])))
        assert (answer.shape, answer.code, answer.unit) == ("exception", code, 1)


def test_a_stale_answer_is_not_the_answer():
    """The gateway answers the first request when the second is asked, as slow ones do."""

    def late(made, request):
        if len(made.requests) == 1:
            return b""
        first = made.requests[0]
        return envelope(first, words(1, 1)) + envelope(request, words(7, 8))

    answer, made = ask(late)
    assert answer.words == [7, 8]
    assert len(made.requests) == 2
    assert made.requests[0][:2] != made.requests[1][:2]


def test_half_an_answer_and_its_rest_after_the_next_request():
    def slow(made, request):
        first = envelope(made.requests[0], words(1, 1))
        if len(made.requests) == 1:
            return first[:8]
        return first[8:] + envelope(request, words(7, 8))

    assert ask(slow)[0].words == [7, 8]


def test_only_stale_answers_are_a_timeout_that_says_so():
    answer, _ = ask(lambda _, request: envelope(request, words(7, 8), number=other(request)))
    assert isinstance(answer, LinkTimeout)
    assert answer.heard == "other"
    assert "answered 1 other request(s), but not ours within 0.1 s" in str(answer)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (words(7), "has 1 registers instead of 2"),
        (words(7, 8, 9), "has 3 registers instead of 2"),
        (words(), "has 0 registers instead of 2"),
        (words(7, 8) + b"\0", "is malformed"),
        (words(7, 8)[:-1], "cannot be read"),
        (b"\x03\x03\x00\x07\x00", "is malformed"),
        (b"\x04" + words(7, 8)[1:], "is one to function 04"),
        (b"\x84\x02", "is one to function 132"),
        (b"\x2b\x0e\x01\x81\x00\x00\xff\xff", "is one to function 43"),
        (b"\x83\x02\x00", "is malformed"),
        (b"\x06\x00\x64\x00\x02", "is one to function 06"),
    ],
)
def test_an_answer_that_contradicts_the_request_is_refused(body, why):
    error, made = ask(lambda _, request: envelope(request, body))
    assert type(error) is TransportError
    assert f"to function 03 for unit 1 {why}" in str(error)
    assert str(error).endswith(": the gateway mixes up its requests.")
    assert len(made.requests) == 1


def test_an_answer_of_another_unit_is_refused():
    error, _ = ask(lambda _, request: envelope(request, words(7, 8), unit=2))
    assert type(error) is TransportError
    assert "came from unit 2" in str(error)


@pytest.mark.parametrize(
    ("frame", "body", "why"),
    [
        (
            RTUFrame(function=WRITE, shape="write", register=5, count=6),
            b"\x06\0\x05\0\x07",
            "confirms something else than was written",
        ),
        (
            RTUFrame(function=WRITE, shape="write", register=5, count=6),
            b"\x06\0\x04\0\x06",
            "is about register 4 instead of 5",
        ),
        (
            RTUFrame(function=WRITE_MANY, shape="write_many", register=5, count=1, data=b"\0\x06"),
            b"\x10\0\x05\0\x02",
            "confirms something else than was written",
        ),
        (
            RTUFrame(function=WRITE_MANY, shape="write_many", register=5, count=1, data=b"\0\x06"),
            b"\x10\0\x06\0\x01",
            "is about register 6 instead of 5",
        ),
    ],
)
def test_a_write_is_confirmed_by_its_own_echo_only(frame, body, why):
    error, _ = ask(lambda _, request: envelope(request, body), frame)
    assert type(error) is TransportError
    assert why in str(error)


def test_a_gateway_that_stalls_is_a_timeout():
    error, made = ask(lambda *_: b"")
    assert type(error) is LinkTimeout
    assert error.heard == "silence"
    assert len(made.requests) == 2  # asked again


def test_the_default_patience_outlasts_the_gateways_own():
    """A gateway that waits a second for the device, and then says that it is silent."""
    from bmslink.transports.modbus_tcp import ANSWER_TIMEOUT

    assert ANSWER_TIMEOUT > 1.0
    answer, made = ask(
        lambda _, request: [b"", b"", b"", envelope(request, b"\x83\x0b")], query="gap=0"
    )
    assert (answer.code, len(made.requests)) == (0x0B, 1)


@pytest.mark.parametrize("start", [b"", b"\0\0\0\7\1"])
def test_a_gateway_that_closes_is_a_lost_link(start):
    def hang_up(made, request):
        made.writers[-1].write(request[:2] + start)

    error, made = ask(hang_up)
    assert isinstance(error, LinkClosed)
    assert "closed the connection" in str(error)
    assert len(made.requests) == 1


@pytest.mark.parametrize(
    "nonsense",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        bytes.fromhex("0103040007000800000000"),  # RTU over TCP
        bytes.fromhex("0001 0000 0000 01 03 02 00 07"),  # too short to be anything
        bytes.fromhex("0001 0000 0002 01 83"),
        bytes.fromhex("0001 0000 00ff 01 03"),  # too long
        b"\xff" * 100_000,
    ],
)
def test_a_server_of_another_kind_is_a_lost_link(nonsense):
    error, _ = ask(lambda *_: nonsense)
    assert isinstance(error, LinkClosed)
    assert "does not speak Modbus/TCP" in str(error)


@pytest.mark.real_time
async def test_the_link_can_be_opened_again_after_nonsense():
    def answer(made, request):
        return b"HTTP/1.1" if len(made.requests) == 1 else envelope(request, words(7, 8))

    async with gateway(answer) as (_, link):
        frame = read(100, 2)
        for _ in range(2):
            with pytest.raises(LinkClosed, match="does not speak"):
                await link.request(frame, answers_to(frame))
        await link.close()
        await link.open()
        assert (await link.request(frame, answers_to(frame))).words == [7, 8]


@pytest.mark.real_time
async def test_closing_ends_a_question_that_waits():
    async with gateway(lambda *_: b"", "timeout=30") as (made, link):
        asking = asyncio.ensure_future(link.request(read(100, 2), lambda f: True))
        await made.asked.wait()
        async with asyncio.timeout(2):
            await link.close()
            with pytest.raises(LinkClosed):
                await asking


@pytest.mark.real_time
async def test_a_cancelled_question_leaves_nothing_behind():
    def late(made, request):
        if len(made.requests) == 1:
            return b""
        return envelope(made.requests[0], words(1, 1)) + envelope(request, words(7, 8))

    async with gateway(late, "timeout=30") as (made, link):
        frame = read(100, 2)
        asking = asyncio.ensure_future(link.request(frame, answers_to(frame)))
        await made.asked.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (await link.request(frame, answers_to(frame))).words == [7, 8]


@pytest.mark.real_time
async def test_what_modbus_cannot_carry_is_said_and_not_sent():
    good = rtu(read(100, 2))
    daly_write = bytes.fromhex("d2 10 00 a9 00 01 00 01")  # no byte count
    no_requests = [
        b"",
        good[:4],
        good[:-1] + b"\0",
        bytes.fromhex("dda50300fffd77"),
        rtu(read(100, 126)),
        rtu(read(100, 0)),
        daly_write + crc16(daly_write).to_bytes(2, "little"),
        bytes.fromhex("0104006400025014"),
        rtu(RTUFrame(function=WRITE_MANY, shape="write_many", count=124, data=bytes(248))),
        rtu(RTUFrame(function=WRITE_MANY, shape="write_many", count=3, data=bytes(4))),
    ]

    async with gateway(lambda *_: b"") as (made, link):
        for request in no_requests:
            with pytest.raises(TransportError, match="Modbus/TCP carries reads and writes"):
                await link.transport.write(request)
        assert made.requests == []


@pytest.mark.real_time
async def test_another_protocol_through_a_modbus_gateway_is_said():
    made = Gateway(lambda *_: b"")
    server = await asyncio.start_server(made.client, "127.0.0.1", 0)
    place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with bmslink.connect(f"jbd+modbus-tcp://{place}").board as device:
        with pytest.raises(TransportError, match="needs a line that passes bytes"):
            await device.read()
    server.close()


def test_a_gateway_where_nothing_listens():
    assert type(failure("modbus-tcp://127.0.0.1:1")) is PortNotFound


@pytest.mark.real_time
async def test_a_closed_transport_takes_nothing():
    transport = make_transport(parse_target("modbus-tcp://127.0.0.1:1"))
    await transport.close()
    with pytest.raises(LinkClosed, match="not open"):
        await transport.write(rtu(read(100, 2)))


@given(
    st.lists(st.binary(max_size=40) | st.just(b"\0\x01\0\0\0\x05\x01\x03\x02\0\x07"), max_size=8)
)
def test_any_bytes_of_a_gateway_raise_nothing_and_deliver_nothing(pieces):
    """None of them can know the number of the question."""

    async def main():
        transport = make_transport(parse_target("modbus-tcp://127.0.0.1:1?timeout=0.01"))
        ear = Ear()
        transport._on_data, transport._on_lost = ear.data, ear.end

        async def send(data):
            for piece in pieces:
                transport._receive(piece)

        transport._tcp.write = send
        transport._number = 40_000
        try:
            await transport.write(rtu(read(100, 1)))
        except TransportError as error:
            assert str(error)
        assert ear.heard == b""
        assert len(ear.lost) <= 1
        assert len(transport._buffer) <= 40 + 260

    asyncio.run(main())


def test_without_pymodbus_it_says_how_to_install_it():
    code = (
        "import sys; sys.modules['pymodbus'] = None\n"
        "import bmslink\n"
        "try: bmslink.connect('jbd+modbus-tcp://host:502').board\n"
        "except bmslink.TransportError as error: print(error)\n"
        "bmslink.connect('jbd+tcp://host:502').board"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "Modbus/TCP gateways need pymodbus: install it with `pip install 'bmslink[modbus]'`.\n"
    )


def test_pymodbus_says_nothing_on_stderr():
    """A program that configures no logging would show its warnings there."""
    code = (
        "from bmslink.link.transport import make_transport, parse_target\n"
        "t = make_transport(parse_target('modbus-tcp://host:502'))\n"
        "request = t._parse(bytes.fromhex('01030064000285d4'))\n"
        "request.transaction_id = 1\n"
        "try: t._rtu(request, bytes.fromhex('000100000006010304000700'))\n"
        "except OSError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stderr, "cannot be read" in done.stdout) == ("", True)


def test_other_links_do_not_load_pymodbus():
    code = (
        "import sys, bmslink\n"
        "bmslink.connect('jbd+tcp://host:502').board\n"
        "bmslink.connect('jbd+serial:///dev/x').board\n"
        "print(*(m for m in sys.modules if m.startswith('pymodbus')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
