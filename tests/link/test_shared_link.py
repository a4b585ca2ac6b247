"""Several packs on one line, in one process: one transport, one question at a time."""

from __future__ import annotations

import asyncio
import gc
import io
import json
from contextlib import asynccontextmanager, suppress

import pytest
from test_serial import pty

import bmslink
from bmslink.control.act.actuators import prepare
from bmslink.errors import LinkClosed, LinkTimeout, PortNotFound, TargetError
from bmslink.link.shared_line import _lines
from bmslink.link.transport import SCHEMES, Line, Scheme, Transport
from bmslink.protocols.daly.a5.driver import DalyA5
from bmslink.protocols.jbd.driver import JBD
from bmslink.simulation.boards.daly_a5 import DalyA5Responder
from bmslink.simulation.boards.jbd import JBDResponder
from bmslink.simulation.pack.pack import Pack
from wires import threads


def boards():
    """Two addressed JBD boards of 4 and 8 cells, and a Daly, as on one RS485 pair."""
    return [
        JBDResponder(Pack(cells=4), address=1),
        JBDResponder(Pack(cells=8), address=2),
        DalyA5Responder(Pack(cells=12)),
    ]


class Bus:
    """A line with boards on it, and a diary of what went over it."""

    def __init__(self) -> None:
        self.boards = boards()
        self.diary: list[tuple[float, str, bytes]] = []
        self.open: list[BusTransport] = []
        self.opened = 0
        self.fails: Exception | None = None
        self.silent = 0
        """How many requests stay unanswered."""
        self.opening = 0.0
        self.on_open = lambda transport: None

    def say(self, data: bytes) -> None:
        self.diary.append((asyncio.get_running_loop().time(), "rx", data))
        for transport in self.open:
            transport.on_data(data)

    def pull(self) -> None:
        gone, self.open = self.open, []
        for transport in gone:
            transport.on_lost(LinkClosed("The cable was pulled."))


class BusTransport(Transport):
    bus: Bus

    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.on_data = self.on_lost = None
        self.closed = False

    def line(self):
        return Line(f"bus://{self.endpoint.place}", f"{self.endpoint.integer('baudrate', 9600)} Bd")

    async def open(self, on_data, on_lost):
        await asyncio.sleep(self.bus.opening)
        if self.bus.fails:
            raise self.bus.fails
        assert not self.bus.open, "opened twice"
        self.on_data, self.on_lost = on_data, on_lost
        self.bus.open.append(self)
        self.bus.opened += 1
        self.bus.on_open(self)

    async def close(self):
        await asyncio.sleep(self.bus.opening)
        self.closed = True
        if self in self.bus.open:
            self.bus.open.remove(self)

    async def write(self, data):
        if self not in self.bus.open:
            raise LinkClosed("The bus is not open.")
        loop = asyncio.get_running_loop()
        self.bus.diary.append((loop.time(), "tx", data))
        if self.bus.silent:
            self.bus.silent -= 1
            return
        for board in self.bus.boards:
            for answer in board.receive(data):
                loop.call_later(answer.delay, self.bus.say, answer.data)


@pytest.fixture
def bus(monkeypatch):
    monkeypatch.setattr(BusTransport, "bus", Bus(), raising=False)
    monkeypatch.setitem(SCHEMES, "bus", Scheme("test_shared_link:BusTransport"))
    return BusTransport.bus


def two(**options):
    return [bmslink.connect(f"jbd+bus://b?address={n}", **options).board for n in (1, 2)]


def requests_with_answers(diary):
    """The diary as `tx rx tx rx …`, each answer whole."""
    kinds: list[str] = []
    for _, kind, _ in diary:
        if kind == "tx" or not kinds or kinds[-1] != "rx":
            kinds.append(kind)
    return " ".join(kinds)


async def test_two_addresses_take_turns_on_one_transport(bus):
    first, second = two()
    async with first, second:
        both = await asyncio.gather(*(d.read() for d in (first, second, first, second)))
    assert [len(reading.cell_voltages) for reading in both] == [4, 8, 4, 8]
    assert (bus.opened, bus.open) == (1, [])
    assert _lines() == {}
    assert requests_with_answers(bus.diary) == "tx rx " * 7 + "tx rx"  # nobody asks in between


async def test_each_keeps_its_quiet_time_after_the_others_bytes(bus):
    first, second = two()
    async with first, second:
        await asyncio.gather(first.read(), second.read(), first.read())
    latest = None
    for time, kind, _ in bus.diary:
        if kind == "tx" and latest is not None:
            assert time - latest >= JBD.timing.gap - 1e-9
        latest = time


async def test_a_silent_pack_does_not_spoil_its_neighbour(bus):
    deaf = bmslink.connect("jbd+bus://b?address=9&timeout=0.1").board
    other = bmslink.connect("jbd+bus://b?address=2").board
    async with deaf, other:
        failed, reading = await asyncio.gather(deaf.read(), other.read(), return_exceptions=True)
    assert isinstance(failed, LinkTimeout)
    assert failed.heard == "silence"  # not confused by the neighbour's frames
    assert len(reading.cell_voltages) == 8


async def test_what_switches_off_goes_before_all_who_wait_for_the_line(bus):
    """Also before the next tries of a question that nobody answers."""
    first, second = two()
    deaf = bmslink.connect("jbd+bus://b?address=9").board
    daly = bmslink.connect("daly-a5+bus://b").board

    async def poll(device):
        while True:
            with suppress(LinkTimeout):
                await device.read()

    async with first, second, deaf, daly:
        charge = (await prepare(daly)).actuators["charge"]
        tasks = [asyncio.ensure_future(poll(d)) for d in (first, second, deaf, daly) * 2]
        loop = asyncio.get_running_loop()
        for moment in range(5):
            await asyncio.sleep(0.9 + 0.17 * moment)
            called = loop.time()
            assert (await charge.off(called + 3.0)).acknowledged
            ours = [(at, data[2]) for at, kind, data in bus.diary if kind == "tx" and at >= called]
            assert ours[0][1] == 0xDA, "nobody asks anything in between"
            assert ours[0][0] - called <= JBD.timing.timeout + DalyA5.timing.gap
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_two_protocols_share_a_line_each_with_its_own_framer(bus):
    assert JBD.timing.baudrate == DalyA5.timing.baudrate
    jbd = bmslink.connect("jbd+bus://b?address=1").board
    daly = bmslink.connect("daly-a5+bus://b").board
    async with jbd, daly:
        one, other = await asyncio.gather(jbd.read(), daly.read())
    assert (one.protocol, len(one.cell_voltages)) == ("jbd", 4)
    assert (other.protocol, len(other.cell_voltages)) == ("daly-a5", 12)
    assert bus.opened == 1


async def test_one_line_has_one_speed(bus):
    async with bmslink.connect("jbd+bus://b?baudrate=9600&address=1").board as first:
        with pytest.raises(TargetError) as caught:
            async with bmslink.connect("jbd+bus://b?baudrate=19200").board:
                pass
        assert str(caught.value) == (
            "bus://b is open here with 9600 Bd and cannot have 19200 Bd at the same time; "
            "give all targets on it the same."
        )
        await first.read()
    async with bmslink.connect("jbd+bus://b?baudrate=19200").board:  # nobody has it now
        pass


async def test_closing_one_keeps_the_other_alive(bus):
    first, second = two()
    await first.open()
    await second.open()
    await first.close()  # who brought the transport
    await first.close()
    assert len((await second.read()).cell_voltages) == 8
    with pytest.raises(LinkClosed):
        await first.read()
    await first.open()
    await second.close()
    assert len((await first.read()).cell_voltages) == 4
    assert bus.opened == 1
    await first.close()
    assert bus.open == []


async def test_closing_in_the_middle_of_a_question_frees_the_line(bus):
    first, second = two()
    async with first, second:
        bus.silent = 1
        asking = asyncio.ensure_future(first.read())
        await asyncio.sleep(0.1)
        waiting = asyncio.ensure_future(second.read())
        await first.close()
        with pytest.raises(LinkClosed):
            await asking
        assert len((await waiting).cell_voltages) == 8


async def test_a_cancelled_question_frees_the_line(bus):
    first, second = two()
    async with first, second:
        bus.silent = 1
        asking = asyncio.ensure_future(first.read())
        await asyncio.sleep(0.1)
        asking.cancel()
        assert len((await second.read()).cell_voltages) == 8


async def test_a_lost_line_is_told_to_all_and_comes_back(bus):
    first, second = two()
    async with first, second:
        await asyncio.gather(first.read(), second.read())
        bus.pull()
        for device in (second, first, second):
            with pytest.raises(LinkClosed, match="cable was pulled"):
                await device.read()
        await second.reopen()  # not the one that brought the transport
        assert len((await second.read()).cell_voltages) == 8
        with pytest.raises(LinkClosed, match="cable was pulled"):
            await first.read()
        await first.reopen()
        readings = await asyncio.gather(first.read(), second.read())
        assert [len(r.cell_voltages) for r in readings] == [4, 8]
        assert bus.opened == 2
        bus.pull()
        await asyncio.gather(first.reopen(), second.reopen())
        await asyncio.gather(first.read(), second.read())
        assert bus.opened == 3
    assert bus.open == []


async def test_a_line_that_is_lost_while_it_opens(bus):
    first, second = two()
    bus.on_open = lambda transport: bus.pull()
    await first.open()
    with pytest.raises(LinkClosed, match="cable was pulled"):
        await first.read()
    bus.on_open = lambda transport: None
    async with second:
        assert len((await second.read()).cell_voltages) == 8
    await first.close()


async def test_who_waits_for_the_opening_tries_himself_when_it_fails(bus):
    first, second = two()
    bus.opening = 1.0
    bus.fails = PortNotFound("There is no bus.")
    openings = [asyncio.ensure_future(d.open()) for d in (first, second)]
    await asyncio.sleep(1.5)
    bus.fails = None
    failed, done = await asyncio.gather(*openings, return_exceptions=True)
    assert (str(failed), done) == ("There is no bus.", None)
    assert len((await second.read()).cell_voltages) == 8
    await second.close()
    assert (bus.open, _lines()) == ([], {})


async def test_opening_waits_for_a_closing_that_takes_its_time(bus):
    first = bmslink.connect("jbd+bus://b?address=1").board
    second, third = two(baudrate=19200)[1], two()[0]
    await first.open()
    bus.opening = 1.0
    closing = asyncio.ensure_future(first.close())
    await asyncio.sleep(0.5)
    bus.opening = 0.0
    await second.open()  # `opened twice` if it did not wait
    await closing
    with pytest.raises(TargetError, match="open here with 19200 Bd"):
        await third.open()
    assert len((await second.read()).cell_voltages) == 8
    await second.close()


async def test_a_dead_transport_is_closed_and_not_heard_any_more(bus):
    first, second = two()
    async with first, second:
        await first.read()
        dead = bus.open[0]
        bus.pull()
        await second.reopen()
        dead.on_lost(LinkClosed("The old line says it again."))
        assert len((await second.read()).cell_voltages) == 8
        assert not dead.closed
        await first.reopen()
        assert dead.closed


async def test_a_recording_holds_its_own_traffic(bus):
    files = [io.BytesIO(), io.BytesIO()]
    texts = []
    for file in files:
        file.close = lambda file=file: texts.append(file.getvalue())
    first = bmslink.connect("jbd+bus://b?address=1", record=files[0]).board
    second = bmslink.connect("jbd+bus://b?address=2", record=files[1]).board
    async with first, second:
        await asyncio.gather(first.read(), second.read(), first.read())
    for text, address, polls in zip(texts, (2, 1), (1, 2), strict=True):
        lines = [json.loads(line) for line in text.splitlines()][1:]
        assert [line["dir"] for line in lines] == ["tx", "rx"] * 2 * polls
        framer = JBD.make_framer()
        frames = [f for line in lines for f in framer.feed(bytes.fromhex(line["hex"]))]
        assert {frame.address for frame in frames} == {address}


async def test_a_listener_hears_what_others_ask(bus):
    """A bus that is only listened to needs nobody's turn."""

    first, second = two()
    async with first, second:
        await first.read()
        heard = await second.link.next_frame(lambda f: f.address == 1, 1.0)
        assert heard.is_answer
        await second.read()  # from now on it asks
        second.link.discard()
        await first.read()
        with pytest.raises(LinkTimeout):
            await second.link.next_frame(lambda f: True, 1.0)


async def test_a_late_answer_of_the_other_is_none_of_mine(bus):
    first, second = two()
    async with first, second:
        await asyncio.gather(first.read(), second.read())
        late = next(d for _, kind, d in bus.diary if kind == "rx")  # of the first
        asking = asyncio.ensure_future(second.read())
        for _ in range(10):
            await asyncio.sleep(0.03)
            bus.say(late)
        assert len((await asking).cell_voltages) == 8


async def test_a_line_does_not_outlive_its_event_loop(bus):
    for _ in range(2):  # the second loop knows nothing of the first one's open line
        await two()[0].open()
        bus.open.clear()
        gc.collect()


# -------------------------------------------------------------------- on real ports and sockets


@pytest.mark.real_time
async def test_two_names_of_one_port_are_one_line(tmp_path):
    """`/dev/serial/by-id/…` leads to `/dev/ttyUSB0`; opening that twice would be `PortBusy`."""
    devices = boards()

    def answer(data):
        return b"".join(a.data for board in devices for a in board.receive(data))

    with pty(answer) as port:
        link = tmp_path / "by-id"
        link.symlink_to(port.path)
        first = bmslink.connect(f"jbd+serial://{port.path}?address=1&gap=0.01").board
        second = bmslink.connect(f"jbd+serial://{link}?address=2&gap=0.01").board
        async with first, second:
            assert len(threads()) == 1
            readings = await asyncio.gather(first.read(), second.read())
            assert [len(r.cell_voltages) for r in readings] == [4, 8]
            port.pull()
            for device in (first, second):
                with pytest.raises(LinkClosed, match="gone"):
                    await device.read()
    assert threads() == []


@asynccontextmanager
async def gateway():
    """A transparent gateway with the boards behind it; counts its clients."""
    clients = []

    async def client(reader, writer):
        clients.append(writer)
        devices = boards()
        while data := await reader.read(100):
            for board in devices:
                for answer in board.receive(data):
                    await asyncio.sleep(answer.delay)
                    writer.write(answer.data)
        writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", clients
    finally:
        server.close()
        for writer in clients:
            writer.transport.abort()
        await asyncio.sleep(0)


@pytest.mark.real_time
async def test_a_gateway_sees_one_client_for_all_addresses():
    async with gateway() as (place, clients):
        first = bmslink.connect(f"jbd+tcp://{place}?address=1&gap=0.01").board
        second = bmslink.connect(f"jbd+socket://{place}?address=2&gap=0.01").board
        async with first, second:
            readings = await asyncio.gather(first.read(), second.read())
            assert [len(r.cell_voltages) for r in readings] == [4, 8]
            assert len(clients) == 1
            clients[0].transport.abort()
            for device in (first, second):
                with pytest.raises(LinkClosed, match="closed the connection"):
                    await device.read()
            await asyncio.gather(first.reopen(), second.reopen())
            await asyncio.gather(first.read(), second.read())
            assert len(clients) == 2
