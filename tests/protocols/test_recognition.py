"""Bytes that nobody said the protocol of, or said a wrong one."""

from __future__ import annotations

import random

import pytest

import bmslink
from bmslink.errors import LinkTimeout
from bmslink.link.capture import open_capture
from bmslink.protocols import DRIVERS
from bmslink.protocols.recognition import recognise
from scripted import ScriptedTransport
from support import FIXTURES

STREAMS = {
    "jk02": "jk02/jk02-32s-pb2a16s15p-14.20-a.jsonl",
    "jk-nw": None,
    "jbd": None,
    "daly-d2": None,
    "daly-p81": None,
    "daly-a5": "daly-a5/daly-a5-mpp-16s-session.jsonl",
}


def heard(protocol: str) -> bytes:
    """What a board of this protocol said."""
    name = STREAMS[protocol]
    paths = [FIXTURES / name] if name else sorted((FIXTURES / protocol).glob("*.jsonl"))
    _, pieces = open_capture(paths[0])
    return b"".join(piece.data for piece in pieces if not piece.sent)


class Babble(ScriptedTransport):
    """A line on which something always comes, whatever is asked."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data

    def heard(self, data: bytes) -> None:
        self.deliver(self.data)


@pytest.mark.parametrize("asked", ["jbd", "daly-sinowealth"])
@pytest.mark.parametrize("spoken", STREAMS)
async def test_a_wrong_protocol_is_answered_with_the_right_one(asked, spoken, monkeypatch):
    if asked == spoken:
        return
    line = Babble(heard(spoken))
    monkeypatch.setattr("bmslink.connection.make_transport", lambda *args: line)

    with pytest.raises(LinkTimeout, match=f"frames of {spoken}, not of {asked}: write {spoken}[+]"):
        async with bmslink.connect(f"{asked}+tcp://192.0.2.1:1").board as device:
            await device.read()


def test_noise_is_no_protocol():
    for seed in range(20):
        noise = random.Random(seed).randbytes(2048)
        assert recognise(noise).explained * 2 < len(noise)


def test_every_protocol_is_looked_for():
    done = []
    assert recognise(b"", done.append).name == ""
    assert len(done) == len(DRIVERS)
