"""What policies say of live packs: each change, and what is in force now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from bmslink.cli.render.clean import clean
from bmslink.cli.render.explain import PHASES, moment
from bmslink.control.audit import FREE
from bmslink.control.decide.decision import Decision, Event
from bmslink.control.status import Run
from bmslink.moments import duration

__all__ = ["acting", "change", "run"]

_PERMITS = ("charge", "discharge", "balance")
_LIMITS = (("cvl", "CVL", "V"), ("ccl", "CCL", "A"), ("dcl", "DCL", "A"))
_TOGETHER = ("missing", "measured")
_BALANCING = {"trip": "balancing waits", "release": "balancing waits no longer"}
_MOST_SEEN = 6
LINK_DEAD = (
    "With the link to a BMS dead, no host can move its switches: only what carries the limits out, "
    "or a relay, still acts then."
)


def change(decision: Decision, now: datetime, label: str) -> Iterator[str]:
    """A line of what is in force, and one for each thing that happened."""
    permits = "  ".join(f"{name} {_word(getattr(decision, name).allowed)}" for name in _PERMITS)
    limits = "  ".join(
        f"{title} {limit.value:g} {unit}{_by(limit.reasons[0].policy)}"
        for name, title, unit in _LIMITS
        for limit in (getattr(decision.limits, name),)
    )
    stale = "  no fresh data" if decision.stale else ""
    yield f"{now.astimezone():%H:%M:%S}  {label}{permits}  {limits}{stale}"
    for event in decision.events:
        if event.what not in _TOGETHER and not _of_balancing(event):
            yield f"          {event.what}  {event.policy}: {clean(event.text)}"
    for what, words in _BALANCING.items():
        told = [e.text for e in decision.events if e.what == what and _of_balancing(e)]
        if told:
            yield f"          {words}: {clean('; '.join(told))}"
    for what in _TOGETHER:
        yield from _together([event for event in decision.events if event.what == what])


def acting(text: str, now: datetime, label: str, *, alarm: bool) -> Iterator[str]:
    """A line of what was done, or of what people should know of it."""
    yield f"{now.astimezone():%H:%M:%S}  {label}{'ALARM  ' if alarm else ''}{clean(text)}"


def _of_balancing(event: Event) -> bool:
    """A rule about when to balance: no fault, and a healthy pack comes and goes all day."""
    return event.what in _BALANCING and event.policy.startswith("balance_")


def _together(events: list[Event]) -> Iterator[str]:
    """One lost value silences many policies: a line for all of them."""
    if len(events) == 1:
        yield f"          {events[0].what}  {events[0].policy}: {clean(events[0].text)}"
    elif events:
        seen = list(dict.fromkeys(event.text.rpartition(": ")[0] for event in events))
        more = f" and {len(seen) - _MOST_SEEN} more" if len(seen) > _MOST_SEEN else ""
        words = clean(", ".join(seen[:_MOST_SEEN]) + more)
        fate = events[0].text.rpartition(": ")[2]
        yield f"          {events[0].what}  {len(events)} policies: {words}: {fate}"


def _word(allowed: bool) -> str:
    return "on" if allowed else "OFF"


def _by(policy: str) -> str:
    return "" if policy in FREE else f" ({policy})"


def run(found: Run, now: float) -> Iterator[str]:
    """One `control run` and its packs."""
    mode = "in shadow" if found.shadow else "enforcing"
    gone = found.gone(now)
    age = found.age(now)
    state = f"last heard of {duration(age)} ago: it ended or hangs" if gone else "running"
    if gone and age < 0:
        state = "the clock was set back since it wrote this"
    yield (
        f"{clean(found.policies)}, {mode}, process {found.pid}, since {moment(found.began)}: "
        f"{state}"
    )
    for pack in found.packs:
        heard = "never heard" if pack.heard is None else f"heard {duration(now - pack.heard)} ago"
        label = f"{pack.name} ({pack.target})" if pack.name else pack.target
        yield f"  {clean(label)}: {heard}, {pack.trips} trips since the start"
        if pack.error:
            yield f"    {clean(pack.error)}"
        if pack.permits:
            yield "    " + "  ".join(f"{k} {_word(v)}" for k, v in pack.permits.items())
            yield (
                "    "
                + "  ".join(
                    f"{title} {pack.limits[name]:g} {unit}{_by(pack.binding.get(name, ''))}"
                    for name, title, unit in _LIMITS
                    if name in pack.limits
                )
                + (f"  {PHASES[pack.phase]}" if pack.phase in PHASES else "")
            )
        for text in pack.policies:
            yield f"    {clean(text)}"
        yield from switches(pack.acting)


def switches(found: Mapping[str, Any]) -> Iterator[str]:
    """What acts on a pack, and every switch that is held or ours."""
    if not found:
        return
    if found.get("standing"):
        yield f"    {clean(found['standing'])}"
    if found.get("sink_trouble"):
        yield f"    limits reach nobody: {clean(found['sink_trouble'])}"
    if found.get("disk"):
        yield f"    {clean(found['disk'])}"
    stop = found.get("stopped")
    if stop:
        why = f": {stop['why']}" if stop["why"] else ""
        ends = "`bmslink control reset TARGET` ends it"
        yield f"    EMERGENCY STOP by {clean(stop['who'] + why)}; {ends}"
    for each in found.get("overrides", ()):
        left = duration(each["left"])
        yield f"    {clean(each['policy'])} is set aside by {clean(each['who'])}, {left} left"
    for name, switch in found.get("switches", {}).items():
        # what only lowers limits, or only keeps it from being switched on, is said by the limits
        held = switch["holders"] and (switch.get("demand") or "open") in ("open", "open_now")
        off = switch["shown"] is False and name != "balance"  # which is off most of the time
        if switch["owner"] == "ours" or held or switch["stood_down"] or off:
            yield from _switch(name, switch)


def _holder(name: str) -> str:
    """A holder, as people call it."""
    person = name.removeprefix("person:")
    return name if person == name else f"{person} (by hand)"


def _switch(name: str, switch: Mapping[str, Any]) -> Iterator[str]:
    shown = {True: "on", False: "OFF", None: "not known"}[switch["shown"]]
    words = [f"{name} switch {shown}"]
    if switch["owner"] == "ours":
        words.append("switched off by us")
    elif switch["owner"] == "foreign":
        words.append("set by somebody else")
    holders = ", ".join(map(_holder, switch["holders"]))
    if switch["stood_down"]:
        against = f" though {holders} would hold it off" if holders else ""
        words.append(f"we stand down{against}: `bmslink control resume TARGET` ends that")
    elif holders:
        words.append(f"held by {holders}")
    command = switch["command"]
    if command is not None:
        state = {True: "read back", False: "WITHOUT EFFECT", None: "not read back yet"}
        on = "on" if command["on"] else "off"
        ago = command["ago"]
        when = "before the last start" if ago is None else f"{duration(ago)} ago"
        words.append(f"{on} sent {when}, {state[command['read_back']]}")
    yield f"    {clean('; '.join(words))}"
    if switch["given_back"]:
        yield f"      not given back yet: {clean(switch['given_back'])}"
