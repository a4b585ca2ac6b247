"""What must hold before anything is sent: named checks, all of them made and shown.

Each says in a sentence what it found. One that fails blocks the change unless its `waiver` is
given by name; those without one cannot be waived.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from bmslink.config.checks.cells import cells_in_series
from bmslink.config.checks.check import Check, Draft, number, require_waivers
from bmslink.config.checks.live import check_health, check_load, check_protection, check_trip
from bmslink.config.checks.plausible import oddities
from bmslink.config.checks.rating import check_rating
from bmslink.settings.bands import STRICTER, looser
from bmslink.settings.chemistry import CHEMISTRIES
from bmslink.settings.plausibility import implausible
from bmslink.settings.rules import RULES, RuleVerdict, lint
from bmslink.settings.setting import Danger, Evidence

__all__ = ["check_all"]


def check_all(draft: Draft, waive: Collection[str] = ()) -> tuple[Check, ...]:
    """Every check; `UsageError` for a waiver that does not exist."""
    waive = require_waivers(waive)
    checks = (*(check(draft) for check in _CHECKS), *_asking(draft))
    return tuple(replace(c, waived=c.passed is False and c.waiver in waive) for c in checks)


def _identity(draft: Draft) -> Check:
    who = draft.identity
    named = " ".join(part for part in (who.vendor, who.model, who.hardware) if part)
    sentence = f"{named or 'The board'}, firmware {who.firmware or 'unknown'}."
    if not who.known:
        sentence += " Without a firmware number nobody can tell which settings it has."
    return Check(name="identity", passed=who.known, sentence=sentence)


def _plausible(draft: Draft) -> Check:
    """Without a waiver: what was read is not what the board holds, so no plan can be right; and a
    backup of such a reading is not set back to. Opening
    a switch builds on nothing else that was read, and is never kept waiting."""
    name = "plausible"
    opens = [draft.after.get(key) is False for key in draft.keys if key in _POWER]
    if opens and all(opens) and set(draft.keys) <= _POWER:
        return Check(name=name, passed=None, sentence="Switching off needs no other setting.")
    rows = [draft.table.map.setting(key) for key in draft.keys]
    odd = oddities(draft.table) or " ".join(implausible(rows, draft.after))
    return Check(name=name, passed=not odd, sentence=odd or "A board can hold what was read.")


_HELP = (
    "A recording helps: `bmslink capture` while the vendor's app reads and writes settings; "
    "docs/configuration.md says how to send it."
)


def _map(draft: Draft) -> Check:
    settings = draft.table.map
    if settings.read_only_reason:
        return Check(
            name="map", passed=False, sentence=f"Read-only: {settings.read_only_reason}. {_HELP}"
        )
    return Check(name="map", passed=True, sentence=f"{settings.name}. {settings.evidence}")


def _tested(draft: Draft) -> Check:
    settings = draft.table.map
    papers = [key for key in draft.keys if settings.setting(key).evidence == Evidence.DOCUMENT]
    why = [settings.untested_reason] if settings.untested_reason else []
    if papers:
        why.append(f"only a document says how {', '.join(papers)} is written")
    sentence = f"Untested: {'; '.join(why)}. {_HELP}" if why else "Proven for this firmware."
    return Check(name="tested", passed=not why, sentence=sentence, waiver="untested")


def _supported(draft: Draft) -> Check:
    reasons: dict[str, list[str]] = {}
    for key, why in draft.unsupported.items():
        reasons.setdefault(why, []).append(key)
    lacking = "; ".join(f"{_some(keys)} ({why})" for why, keys in reasons.items())
    if not draft.possible:  # nothing is no part: what nobody can set is not done
        sentence = f"Cannot be set here: {lacking}. Nothing else is asked."
        return Check(name="supported", passed=False, sentence=sentence)
    sentence = (
        f"Cannot be set here: {lacking}. The rest can be written without."
        if lacking
        else "The pack has everything that is asked."
    )
    return Check(name="supported", passed=not lacking, sentence=sentence, waiver="partial")


def _asking(draft: Draft) -> list[Check]:
    """A check for each change that asks for its own name, which is its waiver as well."""
    rows = (draft.table.map.setting(key) for key in sorted(draft.keys))
    return [
        Check(
            name=row.key,
            passed=False,
            sentence=(
                f"{row.key} = {row.show(draft.after.get(row.key))} can {_HARM[row.danger]}: "
                f"--waive {row.key} if that is meant."
            ),
            waiver=row.key,
        )
        for row in rows
        if row.must_ask(draft.after.get(row.key))
    ]


_HARM: Mapping[Danger, str] = {
    Danger.LINK: "cut the link that it is written over",
    Danger.POWER: "let something else cut the power",
    Danger.PROTECTION: "take a protection away",
}
_POWER = {"charge_switch", "discharge_switch"}

_NAMED = 3


def _some(keys: list[str]) -> str:
    """The first few, and how many more."""
    more = len(keys) - _NAMED
    return ", ".join(keys[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _backup(draft: Draft) -> Check:
    if draft.backup is None:
        return Check(name="backup", passed=None, sentence="No backup is restored.")
    if draft.unusable_reason:
        return Check(name="backup", passed=False, sentence=draft.unusable_reason)
    sentence = draft.foreign_reason or "The backup is of this board, and is as it was made."
    return Check(name="backup", passed=not draft.foreign_reason, sentence=sentence, waiver="clone")


def _limits(draft: Draft) -> Check:
    """What is asked for has to be within its limits; what only a backup holds may be waived."""
    sentences = [*draft.wrong.values(), *draft.outside.values()]
    if draft.outside:
        sentences.append("No record of ours shows that this board held that.")
    sentence = " ".join(sentences) or "Every value is within its limits."
    waiver = "limits" if draft.restore and draft.outside and not draft.wrong else ""
    return Check(name="limits", passed=not sentences, sentence=sentence, waiver=waiver)


def _verdicts(draft: Draft, *, chemical: bool) -> list[RuleVerdict]:
    """What is wrong afterwards with what changes."""
    chemistry = draft.chemistry
    found = lint(
        draft.after, cells=cells_in_series(draft.identity, draft.reading), chemistry=chemistry
    )
    return [v for v in found if v.chemical is chemical and set(v.about) & set(draft.keys)]


def _rules(draft: Draft) -> Check:
    return _lint(draft, "rules", "Nothing contradicts itself.", chemical=False)


_CHEMICAL = frozenset(
    {
        "chemistry",
        *STRICTER,
        *(key for rule in RULES if rule.chemical for key in rule.about or rule.keys),
    }
)
"""The settings that nobody can judge without knowing the cells."""


def _chemistry(draft: Draft) -> Check:
    cells, about = draft.cells, _CHEMICAL & set(draft.keys)
    if cells.chemistry is None:
        return _unknown_cells(draft)
    becomes = draft.after.get("chemistry")
    against = list(cells.contradictions) if about or cells.explicit else []
    if "chemistry" in draft.keys and becomes != cells.chemistry:
        against.append(
            f"The board would take its cells for {becomes}, but they are {cells.chemistry}."
        )
    if against:
        return Check(name="chemistry", passed=False, sentence=" ".join(against), waiver="chemistry")
    return _lint(draft, "chemistry", f"Fits {cells.chemistry} cells.", chemical=True)


def _unknown_cells(draft: Draft) -> Check:
    """Whatever the cells are, what narrows their limits harms none. There is no waiver: the way
    to more is to say what they are."""
    before = draft.table.values()
    wider = sorted(
        key
        for key in draft.keys
        if key == "chemistry" or looser(key, number(before.get(key)), number(draft.after.get(key)))
    )
    sentence = "What the cells are made of is unknown"
    if not wider:
        return Check(name="chemistry", passed=None, sentence=f"{sentence}.")
    hint = f" {draft.cells.hint}" if draft.cells.hint else ""
    return Check(
        name="chemistry",
        passed=False,
        sentence=(
            f"{sentence}, so their limits may only become stricter, and {_some(wider)} would not: "
            f"state it with --chemistry ({', '.join(CHEMISTRIES)}) or as chemistry in "
            f"bmslink.toml.{hint}"
        ),
    )


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


def _lock(draft: Draft) -> Check:
    why = draft.blocked.get("lock", "")
    passed = False if why else None
    return Check(name="lock", passed=passed, sentence=why or "Nobody else changes this pack now.")


def _twin(draft: Draft) -> Check:
    why = draft.blocked.get("twin", "")
    passed = False if why else None
    sentence = why or "No board that looks the same has a change that was cut off."
    return Check(name="twin", passed=passed, sentence=sentence, waiver="twin")


_CHECKS: tuple[Callable[[Draft], Check], ...] = (
    _identity,
    _map,
    _plausible,
    _tested,
    _supported,
    _backup,
    _limits,
    check_rating,
    _rules,
    _chemistry,
    _order,
    check_trip,
    check_health,
    check_protection,
    check_load,
    _journal,
    _unfinished,
    _lock,
    _twin,
)
"""All checks, in the order they are shown."""
