"""Every number that a balancing session goes by, once, with where it comes from."""

from __future__ import annotations

import msgspec

__all__ = ["SessionNumbers"]


class SessionNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """V, currents as multiples of the capacity in one hour (C), °C, s."""

    target: float = 0.010
    """V between the highest and the lowest cell at which the session is done. dbus-serialbattery
    calls a pack balanced at 10 mV."""
    fine: float = 0.005
    """V: the board's own trigger is set to this where it is too coarse for the target."""
    over_top: float = 0.050
    """V above the top at which a cell is out of bounds."""
    below_ovp: float = 0.020
    """V that every cell keeps from the board's own limit, whatever else is said."""
    at_top: float = 0.020
    """V below the top from which the pack counts as being held there."""
    off_top: float = 0.060
    """V below the top at which it counts as having left it."""
    near: float = 0.060
    """V below the top where the charge current begins to fall."""
    lead: float = 0.010
    """V around the top over which the current goes from the holding current to nothing."""
    slope: float = 0.001
    """V/s per cell by which the charge voltage may rise; it falls at once."""
    wait: float = 10.0
    """s that a higher charge voltage or current waits."""
    ramp: float = 0.02
    """C per second by which the charge current may rise."""
    bulk: float = 0.2
    """C: the charge current until the top is near."""
    holding: float = 0.02
    """C: the charge current at the top, unless the balancer takes more; and what counts as rest."""
    least_rest: float = 0.3
    """A that counts as rest on a small pack: boards measure no less well."""
    most_current: float = 0.2
    """C above which the voltages are those of the resistances, and nothing is balanced by them."""
    enough: float = 600.0
    """s for which the cells have to be within the target before the pack is left to rest."""
    rest: float = 900.0
    """s of rest after which the difference is looked at again."""
    coldest: float = 5.0
    hottest: float = 45.0
    """°C of a cell between which it is balanced."""
    balancer_rest: float = 70.0
    """°C of the balancer or the MOSFETs at which balancing pauses."""
    balancer_hot: float = 75.0
    """°C of them at which the session ends."""
    dwell: float = 600.0
    """s between two settings of the balancer's switch."""
    switchings: int = 12
    """How often the switch may be set in one session: it is a stored setting on most boards."""
    unseen: float = 1800.0
    """s at the top after which a balancer that was never seen at work is one that does not work."""
    grows: float = 0.015
    growing: float = 1800.0
    """V by which the difference at the top may grow beyond its best, and for how long (s): more is
    a wire or the order of the cells."""
    stalled: float = 6 * 3600.0
    """s at the top without 1 mV of progress."""
    blind: float = 2 * 3600.0
    """s without a reading."""
    hours: float = 48.0
    """h that all of it may take, nights included."""
