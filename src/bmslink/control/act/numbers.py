"""Every number of acting, once. Times in s."""

from __future__ import annotations

import msgspec

__all__ = ["DAY", "HOUR", "ActingNumbers"]

HOUR = 3600.0
DAY = 86400.0


class ActingNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """How often, how far apart, how many. The defaults are what is promised; other values are for
    exploring."""

    again: float = 2.0
    """Between two tries of an off that is not read back."""
    quick_tries: int = 5
    """Repeats so far apart; then one every `slow_again`."""
    slow_again: float = 60.0
    soft: float = 3.0
    """How long an opening switch waits for the current to fall."""
    soft_alternator: float = 10.0
    """The same where an alternator charges: opening under its current is a load dump."""
    good_samples: int = 3
    """Good samples in a row before anything is switched on."""
    after_start: float = 60.0
    """After the start of the program nothing is switched on for so long."""
    min_off: float = 60.0
    """How long a switch stays off at least."""
    enable_apart: float = 60.0
    """Between two enables of one switch."""
    enables_an_hour: int = 6
    """Of one switch."""
    futile_enables: int = 2
    """Enables without effect, one after the other, before it is left to a person."""
    writes_a_day: int = 24
    """Of all switches of a pack, off and on; at that number nothing is switched on any more."""
    clash_window: float = 600.0
    """A second foreign on within this is somebody's will, not a reboot: it is respected."""
    settle: float = 10.0
    """How late a command may still take effect."""
    no_effect_polls: int = 2
    """Readings that contradict a command before that is an alarm."""
    override_longest: float = 3600.0
    break_current: float = 2.0
    """A: below this a switch opens without waiting (or 2 % of the capacity, if that is more)."""
