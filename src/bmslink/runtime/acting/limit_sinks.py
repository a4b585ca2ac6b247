"""What carries limits out while packs are enforced: JSON lines for a command, or for a function.

Each line counts for its ttl. The newest limits are said again every few seconds as long as who
decides them goes on; when that ends, nothing is said, and the limits end with it.
"""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from bmslink.control.act.sinks import TTL, LimitMessage, SinkState, directions_alive
from bmslink.control.decide.decision import Limits
from bmslink.control.sessions.wishes import ChargeWish, narrowed
from bmslink.errors import TargetError
from bmslink.jsonable import to_json

__all__ = ["CommandSink", "LimitSink", "LimitSinks", "LineSink"]

_EVERY = 2.0
"""s between two messages that say the same."""
_PATIENCE = 2.0
"""How long a command, or whoever reads a line, may take to accept it, s."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
"""s before a command that ended is started again."""


class LimitSink(Protocol):
    """One place that limits go to."""

    @property
    def state(self) -> SinkState:
        """How it is with it."""

    @property
    def trouble(self) -> str:
        """Why it carries nothing out, in a sentence; empty: nothing is known of that."""

    def give(self, line: dict[str, Any], now: float) -> None:
        """Send it soon; waits for nothing. `now` in s of the loop's clock."""

    async def run(self) -> None:
        """Until cancelled."""


class LineSink:
    """Gives each line to a function, such as one that prints it. Nothing answers."""

    def __init__(
        self,
        write: Callable[[dict[str, Any]], None],
        waiting: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`write` waits for nothing. `waiting` says for how long it has not got rid of a line, s:
        where that is long, the limits reach nobody."""
        self.state, self.trouble = SinkState(), ""
        self._write, self._waiting = write, waiting

    def give(self, line: dict[str, Any], now: float) -> None:
        """Write it."""
        try:
            self._write(line)
        except OSError:
            self.state = self.state.with_failure()
        else:
            stuck = self._waiting() > _PATIENCE
            self.trouble = "Nobody reads the lines of the limits." if stuck else ""
            self.state = self.state.with_failure() if stuck else self.state.with_sent(now)

    async def run(self) -> None:
        """There is nothing to do."""


class CommandSink:
    """A program that reads a line for each change of the limits. A line that it writes says that
    it hears; from the first one on it must go on to say so."""

    def __init__(self, command: str) -> None:
        """Raises `TargetError` for what is no command."""
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise TargetError(f"{command[:60]!r} is no command: {error}.") from None
        if not self._words:
            raise TargetError("The command for the limits is empty.")
        self.state = SinkState()
        self.trouble = ""
        """Why it does not run, in a sentence."""
        self._line: bytes = b""
        self._news = asyncio.Event()

    def give(self, line: dict[str, Any], now: float) -> None:
        """The newest line takes the place of one that waits."""
        self._line = f"{to_json(line)}\n".encode()
        self._news.set()

    async def run(self) -> None:
        """Start it, feed it, start it again when it ends; until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            begun = asyncio.get_running_loop().time()
            try:
                await self._serve()
            except OSError as error:
                self.trouble = f"{self._words[0]} does not run: {error.strerror or error}."
            self.state = self.state.with_failure()
            if asyncio.get_running_loop().time() - begun > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _serve(self) -> None:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*self._words, stdin=pipe, stdout=pipe)
        self.trouble = ""
        try:
            tasks = [
                asyncio.create_task(self._feed(process.stdin)),
                asyncio.create_task(self._listen(process.stdout)),
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            self.trouble = f"{self._words[0]} ended or takes no more lines."
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
            await process.wait()

    async def _feed(self, stdin: asyncio.StreamWriter | None) -> None:
        while stdin is not None:
            await self._news.wait()
            self._news.clear()
            stdin.write(self._line)
            async with asyncio.timeout(_PATIENCE):
                await stdin.drain()
            self.state = self.state.with_sent(asyncio.get_running_loop().time())

    async def _listen(self, stdout: asyncio.StreamReader | None) -> None:
        while stdout is not None and await stdout.read(1 << 12):
            self.state = self.state.with_ack(asyncio.get_running_loop().time())


class LimitSinks:
    """All sinks of one pack."""

    def __init__(
        self, sinks: Sequence[LimitSink] = (), about: dict[str, Any] | None = None
    ) -> None:
        """`about` is in every line."""
        self.sinks = tuple(sinks)
        self._about = dict(about or {})
        self._sequence = int(time.time())
        self._limits: Limits | None = None
        self._until = 0.0
        self._wish: ChargeWish | None = None
        self._wish_until = 0.0
        self._sent_at = -_EVERY

    def __bool__(self) -> bool:
        return bool(self.sinks)

    def alive(self, now: float) -> dict[str, bool]:
        """Direction -> whether what limits its current is alive, `now` in s of the loop's clock."""
        return directions_alive(self.states, now)

    @property
    def states(self) -> list[SinkState]:
        """How it is with each of them."""
        return [sink.state for sink in self.sinks]

    @property
    def trouble(self) -> str:
        """What is wrong with them, in sentences."""
        return " ".join(sink.trouble for sink in self.sinks if sink.trouble)

    def narrow(self, wish: ChargeWish | None, until: float) -> None:
        """Let what is published be no more than a balancing session wants, until a time of the
        loop's clock; `None`: the session is over."""
        self._wish, self._wish_until = wish, until

    def publish(self, limits: Limits, now: float, *, lasts: float) -> None:
        """These are in force now. They are said again for `lasts` s unless others come."""
        if now < self._wish_until:
            limits = narrowed(limits, self._wish)
        changed = self._limits is None or _values(limits) != _values(self._limits)
        self._limits, self._until = limits, now + lasts
        if changed or now - self._sent_at >= _EVERY:
            self._send(now)

    def end(self) -> None:
        """Say nothing more: what was said ends with its ttl."""
        self._limits = None

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for sink in self.sinks:
                group.create_task(sink.run())
            while self.sinks:
                await asyncio.sleep(_EVERY)
                now = asyncio.get_running_loop().time()
                if now < self._until and now - self._sent_at >= _EVERY:
                    self._send(now)

    def _send(self, now: float) -> None:
        if self._limits is None or not self.sinks:
            return
        self._sequence += 1
        self._sent_at = now
        message = LimitMessage.of(
            self._limits, sequence=self._sequence, time=round(time.time(), 3), ttl=TTL
        )
        line = {"schema": 1, **self._about, **message.to_dict()}
        for sink in self.sinks:
            sink.give(line, now)


def _values(limits: Limits) -> tuple[float, ...]:
    return limits.cvl.value, limits.ccl.value, limits.dcl.value, limits.dvl.value
