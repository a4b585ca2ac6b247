"""A simulated pack on a pseudo-terminal and on TCP, met by our client and by a foreign one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import sys
import termios
import time
import tty
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import serial
from bmstools.jbd import JBD, BMSError

import bmslink
from bmslink.errors import (
    BmsError,
    LinkTimeout,
    PortBusy,
    PortDenied,
    PortNotFound,
    TargetError,
    TransportError,
)
from bmslink.model import Reading, Switch
from bmslink.protocols.jbd.framing import JBDFramer, read_request, write_request
from bmslink.simulation import serve as serve_module
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.serve import serve
from bmslink.simulation.transport import SimDevice
from bmslink.simulation.wire import uart_misread

BASIC = JBDFramer().encode(read_request(0x03))
UNLOCK = JBDFramer().encode(write_request(0xE1, b"\0\0"))
LOCK = JBDFramer().encode(write_request(0xE1, b"\0\3"))


class Served:
    """What a running `serve` has told so far."""

    def __init__(self) -> None:
        self.targets: list[str] = []
        self.replies: list[str] = []
        self.device: SimDevice | None = None
        self.commands: asyncio.Queue[str] = asyncio.Queue()
        self.news = asyncio.Event()

    @property
    def pack(self) -> Pack:
        assert self.device is not None
        return self.device.pack

    def announce(self, target: str) -> None:
        self.targets.append(target)
        self.news.set()

    def reply(self, text: str) -> None:
        self.replies.append(text)
        self.news.set()

    async def until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), 5)

    async def lines(self) -> AsyncIterator[str]:
        while True:
            yield await self.commands.get()

    async def command(self, line: str) -> str:
        count = len(self.replies)
        await self.commands.put(line)
        await self.until(lambda: len(self.replies) > count)
        return self.replies[-1]


@contextlib.asynccontextmanager
async def serving(places: int = 1, protocol: str = "jbd", **options: Any) -> AsyncIterator[Served]:
    served = Served()
    make = serve_module.make_device

    def keep(*args: Any, **kwargs: Any) -> SimDevice:
        served.device = make(*args, **kwargs)
        return served.device

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serve_module, "make_device", keep)
        task = asyncio.create_task(
            serve(
                protocol,
                **{"load": "idle", **options},
                announce=served.announce,
                commands=served.lines(),
                reply=served.reply,
            )
        )
        task.add_done_callback(lambda _: served.news.set())
        await served.until(lambda: len(served.targets) == places or task.done())
        try:
            if task.done():
                await task
            yield served
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, BmsError):
                await task


async def read(target: str, **options: Any) -> Reading:
    async with bmslink.connect(target, **options) as device:
        return await device.read()


class RawPort:
    """The client's end of a terminal without any library: 8N1 raw, at a rate or as it is."""

    def __init__(self, path: Path, rate: int | None = None) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        if rate is not None:
            tty.setraw(self.fd)
            state = termios.tcgetattr(self.fd)
            state[4] = state[5] = rate
            termios.tcsetattr(self.fd, termios.TCSANOW, state)

    def ask(self, request: bytes, seconds: float = 0.15) -> bytes:
        """The answer: everything until the line is silent for that long."""
        os.write(self.fd, request)
        got = b""
        while select.select([self.fd], [], [], seconds)[0]:
            got += os.read(self.fd, 4096)
        return got

    def close(self) -> None:
        os.close(self.fd)


async def raw_ask(path: Path, rate: int | None, *requests: bytes) -> list[bytes]:
    def work() -> list[bytes]:
        port = RawPort(path, rate)
        try:
            return [port.ask(request) for request in requests]
        finally:
            port.close()

    return await asyncio.to_thread(work)


def frames(data: bytes) -> int:
    return len(JBDFramer().feed(data))


# ------------------------------------------------------------------------- pseudo-terminal


@pytest.mark.real_time
async def test_a_terminal_serves_one_client_after_the_other(tmp_path: Path) -> None:
    link = tmp_path / "p"

    async with serving(pty=str(link)) as served:
        assert served.targets == [f"jbd+serial://{link}"]
        for _ in range(3):
            reading = await read(served.targets[0])
            assert reading.cell_voltages == served.pack.truth().cell_voltages
        assert link.is_symlink()
    assert not link.is_symlink()


@pytest.mark.parametrize(
    ("rate", "baud"), [(termios.B115200, 115200), (termios.B19200, 19200), (termios.B4800, 4800)]
)
@pytest.mark.real_time
async def test_a_wrong_rate_garbles_and_the_right_one_does_not(
    tmp_path: Path, rate: int, baud: int
) -> None:
    link = tmp_path / "p"

    async with serving(pty=str(link), speed=1e-6) as served:
        (right,) = await raw_ask(link, termios.B9600, BASIC)
        assert frames(right) == 1
        first, lock, again = await raw_ask(link, rate, BASIC, LOCK, BASIC)
        assert first == again == uart_misread(right, 9600, baud)
        assert frames(first) == 0
        assert frames(lock) == 0
        assert all(served.pack.switches.values())  # what was not understood was not done
        assert frames((await raw_ask(link, termios.B9600, LOCK))[0]) == 1
        assert served.pack.switches[Switch.CHARGE] is False


@pytest.mark.real_time
async def test_a_terminal_nobody_set_stands_at_the_wrong_rate(tmp_path: Path) -> None:
    link = tmp_path / "p"

    async with serving(pty=str(link)):
        (untouched,) = await raw_ask(link, None, BASIC)
        assert untouched
        assert frames(untouched) == 0


def errors_of_callbacks() -> list[Any]:
    """What goes wrong in the loop's callbacks; the command line ends at the first of them."""
    found: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: found.append(context))
    return found


ODD_MODES: dict[str, Callable[[int, list[Any]], None]] = {
    "hung up": lambda fd, state: state.__setitem__(slice(4, 6), [termios.B0, termios.B0]),
    "7E2": lambda fd, state: state.__setitem__(
        2, state[2] & ~termios.CSIZE | termios.CS7 | termios.PARENB | termios.CSTOPB
    ),
    "flow control": lambda fd, state: state.__setitem__(
        2, state[2] | getattr(termios, "CRTSCTS", 0)
    ),
    "lines and echo": lambda fd, state: state.__setitem__(
        3, state[3] | termios.ICANON | termios.ECHO | termios.ISIG
    ),
    "stripped": lambda fd, state: state.__setitem__(
        0, state[0] | termios.ISTRIP | termios.INLCR | termios.IXON | termios.IXOFF | termios.PARMRK
    ),
}


@pytest.mark.parametrize("change", ODD_MODES.values(), ids=ODD_MODES)
@pytest.mark.real_time
async def test_a_client_with_odd_modes_ends_nothing(
    tmp_path: Path, change: Callable[[int, list[Any]], None]
) -> None:
    link = tmp_path / "p"

    def odd() -> None:
        fd = os.open(link, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        state = termios.tcgetattr(fd)
        change(fd, state)
        termios.tcsetattr(fd, termios.TCSANOW, state)
        with contextlib.suppress(BlockingIOError):
            os.write(fd, BASIC)
        time.sleep(0.1)
        os.close(fd)

    unseen = errors_of_callbacks()
    async with serving(pty=str(link)) as served:
        await asyncio.to_thread(odd)
        assert await read(served.targets[0], baudrate=9600)
    assert unseen == []


@pytest.mark.parametrize("baud", [1, 123, 12345, 250000, 3999999])
@pytest.mark.skipif(sys.platform != "linux", reason="rates without a name are set Linux's way")
@pytest.mark.real_time
async def test_a_client_with_a_rate_of_its_own_ends_nothing(tmp_path: Path, baud: int) -> None:
    link = tmp_path / "p"

    def ask() -> bytes:
        with serial.Serial(str(link), baud, timeout=0.2) as port:
            port.write(BASIC)
            data: bytes = port.read(1000)
            return data

    unseen = errors_of_callbacks()
    async with serving(pty=str(link)) as served:
        assert not frames(await asyncio.to_thread(ask))
        assert await read(served.targets[0], baudrate=9600)
    assert unseen == []


@pytest.mark.real_time
async def test_our_client_says_garbage_at_the_wrong_rate(tmp_path: Path) -> None:
    async with serving(pty=str(tmp_path / "p")) as served:
        with pytest.raises(LinkTimeout, match="baud rate") as caught:
            await read(served.targets[0], baudrate=115200, timeout=0.05)
        assert caught.value.heard == "garbage"
        assert await read(served.targets[0], baudrate=9600)


@pytest.mark.real_time
async def test_what_nobody_reads_is_lost_and_the_newest_remains(tmp_path: Path) -> None:
    link = tmp_path / "p"

    def flood() -> bytes:
        port = RawPort(link, termios.B9600)
        try:
            for _ in range(400):  # 400 answers of 45 bytes are far more than a terminal holds
                os.write(port.fd, BASIC)
                time.sleep(0.0005)
            time.sleep(0.1)
            return port.ask(UNLOCK)
        finally:
            port.close()

    async with serving(pty=str(link)):
        got = await asyncio.to_thread(flood)
        assert len(got) < 5000
        assert got.endswith(bytes.fromhex("dde10000000077"))


@pytest.mark.real_time
async def test_a_link_of_an_earlier_run_is_replaced(tmp_path: Path) -> None:
    link = tmp_path / "p"

    link.symlink_to("/dev/pts/nothing")
    async with serving(pty=str(link)) as served:
        assert (await read(served.targets[0])).soc == 60


@pytest.mark.real_time
async def test_a_link_that_is_in_use_is_not_taken(tmp_path: Path) -> None:
    link = tmp_path / "p"

    async with serving(pty=str(link)) as served:
        with pytest.raises(PortBusy, match="in use"):
            async with serving(pty=str(link)):
                pass
        assert (await read(served.targets[0])).soc == 60


def test_nothing_but_a_link_is_ever_replaced(tmp_path: Path) -> None:
    file, directory, elsewhere = tmp_path / "f", tmp_path / "d", tmp_path / "l"
    file.write_text("precious")
    directory.mkdir()
    elsewhere.symlink_to(file)

    async def main(place: Path, error: type[BmsError]) -> None:
        with pytest.raises(error, match=place.name):
            async with serving(pty=str(place)):
                pass

    for place in (file, directory, elsewhere):
        asyncio.run(main(place, TransportError))
    asyncio.run(main(tmp_path / "missing" / "p", PortNotFound))
    assert file.read_text() == "precious"
    assert elsewhere.is_symlink()


@pytest.mark.real_time
async def test_a_link_that_is_someone_elses_by_now_stays(tmp_path: Path) -> None:
    link = tmp_path / "p"

    async with serving(pty=str(link)):
        link.unlink()
        link.symlink_to("/dev/null")
    assert link.readlink() == Path("/dev/null")


@pytest.mark.real_time
async def test_a_client_that_took_the_port_for_itself_does_not_lock_it_for_ever(
    tmp_path: Path,
) -> None:
    link = tmp_path / "p"
    fcntl = pytest.importorskip("fcntl")

    def take() -> bytes:
        port = RawPort(link, termios.B9600)
        try:
            fcntl.ioctl(port.fd, termios.TIOCEXCL)
            return port.ask(BASIC)
        finally:
            port.close()

    if sys.platform == "linux":
        async with serving(pty=str(link)):
            assert await asyncio.to_thread(take)
            flag = bytearray(4)
            holder = os.open(link, os.O_RDWR | os.O_NOCTTY)
            fcntl.ioctl(holder, 0x80045440, flag)  # TIOCGEXCL
            os.close(holder)
            assert flag == bytes(4)


@pytest.mark.real_time
async def test_without_terminals_there_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "bmslink.simulation.terminal", raising=False)
    monkeypatch.setitem(sys.modules, "termios", None)

    with pytest.raises(TransportError, match="Linux or macOS"):
        async with serving(pty=str(tmp_path / "p")):
            pass


# -------------------------------------------------------------------------------------- TCP


@pytest.mark.real_time
async def test_tcp_serves_several_clients_at_once(tmp_path: Path) -> None:
    async with serving(2, tcp="127.0.0.1:0", pty=str(tmp_path / "p")) as served:
        assert served.targets[1].startswith("jbd+tcp://127.0.0.1:")
        targets = [served.targets[0], *[served.targets[1]] * 4]
        readings = await asyncio.gather(*(read(target) for target in targets))
        truth = served.pack.truth()
        assert all(r.cell_voltages == truth.cell_voltages for r in readings)


@pytest.mark.real_time
async def test_half_a_request_of_one_client_does_not_harm_another() -> None:
    async with serving(tcp="127.0.0.1:0") as served:
        port = int(served.targets[0].rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(BASIC[:4])
        await writer.drain()
        await asyncio.sleep(0.02)
        assert (await read(served.targets[0])).soc == 60
        writer.write(BASIC[4:])
        assert frames(await asyncio.wait_for(reader.read(200), 1)) == 1
        writer.close()
        await writer.wait_closed()


@pytest.mark.real_time
async def test_clients_are_let_go_at_the_end() -> None:
    async with serving(tcp="127.0.0.1:0") as served:
        port = int(served.targets[0].rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(BASIC)
        await reader.readexactly(7)
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 1) is not None
    writer.close()
    with contextlib.suppress(ConnectionResetError):
        await writer.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.real_time
async def test_a_taken_port_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        place = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(PortBusy, match=place):
            async with serving(tcp=place):
                pass


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({}, TargetError),
        ({"tcp": "127.0.0.1"}, TargetError),
        ({"tcp": "127.0.0.1:70000"}, TargetError),
        ({"tcp": "127.0.0.1:0", "cells": 99}, TargetError),
        ({"tcp": "127.0.0.1:0", "faults": ["gremlin"]}, TargetError),
        ({"tcp": "127.0.0.1:0", "protocol": "nope"}, TargetError),
    ],
)
@pytest.mark.real_time
async def test_what_cannot_be_served(options: dict[str, Any], error: type[BmsError]) -> None:
    with pytest.raises(error):
        async with serving(**options):
            pass


@pytest.mark.parametrize(
    ("number", "error"),
    [("EACCES", PortDenied), ("EADDRNOTAVAIL", PortNotFound), ("ENOBUFS", TransportError)],
)
def test_each_refusal_to_listen_has_its_sentence(number: str, error: type[BmsError]) -> None:
    import errno

    exc = OSError(getattr(errno, number), "no")
    assert type(serve_module.listen_error(exc, "127.0.0.1:80")) is error


# ------------------------------------------------------------------- faults, console, address


@pytest.mark.real_time
async def test_the_console_stirs_the_pack_and_the_wire() -> None:
    async with serving(tcp="127.0.0.1:0", faults=["sleepy:1"]) as served:
        target = served.targets[0]
        assert (await read(target)).temperatures["sensor_1"] is not None
        assert (await served.command("fault probe:cell_1")).startswith("ok")
        assert (await read(target)).temperatures["sensor_1"] is None
        assert await served.command("nonsense") != "ok"
        assert await served.command("fault silent") == "ok"
        with pytest.raises(LinkTimeout):
            await read(target, timeout=0.02)


@pytest.mark.real_time
async def test_what_the_protocol_cannot_say_is_said_by_the_console() -> None:
    mute = "ok (this protocol has no sign for it: {})"
    sensor = mute.format("temperature_sense as fault")
    cases = {
        "jk-nw": {
            "raise cell_overvoltage protection": "ok",
            "raise short_circuit protection": mute.format("short_circuit as protection"),
            "fault condition:short_circuit": mute.format("short_circuit as protection"),
            "fault condition:cell_overvoltage": "ok",
            "temperature cell_1 broken": sensor,
            "fault probe:cell_1": sensor,
            "temperature cell_1 auto": "ok",
            "fault probe off": "ok",
            "clear short_circuit": "ok",
            "fault silent": "ok",
            "raise heater": mute.format("heater as alarm"),
        },
        "jbd": {
            "raise short_circuit protection": "ok",
            "raise afe fault": "ok",
            "temperature mosfet broken": sensor,
        },
        "jk02": {
            "raise temperature_sense fault": "ok",
            "raise heater": mute.format("heater as alarm"),
        },
        "jk-bus": {
            "raise charge_overcurrent protection": "ok",
            "raise heater": mute.format("heater as alarm"),
        },
        "daly-a5": {"raise afe fault": "ok", "temperature cell_1 broken": "ok"},
    }

    async def main(protocol: str, lines: dict[str, str]) -> None:
        async with serving(protocol=protocol, tcp="127.0.0.1:0") as served:
            for line, reply in lines.items():
                assert await served.command(line) == reply, (protocol, line)
            assert "error" in await served.command("raise fire")

    for protocol, lines in cases.items():
        await main(protocol, lines)


@pytest.mark.real_time
async def test_to_ask_what_a_protocol_can_say_changes_nothing() -> None:
    async with serving(protocol="jk02", tcp="127.0.0.1:0", faults=["silent"]) as served:
        began = time.monotonic()
        before = served.pack.uptime
        for _ in range(10):
            assert await served.command("raise charge_overcurrent protection") == "ok"
        assert served.pack.uptime - before <= time.monotonic() - began
        assert time.monotonic() - began < 2
        assert served.device is not None
        assert list(served.device.faults.active) == ["silent"]


@pytest.mark.real_time
async def test_an_addressed_pack_announces_its_address() -> None:
    async with serving(tcp="127.0.0.1:0", address=5) as served:
        assert served.targets[0].endswith("?address=5")
        assert (await read(served.targets[0])).raw


@pytest.mark.real_time
async def test_the_pack_lives_on_while_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_module, "_TICK", 0.01)

    async with serving(tcp="127.0.0.1:0", speed=1000) as served:
        await asyncio.sleep(0.1)
        assert served.pack.uptime > 30


def test_pacing_takes_as_long_as_a_wire(tmp_path: Path) -> None:
    link = tmp_path / "p"

    async def main() -> float:
        async with serving(pty=str(link), pace=True):
            start = time.perf_counter()
            (answer,) = await raw_ask(link, termios.B9600, BASIC)
            assert frames(answer) == 1
            return time.perf_counter() - start - 0.15

    # 7 bytes of request and 45 of answer at 9600 baud, and 5 ms of thought
    assert asyncio.run(main()) >= 52 * 10 / 9600 + 0.004


# ----------------------------------------------------------------------- an independent client


async def with_bmstools(link: Path, work: Callable[[JBD], Any]) -> Any:
    def run() -> Any:
        port = serial.Serial(str(link), 9600, timeout=0.5)
        client = JBD(port)
        try:
            return work(client)
        finally:
            port.close()

    return await asyncio.to_thread(run)


def stirred(**options: Any) -> dict[str, Any]:
    return {"speed": 1e-6, "cells": 14, "chemistry": "nmc", "soc": 83, "seed": 9, **options}


@pytest.mark.real_time
async def test_bmstools_reads_live_values(tmp_path: Path) -> None:
    link = tmp_path / "p"

    async with serving(pty=str(link), **stirred(load="cycle")) as served:
        served.pack.advance(3 * 3600)
        served.pack.set_cell_voltage(3, 4.3)
        served.pack.set_cell_voltage(9, 4.31)
        served.pack.set_load(-12.5)
        served.pack.advance(10)
        truth = served.pack.truth()
        basic, cells, device = await with_bmstools(link, lambda client: client.readInfo())
    assert truth.current == -12.5
    assert truth.balancing_cells
    assert truth.protections
    assert basic["pack_mv"] == round(100 * truth.voltage) * 10
    assert basic["pack_ma"] == round(100 * truth.current) * 10
    assert basic["cur_cap"] == round(100 * truth.remaining_capacity) * 10
    assert basic["full_cap"] == round(100 * truth.nominal_capacity) * 10
    assert basic["cycle_cnt"] == truth.cycles
    assert basic["cap_pct"] == round(truth.soc)
    assert basic["cell_cnt"] == 14
    assert basic["ntc_cnt"] == 3
    assert basic["version"] == 0x80
    assert (basic["year"], basic["month"], basic["day"]) == (2022, 3, 28)
    assert [basic[f"ntc{i}"] for i in range(3)] == list(truth.temperatures.values())
    on = tuple(i + 1 for i in range(32) if basic[f"bal{i}"])
    assert on == truth.balancing_cells
    assert basic["chg_fet_en"] is truth.charging_allowed is False
    assert basic["dsg_fet_en"] is truth.discharging_allowed is True
    assert [name for name, on in basic.items() if name.endswith("_err") and on] == ["covp_err"]
    assert [str(c) for c in truth.protections] == ["cell_overvoltage"]
    assert [cells[f"cell{i}_mv"] for i in range(14)] == [
        round(1000 * v) for v in truth.cell_voltages
    ]
    assert device["device_name"] == "JBD-SP14S020-P14S-100A"


MILLIVOLTS = {
    "covp": "cell_ovp", "covp_rel": "cell_ovp_release",
    "cuvp": "cell_uvp", "cuvp_rel": "cell_uvp_release",
    "povp": "pack_ovp", "povp_rel": "pack_ovp_release",
    "puvp": "pack_uvp", "puvp_rel": "pack_uvp_release",
    "chgoc": "charge_ocp", "design_cap": "nominal_capacity",
    "cap_100": "full_charge_voltage", "cap_0": "empty_voltage",
    "bal_start": "balance_start_voltage", "bal_window": "balance_delta",
}  # fmt: skip
PLAIN = {
    "chgot": "charge_otp", "chgot_rel": "charge_otp_release",
    "chgut": "charge_utp", "chgut_rel": "charge_utp_release",
    "dsgot": "discharge_otp", "dsgot_rel": "discharge_otp_release",
    "dsgut": "discharge_utp", "dsgut_rel": "discharge_utp_release",
    "covp_delay": "cell_ovp_delay", "cuvp_delay": "cell_uvp_delay",
    "povp_delay": "pack_ovp_delay", "puvp_delay": "pack_uvp_delay",
    "chgot_delay": "charge_otp_delay", "chgut_delay": "charge_utp_delay",
    "dsgot_delay": "discharge_otp_delay", "dsgut_delay": "discharge_utp_delay",
    "chgoc_delay": "charge_ocp_delay", "chgoc_rel": "charge_ocp_release",
    "dsgoc_delay": "discharge_ocp_delay", "dsgoc_rel": "discharge_ocp_release",
    "sc_rel": "short_circuit_release", "cell_cnt": "cell_count",
}  # fmt: skip


@pytest.mark.real_time
async def test_bmstools_reads_the_settings(tmp_path: Path) -> None:
    link = tmp_path / "p"

    async with serving(pty=str(link), **stirred()) as served:
        settings = served.pack.settings
        # all different, so that no two registers can be mistaken for each other
        for number, key in enumerate(k for k in settings if k.endswith("_delay")):
            settings[key] = 3.0 + number
        for number, key in enumerate(k for k in settings if "tp" in k.split("_")[-1]):
            settings[key] += number / 10
        values = await with_bmstools(link, lambda client: client.readEeprom())
        for name, key in MILLIVOLTS.items():
            assert values[name] == round(1000 * settings[key]), name
        assert values["dsgoc"] == -round(1000 * settings["discharge_ocp"])
        for name, key in PLAIN.items():
            assert values[name] == pytest.approx(settings[key]), name
        for percent in (80, 60, 40, 20):
            mv = 1000 * served.pack.chemistry.ocv(percent)
            assert values[f"cap_{percent}"] == round(mv), percent
        assert values["mfg_name"] == "DGJBD"
        assert values["device_name"] == "JBD-SP14S020-P14S-100A"
        assert values["barcode"] == ""
        assert values["cycle_cnt"] == served.pack.truth().cycles
        assert (values["year"], values["month"], values["day"]) == (2022, 3, 28)
        assert [values[f"ntc{i}"] for i in range(1, 5)] == [True, True, True, False]
        assert values["balance_en"] is True
        assert values["chg_balance_en"] is False
        assert values["covp_err_cnt"] == 0


@pytest.mark.real_time
async def test_bmstools_writes_and_switches(tmp_path: Path) -> None:
    link = tmp_path / "p"

    def work(client: JBD) -> None:
        client.writeEeprom({"covp": 4111, "dsgoc": -25000, "device_name": "Van", "chgot": 41})
        client.chgDsgEnable(chgEnable=True, dsgEnable=False)
        client.password = "123456"
        with pytest.raises(BMSError):
            client.readReg("covp")

    async with serving(pty=str(link), **stirred()) as served:
        await with_bmstools(link, work)
        settings = served.pack.settings
        assert settings["cell_ovp"] == 4.111
        assert settings["discharge_ocp"] == 25
        assert settings["charge_otp"] == 41
        assert served.pack.switches[Switch.DISCHARGE] is False
        assert served.pack.switches[Switch.CHARGE] is True
        device = await with_bmstools(link, lambda client: client.readDeviceInfo())
        assert device["device_name"] == "Van"


def test_what_the_protocol_cannot_say_is_said_at_the_start_too() -> None:
    faults = ("condition:short_circuit:protection", "condition:cell_overvoltage", "noise")

    async def told(protocol: str) -> list[str]:
        said: list[str] = []
        options = {"tcp": "127.0.0.1:0", "faults": faults, "tell": said.append}
        async with serving(protocol=protocol, **options) as served:
            assert await served.command("soc 50") == "ok"
        return said

    assert asyncio.run(told("jk-nw")) == [
        "jk-nw has no sign for short_circuit as protection: no reading will show it."
    ]
    assert asyncio.run(told("jbd")) == []
