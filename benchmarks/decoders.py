"""The decode contests: the same captured frames through our decoder and through the peers.

Every contest says what work is compared. Beside it stands what we do on a live link, from bytes
to a `Reading`; most peers have nothing that could be compared with that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import peers
from bmslink.link.capture import open_capture
from bmslink.link.link import Frame, Framer
from bmslink.protocols import load_driver
from bmslink.protocols.base import Options
from bmslink.protocols.daly.a5.driver import read_request

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
CHUNK = 20
"""Bytes of a Bluetooth notification at the smallest packet size."""

Work = Callable[[], object]
Answers = dict[int, list[bytes]]
"""Id -> the frames that answer it."""


class Contest(NamedTuple):
    """Ours against peers that do the same work; `more` is what else we can do."""

    title: str
    ours: Work
    rivals: dict[str, Work]
    more: dict[str, Work]


class Ours:
    """Our decoder of one protocol, with the pieces as the transport would bring them."""

    def __init__(self, protocol: str, pieces: list[bytes], before: Sequence[bytes] = ()) -> None:
        """`before`: what the device said earlier, so that the codec knows its variant."""
        driver = load_driver(protocol)
        self.pieces = pieces
        self.codec: Any = driver.make_codec(Options())
        self.framer: Framer[Any] = driver.make_framer()
        for frame in self.frames(before):
            self.codec.decode(frame)
        self.known: list[Frame] = self.frames(pieces)
        records = self.records()
        if len(records) != len(self.known) or any(r.role != "reading" for r in records):
            raise ValueError(f"not every frame of this {protocol} contest is live data")

    def frames(self, pieces: Iterable[bytes]) -> list[Frame]:
        """Bytes to frames: framing and checksums only."""
        return [frame for piece in pieces for frame in self.framer.feed(piece)]

    def records(self) -> list[Any]:
        """Bytes to the values of all fields."""
        return [self.codec.decode(frame) for frame in self.frames(self.pieces)]

    def values(self) -> list[Any]:
        """The same for payloads that are already cut out and checked."""
        return [self.codec.decode(frame) for frame in self.known]

    def reading(self) -> object:
        """Bytes to the common vocabulary, with units, states and alarms: all that we do."""
        return self.codec.reading(self.records())

    def only_framing(self) -> object:
        """Bytes to frames, the same pieces."""
        return self.frames(self.pieces)


def frames_of(capture: str) -> list[bytes]:
    """The whole frames that came from the device."""
    _, pieces = open_capture(FIXTURES / f"{capture}.jsonl")
    return [p.data for p in pieces if p.checksum_ok and not p.sent]


def in_chunks(frame: bytes) -> list[bytes]:
    """A frame as it comes over Bluetooth."""
    return [frame[at : at + CHUNK] for at in range(0, len(frame), CHUNK)]


def jbd() -> list[Contest]:
    """03 + 04: bmstools gets payloads, so that is what is compared."""
    frames = frames_of("jbd/jbd-idx-gxbridge-4s")
    ours = Ours("jbd", frames)
    more: dict[str, Work] = {"bytes to reading": ours.reading, "framing only": ours.only_framing}
    return [
        Contest(
            "JBD 03 + 04: payloads to values",
            ours.values,
            peers.bmstools(frames),
            {},
        ),
        Contest(
            "JBD 03 + 04: bytes to values",
            ours.records,
            peers.bmstools_on_port(frames),
            more,
        ),
    ]


def daly() -> list[Contest]:
    """Each peer with the ids that it decodes."""
    answers: dict[int, list[bytes]] = {}
    for frame in frames_of("daly-a5/daly-a5-uart-14s-pctool-session"):
        answers.setdefault(frame[2], []).append(frame)
    del answers[0xD8], answers[0x96][1:]  # one sensor needs one frame; no peer reads a second
    everything = Ours("daly-a5", [b"".join(frames) for frames in answers.values()])
    more: dict[str, Work] = {
        "bytes to reading": everything.reading,
        "framing only": everything.only_framing,
    }
    return [
        *_daly({i: answers[i] for i in peers.DALYBMS_IDS}, peers.dalybms_on_port, peers.dalybms),
        *_daly(
            {i: answers[i] for i in peers.PYDALYBMS_IDS}, peers.pydalybms_on_port, peers.pydalybms
        ),
        Contest("Daly A5, all 13 frames: bytes to values", everything.records, {}, more),
    ]


def _daly(
    answers: Answers,
    on_port: Callable[..., peers.Rivals],
    without: Callable[[Answers], peers.Rivals],
) -> Iterator[Contest]:
    """Asked and decoded; decoded only, the peer's requests being ready; without framing."""
    ours = Ours("daly-a5", list(peers.joined(answers).values()))
    title = f"Daly A5, {sum(map(len, answers.values()))} frames"
    yield Contest(f"{title}: requests to values", _asking(ours, answers), on_port(answers), {})
    yield Contest(f"{title}: bytes to values", ours.records, on_port(answers, prepared=True), {})
    yield Contest(f"{title}: payloads to values", ours.values, without(answers), {})


def _asking(ours: Ours, answers: Answers) -> Work:
    """The same questions as the peer's, off the same port."""
    port = peers.Port(peers.joined(answers))

    def work() -> object:
        found = []
        for data_id in answers:
            port.write(ours.framer.encode(read_request(data_id)))
            found += [ours.codec.decode(frame) for frame in ours.framer.feed(port.read(4096))]
        return found

    return work


def jk() -> list[Contest]:
    """The 300-byte live record of a 32S board, in 15 notifications."""
    info, cells = frames_of("jk02/jk02-32s-pb2a16s15p-14.20-a")[:2]
    ours = Ours("jk02", in_chunks(cells), before=[info])
    whole = Ours("jk02", [cells], before=[info])
    return [
        Contest(
            "JK02 300 bytes: notifications to values",
            ours.records,
            peers.aiobmsble(in_chunks(cells)),
            {
                "bytes to reading": ours.reading,
                "in one piece": whole.records,
                "framing only": ours.only_framing,
            },
        )
    ]


def jk_nw() -> list[Contest]:
    """The read-all answer, for which no peer could be installed."""
    ours = Ours("jk-nw", frames_of("jk-nw/nw-14s-h6x-s6.1.3S"))
    more: dict[str, Work] = {"bytes to reading": ours.reading, "framing only": ours.only_framing}
    return [Contest("JK NW read-all: bytes to values", ours.records, {}, more)]


def contests() -> list[Contest]:
    """All of them."""
    return [*jk(), *daly(), *jbd(), *jk_nw()]
