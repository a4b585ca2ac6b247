"""The service, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bmslink.cli.render.banks import bank_lines
from bmslink.cli.render.clean import clean
from bmslink.cli.render.control_run import switches
from bmslink.moments import duration

if TYPE_CHECKING:
    from bmslink.runtime.api.hosting import Listening

__all__ = ["ready", "reloaded", "status"]


def ready(listening: Listening) -> str:
    """The line that other programs wait for."""
    more = f" {listening.tcp}" if listening.tcp and listening.socket else ""
    return f"ready {listening.at}{more}"


def reloaded(found: Mapping[str, Any]) -> Iterator[str]:
    """What a reload did."""
    for word in ("added", "removed", "restarted"):
        if names := found.get(word):
            yield f"{word.capitalize()}: {clean(', '.join(map(str, names)))}."
    kept = len(found.get("kept") or ())
    yield f"{kept} pack{'s' * (kept != 1)} went on unchanged."
    yield from (clean(str(remark)) for remark in found.get("remarks") or ())


def status(found: Mapping[str, Any], socket: str) -> Iterator[str]:
    """One service and its packs."""
    uptime = duration(float(found.get("uptime") or 0.0))
    yield clean(
        f"bmslink {found.get('version')}, process {found.get('pid')}, running for {uptime}, "
        f"at {socket}"
    )
    where = found.get("config")
    yield clean(f"configuration: {where}" if where else "configuration: none, as it was started")
    if found.get("tcp"):
        yield clean(f"over TCP at {found['tcp']}, with the token in {found.get('token_file')}")
    if not found.get("healthy", True):
        yield "A pack's task has stopped turning: the service hangs; restart it."
    if history := found.get("history"):
        yield from _history(history)
    for output in found.get("outputs") or ():
        yield from _output(output)
    for bank in found.get("banks") or ():
        with suppress(KeyError, TypeError, ValueError):  # of a service of another version
            yield from list(bank_lines(bank))
    for pack in found.get("packs") or ():
        yield from _pack(pack)
    yield from (clean(str(remark)) for remark in found.get("remarks") or ())


def _pack(pack: Mapping[str, Any]) -> Iterator[str]:
    health = pack.get("health") or {}
    age = pack.get("age")
    heard = "never read" if age is None else f"read {_ago(float(age))} ago"
    state = f"{health.get('state')} since {_since(health.get('since'))}"
    yield clean(f"  {pack.get('name')}: {state}, {heard}; {pack.get('target')}")
    if health.get("error"):
        yield clean(f"    {health['error']}")
    if doing := pack.get("doing"):
        since = _since(doing.get("since"))
        yield clean(
            f"    not being polled: {doing.get('what')} for {doing.get('who')}, since {since}"
        )
    if pack.get("open_change"):
        yield clean(f"    {pack['open_change']}")
    if stop := (pack.get("acting") or {}).get("stopped"):
        why = f" ({stop['why']})" if stop.get("why") else ""
        yield clean(
            f"    stopped by {stop.get('who')}{why}: all off until `bmslink control reset "
            f"{pack.get('name')}`"
        )
    if acting := pack.get("acting"):
        unsaid = {"stopped": None} if pack.get("policies") else {"stopped": None, "standing": ""}
        yield from _acting({**acting, **unsaid})
    if link := _link(health.get("link") or {}):
        yield f"    link: {link}"
    if energy := pack.get("energy"):
        yield clean(f"    {_energy(energy)}")
    if policies := pack.get("policies"):
        permits = pack.get("permits") or {}
        words = ", ".join(f"{k} {'on' if v else 'OFF'}" for k, v in permits.items())
        mode = "in shadow" if pack.get("shadow") else "enforced"
        yield clean(f"    policies: {policies.get('path')}, {mode}: {words or 'no decision yet'}")


def _acting(acting: Mapping[str, Any]) -> Iterator[str]:
    """Which switches are held or ours, and why, as `control status` says it."""
    with suppress(KeyError, TypeError, ValueError):  # of a service of another version
        yield from list(switches(acting))


def _history(history: Mapping[str, Any]) -> Iterator[str]:
    size = float(history.get("size") or 0) / 1e6
    yield clean(f"history: {history.get('path')}, {size:.1f} MB")
    if history.get("error"):
        yield clean(f"  {history['error']} {history.get('waiting')} readings wait.")
    if history.get("lost"):
        yield clean(f"  {history['lost']} readings were not stored since it began.")


def _output(output: Mapping[str, Any]) -> Iterator[str]:
    lost = f", {output['lost']} lost" if output.get("lost") else ""
    yield clean(f"{output.get('output')}: {output.get('sent')} sent{lost}")
    if output.get("error"):
        yield clean(f"  {output['error']}; {output.get('waiting')} wait.")


def _energy(energy: Mapping[str, Any]) -> str:
    """What flowed, by direction, and of how long that is not known."""
    words = [
        f"{way} {float(energy.get(f'{way}_capacity') or 0):.3f} Ah, "
        f"{float(energy.get(f'{way}_energy') or 0):.1f} Wh"
        for way in ("charged", "discharged")
    ]
    if unknown := float(energy.get("unknown_seconds") or 0):
        words.append(f"not known for {duration(unknown)}")
    return f"{'; '.join(words)}; since {_since(energy.get('since'))}"


def _link(link: Mapping[str, Any]) -> str:
    requests, timeouts = int(link.get("requests") or 0), int(link.get("timeouts") or 0)
    if not requests:
        return ""
    words = [f"{requests} requests", f"{timeouts} unanswered ({timeouts / requests:.1%})"]
    if bad := link.get("checksum_errors"):
        words.append(f"{bad} damaged frames")
    if (openings := int(link.get("openings") or 0)) > 1:
        words.append(f"opened {openings} times")
    if (turnaround := link.get("turnaround")) is not None:
        words.append(f"answers after {float(turnaround) * 1000:.0f} ms")
    return ", ".join(words)


def _ago(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def _since(text: object) -> str:
    try:
        return f"{datetime.fromisoformat(str(text)).astimezone():%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return "?"
