"""The levels that a record of the catalogue may have, each with what such levels share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bmslink.control.decide.policy import Action, OnMissing, Policy, Reset, Severity

__all__ = [
    "LOCKOUT",
    "ONLY_TOLD",
    "OTHERS",
    "SLOW_LOCKOUT",
    "Fields",
    "backup",
    "critical",
    "curve",
    "ignore",
    "level_of",
    "limit",
    "record",
    "trip",
    "warn",
]

Fields = dict[str, Any]
LOCKOUT = (3, 900.0)
"""More trips than that within so many seconds wait for a person."""
SLOW_LOCKOUT = (3, 3600.0)
"""Of what takes minutes to trip: four of its trips do not fit into a quarter of an hour."""


def ignore(reason: str) -> OnMissing:
    """Nothing follows where the quantity is not measured, for a reason."""
    return OnMissing("ignore", 1.0, reason)


ONLY_TOLD = ignore("this policy only tells")
OTHERS = ignore("the policies of the quantity itself answer for it")

_OWN_NAMES = {"warn": "{}_warning", "curve": "{}_derate", "critical": "{}_critical"}
"""What a level is called by itself, in events and files of 0.1.0; the others: as the record."""


def record(
    name: str, quantity: str, acts: tuple[Action, ...], *levels: Fields, **shared: Any
) -> Iterator[Policy]:
    """One quantity with its levels; `acts` and what else is `shared` holds for each level that
    says nothing else."""
    for fields in levels:
        own = _OWN_NAMES.get(fields["level"], "{}").format(name)
        said = {"name": own, "quantity": quantity, "acts": acts, **shared, **fields}
        yield Policy(record=name, **said)


def level_of(severity: Severity, level: str, title: str, **fields: Any) -> Fields:
    """A level that shares nothing with others."""
    return {"level": level, "severity": severity, "title": title, **fields}


def warn(title: str, *, level: str = "warn", **more: Any) -> Fields:
    """It only tells."""
    told = {"acts": (), "min_off": 0.0, "on_missing": ONLY_TOLD, "bms": None, **more}
    return level_of(Severity.WARN, level, title, **told)


def curve(title: str, points: str, **more: Any) -> Fields:
    """A part of the current, by the value of the moment; `points` names the curve."""
    return level_of(Severity.DERATE, "curve", title, curve=points, **{"bms": None, **more})


def limit(title: str, *, level: str = "limit", **more: Any) -> Fields:
    """A part of the current, while it is tripped."""
    return level_of(Severity.DERATE, level, title, **more)


def trip(title: str, *, level: str = "trip", **more: Any) -> Fields:
    """A stop that ends by itself, unless it comes again and again."""
    return level_of(Severity.TRIP, level, title, **{"lockout": LOCKOUT, **more})


def critical(title: str, **more: Any) -> Fields:
    """A stop at once, until a person resets it."""
    shut = {"reset": Reset.MANUAL, "on_missing": OTHERS, "bms": None, **more}
    return level_of(Severity.EMERGENCY, "critical", title, **shut)


def backup(name: str, title: str, margin: float, release: str, when: str) -> Fields:
    """The BMS did not trip, though current flows: outside its own setting, after its own delay."""
    own = {"name": f"bms_did_not_trip_{name}", "when": f"{when} through", "release": release}
    late = {"inside_bms": -margin, "after_bms": True, "on_delay": 5.0}
    shut = {"reset": Reset.MANUAL, "on_missing": OTHERS}
    return level_of(Severity.EMERGENCY, "backup", title, **own, **late, **shut)
