"""A balancing session for people: the checks, the plan, how it is, and what it came to. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bmslink.cli.render.clean import clean

__all__ = ["checks", "line", "plan", "report", "status"]

_MARKS = {"ok": "ok", "warning": "warning", "refused": "refused"}


def checks(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each check."""
    width = max((len(_MARKS[str(row["state"])]) for row in found), default=0)
    for row in found:
        yield clean(f"{_MARKS[str(row['state'])]:<{width}}  {row['text']}")


def plan(looked: Mapping[str, Any]) -> Iterator[str]:
    """What it will do, what it leaves, and how long it may take."""
    found = looked.get("plan")
    if not isinstance(found, Mapping):
        return
    yield ""
    yield (
        f"The highest of {found['cells']} cells is held at {found['top']:.3f} V until all are "
        f"within {_mv(found['target'])}, and then watched at rest."
    )
    if found["supply"] is None and "charger" not in looked["refused"]:
        yield (
            f"The charger is told at most {found['top'] * found['cells']:.1f} V and "
            f"{found['full']:g} A, and {found['holding']:g} A at the top."
        )
    for key, value in found["settings"].items():
        yield clean(f"Set for the time of the session: {key} = {_value(value)}")
    if found["switch_on"]:
        yield "Balancing is switched on for the time of the session."
    if not found["settings"] and not found["switch_on"]:
        yield "No setting is changed: the balancer is set well."
    for key, why in found["left"].items():
        yield clean(f"Stays: {key}, {why}")
    yield from _estimate(found["estimate"])
    yield f"It ends after {found['hours']:g} h at the latest, and everything is set back."


def _estimate(found: Mapping[str, Any]) -> Iterator[str]:
    charge, hours = found["charge"], found["hours"]
    if charge is not None:
        yield f"Between the cells: {_span(charge)} Ah."
    if hours is None:
        yield clean(f"How long it takes cannot be said: {found['basis']}.")
    else:
        yield clean(f"It takes {_span(hours)} h: {found['basis']}.")


def _span(found: Sequence[float]) -> str:
    return f"about {_short(found[1])} ({_short(found[0])} to {_short(found[2])})"


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def _mv(volts: float) -> str:
    return f"{1000 * volts:.0f} mV"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def line(session: Mapping[str, Any]) -> str:
    """How it is, on one line."""
    now = session["now"]
    return clean(
        f"{session['hours']:.1f} h  {session['phase']}  {session['why']}  "
        f"[{now['voltage']:.2f} V, {_amps(now['current'])}]"
    )


def _amps(current: float | None) -> str:
    return "? A" if current is None else f"{current:+.1f} A"


def status(found: Mapping[str, Any]) -> Iterator[str]:
    """Whether one runs, and how it is."""
    session = found.get("session")
    if not isinstance(session, Mapping):
        if isinstance(found.get("report"), Mapping):
            yield "No balancing session runs. The last one:"
            yield from report(found["report"])
        else:
            yield "No balancing session runs, and none is known."
        return
    yield clean(
        f"A balancing session of {session['who']} (since {session['began']}): {found['state']}."
    )
    yield line(session)
    before, now = session["before"], session["now"]
    yield (
        f"{_mv(before['delta'])} apart at the beginning, {_mv(now['delta'])} now; "
        f"{session['hours_at_top']:.1f} h at the top, {session['charged']:.1f} Ah put in."
    )
    for key, (old, new) in session["changed"].items():
        yield clean(f"{key} is {_value(new)} meanwhile, and {_value(old)} otherwise.")
    if found["state"] == "cut off":
        word = shlex.quote(str(session["target"]))
        yield clean(
            f"`bmslink balance session {word} --resume` goes on, --restore sets everything back."
        )
    if found.get("error"):
        yield clean(str(found["error"]))


def report(found: Mapping[str, Any]) -> Iterator[str]:
    """What it came to, as one would hand it over."""
    yield clean(f"Balancing session of {found['name'] or found['pack']}")
    yield clean(f"{found['began']} to {found['ended']}, by {found['who']}")
    yield ""
    yield clean(f"Result: {'balanced' if found['done'] else found['result']}. {found['text']}")
    yield (
        f"{found['hours']:.1f} h, {found['hours_at_top']:.1f} h of them at the top "
        f"({found['top']:.3f} V); {found['charged']:.1f} Ah put in"
        + ("" if found["capacity"] is None else f" of {found['capacity']:g} Ah")
        + f"; highest cell ever {found['highest']:.3f} V"
        + ("" if found["hottest"] is None else f", hottest {found['hottest']:.0f} °C")
        + "."
    )
    worst, after = found["at_top"], found["after"]
    if worst is not None:
        were, are = _mv(worst["delta"]), _mv(after["delta"])
        yield f"At the top the cells were {were} apart, and are {are} apart now."
    if found.get("regained"):
        yield (
            f"About {found['regained']:.2g} Ah that the imbalance kept from being used are usable "
            "again (by the chemistry's curve, good to a factor of 2)."
        )
    yield ""
    yield from _cells(found)
    yield ""
    yield from _back(found["set_back"])


def _cells(found: Mapping[str, Any]) -> Iterator[str]:
    """Each cell before, at the top, and after: V, and mV above the lowest."""
    columns = [
        ("before", found["before"]),
        ("at the top", found["at_top"]),
        ("after", found["after"]),
    ]
    shown = [(name, each) for name, each in columns if each is not None]
    yield "cell" + "".join(f"{name:>20}" for name, _ in shown)
    for index in range(len(found["after"]["cells"])):
        row = f"{index + 1:>4}"
        for _, each in shown:
            volts, low = each["cells"][index], min(each["cells"])
            row += f"{volts:>11.3f} V {1000 * (volts - low):>+4.0f} mV"
        yield row
    yield "diff" + "".join(f"{_mv(each['delta']):>20}" for _, each in shown)


def _back(found: Mapping[str, Any]) -> Iterator[str]:
    for row in found["settings"]:
        state = "set back" if row["restored"] else f"NOT set back, it is {_value(row['after'])}"
        yield clean(
            f"{row['key']}: {_value(row['before'])}, during the session {_value(row['during'])}, "
            f"{state}."
        )
    if not found["settings"]:
        yield "No setting was changed."
    for text in found["left"]:
        yield clean(text)
    for text in found["changed_elsewhere"]:
        yield clean(f"Somebody else changed a setting meanwhile: {text}.")
    if found["restored"]:
        yield "Everything the session set is read back as it was."
