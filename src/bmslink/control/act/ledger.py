"""What is known of the switches of one pack, and above all what was switched off from here.

Only what the ledger calls `own` is ever given back. It is a value: every function gives another.
Saved, times are ages: how long the program was gone is not known, so none of it counts, and every
wait and every budget gets longer by it. How long an off may still take effect is the one time that
must not: after a restart that is over with the first reading.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from bmslink.control.act.actuator import ACTUATORS, Sent
from bmslink.control.act.numbers import DAY, HOUR
from bmslink.errors import BmsError

__all__ = [
    "BESIDE",
    "STOP",
    "Ledger",
    "LedgerDamaged",
    "Order",
    "Override",
    "Owner",
    "RunMemory",
    "Stop",
    "SwitchRecord",
    "load_ledger",
    "save_ledger",
]

SCHEMA = 1
STOP = "emergency_stop"
"""The holder that an emergency stop is, until it is reset."""

BESIDE = "beside"
"""The actor of an off that went out with another switch's frame."""


class LedgerDamaged(BmsError):
    """A saved ledger that cannot be trusted: nothing is switched on by it."""


class Owner(StrEnum):
    """Who set a switch as it is."""

    OURS = "ours"
    FOREIGN = "foreign"
    """Somebody else: an app, a button, another program. It is theirs to give back."""
    UNKNOWN = "unknown"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The last command to one switch."""

    id: int
    on: bool
    at: float
    """When it was first sent, or when what it is in doubt about was, monotonic seconds."""
    last: float
    """When it was last sent."""
    actor: str = "policy"
    """Who wanted it."""
    tries: int = 1
    unsent: int = 0
    """How many of the tries went nowhere, for certain."""
    took: bool = False
    """With it the switch became ours."""
    over: bool = False
    """It went out while the contrary could still take effect: what is shown so early may not
    last."""
    read_back: bool | None = None
    """`True`: the board showed it afterwards. `False`: it did not in all the time it may take.
    `None`: not known yet, which is never the same as done."""
    against: int = 0
    """Readings since then that show the contrary."""

    @property
    def pending(self) -> bool:
        """It may still take effect."""
        return self.read_back is None and self.tries > self.unsent


class SwitchRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One switch of one pack."""

    prior: bool | None = None
    """How it was before we switched it off; `None`: the board did not show it."""
    own: bool = False
    """We switched it off, and nobody has switched it on since as far as is known."""
    confirmed: bool = False
    """That off was read back."""
    owner: Owner = Owner.UNKNOWN
    holders: tuple[str, ...] = ()
    """Who keeps it off now, or keeps it from being switched on."""
    person: str = ""
    """Who switched it off by hand; no policy gives that back."""
    order: Order | None = None
    seen: bool | None = None
    """How the board showed it last."""
    held: float | None = None
    """Since when it is wanted off without a break. A restart forgets that: what is wanted then is
    sent at once, however often it was sent before."""
    waiting: float | None = None
    """Since when its opening waits for the current to fall."""
    off_at: float | None = None
    """When the last off went out."""
    enables: tuple[float, ...] = ()
    """Within the last hour."""
    futile: int = 0
    """Enables since the last off that had no effect."""
    writes: tuple[float, ...] = ()
    """Within the last day, repeats left out."""
    written: int = 0
    """Ever, repeats included."""
    clashes: tuple[float, ...] = ()
    """When the board showed on after our confirmed off, and no reboot explains it."""
    down: float | None = None
    """Since when we stand down: somebody else has switched it on again and again."""
    asserted: tuple[str, ...] = ()
    """The emergencies that were answered with an off."""
    aside: dict[str, Any] = {}
    """What was saved by a version that knows more."""


class Stop(msgspec.Struct, frozen=True):
    """An emergency stop, in force until a person resets it."""

    who: str
    why: str = ""


class Override(msgspec.Struct, frozen=True):
    """A person sets one policy aside for a while."""

    policy: str
    until: float
    who: str
    why: str = ""


class RunMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What a restart forgets."""

    started: float
    heard: bool = False
    """Whether any reading came since the start."""
    good: int = 0
    """Good samples in a row."""
    overrides: tuple[Override, ...] = ()
    alarms: frozenset[str] = frozenset()
    """What the BMS complained of last."""
    sinks: dict[str, bool] = {}
    """Direction -> whether what limits its current was alive last."""
    told: frozenset[str] = frozenset()
    """What was said already, and holds still."""


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """All switches of one pack."""

    pack: str
    """Who it is, however the program came by it: the key of its file."""
    run: RunMemory
    charge: SwitchRecord = SwitchRecord()
    discharge: SwitchRecord = SwitchRecord()
    balance: SwitchRecord = SwitchRecord()
    next_id: int = 1
    uptime: float | None = None
    """How long the BMS had been running when it last said so, s."""
    stop: Stop | None = None
    aside: dict[str, Any] = {}

    @classmethod
    def new(cls, pack: str, now: float) -> Ledger:
        """Of a pack that nothing is known of, at the start of the program."""
        return cls(pack=pack, run=RunMemory(started=now))

    def record(self, name: str) -> SwitchRecord:
        """That of one switch: one of ACTUATORS."""
        found: SwitchRecord = getattr(self, name)
        return found

    def with_record(self, name: str, record: SwitchRecord) -> Ledger:
        """The same with another record."""
        return msgspec.structs.replace(self, **{name: record})

    def remembered(self, name: str) -> bool | None:
        """How our last confirmed command left a switch: for frames that set several at once.
        `None`: no command of ours says it."""
        record = self.record(name)
        if record.own:
            return False if record.confirmed else None
        order = record.order
        if order is not None and order.read_back and order.on and record.seen is not False:
            return True
        return None

    def writes_today(self, now: float) -> int:
        """Switch writes of this pack within the last day, repeats left out."""
        return sum(now - t < DAY for name in ACTUATORS for t in self.record(name).writes)

    def heard_of(self, name: str, order_id: int, sent: Sent) -> Ledger:
        """The same after it is known what became of the latest try of a command."""
        record = self.record(name)
        order = record.order
        if order is None or order.id != order_id:
            return self
        ledger = self
        if sent.sent is False:
            order = msgspec.structs.replace(order, unsent=order.unsent + 1)
            own = record.own and not (order.took and order.unsent == order.tries)
            record = msgspec.structs.replace(record, order=order, own=own)
            ledger = self.with_record(name, record)
        elif sent.doubt:
            for other, on in sent.others.items():
                if other in ACTUATORS and other != name and not on:
                    ledger = ledger.with_record(other, _locked_beside(ledger.record(other), order))
        return ledger


def _locked_beside(record: SwitchRecord, order: Order) -> SwitchRecord:
    """A switch that another one's frame switched off as well, because the board did not show how it
    was: nobody but a person gives it back."""
    if record.own or record.seen is False:
        return record
    beside = msgspec.structs.replace(
        order, actor=BESIDE, took=True, on=False, read_back=None, against=0
    )
    return msgspec.structs.replace(
        record, own=True, confirmed=False, prior=None, order=beside, off_at=order.last
    )


# -- saved ---------------------------------------------------------------------------------------


class _Saved(msgspec.Struct, kw_only=True):
    schema: int
    pack: str
    next_id: int = 1
    uptime: float | None = None
    stop: Stop | None = None
    charge: SwitchRecord
    discharge: SwitchRecord
    balance: SwitchRecord
    """The same form as in memory, but for `_LEFT_OUT`, and with ages for times."""


_ONE_TIME = ("off_at", "down")
_TIMES = {"enables": HOUR, "writes": DAY, "clashes": HOUR}
"""With the longest that any of them matters, s."""
_LONG_AGO = HOUR
"""Longer than any command may take, s."""
_LEFT_OUT = ("held", "waiting", "aside")
_KEPT = frozenset(SwitchRecord.__struct_fields__) - set(_LEFT_OUT)


def save_ledger(ledger: Ledger, now: float) -> dict[str, Any]:
    """What must survive a restart, as plain values with ages for times."""
    head = {
        "schema": SCHEMA,
        "pack": ledger.pack,
        "next_id": ledger.next_id,
        "uptime": ledger.uptime,
        "stop": msgspec.to_builtins(ledger.stop),
    }
    records = {name: _plain(ledger.record(name), now) for name in ACTUATORS}
    return {**ledger.aside, **head, **records}


def _plain(record: SwitchRecord, now: float) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(record)
    for name in _LEFT_OUT:
        del plain[name]
    for name in _ONE_TIME:
        if plain[name] is not None:
            plain[name] = now - plain[name]
    for name, longest in _TIMES.items():
        plain[name] = [age for t in plain[name] if (age := now - t) <= longest]
    if plain["order"] is not None:
        plain["order"] |= {key: now - plain["order"][key] for key in ("at", "last")}
    return {**record.aside, **plain}


def load_ledger(saved: Mapping[str, Any], pack: str, now: float) -> Ledger:
    """The ledger that `save_ledger` gave, in a program that starts at `now`. What this version does
    not know is kept for the next save. Raises `LedgerDamaged`."""
    try:
        found = msgspec.convert({**saved, **_known_parts(saved)}, _Saved)
    except msgspec.ValidationError as error:
        raise LedgerDamaged(f"The ledger of {pack} is damaged: {error}.") from error
    if found.pack != pack:
        raise LedgerDamaged(f"The ledger of {pack} is that of another pack: {found.pack[:60]}.")
    records = {}
    for name in ACTUATORS:
        record: SwitchRecord = getattr(found, name)
        if not all(map(_is_age, _ages(record))):
            raise LedgerDamaged(f"The ledger of {pack} is damaged: a time of {name} is none.")
        aside = {key: value for key, value in saved[name].items() if key not in _KEPT}
        records[name] = _restored(record, aside, now)
    known = _Saved.__struct_fields__
    return Ledger(
        pack=pack,
        run=RunMemory(started=now),
        next_id=found.next_id,
        uptime=found.uptime,
        stop=found.stop,
        aside={key: value for key, value in saved.items() if key not in known},
        **records,
    )


def _known_parts(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Of each switch what this version saves; what is no record stays, and is refused."""
    return {
        name: {key: value for key, value in record.items() if key in _KEPT}
        for name in ACTUATORS
        if isinstance(record := saved.get(name), dict)
    }


def _ages(record: SwitchRecord) -> list[float]:
    one = [record.off_at, record.down]
    order = [] if record.order is None else [record.order.at, record.order.last]
    found = [age for age in one if age is not None]
    return [*found, *order, *record.enables, *record.writes, *record.clashes]


def _is_age(value: float) -> bool:
    return math.isfinite(value) and value >= 0


def _restored(record: SwitchRecord, aside: dict[str, Any], now: float) -> SwitchRecord:
    values: dict[str, Any] = {"aside": aside}
    for name in _ONE_TIME:
        age: float | None = getattr(record, name)
        values[name] = None if age is None else now - age
    for name in _TIMES:
        values[name] = tuple(now - age for age in getattr(record, name))
    if record.order is not None:
        values["order"] = _resumed(record.order, now)
    return msgspec.structs.replace(record, **values)


def _resumed(order: Order, now: float) -> Order:
    """The last command before a restart. Nobody knows how long ago it was, so the worse is taken:
    an on may still take effect, as if it was sent just now. An off may not: the first reading tells
    whether it did, and an off that is shown later is somebody else's."""
    last = now if order.on else now - max(order.last, _LONG_AGO)
    at = now if order.on or order.over else now - max(order.at, _LONG_AGO)
    return msgspec.structs.replace(order, at=at, last=last, over=order.over and not order.on)
