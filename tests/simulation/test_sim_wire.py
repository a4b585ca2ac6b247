"""Each wire fault does what its name says, and the link lives through those it can."""

from __future__ import annotations

import asyncio

import pytest

import bmslink
from bmslink.errors import LinkTimeout, TargetError
from bmslink.model import Condition
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import Answer, Responder
from bmslink.simulation.transport import SimDevice, SimLine, SimTransport
from bmslink.simulation.wire import FAULTS, FOREIGN_FRAME, WireFaults, uart_misread
from support import virtual_run

FIRST = Answer(0.1, bytes(range(20)))
SECOND = Answer(0.2, bytes(range(100, 130)))


def wire(*specs: str, seed: int = 1) -> WireFaults:
    faults = WireFaults(Pack(cells=4), seed=seed)
    for spec in specs:
        faults.enable(spec)
    return faults


def out(faults: WireFaults, *answers: Answer, request: bytes = b"ask") -> list[Answer]:
    return faults.outgoing(request, list(answers or (FIRST,)))


# ------------------------------------------------------------------------------- one by one


def test_without_faults_nothing_changes() -> None:
    faults = wire()
    assert out(faults, FIRST, SECOND) == [FIRST, SECOND]
    assert faults.incoming(b"abc", 1.0) == b"abc"


def test_silent() -> None:
    assert out(wire("silent")) == []


def test_echo_comes_first_and_only_of_requests() -> None:
    assert out(wire("echo")) == [Answer(0.0, b"ask"), FIRST]
    assert wire("echo").outgoing(b"", [FIRST]) == [FIRST]


@pytest.mark.parametrize(("spec", "length"), [("noise", 3), ("noise:17", 17)])
def test_noise_stands_before_the_answer(spec: str, length: int) -> None:
    (answer,) = out(wire(spec))
    assert answer.data[length:] == FIRST.data
    assert answer.delay == FIRST.delay


def test_corrupt_flips_one_bit_in_the_share_it_names() -> None:
    faults = wire("corrupt:25")
    changed = 0
    for _ in range(400):
        (answer,) = out(faults)
        wrong = sum((a ^ b).bit_count() for a, b in zip(answer.data, FIRST.data, strict=True))
        assert wrong in (0, 1)
        changed += wrong
    assert 70 <= changed <= 130


def test_cut_shortens_the_share_it_names() -> None:
    faults = wire("cut:50")
    lengths = [len(out(faults)[0].data) for _ in range(400)]
    assert 150 <= sum(length < 20 for length in lengths) <= 250
    assert all(FIRST.data.startswith(out(faults)[0].data) for _ in range(20))


def test_glue_puts_the_previous_tail_in_front() -> None:
    faults = wire("glue")
    assert out(faults, FIRST, SECOND) == [
        FIRST,
        SECOND._replace(data=FIRST.data[-6:] + SECOND.data),
    ]
    assert out(faults)[0].data == SECOND.data[-6:] + FIRST.data


def test_late_adds_its_seconds() -> None:
    assert out(wire("late:2.5"))[0] == Answer(2.6, FIRST.data)


def test_chunk_delivers_piece_by_piece() -> None:
    pieces = out(wire("chunk:8"))
    assert [len(p.data) for p in pieces] == [8, 8, 4]
    assert b"".join(p.data for p in pieces) == FIRST.data
    assert pieces[0].delay < pieces[1].delay < pieces[2].delay


def test_duplicate() -> None:
    assert out(wire("duplicate"), FIRST, SECOND) == [FIRST, FIRST, SECOND, SECOND]


def test_foreign_frame_stands_before_the_answer() -> None:
    assert out(wire("foreign"))[0].data == FOREIGN_FRAME + FIRST.data


def test_sleepy_hears_nothing_of_the_first_requests() -> None:
    faults = wire("sleepy:2")
    assert faults.incoming(b"one, first half", 10.0) == b""
    assert faults.incoming(b"one, second half", 10.01) == b""
    assert faults.incoming(b"two", 10.5) == b""
    assert faults.incoming(b"three", 11.0) == b"three"
    assert faults.incoming(b"four", 40.9) == b"four"


def test_sleepy_falls_asleep_again_after_half_a_minute() -> None:
    faults = wire("sleepy:1")
    assert faults.incoming(b"one", 10.0) == b""
    assert faults.incoming(b"two", 11.0) == b"two"
    assert faults.incoming(b"three", 41.1) == b""
    assert faults.incoming(b"four", 41.5) == b"four"


def test_faults_combine_and_end() -> None:
    faults = wire("duplicate", "late:1")
    assert out(faults) == [Answer(1.1, FIRST.data)] * 2
    faults.disable("duplicate")
    assert out(faults) == [Answer(1.1, FIRST.data)]
    faults.disable("late")
    faults.disable("late")
    assert out(faults) == [FIRST]


def test_the_same_seed_makes_the_same_session() -> None:
    def session(seed: int) -> list[bytes]:
        faults = wire("noise:5", "corrupt:50", "cut:50", seed=seed)
        return [out(faults)[0].data for _ in range(50)]

    assert session(7) == session(7) != session(8)


@pytest.mark.parametrize(
    "spec",
    [
        "", "nois", "Noise", "noise:", "noise:0", "noise:x", "noise:nan", "corrupt:101", "late:-1",
        "late:inf", "chunk:0", "silent:1", "probe:nose", "condition", "condition:hunger",
        "condition:cell_delta:bad",
    ],
)  # fmt: skip
def test_what_cannot_be_is_a_target_error(spec: str) -> None:
    with pytest.raises(TargetError):
        wire().enable(spec)


def test_unknown_names_are_listed_with_the_known_ones() -> None:
    with pytest.raises(TargetError, match="sleepy"):
        wire().disable("sleeply")


def test_every_fault_of_the_list_can_be_put_in_force() -> None:
    faults = WireFaults(Pack(cells=4), masters=True)
    for name in FAULTS:
        faults.enable("condition:cell_delta" if name == "condition" else name)
        faults.disable(name)
    assert faults.active == {}


def test_pack_faults_reach_the_pack_and_leave_it() -> None:
    pack = Pack(cells=4)
    faults = WireFaults(pack)
    faults.enable("probe")
    faults.enable("probe:mosfet")
    faults.enable("condition:cell_overvoltage")
    faults.enable("condition:soc_low:alarm")
    truth = pack.truth()
    assert truth.temperatures["cell_1"] is None
    assert truth.temperatures["mosfet"] is None
    assert Condition.CELL_OVERVOLTAGE in truth.protections
    assert Condition.SOC_LOW in truth.alarms
    faults.disable("probe:mosfet")
    faults.disable("condition")
    truth = pack.truth()
    assert truth.temperatures["cell_1"] is None
    assert truth.temperatures["mosfet"] is not None
    assert not truth.protections
    assert not truth.alarms


# ------------------------------------------------------------------------------- wrong rate


def test_a_uart_at_the_right_rate_reads_every_byte() -> None:
    everything = bytes(range(256))
    assert uart_misread(everything, 9600, 9600) == everything
    assert uart_misread(everything, 9600, 9800) == everything  # 2 % off still works


def test_a_uart_at_half_the_rate_reads_what_the_bits_say() -> None:
    # 55 is 0 1010 1010 1 on the line; half as fast, only its ones and the idle line are sampled
    assert uart_misread(b"\x55", 9600, 4800) == b"\xff"


@pytest.mark.parametrize("rate", [1200, 4800, 19200, 38400, 115200])
def test_a_wrong_rate_gives_the_same_garbage_each_time(rate: int) -> None:
    data = bytes.fromhex("dd0300011afee277")
    garbage = uart_misread(data, 9600, rate)
    assert garbage
    assert garbage != data
    assert uart_misread(data, 9600, rate) == garbage


# ---------------------------------------------------------------------- through a whole link


async def poll(query: str) -> bmslink.Reading:
    async with bmslink.connect(f"jbd+sim://?load=idle&{query}").board as device:
        for _ in range(5):
            reading = await device.read()
            transport = device.link.transport
            assert isinstance(transport, SimTransport)
            truth = transport.pack.truth()
            assert reading.cell_voltages == truth.cell_voltages
            assert reading.voltage == pytest.approx(truth.voltage, abs=0.006)
        return reading


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "fault",
    [
        "noise", "noise:60", "echo", "corrupt:30", "cut:30", "glue", "late", "late:0.7",
        "chunk:1", "chunk:7", "duplicate", "sleepy", "sleepy:4", "foreign", "echo,noise,chunk:3",
    ],
)  # fmt: skip
async def test_the_link_lives_through(fault: str, seed: int) -> None:
    assert (await poll(f"fault={fault}&seed={seed}")).protocol == "jbd"


@pytest.mark.parametrize(
    ("fault", "heard"), [("silent", {"silence"}), ("corrupt:100", {"garbage", "other"})]
)
async def test_the_link_says_what_it_heard(fault: str, heard: set[str]) -> None:
    with pytest.raises(LinkTimeout) as caught:
        await poll(f"fault={fault}")
    assert caught.value.heard in heard


# --------------------------------------------------------------------------- the sim:// target


@pytest.mark.parametrize(
    "query",
    [
        "cells=0", "cells=33", "cells=many", "chemistry=lead", "soc=-1", "soc=101", "soc=nan",
        "speed=0", "speed=-1", "speed=1e7", "fault=gremlin", "fault=noise,late:x", "load=heavy",
        "firmware=new", "firmware=16.0", "address=33", "cells=4.5",
    ],
)  # fmt: skip
def test_a_pack_that_cannot_be_is_a_target_error(query: str) -> None:
    with pytest.raises(TargetError):
        bmslink.connect(f"jbd+sim://?{query}")


def test_the_pack_lives_at_its_speed_exactly() -> None:
    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        async with bmslink.connect("jbd+sim://?speed=60").board as device:
            start = loop.time()
            await asyncio.sleep(100)
            await device.read()
            transport = device.link.transport
            assert isinstance(transport, SimTransport)
            transport.device.tick()
            return transport.pack.uptime, loop.time() - start

    uptime, passed = virtual_run(main())
    assert uptime == pytest.approx(60 * passed)
    assert passed < 100.2


class Ticker(Responder):
    """Streams a counter, and answers any byte with two answers of falling delay."""

    baudrate = 9600
    period = 0.5

    def receive(self, data: bytes) -> list[Answer]:
        return [Answer(0.3, b"slow"), Answer(0.1, b"quick")]

    def stream(self) -> bytes:
        return b"." if self.pack.uptime < 2 else b""


Heard = list[tuple[float, bytes]]


def heard_of_ticker(seconds: float, *, request: bytes = b"", pace: bool = False) -> Heard:
    async def main() -> Heard:
        pack = Pack(cells=1)
        device = SimDevice(pack, Ticker(pack), WireFaults(pack), 1.0)
        loop = asyncio.get_running_loop()
        heard: Heard = []
        line = SimLine(device, lambda data: heard.append((round(loop.time(), 6), data)), pace=pace)
        if request:
            line.receive(request)
        await asyncio.sleep(seconds)
        line.close()
        await asyncio.sleep(10)
        return heard

    return virtual_run(main())


def test_a_stream_keeps_the_beat_and_ends_with_the_line() -> None:
    assert heard_of_ticker(1.6) == [(0.5, b"."), (1.0, b"."), (1.5, b".")]
    assert heard_of_ticker(9.0)[-1] == (1.5, b".")  # from 2 s on it has nothing to say


def test_a_line_is_serial() -> None:
    assert heard_of_ticker(0.4, request=b"?") == [(0.3, b"slow"), (0.3, b"quick")]


def test_pacing_gives_every_byte_its_time() -> None:
    byte = 10 / 9600
    heard = heard_of_ticker(0.4, request=b"??", pace=True)
    assert b"".join(data for _, data in heard) == b"slowquick"
    start = 2 * byte + 0.3
    assert [t for t, _ in heard] == [
        pytest.approx(start + n * byte, abs=1e-6) for n in range(1, 10)
    ]
