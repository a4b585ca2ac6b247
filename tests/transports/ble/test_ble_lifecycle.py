"""Bluetooth connections that are given up, break off or hang at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import ble_memory
import bmslink
from ble_memory import AIR, OPENED, Client, Memory, Module, Scanner
from ble_support import ADDRESS, board, clear_air, opening
from bmslink.errors import BmsError, LinkClosed, PortBusy, TransportError
from bmslink.link.transport import Transport, make_transport, parse_target
from bmslink.protocols import load_driver
from bmslink.transports.ble.backend import backend_in_use
from bmslink.transports.ble.transport import scan_adverts
from support import virtual_run
from wires import Ear

SLOW = 0.1
"""s that every step of the stack takes here."""
STEPS = (
    (Memory, "open"),
    (Memory, "close"),
    (Scanner, "start"),
    (Scanner, "stop"),
    (Client, "connect"),
    (Client, "start_notify"),
    (Client, "write_gatt_char"),
    (Client, "disconnect"),
)


@pytest.fixture(autouse=True)
def air(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BMSLINK_BLE_BACKEND", "ble_memory:factory")
    monkeypatch.delenv("BMSLINK_PIN", raising=False)
    clear_air()
    yield
    clear_air()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[Scanner]:
    """Every step takes its time before and after; gives the scanners that run."""
    running: list[Scanner] = []

    def slowed(kind: type[Any], name: str) -> None:
        inner = getattr(kind, name)

        async def step(self: Any, *args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(SLOW / 2)
            result = await inner(self, *args, **kwargs)
            if (kind, name) == (Scanner, "start"):
                running.append(self)
            if (kind, name) == (Scanner, "stop"):
                running.remove(self)
            if (kind, name) not in ((Scanner, "start"), (Memory, "open")):
                await asyncio.sleep(SLOW / 2)
            return result

        monkeypatch.setattr(kind, name, step)

    for kind, name in STEPS:
        slowed(kind, name)
    return running


def transport(protocol: str = "daly-a5") -> Transport:
    target = parse_target(f"{protocol}+ble://{ADDRESS}")
    return make_transport(target, load_driver(protocol).modules)


def locked() -> Module:
    """A module that is woken up with an empty packet, so that there is one step more."""
    wake = "02f00000-0000-0000-0000-00000000ff01"
    gatt = load_driver("daly-a5").modules[0]
    return board(
        "daly-a5",
        table=[
            *ble_memory.table_of(gatt),
            ("02f00000-0000-0000-0000-00000000fe00", [(wake, ["write-without-response"])]),
        ],
    )


def left(module: Module, running: list[Scanner]) -> str:
    """What was not given back."""
    wrong = []
    if module.client is not None:
        wrong.append("a connection")
    if running:
        wrong.append("a scan")
    if OPENED and OPENED[-1] != "close":
        wrong.append(f"the backend {OPENED}")
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        wrong.append(f"tasks {others}")
    return ", ".join(wrong)


def each_moment(work: Callable[[float], Any], until: float) -> None:
    moment = 0.025
    while moment < until:
        work(moment)
        moment += SLOW / 2


def test_opening_that_is_cancelled_at_any_moment_leaves_nothing(slow: list[Scanner]) -> None:
    finished = 0

    def at(moment: float) -> None:
        nonlocal finished
        clear_air()
        module = locked()

        async def main() -> bool:
            link = transport()
            task = asyncio.ensure_future(link.open(Ear().data, Ear().end))
            await asyncio.wait([task], timeout=moment)
            done = task.done()
            task.cancel()
            await asyncio.wait([task])
            assert done or task.cancelled(), moment
            await link.close()
            assert left(module, slow) == "", moment
            await link.open(Ear().data, Ear().end)  # and it opens as if nothing had been
            await link.close()
            assert left(module, slow) == "", moment
            return done

        finished += virtual_run(main())

    each_moment(at, 1.3)
    assert 0 < finished < 20


def test_closing_that_is_cancelled_at_any_moment_leaves_nothing(
    slow: list[Scanner],
) -> None:
    def at(moment: float) -> None:
        clear_air()
        module = locked()

        async def main() -> None:
            link = transport()
            await link.open(Ear().data, Ear().end)
            task = asyncio.ensure_future(link.close())
            await asyncio.wait([task], timeout=moment)
            task.cancel()
            await asyncio.wait([task])
            await link.close()
            assert left(module, slow) == "", moment
            await link.open(Ear().data, Ear().end)
            await link.close()

        virtual_run(main())

    each_moment(at, 0.3)


def test_a_connection_that_breaks_at_any_moment_is_told_once_and_opens_again(
    slow: list[Scanner],
) -> None:
    def at(moment: float) -> None:
        clear_air()
        module = locked()

        async def main() -> None:
            link, ear = transport(), Ear()
            asyncio.get_running_loop().call_later(moment, module.drop)
            try:
                await link.open(ear.data, ear.end)
                for _ in range(3):
                    await link.write(bytes(50))
            except LinkClosed as error:
                assert "disconnected: out of reach" in str(error), moment
            assert len(ear.lost) <= 1
            await link.close()
            assert left(module, slow) == "", moment
            told = len(ear.lost)
            module.drop()
            module.notify(b"late")
            assert len(ear.lost) == told
            await link.open(ear.data, ear.end)
            await link.close()

        virtual_run(main())

    each_moment(at, 2.0)


async def test_a_module_that_hangs_up_while_it_is_opened_is_tried_again(
    slow: list[Scanner],
) -> None:
    """The likeliest failure on the air: connected, and gone before the first packet."""
    module = locked()
    steady, tries = module.line, [0]

    def unsteady(say: Callable[[bytes], None]) -> ble_memory.Line:
        tries[0] += 1
        if tries[0] == 1:
            asyncio.get_running_loop().call_later(0.8 * SLOW, module.drop)
        return steady(say)

    module.line = unsteady

    link, ear = transport(), Ear()
    await link.open(ear.data, ear.end)
    assert ear.lost == []
    await link.write(b"x")
    await link.close()
    assert tries == [2]


async def test_opening_what_is_open_begins_anew() -> None:
    module = board("jbd")

    link, first, second = transport("jbd"), Ear(), Ear()
    await link.open(first.data, first.end)
    await link.open(second.data, second.end)
    module.notify(b"a")
    assert (bytes(first.heard), bytes(second.heard)) == (b"", b"a")
    await link.close()
    assert left(module, []) == ""


async def test_a_module_gets_its_time_before_the_first_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """JBD's loses what comes sooner."""
    module, times = board("jbd"), []
    inner = Client.start_notify

    async def start_notify(self: Client, *args: Any, **kwargs: Any) -> None:
        await inner(self, *args, **kwargs)
        times.append(asyncio.get_running_loop().time())

    monkeypatch.setattr(Client, "start_notify", start_notify)

    link = transport("jbd")
    await link.open(Ear().data, Ear().end)
    times.append(asyncio.get_running_loop().time())
    await link.close()
    assert times[1] - times[0] >= load_driver("jbd").modules[0].settle > 0
    assert module.client is None


async def test_nothing_is_heard_after_closing() -> None:
    module = board("jbd")

    link, ear = transport("jbd"), Ear()
    await link.open(ear.data, ear.end)
    said, told = module.client.callback, module.client._disconnected_callback
    module.notify(b"a")
    await link.close()
    said(bytearray(b"b"))
    told()
    assert (bytes(ear.heard), ear.lost) == (b"a", [])


@pytest.mark.parametrize(
    ("kind", "name", "error"),
    [
        (Scanner, "start", TransportError),
        (Scanner, "stop", None),
        (Client, "connect", PortBusy),
        (Client, "start_notify", TransportError),
        (Client, "write_gatt_char", TransportError),
        (Client, "disconnect", None),
    ],
)
async def test_a_stack_that_hangs_is_given_up(
    monkeypatch: pytest.MonkeyPatch, kind: type[Any], name: str, error: type[BmsError] | None
) -> None:
    locked()

    async def hang(self: Any, *args: Any, **kwargs: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(kind, name, hang)

    link = transport()
    try:
        await link.open(Ear().data, Ear().end)
    except BmsError as caught:
        assert type(caught) is error
    else:
        assert error is None
    await link.close()
    assert OPENED.count("open") == OPENED.count("close")
    assert asyncio.get_running_loop().time() < 70
    AIR[0].drop()


def test_a_scan_that_cannot_be_ended_has_found_what_it_has_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board("jbd")

    async def broken(self: Scanner) -> None:
        self.timer.cancel()
        raise EOFError

    monkeypatch.setattr(Scanner, "stop", broken)
    assert [seen.address for seen in virtual_run(scan_adverts(1.0))] == [ADDRESS]
    AIR[0].broken["connect"] = OSError("odd")
    assert "odd" in str(opening())  # the reason, not the scan's


async def test_the_backend_is_closed_by_the_last_and_survives_who_is_cancelled(
    slow: list[Scanner],
) -> None:
    async def use(seconds: float) -> None:
        async with backend_in_use():
            await asyncio.sleep(seconds)

    tasks = [asyncio.ensure_future(use(0.02 * n)) for n in range(8)]
    for number in range(60):
        await asyncio.sleep(0.013)
        tasks[number % 8].cancel()
        if tasks[number % 8].done():
            tasks[number % 8] = asyncio.ensure_future(use(0.01 * number))
    for task in tasks:
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # once more, while it is leaving
    await asyncio.wait(tasks)
    opens = OPENED.count("open")
    await use(0.01)  # whoever comes then finds it as it should be
    assert OPENED[-1] == "close"
    assert OPENED.count("open") <= opens + 1
    async with bmslink.connect("sim://jbd").board as device:
        await device.read()
    state = 0
    for step in OPENED:
        state = state + 1 if step == "open" else 0  # one that failed to open is closed too
        assert state <= 1, OPENED
