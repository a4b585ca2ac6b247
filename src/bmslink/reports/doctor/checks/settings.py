"""The settings: do they make sense, do they fit the cells, and would anything trip?"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from bmslink.config.checks.cells import cells_in_series
from bmslink.config.checks.live import LimitMargin, margins
from bmslink.config.checks.plausible import oddities
from bmslink.events import EventSeverity
from bmslink.reports.doctor.facts import PackFacts
from bmslink.reports.doctor.finding import CheckVerdict, DoctorFinding, found, right, unknown
from bmslink.settings.rules import likely_chemistry, lint, review
from bmslink.settings.setting import Value

__all__ = ["alike", "changed", "chemistry", "policies", "rules", "trips"]

_SOON: Mapping[str, float] = {"V": 0.03, "°C": 3.0, "K": 2.0}
"""So near to a limit it may trip soon; pack voltages: so much for each cell."""
_SOON_AMPS = 0.1
"""Of the limit."""
_OWN = (
    "capacity", "cycles", "soc", "name", "serial", "address", "date", "calibration", "password",
    "production", "user", "switch", "clock", "shunt", "wire_resistance", "bluetooth",
)  # fmt: skip
"""In keys of settings that belong to one board: packs of a bank may differ in them."""
_SOME = 4


def _show(facts: PackFacts) -> str:
    return f"bmslink settings show {facts.word}"


def rules(facts: PackFacts) -> CheckVerdict | None:
    """What the rules between settings say, for these cells."""
    if facts.table is None or facts.identity is None:
        return unknown(facts.why_not("settings"))
    if odd := oddities(facts.table):
        return found(
            DoctorFinding(
                severity=EventSeverity.ALARM,
                what=odd,
                fix="Read again; if it stays, check the line first.",
                command=_show(facts),
            )
        )
    cells = cells_in_series(facts.identity, facts.reading)
    kind = facts.cells.chemistry
    verdicts = lint(facts.values, cells=cells, chemistry=kind)
    findings = [
        DoctorFinding(
            severity=EventSeverity.ALARM if v.severity == "error" else EventSeverity.INFO,
            what=v.sentence,
            why=(
                "It can harm the cells, or leave a protection without effect."
                if v.severity == "error"
                else "It is unusual, and may be meant."
            ),
            fix=f"Set {' or '.join(v.about or v.keys)}; the sheet of the cells says the value.",
            command=_show(facts),
            facts={"rule": v.rule, "keys": list(v.keys)},
        )
        for v in verdicts
    ]
    if findings:
        return found(*findings)
    judged = sum(v.passed is not None for v in review(facts.values, cells=cells, chemistry=kind))
    if not judged:
        return unknown("no rule applies to the settings that this board has")
    return right(f"{judged} rules hold" + (f" for {kind} cells" if kind else ""))


def chemistry(facts: PackFacts) -> CheckVerdict | None:
    """Whether everybody agrees on what the cells are."""
    if facts.table is None:
        return unknown(facts.why_not("settings"))
    cells = facts.cells
    name = facts.named.name if facts.named is not None else ""
    where = f'chemistry = "…" under [packs.{name or "NAME"}] in bmslink.toml'
    if cells.contradictions:
        return found(
            DoctorFinding(
                severity=EventSeverity.ALARM,
                what=" ".join(cells.contradictions),
                fix=f"Look at the cells' label, then correct who is wrong: the board, or {where}.",
                command="bmslink packs path",
            )
        )
    if cells.chemistry is None:
        likely = likely_chemistry(facts.values.get("cell_ovp"))
        hint = (
            f" The limits look like those of {likely} cells, which proves nothing."
            if likely
            else ""
        )
        return found(
            DoctorFinding(
                severity=EventSeverity.INFO,
                what=f"Nobody says what the cells are made of.{hint}",
                fix=f"Write {where}: lfp, nmc, lto or na-ion.",
                command="bmslink packs path",
            )
        )
    return right(f"{cells.chemistry} cells, and nothing speaks against it")


def trips(facts: PackFacts) -> CheckVerdict | None:
    """What has reached its limit, or is near it."""
    if facts.table is None:
        return unknown(facts.why_not("settings"))
    if facts.reading is None:
        return unknown(facts.why_not("reading"))
    known = list(margins(facts.reading, facts.values))
    if not known:
        return unknown("the board holds no limit that its reading can be compared with")
    cells = max(len(facts.reading.cell_voltages), 1)
    findings = [_near(facts, margin) for margin in known if margin.room <= _soon(margin, cells)]
    nearest = min(known, key=lambda m: m.room / (abs(m.limit) or 1.0))
    return found(
        *findings,
        right=f"{len(known)} limits, the nearest {nearest.key} = {nearest.limit:g} {nearest.unit} "
        f"({nearest.value:g} now)",
    )


def _soon(margin: LimitMargin, cells: int) -> float:
    if margin.unit == "A":
        return _SOON_AMPS * abs(margin.limit)
    near = _SOON.get(margin.unit, 0.0)
    return near * cells if margin.key.startswith("pack_") else near


def _near(facts: PackFacts, margin: LimitMargin) -> DoctorFinding:
    now = margin.room <= 0
    unit = margin.unit
    text = f"{margin.key} is {margin.limit:g} {unit}, and {margin.what} {margin.value:g} {unit}"
    if now and margin.matters:
        severity, end = EventSeverity.ALARM, ": it trips."
    elif now:
        severity, end = EventSeverity.WARNING, ": it trips as soon as current flows that way."
    elif margin.matters:
        severity, end = EventSeverity.WARNING, ": it may trip soon."
    else:
        severity, end = EventSeverity.INFO, ": near its limit, if current flows that way."
    return DoctorFinding(
        severity=severity,
        what=text + end,
        fix="Mend what the value shows, or compare the limit with the sheet of the cells.",
        command=f"bmslink settings get {facts.word} {margin.key}",
        facts={"key": margin.key, "value": margin.value, "limit": margin.limit},
    )


def changed(facts: PackFacts) -> CheckVerdict | None:
    """Whether it still holds what its last change from here wrote."""
    verification = facts.verification
    if verification is None:
        return unknown(
            facts.why_not("verification") if facts.answers else "the pack does not answer"
        )
    if verification.result == "nothing":
        return right("no change of its settings is on record here")
    if verification.fine:
        return right(verification.sentence.rstrip("."))
    resume = verification.result == "open"
    return found(
        DoctorFinding(
            severity=EventSeverity.ALARM if resume else EventSeverity.WARNING,
            what=verification.sentence,
            fix=(
                "Finish it, or set it back."
                if resume
                else "An app or a restart may have changed it: compare, then set what is meant."
            ),
            command=f"bmslink config {'resume' if resume else 'verify'} {facts.word}",
            facts={"keys": [each.key for each in verification.differences]},
        )
    )


def alike(facts: PackFacts) -> CheckVerdict | None:
    """Whether the packs of one bank are set alike."""
    if facts.named is None or not facts.named.bank:
        return None
    if facts.table is None:
        return unknown(facts.why_not("settings"))
    if not facts.mates:
        return unknown(facts.missing.get("mates", "no other pack of its bank has settings like it"))
    findings = []
    own = {row.key for row in facts.table.map.settings if row.live or row.own}
    for name, values in facts.mates.items():
        differ = {
            key: (value, values[key])
            for key, value in facts.values.items()
            if key in values and key not in own and not _of_one_board(key)
            if not _same(value, values[key])
        }
        if differ:
            shown = ", ".join(f"{k} {a} and {b}" for k, (a, b) in list(differ.items())[:_SOME])
            more = f" and {len(differ) - _SOME} more" if len(differ) > _SOME else ""
            findings.append(
                DoctorFinding(
                    severity=EventSeverity.WARNING,
                    what=f"It is set differently from {name} of the same bank: {shown}{more}.",
                    fix="Packs of one bank share the current best when they are set alike.",
                    command=f"bmslink config diff {facts.word} {shlex.quote(name)}",
                    facts={"pack": name, "keys": sorted(differ)},
                )
            )
    return found(*findings, right=f"set like {', '.join(facts.mates)}")


def _of_one_board(key: str) -> bool:
    return any(word in key for word in _OWN)


def _same(one: Value | None, other: Value | None) -> bool:
    if isinstance(one, float) and isinstance(other, int | float):
        return abs(one - other) <= 1e-6 * max(abs(one), 1.0)
    return one == other


def policies(facts: PackFacts) -> CheckVerdict | None:
    """What `control check` says of its policy file over these settings."""
    if facts.named is None:
        return None
    if facts.policies is None:
        why = facts.missing.get("policies") if facts.table else facts.why_not("settings")
        return unknown(why) if why and (facts.named.policies or facts.table) else None
    levels = {"danger": EventSeverity.ALARM, "warning": EventSeverity.WARNING}
    findings = [
        DoctorFinding(
            severity=levels.get(str(row.get("level")), EventSeverity.INFO),
            what=f"{row.get('about')}: {row.get('text')}",
            fix="Change the policy file, or the board's setting.",
            command=f"bmslink control check {shlex.quote(str(row.get('path')))} {facts.word}",
        )
        for row in facts.policies
        if row.get("level") in levels
    ]
    return found(*findings, right="its policies go with its settings")
