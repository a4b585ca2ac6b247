"""What `control` finds, for people."""

from __future__ import annotations

from bmslink.control.check import Finding
from bmslink.control.schema import SCHEMA
from bmslink.control.upgrade import Upgrade
from bmslink.control.written import in_words

__all__ = ["finding", "upgrade"]


def finding(found: Finding) -> str:
    """One line: how bad, and what."""
    return f"{found.level.name.lower()}: {found.text}"


def upgrade(found: Upgrade) -> list[str]:
    """What an upgrade changes, a line each."""
    if not found.needed:
        return [f"{found.path} is of today's schema {SCHEMA}: there is nothing to upgrade."]
    lines = [f"{found.path}: schema {found.schema} → {SCHEMA}"]
    for each in found.changes:
        if each.now is not None:
            now = in_words(each.now)
            lines.append(f"  {'.'.join(each.key[1:])}: {in_words(each.was)} → {now}")
    for name in dict.fromkeys(each.key[1] for each in found.changes if each.now is None):
        fields = (each.key[-1] for each in found.changes if each.key[1] == name)
        lines.append(f"  {name}: without {', '.join(fields)}, which have no effect on a curve")
    lines += [f"  {name}: new, it was a part of another policy" for name in found.added]
    if not found.changes:
        lines.append("  No value of it changes.")
    return lines
