"""The vendor apps' own writes: for the same change we send the same bytes.

Every write that was ever recorded is either made again by our own code, byte for byte, or stands
in `NEVER` with the reason why nothing of ours sends it. A new capture is tested without new code.
What may differ, by name: `PADDING`, `HOST`, `AT_ONCE`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import NamedTuple

import pytest

import goldens
from bmslink.device import connect
from bmslink.link.capture import open_capture
from bmslink.link.link import Frame
from bmslink.model import Adjustment, Command, Switch
from bmslink.protocols import load_driver
from bmslink.protocols.abilities import can_switch
from bmslink.protocols.common.rtu import RTUFrame
from bmslink.protocols.common.settings_map import Slot
from bmslink.protocols.daly.a5.codec import DalyFrame
from bmslink.protocols.daly.settings import WRITES
from bmslink.protocols.jbd.framing import JBDFrame
from bmslink.protocols.jbd.up.framing import UPFrame
from bmslink.protocols.jk.jk02.framing import JK02Frame
from bmslink.protocols.jk.nw.framing import JKNWFrame
from bmslink.settings.setting import Evidence, Setting, Value
from known_boards import BOARDS, Board, frame_by, met
from support import virtual_run

PADDING = ("jk02", "jk04")
"""The app leaves stale bytes between the value and the sum of these frames; ours are 0."""
HOST = ("daly-a5",)
"""Byte 1 is who asks: 40 over wires, 80 over Bluetooth. We send what the board answers to."""
AT_ONCE = {("daly-p81", 0x140)}
"""Several registers in one frame of the app; ours go one by one, so that each is read back."""

_CALIBRATES = "it calibrates: a wrong value falsifies every measurement"
_SECRET = "a PIN or a key; nothing that we do needs one"
_TOOL = "the vendor's tool writes its whole table blindly; this is not a user's to change"
_UNSEEN = "no answer was ever seen to hold it, so whether it took could not be told"

NEVER: Mapping[tuple[str, int], str] = {
    **dict.fromkeys([("jbd", register) for register in (0x14, 0x15, 0x16, 0x17)], _TOOL),
    **dict.fromkeys([("jbd", register) for register in (0x2E, 0x2F, 0x30)], _TOOL),
    **dict.fromkeys([("jbd", register) for register in (0x38, 0x39)], _TOOL),
    **dict.fromkeys([("jbd", register) for register in (0xA0, 0xA1, 0xA2)], _TOOL),
    **dict.fromkeys([("jbd", command) for command in (0x06, 0x09)], _SECRET),
    ("jbd", 0x2C): _CALIBRATES,
    ("jbd", 0x0A): "control commands: clear, sleep, storage; the recorded one was refused",
    ("jbd", 0xE3): "a reset; the recorded one was refused",
    **dict.fromkeys([("jbd-module", command) for command in (0x07, 0x15, 0x17)], _SECRET),
    ("jbd-up", 0x2006): "of this protocol nothing is written",
    ("daly-a5", 0xD8): "a question for what woke the board; as a write it tests the LEDs",
    ("jk02", 0xB5): "how long an emergency lasts stands in no record, so it could not be read back",
    ("jk04", 0x44): _CALIBRATES,
    ("jk-modbus", 0x1626): "it starts the boot loader, and nothing leads back",
    **dict.fromkeys([("jk-bus", trigger) for trigger in (0x161C, 0x161E, 0x1620)],
                    "no change but the question for a record; the driver's own tests have it"),
    ("daly-d2", 0xCF): "on other boards this register holds text",
    **dict.fromkeys([("daly-p81", register) for register in (0xF6, 0xF7)], _UNSEEN),
    ("daly-p81", 0x12E): "it closes the FETs past all protections",
}  # fmt: skip


class Write(NamedTuple):
    """A recorded write."""

    capture: str
    protocol: str
    address: int
    """Register, tag or command."""
    data: bytes
    frame: Frame

    @property
    def raw(self) -> bytes:
        return self.frame.raw


def write_of(frame: Frame) -> tuple[str, int, bytes] | None:
    """Family, address and value of a frame that changes something; `None` of a question."""
    if isinstance(frame, JBDFrame):
        family = "jbd-module" if frame.module else "jbd"
        changes = frame.module or frame.mark == 0x5A
        return (family, frame.code, frame.data) if changes else None
    if isinstance(frame, JK02Frame):
        changes = frame.command and frame.code not in (0x96, 0x97, 0xA1, 0xA7)
        return ("", frame.code, frame.data) if changes else None
    if isinstance(frame, JKNWFrame):
        changes = frame.command in (0x01, 0x02, 0x05)
        return ("", frame.data[0], frame.data[1:]) if changes else None
    if isinstance(frame, DalyFrame):
        return None if 0x50 <= frame.id <= 0x9F else ("", frame.id, frame.data)
    if isinstance(frame, UPFrame):
        return ("", frame.start, frame.data) if frame.function == 0x79 else None
    if isinstance(frame, RTUFrame) and frame.function in (0x05, 0x06, 0x0F, 0x10):
        one = frame.count.to_bytes(2, "big")
        return "", frame.register, one if frame.shape == "write" else frame.data
    return None


@cache
def recorded() -> list[Write]:
    """Every valid write in every capture."""
    found = []
    for path in goldens.captures():
        header, pieces = open_capture(path)
        for sent, frame in goldens.frames(header, [goldens.whole(header, p) for p in pieces]):
            write = write_of(frame) if sent else None
            if write is not None:
                family, address, data = write
                found.append(Write(path.stem, family or header.protocol, address, data, frame))
    return found


def boards_of(protocol: str) -> Iterator[Board]:
    yield from (board for board in BOARDS.values() if board.protocol == protocol)


# --------------------------------------------------------------------------------- reproducing


def other(setting: Setting, value: Value) -> Value:
    """A value that may be written as well, and is not this one."""
    if setting.kind == "switch":
        return not value
    if setting.kind == "choice":
        return next(word for word in setting.choices.values() if word != value)
    low, high = setting.minimum or 0.0, setting.maximum or 0.0
    return low if value != low else high


def by_setting(board: Board, slot: Slot, data: bytes) -> tuple[bytes, bytes] | None:
    """What a slot holds, and its bytes made by the change that leads to them: every value in it
    that can be written is first another one, and is then set."""
    rows = board.rows(slot)
    values = board.map.decode({slot.address: data})
    wanted = {row.key: values[row.key] for row in rows}
    if None in wanted.values():
        return None
    first = {row.key: other(row, wanted[row.key] or 0.0) for row in rows}
    before = board.map.encode({slot.address: data}, first)[slot.address]
    return before, board.map.encode({slot.address: before}, wanted)[slot.address]


def by_settings(write: Write) -> Iterator[bytes]:
    """What our settings road sends for the same change."""
    address = write.data and write.address
    if write.protocol == "daly-a5":
        address = WRITES.get(write.address, 0)
    for board in boards_of(write.protocol):
        for slot in board.slots():
            if slot.address == address and slot.layout.sizeof() == len(write.data):
                made = by_setting(board, slot, write.data)
                if made is not None:
                    held, data = made
                    unit = write.raw[0] if write.protocol == "jk-modbus" else None
                    yield frame_by(met(board.target, unit), board.map, slot, data, held)


def by_switching(write: Write) -> Iterator[bytes]:
    """What our switches, and whatever stands around settings, can send."""
    for board in boards_of(write.protocol):
        yield from bracketing(board.target)


@cache
def bracketing(target: str) -> frozenset[bytes]:
    """Every frame of the switches, both ways, and of the beginning and end of settings."""

    async def main() -> set[bytes]:
        found: set[bytes] = set()
        async with connect(target).board as device:
            found |= set(await device.rehearse([]))
            # leaving after reading only is another frame than leaving after writing
            with device.driver.collecting() as held:
                async with device.driver.settings.session(writing=False):
                    pass
            found |= set(held)
            for switch in (Switch.CHARGE, Switch.DISCHARGE):
                for on in (False, True):
                    if can_switch(device.driver, switch).supported:
                        command = Command(switch, on)
                        found |= set(await device.rehearse([], command=command))
                        await device.driver.perform(await device.driver.switches.command(command))
        return found

    return frozenset(virtual_run(main()))


def by_adjusting(write: Write) -> Iterator[bytes]:
    """What our clocks and states of charge send for the same moment and charge."""
    wish = adjustment_of(write)
    if wish is not None:
        driver = met(next(boards_of(write.protocol)).target)
        step = virtual_run(driver.clock_soc.command(wish))
        yield driver.make_framer().encode(step.frame)


def adjustment_of(write: Write) -> Adjustment | None:
    if (write.protocol, write.address) == ("jk02", 0x6C):  # seconds of standard time since 2020
        seconds = int.from_bytes(write.data, "little")
        since = time.mktime((2020, 1, 1, 0, 0, 0, 0, 0, 0)) + seconds
        return Adjustment(clock=datetime.fromtimestamp(since).astimezone())
    if (write.protocol, write.address) in (("daly-a5", 0x21), ("daly-d2", 0xD4)):
        year, *rest = write.data[:6]
        soc = int.from_bytes(write.data[6:], "big") / 10 if write.data[6:] else None
        return Adjustment(clock=datetime(2000 + year, *rest).astimezone(), soc=soc)
    return None


def same(write: Write, ours: bytes) -> bool:
    """The same bytes, but for what may differ."""
    theirs = write.raw
    if write.protocol in PADDING:
        value = 6 + theirs[5]
        sound = len(ours) == 20 and not any(ours[value:-1]) and sum(ours[:-1]) & 0xFF == ours[-1]
        return sound and ours[:value] == theirs[:value]
    if write.protocol in HOST:
        assert {ours[1], theirs[1]} <= {0x40, 0x80}
        ours, theirs = (raw[:1] + raw[2:-1] for raw in (ours, theirs))
    return ours == theirs


def pieces_of(write: Write) -> list[Write]:
    """A write of several registers as writes of one each."""
    if (write.protocol, write.address) not in AT_ONCE:
        return [write]
    pieces = []
    for at in range(0, len(write.data), 2):
        word = write.data[at : at + 2]
        frame = RTUFrame(
            unit=write.raw[0],
            function=6,
            shape="write",
            register=write.address + at // 2,
            count=int.from_bytes(word, "big"),
        )
        framer = load_driver(write.protocol).make_framer()
        (framed,) = framer.feed(framer.encode(frame))
        pieces.append(Write(write.capture, write.protocol, frame.register, word, framed))
    return pieces


def test_what_was_recorded_is_what_we_send() -> None:
    assert len(recorded()) > 280
    for write in recorded():
        try:
            recorded_is_what_we_send(write)
        except BaseException as error:
            error.add_note(f"in {write.capture}: {write.address:02X} {write.data.hex()[:16]}")
            raise


def recorded_is_what_we_send(write: Write) -> None:
    for piece in pieces_of(write):
        ours = {
            raw
            for road in (by_settings, by_switching, by_adjusting)
            for raw in road(piece)
            if same(piece, raw)
        }
        reason = NEVER.get((write.protocol, write.address))
        if reason:
            assert not ours, f"listed as never sent ({reason}), but it is"
        else:
            assert ours, "recorded, but nothing of ours sends it, and no reason says why"


def test_no_reason_is_left_for_what_nobody_recorded() -> None:
    assert NEVER.keys() <= {(w.protocol, w.address) for w in recorded()}
    assert {(w.protocol, w.address) for w in recorded()} >= AT_ONCE


def test_every_app_of_every_vendor_is_there() -> None:
    """The sessions that the proof stands on; a lost fixture must not go unnoticed."""
    writes = {w.capture for w in recorded()}
    assert writes >= {
        "sess-jk02-32s-pb-14.20-precharge",
        "sess-jk02-32s-b2a20s20p-11.288H-port-heating",
        "sess-jk02-32s-pb2a16s20p-15.41-heating",
        "sess-jk04-b2a16s-writes",
        "sess-jk04-b5a24s-8.0.3M-writes",
        "jbd-jakeler-dsview-bike2",
        "jbd-syssi-sp04s034-btsnoop-balancer-2",
        "jbd-syssi-sp04s034-btsnoop-mos-1",
        "daly-d2-mos-write",
        "daly-d2-balancer-btsnoop",
        "daly-p81-bmstool-writes",
        "daly-p81-app-writes",
        "daly-a5-uart-setrtcsoc-tx",
        "daly-a5-ble-mos-commands-tx",
        "jk-modbus-fc16-broadcast-switch",
        "nw-write-charge-on",
    }


def shown_by(write: Write, board: Board) -> Iterator[str]:
    """The settings of a board that a recorded write is evidence for: of function bits only those
    that change between recorded writes of one session."""
    for piece in pieces_of(write):
        for row in board.map.settings:
            if row.slot != piece.address or not row.writable:
                continue
            if row.bit is None or row.kind != "switch":
                yield row.key
                continue
            siblings = {
                w.data for w in recorded() if w[0] == write.capture and w.address == row.slot
            }
            held = {board.map.decode({row.slot: d})[row.key] for d in siblings}
            if len(held) == 2:
                yield row.key


@pytest.mark.parametrize("name", BOARDS)
def test_evidence_is_what_the_captures_hold(name: str) -> None:
    """`capture` stands at the settings whose write was recorded, and nowhere else."""
    board = BOARDS[name]
    writes = [w for w in recorded() if w.protocol == board.protocol]
    if name == "jk02-24s":  # every recorded session is of a 32S board
        writes = []
    found = {key for write in writes for key in shown_by(write, board)}
    claimed = {s.key for s in board.map.settings if s.evidence is Evidence.CAPTURE and s.writable}
    assert claimed == found
