"""How often somebody may ask. Nobody's requests use up what belongs to somebody else."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Literal

from bmslink.control.audit import Budget
from bmslink.runtime.api.answers import Refusal

__all__ = ["RATES", "Kind", "Rates"]

Kind = Literal["any", "line", "off", "wrong"]
"""`off`: switches, which are never refused because something else asked too often. `wrong`: the
token was. `line`: bytes for a line that is lent, as another program sends them."""
RATES: dict[Kind, tuple[int, float]] = {
    "any": (200, 0.02),
    "line": (1000, 0.002),
    "off": (200, 0.02),
    "wrong": (10, 6.0),
}
"""Requests at once, and s for each one after that."""
_MOST = 256
"""Users and addresses that are remembered; the one that was quiet for longest is forgotten."""


class Rates:
    """A budget of requests for each user and address."""

    def __init__(self) -> None:
        self._budgets: OrderedDict[tuple[str, Kind], Budget] = OrderedDict()

    def count(self, who: str, kind: Kind) -> None:
        """A request. Raises `Refusal` (429) for one too many."""
        key = (who, kind)
        budget = self._budgets.get(key) or Budget(*RATES[kind])
        self._budgets[key] = budget
        self._budgets.move_to_end(key)
        if len(self._budgets) > _MOST:
            self._budgets.popitem(last=False)
        if not budget.take(asyncio.get_running_loop().time()):
            raise Refusal(
                429,
                "Too many requests.",
                headers={"retry-after": f"{max(1.0, RATES[kind][1]):.0f}", "connection": "close"},
            )
