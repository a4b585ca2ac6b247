"""The tables of docs/control.md, made from the code.

    python tools/control_table.py [--check]

`--check` changes nothing and fails if the page is not what the code says.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from bmslink.control.decide.catalogue import CATALOGUE
from bmslink.control.decide.policy import Action, Mode, Policy, Reset, Severity, records_of
from bmslink.control.decide.quantities import QUANTITIES
from bmslink.control.decide.thresholds import CURVES, THRESHOLDS
from bmslink.control.decide.thresholds import UNITS as THRESHOLD_UNITS
from bmslink.control.written import DOES
from bmslink.settings.units import write

PAGE = Path(__file__).parent.parent / "docs" / "control.md"
_NAMES = {"lfp": "LFP", "nmc": "NMC", "lto": "LTO", "na-ion": "Na-ion"}
_ACTS = {
    Action.CHARGE: "charge",
    Action.DISCHARGE: "discharge",
    Action.BALANCE: "balance",
    Action.FLOAT: "charge voltage",
}


def policies() -> Iterator[str]:
    """Every quantity with its levels, with the LFP numbers; those of the others are in the next
    table."""
    titles = ("record", "level", "own name", "what it sees", "does", "acts at", "back at", "after",
              "ends", "unmeasured")  # fmt: skip
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for record in records_of(CATALOGUE["lfp"].values()).values():
        told = f"**`{record.name}`**"
        for level, policy in record.levels.items():
            yield f"| {' | '.join((told, f'`{level}`', *_cells(policy)))} |"
            told = ""


def _cells(policy: Policy) -> Iterator[str]:
    yield from (
        f"`{policy.name}`",
        _seen(policy),
        _does(policy),
        _trip(policy),
        _threshold(policy, policy.release),
        _after(policy),
        _ends(policy),
        _missing(policy),
    )


def _seen(policy: Policy) -> str:
    when = "" if policy.when == "always" else f" ({policy.when})"
    off = " **off as shipped**" if policy.mode is Mode.OFF else ""
    return f"{policy.title}{when}: {QUANTITIES[policy.quantity].title}{off}"


def _does(policy: Policy) -> str:
    told = " and ".join(_ACTS[action] for action in policy.acts)
    text = f"{DOES[policy.severity]} {told}".strip()
    if policy.severity == Severity.EMERGENCY:
        return f"{text} at once"
    if policy.severity != Severity.DERATE or policy.acts == (Action.FLOAT,):
        return text
    if policy.curve is not None:
        return f"{text} by a curve"
    return f"{text} to {100 * policy.factor:g} %" + (" of 1 C" if policy.of == "capacity" else "")


def _trip(policy: Policy) -> str:
    parts = []
    if policy.trip is not None:
        parts.append(_threshold(policy, policy.trip))
    elif policy.curve is not None:
        named = isinstance(policy.curve, str)
        points = CURVES["lfp"][policy.curve] if isinstance(policy.curve, str) else policy.curve
        ends = "0 of" if any(fraction == 0 for _, fraction in points) else "never;"
        parts.append(f"{ends} `{policy.curve}`" if named else ends)
    if policy.bms is not None:
        unit = QUANTITIES[policy.quantity].unit
        step = write(abs(policy.inside_bms), "K" if unit == "°C" else unit)
        side = "inside" if policy.inside_bms >= 0 else "outside"
        parts.append(f"{step} {side} `{policy.bms}`")
    return ", ".join(parts)


def _threshold(policy: Policy, value: float | str | None) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f"`{value}`"
    return write(value, QUANTITIES[policy.quantity].unit)


def _after(policy: Policy) -> str:
    if policy.curve is not None:
        return "at once"
    parts = [] if policy.samples == 1 else [f"{policy.samples} samples"]
    if policy.on_delay:
        parts.append(write(policy.on_delay, "s"))
    if policy.after_bms:
        parts.append("the BMS's own delay")
    if policy.load_delay:
        parts.append(f"{write(policy.load_delay, 's')} under load")
    return ", ".join(parts) or "at once"


def _ends(policy: Policy) -> str:
    if policy.severity == Severity.EMERGENCY or policy.reset is Reset.MANUAL:
        return "by a person"
    if policy.curve is not None:
        return "at once"
    if policy.off_samples > 1:
        return f"after {policy.off_samples} samples"
    longest = max(policy.off_delay, policy.min_off)
    text = f"after {write(longest, 's')}" if longest else "at once"
    if policy.lockout is not None:
        most, window = policy.lockout
        text += f"; over {most} in {write(window, 's')}: by a person"
    return text


def _missing(policy: Policy) -> str:
    rule = policy.on_missing
    if rule.rule == "derate":
        return f"limits to {100 * rule.factor:g} %"
    return "stops" if rule.rule == "trip" else "-"


def thresholds() -> Iterator[str]:
    """The named numbers and curves per chemistry."""
    yield f"| name | {' | '.join(_NAMES[kind] for kind in THRESHOLDS)} |"
    yield f"|---|{'---:|' * len(THRESHOLDS)}"
    for name, unit in THRESHOLD_UNITS.items():
        numbers = [f"{THRESHOLDS[kind][name]:g}" for kind in THRESHOLDS]
        yield f"| `{name}`, {unit} | {' | '.join(numbers)} |"
    for name in CURVES["lfp"]:
        curves = [
            ", ".join(f"{x:g}→{100 * y:g} %" for x, y in CURVES[kind][name]) for kind in THRESHOLDS
        ]
        yield f"| `{name}` | {' | '.join(curves)} |"


SECTIONS = {"policies": policies, "thresholds": thresholds}


def made(text: str) -> str:
    """The page with its tables as the code says. `ValueError` if it has no room for one."""
    for name, rows in SECTIONS.items():
        begin, end = f"<!-- {name}: made by tools/control_table.py -->", f"<!-- {name}: end -->"
        head, found, rest = text.partition(begin)
        _, closed, tail = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"{PAGE.name} has no {begin} with its {end}.")
        text = "\n".join((f"{head}{begin}", *rows(), f"{end}{tail}"))
    return text


def main(arguments: list[str]) -> int:
    """Write the tables, or only compare them."""
    old = PAGE.read_text()
    new = made(old)
    if old == new:
        return 0
    if "--check" in arguments:
        print(f"{PAGE.name} is not what the code says: run tools/control_table.py.")
        return 1
    PAGE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
