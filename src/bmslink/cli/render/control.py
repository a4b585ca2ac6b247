"""What `control` finds, for people."""

from __future__ import annotations

from bmslink.control.check import Finding

__all__ = ["finding"]


def finding(found: Finding) -> str:
    """One line: how bad, and what."""
    return f"{found.level.name.lower()}: {found.text}"
