"""A recording that may be given away: whose pack it is, is not in it.

Names, serial numbers and passwords are replaced in the frames themselves, the same one by the same
stand-in, and the checksums are made anew. Then the result is checked: it decodes as before but for
what was replaced, and nothing that was replaced is in the file in any form.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bmslink.app_values import agreeing
from bmslink.errors import CaptureError, FrameError
from bmslink.link.capture import CaptureHeader, Piece, lines_of
from bmslink.link.link import Frame
from bmslink.model import Reading
from bmslink.protocols import load_driver
from bmslink.protocols.base import Codec, Driver, Options, Record
from bmslink.protocols.common.fields import build, parse

__all__ = ["Contribution", "contribute"]

_PADDING = b"\0 \xff"
_SHORTEST = 4
"""Bytes; what is shorter is replaced where it is known to be, and looked for nowhere else."""
_HARMLESS = {
    b"Input Userdata",
    b"Input Us",
    b"JK-BMS",
    b"BMS",
    b"1234",
    b"123456",
    b"0000",
    b"000000",
}
"""What boards are shipped with."""
_MODEL = re.compile(rb"JK[-_][A-Z0-9]{4,14}$")
_READABLE = re.compile(rb"[ -~]{4,}")


@dataclass(slots=True)
class Contribution:
    """A recording without whose it is, and what came of checking it."""

    header: CaptureHeader
    pieces: list[Piece]
    replaced: tuple[str, ...]
    """Which fields were replaced."""
    agreeing: dict[str, bool] = field(default_factory=dict)
    """Whether some reading says what the app showed, by key."""

    def file(self) -> bytes:
        """The file."""
        return lines_of(self.header, self.pieces)


class StandIns:
    """Secrets and what stands in for them, of one recording."""

    def __init__(self, secrets: Iterable[str | bytes] = ()) -> None:
        self._key = os.urandom(32)
        self._known: dict[bytes, bytes] = {}
        for secret in secrets:
            if isinstance(secret, bytes):  # an address: all of it goes
                self._known[secret] = os.urandom(len(secret))
            else:
                self.of(secret.encode())

    @property
    def secrets(self) -> dict[bytes, bytes]:
        """Those that are long enough to be looked for -> their stand-ins."""
        return {old: new for old, new in self._known.items() if len(old) >= _SHORTEST}

    def of(self, value: bytes) -> bytes:
        """The stand-in of a field, of the same length and padding; a NUL parts two texts."""
        return b"\0".join(self._of_text(text) for text in value.split(b"\0"))

    def _of_text(self, text: bytes) -> bytes:
        core = text.strip(_PADDING)
        start = text.find(core)
        core = _MODEL.sub(b"", core)  # many are called by their model
        if not core.strip(_PADDING) or core in _HARMLESS or not _says_something(core):
            return text
        return text[:start] + self._of_core(core) + text[start + len(core) :]

    def named(self, value: Any) -> bool:
        """Whether a decoded value is one that was replaced, or holds one or a part of one."""
        text = value.hex() if isinstance(value, bytes) else value
        return isinstance(text, str) and any(
            secret in text or text in secret or old.hex() in text
            for old in self._known
            for secret in (old.decode("latin-1"),)
        )

    def _of_core(self, core: bytes) -> bytes:
        if core not in self._known:
            twin = _swapped(core)
            new = self._made(core)
            self._known[core] = new
            if twin != core:  # some frames have the bytes of each pair the other way round
                self._known.setdefault(twin, _swapped(new))
        return self._known[core]

    def _made(self, core: bytes) -> bytes:
        """Letters for letters, digits for digits."""
        for attempt in range(256):
            mixed = hmac.new(self._key, core + bytes([attempt]), hashlib.sha512).digest()
            new = bytes(_like(old, mixed[at % 64]) for at, old in enumerate(core))
            if new != core:
                return new
        return b"x" * len(core)


def _says_something(core: bytes) -> bool:
    return any(48 <= byte < 58 or 65 <= byte & 0xDF < 91 or byte > 127 for byte in core)


def _like(old: int, mixed: int) -> int:
    for first, count in ((48, 10), (65, 26), (97, 26)):
        if first <= old < first + count:
            return first + mixed % count
    return 120 if old > 127 else old


def _swapped(data: bytes) -> bytes:
    """The bytes of each pair the other way round; an odd last one stays."""
    whole = len(data) // 2 * 2
    swapped = bytearray(data)
    swapped[0:whole:2], swapped[1:whole:2] = data[1:whole:2], data[0:whole:2]
    return bytes(swapped)


# ------------------------------------------------------------------------------------- redaction


class _Flow:
    """The bytes of one direction, which pieces are cut from."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self.data = bytearray(b"".join(piece.data for piece in pieces))

    def put(self, offset: int, new: bytes) -> None:
        self.data[offset : offset + len(new)] = new


def contribute(
    header: CaptureHeader,
    pieces: list[Piece],
    *,
    shown: Mapping[str, str] | None = None,
    secrets: Iterable[str | bytes] = (),
) -> Contribution:
    """The recording without names, serial numbers and passwords; `secrets` are others that are
    known: addresses, the name of the pack. `shown` is what the vendor's app showed meanwhile.

    Raises `CaptureError` where it does not decode as before, or a secret is left: then nothing of
    it may be given away.
    """
    driver = load_driver(header.protocol)
    stand_ins = StandIns(secrets)
    streams = {sent: _Flow(p for p in pieces if p.sent == sent) for sent in (False, True)}
    replaced = _private_fields(driver, header, pieces, streams, stand_ins)
    _left_overs(driver, header, streams, stand_ins)
    clean = list(_cut_again(pieces, streams))
    _require_same(driver, header, pieces, clean, stand_ins)
    head = _head(header, driver, clean)
    found = Contribution(head, clean, tuple(replaced))
    _require_clean(found, stand_ins)
    if shown:
        found.agreeing = agreeing([each.to_dict() for each in _readings(header, clean)], shown)
        head.extra = {**head.extra, "shown": dict(shown)}
    return found


def _frames(driver: type[Driver[Any]], pieces: Iterable[Piece]) -> Iterator[tuple[bool, Frame]]:
    """The frames of a recording in order, each with whether it was sent."""
    framers = {sent: driver.make_framer() for sent in (False, True)}
    for piece in pieces:
        for frame in framers[piece.sent].feed(piece.data):
            if piece.sent:
                for ended in framers[False].expect(frame):
                    yield False, ended
            yield piece.sent, frame
    for sent, framer in framers.items():
        for frame in framer.flush():
            yield sent, frame


def _private_fields(
    driver: type[Driver[Any]],
    header: CaptureHeader,
    pieces: Iterable[Piece],
    streams: Mapping[bool, _Flow],
    stand_ins: StandIns,
) -> dict[str, None]:
    """Replace the fields that say whose board it is; gives back which those were."""
    codec = _codec(driver, header)
    replaced: dict[str, None] = {}
    for sent, frame in _frames(driver, pieces):
        found = frame
        scrubbed = codec.scrub(frame)
        if scrubbed is not None:
            again = driver.make_framer().feed(scrubbed)
            found = again[0] if again else frame
        try:
            payload = codec.payload(found, sent=sent)
            codec.decode(frame, sent=sent)
        except FrameError:
            continue
        if payload is None:
            if scrubbed is not None:
                streams[sent].put(frame.offset, scrubbed)
            continue
        values = parse(payload.layout, payload.data, "frame")
        for name in codec.private(found) & values.keys():
            new = stand_ins.of(values[name]) if isinstance(values[name], bytes) else values[name]
            if new != values[name]:
                replaced[name] = None
                values[name] = new
        data = build(payload.layout, values, "frame")
        if data != payload.data:
            found = _with_payload(found, payload.data, data)
        raw = driver.make_framer().encode(found)
        if len(raw) == len(frame.raw) and raw != frame.raw:
            streams[sent].put(frame.offset, raw)
    return replaced


def _with_payload(frame: Any, old: bytes, new: bytes) -> Any:
    """The frame with another payload, which is all of its data or a part of it."""
    return frame.replace(data=frame.data.replace(old, new, 1))


def _left_overs(
    driver: type[Driver[Any]],
    header: CaptureHeader,
    streams: Mapping[bool, _Flow],
    stand_ins: StandIns,
) -> None:
    """Secrets in frames that no layout explains, and all that can be read in what is no frame."""
    for stream in streams.values():
        framer = driver.make_framer()
        codec = _codec(driver, header)
        whole = bytes(stream.data)
        frames: list[Any] = [*framer.feed(whole), *framer.flush()]
        for frame in frames:
            data = getattr(frame, "data", b"")
            clean = _replaced(data, stand_ins.secrets)
            if clean != data:
                raw = framer.encode(frame.replace(data=clean))
                if len(raw) == len(frame.raw):
                    stream.put(frame.offset, raw)
        while framer.skipped:
            run = framer.skipped.popleft()
            noise = codec.scrub_noise(whole[run.offset : run.offset + run.length])
            blank = _READABLE.sub(lambda found: b"x" * len(found[0]), noise)
            stream.put(run.offset, _replaced(blank, stand_ins.secrets))


def _replaced(data: bytes, secrets: Mapping[bytes, bytes]) -> bytes:
    """The data with every secret in it replaced, the longest first."""
    for old in sorted(secrets, key=len, reverse=True):
        data = data.replace(old, secrets[old])
    return data


def _cut_again(pieces: Iterable[Piece], streams: Mapping[bool, _Flow]) -> Iterator[Piece]:
    """The pieces as they were cut, of the new bytes."""
    at = {False: 0, True: 0}
    for piece in pieces:
        start, size = at[piece.sent], len(piece.data)
        at[piece.sent] += size
        data = bytes(streams[piece.sent].data[start : start + size])
        yield Piece(t=piece.t, dir=piece.dir, hex=data.hex(), note=piece.note)


def _head(header: CaptureHeader, driver: type[Driver[Any]], pieces: list[Piece]) -> CaptureHeader:
    """What may be said of the board; nothing of where it is."""
    codec = _codec(driver, header)
    records = _records(codec, driver, pieces)
    live = [record for record in records if record.role in ("identity", "reading", "settings")]
    identity = codec.identity(live)
    model, firmware = identity.model or "", identity.firmware or ""
    name = re.sub(r"[^a-z0-9.]+", "-", f"{driver.name}-{model}-{firmware}".lower()).strip("-")
    scheme = header.target.partition("+")[2].partition("://")[0]
    return CaptureHeader(
        format=header.format,
        version=header.version,
        id=name,
        protocol=driver.name,
        variant=header.variant,
        hardware=identity.hardware or model,
        firmware=firmware,
        transport=scheme,
        started=header.started,
        source="contributed",
        edited="names, serial numbers and passwords replaced, checksums made anew",
    )


# ---------------------------------------------------------------------------------------- checks


def _codec(driver: type[Driver[Any]], header: CaptureHeader) -> Codec[Any]:
    return driver.make_codec(Options(variant=header.variant or None))


def _records(
    codec: Codec[Any], driver: type[Driver[Any]], pieces: Iterable[Piece]
) -> Iterator[Record]:
    for sent, frame in _frames(driver, pieces):
        try:
            yield codec.decode(frame, sent=sent)
        except FrameError:
            continue


def _readings(header: CaptureHeader, pieces: Iterable[Piece]) -> list[Reading]:
    from bmslink.decoding import explain_pieces

    return [e for e in explain_pieces(header, pieces) if isinstance(e, Reading)]


def _require_same(
    driver: type[Driver[Any]],
    header: CaptureHeader,
    before: list[Piece],
    after: list[Piece],
    stand_ins: StandIns,
) -> None:
    """`CaptureError` unless both decode alike, but for what names the board."""
    old = list(_records(_codec(driver, header), driver, before))
    new = list(_records(_codec(driver, header), driver, after))
    same = len(old) == len(new) and all(
        (a.kind, a.role, a.part) == (b.kind, b.role, b.part)
        and a.values.keys() == b.values.keys()
        and all(value == b.values[key] or stand_ins.named(value) for key, value in a.values.items())
        for a, b in zip(old, new, strict=True)
    )
    if not same or _readings(header, before) != _readings(header, after):
        raise CaptureError(
            "The recording does not decode as before once names and numbers are replaced: it was "
            "not written. Please report this, without the recording."
        )


def _require_clean(found: Contribution, stand_ins: StandIns) -> None:
    """`CaptureError` where a secret is left in any form."""
    text = found.file()
    flat = {
        sent: b"".join(p.data for p in found.pieces if p.sent == sent) for sent in (False, True)
    }
    for secret in stand_ins.secrets:
        forms = [
            secret,
            secret[::-1],
            _swapped(secret),
            secret.hex().encode(),
            secret.hex().upper().encode(),
        ]
        if any(form in data for form in forms for data in flat.values()) or secret in text:
            raise CaptureError(
                "Something that names this board is left in the recording after all was replaced: "
                "it was not written. Please report this, without the recording."
            )
