"""What `control` finds, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bmslink.cli.render.clean import clean
from bmslink.control.check import Finding
from bmslink.control.decide.policy import Policy, PolicySet
from bmslink.control.offload import Offload, Step
from bmslink.control.schema import SCHEMA
from bmslink.control.upgrade import Upgrade
from bmslink.control.written import in_words

__all__ = ["finding", "offload", "powers", "upgrade"]


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


_MAY = {
    "charge": "may switch charging off",
    "discharge": "may switch discharging off",
    "limits": "lower limits, for what obeys them",
}


def powers(chosen: PolicySet, found: Mapping[str, Sequence[Policy]], pack: str) -> Iterator[str]:
    """What a policy file may do on a pack."""
    yield f"On {clean(pack)} this file lets act:"
    for name, words in _MAY.items():
        rows = found[name]
        yield f"  {len(rows)} policies {words}" + (
            f": {', '.join(row.name for row in rows)}" if rows else ""
        )
    if not any(found[name] for name in _MAY):
        yield '  Nothing: no policy of it has mode = "enforce".'
    power = chosen.battery.host_power
    if power == "pack":
        yield "  This computer runs on the pack: discharge opens in an emergency only."
    if chosen.battery.alternator:
        yield "  An alternator charges: charge opens up to 10 s after an alarm."
    yield "What it switches off it gives back by itself, by its rules; nothing else is switched on."


_STEPS = {
    Step.SET: "The board takes over:",
    Step.KEEP: "It protects as much already, so this stays:",
    Step.UNABLE: "It cannot hold this:",
}


def offload(found: Offload) -> Iterator[str]:
    """What a board can hold of a policy file, and what it cannot."""
    for step, title in _STEPS.items():
        rows = [row for row in found.rows if row.step is step]
        if rows:
            yield title
            yield from (f"  {clean(row.why)}" for row in rows)
