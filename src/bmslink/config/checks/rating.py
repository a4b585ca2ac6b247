"""What a pack is rated for, by everybody who says so, and what goes beyond it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bmslink.config.checks.check import Check, Draft, number
from bmslink.model import Identity
from bmslink.packs import NamedPack
from bmslink.settings.bands import CHARGE_RATE, CURRENTS, DISCHARGE_RATE
from bmslink.settings.setting import Value

__all__ = ["BoardRating", "check_rating", "currents_of", "rated"]


class BoardRating(NamedTuple):
    """What the name of a board promises; 0: it does not say."""

    amps: float = 0.0
    cells: int = 0
    """The most cells it can have."""


_JK = re.compile(r"JK[-_]P?BD?\d?[A-Z]?\d*A(\d{1,2})S(\d{1,2})P", re.IGNORECASE)
_CELLS = re.compile(r"(?<![0-9A-Z])[A-Z]?(\d{1,2})S(?=[-_ 0-9.]|$)", re.IGNORECASE)
_AMPS = re.compile(r"(?<![0-9.])(\d{2,3})A(?=[-_ ]|$)", re.IGNORECASE)


def rated(identity: Identity) -> BoardRating:
    """What the model or hardware name says, where it says it beyond doubt."""
    for name in (identity.model or "", identity.hardware or ""):
        if identity.vendor == "JK":
            if found := _JK.fullmatch(name.strip()):  # the last number counts tens of amps
                return BoardRating(float(found[2]) * 10, int(found[1]))
            continue
        amps, cells = set(_AMPS.findall(name)), set(_CELLS.findall(name))
        if len(amps) == 1:
            return BoardRating(float(amps.pop()), int(cells.pop()) if len(cells) == 1 else 0)
    return BoardRating()


class _Ceiling(NamedTuple):
    """One rating: who says it, and what it allows, A."""

    says: str
    charge: float
    discharge: float
    cells: int = 0


def _ceilings(
    identity: Identity, named: NamedPack | None, capacity: float | None
) -> Iterator[_Ceiling]:
    """The board's name, what bmslink.toml says, and without that the capacity, Ah."""
    name = rated(identity)
    if name.amps:
        cells = f" and {name.cells} cells" if name.cells else ""
        says = f"The board's name says {name.amps:g} A{cells}"
        yield _Ceiling(says, name.amps, name.amps, name.cells)
    stated = [] if named is None else [("a rating", named.rating_current), ("a fuse", named.fuse)]
    known = [(what, amps) for what, amps in stated if amps is not None]
    for what, amps in known:
        yield _Ceiling(f"bmslink.toml says {what} of {amps:g} A", amps, amps)
    if not known and capacity:
        charge, discharge = CHARGE_RATE * capacity, DISCHARGE_RATE * capacity
        yield _Ceiling(
            f"Cells of {capacity:g} Ah are reckoned with {charge:g} A of charge and "
            f"{discharge:g} A of discharge (rating_current in bmslink.toml says better)",
            charge,
            discharge,
        )


def currents_of(
    identity: Identity, named: NamedPack | None, *capacities: Value | None
) -> dict[str, tuple[float, str]]:
    """The most that the limits of the currents may be, A, and who says so; by key. Of several
    capacities (Ah) the smallest counts."""
    found: dict[str, tuple[float, str]] = {}
    for each in _ceilings(identity, named, _smallest(capacities)):
        for key, amps in (("charge_ocp", each.charge), ("discharge_ocp", each.discharge)):
            if key not in found or amps < found[key][0]:
                found[key] = (amps, each.says)
    return found


def _smallest(capacities: Iterable[Value | None]) -> float:
    """0: unknown."""
    return min((found for each in capacities if (found := number(each))), default=0.0)


def _capacity(draft: Draft) -> float:
    """Ah. The smaller of before and after: a change does not vouch for itself; 0: unknown."""
    return _smallest(each.get("nominal_capacity") for each in (draft.table.values(), draft.after))


def check_rating(draft: Draft) -> Check:
    """No current limit beyond what somebody rates the pack for. Lowering one always passes."""
    ceilings = list(_ceilings(draft.identity, draft.named, _capacity(draft)))
    if not ceilings:
        sentence = "Nobody says what the pack is rated for."
        return Check(name="rating", passed=None, sentence=sentence)
    beyond = [(each.says, over) for each in ceilings if (over := list(_over(draft, each)))]
    if beyond:
        sentence = " ".join(f"{says}; beyond that: {', '.join(over)}." for says, over in beyond)
    else:
        sentence = " ".join(f"{each.says}." for each in ceilings)
    return Check(name="rating", passed=not beyond, sentence=sentence, waiver="rating")


def _over(draft: Draft, ceiling: _Ceiling) -> Iterator[str]:
    before = draft.table.values()
    for key, factor in CURRENTS.items():
        if key not in draft.keys:
            continue
        amps, held = number(draft.after.get(key)) or 0.0, number(before.get(key))
        rating = ceiling.discharge if "discharge" in key or "short" in key else ceiling.charge
        if amps > factor * rating and (held is None or amps > held):
            yield f"{key} {amps:g} A"
    if ceiling.cells and "cell_count" in draft.keys:
        count = number(draft.after.get("cell_count")) or 0.0
        if count > ceiling.cells:
            yield f"cell_count {count:g}"
