"""What a check looks at, or what a condition means, for `--explain`."""

from __future__ import annotations

from typing import NamedTuple

from bmslink.arguments import did_you_mean
from bmslink.errors import UsageError
from bmslink.model import Condition
from bmslink.reports.doctor.conditions import ADVICE
from bmslink.reports.doctor.table import all_checks

__all__ = ["Explained", "explain", "names"]


class Explained(NamedTuple):
    """About one name."""

    name: str
    kind: str
    """`check` or `condition`."""
    title: str
    """What is looked at; of a condition its usual cause."""
    text: str
    """Why it matters; of a condition what ends it."""


def names() -> tuple[str, ...]:
    """Everything that can be explained: the checks, then the conditions."""
    return (*all_checks(), *map(str, Condition))


def explain(name: str) -> Explained:
    """What is known of a check or a condition. Raises `UsageError` for any other name."""
    checks = all_checks()
    if name in checks:
        _, title, about = checks[name]
        return Explained(name, "check", title, about)
    if name in names():
        advice = ADVICE[Condition(name)]
        return Explained(name, "condition", advice.cause, advice.cure)
    raise UsageError(
        f"There is no check and no condition {name[:40]!r}.{did_you_mean(name, names())} There "
        f"are: {', '.join(names())}."
    )
