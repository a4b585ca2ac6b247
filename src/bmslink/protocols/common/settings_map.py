"""Settings on the wire: what is read and written at once, and the map of one board's settings.

A `Slot` is the smallest thing that can be written: a JBD or Daly register, a JK register, the eight
bytes behind a Daly A5 id. Its raw bytes are the truth: a plan compares them, a backup keeps them,
so that a factory value outside our limits can still be restored. `Slot.encode` makes the bytes that
are written; `check_writable`, the last function before the wire, believes none of its callers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

from bmslink.errors import LinkTimeout, SettingError, UsageError
from bmslink.link.link import Frame
from bmslink.model import Switch
from bmslink.protocols.common.fields import Layout, build, fields_of, flag, is_set, parse
from bmslink.settings.nearest import or_nearest
from bmslink.settings.setting import Setting, Value

__all__ = [
    "RawSettings",
    "Recomputed",
    "SeenSettings",
    "SettingsMap",
    "SettingsSnapshot",
    "Slot",
    "WriteCommand",
    "check_writable",
    "proof",
    "silence_means_absent",
    "some_of",
]

F = TypeVar("F", bound=Frame)

RawSettings = Mapping[int, bytes]
"""Slot address -> raw bytes; what the board does not have is absent."""


_MEANINGLESS = ("reserved", "residue")


def _zero(value: Any) -> Any:
    return bytes(len(value)) if isinstance(value, bytes) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What is written at once."""

    address: int
    layout: Layout
    """A Struct with a name for each of its bytes; `reserved…` and `residue` mean nothing."""

    def values(self, raw: bytes) -> dict[str, Any]:
        """Its fields; `FrameError` if the bytes do not fit."""
        return parse(self.layout, raw, f"setting {self.address:02X}")

    def clean(self, raw: bytes) -> bytes:
        """The bytes with what means nothing set to 0: what is written, and what is compared."""
        values = self.values(raw)
        blank = {k: _zero(v) for k, v in values.items() if k.startswith(_MEANINGLESS)}
        return build(self.layout, values | blank, f"setting {self.address:02X}")

    def encode(self, raw: bytes, changes: Mapping[str, Any]) -> bytes:
        """The bytes with some fields changed; all others stay as they are in `raw`."""
        names = {name for name, _ in fields_of(self.layout)}
        if unknown := changes.keys() - names:
            raise SettingError(f"Setting {self.address:02X} has no field {', '.join(unknown)}.")
        return self.clean(build(self.layout, {**self.values(raw), **changes}, "setting"))


class Proof(NamedTuple):
    """How well a map is known for a firmware."""

    evidence: str
    """In one sentence."""
    untested_reason: str
    """Why it is written with `--untested` only; empty where it is proven."""


def proof(firmware: str | None, seen: str, page: str, what: str = "") -> Proof:
    """Of a firmware that was recorded (`seen` says what of it) or never was, with its `what`;
    `page` is the page of docs/protocols."""
    if seen:
        return Proof(f"Firmware {firmware}: {seen} (docs/protocols/{page}.md).", "")
    its, these = (f" with its {what}", f" with these {what}") if what else ("", "")
    return Proof(
        f"Firmware {firmware or 'unknown'} was never recorded{its}.",
        f"its firmware was never recorded{these}",
    )


@contextmanager
def silence_means_absent() -> Iterator[None]:
    """Around a question for settings: with silence some boards say that they do not have them.

    Anything else that keeps an answer away is an error as everywhere.
    """
    try:
        yield
    except LinkTimeout as error:
        if error.heard != "silence":
            raise


def some_of(slots: Collection[Slot], found: dict[int, bytes]) -> dict[int, bytes]:
    """What was found of slots; `LinkTimeout` where it is nothing of any."""
    if slots and not found:
        raise LinkTimeout("The board answers for none of its settings.")
    return found


class SeenSettings:
    """The raw bytes that a driver itself read from its board: what may be written back to it."""

    _KEPT = 16
    """Per slot: more than one change and its way back bring."""

    def __init__(self) -> None:
        self._read: dict[int, dict[bytes, None]] = {}
        self._vouched: dict[int, bytes] = {}

    def add(self, image: RawSettings) -> None:
        """Remember what was just read."""
        for address, raw in image.items():
            kept = self._read.setdefault(address, {})
            kept.pop(raw, None)
            kept[raw] = None
            if len(kept) > self._KEPT:
                del kept[next(iter(kept))]

    @contextmanager
    def vouching(self, image: RawSettings) -> Iterator[None]:
        """Values that may be written back although they were not read in this session: by the
        journal they were in this board, or somebody waived their limits by name.

        It lifts the limits of what may be set, and opens nothing that may not.
        """
        before, self._vouched = self._vouched, {**self._vouched, **image}
        try:
            yield
        finally:
            self._vouched = before

    def latest(self, address: int) -> bytes | None:
        """What a slot held when it was last read."""
        kept = self._read.get(address)
        return next(reversed(kept)) if kept else None

    def all(self, address: int) -> list[bytes]:
        """Everything that a slot may be set back to."""
        vouched = self._vouched.get(address)
        return [*self._read.get(address, ()), *(() if vouched is None else (vouched,))]


def check_writable(shipped: SettingsMap, address: int, data: bytes, seen: SeenSettings) -> None:
    """`SettingError` unless these bytes may be written to this slot of a board.

    Every driver asks this before it makes a frame, with the table that it found itself, whatever
    table, slot or plan the caller has: what calibrates, erases, locks or flashes is in no such
    table. A field that may be set holds a value within its limits, or one that the board held
    before; every other field and bit is what the board holds now.
    """
    slot = shipped.by_address.get(address)
    rows = [row for row in shipped.settings if row.slot == address]
    if slot is None or not any(row.writable for row in rows):
        raise SettingError(f"Setting {address:02X} is not one that is ever written.")
    if shipped.read_only_reason:
        raise SettingError(f"Setting {address:02X} is read-only: {shipped.read_only_reason}.")
    size = slot.layout.sizeof()
    if len(data) != size:
        raise SettingError(f"Setting {address:02X} is {size} bytes long, not {len(data)}.")
    if slot.clean(data) != data:
        raise SettingError(f"Setting {address:02X}: bytes without a meaning must be 0.")
    latest = seen.latest(address)
    now = slot.values(latest) if latest is not None and len(latest) == size else {}
    before = [slot.values(raw) for raw in seen.all(address) if len(raw) == size]
    for name, value in slot.values(data).items():
        if not name.startswith(_MEANINGLESS):
            own = [row for row in rows if row.field == name and row.writable]
            _check_field(own, name, value, now.get(name), [values[name] for values in before])


def _check_field(rows: list[Setting], name: str, value: Any, now: Any, before: list[Any]) -> None:
    """One field of a slot; `rows` are the settings in it that may be written."""
    bits = [row.bit for row in rows if row.bit is not None]
    if bits or not rows:
        mask = sum(1 << bit for bit in bits)
        same = now is not None and (
            not (int(now) ^ int(value)) & ~mask if bits else bool(now == value)
        )
        if not same:
            raise SettingError(
                f"{name} may not be written beside what is set: it stays as it was read from this "
                "board."
            )
    elif value not in before or rows[0].kind == "switch":  # on or off, whatever it was read as
        rows[0].check(_plain(rows[0], value))


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteCommand(Generic[F]):
    """One frame that changes something, and the frame that acknowledges it."""

    frame: F
    answer: Callable[[F], bool] | None
    """What acknowledges it; `None`: nothing ever does."""
    what: str
    """In words, for plans and journals."""
    others: Mapping[Switch, bool] = field(default_factory=dict)
    """Other switches that the same frame sets, and how."""
    doubt: str = ""
    """What of `others` is a guess, in a sentence; empty where nothing is."""
    once: bool = False
    """It is sent once: by the time of a repetition another board may hear it."""
    urgent: bool = False
    """It goes out before all questions that wait, in the middle of somebody else's."""
    leaving: Callable[[], None] | None = None
    """Called when its first byte is about to go out."""


class Recomputed(NamedTuple):
    """What a board makes of another setting, by itself, when one is written."""

    key: str
    """The setting that it changes."""
    factor: float = 1.0
    offset: float = 0.0
    """It becomes the written value times the factor, plus this; in its unit."""


@dataclass(frozen=True, kw_only=True)
class SettingsMap:
    """The settings of one kind of board with one kind of firmware."""

    name: str
    """Names the map in backups and journals (`jbd-classic`)."""
    evidence: str
    """How well it is known, in one sentence."""
    slots: tuple[Slot, ...]
    settings: tuple[Setting, ...]
    read_only_reason: str = ""
    """Why nothing of it may be written; empty where it may."""
    untested_reason: str = ""
    """Why it is written with `--untested` only; empty where it is proven for this firmware."""
    balancer: bool = False
    """The board only balances: it measures no current and trips nothing."""
    recomputed: Mapping[str, Recomputed] = field(default_factory=dict)
    """Setting -> what the board makes of another one by itself when it is written."""
    chemistries: frozenset[str] = frozenset()
    """What a board can say of its cells, where it has no word for some; empty: for all."""

    @cached_property
    def related(self) -> Mapping[int, tuple[int, ...]]:
        """Slots that the board recomputes by itself when the slot is written."""
        return {
            self.by_key[key].slot: (self.by_key[each.key].slot,)
            for key, each in self.recomputed.items()
            if key in self.by_key and each.key in self.by_key
        }

    @cached_property
    def by_key(self) -> Mapping[str, Setting]:
        """The rows by their keys."""
        return {setting.key: setting for setting in self.settings}

    @cached_property
    def by_address(self) -> Mapping[int, Slot]:
        """The slots by their addresses."""
        return {slot.address: slot for slot in self.slots}

    def setting(self, key: str) -> Setting:
        """The row of a key; `SettingError` if this board has none."""
        found = self.by_key.get(key)
        if found is None:
            ask = or_nearest(key, self.by_key) or " `bmslink settings show` lists those it has."
            raise UsageError(f"This board ({self.name}) has no setting {key!r}.{ask}")
        return found

    def only(self, keys: Collection[str]) -> SettingsMap:
        """The same map with these settings alone, and the slots that hold them."""
        rows = tuple(row for row in self.settings if row.key in keys)
        held = {row.slot for row in rows}
        slots = tuple(slot for slot in self.slots if slot.address in held)
        return replace(self, slots=slots, settings=rows)

    def decode(self, image: RawSettings) -> dict[str, Value | None]:
        """Every setting's value; `None` where the board does not have it or it makes no sense."""
        fields = {
            address: slot.values(image[address])
            for address, slot in self.by_address.items()
            if address in image
        }
        return {s.key: _plain(s, fields.get(s.slot, {}).get(s.field)) for s in self.settings}

    def encode(self, image: RawSettings, wanted: Mapping[str, object]) -> dict[int, bytes]:
        """The new bytes of every slot that these values change, and of no other.

        Checks every value; raises `SettingError` for what this board does not have, may not be
        written, or cannot hold.
        """
        changes: dict[int, dict[str, Any]] = {}
        for key, value in wanted.items():
            setting = self.setting(key)
            if not setting.writable or self.read_only_reason:
                why = setting.reason or self.read_only_reason or "nothing proves how it is written"
                raise SettingError(f"{key} is read-only: {why}")
            if setting.slot not in image:
                raise SettingError(f"{key} is not there: the board does not answer for it.")
            slot = self.by_address[setting.slot]
            fields = changes.setdefault(setting.slot, {})
            before = fields.get(setting.field, slot.values(image[setting.slot])[setting.field])
            fields[setting.field] = _wire(setting, setting.check(value), before)
        new = {at: self.by_address[at].encode(image[at], f) for at, f in changes.items()}
        same = {at for at, raw in new.items() if raw == self.by_address[at].clean(image[at])}
        return {at: raw for at, raw in new.items() if at not in same}

    def same(self, address: int, one: bytes | None, other: bytes | None) -> bool:
        """Whether two raw values of a slot mean the same, live settings aside."""
        if one is None or other is None or one == other:
            return one == other
        slot = self.by_address[address]
        live = {s.field for s in self.settings if s.slot == address and s.live}
        mine, yours = (slot.values(slot.clean(raw)) for raw in (one, other))
        return all(mine[k] == yours[k] for k in mine.keys() - live)

    def differing(self, one: RawSettings, other: RawSettings) -> list[int]:
        """The slots that two images do not hold alike, live settings aside."""
        return [
            address
            for address in sorted(one.keys() | other.keys())
            if not self.same(address, one.get(address), other.get(address))
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsSnapshot:
    """All settings of a board, as read at one time."""

    map: SettingsMap
    image: RawSettings

    def values(self) -> dict[str, Value | None]:
        """Every setting's value by its key; `None` is unknown."""
        return self.map.decode(self.image)

    def raw(self, key: str) -> bytes | None:
        """The bytes that hold a setting, with their neighbours; `None`: the board has none."""
        return self.image.get(self.map.setting(key).slot)


def _plain(setting: Setting, raw: Any) -> Value | None:
    """A field of a layout as the value of a setting."""
    if raw is None:
        return None
    if setting.kind == "switch":
        if setting.bit is not None:
            return is_set(int(raw), setting.bit)
        return flag(int(raw))
    if setting.kind == "choice":
        return setting.choices.get(int(raw))
    if setting.kind == "text":
        return raw if isinstance(raw, str) else bytes(raw).split(b"\0")[0].decode("latin-1")
    # in millionths: what a 32-bit float can tell near 4 V
    return setting.believe(round(float(raw), 6) + 0.0)  # no -0.0


def _wire(setting: Setting, value: Value, before: Any) -> Any:
    """The value of a setting as the layout's field takes it."""
    if setting.kind == "switch":
        if setting.bit is None:
            return int(value)
        mask = 1 << setting.bit
        return int(before) | mask if value else int(before) & ~mask
    if setting.kind == "choice":
        return next(number for number, word in setting.choices.items() if word == value)
    if setting.kind == "number" and isinstance(before, int):
        return round(float(value))
    return value
