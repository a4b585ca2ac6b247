"""The board: is it known, what does it report, are its probes, its clock and its switches right?"""

from __future__ import annotations

from collections.abc import Iterator

from bmslink.events import EventSeverity
from bmslink.model import Condition, Reading, Switch
from bmslink.reports.doctor.conditions import ADVICE, HARMLESS
from bmslink.reports.doctor.facts import PackFacts
from bmslink.reports.doctor.finding import CheckVerdict, DoctorFinding, found, right, unknown

__all__ = ["clock", "conditions", "firmware", "offset", "password", "probes", "switches"]

_CLOCK, _CLOCK_FAR = 60.0, 900.0
"""s that a board's clock may be off before it is a note, and a warning."""
_OFFSET = 0.3
"""A that a board may show where no current can flow."""
_OPEN = -39.5
"""°C that a probe shows which is not there."""


def firmware(facts: PackFacts) -> CheckVerdict | None:
    """Whether this firmware is known, and its settings may be written."""
    identity = facts.identity
    if identity is None:
        return unknown(facts.why_not("identity"))
    name = " ".join(filter(None, (identity.vendor, identity.model, identity.firmware)))
    able = identity.capabilities.get("settings")
    evidence = identity.map.get("evidence", "")
    if able is not None and not able.supported and "settings" in facts.unanswered:
        return unknown(facts.why_not("settings"))
    if able is not None and not able.supported:
        return found(
            DoctorFinding(
                severity=EventSeverity.INFO,
                what=f"The settings of {name or 'this board'} cannot be changed from here: "
                f"{able.reason or 'they are not known'}.",
                fix="Use the vendor's app for settings. A recording of this board helps to add it.",
                command=f"bmslink capture {facts.word} -o board.jsonl",
            )
        )
    if able is not None and able.reason:
        return found(
            DoctorFinding(
                severity=EventSeverity.INFO,
                what=f"{name}: {able.reason}.",
                fix="It can be read; what is written needs your explicit word.",
                command=f"bmslink info {facts.word}",
                facts={"map": identity.map.get("name"), "evidence": evidence},
            )
        )
    if not identity.known:
        return found(
            DoctorFinding(
                severity=EventSeverity.INFO,
                what="The board does not say enough of itself to know its firmware.",
                fix="It can be read; nothing is written to it.",
            )
        )
    return right(f"{name}, settings map {identity.map.get('name') or 'known'}")


_LISTS = (
    ("faults", EventSeverity.CRITICAL, "reports a fault"),
    ("protections", EventSeverity.ALARM, "protects"),
    ("alarms", EventSeverity.WARNING, "warns"),
)


def conditions(facts: PackFacts) -> CheckVerdict | None:
    """What the board reports, with its cause and cure."""
    if facts.reading is None:
        return unknown(facts.why_not("reading"))
    findings = list(_reported(facts.reading))
    if not findings and not facts.reading.conditions_known:
        return unknown("the board does not say what it reports")
    return found(*findings, right="the board reports nothing")


def _reported(reading: Reading) -> Iterator[DoctorFinding]:
    seen: set[Condition] = set()
    for name, severity, does in _LISTS:
        for condition in getattr(reading, name):
            if condition in seen or condition in HARMLESS:
                continue
            seen.add(condition)
            advice = ADVICE[condition]
            note = condition is Condition.SOC_LOW and name == "alarms"
            yield DoctorFinding(
                severity=EventSeverity.INFO if note else severity,
                what=f"The board {does}: {condition}.{_numbers(reading, condition)}",
                why=advice.cause,
                fix=advice.cure,
                facts={"condition": str(condition), "list": name},
            )


def _numbers(reading: Reading, condition: Condition) -> str:
    """The measured values that it is about."""
    if condition.startswith("cell_") and reading.min_cell_voltage is not None:
        return (
            f" The cells have {reading.min_cell_voltage:.3f} to {reading.max_cell_voltage:.3f} V."
        )
    if "overcurrent" in condition and reading.current is not None:
        return f" Now {reading.current:+.1f} A flow."
    if "temperature" in condition:
        known = {name: t for name, t in reading.temperatures.items() if t is not None}
        return f" {', '.join(f'{n} {t:.0f} °C' for n, t in known.items())}." if known else ""
    if condition.startswith("pack_") and reading.voltage is not None:
        return f" The pack has {reading.voltage:.2f} V."
    return ""


def probes(facts: PackFacts) -> CheckVerdict | None:
    """Temperature probes and cells that say nothing."""
    reading = facts.reading
    if reading is None:
        return unknown(facts.why_not("reading"))
    findings = []
    told = reading.temperatures
    silent = [name for name, t in told.items() if t is None or t <= _OPEN]
    heard = [name for name in told if name not in silent]
    cells = [name for name in told if name.startswith(_AT_CELLS)]
    missed = [name for name in cells if name in silent and _fitted(name, cells, heard)]
    if missed:
        findings.append(
            DoctorFinding(
                severity=EventSeverity.WARNING,
                what=f"These probes say nothing: {', '.join(missed)}.",
                why="Without a probe nobody sees a hot or a frozen cell.",
                fix="If it is fitted, check its plug. If it never was, name those that are in the "
                "policy file (sensors = [...] under [battery]).",
                facts={"silent": missed, "heard": heard},
            )
        )
    elif not told:
        return unknown("the board shows no temperature")
    unfitted = f" (not fitted, or silent: {', '.join(silent)})" if silent else ""
    lost = [n for n, volts in enumerate(reading.cell_voltages, 1) if volts is None]
    dead = [
        n for n, volts in enumerate(reading.cell_voltages, 1) if volts is not None and volts < 0.5
    ]
    for numbers, what in ((lost, "say nothing"), (dead, "show less than 0.5 V")):
        if numbers:
            findings.append(
                DoctorFinding(
                    severity=EventSeverity.ALARM,
                    what=f"Cells {', '.join(map(str, numbers))} {what}.",
                    why="A cell that is not measured is not protected.",
                    fix=ADVICE[Condition.VOLTAGE_SENSE].cure,
                    facts={"cells": numbers},
                )
            )
    measured = f"{len(reading.cell_voltages)} cells and {len(heard)} probes measured"
    return found(*findings, right=measured + unfitted)


_AT_CELLS = ("cell_", "sensor_")


def _fitted(name: str, cells: list[str], heard: list[str]) -> bool:
    """Whether a probe must be there: boards have more sockets than probes, which are filled from
    the first on."""
    behind = cells[cells.index(name) :]
    return any(other in heard for other in behind) or not any(c in heard for c in cells)


def offset(facts: PackFacts) -> CheckVerdict | None:
    """A current that is shown where none can flow."""
    reading = facts.reading
    if reading is None:
        return unknown(facts.why_not("reading"))
    if reading.current is None:
        return unknown("the board does not say the current")
    learnt = _learnt_offset(facts)
    if learnt is not None:
        return learnt
    if reading.charging_allowed is False and reading.discharging_allowed is False:
        if abs(reading.current) > _OFFSET:
            return found(
                DoctorFinding(
                    severity=EventSeverity.WARNING,
                    what=f"The board shows {reading.current:+.2f} A with both paths open.",
                    fix="Calibrate the zero of the current in the vendor's app, with nothing "
                    "connected: bmslink does not write calibrations.",
                    facts={"current": reading.current},
                )
            )
        return right(f"{reading.current:+.2f} A with both paths open")
    return unknown("only with both paths open, or over weeks, is it known that no current flows")


def _learnt_offset(facts: PackFacts) -> CheckVerdict | None:
    """As full-to-full loops of the history show it."""
    capacity = (facts.life or {}).get("capacity") or {}
    known = capacity.get("offset") or {}
    value, sure = known.get("value"), known.get("uncertainty")
    if not isinstance(value, int | float) or not isinstance(sure, int | float):
        return None
    if abs(value) > max(0.1, sure):
        return found(
            DoctorFinding(
                severity=EventSeverity.WARNING,
                what=f"Over its history the current is off by {value:+.2f} ± {sure:.2f} A.",
                fix="Calibrate its zero in the vendor's app, with nothing connected.",
                facts={"offset": value, "uncertainty": sure},
            )
        )
    return right(f"{value:+.2f} ± {sure:.2f} A over its history")


def clock(facts: PackFacts) -> CheckVerdict | None:
    """The board's clock against this computer's."""
    off = facts.clock_off
    if facts.target.scheme == "replay":
        return None
    if facts.target.scheme == "sim":
        return unknown("a simulated pack in this process lives in a time of its own")
    if off is None:
        if not facts.answers:
            return unknown(facts.why_not("clock"))
        return unknown(facts.missing.get("clock", "the board has none, or does not tell it"))
    if abs(off) <= _CLOCK:
        return right(f"{abs(off):.0f} s from this computer's")
    settable = "clock" in facts.settable
    way = "ahead of" if off > 0 else "behind"
    return found(
        DoctorFinding(
            severity=EventSeverity.WARNING if abs(off) > _CLOCK_FAR else EventSeverity.INFO,
            what=f"The board's clock is {_span(abs(off))} {way} this computer's.",
            fix="Set it." if settable else "Set it in the vendor's app.",
            command=f"bmslink settings set {facts.word} clock=now" if settable else "",
            facts={"seconds": round(off)},
        )
    )


def _span(seconds: float) -> str:
    for size, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"


def password(facts: PackFacts) -> CheckVerdict | None:
    """Whether the password is that of the factory, where the board tells."""
    reading = facts.reading
    if reading is None:
        return unknown(facts.why_not("reading"))
    told = (*reading.alarms, *reading.protections, *reading.faults)
    if Condition.DEFAULT_PASSWORD in told:
        return None  # `conditions` has said so
    return unknown("this board does not tell whether its password is the factory's")


_PATHS = ("charge", "discharge")


def switches(facts: PackFacts) -> CheckVerdict | None:
    """What is switched off, and who did it."""
    reading = facts.reading
    if reading is None:
        return unknown(facts.why_not("reading"))
    findings = []
    told = {row.get("switch"): row for row in facts.orphans}
    for switch in Switch:
        shown = facts.switches.get(str(switch), getattr(reading, switch.key))
        row = told.get(str(switch))
        if row is None and shown is not False:
            continue
        if switch is Switch.BALANCE and (row is None or row.get("by") == "unknown"):
            continue  # many boards switch it by themselves
        who = row.get("why") if row is not None else "it is not known by whom"
        since = f" since {row['since']}" if row is not None and row.get("since") else ""
        findings.append(
            DoctorFinding(
                severity=EventSeverity.WARNING,
                what=f"{str(switch).capitalize()} is switched off{since}: {who}.",
                fix="Find out why first; then switch it on.",
                command=str((row or {}).get("command") or _on(facts, switch)),
                facts={"switch": str(switch), "by": (row or {}).get("by")},
            )
        )
    known = [facts.switches.get(each, getattr(reading, f"{each}_switch")) for each in _PATHS]
    if not findings and None in known:
        return unknown(facts.missing.get("orphans", "the board does not say how they are"))
    return found(*findings, right="charging and discharging are switched on")


def _on(facts: PackFacts, switch: Switch) -> str:
    return f"bmslink switch {facts.word} {switch} on"
