"""What must hold before anything is sent: named checks, all of them made and shown.

Each says in a sentence what it found. One that fails stands in the way unless its `waiver` is
given by name; those without one cannot be waived.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import NamedTuple

from bmslink.config.check import WAIVERS, Check, Draft, number
from bmslink.config.live import check_health, check_load, check_protection, check_trip
from bmslink.errors import SettingError
from bmslink.lint import Verdict, review
from bmslink.model import Identity
from bmslink.setting import Evidence

__all__ = ["Rating", "check_all", "rated"]


def check_all(draft: Draft, waive: Collection[str] = ()) -> tuple[Check, ...]:
    """Every check; `SettingError` for a waiver that does not exist."""
    if unknown := sorted(set(waive) - WAIVERS.keys()):
        raise SettingError(
            f"There is no waiver {unknown[0][:40]!r}; there are: {', '.join(WAIVERS)}."
        )
    checks = (check(draft) for check in _CHECKS)
    return tuple(replace(c, waived=c.passed is False and c.waiver in waive) for c in checks)


def _identity(draft: Draft) -> Check:
    who = draft.identity
    named = " ".join(part for part in (who.vendor, who.model, who.hardware) if part)
    sentence = f"{named or 'The board'}, firmware {who.firmware or 'unknown'}."
    if not who.known:
        sentence += " Without a firmware number nobody can tell which settings it has."
    return Check(name="identity", passed=who.known, sentence=sentence)


_HELP = (
    "A recording helps: `bmslink capture` while the vendor's app reads and writes settings; "
    "docs/configuration.md says how to send it."
)


def _map(draft: Draft) -> Check:
    settings = draft.table.map
    if settings.locked:
        return Check(name="map", passed=False, sentence=f"Read-only: {settings.locked}. {_HELP}")
    return Check(name="map", passed=True, sentence=f"{settings.name}. {settings.evidence}")


def _tested(draft: Draft) -> Check:
    settings = draft.table.map
    papers = [key for key in draft.keys if settings.setting(key).evidence is Evidence.DOCUMENT]
    why = [settings.untested] if settings.untested else []
    if papers:
        why.append(f"only a document says how {', '.join(papers)} is written")
    sentence = f"Untested: {'; '.join(why)}. {_HELP}" if why else "Proven for this firmware."
    return Check(name="tested", passed=not why, sentence=sentence, waiver="untested")


def _supported(draft: Draft) -> Check:
    reasons: dict[str, list[str]] = {}
    for key, why in draft.unsupported.items():
        reasons.setdefault(why, []).append(key)
    lacking = "; ".join(f"{_some(keys)} ({why})" for why, keys in reasons.items())
    sentence = (
        f"Cannot be set here: {lacking}. The rest can be written without."
        if lacking
        else "The pack has everything that is asked."
    )
    return Check(name="supported", passed=not lacking, sentence=sentence, waiver="partial")


_NAMED = 3


def _some(keys: list[str]) -> str:
    """The first few, and how many more."""
    more = len(keys) - _NAMED
    return ", ".join(keys[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _backup(draft: Draft) -> Check:
    if draft.backup is None:
        return Check(name="backup", passed=None, sentence="No backup is restored.")
    if draft.unusable:
        return Check(name="backup", passed=False, sentence=draft.unusable)
    sentence = draft.foreign or "The backup is of this board, and is as it was made."
    return Check(name="backup", passed=not draft.foreign, sentence=sentence, waiver="clone")


def _limits(draft: Draft) -> Check:
    """What is asked for has to be within its limits; what only a backup holds may be waived."""
    sentences = [*draft.wrong.values(), *draft.outside.values()]
    if draft.outside:
        sentences.append("No record of ours shows that this board held that.")
    sentence = " ".join(sentences) or "Every value is within its limits."
    waiver = "limits" if draft.restore and draft.outside and not draft.wrong else ""
    return Check(name="limits", passed=not sentences, sentence=sentence, waiver=waiver)


class Rating(NamedTuple):
    """What the name of a board promises; 0: it does not say."""

    amps: float = 0.0
    cells: int = 0
    """The most cells it can have."""


_JK = re.compile(r"JK[-_]P?BD?\d?[A-Z]?\d*A(\d{1,2})S(\d{1,2})P", re.IGNORECASE)
_CELLS = re.compile(r"(?<![0-9A-Z])[A-Z]?(\d{1,2})S(?=[-_ 0-9.]|$)", re.IGNORECASE)
_AMPS = re.compile(r"(?<![0-9.])(\d{2,3})A(?=[-_ ]|$)", re.IGNORECASE)


def rated(identity: Identity) -> Rating:
    """What the model or hardware name says, where it says it beyond doubt."""
    for name in (identity.model or "", identity.hardware or ""):
        if identity.vendor == "JK":
            if found := _JK.fullmatch(name.strip()):  # the last number counts tens of amps
                return Rating(float(found[2]) * 10, int(found[1]))
            continue
        amps, cells = set(_AMPS.findall(name)), set(_CELLS.findall(name))
        if len(amps) == 1:
            return Rating(float(amps.pop()), int(cells.pop()) if len(cells) == 1 else 0)
    return Rating()


def _rating(draft: Draft) -> Check:
    rating = rated(draft.identity)
    if not rating.amps:
        return Check(name="rating", passed=None, sentence="The board's name does not say.")
    over = [
        f"{key} {amps:g} A"
        for key in ("charge_ocp", "discharge_ocp")
        if key in draft.keys and (amps := number(draft.after.get(key)) or 0.0) > rating.amps
    ]
    if rating.cells and "cell_count" in draft.keys:
        count = number(draft.after.get("cell_count")) or 0.0
        over += [f"cell_count {count:g}"] if count > rating.cells else []
    cells = f" and {rating.cells} cells" if rating.cells else ""
    sentence = f"The board's name says {rating.amps:g} A{cells}"
    sentence += f"; beyond that: {', '.join(over)}." if over else "."
    return Check(name="rating", passed=not over, sentence=sentence, waiver="rating")


def _verdicts(draft: Draft, *, chemical: bool) -> list[Verdict]:
    """What is wrong afterwards with what changes."""
    chemistry = draft.chemistry
    found = review(draft.after, cells=_cells(draft), chemistry=chemistry)
    return [
        v
        for v in found
        if v.passed is False and v.chemical is chemical and set(v.keys) & set(draft.keys)
    ]


def _cells(draft: Draft) -> int | None:
    if draft.reading is not None and draft.reading.cell_voltages:
        return len(draft.reading.cell_voltages)
    return draft.identity.cell_count


def _rules(draft: Draft) -> Check:
    return _lint(draft, "rules", "Nothing contradicts itself.", chemical=False)


def _chemistry(draft: Draft) -> Check:
    if draft.chemistry is None:
        return Check(
            name="chemistry", passed=None, sentence="What the cells are made of is unknown."
        )
    becomes = draft.after.get("chemistry")
    if "chemistry" in draft.keys and becomes != draft.chemistry:
        sentence = (
            f"The board would take its cells for {becomes}, and until now they are "
            f"{draft.chemistry}: --chemistry {becomes} if that is what they are."
        )
        return Check(name="chemistry", passed=False, sentence=sentence, waiver="chemistry")
    return _lint(draft, "chemistry", f"Fits {draft.chemistry} cells.", chemical=True)


def _lint(draft: Draft, name: str, fine: str, *, chemical: bool) -> Check:
    found = _verdicts(draft, chemical=chemical)
    errors = [v.sentence for v in found if v.severity == "error"]
    warnings = [f"Unusual: {v.sentence}" for v in found if v.severity == "warning"]
    sentence = " ".join(errors + warnings) or fine
    return Check(name=name, passed=not errors, sentence=sentence, waiver=name)


def _order(draft: Draft) -> Check:
    sentence = " ".join(draft.clumsy) or "No step on the way contradicts itself."
    return Check(name="order", passed=not draft.clumsy, sentence=sentence, waiver="order")


def _journal(draft: Draft) -> Check:
    why = draft.blocked.get("journal", "")
    return Check(name="journal", passed=not why, sentence=why or "It can be written.")


def _unfinished(draft: Draft) -> Check:
    why = draft.blocked.get("unfinished", "")
    return Check(
        name="unfinished", passed=not why, sentence=why or "No change was cut off earlier."
    )


def _twin(draft: Draft) -> Check:
    why = draft.blocked.get("twin", "")
    passed = False if why else None
    sentence = why or "No board that looks the same has a change that was cut off."
    return Check(name="twin", passed=passed, sentence=sentence, waiver="twin")


_CHECKS: tuple[Callable[[Draft], Check], ...] = (
    _identity,
    _map,
    _tested,
    _supported,
    _backup,
    _limits,
    _rating,
    _rules,
    _chemistry,
    _order,
    check_trip,
    check_health,
    check_protection,
    check_load,
    _journal,
    _unfinished,
    _twin,
)
"""All checks, in the order they are shown."""
