"""What our road costs over Bluetooth, beside bleak alone, on bumble's whole stack in one process.

Both sides send the same requests to modules of the same kind, which answer at once with the same
bytes in the same notifications. Ours goes through the transport, the link, the framer and the
driver to decoded values; bleak alone counts bytes. The radio takes no time: on a real one both
would wait for the same connection intervals, which are longer than all of this.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import NamedTuple

from bleak import BleakClient, BleakScanner
from bumble.transport.common import Transport

import bmslink
from bmslink.protocols.jk.jk02.driver import JK02Frame, command
from bmslink.simulation.ble.air import Air
from bmslink.simulation.ble.catalogue import Radio
from bmslink.simulation.ble.module import ServedModule, address_of, host_on
from bmslink.simulation.transport import SimDevice, make_device
from bmslink.transports.ble.backend import VARIABLE
from bmslink.transports.ble.bumble import BumbleBackend

_DEVICE_INFO, _INFO = 0x97, 3
_JBD = (bytes.fromhex("dda50300fffd77"), bytes.fromhex("dda50400fffc77"))
_PLACES = {
    "jk02": (0xFFE1, 0xFFE1),
    "jbd": (0xFF01, 0xFF02),
}
"""Where it notifies and where it is written to."""
_airs: dict[str, Air] = {}

Exchange = Callable[[], Awaitable[object]]


class Contest(NamedTuple):
    """One exchange, both ways, in seconds."""

    name: str
    ours: list[float]
    bleak: list[float]


class _Prompt:
    """A line to a board that answers at once, and never by itself."""

    def __init__(self, device: SimDevice, deliver: Callable[[bytes], None]) -> None:
        self._responder = device.responder.line()
        self._deliver = deliver

    def receive(self, data: bytes) -> None:
        """Only the record: JK's acknowledgement comes behind it, and nobody waits for it here."""
        for answer in self._responder.receive(data)[:1]:
            self._deliver(answer.data)

    def close(self) -> None:
        """Nothing is open."""


def backend(name: str) -> BumbleBackend:
    """bumble on one of our radios."""

    async def opener(spec: str) -> Transport:
        return _airs[spec].transport()

    return BumbleBackend(name, opener)


async def _serve(stack: AsyncExitStack, name: str, protocol: str, mtu: int) -> str:
    """A module on a radio of its own; gives back its address."""
    radio = Radio(transport=name, mtu=mtu)
    device = make_device(protocol, cells=16)
    module = radio.settled(protocol)
    module = replace(module, chatter=b"")  # it would be in the way of who only counts bytes

    def line(
        deliver: Callable[[bytes], None], *, client_rate: Callable[[], int] | None = None
    ) -> _Prompt:
        del client_rate  # there is none over Bluetooth
        return _Prompt(device, deliver)

    _airs[name] = Air()
    served = ServedModule(line, device, module, radio)
    stack.push_async_callback(served.close)
    return await served.start(host_on(_airs[name], address_of(module, 1)))


async def _ours(stack: AsyncExitStack, protocol: str, mtu: int) -> Exchange:
    address = await _serve(stack, "ours", protocol, mtu)
    os.environ[VARIABLE] = "air:backend:ours"
    target = f"{protocol}+ble://{address}?gap=0"
    device = await stack.enter_async_context(bmslink.connect(target).board)
    if protocol == "jbd":
        return device.read

    def answers(frame: JK02Frame) -> bool:
        return not frame.command and frame.code == _INFO

    async def jk() -> object:
        frame = await device.link.request(command(_DEVICE_INFO), answers)
        return device.driver.codec.decode(frame)

    return jk


async def _alone(
    stack: AsyncExitStack, protocol: str, mtu: int, requests: Iterable[bytes]
) -> Exchange:
    address = await _serve(stack, "alone", protocol, mtu)
    stack_of = backend("alone")
    await stack_of.open()
    stack.push_async_callback(stack_of.close)
    scanner = BleakScanner(backend=stack_of.scanner)
    async with scanner:
        await asyncio.sleep(0.2)
    found = next(d for d in scanner.discovered_devices if d.address == address)
    client = await stack.enter_async_context(BleakClient(found, backend=stack_of.client))
    notifies, written = (f"0000{n:04x}-0000-1000-8000-00805f9b34fb" for n in _PLACES[protocol])
    heard, news = bytearray(), asyncio.Event()

    def on_data(_: object, data: bytearray) -> None:
        heard.extend(data)
        news.set()

    await client.start_notify(notifies, on_data)
    lengths: dict[bytes, int] = {}

    async def ask(request: bytes, length: int) -> None:
        heard.clear()
        await client.write_gatt_char(written, request, response=False)
        while len(heard) < length:
            news.clear()
            await news.wait()

    async def learn(request: bytes) -> int:
        """How long its answer is; a module may lose the first request."""
        for _ in range(3):
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await ask(request, 10_000)
            if heard:
                break
        return len(heard)

    for request in requests:
        lengths[request] = await learn(request)

    async def exchange() -> None:
        for request, length in lengths.items():
            await ask(request, length)

    return exchange


async def _contest(protocol: str, mtu: int, rounds: int) -> Contest:
    requests = _JBD if protocol == "jbd" else (bytes.fromhex(f"aa5590eb97{'00' * 14}11"),)
    async with AsyncExitStack() as stack:
        runners = (
            await _ours(stack, protocol, mtu),
            await _alone(stack, protocol, mtu, requests),
        )
        times: tuple[list[float], list[float]] = ([], [])
        for number in range(rounds + 20):
            for runner, taken in zip(runners, times, strict=True):
                start = time.perf_counter()
                await runner()
                if number >= 20:  # the first ones warm up
                    taken.append(time.perf_counter() - start)
    what = "JBD 03 + 04" if protocol == "jbd" else "JK 300 bytes"
    return Contest(f"{what}, MTU {mtu}", *times)


def contests(rounds: int) -> list[Contest]:
    """Every exchange at both sizes."""
    before = os.environ.get(VARIABLE)
    try:
        return [
            asyncio.run(_contest(protocol, mtu, rounds))
            for protocol in ("jk02", "jbd")
            for mtu in (23, 247)
        ]
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before


def ratio(contest: Contest) -> float:
    """How many times longer ours takes."""
    return statistics.median(contest.ours) / statistics.median(contest.bleak)
