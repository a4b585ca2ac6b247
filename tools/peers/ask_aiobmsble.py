"""aiobmsble: JK, JBD, Daren, Daly D2 and P81 over Bluetooth, through its own frame checks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

from aiobmsble.basebms import crc_modbus
from aiobmsble.bms import daly_bms, daren_bms, jbd_bms, jikong_bms
from bleak.backends.device import BLEDevice

from answering import Capture, Frame, Question, main

NAMES = {
    "voltage": "voltage",
    "current": "current",
    "battery_level": "soc",
    "battery_health": "soh",
    "cycle_charge": "remaining_capacity",
    "design_capacity": "design_capacity",
    "cycles": "cycles",
    "chrg_mosfet": "charging_allowed",
    "dischrg_mosfet": "discharging_allowed",
    "balance_current": "balance_current",
    "heater": "heater",
}
WORDS = {
    "model": "model",
    "hw_version": "hardware",
    "sw_version": "firmware",
    "serial_number": "serial_number",
}
"""What it reads of who a board is."""


def answering(peer: Any, answers: list[bytes]) -> Any:
    """The peer, with the answers it gets to its questions."""
    left = list(answers)

    async def answer(*_args: object, **_options: object) -> None:
        peer._msg_event.clear()
        if not left:
            peer._msg = b""
            return
        peer._frame.clear()
        peer._notification_handler(None, bytearray(left.pop(0)))
        if not peer._msg_event.is_set():
            raise TimeoutError("aiobmsble refuses the frame")

    peer._await_msg = answer
    return peer


def live(peer: Any, answers: list[bytes]) -> dict[str, Any]:
    """What it makes of a reading."""
    said = asyncio.run(answering(peer, answers)._async_update())
    values = {mine: said[key] for key, mine in NAMES.items() if said.get(key) is not None}
    if said.get("cell_voltages"):
        values["cell_voltages"] = said["cell_voltages"]
    if said.get("temp_values"):
        values["temperatures"] = sorted(round(t.value, 3) for t in said["temp_values"])
    return values


def info(peer: Any, answers: list[bytes]) -> dict[str, Any]:
    """What it makes of who the board is."""
    said = asyncio.run(answering(peer, answers)._fetch_device_info())
    return {f"identity.{mine}": said[key] for key, mine in WORDS.items() if said.get(key)}


def device() -> BLEDevice:
    """A peer wants one, and never opens it here."""
    return BLEDevice("00:11:22:33:44:55", "capture", {"path": "/none"})


def of_jk02(capture: Capture) -> Iterator[Question]:
    """One cell frame is one reading."""
    digits = capture.firmware.partition(".")[0].rpartition("V")[2]
    newest = int(digits) if digits.isdigit() else 11
    for frame in capture.frames:
        peer: Any = jikong_bms.BMS(device())
        if frame.raw[4] == 2:
            wide = frame.variant != "24s"
            peer._sw_version = max(newest, 11) if wide else min(newest, 10)
            peer._prot_offset = 0 if wide else -32
            yield one(peer, frame, live)
        elif frame.raw[4] == 3:
            yield one(peer, frame, info)


def one(peer: Any, frame: Frame, how: Any) -> Question:
    """A question that one frame answers."""
    return Question((frame,), partial(how, peer, [frame.raw]))


def of_jbd(capture: Capture) -> Iterator[Question]:
    """Basic information, and the cells that follow it."""
    for place, frame in enumerate(capture.frames):
        if frame.raw[:2] == b"\xdd\x03":
            after = [f for f in capture.frames[place + 1 : place + 2] if f.raw[:2] == b"\xdd\x04"]
            peer = (daren_bms if frame.variant == "daren" else jbd_bms).BMS(device())
            asked = (frame, *after)
            yield Question(asked, partial(live, peer, [f.raw for f in asked]))


def of_d2(capture: Capture) -> Iterator[Question]:
    """62 registers from 0; of a longer answer the first 62, because it asks for no more."""
    for frame in capture.frames:
        if frame.raw[:3] == b"\xd2\x03\x40":
            yield one(daly_bms.BMS(device()), frame, info)
        elif frame.raw[:2] == b"\xd2\x03" and frame.raw[2] >= 124:
            peer: Any = daly_bms.BMS(device())
            peer._mos_avail = False
            raw = frame.raw
            if raw[2] > 124:
                raw = raw[:2] + b"\x7c" + raw[3:127]
                raw += crc_modbus(raw).to_bytes(2, "little")
            yield Question((frame,), partial(live, peer, [raw]))


def of_p81(capture: Capture) -> Iterator[Question]:
    """64 registers from 0, then 62 from 41; the identity."""
    for frame in capture.frames:
        if frame.raw[:3] == b"\x51\x03\x94":
            board: Any = daly_bms.BMS(device())
            board._proto = daly_bms.Proto.X81
            yield one(board, frame, info)
    for first, second in pairwise(capture.frames):
        if first.raw[:3] == b"\x51\x03\x80" and second.raw[:3] == b"\x51\x03\x7c":
            peer: Any = daly_bms.BMS(device())
            peer._proto = daly_bms.Proto.X81
            peer._mos_avail = False
            raws = [first.raw, second.raw]
            yield Question((first, second), partial(live, peer, raws))


PROTOCOLS = {"jk02": of_jk02, "jbd": of_jbd, "daly-d2": of_d2, "daly-p81": of_p81}


def questions(capture: Capture) -> Iterator[Question]:
    """All that it can be asked about a capture."""
    if capture.protocol in PROTOCOLS:
        yield from PROTOCOLS[capture.protocol](capture)


if __name__ == "__main__":
    main("aiobmsble", questions, (TimeoutError, ValueError, IndexError))
