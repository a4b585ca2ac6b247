"""JK (Jikong) `4E 57`: the tag/value protocol of the "GPS" UART port.

`4E 57 | length | terminal id | command | source | kind | tags and values | record | 68 00 00 | sum`

Big-endian throughout; the length counts itself and all that follows. One read-all answer holds
everything: live data, settings and identity. Facts and their evidence: `docs/protocols/jk-nw.md`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from bmslink.errors import FrameError
from bmslink.link.link import Link, Timing
from bmslink.model import Identity, Reading, Switch
from bmslink.protocols.base import Codec, Driver, Options, Payload, Record, Requester, Role
from bmslink.protocols.common.fields import (
    flag_or_raw,
    is_set,
    named_bits,
    open_wires,
    parse,
    sort_conditions,
    text,
    unnamed_bits,
)
from bmslink.protocols.common.settings_map import SettingsMap
from bmslink.protocols.jk.nw.framing import (
    COMMANDS,
    LOGIN,
    READ,
    READ_ALL,
    REPLY,
    REQUEST,
    UPLOAD,
    WRITE,
    JKNWFrame,
    JKNWFramer,
    read_all_request,
)
from bmslink.protocols.jk.nw.map import nw_map
from bmslink.protocols.jk.nw.tags import (
    ALARMS,
    CHEMISTRIES,
    PASSWORD,
    TAGS,
    WRITE_ONLY,
    body_layout,
    cell_voltages,
    current,
    name_halves,
    split,
    temperature,
    without_password,
)
from bmslink.protocols.jk.nw.writing import JKNWSettings
from bmslink.protocols.parts import Switches
from bmslink.protocols.probe import Probe, Turn

__all__ = ["JKNW", "JKNWCodec"]


# ---------------------------------------------------------------------------------- framing


# ---------------------------------------------------------------------------------- meaning

_TEMPERATURES = {
    "mosfet_temperature": "mosfet",
    # The document calls the probe of tag 81 "battery box", the vendor's example "balance board";
    # B boards have two equal probes on a cable.
    "box_temperature": "sensor_1",
    "battery_temperature": "sensor_2",
}
_ROLES: tuple[Role, ...] = ("reading", "settings", "identity")


def _has_tags(frame: JKNWFrame, *, sent: bool = False) -> bool:
    """Whether the data is a list of tags with values of known widths."""
    if sent or frame.kind == REQUEST:
        known = frame.command == WRITE and frame.data[:1] not in WRITE_ONLY
    else:
        known = frame.command in (READ, READ_ALL)
    return known and bool(frame.data)


class JKNWCodec(Codec[JKNWFrame]):
    """Meaning of `4E 57` frames. Remembers the protocol version, without which the current of
    a single-tag answer cannot be understood."""

    whole: ClassVar[frozenset[str]] = frozenset({"all"})

    names_of_board: ClassVar[frozenset[str]] = frozenset(
        {"device_id", "manufacturer_id", "password"}
    )

    def __init__(self, options: Options | None = None) -> None:
        self._negate_current = options is not None and options.current_sign == "inverted"
        self._version: int | None = None

    def payload(self, frame: JKNWFrame, *, sent: bool = False) -> Payload | None:
        if not _has_tags(frame, sent=sent):
            return None
        return Payload(body_layout(split(frame.data), len(frame.data)), frame.data)

    def decode(self, frame: JKNWFrame, *, sent: bool = False) -> Record:
        name = COMMANDS.get(frame.command)
        if name is None or frame.kind not in (REQUEST, REPLY, UPLOAD):
            raise FrameError(
                f"A frame of command {frame.command:02X} and kind {frame.kind:02X} is unknown.",
                frame.data,
            )
        if sent or frame.kind == REQUEST:
            return self._explain_request(name, frame)
        if not _has_tags(frame):  # what boards answer to a write or a password was never recorded
            return Record(name, "ack", {"length": len(frame.data)})
        tags = split(frame.data)
        parsed = parse(body_layout(tags, len(frame.data)), frame.data, "JK 4E57 data")
        # Cells and software version in one answer: the full list, whichever command it answers.
        # Without C0 in it, the board speaks version 0.
        whole = 0x79 in tags and 0xB7 in tags
        if whole:
            parsed.setdefault("protocol_version", 0)
        self._version = parsed.get("protocol_version", self._version)
        values = self._plain(parsed)
        if whole:
            # Live data, settings and identity in one frame: `values` holds them all.
            return Record("all", "reading", values, part="all")
        role = min((TAGS[tag].role for tag in tags), key=_ROLES.index)
        return Record("tags", role, values, part=tags.hex() if role == "reading" else None)

    def _explain_request(self, name: str, frame: JKNWFrame) -> Record:
        values: dict[str, Any] = {}
        if frame.command == READ:
            values["tags"] = [f"{tag:02X}" for tag in frame.data]
        elif frame.command == WRITE and frame.data[:1] in WRITE_ONLY:
            values[WRITE_ONLY[frame.data[:1]]] = without_password(frame.data)[1:].hex()
        elif (payload := self.payload(frame, sent=True)) is not None:
            values = self._plain(parse(payload.layout, payload.data, "JK 4E57 write"))
        return Record(name, "request", values)

    def _plain(self, parsed: Mapping[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {
            name: text(value) if isinstance(value, bytes) else value
            for name, value in parsed.items()
            if name != "password"
        }
        if "cells" in values:
            values["cell_voltages"] = cell_voltages(values.pop("cells"))
        for name in _TEMPERATURES:
            if name in values:
                word = values[name]
                values[name] = temperature(word)
                if values[name] is None:
                    values[f"{name}_word"] = word
        if "current_word" in values:
            word, version = values["current_word"], self._version
            amps = None if version is None else current(word, version)
            values["current"] = 0.0 - amps if amps is not None and self._negate_current else amps
        if "manufacturer_id" in parsed:
            values |= name_halves(parsed["manufacturer_id"])
        return values

    def reading(self, records: Sequence[Record]) -> Reading:
        values: dict[str, Any] = {}
        for record in records:
            values |= record.values
        return _reading(values, negate_current=self._negate_current)

    def identity(self, records: Sequence[Record]) -> Identity:
        values: dict[str, Any] = {}
        for record in records:
            if record.role != "request":
                values |= record.values
        hardware, firmware = _version(values.get("software_version", ""))
        name = values.get("device_name", "")
        version = values.get("protocol_version")
        return Identity(
            vendor="JK",
            # this half holds the Bluetooth name, which is the model until the owner changes it
            model=name if re.match(r"JK[_-]", name) else None,
            hardware=hardware,
            firmware=firmware,
            cell_count=values.get("string_count"),
            chemistry=CHEMISTRIES.get(values.get("jk_battery_type", -1)),
            protocol="jk-nw",
            variant=None if version is None else f"version {version}",
        )

    def scrub(self, frame: JKNWFrame) -> bytes | None:
        """The settings password is in every full answer, in 05 frames and in writes of it."""
        if frame.command == LOGIN:
            data = frame.data[:1] + bytes(max(0, len(frame.data) - 1))
        else:
            data = without_password(frame.data)
        return None if data == frame.data else JKNWFramer().encode(frame.replace(data=data))

    def scrub_noise(self, data: bytes) -> bytes:
        """In a damaged frame the password follows wherever its tag may be."""
        clean = bytearray(data)
        start = data.find(b"NW")
        at = data.find(PASSWORD, start) if start >= 0 else -1
        while at >= 0:
            end = min(at + 1 + TAGS[PASSWORD].layout.sizeof(), len(data))
            clean[at + 1 : end] = bytes(end - at - 1)
            at = data.find(PASSWORD, at + 1)
        return bytes(clean)


def _version(software: str) -> tuple[str | None, str | None]:
    """Hardware and firmware out of tag B7: `11.XW_S11.26___`, `H6.X__S6.1.3S__`."""
    match = re.fullmatch(r"H?(\d.*?)_+S(\d.*?)_*", software)
    return (match[1], match[2]) if match else (None, software or None)


def _reading(values: Mapping[str, Any], *, negate_current: bool) -> Reading:
    raw = _raw(values, negate_current=negate_current)
    # what is listed beyond the announced count is padding
    cells = tuple(values.get("cell_voltages", ()))[: values.get("string_count") or None]
    status, soc, minutes = (values.get(n) for n in ("status_word", "soc", "runtime_minutes"))
    state = [is_set(status, number) for number in range(3)]
    found = [item for meant in named_bits(values.get("alarm_word", 0), ALARMS) for item in meant]
    found += open_wires(cells)
    return Reading(
        protocol="jk-nw",
        voltage=values.get("voltage"),
        current=values.get("current"),
        # A board that has just started says SOC 0 and 0 cycles for about 16 s: passed on as sent.
        soc=None if soc is None else float(soc),
        cycles=values.get("cycles"),
        full_capacity=values.get("full_capacity") or None,  # 0 up to 10.x: not filled in
        nominal_capacity=values.get("nominal_capacity"),
        cycle_capacity=values.get("cycle_capacity"),
        cell_voltages=cells,
        temperatures={_TEMPERATURES[k]: values[k] for k in _TEMPERATURES if k in values},
        balancing_active=state[2],
        charge_switch=flag_or_raw(values, "charge_switch", raw),
        discharge_switch=flag_or_raw(values, "discharge_switch", raw),
        balance_switch=flag_or_raw(values, "balance_switch", raw),
        charging_allowed=state[0],
        discharging_allowed=state[1],
        uptime=None if minutes is None else minutes * 60.0,
        raw=raw,
        **sort_conditions(found, known="alarm_word" in values),
    )


def _raw(values: Mapping[str, Any], *, negate_current: bool) -> dict[str, Any]:
    """What has no common name, and all that was not understood."""
    raw: dict[str, Any] = {}
    if "current" in values:
        raw["current_sign"] = "inverted" if negate_current else "reported"
        if values["current"] is None:
            raw |= {"current_sign": "unknown", "current_word": values["current_word"]}
    for name in ("protocol_version", "temperature_sensors", *(f"{t}_word" for t in _TEMPERATURES)):
        if name in values:
            raw[name] = values[name]
    cells = len(values.get("cell_voltages", ()))
    if values.get("string_count", cells) != cells:
        raw["string_count"] = values["string_count"]
    for name, known in (("alarm", ALARMS), ("status", range(3))):
        left = unnamed_bits(values.get(f"{name}_word", 0), known)
        if left:
            raw[f"{name}_bits"] = left
    return raw


# ---------------------------------------------------------------------------------- driver


PROBE = Probe(
    protocols=("jk-nw",),
    question="read all",
    ask=lambda address: read_all_request(),
    fits=lambda asked, frame: (
        frame.kind == REPLY and frame.command == READ_ALL and bool(frame.data)
    ),
    within=0.2,  # boards take 26 to 100 ms
    turns=(Turn(115200, place=10), Turn(115200, place=60)),
    rank=10,
)


class JKNW(Driver[JKNWFrame]):
    """Asks for the whole list: one frame is the reading and the identity.

    The terminal id is 0 in every capture and no source uses it to tell boards apart, so
    `address` is not used.
    """

    name: ClassVar[str] = "jk-nw"
    vendor: ClassVar[str] = "jk"
    requests: ClassVar[Mapping[str, Requester]] = {"all": lambda address: read_all_request()}
    probes: ClassVar[tuple[Probe, ...]] = (PROBE,)
    responder: ClassVar[str] = "bmslink.simulation.boards.jk_nw:JKNWResponder"
    # Answers begin 26 to 100 ms after the request (93 ms in the vendor's own log) and take
    # 25 ms on the wire; others found 100 ms between frames necessary (docs/protocols/jk-nw.md).
    timing: ClassVar[Timing] = Timing(baudrate=115200, timeout=0.5, gap=0.1)
    no_clock_soc_reasons: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("clock", "soc"), "nobody has recorded this port setting it"
    )

    def __init__(self, link: Link[JKNWFrame], options: Options) -> None:
        super().__init__(link, options)
        self.settings = JKNWSettings(self._ask_all)
        self.switches = Switches(
            self.name,
            settable=(Switch.CHARGE, Switch.DISCHARGE),
            missing={Switch.BALANCE: "boards were seen ignoring it on this port"},
        )

    @classmethod
    def make_framer(cls) -> JKNWFramer:
        return JKNWFramer()

    @classmethod
    def make_codec(cls, options: Options) -> JKNWCodec:
        return JKNWCodec(options)

    @classmethod
    def every_map(cls) -> tuple[SettingsMap, ...]:
        return (nw_map(),)

    async def _ask_all(self) -> bytes:
        """The full list, as it came."""
        return (await self._answer()).data

    async def _all(self) -> Record:
        return self.codec.decode(await self._answer())

    async def _answer(self) -> JKNWFrame:
        def matches(frame: JKNWFrame) -> bool:
            return frame.kind == REPLY and frame.command == READ_ALL and bool(frame.data)

        return await self.link.request(read_all_request(), matches)

    async def identify(self) -> Identity:
        return self.codec.identity([await self._all()])

    async def read(self) -> Reading:
        return self.codec.reading([await self._all()])
