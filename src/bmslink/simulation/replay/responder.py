"""A recorded device for other programs: on a pseudo-terminal, on a TCP port, or on both.

Each client's line plays the recording for itself, from its beginning. A request gets the next
recorded answer to the same question; asked more often than it was recorded, the last one again.
A device that streams by itself plays on from the answer, in its recorded time.
"""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from bmslink.errors import TargetError
from bmslink.simulation.replay.recorded import Recording
from bmslink.simulation.responder import Answer, responder_class
from bmslink.simulation.serve import open_places

__all__ = ["Player", "RecordedLine", "serve_recording"]

_ANSWERING = 2.0
"""Bytes that come later than this after a request do not answer it, s."""
_UNTIMED = 0.02  # s before an answer whose delay was not recorded
_SKIP = 2
"""How often a question that this client asks too may be passed over on the way to another one:
a question that was recorded once an hour must not skip the hour."""
_MAX_SPEED = 1000.0
_MAX_WAITING = 1024  # pieces that wait for their time; a client that asks for more loses them
_MOST_REMARKS = 20

Tell = Callable[[str], None]


class Said(NamedTuple):
    """What a streaming device says: how long after what it said before, the bytes, and whether
    they are the last of a frame."""

    wait: float
    data: bytes
    ends: bool


class Player:
    """Plays a recording on one line. Pure: the time is passed in, the delays are recorded ones."""

    def __init__(
        self,
        recording: Recording,
        *,
        loop: bool = False,
        tell: Tell = lambda text: None,
        over: Callable[[], None] | None = None,
    ) -> None:
        """`over` is called where answers would come again, or a stream fall silent, instead."""
        self.recording = recording
        self.loop = loop
        self._tell = tell
        self._over = over
        self._given: dict[str, int] = {}
        self._told: set[str] = set()
        self._listener = recording.listener()
        self._period = responder_class(recording.protocol).period
        self._asked: dict[str, Sequence[int]] = {}  # what this client asks, with its places
        self._position = -1
        self._here = 0.0
        begins_alone = recording.tape.request_from(0) > 0
        self.start: int | None = 0 if self.streams and begins_alone else None
        """Where a streaming device is to go on; the player takes this and sets it to None."""

    def begin_at(self, seconds: float) -> None:
        """Begin in the middle of the recording; before anything is asked."""
        index = self.recording.tape.frame_at(seconds)
        if self.streams:
            self.start = index
        else:
            self._position = index - 1
        self._here = seconds

    @property
    def here(self) -> float:
        """The recorded time of what was said or asked last, s."""
        return self._here

    @property
    def streams(self) -> bool:
        """Whether this device speaks without being asked."""
        return self._period is not None

    def receive(self, data: bytes, now: float) -> list[Answer]:
        """Bytes from the client, cut anywhere; the answers they cause, in order."""
        answers: list[Answer] = []
        for frame, question in self._listener.hear(data, now):
            places = self.recording.places(frame, question)
            start = self._find(question, places)
            if start is not None:
                self._here = self.recording.tape.time(start) or self._here
            if start is not None:
                self._given[question] = start
            if not places:
                shown = self._listener.shown(frame)
                self._remark(f"Nothing is recorded that answers {shown}.")
            elif start is not None and self.streams:
                self.start = start
            elif start is not None:
                answers += islice(self._answer(start, question), _MAX_WAITING - len(answers))
        return answers

    def _find(self, question: str, places: Sequence[int]) -> int | None:
        """Where the answer to a question is: the next one from here on, if it is near."""
        if not places:
            return None
        others = [p for q, p in self._asked.items() if q != question]
        self._asked[question] = places
        following = bisect_right(places, self._position)
        at_end = following == len(places)
        start = places[0 if at_end else following]
        last = places[max(0, following - 1)]
        if at_end and self._over is not None and self._given.get(question) == last:
            if not self.streams:  # a stream goes on, and ends by itself
                self._over()
            return None
        wraps = self.streams or self.loop
        if self.streams or ((wraps or not at_end) and not self._far(others, start)):
            self._position = start
            return start
        if at_end and places[-1] == self._position:
            self._remark(
                "More is asked than was recorded: the last answers come again. --loop begins anew."
            )
        return last

    def _far(self, others: Sequence[Sequence[int]], start: int) -> bool:
        """Whether too much that this client asks too lies between here and there."""
        here = self._position
        for places in others:
            skipped = bisect_left(places, start) - bisect_right(places, here)
            if start <= here:  # round the end
                skipped += len(places)
            if skipped > _SKIP:
                return True
        return False

    def _answer(self, start: int, question: str) -> Iterator[Answer]:
        recording = self.recording
        clock = recording.tape.time(start - 1) if recording.has_requests else None
        due = 0.0 if clock is not None else _UNTIMED
        for time, data, _ in recording.answer(start, question):
            if time is not None:
                pause = 0.0 if clock is None else time - clock
                if pause > _ANSWERING:
                    return
                due, clock = due + pause, time
            yield Answer(due, data)

    def play(self, start: int) -> Iterator[Said]:
        """What a streaming device says from an index of the tape on."""
        tape = self.recording.tape
        pause = self._period or 0.0
        clock = tape.time(start - 1) if start and self.recording.has_requests else None
        wait = 0.0
        while True:
            for time, data, ends in tape.parts(start):
                if time is not None and clock is not None:
                    wait += time - clock
                clock = time
                self._here = self._here if time is None else time
                yield Said(wait, data, ends)
                wait = pause if ends and clock is None else 0.0
            if not self.loop:
                if self._over is not None:
                    self._over()
                self._remark("The recording is over: the device is silent. --loop begins anew.")
                return
            clock, wait = None, pause
            if not tape.says_from(start):
                start = 0  # nothing was said after that request

    def _remark(self, text: str) -> None:
        """Say something once."""
        if text not in self._told and len(self._told) < _MOST_REMARKS:
            self._told.add(text)
            self._tell(text)


class RecordedLine:
    """One client's line to a recorded device, in real time."""

    def __init__(
        self,
        player: Player,
        deliver: Callable[[bytes], None],
        *,
        speed: float = 1.0,
        client_rate: Callable[[], int] | None = None,
    ) -> None:
        del client_rate  # at which speed the recorded device spoke is not known
        self._player = player
        self._deliver = deliver
        self._speed = speed
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._stream_timer: asyncio.TimerHandle | None = None
        self._stream_due = 0.0
        self._saying: Iterator[Said] = iter(())
        self._inside = False  # of a frame that is said in several pieces
        self._go_on()

    def close(self) -> None:
        """Nothing is delivered any more."""
        for timer in (self._timer, self._stream_timer):
            if timer is not None:
                timer.cancel()
        self._waiting.clear()

    def receive(self, data: bytes) -> None:
        """Bytes from the client."""
        now = self._loop.time()
        earliest = max([now, *(due for due, _ in self._waiting)])
        for answer in self._player.receive(data, now):
            if len(self._waiting) < _MAX_WAITING:
                # a line is serial: what comes later cannot overtake
                due = max(earliest, now + answer.delay / self._speed)
                self._waiting.append((due, answer.data))
        self._arm()
        if not self._inside:
            self._go_on()

    def _arm(self) -> None:
        if self._timer is None and self._waiting:
            self._timer = self._loop.call_at(self._waiting[0][0], self._deliver_due)

    def _deliver_due(self) -> None:
        self._timer = None
        _, data = self._waiting.popleft()
        self._deliver(data)
        self._arm()

    def _go_on(self) -> None:
        """Stream from where the player wants it, if it wants a change."""
        if self._player.start is None:
            return
        if self._stream_timer is not None:
            self._stream_timer.cancel()
        self._saying = self._player.play(self._player.start)
        self._player.start = None
        self._stream_due = self._loop.time()
        self._say_next()

    def _say_next(self) -> None:
        said = next(self._saying, None)
        self._stream_timer = None
        if said is not None:
            self._stream_due += said.wait / self._speed
            self._stream_timer = self._loop.call_at(self._stream_due, self._say, said)

    def _say(self, said: Said) -> None:
        self._inside = not said.ends
        self._deliver(said.data)
        if said.ends and self._player.start is not None:
            self._go_on()
        else:
            self._say_next()


async def serve_recording(
    recording: Recording,
    *,
    pty: str | None = None,
    tcp: str | None = None,
    speed: float = 1.0,
    loop: bool = False,
    announce: Tell = lambda target: None,
    tell: Tell = lambda text: None,
) -> None:
    """Serve a recorded device until cancelled.

    `pty`, `tcp` and `announce` are those of `bmslink.simulation.serve.serve`; `speed` is recorded
    seconds per second, `loop` begins again at the end, `tell` gets remarks (the recording is over,
    a request that nothing answers). Raises `TargetError` for a speed or place that cannot be,
    `TransportError` for a port that cannot be opened.
    """
    if not 0 < speed <= _MAX_SPEED:
        raise TargetError(f"speed must be above 0 and at most {_MAX_SPEED:g}, not {speed:g}.")

    def open_line(
        deliver: Callable[[bytes], None], *, client_rate: Callable[[], int] | None = None
    ) -> RecordedLine:
        player = Player(recording, loop=loop, tell=tell)
        return RecordedLine(player, deliver, speed=speed, client_rate=client_rate)

    async with contextlib.AsyncExitStack() as stack:
        places = await open_places(stack, open_line, recording.protocol, pty=pty, tcp=tcp)
        for place in places:
            announce(str(place.with_query(address=recording.address)))
        await asyncio.Event().wait()
