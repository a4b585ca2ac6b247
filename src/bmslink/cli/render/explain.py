"""The reason tree of one moment, as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bmslink.cli.render.clean import clean
from bmslink.config.records.moment import local
from bmslink.control.backtest.explain import Explanation, Judgement
from bmslink.control.backtest.logs import written
from bmslink.control.decide.limits import Kind, Limit, Permit

__all__ = ["PHASES", "moment", "tree"]

PHASES = {
    "bulk": "bulk charge",
    "absorption": "absorption charge",
    "float": "float charge",
    "rebulk": "re-bulk charge",
}
"""The phases of charging, in words."""

_QUIET = ("content", "resting", "unknown")
_LIMITS = (("cvl", "CVL", "V"), ("ccl", "CCL", "A"), ("dcl", "DCL", "A"), ("dvl", "DVL", "V"))


def moment(time: float) -> str:
    """A time of a log; one without a date counts from its beginning."""
    shown = written(time)
    return f"+{shown:.1f} s" if isinstance(shown, float) else local(shown)


def tree(found: Explanation, *, every: bool) -> list[str]:
    """What is permitted and limited, and every reason."""
    return list(_lines(found, every=every))


def _lines(found: Explanation, *, every: bool) -> Iterator[str]:
    decision = found.decision
    fresh = "  (no fresh data)" if decision.stale else ""
    yield f"{moment(found.time)}  {clean(found.target)}{fresh}"
    for name in ("charge", "discharge", "balance"):
        yield from _permit(name, getattr(decision, name))
    yield f"phase: {PHASES[decision.phase]}"
    for name, title, unit in _LIMITS:
        yield from _limit(title, unit, getattr(decision.limits, name))
    shown = [j for j in found.judgements if every or j.state not in _QUIET]
    yield "policies" if every else "policies that are not content"
    yield from _table(shown) if shown else iter(["  none"])
    doubtful = [f"{field} {word}" for field, word in decision.quality.items() if word != "good"]
    if doubtful:
        yield f"quality: {', '.join(doubtful)}; the rest is good"
    bms = [f"{name} {_word(value)}" for name, value in decision.bms.items()]
    yield f"the BMS itself: {', '.join(bms)}"
    if found.not_applicable:
        yield f"not judged: {len(found.not_applicable)} policies, because"
        for why in sorted(set(found.not_applicable.values())):
            names = [name for name, text in found.not_applicable.items() if text == why]
            yield f"  {why}: {', '.join(names)}"


def _word(value: bool | None) -> str:
    return "not told" if value is None else "on" if value else "off"


def _permit(name: str, permit: Permit) -> Iterator[str]:
    word = "permitted" if permit.allowed else "WITHDRAWN"
    yield f"{name}: {word}{' at once' if permit.emergency else ''}"
    for reason in permit.reasons:
        yield f"  {reason.policy}: {clean(reason.text)}"


def _limit(title: str, unit: str, limit: Limit) -> Iterator[str]:
    phase = " (phase)" if limit.kind is Kind.PHASE else ""
    yield f"{title}: {limit.value:g} {unit}{phase}"
    for reason in limit.reasons:
        yield f"  {reason.value:g} {unit}  {reason.policy}: {clean(reason.text)}"


def _table(judgements: Iterable[Judgement]) -> Iterator[str]:
    rows = list(judgements)
    width = max(len(j.policy) for j in rows)
    for j in rows:
        where = f"{j.state}, {j.severity.name.lower()}"
        yield f"  {j.policy:<{width}}  {where:<18}  {clean(j.text)}"
