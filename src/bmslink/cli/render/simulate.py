"""What the simulator prints: where it can be reached, and its faults."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

__all__ = ["faults", "ready"]


def ready(target: str) -> str:
    """The line that other programs wait for."""
    return f"ready {target}"


def faults(known: Mapping[str, str]) -> Table:
    """Every fault with what it does."""
    table = Table.grid(padding=(0, 2))
    for name, what in known.items():
        table.add_row(Text(name, "bold"), Text(what))
    return table
