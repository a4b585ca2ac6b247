"""A commissioning sheet as one HTML file that prints well; by jinja2, which escapes everything."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.util import find_spec

from bmslink import __version__
from bmslink.errors import TargetError
from bmslink.events import EventSeverity
from bmslink.reports.pictures.page import integrity
from bmslink.reports.sheet.bars import level_bar
from bmslink.reports.sheet.blocks import Drawing, FactRows, Section, SheetTable
from bmslink.reports.sheet.facts import PackSheet, Sheet
from bmslink.reports.sheet.sections import pack_sections
from bmslink.reports.sheet.words import moment_of, quantity, text_of

__all__ = ["require_jinja2", "sheet_html"]


def require_jinja2() -> None:
    """Raises `TargetError` where jinja2 is missing."""
    if find_spec("jinja2") is None:
        raise TargetError("A report needs jinja2: install it with `pip install 'bmslink[report]'`.")


def sheet_html(sheet: Sheet) -> str:
    """The whole file. Raises `TargetError` where jinja2 is missing."""
    require_jinja2()
    from jinja2 import Environment, StrictUndefined

    style = _asset("sheet.css")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    template = environment.from_string(_asset("sheet.html"))
    parts = [(pack.title, [*pack_sections(pack)]) for pack in sheet.packs]
    drawn = (
        "style-src 'unsafe-inline'"
        if any(p.picture for p in sheet.packs)
        else (f"style-src {integrity(style)}")
    )  # a picture brings its own style
    return template.render(
        sheet=sheet,
        style=style,
        policy=f"default-src 'none'; {drawn}; base-uri 'none'; form-action 'none'",
        overview=[*_overview(sheet)],
        parts=parts,
        several=len(sheet.packs) != 1,
        made=moment_of(sheet.made),
        version=__version__,
        is_drawing=lambda cell: isinstance(cell, Drawing),
        sides={"l": "", "r": "number"},
    )


def _asset(name: str) -> str:
    return (files("bmslink.reports.sheet") / "assets" / name).read_text(encoding="utf-8")


def _overview(sheet: Sheet) -> Iterator[Section]:
    """Of a bank: all packs side by side."""
    if len(sheet.packs) == 1:
        return
    known = [p.reading for p in sheet.packs if p.reading is not None]
    rows: list[list[str | Drawing]] = [_line(pack) for pack in sheet.packs]
    head = ["Pack", "Voltage, V", "Current, A", "Charge, %", "", "Cells apart, mV", "Hottest, °C",
            "Full, Ah", "Findings"]  # fmt: skip
    currents = [r.current for r in known if r.current is not None]
    capacities = [r.full_capacity for r in known if r.full_capacity is not None]
    whole = len(sheet.packs)
    facts = [
        ("Packs", f"{whole}, of which {len(known)} were read"),
        ("Wired", sheet.bank or "not known"),
        ("Voltages apart", _apart([r.voltage for r in known], whole)),
        ("Current of all", quantity(sum(currents), 2, "A") if len(currents) == whole else
         "not known: not every pack tells it"),
        ("Capacity of all (from the boards)", quantity(sum(capacities), 1, "Ah")
         if len(capacities) == whole else "not known: not every pack tells it"),
    ]  # fmt: skip
    marked = frozenset(n for n, pack in enumerate(sheet.packs) if pack.error or _bad(pack))
    yield Section("Overview", [FactRows(facts), SheetTable(head, "lrrrlrrrl", rows, marked)])


def _apart(values: list[float | None], whole: int) -> str:
    known = [each for each in values if each is not None]
    if len(known) < 2:
        return "not known"
    some = "" if len(known) == whole else f" (of {len(known)} packs)"
    return f"{quantity((max(known) - min(known)) * 1000, 0, 'mV')}{some}"


def _bad(pack: PackSheet) -> int:
    return sum(each.severity is not EventSeverity.INFO for each in pack.findings)


def _line(pack: PackSheet) -> list[str | Drawing]:
    reading = pack.reading
    if reading is None:
        return [pack.title, *["not known"] * 3, "", *["not known"] * 3, "was not read"]
    delta, soc = reading.cell_delta, reading.soc
    degrees = [v for v in reading.temperatures.values() if v is not None]
    bad = _bad(pack)
    said = "not examined" if "doctor" in pack.missing else f"{bad}" if bad else "none"
    return [
        pack.title,
        quantity(reading.voltage, 2, ""),
        quantity(reading.current, 2, ""),
        quantity(soc, 0, ""),
        "" if soc is None else level_bar(soc / 100),
        quantity(None if delta is None else delta * 1000, 0, ""),
        quantity(max(degrees, default=None), 1, ""),
        quantity(reading.full_capacity, 1, ""),
        text_of(said),
    ]
