"""What a reading means for one record of the ledger: what of it our own commands explain.

A state that differs from the last one is ours if a command of ours that may still take effect asked
for it. Everything else is somebody else's.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import msgspec

from bmslink.control.act.ledger import Order, Owner, SwitchRecord
from bmslink.control.act.numbers import ActingNumbers

__all__ = ["Meaning", "Observed", "observe"]

_change = msgspec.structs.replace


class Meaning(Enum):
    """What was found."""

    NOTHING = ""
    READ_BACK = "our off was read back"
    GIVEN_BACK = "our on was read back"
    FOREIGN_OFF = "somebody else switched it off"
    FOREIGN_ON = "somebody else switched it on"
    FORGOT = "the board restarted and forgot our off"
    CLASH = "it is on after our off was read back"
    NO_EFFECT = "our command has no effect"


class Observed(NamedTuple):
    """The record after a reading, and what was found."""

    record: SwitchRecord
    found: Meaning


def observe(
    record: SwitchRecord, shown: bool | None, now: float, *, restarted: bool, numbers: ActingNumbers
) -> Observed:
    """Take how the board shows the switch. `restarted`: the board has, since the last reading."""
    if shown is None:
        return Observed(record, Meaning.NOTHING)
    steady = record.seen is shown and (record.order is None or not record.order.pending)
    if steady and record.own is (not shown) and (shown or record.confirmed):
        return Observed(record, Meaning.NOTHING)  # most readings
    seen = record if record.seen is shown else _change(record, seen=shown)
    order = record.order
    if order is not None and order.over and record.seen is order.on is not shown:
        # the contrary came and was seen: from now on nothing but this order is to come
        seen = _change(seen, order=_change(order, over=False))
    if shown:
        return _shows_on(seen, now, restarted=restarted, numbers=numbers)
    return _shows_off(seen, record.seen, now, numbers)


def _shows_off(
    record: SwitchRecord, before: bool | None, now: float, numbers: ActingNumbers
) -> Observed:
    order = record.order
    if order is not None and order.pending:
        if order.on:
            if record.own and now - order.last > numbers.settle:
                record = _change(record, confirmed=True)  # it shows our off from before
            return _contradicted(record, order, now, numbers)
        if order.over and now - order.at <= numbers.settle:
            return Observed(record, Meaning.NOTHING)
        owner = Owner.OURS if record.own else record.owner
        done = _change(order, read_back=True)
        read_back = _change(record, order=done, confirmed=record.own, owner=owner)
        return Observed(read_back, Meaning.READ_BACK)
    if record.own and record.confirmed:
        return Observed(record, Meaning.NOTHING)
    if before is False and not record.own:
        return Observed(record, Meaning.NOTHING)
    # not ours, or an off of ours that can no longer be the cause
    theirs = _change(
        record, own=False, confirmed=False, prior=None, order=None, owner=Owner.FOREIGN
    )
    return Observed(theirs, Meaning.FOREIGN_OFF)


def _shows_on(
    record: SwitchRecord, now: float, *, restarted: bool, numbers: ActingNumbers
) -> Observed:
    order = record.order
    if order is not None and order.pending:
        if order.on:
            off_at = order.at if record.off_at is None else record.off_at
            if order.over and now - off_at <= numbers.settle and not restarted:
                return Observed(record, Meaning.NOTHING)
            done = _change(order, read_back=True)
            return Observed(_free(record, Owner.UNKNOWN, done), Meaning.GIVEN_BACK)
        if not record.confirmed:
            return _contradicted(record, order, now, numbers, over=restarted)
        order = _change(order, read_back=False)  # it was sent to a switch that was off
    if record.own:  # and confirmed: an off that is not is pending
        found = Meaning.FORGOT if restarted else Meaning.CLASH
        return Observed(_free(record, Owner.UNKNOWN, order), found)
    if record.owner == Owner.FOREIGN:
        return Observed(_free(record, Owner.UNKNOWN, order), Meaning.FOREIGN_ON)
    return Observed(record, Meaning.NOTHING)


def _free(record: SwitchRecord, owner: Owner, order: Order | None) -> SwitchRecord:
    """It is on: there is nothing to give back."""
    return _change(
        record, own=False, confirmed=False, prior=None, futile=0, owner=owner, order=order
    )


def _contradicted(
    record: SwitchRecord, order: Order, now: float, numbers: ActingNumbers, *, over: bool = False
) -> Observed:
    """The board does not show yet what a command asked for. `over`: it will not any more."""
    order = _change(order, against=order.against + 1)
    found = Meaning.NO_EFFECT if order.against == numbers.no_effect_polls else Meaning.NOTHING
    if now - order.last <= numbers.settle and not over:
        return Observed(_change(record, order=order), found)
    order = _change(order, read_back=False)
    if order.on:
        return Observed(_change(record, order=order, futile=record.futile + 1), found)
    return Observed(_free(record, record.owner, order), found)
