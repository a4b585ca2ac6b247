"""`sim://`: a simulated pack in this process, behind the same byte road as a real one.

`SimLine` is one client's line to a simulated device, whatever carries the bytes; `SimTransport`
joins it to a link, and `serve` to pseudo-terminals and TCP ports.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bmslink.errors import LinkClosed, TargetError
from bmslink.link.transport import Endpoint, OnData, OnLost, Transport
from bmslink.simulation.bus import Bus
from bmslink.simulation.pack.pack import MAX_ADVANCE, Pack
from bmslink.simulation.responder import Answer, Node, hear, make_responder, responder_class, speak
from bmslink.simulation.wire import WireFaults, uart_misread

__all__ = ["SimDevice", "SimLine", "SimTransport", "make_device", "name_device"]

_MAX_SPEED = 10_000.0  # an hour in a third of a second; above that the pack cannot keep up
_LOOK = 1.0  # s between two looks whether a second master has come to the line
_MAX_WAITING = 65_536  # pieces that wait for their time; a line that is asked for more loses them


class SimDevice:
    """A pack, its responder and its faults, with the time that passes for them.

    `packs` are all packs on the line by their addresses; empty where the one has none.
    """

    def __init__(
        self,
        pack: Pack,
        responder: Node,
        faults: WireFaults,
        speed: float,
        packs: Mapping[int, Pack] | None = None,
    ) -> None:
        self.pack = pack
        self.packs = packs or {}
        self.responder = responder
        self.faults = faults
        self.speed = speed
        """Seconds of the pack per second here. The wire keeps its own pace."""
        self.lock = threading.RLock()
        """Held while it lives or answers: a test may stir the pack from another thread."""
        self._now: float | None = None

    def tick(self) -> None:
        """Let the pack live through the time since the last tick (the first starts its clock)."""
        now = asyncio.get_running_loop().time()
        with self.lock:
            if self._now is not None and now > self._now:
                for pack in self.packs.values() or [self.pack]:
                    pack.advance(min((now - self._now) * self.speed, MAX_ADVANCE))
                self.responder.remember()
            self._now = now


_named: weakref.WeakValueDictionary[str, SimDevice] = weakref.WeakValueDictionary()
"""The packs of this process that `sim://…?pack=NAME` opens, as long as somebody holds them."""
_numbers = itertools.count(1)


def name_device(device: SimDevice) -> str:
    """Make it reachable as `sim://…?pack=NAME` in this process; gives the name."""
    name = str(next(_numbers))
    _named[name] = device
    return name


def _device_named(name: str) -> SimDevice:
    found = _named.get(name)
    if found is None:
        raise TargetError(f"There is no simulated pack {name[:40]!r} in this process (any more).")
    return found


def make_device(
    protocol: str,
    *,
    cells: int | None = None,
    chemistry: str = "lfp",
    capacity: float = 100.0,
    soc: float = 60.0,
    seed: int = 1,
    address: int | Sequence[int] | None = None,
    firmware: str | None = None,
    speed: float = 1.0,
    load: str = "cycle",
    imbalance: float | None = None,
    faults: Sequence[str] = (),
) -> SimDevice:
    """A simulated pack with its protocol; `TargetError` for anything that cannot be.

    Without `cells` it has as many as is usual for the protocol. With several addresses there is a
    pack for each on one line, made from `seed` plus its address.
    """
    if not 0 < speed <= _MAX_SPEED:
        raise TargetError(f"speed must be above 0 and at most {_MAX_SPEED:g}, not {speed:g}.")
    addresses = (address,) if isinstance(address, int) else tuple(address or ())
    for number in addresses:
        if not 0 <= number <= 255:
            raise TargetError(f"address must be 0 to 255, not {number}.")
    count = responder_class(protocol).default_cells if cells is None else cells

    def make_pack(seed: int) -> Pack:
        return Pack(
            chemistry=chemistry, cells=count, capacity=capacity, soc=soc, seed=seed, load=load,
            imbalance=imbalance, active=protocol.startswith("jk"),
        )  # fmt: skip

    responder: Node
    if len(addresses) > 1:
        packs = {number: make_pack(seed + number) for number in addresses}
        pack = packs[addresses[0]]
        responder = Bus.of(protocol, addresses, packs, firmware=firmware)
    else:
        pack = make_pack(seed)
        packs = dict.fromkeys(addresses, pack)
        responder = make_responder(
            protocol, pack, address=next(iter(packs), None), firmware=firmware
        )
    wire = WireFaults(pack, seed=seed, masters=bool(responder.other_request(0)))
    for fault in faults:
        wire.enable(fault)
    return SimDevice(pack, responder, wire, speed, packs)


class SimLine:
    """One client's line to a device: requests in, answers out, each in its time."""

    def __init__(
        self,
        device: SimDevice,
        deliver: Callable[[bytes], None],
        *,
        client_rate: Callable[[], int] | None = None,
        pace: bool = False,
    ) -> None:
        """`client_rate` tells the client's baud rate where it has one; `pace` gives every byte
        the time it needs at the device's baud rate."""
        self._device = device
        self._responder = device.responder.line()
        self._deliver = deliver
        self._rate = client_rate or (lambda: self._responder.baudrate)
        self._byte_time = 10 / self._responder.baudrate if pace else 0.0
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._stream_timer: asyncio.TimerHandle | None = None
        self._stream_due = self._loop.time()
        self._other_timer: asyncio.TimerHandle | None = None
        self._other_turn = 0
        device.tick()
        self._schedule_stream()
        self._schedule_other()

    def close(self) -> None:
        """Nothing is delivered any more."""
        for timer in (self._timer, self._stream_timer, self._other_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._stream_timer = self._other_timer = None
        self._waiting.clear()

    def receive(self, data: bytes) -> None:
        """Bytes from the client.

        A client at another baud rate is not understood: its requests change nothing. It gets the
        misread answer all the same, where a real device would mostly say nothing, because to see
        garbage is what it came for.
        """
        self._device.tick()
        now = self._loop.time()
        heard = self._device.faults.incoming(data, now)
        responder = self._responder
        if self._rate() != responder.baudrate:
            shared = self._device.pack.chemistry  # frozen, and not to be copied
            responder = copy.deepcopy(responder, {id(shared): shared})
        with self._device.lock:
            answers = hear(responder, heard) if heard else []
        self._send(data, answers)

    def _send(self, request: bytes, answers: list[Answer]) -> None:
        start = self._loop.time() + len(request) * self._byte_time
        for delay, data in self._device.faults.outgoing(request, answers):
            due = start + delay
            if self._waiting:  # a line is serial: what comes later cannot overtake
                due = max(due, self._waiting[-1][0])
            if not self._byte_time:
                self._waiting.append((due, data))
                continue
            for number, byte in enumerate(data, 1):
                self._waiting.append((due + number * self._byte_time, bytes([byte])))
        while len(self._waiting) > _MAX_WAITING:
            self._waiting.pop()
        self._arm()

    def _arm(self) -> None:
        if self._timer is None and self._waiting:
            self._timer = self._loop.call_at(self._waiting[0][0], self._deliver_due)

    def _deliver_due(self) -> None:
        self._timer = None
        limit = self._loop.time() + 1e-6  # timers may fire a clock tick early
        due = []
        while self._waiting and self._waiting[0][0] <= limit:
            due.append(self._waiting.popleft()[1])
        if self._byte_time:  # a late timer brings several bytes at once
            due = [b"".join(due)]
        for data in due:
            rate, own = self._rate(), self._responder.baudrate
            arrived = data if rate == own else uart_misread(data, own, rate)
            if arrived:
                self._deliver(arrived)
        self._arm()

    def _schedule_stream(self) -> None:
        period = self._responder.period
        if period is not None:
            self._stream_due = max(self._stream_due + period, self._loop.time())
            self._stream_timer = self._loop.call_at(self._stream_due, self._stream)

    def _stream(self) -> None:
        self._device.tick()
        with self._device.lock:
            pushed = speak(self._responder)
        if pushed:
            self._send(b"", pushed)
        self._schedule_stream()

    def _schedule_other(self) -> None:
        if self._responder.other_request(0):
            pause = self._device.faults.active.get("second_master", _LOOK)
            self._other_timer = self._loop.call_later(pause, self._other_asks)

    def _other_asks(self) -> None:
        """Another master's request comes by, and what the device answers to that."""
        if "second_master" in self._device.faults.active:
            self._device.tick()
            request = self._responder.other_request(self._other_turn)
            self._other_turn += 1
            answers = hear(self._responder, request)
            self._send(b"", [Answer(0.0, request), *answers])
        self._schedule_other()


class SimTransport(Transport):
    """A simulated pack in this process.

    Query keys: `cells`, `chemistry`, `capacity` (Ah), `soc` (%), `seed`, `speed` (seconds of the
    pack per second), `load`, `imbalance` (mV at the top), `firmware`, `address`, and `fault`
    (several: `fault=noise,late:0.2`); or `pack`, the name of one that this process has made
    (`bmslink.testing`).
    """

    def __init__(self, endpoint: Endpoint, device: SimDevice | None = None) -> None:
        """`device` is one that exists already, whatever the endpoint says."""
        query = endpoint.query
        if device is None and "pack" in query:
            device = _device_named(query["pack"])
        self.device = device or make_device(
            endpoint.protocol or "jk02",
            cells=endpoint.integer("cells"),
            chemistry=query.get("chemistry", "lfp"),
            capacity=endpoint.number("capacity", 100.0) or 0.0,
            soc=endpoint.number("soc", 60.0) or 0.0,
            seed=endpoint.integer("seed", 1) or 0,
            address=endpoint.integer("address"),
            firmware=query.get("firmware"),
            speed=endpoint.number("speed", 1.0) or 0.0,
            load=query.get("load", "cycle"),
            imbalance=endpoint.number("imbalance"),
            faults=[f for f in query.get("fault", "").split(",") if f],
        )
        self._line: SimLine | None = None

    @property
    def pack(self) -> Pack:
        """The pack itself, for those who want to compare or to stir."""
        return self.device.pack

    @property
    def pace(self) -> float:
        """Seconds of the pack per second here."""
        return self.device.speed

    def take_limits(self, line: Mapping[str, Any]) -> None:
        """Its charger obeys `cvl` (V) and `ccl` (A) for `ttl` s from now on, or until others come;
        after that it lets no current flow, until somebody says that nobody limits it."""
        device = self.device
        with device.lock:
            found = {name: float(line[name]) for name in ("cvl", "ccl")}
            device.pack.around.give_limits(found, min(86400.0, float(line["ttl"]) * device.speed))

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        del on_lost  # a pack in this process never hangs up
        await self.close()
        self.device.faults.sleep()
        self._line = SimLine(self.device, on_data)

    async def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    async def write(self, data: bytes) -> None:
        if self._line is None:
            raise LinkClosed("The simulated pack is not connected.")
        self._line.receive(data)
