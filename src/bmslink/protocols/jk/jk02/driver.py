"""JK (Jikong) JK02: the boards' own 300-byte records, for 24S and 32S boards.

Type 03 says who it is, 01 how it is set, 02 what it measures, twice a second once it was asked
for both; 05 and 06 are its logs. Framing: `framing`. Facts and their evidence:
`docs/protocols/jk02.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

from construct import Byte, Struct

from bmslink.errors import FrameError, LinkTimeout, TargetError
from bmslink.link.gatt import Advert
from bmslink.link.link import Link
from bmslink.model import Identity, Reading, Switch
from bmslink.past import BoardEvent, BoardPast
from bmslink.protocols.base import Codec, Options, Payload, Record, Requester
from bmslink.protocols.common.fields import Layout, build, is_set, parse, text
from bmslink.protocols.common.settings_map import SettingsMap
from bmslink.protocols.jk.jk02.framing import (
    ACK,
    CELLS,
    DETAILS,
    INFO,
    LOG,
    READ_DETAILS,
    READ_INFO,
    READ_LOG,
    SETTINGS,
    JK02Frame,
    JK02Framer,
    command,
    record,
)
from bmslink.protocols.jk.jk02.layouts import (
    CELL_INFO,
    DETAIL_ENTRIES,
    DETAIL_LOG,
    DEVICE_INFO,
    LOGBOOK,
    NAMES_OF_BOARD,
    PAYLOAD,
    SLOTS,
    cell_info_variant,
    device_variant,
    settings_variant,
)
from bmslink.protocols.jk.jk02.past import board_time, detail_events, logbook_events
from bmslink.protocols.jk.jk02.reading import (
    HAS_CLOCK,
    REMEMBERED,
    cell_count,
    chemistry,
    has,
    live_reading,
)
from bmslink.protocols.jk.jk02.stream import STREAM_TIMEOUT, JKStream
from bmslink.protocols.jk.jk02.writing import JK02Clock, JK02Settings
from bmslink.protocols.jk.map import TABLE_BYTES, jk_map
from bmslink.protocols.jk.radio import JK_ADVERTS
from bmslink.protocols.jk.settings import SETTINGS_LAYOUTS, plain_settings, write_layout
from bmslink.protocols.parts import Switches
from bmslink.protocols.probe import Probe, Turn

__all__ = ["JK02", "JK02Codec", "JK02Frame", "JK02Framer", "command", "record"]

# ---------------------------------------------------------------------------------- meaning

_KINDS = {SETTINGS: "settings", CELLS: "cells", INFO: "info", LOG: "logbook", DETAILS: "detail_log"}
_ACK_LAYOUT = Struct("status" / Byte)
# names, passwords and user data are set by these; which one sets what is not known
_PRIVATE_REGISTERS = frozenset({0x9B, 0x9C, 0x9E, 0x9F, 0xA0, 0xA2, 0xA4})
_INFO_TEXTS = {
    "vendor_id": "model",
    "hardware_version": "hardware",
    "software_version": "firmware",
    "serial_number": "serial_number",
    "name": "name",
    "first_power_on": "first_power_on",
}


_INFO_START = b"\x55\xaa\xeb\x90\x03"
_PUBLIC = 46  # the Bluetooth name begins here, and the passwords follow


class JK02Codec(Codec[JK02Frame]):
    """Meaning of JK02 frames.

    Remembers the variant, which only the device info (type 03) or a mask of connected cells
    proves, and the latest settings, which live values are completed with. `variant` is what is
    known beforehand; a frame that contradicts it is a `FrameError`.
    """

    whole: ClassVar[frozenset[str]] = frozenset({"cells"})
    names_of_board: ClassVar[frozenset[str]] = NAMES_OF_BOARD

    def __init__(self, variant: str | None = None, sign: str = "auto") -> None:
        if variant not in (None, *SLOTS):
            raise TargetError(f"Unknown variant {variant!r} of jk02; known: {', '.join(SLOTS)}.")
        self.variant = variant
        self._sign = sign
        self._settings: dict[str, Any] = {}
        self._model = ""

    def forget_settings(self) -> None:
        """What was read long ago is not what the board holds now."""
        self._settings = {}

    def _variant_of(self, frame: JK02Frame) -> str | None:
        """The variant after this frame; `FrameError` if it contradicts what is known."""
        if frame.code == SETTINGS:
            return settings_variant(frame.data, self.variant)
        if frame.code == CELLS:
            shown = cell_info_variant(frame.data)
        elif frame.code == INFO:
            shown = device_variant(frame.data[:15], frame.data[24:32])
        else:
            return self.variant
        if shown != self.variant and None not in (shown, self.variant):
            raise FrameError(
                f"This {_KINDS[frame.code]} record is of a {shown} board, known was "
                f"{self.variant}.",
                frame.data,
            )
        return shown or self.variant

    def _layout(self, frame: JK02Frame, variant: str | None) -> Layout:
        if frame.code == INFO:
            return DEVICE_INFO
        if frame.code in (LOG, DETAILS):
            return LOGBOOK if frame.code == LOG else DETAIL_LOG
        if variant is None:
            raise FrameError(
                "No cells are connected and no device info came before: 24S or 32S is not known.",
                frame.data,
            )
        return (SETTINGS_LAYOUTS if frame.code == SETTINGS else CELL_INFO)[variant]

    def payload(self, frame: JK02Frame, *, sent: bool = False) -> Payload | None:
        if not frame.command:
            return self._record_payload(frame)[0]
        if frame.code == ACK and not sent and len(frame.data) == 1:
            return Payload(_ACK_LAYOUT, frame.data)
        layout = write_layout(self.variant, frame.code, len(frame.data))
        return None if layout is None else Payload(layout, frame.data)

    def _record_payload(self, frame: JK02Frame) -> tuple[Payload, str | None]:
        if len(frame.data) != PAYLOAD or frame.code not in _KINDS:
            raise FrameError(
                f"A record of type {frame.code:02X} with {len(frame.data)} bytes is not known.",
                frame.data,
            )
        variant = self._variant_of(frame)
        return Payload(self._layout(frame, variant), frame.data), variant

    def decode(self, frame: JK02Frame, *, sent: bool = False) -> Record:
        if frame.command:
            return self._explain_command(frame, sent=sent)
        payload, variant = self._record_payload(frame)
        kind = _KINDS[frame.code]
        values = parse(payload.layout, payload.data, f"JK02 {kind} record")
        if frame.code == SETTINGS:
            # an empty table makes 24S likely, not certain: later frames may still say 32S
            self.variant = self.variant or (variant if variant == "32s" else None)
            values = plain_settings(values, str(variant))
            self._settings = {key: values[key] for key in REMEMBERED}
            return Record(kind, "settings", values)
        self.variant = variant
        if frame.code == INFO:
            self._model = text(values["vendor_id"])
            return Record(kind, "identity", _info(values) | {"variant": variant})
        if frame.code == CELLS:
            values |= {
                "variant": variant,
                "counter": frame.counter,
                "settings": self._settings,
                "model": self._model,
            }
            return Record(kind, "reading", values, part="cells")
        return Record(kind, "log", _log(values))

    def _explain_command(self, frame: JK02Frame, *, sent: bool) -> Record:
        if frame.code == ACK and not sent:
            return explain_ack(frame)
        values: dict[str, Any] = {"register": frame.code}
        payload = self.payload(frame, sent=sent)
        if payload is not None:
            values |= parse(payload.layout, payload.data, "JK02 write")
        elif frame.data and frame.code not in _PRIVATE_REGISTERS:
            values["data"] = frame.data.hex()
        return Record("write" if frame.data else "read", "request", values)

    def reading(self, records: Sequence[Record]) -> Reading:
        for live in reversed(records):
            if live.part == "cells":
                return live_reading(live.values, self._sign)
        return Reading(protocol="jk02")

    def identity(self, records: Sequence[Record]) -> Identity:
        result = Identity(vendor="JK", protocol="jk02", variant=self.variant)
        for found in sorted(records, key=lambda r: r.kind == "settings"):  # they know best
            values = found.values
            if found.kind == "info":
                texts = {k: values[k] for k in ("model", "hardware", "firmware", "serial_number")}
                result = replace(result, variant=values["variant"] or result.variant, **texts)
            elif found.kind == "cells":
                result = replace(
                    result,
                    cell_count=cell_count(values) or result.cell_count,
                    chemistry=chemistry(values),
                    variant=values["variant"],
                )
            elif found.kind == "settings":
                result = replace(result, cell_count=values["cell_count"] or result.cell_count)
        return result

    def scrub(self, frame: JK02Frame) -> bytes | None:
        """Both passwords and the passcode behind the serial number are blanked in type 03, and
        the values of registers that may set them."""
        if frame.command:
            if frame.code not in _PRIVATE_REGISTERS:
                return None
            return JK02Framer().encode(frame.replace(data=bytes(len(frame.data)), padding=b""))
        if frame.code != INFO:
            return None
        values = parse(DEVICE_INFO, frame.data, "JK02 info record")
        serial = values["serial_number"].split(b"\0")[0]
        blank = {"password": bytes(16), "settings_password": bytes(16)}
        values |= blank | {"serial_number": serial.ljust(16, b"\0")}
        clean = frame.replace(data=build(DEVICE_INFO, values, "JK02 info record"))
        return JK02Framer().encode(clean)

    def scrub_noise(self, data: bytes) -> bytes:
        """In a damaged type 03 nobody knows where the passwords have moved: all behind its
        model, hardware and software is blanked."""
        clean = bytearray(data)
        start = data.find(_INFO_START)
        while start >= 0:
            blank = clean[start + _PUBLIC : start + len(_INFO_START) + 1 + PAYLOAD + 1]
            clean[start + _PUBLIC : start + _PUBLIC + len(blank)] = bytes(len(blank))
            start = data.find(_INFO_START, start + 1)
        return bytes(clean)


def explain_ack(frame: JK02Frame) -> Record:
    """What a board answers to a command. Nothing but 01 was ever seen, so what a refusal looks
    like is not known."""
    done = frame.data == b"\x01"
    values = {"register": frame.code, "data": frame.data.hex()}
    return Record("ack" if done else "answer", "ack" if done else "other", values)


def _info(values: Mapping[str, Any]) -> dict[str, Any]:
    """A type 03 without its passwords."""
    info: dict[str, Any] = {to: text(values[key]) or None for key, to in _INFO_TEXTS.items()}
    return info | {"run_time": values["run_time"], "power_on_count": values["power_on_count"]}


def _log(values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that are used; a counter beyond the slots is kept, but not believed."""
    entries = values["entries"][: values["count"]]
    return {k: v for k, v in values.items() if not k.startswith("reserved")} | {"entries": entries}


# ---------------------------------------------------------------------------------- driver

PROBE = Probe(
    protocols=("jk02", "jk04"),
    question="device info, command 97",
    ask=lambda address: command(READ_INFO),
    fits=lambda asked, frame: not frame.command and frame.code == INFO,
    within=0.25,
    turns=(Turn(115200, place=30),),
    rank=13,
)


class JK02(JKStream):
    """A board of 24 or 32 cells."""

    name: ClassVar[str] = "jk02"
    radio_rank: ClassVar[int] = 10
    probes: ClassVar[tuple[Probe, ...]] = (PROBE,)
    responder: ClassVar[str] = "bmslink.simulation.boards.jk02:JK02Responder"
    adverts: ClassVar[tuple[Advert, ...]] = JK_ADVERTS
    requests: ClassVar[Mapping[str, Requester]] = {
        **JKStream.requests,
        "logbook": lambda address: command(READ_LOG),
        "detail_log": lambda address: command(READ_DETAILS),
    }
    past_missing: ClassVar[Mapping[str, str]] = {"counters": "JK boards keep logs, no counters"}

    def __init__(self, link: Link[JK02Frame], options: Options) -> None:
        super().__init__(link, options)
        self.settings = JK02Settings(self)
        self.switches = Switches(self.name, settable=Switch)
        self.clock_soc = JK02Clock(self)

    @classmethod
    def make_codec(cls, options: Options) -> Codec[JK02Frame]:
        return JK02Codec(options.variant, options.current_sign)

    @classmethod
    def every_map(cls) -> tuple[SettingsMap, ...]:
        return tuple(
            jk_map(each, None, b"\xff" * TABLE_BYTES, b"\xff" * 32) for each in ("24s", "32s")
        )

    # ------------------------------------------------------------------------------------ past

    async def past(self, limit: int, *, brief: bool = False) -> BoardPast:
        """The logbook, and the detail log, which takes up to half a minute: `brief` leaves it
        out. Each is asked for only where the board names it among its commands."""
        await self.meet()
        live = await self.live()
        now, uptime = self.link.received_at, int(live.values["uptime"])
        missing = {"logbook": self._lacks(READ_LOG), "detail_log": self._lacks(READ_DETAILS)}
        events: list[BoardEvent] = []
        samples: list[BoardEvent] = []
        if not missing["logbook"]:
            with self._silence(missing, "logbook"):
                book = self.codec.decode(await self._ask(READ_LOG, LOG, self.link.timing.retries))
                events += logbook_events(book.values["entries"], now, uptime)
        if brief:
            missing["detail_log"] = missing["detail_log"] or _NOT_NOW
        if not missing["detail_log"]:
            with self._silence(missing, "detail_log"):
                entries, missing["detail_log"] = await self._details()
                found, samples = detail_events(entries)
                events += found
        return self.past_of(
            self.codec.reading([live]),
            events=tuple(events),
            samples=tuple(samples),
            missing={name: why for name, why in missing.items() if why},
            clock=board_time(live.values["clock"]) if has(live.values, HAS_CLOCK) else None,
        )

    @staticmethod
    @contextmanager
    def _silence(missing: dict[str, str], log: str) -> Iterator[None]:
        """What a board does not answer, it does not have, or not now; the rest is asked for."""
        try:
            yield
        except LinkTimeout:
            missing[log] = "the board did not answer when it was asked for it"

    def _lacks(self, register: int) -> str:
        """Why a log is not asked for; empty where the board names its command."""
        info = parse(DEVICE_INFO, self.heard(INFO) or bytes(PAYLOAD), "JK02 info record")
        flags = int.from_bytes(info["command_flags"], "little")
        if not flags:
            return "not documented for boards that do not say which commands they take"
        return "" if is_set(flags, register) else "the board says that it does not have it"

    async def _details(self) -> tuple[list[Mapping[str, Any]], str]:
        """The entries of the detail log, and what is lost of it."""
        entries: dict[int, Mapping[str, Any]] = {}
        await self.link.send(command(READ_DETAILS))
        wait = STREAM_TIMEOUT
        while len(entries) < _MOST_DETAILS:
            try:
                frame = await self._next(DETAILS, wait)
            except LinkTimeout:
                if not entries:
                    raise
                break  # where their number is a multiple of 12, only silence ends it
            values, wait = self.codec.decode(frame).values, _DETAILS_PAUSE
            first = values["first"]
            new = {first + at: entry for at, entry in enumerate(values["entries"])}
            again = new.keys() <= entries.keys()
            entries |= new
            if again or len(new) < DETAIL_ENTRIES:
                break
        lost = max(entries, default=-1) + 1 - len(entries)
        why = f"{lost} entries were lost on the way: ask again" if lost else ""
        return [entries[number] for number in sorted(entries)], why


_NOT_NOW = "it takes up to half a minute, for which there is no time now"
_MOST_DETAILS = 1 << 16
_DETAILS_PAUSE = 2.0
"""s; between two records of the detail log come live records, every half second."""
