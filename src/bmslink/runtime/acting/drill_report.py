"""What a drill would switch, and what came of it; also as a service says it."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["DrillPlan", "DrillReport", "DrillRow"]


class DrillPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What would be switched."""

    pack: str
    """Who it is, as in its ledger."""
    tried: tuple[str, ...]
    """In this order."""
    left: dict[str, str]
    """What is left out: switch -> why."""


class DrillRow(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one switch."""

    switch: str
    result: str
    """`passed`: off and on were read back. `failed`: one was not. `left_out`: nothing was sent."""
    off_s: float | None = None
    """From the frame to the reading that shows it off, s; `None`: never shown."""
    on_s: float | None = None
    """The same for on."""
    restored: bool | None = None
    """Whether it is on again, as it was; `None`: nothing was sent."""
    why: str = ""
    """Why it failed or was left out, in a sentence."""
    note: str = ""
    """What else there is to know, in a sentence."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


class DrillReport(msgspec.Struct, frozen=True):
    """One drill."""

    pack: str
    rows: tuple[DrillRow, ...] = msgspec.field(name="switches")

    @property
    def passed(self) -> bool:
        """Whether everything that was tried obeyed."""
        return all(row.result != "failed" for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        rows = [row.to_dict() for row in self.rows]
        return {"pack": self.pack, "passed": self.passed, "switches": rows}
