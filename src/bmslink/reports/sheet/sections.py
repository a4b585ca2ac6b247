"""The sections about one pack: who it is, how it is, how it is set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bmslink.config.files.compare import Difference
from bmslink.events import EventSeverity
from bmslink.model import Reading
from bmslink.reports.pictures import picture_svg
from bmslink.reports.pictures.panels import probe_title
from bmslink.reports.pictures.track import deviations
from bmslink.reports.sheet.bars import deviation_bar
from bmslink.reports.sheet.blocks import (
    UNKNOWN,
    Block,
    Drawing,
    FactRows,
    Paragraphs,
    Section,
    SheetTable,
)
from bmslink.reports.sheet.facts import PackSheet
from bmslink.reports.sheet.records import record_sections
from bmslink.reports.sheet.words import moment_of, on_off, quantity, text_of, yes_no
from bmslink.runtime.watching.wording import words_of
from bmslink.settings.groups import grouped
from bmslink.settings.packed import words_of as packed_words

__all__ = ["pack_sections", "unknown"]

_LEAST_REACH = 0.005
"""V at the edge of a bar, at least: a millivolt is noise."""
_HIDDEN = ("password", "pin_code")
"""Parts of keys whose values are never shown, whatever a map holds."""


def unknown(pack: PackSheet, what: str) -> Paragraphs:
    """That something is not known, and why."""
    why = pack.why_not(what).rstrip(".")
    return Paragraphs([f"Not known: {why}." if why else "Not known."])


def pack_sections(pack: PackSheet) -> Iterator[Section]:
    """All of one pack, in the order of a reader who has to sign it."""
    if pack.error:
        yield Section("This pack was not read", [Paragraphs([pack.error], strong=True)])
    yield _identity(pack)
    yield _state(pack)
    yield _findings(pack)
    yield _cells(pack)
    yield _temperatures(pack)
    yield _compared(pack)
    yield from record_sections(pack)
    yield _all_settings(pack)
    if pack.picture is not None:
        drawn = picture_svg(pack.picture, width=720, heading=False)
        yield Section("Readings over time", [Drawing(drawn)], page=True)


def _identity(pack: PackSheet) -> Section:
    who = pack.identity
    rows = [
        ("Target", pack.target),
        *([("Recording", pack.file)] if pack.file else []),
        ("Vendor", text_of(who.vendor if who else None)),
        ("Model", text_of(who.model if who else None)),
        ("Hardware", text_of(who.hardware if who else None)),
        ("Firmware", text_of(who.firmware if who else None)),
        ("Serial number", text_of(who.serial_number if who else None)),
        ("Cells in series", text_of(_count(pack))),
        ("Chemistry", text_of(pack.chemistry or (who.chemistry if who else None))),
        ("Protocol", text_of(who.protocol if who else pack.reading and pack.reading.protocol)),
    ]
    if pack.table is not None:
        rows.append(("Settings map", pack.table.map.name))
        rows.append(("How well it is known", pack.table.map.evidence))
    else:
        rows.append(("Settings map", UNKNOWN))
    return Section("Identity", [FactRows(rows)])


def _count(pack: PackSheet) -> int | None:
    if pack.identity is not None and pack.identity.cell_count:
        return pack.identity.cell_count
    return len(pack.reading.cell_voltages) or None if pack.reading is not None else None


def _state(pack: PackSheet) -> Section:
    reading = pack.reading
    if reading is None:
        return Section("State", [unknown(pack, "reading")])
    rows = [
        ("Read at", moment_of(reading.time)),
        ("Voltage", quantity(reading.voltage, 2, "V")),
        ("Current, charging is positive", quantity(reading.current, 2, "A")),
        ("State of charge", quantity(reading.soc, 1, "%")),
        ("State of health (from the board)", quantity(reading.soh, 0, "%")),
        ("Remaining capacity", quantity(reading.remaining_capacity, 1, "Ah")),
        ("Full capacity (from the board)", quantity(reading.full_capacity, 1, "Ah")),
        ("Nominal capacity", quantity(reading.nominal_capacity, 1, "Ah")),
        ("Cycles (from the board)", text_of(reading.cycles)),
        ("Throughput (from the board)", quantity(reading.cycle_capacity, 0, "Ah")),
        ("Charge switch / charging", _switch(reading.charge_switch, reading.charging_allowed)),
        ("Discharge switch / discharging",
         _switch(reading.discharge_switch, reading.discharging_allowed)),
        ("Balancing", yes_no(reading.balancing_active)),
        ("Tripped", _conditions(reading, "protections")),
        ("Faults", _conditions(reading, "faults")),
        ("Warnings", _conditions(reading, "alarms")),
    ]  # fmt: skip
    return Section("State", [FactRows(rows)])


def _switch(switch: bool | None, conducts: bool | None) -> str:
    return f"{on_off(switch)} / {'not known' if conducts is None else 'yes' if conducts else 'no'}"


def _conditions(reading: Reading, place: str) -> str:
    found = getattr(reading, place)
    if found:
        return ", ".join(words_of(each) for each in found)
    return "none" if reading.conditions_known else UNKNOWN


_LEVELS = {
    EventSeverity.INFO: "Note",
    EventSeverity.WARNING: "Warning",
    EventSeverity.ALARM: "Alarm",
    EventSeverity.CRITICAL: "Critical",
}


def _findings(pack: PackSheet) -> Section:
    title = "Findings of the doctor"
    if "doctor" in pack.missing:
        return Section(title, [unknown(pack, "doctor")])
    rows = [
        [
            _LEVELS[each.severity],
            " ".join(part for part in (each.what, each.why) if part),
            " ".join(part for part in (each.fix, each.command) if part) or "nothing",
        ]
        for each in pack.findings
    ]
    marked = frozenset(
        n for n, each in enumerate(pack.findings) if each.severity is not EventSeverity.INFO
    )
    blocks: list[Block] = []
    if rows:
        blocks.append(SheetTable(["Level", "What was found, and why it matters", "What to do"],
                                 "lll", rows, marked))  # fmt: skip
    else:
        blocks.append(Paragraphs(["Nothing was found."]))
    if pack.right:
        named = ", ".join(each.title for each in pack.right)
        blocks.append(Paragraphs([f"Examined and right ({len(pack.right)}): {named}."]))
    if pack.not_known:
        named = ", ".join(f"{each.title} ({each.text})" for each in pack.not_known)
        blocks.append(Paragraphs([f"Could not be examined ({len(pack.not_known)}): {named}."]))
    return Section(title, blocks)


def _cells(pack: PackSheet) -> Section:
    reading = pack.reading
    if reading is None or not reading.cell_voltages:
        return Section("Cells", [unknown(pack, "reading")])
    cells, wires = reading.cell_voltages, reading.cell_resistances
    off = deviations(cells)
    reach = max([abs(v) for v in off if v is not None], default=0.0)
    known = [volts for volts in cells if volts is not None]
    low, high = (min(known), max(known)) if known else (None, None)
    rows: list[list[str | Drawing]] = []
    for n, (volts, away) in enumerate(zip(cells, off, strict=True)):
        ends = "highest" if volts is not None and volts == high else ""
        ends = "lowest" if volts is not None and volts == low and low != high else ends
        row: list[str | Drawing] = [
            str(n + 1),
            quantity(volts, 3, ""),
            quantity(None if away is None else away * 1000, 1, ""),
            "" if away is None else deviation_bar(away, max(reach, _LEAST_REACH)),
            ends if low != high else "",
        ]
        if wires is not None:
            ohms = wires[n] if n < len(wires) else None
            row.append(quantity(None if ohms is None else ohms * 1000, 1, ""))
        rows.append(row)
    head = ["Cell", "Voltage, V", "From the mean, mV", "", ""]
    more = ["Balance wire, mΩ"] if wires is not None else []
    mean = sum(known) / len(known) if known else None
    summary = FactRows(
        [
            ("Mean", quantity(mean, 3, "V")),
            ("Highest - lowest", quantity(_milli(reading.cell_delta), 0, "mV")),
        ]
    )
    table = SheetTable([*head, *more], "rrrll" + "r" * len(more), rows)
    return Section("Cells", [summary, table])


def _milli(value: float | None) -> float | None:
    return None if value is None else value * 1000


def _temperatures(pack: PackSheet) -> Section:
    if pack.reading is None:
        return Section("Temperatures", [unknown(pack, "reading")])
    rows = [
        (probe_title(name), quantity(value, 1, "°C"))
        for name, value in pack.reading.temperatures.items()
    ]
    if not rows:
        return Section("Temperatures", [Paragraphs(["The board tells none."])])
    return Section("Temperatures", [FactRows(rows)])


def _compared(pack: PackSheet) -> Section:
    title = "Settings against the profile"
    if pack.compared is None or pack.table is None:
        return Section(title, [unknown(pack, "settings" if pack.table is None else "profile")])
    count = sum(row.differs for row in pack.compared)
    same = len(pack.compared) - count
    said = (
        f"Compared with {pack.profile}: {count} differ{'s' if count == 1 else ''}, {same} "
        f"{'is' if same == 1 else 'are'} the same. Settings that the profile does not name are at "
        "the end of this part."
    )
    rows = [_difference(pack, row) for row in pack.compared]
    marked = frozenset(n for n, row in enumerate(pack.compared) if row.differs)
    head = ["Setting", "Board", "Profile", ""]
    return Section(title, [Paragraphs([said]), SheetTable(head, "lrrl", rows, marked)])


def _difference(pack: PackSheet, row: Difference) -> Sequence[str]:
    titles = {} if pack.table is None else pack.table.map.by_key
    title = titles[row.key].title if row.key in titles else row.key
    board, asked = (text_of(each) for each in row.shown[:2])
    if row.missing[0]:
        board = "the board has none"
    return [title, board, asked, "differs" if row.differs else ""]


def _all_settings(pack: PackSheet) -> Section:
    title = "All settings"
    if pack.table is None:
        return Section(title, [unknown(pack, "settings")])
    values, known = pack.table.values(), pack.table.map.by_key
    rows: list[list[str | Drawing]] = []
    heads = set()
    for group, keys in grouped([key for key in known if not any(p in key for p in _HIDDEN)]):
        heads.add(len(rows))
        rows.append([group.heading, "", ""])
        for key in keys:
            value, row = values.get(key), known[key]
            shown = UNKNOWN if value is None else row.show(value)
            words = packed_words(key, value)
            rows.append([row.title, f"{shown} ({words})" if words else shown, key])
    return Section(title, [SheetTable(["Setting", "Value", "Name in bmslink"], "lrl", rows,
                                      frozenset(heads))], page=True)  # fmt: skip
