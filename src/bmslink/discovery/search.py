"""Finding out what hangs on one line: listen, then ask in the order of `discovery.probes`.

Nothing is sent where somebody else speaks, neither at the beginning nor when he begins later.
What was tried and what came instead of an answer is kept for people: silence, garbage, another
protocol, only the echo.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from bmslink.discovery.probe_line import Heard, Hit, ProbedLine, overheard
from bmslink.discovery.probes import GLITCH, LATE, LISTEN, PROBES, ROUND, ProbeStep
from bmslink.errors import LinkClosed
from bmslink.link.shared_line import shared
from bmslink.link.transport import Transport
from bmslink.protocols import load_driver
from bmslink.protocols.common.rtu import MODBUS_SHAPES, RTUFramer

__all__ = ["Survey", "survey"]

Tell = Callable[[str], None]
Opener = Callable[[int], Transport]
"""Makes the transport for a baud rate; 0: whatever the line has."""

_STRANGER = (
    "Bytes come unasked that no protocol here explains, so nothing was sent: another device or "
    "master speaks on this line, or nothing holds it at rest. Take the other one off, or name "
    "protocol and baud rate in the target to ask anyway."
)
_MASTER = (
    "Another master began to ask on this line, so the search was ended: take it off, or name "
    "protocol and address in the target."
)
_PUSHED = "it sends by itself and nobody was heard asking it, so nothing was sent"
_LISTENED = "somebody else speaks on this line, so nothing was sent"


@dataclass(slots=True)
class Survey:
    """What came of the search on one line."""

    hits: list[Hit] = field(default_factory=list)
    """The best to use first."""
    tried: list[str] = field(default_factory=list)
    why: str = ""
    """What stands in the way, where nothing was found; or a remark."""


@dataclass(slots=True)
class _Asked:
    """What came of the questions of one protocol at one speed."""

    addresses: dict[int | None, Heard] = field(default_factory=dict)
    times: dict[int | None, float] = field(default_factory=dict)
    """When each was asked last, loop time."""

    def hear(self, address: int | None, heard: Heard) -> None:
        """What came from an address; the most telling counts."""
        self.addresses[address] = max(self.addresses.get(address, heard), heard, key=_telling)

    def __str__(self) -> str:
        known = sorted(a for a in self.addresses if a is not None)
        span = (
            ""
            if not known
            else f" {known[0]}"
            if known[0] == known[-1]
            else (f" {known[0]}-{known[-1]}")
        )
        if span and None in self.addresses:
            span = f" plain and{span}"
        hits = sorted(a for a, heard in self.addresses.items() if heard == "hit" and a is not None)
        if "hit" in self.addresses.values():
            who = f" at {', '.join(map(str, hits))}" if hits and len(known) > 1 else ""
            return f"{span}: answered{who}"
        order = {"master": "another master", "other": "other frames", "garbage": "garbage"}
        order |= {"echo": "echo only", "silence": "silence"}
        return f"{span}: {next(w for kind, w in order.items() if kind in self.addresses.values())}"


@dataclass(slots=True)
class _Search:
    """One line, from the first listening to the last question."""

    place: str
    opener: Opener
    steps: Sequence[ProbeStep]
    thorough: bool
    patience: float
    tell: Tell
    result: Survey = field(default_factory=Survey)
    asked: dict[tuple[int, str], _Asked] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)

    async def run(self, listen: float) -> None:
        """Go through the speeds until something is found or stands in the way."""
        rates = list(dict.fromkeys(step.baudrate for step in self.steps))
        stranger = False
        for rate in rates:
            line = ProbedLine(shared(self.opener(rate)), rate, self.patience)
            try:
                await line.open()
                if stranger:  # at this speed it may make sense
                    self._learn(await self._listen(line, LISTEN), rate)
                elif rate == rates[0] and listen and await self._others_speak(line, listen):
                    stranger = True
                else:
                    await self._ask_all(line, [s for s in self.steps if s.baudrate == rate])
            finally:
                await line.close()
                self._note(rate)
            if self.result.hits or (self.result.why and not stranger):
                return

    async def _listen(self, line: ProbedLine, seconds: float) -> bytes:
        self.tell(f"{self.place}: listening{_at(line.baudrate)}")
        self.result.tried.append(f"listened{_at(line.baudrate)}")
        return await line.listen(seconds)

    async def _others_speak(self, line: ProbedLine, seconds: float) -> bool:
        """Whether the line is somebody else's; what he says may name the packs."""
        heard = await self._listen(line, seconds)
        if len(heard) <= GLITCH:
            return False
        heard += await line.listen(max(0.0, ROUND - seconds))
        self._learn(heard, line.baudrate)
        return True

    def _learn(self, heard: bytes, baudrate: int) -> None:
        self.result.hits = overheard(heard, baudrate)
        names = ", ".join(dict.fromkeys(hit.protocol for hit in self.result.hits))
        pushed = all(hit.pushes for hit in self.result.hits)
        self.result.why = _STRANGER if not names else _PUSHED if pushed else _LISTENED
        self.result.tried[-1] += (
            f": {len(heard)} bytes came unasked, {names or 'of no known protocol'}"
            if heard
            else ": silence"
        )

    async def _ask_all(self, line: ProbedLine, steps: Sequence[ProbeStep]) -> None:
        self.tell(f"{self.place}: asking{_at(line.baudrate)}")
        for step in steps:
            if await self._try(line, step):
                if self.result.why:
                    await self._overtaken(line)
                else:
                    await self._follow(line, step)
                return

    async def _overtaken(self, line: ProbedLine) -> None:
        """Another master came: what he says may name the packs."""
        known = {(hit.protocol, hit.address) for hit in self.result.hits}
        for hit in overheard(await self._listen(line, ROUND), line.baudrate):
            if (hit.protocol, hit.address) not in known:
                self.result.hits.append(hit)

    async def _try(self, line: ProbedLine, step: ProbeStep) -> bool:
        """Ask, if that may be asked; whether it ends the search."""
        probe, rate = step.probe, line.baudrate
        late = await line.quiet()
        # What follows a hit is still of who was hit, or of a master who will be heard again.
        self._belated(late, rate, strange=len(late) > GLITCH and not self.result.hits)
        if probe.after and not await self._stays_silent(line, probe.after, step.address):
            return False
        heard, hit, data = await line.ask(step)
        self._belated(data, rate, strange=heard == "garbage")
        asked = self.asked.setdefault((rate, probe.protocol), _Asked())
        asked.hear(step.address, heard)
        asked.times[step.address] = asyncio.get_running_loop().time()
        if heard == "master":
            self.result.why = _MASTER
        elif hit is not None:
            self._add(hit)
        elif heard in ("garbage", "other"):
            self.foreign |= {h.protocol for h in overheard(data, 0)} - {probe.protocol}
        return hit is not None or heard == "master"

    async def _stays_silent(self, line: ProbedLine, after: str, address: int | None) -> bool:
        """Whether an address was read and has not said a word, however late."""
        before = self.asked.get((line.baudrate, after))
        if before is None or address not in before.times:
            return False
        rest = before.times[address] + LATE - asyncio.get_running_loop().time()
        if rest > 0:
            late = await line.listen(rest) + await line.quiet()
            self._belated(late, line.baudrate, strange=bool(late))
        return before.addresses[address] in ("silence", "echo")

    def _belated(self, data: bytes, rate: int, *, strange: bool) -> None:
        """An answer may come when somebody else is asked already: whose it is, its unit says; of
        `strange` bytes without one it may be anybody's who was read lately."""
        framer = RTUFramer(MODBUS_SHAPES)
        frames = [*framer.feed(data), *framer.flush()]
        units = {frame.unit for frame in frames if frame.shape in ("data", "exception")}
        lately = asyncio.get_running_loop().time() - 2 * LATE  # bytes may have waited
        for probe in {step.probe.after for step in self.steps}:
            read = self.asked.get((rate, probe or ""), _Asked())
            for address, time in read.times.items():
                if address in units:
                    read.hear(address, "other")
                elif strange and not units and time >= lately:
                    read.hear(address, "garbage")

    async def _follow(self, line: ProbedLine, found: ProbeStep) -> None:
        """After a hit: the other dialects that such a board may speak, and the other addresses
        of its bus."""
        asked = {(name, a) for (_, name), done in self.asked.items() for a in done.addresses}
        same = [
            step
            for step in self.steps
            if step.baudrate == line.baudrate and (step.probe.protocol, step.address) not in asked
        ]
        driver = load_driver(found.probe.protocol)
        todo: dict[str, ProbeStep] = {}
        if driver.relatives == "always" or (self.thorough and driver.relatives == "thorough"):
            known = {name for name, _ in asked}
            for step in same:
                name = step.probe.protocol
                akin = load_driver(name).vendor == driver.vendor and step.probe.overhears
                if akin and name not in known:
                    todo.setdefault(name, step)
        others = list(todo.values())
        if self.thorough and (found.address is not None or found.probe.one_of_several):
            bus = (found.probe.protocol, found.probe.after)
            others += [step for step in same if step.probe.protocol in bus]
        for step in others:
            if await self._try(line, step) and self.result.why:
                await self._overtaken(line)
                return

    def _add(self, hit: Hit) -> None:
        self.result.hits.append(hit)
        self.result.hits.sort(key=lambda h: h.rank)
        where = "" if hit.address is None else f", address {hit.address}"
        self.tell(f"{self.place}: {hit.protocol}{_at(hit.baudrate)}{where} answers")

    def _note(self, rate: int) -> None:
        """What was tried at the speed that is done with."""
        done = [f"{name}{asked}" for (r, name), asked in self.asked.items() if r == rate]
        if done:
            self.result.tried.append(f"{_at(rate).strip() or 'asked'}: {', '.join(done)}")

    def only_address(self) -> str:
        """What to add to the reason where the target names an address, which may be why."""
        asked = {step.address for step in self.steps}
        if len(asked) > 1 or None in asked:
            return ""
        return f" Only address {asked.pop()} was asked (--address): without it, all are."

    def reason(self) -> str:
        """Why nothing was found, where all was asked in vain."""
        kinds = {
            (rate, kind) for (rate, _), a in self.asked.items() for kind in a.addresses.values()
        }
        garbled = sorted(rate for rate, kind in kinds if kind == "garbage")
        heard = {kind for _, kind in kinds}
        if self.foreign:
            names = ", ".join(sorted(self.foreign))
            return f"Another protocol: frames of {names} came, but no answer to its own question."
        if "other" in heard:
            return "Another protocol: valid frames came, but none that a known BMS would answer."
        if garbled:
            rates = " and ".join(f"{rate} baud" for rate in garbled if rate) or "this speed"
            return (
                f"Garbage at {rates}: another baud rate or protocol, or bad wiring. Try "
                "?baudrate=19200 or what the board is set to, and swap A and B."
            )
        if "echo" in heard:
            return "Echo only: the adapter hears itself, and no BMS answers. Check the wiring."
        return (
            "Silence: nothing answered. Is the BMS awake, wired (TX to RX, A to A) and its port "
            "switched on? It may have another address or baud rate."
        )


def _telling(heard: Heard) -> int:
    return ("silence", "echo", "garbage", "other", "master", "hit").index(heard)


def _at(baudrate: int) -> str:
    return f" at {baudrate} baud" if baudrate else ""


async def survey(
    place: str,
    opener: Opener,
    steps: Sequence[ProbeStep],
    *,
    listen: float = LISTEN,
    thorough: bool = True,
    patience: float = 0.0,
    within: float | None = None,
    tell: Tell = lambda text: None,
) -> Survey:
    """What hangs on a line. Raises what keeps it from being opened.

    `thorough` goes on after the first pack to the other addresses of its bus. `patience` is what
    the way to the line adds to each answer, s; after `within` s the search is ended.
    """
    search = _Search(place, opener, steps, thorough, patience, tell)
    result = search.result
    limit = asyncio.timeout(within)
    try:
        async with limit:
            await search.run(listen)
    except TimeoutError:
        if not limit.expired():
            raise
        if not result.hits:
            result.why = f"The search was ended after {within:g} s, before all was tried."
    except LinkClosed as error:
        if not result.hits:
            raise
        result.why = f"The line was lost before all was tried: {error}"
    if not result.hits and not result.why:
        result.why = search.reason() + search.only_address()
    hits = Counter(hit.protocol for hit in result.hits)
    several = {
        probe.protocol for probe in PROBES if probe.one_of_several and hits[probe.protocol] > 1
    }
    result.hits = [
        replace(hit, address=hit.speaker) if hit.protocol in several else hit for hit in result.hits
    ]
    return result
