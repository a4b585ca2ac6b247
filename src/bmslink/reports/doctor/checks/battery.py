"""The battery: do the cells agree, and do they hold what they should?"""

from __future__ import annotations

from statistics import median

from bmslink.config.checks.charge import check_soc
from bmslink.events import EventSeverity
from bmslink.model import Reading
from bmslink.reports.doctor.facts import PackFacts
from bmslink.reports.doctor.finding import CheckVerdict, DoctorFinding, found, right, unknown
from bmslink.settings.chemistry import CHEMISTRIES

__all__ = ["capacity", "delta", "resistance", "soc", "temperatures", "trend"]

_FLOWS = 0.5
"""A that count as current."""
_REGIMES = {
    "at rest": (0.030, 0.100),
    "under current": (0.060, 0.150),
    "at the top of charge": (0.100, 0.250),
    "near empty": (0.150, 0.300),
}
"""Regime -> V between the cells that are a warning, and an alarm. LFP cells at rest between the
ends of their curve differ by a few mV; at its ends a percent of charge is tens of mV."""
_PER_C = 0.060
"""V that a load of one hour's capacity adds: resistances differ by a third."""
_OUTLIER, _LEAST = 2.0, 0.050
"""A balance wire counts as bad at so many times the median, and so many Ω above it."""
_WORN, _WORN_OUT = 80.0, 60.0
"""% of the design capacity."""
_SPREAD = 10.0
"""K between cell probes."""


def regime_of(reading: Reading, chemistry: str | None) -> str:
    """Which of `_REGIMES` a reading is in."""
    low, high = reading.min_cell_voltage, reading.max_cell_voltage
    kind = CHEMISTRIES.get(chemistry or "")
    if kind is not None and low is not None and high is not None:
        if high >= kind.curve[-1][1]:
            return "at the top of charge"
        if low <= _at(kind.curve, 10.0):
            return "near empty"
    elif reading.soc is not None and not 10.0 < reading.soc < 97.0:
        return "at the top of charge" if reading.soc >= 97.0 else "near empty"
    flows = reading.current is None or abs(reading.current) > _FLOWS
    return "under current" if flows else "at rest"


def _at(curve: tuple[tuple[float, float], ...], soc: float) -> float:
    """The voltage of a curve at the first of its points that is not below a state of charge."""
    return next(volts for percent, volts in curve if percent >= soc)


def delta(facts: PackFacts) -> CheckVerdict | None:
    """How far the cells are apart, in the regime the pack is in."""
    reading = facts.reading
    if reading is None:
        return unknown(facts.why_not("reading"))
    apart = min((r.cell_delta for r in facts.readings if r.cell_delta is not None), default=None)
    if apart is None or len(reading.cell_voltages) < 2:
        return unknown("the board does not tell single cells")
    regime = regime_of(reading, facts.cells.chemistry)
    warn, alarm = _REGIMES[regime]
    size = reading.full_capacity or reading.nominal_capacity
    if size and reading.current is not None:
        warn += _PER_C * abs(reading.current) / size
        alarm += _PER_C * abs(reading.current) / size
    known = [(v, n) for n, v in enumerate(reading.cell_voltages, 1) if v is not None]
    (low, lowest), (high, highest) = min(known), max(known)
    text = (
        f"The cells are {1000 * apart:.0f} mV apart {regime}: cell {highest} has {high:.3f} V, "
        f"cell {lowest} {low:.3f} V."
    )
    numbers = {"delta": apart, "regime": regime, "highest": highest, "lowest": lowest}
    if apart < warn:
        return right(f"{1000 * apart:.0f} mV apart {regime} (up to {1000 * warn:.0f} is usual)")
    loaded = regime == "under current"
    return found(
        DoctorFinding(
            severity=EventSeverity.ALARM if apart >= alarm else EventSeverity.WARNING,
            what=text,
            fix=(
                "Look again at rest: if they agree there, a terminal or a cell has a high "
                "resistance."
                if loaded
                else "Bring the cells together at the top of charge."
            ),
            command=f"bmslink {'read' if loaded else 'balance session'} {facts.word}",
            facts=numbers,
        )
    )


def resistance(facts: PackFacts) -> CheckVerdict | None:
    """Balance wires and cells that have a higher resistance than the others."""
    findings = [*_wires(facts.reading), *_cells(facts)]
    wires = [r for r in (facts.reading.cell_resistances or ()) if r] if facts.reading else []
    if findings:
        return found(*findings)
    if wires:
        return right(f"wires of {1000 * min(wires):.0f} to {1000 * max(wires):.0f} mΩ")
    if ((facts.life or {}).get("resistance") or {}).get("cells"):
        return right("no cell stands out in its history")
    if facts.reading is None:
        return unknown(facts.why_not("reading"))
    return unknown("the board does not measure its wires, and no history shows load steps")


def _wires(reading: Reading | None) -> list[DoctorFinding]:
    told = reading.cell_resistances if reading is not None else None
    known = [(ohms, n) for n, ohms in enumerate(told or (), 1) if ohms]
    if len(known) < 3:
        return []
    middle = median(ohms for ohms, _ in known)
    bad = [(ohms, n) for ohms, n in known if ohms > max(_OUTLIER * middle, middle + _LEAST)]
    if not bad:
        return []
    names = ", ".join(f"{n} ({1000 * ohms:.0f} mΩ)" for ohms, n in bad)
    return [
        DoctorFinding(
            severity=EventSeverity.WARNING,
            what=f"The balance wire of cell {names} stands out: the others have about "
            f"{1000 * middle:.0f} mΩ.",
            fix="Check the crimp, screw and plug of that wire.",
            facts={"cells": [n for _, n in bad], "median": middle},
        )
    ]


def _cells(facts: PackFacts) -> list[DoctorFinding]:
    """As the steps of the load in its history show them."""
    rows = ((facts.life or {}).get("resistance") or {}).get("cells") or ()
    found_rows = []
    for row in rows:
        share, ohms, sure = (row.get(k) for k in ("of_median", "value", "uncertainty"))
        if not all(isinstance(v, int | float) for v in (share, ohms, sure)):
            continue
        if share > 150.0 and ohms - sure > ohms * 100.0 / share:
            found_rows.append(
                DoctorFinding(
                    severity=EventSeverity.WARNING,
                    what=f"Cell {row.get('cell')} has {1000 * ohms:.2f} ± {1000 * sure:.2f} mΩ, "
                    f"{share:.0f} % of the median cell.",
                    fix="Check its terminals first (torque, clean surface), then the cell.",
                    facts={"cell": row.get("cell"), "of_median": share},
                )
            )
    return found_rows


def capacity(facts: PackFacts) -> CheckVerdict | None:
    """What the battery holds against what it was designed for."""
    reading = facts.reading
    if reading is None:
        return unknown(facts.why_not("reading"))
    known = ((facts.life or {}).get("capacity") or {}).get("of_nominal")
    says, share = "as found in its history", known
    if not isinstance(share, int | float):
        says, share = "as the board counts", None
        if reading.full_capacity and reading.nominal_capacity:
            share = 100.0 * reading.full_capacity / reading.nominal_capacity
        elif reading.soh is not None:
            share = reading.soh
    if share is None:
        return unknown("neither the board nor a history says what it holds")
    held = facts.values.get("nominal_capacity")
    if share < _WORN:
        return found(
            DoctorFinding(
                severity=EventSeverity.ALARM if share < _WORN_OUT else EventSeverity.WARNING,
                what=f"It holds {share:.0f} % of its design capacity, {says}.",
                fix="Measure it with a full charge and discharge under the service before you "
                "replace cells: `bmslink life` then says how sure that is.",
                facts={"percent": share, "nominal": held},
            )
        )
    return right(f"{share:.0f} % of its design, {says}")


def soc(facts: PackFacts) -> CheckVerdict | None:
    """Whether the state of charge goes with the voltages, at rest."""
    reading = facts.reading
    if reading is None:
        return unknown(facts.why_not("reading"))
    if reading.soc is None:
        return unknown("the board does not say it")
    if facts.cells.chemistry is None:
        return unknown("nobody says what the cells are made of")
    if reading.current is None or abs(reading.current) > _FLOWS:
        return unknown("current flows, and only cells at rest show their charge")
    check = check_soc(reading.soc, reading, facts.cells.chemistry)
    if check.passed:
        return right(f"{reading.soc:g} % goes with the voltages")
    settable = "soc" in facts.settable
    return found(
        DoctorFinding(
            severity=EventSeverity.WARNING,
            what=f"The board shows {reading.soc:g} %, and {check.sentence.partition(': ')[2]}",
            fix="Charge it until it is full: most boards set themselves right there."
            + ("" if settable else " The vendor's app can set it."),
            facts={"soc": reading.soc},
        )
    )


def temperatures(facts: PackFacts) -> CheckVerdict | None:
    """How far the cells' probes are apart."""
    reading = facts.reading
    if reading is None:
        return unknown(facts.why_not("reading"))
    known = {
        name: t
        for name, t in reading.temperatures.items()
        if t is not None and t > -39.5 and name.startswith(("cell_", "sensor_"))
    }
    if len(known) < 2:
        return unknown("fewer than two cell probes say anything")
    cold, warm = min(known, key=lambda n: known[n]), max(known, key=lambda n: known[n])
    spread = known[warm] - known[cold]
    if spread > _SPREAD:
        return found(
            DoctorFinding(
                severity=EventSeverity.WARNING,
                what=f"The probes are {spread:.0f} K apart: {warm} has {known[warm]:.0f} °C, "
                f"{cold} {known[cold]:.0f} °C.",
                fix="Check the terminals at the warm one; a probe may also sit at the transistors, "
                "or hang free.",
                facts={"spread": spread, "warmest": warm, "coldest": cold},
            )
        )
    return right(f"{known[cold]:.0f} to {known[warm]:.0f} °C")


def trend(facts: PackFacts) -> CheckVerdict | None:
    """Whether capacity falls or imbalance grows, where there is a history."""
    life = facts.life
    if not life:
        return unknown(facts.why_not("life"))
    findings, known = [], []
    for part, name, worse, unit, limit in (
        ("capacity", "trend", -1, "% of its capacity", 5.0),
        ("imbalance", "rest_trend", 1, "mV between its cells", 20.0),
    ):
        told = ((life.get(part) or {}).get(name)) or {}
        rate, sure = told.get("per_year"), told.get("uncertainty")
        if not isinstance(rate, int | float) or not isinstance(sure, int | float):
            continue
        known.append(f"{rate:+.0f} ± {sure:.0f} {unit} a year")
        if worse * rate - sure > 0 and worse * rate > limit:
            findings.append(
                DoctorFinding(
                    severity=EventSeverity.WARNING,
                    what=f"Each year it {'loses' if worse < 0 else 'gains'} {abs(rate):.0f} ± "
                    f"{sure:.0f} {unit}.",
                    fix="Look at heat, at long times at full charge, and at the weakest cell.",
                    command=f"bmslink life {facts.word}" if facts.target.name else "",
                    facts={"per_year": rate, "uncertainty": sure},
                )
            )
    if not known:
        return unknown("its history is too short to tell")
    return found(*findings, right=", ".join(known))
