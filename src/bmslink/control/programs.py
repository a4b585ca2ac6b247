"""Policies for programs: from a preset, with rows of one's own, over readings of one's own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from bmslink.arguments import checked
from bmslink.control.decide.decision import Decision
from bmslink.control.decide.engine import Engine
from bmslink.control.decide.given import require_reading
from bmslink.control.decide.policy import Mode, PolicySet
from bmslink.control.files import parse_policies
from bmslink.control.presets import preset
from bmslink.errors import TargetError, UsageError
from bmslink.model import Reading

__all__ = ["Judged", "judge", "preset_policies"]


class Judged(NamedTuple):
    """A reading and what the policies decide on it."""

    reading: Reading
    """As it was given."""
    decision: Decision
    """Of that moment."""


@checked(TargetError)
def preset_policies(
    chemistry: str,
    use: str = "solar",
    *,
    cells: int | None = None,
    capacity: float | None = None,
) -> PolicySet:
    """All policies for a chemistry (`lfp`, `nmc`, `lto`, `na-ion`) and a use (`solar`, `ups`,
    `van`, `boat`), in shadow, as `bmslink control presets` writes them.

    `cells` is how many are in series, `capacity` is in Ah; where they are not given, they are
    guesses. Raises `TargetError`.
    """
    text = preset(chemistry, use, cells=cells, capacity=capacity)
    return parse_policies(text, Path(f"{chemistry}-{use}.toml"))


def judge(
    readings: Iterable[Reading],
    policies: PolicySet,
    *,
    settings: Mapping[str, float] | None = None,
    acting: Collection[Mode] = (Mode.ENFORCE, Mode.SHADOW),
    poll: float = 1.0,
) -> Iterator[Judged]:
    """What the policies decide on readings of one pack: recorded, or made up for a test.

    Each reading needs its `time`, from the oldest to the latest; `poll` is how far they usually
    are apart, s. `settings` are those of the BMS, where they are known (`Settings.numbers`). By
    default policies in shadow decide as well: it is what would happen. Raises `TargetError` for
    policies that are not complete, `UsageError` for any other wrong argument, and for a reading
    without its time.
    """
    engine = Engine(policies, settings, acting=acting, poll=poll)
    given: object = readings
    if isinstance(given, str) or not isinstance(given, Iterable):
        got = type(given).__name__
        raise UsageError(f"judge(): readings must be readings, one after the other, not {got}.")
    return _judged(engine, readings)


def _judged(engine: Engine, readings: Iterable[Reading]) -> Iterator[Judged]:
    for reading in readings:
        require_reading("judge()", reading)
        if not isinstance(reading.time, datetime):
            raise UsageError("judge(): a reading has no time: replace(reading, time=...) gives it.")
        yield Judged(reading, engine.step(reading, reading.time.timestamp()))
