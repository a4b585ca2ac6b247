"""What the policies of a pack decide, what holds, and how far the pack is from each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from bmslink.cli.dashboard.model.bounds import PolicyMargin
from bmslink.cli.dashboard.model.pack import WatchedPack
from bmslink.cli.dashboard.pages.fit import labelled, rule, wrapped
from bmslink.cli.dashboard.pages.live import limit_lines
from bmslink.cli.render import text as t
from bmslink.cli.render.text import Glyphs

__all__ = ["policy_lines"]

_BAR = 10


def policy_lines(
    pack: WatchedPack, margins: Sequence[PolicyMargin], width: int, g: Glyphs
) -> list[Text]:
    """All of it."""
    if not pack.limits and not margins:
        told = pack.policies or (
            'No policies judge this pack here. `policies = "FILE"` beside its name in bmslink.toml '
            "shows here what they would decide; `bmslink control presets` writes such a file, and "
            "`bmslink serve` or `bmslink control run` puts it to work."
        )
        return wrapped(told, width, "dim")
    lines = wrapped(pack.policies, width, "dim") if pack.policies else []
    if pack.limits:
        lines.append(rule("decided now", width, g))
        lines += _decided(pack.limits, width)
        lines += limit_lines(pack, width)
        verdicts = [v for v in pack.limits.get("verdicts", ()) if isinstance(v, Mapping)]
        for verdict in verdicts:
            said = f"! {verdict.get('policy')} ({verdict.get('mode')}) {verdict.get('state')}"
            lines += wrapped(f"{said}: {verdict.get('text')}", width, "bold yellow", 2)
        if not verdicts:
            lines.append(labelled("content", Text("every policy is", "green")))
    if margins:
        lines.append(rule("how far it is from each, the nearest first", width, g))
        lines += [_margin(each, width, g) for each in sorted(margins, key=_nearness)]
    return lines


def _nearness(each: PolicyMargin) -> tuple[bool, float, str]:
    return (each.state in ("rests", "missing"), -each.share, each.name)


def _decided(limits: Mapping[str, Any], width: int) -> Iterator[Text]:
    for name in ("charge", "discharge", "balance"):
        permit = limits.get(name)
        if not isinstance(permit, Mapping):
            continue
        allowed = permit.get("allowed")
        reasons = [str(r.get("text") or r.get("policy")) for r in permit.get("reasons", ())]
        said = "permitted" if allowed else f"not permitted: {'; '.join(reasons)}"
        for n, line in enumerate(wrapped(said, width - 12, "green" if allowed else "bold yellow")):
            yield labelled("" if n else name, line)


def _margin(each: PolicyMargin, width: int, g: Glyphs) -> Text:
    style = "bold yellow" if each.state not in ("holds", "rests") else ""
    text = Text(f"{each.name:<30.30} ", style)
    text.append(t.bar(each.share, _BAR, g), "not dim cyan" if not style else "not dim yellow")
    if each.state in ("rests", "missing"):
        return text.append(f" {each.state}  {each.text}", "dim")
    text.append(f" {each.value:>9} of {each.trip:>9}", style or "none")
    tail = each.margin if each.state == "holds" else each.state
    return text.append(f"  {tail}" + (f" ({each.mode})" if width >= 90 else ""), style or "dim")
