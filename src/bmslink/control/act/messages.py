"""What goes into a cycle from people, and what goes out of it: commands, and remarks for people."""

from __future__ import annotations

import msgspec

__all__ = [
    "EmergencyStop",
    "OverridePolicy",
    "PersonOff",
    "PersonOn",
    "Remark",
    "Request",
    "ResetStop",
    "Resume",
    "SwitchCommand",
]


class SwitchCommand(msgspec.Struct, frozen=True, kw_only=True):
    """One switch is to be set now."""

    id: int
    actuator: str
    on: bool
    actor: str
    """Who wants it: `policy`, or a person."""
    why: str
    """In a sentence."""
    repeat: bool = False
    """The same command again: nothing showed yet that it took effect."""


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """Something that people should hear."""

    what: str
    """`off`, `on`, `read_back`, `given_back`, `foreign_off`, `foreign_on`, `forgot`, `clash`,
    `stand_down`, `no_effect`, `limit_disobeyed`, `flows_on`, `pre_alarm`, `sink_lost`, `budget`,
    `futile`, `disk`, `join`, `override`, `override_over`, `resumed`, `stopped`, `reset`, `refused`,
    `person_off`, `person_on`."""
    actuator: str = ""
    text: str
    alarm: bool = False


class PersonOff(msgspec.Struct, frozen=True):
    """A person switches off: at once, and no policy gives it back."""

    actuator: str
    who: str


class PersonOn(msgspec.Struct, frozen=True):
    """A person switches on; refused while a policy holds the switch off."""

    actuator: str
    who: str


class EmergencyStop(msgspec.Struct, frozen=True):
    """Everything off at once, until it is reset."""

    who: str
    why: str = ""


class ResetStop(msgspec.Struct, frozen=True):
    """The emergency stop is over."""

    who: str


class Resume(msgspec.Struct, frozen=True):
    """A stand-down is over. By itself it sends nothing."""

    who: str
    actuator: str | None = None
    """`None`: of all switches."""


class OverridePolicy(msgspec.Struct, frozen=True):
    """A person sets a policy aside for `seconds`."""

    policy: str
    seconds: float
    who: str
    why: str = ""


Request = PersonOff | PersonOn | EmergencyStop | ResetStop | Resume | OverridePolicy
