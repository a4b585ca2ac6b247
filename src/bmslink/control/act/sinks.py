"""What carries limits out (an inverter, a charger, a program): is it alive, and until when does a
limit count. Pure.

A limit dies with its sender: each message says for how long it counts, and who obeys it lets no
current flow after that. A direction is limited only while everything that limits it answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from bmslink.control.decide.decision import Limits

__all__ = ["TTL", "LimitMessage", "SinkHealth", "SinkState", "directions_alive", "in_force"]

TTL = 10.0
"""How long a limit counts without another one, s."""


class SinkHealth(msgspec.Struct, frozen=True):
    """How it is with one sink."""

    alive: bool
    acked_at: float | None
    """When it last said that it had heard, monotonic seconds; `None`: never, or it never does."""


class SinkState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one sink."""

    directions: frozenset[str] = frozenset({"charge", "discharge"})
    """Whose current it really limits; a display limits none."""
    acknowledges: bool = False
    """It says that it hears; one that does not counts as alive while it takes what is sent."""
    patience: float = TTL
    """How long it may say nothing, s."""
    sent_at: float | None = None
    acked_at: float | None = None
    failed: bool = False
    """The last message could not be given to it."""

    def with_sent(self, now: float) -> SinkState:
        """It took a message."""
        return msgspec.structs.replace(self, sent_at=now, failed=False)

    def with_ack(self, now: float) -> SinkState:
        """It said that it hears: from then on it must."""
        return msgspec.structs.replace(self, acknowledges=True, acked_at=now)

    def with_failure(self) -> SinkState:
        """It did not take a message, or not in time."""
        return msgspec.structs.replace(self, failed=True)

    def health(self, now: float) -> SinkHealth:
        """Whether it limits anything now."""
        return SinkHealth(self._alive(now), self.acked_at)

    def _alive(self, now: float) -> bool:
        if self.failed or self.sent_at is None or now - self.sent_at > self.patience:
            return False
        if not self.acknowledges:
            return True
        return self.acked_at is not None and now - self.acked_at <= self.patience


def directions_alive(sinks: Iterable[SinkState], now: float) -> dict[str, bool]:
    """Direction -> whether all that limits its current is alive; left out: nothing limits it."""
    found: dict[str, bool] = {}
    for sink in sinks:
        alive = sink.health(now).alive
        for direction in sink.directions:
            found[direction] = found.get(direction, True) and alive
    return found


class LimitMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Limits as they are sent: V of the pack and A."""

    sequence: int
    """Rises with every message of one sender."""
    time: float
    """When it was sent, s since 1970: for people, and to see a sender that hangs."""
    ttl: float = TTL
    """How long it counts, s."""
    cvl: float
    ccl: float
    dcl: float
    dvl: float

    @classmethod
    def of(cls, limits: Limits, *, sequence: int, time: float, ttl: float = TTL) -> LimitMessage:
        """The message of decided limits."""
        values = {name: getattr(limits, name).value for name in ("cvl", "ccl", "dcl", "dvl")}
        return cls(sequence=sequence, time=time, ttl=ttl, **values)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


def in_force(
    message: LimitMessage | None, age: float, *, after: LimitMessage | None = None
) -> LimitMessage | None:
    """What of a message counts when it is `age` s old by the receiver's own clock: `None` is no
    current. `after`: the last one that counted; an older one, late or sent twice, does not."""
    if message is None or not 0 <= age <= message.ttl:
        return None
    if after is not None and message.sequence < after.sequence:
        return None
    return message
