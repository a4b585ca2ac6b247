"""Commands, and what the ledger must know of them before they go out."""

from __future__ import annotations

import msgspec

from bmslink.control.act.ledger import Order, SwitchRecord
from bmslink.control.act.messages import SwitchCommand
from bmslink.control.act.numbers import DAY, HOUR

__all__ = ["send_off", "send_on"]

_change = msgspec.structs.replace


def send_off(
    name: str,
    record: SwitchRecord,
    number: int,
    now: float,
    *,
    actor: str,
    why: str,
    repeat: bool,
    settle: float,
) -> tuple[SwitchRecord, SwitchCommand]:
    """Switch off. A repeat is the same command once more, and no new write of the budget. `settle`:
    how late a command may still take effect, s."""
    takes = not record.own and record.seen is not False
    old = record.order
    unread = old is not None and old.on and old.pending
    over = unread and old is not None and now - old.last <= settle
    if repeat and old is not None:
        order = _change(
            old, last=now, tries=old.tries + 1, took=old.took or takes, read_back=None, against=0
        )
    else:
        doubt = old is not None and not old.on and old.over
        order = Order(
            id=number,
            on=False,
            at=old.at if old is not None and doubt else now,
            last=now,
            actor=actor,
            took=takes,
            over=over or doubt,
        )
    record = _change(
        record,
        prior=record.seen if takes else record.prior,
        own=record.own or takes,
        confirmed=record.confirmed and record.seen is False and not unread,
        order=order,
        # what showed off before an on that nobody saw shows nothing now
        seen=None if unread and record.seen is False else record.seen,
        off_at=now,
        waiting=None,
        futile=0,
        writes=record.writes if repeat else _within(record.writes, now, DAY),
        written=record.written + 1,
    )
    command = SwitchCommand(
        id=order.id, actuator=name, on=False, actor=actor, why=why, repeat=repeat
    )
    return record, command


def send_on(
    name: str, record: SwitchRecord, number: int, now: float, *, actor: str, why: str, settle: float
) -> tuple[SwitchRecord, SwitchCommand]:
    """Switch on. What was ours stays ours until the board shows it on."""
    old = record.order
    going_off = old is not None and not old.on and old.pending and now - old.last <= settle
    over = (going_off and not record.confirmed) or (old is not None and old.on and old.over)
    record = _change(
        record,
        order=Order(id=number, on=True, at=now, last=now, actor=actor, over=over),
        enables=_within(record.enables, now, HOUR),
        writes=_within(record.writes, now, DAY),
        written=record.written + 1,
    )
    return record, SwitchCommand(id=number, actuator=name, on=True, actor=actor, why=why)


def _within(times: tuple[float, ...], now: float, window: float) -> tuple[float, ...]:
    """The times that still count, with now."""
    return (*(t for t in times if now - t < window), now)
