"""Banks of packs, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bmslink.cli.render.clean import clean

__all__ = ["bank_lines", "summary"]

_TITLES = {
    "ccl": ("charge", "A"),
    "dcl": ("discharge", "A"),
    "cvl": ("charge voltage", "V"),
    "dvl": ("discharge voltage", "V"),
}


def bank_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """One bank in `service status`."""
    yield clean(f"  bank {found.get('bank')} ({found.get('connection')}): {summary(found)}")
    for name in _TITLES:
        limit = found.get(name)
        if isinstance(limit, Mapping):
            yield clean(f"    {_limit(name, limit)}")
    if shares := _shares(found):
        yield clean(f"    shares: {shares}")
    for text in found.get("trouble") or ():
        yield clean(f"    {text}")
    if found.get("acts") is False:
        yield "    in series: limits are reported, and nothing acts on them"
    for key in ("failed", "sink_trouble"):
        if found.get(key):
            yield clean(f"    {found[key]}")


def summary(found: Mapping[str, Any]) -> str:
    """What it has as a whole: `53.10 V, -12.3 A, 61 %, 380 Ah`."""
    words = [
        f"{found[key]:{form}} {unit}"
        for key, form, unit in (
            ("voltage", ".2f", "V"), ("current", ".1f", "A"), ("soc", ".0f", "%"),
            ("capacity", "g", "Ah"),
        )
        if isinstance(found.get(key), int | float)
    ]  # fmt: skip
    if found.get("phase"):
        words.append(str(found["phase"]))
    packs = found.get("packs") or ()
    heard = sum(bool(pack.get("fresh")) for pack in packs)
    return ", ".join([*words, f"{heard} of {len(packs)} packs heard"])


def _limit(name: str, limit: Mapping[str, Any]) -> str:
    title, unit = _TITLES[name]
    binding = [each for each in limit.get("reasons") or () if each.get("code") != "recovery"]
    why = f": {binding[0]['text']}" if binding else ""
    code = str(limit.get("code")).replace("_", " ")
    return f"{title} {limit.get('value'):g} {unit} ({code}){why}"


def _shares(found: Mapping[str, Any]) -> str:
    """The share of each pack, and how it is known."""
    words = []
    for pack in found.get("packs") or ():
        shares = pack.get("shares") or {}
        share = shares.get("charge") or shares.get("discharge")
        if share is not None:
            bounds = f"{share['low']:.0%} to {share['high']:.0%}"
            words.append(f"{pack.get('name')} {share['likely']:.0%} ({bounds}, {share['source']})")
        else:
            words.append(f"{pack.get('name')} {'apart' if pack.get('apart') else 'open'}")
    return ", ".join(words) if any(p.get("shares") for p in found.get("packs") or ()) else ""
