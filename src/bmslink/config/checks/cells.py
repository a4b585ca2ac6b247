"""What the cells of a pack are made of: who says so, and what contradicts it.

Somebody has to state it: the board, the pack's entry in bmslink.toml, or `--chemistry`, once: an
earlier change of this pack in the journal counts as well, until its limits are of other cells. The
limits in the board are no statement, because a board set up wrongly would vouch for itself; the
values that a change asks for are none either. What a profile says of the cells it is made for
(`chemistry = "lfp"`) counts where the board's limits are of that chemistry already: a file can be
given to the wrong pack.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from bmslink.model import Identity, Reading
from bmslink.packs import NamedPack
from bmslink.protocols.common.settings_map import SettingsMap, SettingsSnapshot
from bmslink.settings.bands import BANDS
from bmslink.settings.chemistry import CHEMISTRIES, chemistry
from bmslink.settings.rules import likely_chemistry

__all__ = ["KnownCells", "cells_in_series", "cells_of"]

_JBD_NAME = re.compile(r"-([LP])\d{1,2}S(?=-|$)")
_LETTERS = {"L": "lfp", "P": "nmc"}


@dataclass(frozen=True, slots=True)
class KnownCells:
    """What is known of the cells."""

    chemistry: str | None = None
    """By what the settings are judged; `None`: nobody says."""
    contradictions: tuple[str, ...] = ()
    """What speaks against it, in sentences."""
    explicit: bool = False
    """It was given with the change itself (`--chemistry`, or by its profile)."""
    hint: str = ""
    """What the board's limits look like: a help to the person who states it, and nothing else."""


def cells_in_series(identity: Identity, reading: Reading | None) -> int | None:
    """How many cells a pack has: as many as are measured, else as the board says; `None` where
    nobody does."""
    return (len(reading.cell_voltages) if reading else 0) or identity.cell_count


def cells_of(
    table: SettingsSnapshot,
    identity: Identity,
    reading: Reading | None,
    *,
    named: NamedPack | None = None,
    stated: str | None = None,
    profile: str | None = None,
    recorded: str | None = None,
) -> KnownCells:
    """What the cells are, by everybody who says so; `TargetError` for a chemistry that is none.

    `stated` is `--chemistry`, `profile` what a profile says, `recorded` what was stated with an
    earlier change of this pack.
    """
    words = list(_words(table, identity, named))
    said = (stated, profile, recorded, None if named is None else named.chemistry)
    if any(_no_word(table.map, kind) for kind in said):
        words = [(who, kind) for who, kind in words if who != _BOARD]
    if stated is not None:
        words.append(("--chemistry", chemistry(stated).name))
    likely = likely_chemistry(table.values().get("cell_ovp"))
    if not words and recorded is not None and likely in (None, recorded):  # else it is outdated
        words.append(("The journal", chemistry(recorded).name))
    if profile is not None and (words or profile == likely):
        words.insert(0, ("The profile", chemistry(profile).name))
    if not words:
        hint = f"The limits look like those of {likely} cells, which proves nothing." * bool(likely)
        if profile is not None:
            hint = f"The profile is for {profile} cells, the limits in the board are not." + (
                f" They look like those of {likely} cells." * bool(likely)
            )
        return KnownCells(hint=hint)
    kind = words[-1][1]
    against = [
        f"{one} says {mine}, but {other.replace('The ', 'the ', 1)} says {yours}."
        for (one, mine), (other, yours) in pairwise(words)
        if mine != yours
    ]
    explicit = stated is not None or profile is not None
    return KnownCells(kind, (*against, *_live(kind, reading)), explicit)


_BOARD = "The board"


def _no_word(settings: SettingsMap, kind: str | None) -> bool:
    """Whether a board cannot say that its cells are this: then it has to call them another."""
    return bool(kind and settings.chemistries) and kind not in settings.chemistries


def _words(
    table: SettingsSnapshot, identity: Identity, named: NamedPack | None
) -> Iterator[tuple[str, str]]:
    """Who says what, the most deliberate last."""
    if identity.vendor == "JBD" and (found := _JBD_NAME.search(identity.model or "")):
        yield f"The board's name ({found[0][1:]})", _LETTERS[found[1]]
    held = table.values().get("chemistry") or identity.chemistry
    if isinstance(held, str) and held in CHEMISTRIES:
        yield _BOARD, held
    if named is not None and named.chemistry is not None:
        yield f"bmslink.toml ({named.name})", named.chemistry


def _live(kind: str, reading: Reading | None) -> Iterator[str]:
    """What the cells themselves say against it: none of that chemistry has such a voltage."""
    highest = None if reading is None else reading.max_cell_voltage
    if highest is None:
        return
    low, high = BANDS[kind].working
    if highest > high:
        yield f"A cell has {highest:g} V, but {kind} cells have at most {high:g} V."
    elif highest < low:
        yield f"No cell has more than {highest:g} V, but {kind} cells have at least {low:g} V."
