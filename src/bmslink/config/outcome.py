"""How a change ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bmslink.config.plan import Change
from bmslink.settings.setting import Value

__all__ = ["Outcome", "Result"]

Result = Literal["done", "nothing", "rolled back", "unknown", "kept", "ignored", "unproven"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a change ended, and what the board holds now."""

    result: Result
    """`done`; `nothing`: it was so already; `rolled back`: all is as before; `unknown`: `resume`
    is next; `kept`: declared over; of a switch also `ignored` and `unproven`."""
    sentence: str
    """The same for people."""
    transaction: str = ""
    """Its name in the journal; empty where nothing was begun."""
    changes: Sequence[Change] = ()
    """What was written, in that order."""
    notes: Sequence[str] = ()
    """What happened beside: reconnections, neighbours that the board changed, …"""
    stands: Mapping[str, Value | None] = field(default_factory=dict)
    """What was asked to change, as read afterwards; `None`: not known."""

    def to_dict(self) -> dict[str, Any]:
        """Its JSON object."""
        return {
            "result": self.result,
            "sentence": self.sentence,
            "transaction": self.transaction,
            "changes": [change.to_dict() for change in self.changes],
            "notes": list(self.notes),
            "stands": dict(self.stands),
        }
