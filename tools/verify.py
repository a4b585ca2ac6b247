"""Ask independent decoders about all captures (`make verify`; Python 3.12 or newer).

python tools/verify.py            writes tests/fixtures/independent.json
python tools/verify.py --check    fails where that file is stale, or a disagreement unexplained
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

from aiobmsble.bms import daly_bms, daren_bms, jbd_bms, jikong_bms
from bleak.backends.device import BLEDevice

import goldens
from bmslink.capture import CaptureHeader
from recorded_verdicts import RECORD, differs, live_frames, ours

Frames = list[tuple[int, bytes, Any]]

NAMES = {  # aiobmsble's names of the values that are compared: ours
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


def ask(peer: Any, answers: list[bytes]) -> dict[str, Any]:
    """What aiobmsble makes of the answers to its questions, through its own frame checks."""
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
    said = asyncio.run(peer._async_update())
    values = {mine: said[key] for key, mine in NAMES.items() if said.get(key) is not None}
    if said.get("cell_voltages"):
        values["cell_voltages"] = said["cell_voltages"]
    if said.get("temp_values"):
        values["temperatures"] = sorted(round(t.value, 3) for t in said["temp_values"])
    return values


def device() -> BLEDevice:
    """A peer wants one, and never opens it here."""
    return BLEDevice("00:11:22:33:44:55", "capture", {"path": "/none"})


def jk02(header: CaptureHeader, frames: Frames) -> Iterator[tuple[list[int], Any, list[bytes]]]:
    """One cell frame is one reading."""
    digits = header.firmware.partition(".")[0].rpartition("V")[2]
    newest = int(digits) if digits.isdigit() else 11
    for number, raw, record in frames:
        if raw[4] == 2:
            peer = jikong_bms.BMS(device())
            wide = record.values.get("variant", header.variant) != "24s"
            peer._sw_version = max(newest, 11) if wide else min(newest, 10)
            peer._prot_offset = 0 if wide else -32
            yield [number], peer, [raw]


def jbd(header: CaptureHeader, frames: Frames) -> Iterator[tuple[list[int], Any, list[bytes]]]:
    """Basic information, and the cells that follow it."""
    for place, (number, raw, record) in enumerate(frames):
        if raw[:2] == b"\xdd\x03":
            after = frames[place + 1 : place + 2]
            cells = [f for f in after if f[1][:2] == b"\xdd\x04"]
            daren = "soh" in record.values or header.variant == "daren"
            peer = (daren_bms if daren else jbd_bms).BMS(device())
            yield [number, *(c[0] for c in cells)], peer, [raw, *(c[1] for c in cells)]


def d2(_header: CaptureHeader, frames: Frames) -> Iterator[tuple[list[int], Any, list[bytes]]]:
    """62 registers from 0."""
    for number, raw, _record in frames:
        if raw[:3] == b"\xd2\x03\x7c":
            peer = daly_bms.BMS(device())
            peer._mos_avail = False
            yield [number], peer, [raw]


def p81(_header: CaptureHeader, frames: Frames) -> Iterator[tuple[list[int], Any, list[bytes]]]:
    """64 registers from 0, then 62 from 41."""
    for one, two in pairwise(frames):
        if one[1][:3] == b"\x51\x03\x80" and two[1][:3] == b"\x51\x03\x7c":
            peer = daly_bms.BMS(device())
            peer._proto = daly_bms.Proto.X81
            peer._mos_avail = False
            yield [one[0], two[0]], peer, [one[1], two[1]]


PEERS = {"jk02": jk02, "jbd": jbd, "daly-d2": d2, "daly-p81": p81}


def verdicts(path: Path) -> tuple[str, list[dict[str, Any]], list[str]]:
    """What the programs say of one capture, and where we differ without a known reason."""
    found = goldens.decode(path)
    header = found.header
    frames = list(live_frames(header, found.pieces)) if header.protocol in PEERS else []
    said: list[dict[str, Any]] = []
    doubts = []
    program = f"aiobmsble {version('aiobmsble')}"
    for numbers, peer, answers in PEERS[header.protocol](header, frames) if frames else ():
        try:
            values = ask(peer, answers)
        except (TimeoutError, ValueError, IndexError) as exc:
            print(f"{header.id}: {program} gives nothing: {exc}")
            continue
        said.append({"program": program, "frames": numbers, "values": values})
        mine = ours(header, [r for n, _, r in frames if n in numbers])
        doubts += [
            f"{header.id}: {program} says {key} = {theirs}, we say {mine.get(key)}"
            for key, theirs in values.items()
            if differs(header.protocol, key, theirs, mine.get(key))
        ]
    return header.id, said, doubts


def main(arguments: list[str]) -> int:
    """Write or check."""
    record: dict[str, Any] = {}
    doubts: list[str] = []
    for path in goldens.captures():
        name, said, more = verdicts(path)
        doubts += more
        if said:
            record[name] = said
    lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(record.items())]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    stale = not RECORD.exists() or RECORD.read_text() != text
    if stale and "--check" not in arguments:
        RECORD.write_text(text)
        stale = False
    print(*doubts, sep="\n")
    print(f"{len(record)} captures, {len(doubts)} unexplained disagreements")
    if stale:
        print(f"{RECORD.name} is not what the programs say: run tools/verify.py")
    return int(bool(doubts) or stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
