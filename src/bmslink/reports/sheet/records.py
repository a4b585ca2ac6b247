"""The sections about what happened to a pack: changes, tests, its own history, its policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bmslink.config.records.edits import adjusted, changes_of, edits_of, value_in_words
from bmslink.reports.sheet.blocks import (
    UNKNOWN,
    Block,
    FactRows,
    Paragraphs,
    Section,
    SheetTable,
)
from bmslink.reports.sheet.facts import PackSheet
from bmslink.reports.sheet.words import day, moment_of, quantity, text_of

__all__ = ["record_sections"]

_MOST = 40
"""Rows of a table of what happened, the newest."""
_NOT_DONE = "not done"


def record_sections(pack: PackSheet) -> Iterator[Section]:
    """All of them."""
    yield _changes(pack)
    yield _tests(pack)
    yield _life(pack)
    yield _past(pack)
    yield _policies(pack)


def _unknown(pack: PackSheet, what: str) -> Paragraphs:
    why = pack.why_not(what).rstrip(".")
    return Paragraphs([f"Not known: {why}." if why else "Not known."])


# -- what was changed ----------------------------------------------------------------------------


def _changes(pack: PackSheet) -> Section:
    title = "What was changed, when and by whom"
    if pack.journal is None:
        return Section(title, [_unknown(pack, "journal")])
    rows = [
        [
            moment_of(each.get("time")),
            text_of(each.get("user")),
            "; ".join(_about(each)) or text_of(each.get("command")),
            "cut off" if end is None else text_of(end.get("outcome")),
        ]
        for each, end in changes_of(pack.journal)
    ]
    if not rows:
        return Section(title, [Paragraphs(["bmslink changed nothing on this pack from here."])])
    return Section(title, _newest(rows, ["When", "Who", "What", "Outcome"], "llll"))


def _newest(rows: Sequence[Sequence[str]], head: Sequence[str], align: str) -> list[Block]:
    shown: list[Block] = [SheetTable(head, align, [*rows[-_MOST:]])]
    if len(rows) > _MOST:
        shown.append(Paragraphs([f"These are the newest {_MOST} of {len(rows)}."]))
    return shown


def _about(begin: Mapping[str, Any]) -> Iterator[str]:
    """What a change was about: each setting with its old and new value."""
    if "switch" in begin:
        yield f"{begin['switch']} switched {'on' if begin.get('on') else 'off'}"
    if clock_or_charge := adjusted(begin):
        yield clock_or_charge
    for edit in edits_of(begin):
        old, new = (
            value_in_words(edit.get(name), edit.get("unit"), UNKNOWN) or UNKNOWN
            for name in ("old", "new")
        )
        yield f"{edit.get('key')}: {old} to {new}"


# -- tests ---------------------------------------------------------------------------------------


def _tests(pack: PackSheet) -> Section:
    blocks: list[Block] = [FactRows([("Capacity found", _capacity(pack))])]
    blocks += _balance(pack)
    blocks += _drills(pack)
    return Section("Tests", blocks)


def _capacity(pack: PackSheet) -> str:
    capacity = _part(pack.life, "capacity")
    now = _part(capacity, "now")
    if now.get("value") is None:
        return f"{_NOT_DONE}: no full discharge between a proven full and a proven empty was seen"
    sure = quantity(now.get("uncertainty"), 1, "Ah")
    share = capacity.get("of_nominal")
    nominal = f", {quantity(share, 1, '%')} of nominal" if share is not None else ""
    return f"{quantity(now['value'], 1, 'Ah')} \N{PLUS-MINUS SIGN} {sure}{nominal}"


def _part(values: object, key: str) -> Mapping[str, Any]:
    found = values.get(key) if isinstance(values, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _balance(pack: PackSheet) -> list[Block]:
    report = pack.balance
    if report is None:
        why = pack.missing.get("balance")
        return [FactRows([("Balancing session", f"{UNKNOWN}: {why}" if why else _NOT_DONE)])]
    back = _part(report, "set_back")
    rows = [
        ("Balancing session", f"{moment_of(report.get('began'))}, by {text_of(report.get('who'))}"),
        ("Result", text_of(report.get("text"))),
        ("Difference before", _spread(report.get("before"))),
        ("Difference when the top was reached", _spread(report.get("at_top"))),
        ("Difference after", _spread(report.get("after"))),
        ("Took", quantity(report.get("hours"), 1, "h")),
        ("Settings set back", "yes, read back" if back.get("restored") is True else "no"),
    ]
    return [FactRows(rows)]


def _spread(now: object) -> str:
    if not isinstance(now, Mapping):
        return UNKNOWN
    cells = [v for v in now.get("cells") or () if isinstance(v, int | float)]
    if not cells:
        return UNKNOWN
    return f"{quantity((max(cells) - min(cells)) * 1000, 0, 'mV')}, highest {max(cells):.3f} V"


def _drills(pack: PackSheet) -> list[Block]:
    if pack.journal is None:
        return [FactRows([("Drill of the switches", f"{UNKNOWN}: {pack.why_not('journal')}")])]
    if not pack.drills:
        return [FactRows([("Drill of the switches", _NOT_DONE)])]
    rows = [
        [
            moment_of(each.get("time")),
            text_of(each.get("switch")),
            text_of(each.get("result")).replace("_", " "),
            quantity(each.get("off_s"), 1, "s"),
            quantity(each.get("on_s"), 1, "s"),
            " ".join(str(each[k]) for k in ("why", "note") if each.get(k)),
        ]
        for each in pack.drills[-12:]
    ]
    head = ["Drill", "Switch", "Result", "Off after", "On after", ""]
    return [SheetTable(head, "lllrrl", rows)]


# -- the battery ---------------------------------------------------------------------------------


def _life(pack: PackSheet) -> Section:
    title = "Energy and life"
    life = pack.life
    if not life:
        return Section(title, [_unknown(pack, "life")])
    flow, top = _part(life, "throughput"), _part(life, "imbalance")
    full = _part(life, "full")
    rows = [
        ("Watched since", day(life.get("since"))),
        ("Charged", _kwh(flow, "charged")),
        ("Discharged", _kwh(flow, "discharged")),
        ("Full cycles, as counted here", quantity(flow.get("equivalent_cycles"), 1, "")),
        ("Capacity", _capacity(pack)),
        ("Resistance of the median cell",
         _milliohms(_part(_part(life, "resistance"), "median").get("value"))),
        ("Difference of the cells at rest", quantity(_part(top, "rest").get("value"), 0, "mV")),
        ("Difference of the cells when full", quantity(_part(top, "top").get("value"), 0, "mV")),
        ("Last seen full", moment_of(full.get("last"))),
    ]  # fmt: skip
    return Section(title, [FactRows(rows)])


def _kwh(flow: Mapping[str, Any], way: str) -> str:
    energy, charge = flow.get(f"{way}_energy"), flow.get(f"{way}_capacity")
    if not isinstance(energy, int | float):
        return UNKNOWN
    return f"{quantity(energy / 1000, 2, 'kWh')}, {quantity(charge, 1, 'Ah')}"


def _milliohms(value: object) -> str:
    return quantity(value * 1000 if isinstance(value, int | float) else None, 2, "mΩ")


# -- its own history -----------------------------------------------------------------------------


def _past(pack: PackSheet) -> Section:
    title = "The board's own history"
    past = pack.past
    if past is None:
        return Section(title, [_unknown(pack, "past")])
    blocks: list[Block] = []
    if past.events:
        rows = [[_time_of(each), each.text] for each in past.events]
        blocks += _newest(rows, ["When, by the board", "What"], "ll")
    if counted := [each for each in past.counters if each.count]:
        blocks.append(SheetTable(["The board counts", "How often"], "lr",
                                 [[each.text, str(each.count)] for each in counted]))  # fmt: skip
    elif past.counters:
        blocks.append(Paragraphs([f"All of its {len(past.counters)} counters are at 0."]))
    if past.missing:
        blocks.append(Paragraphs(
            [f"{name.replace('_', ' ').capitalize()}: {why.rstrip('.')}."
             for name, why in past.missing.items()]
        ))  # fmt: skip
    return Section(title, blocks or [Paragraphs(["It has recorded nothing."])])


def _time_of(event: Any) -> str:
    if event.time is None:
        return UNKNOWN
    before = "before " if event.time_source == "latest" else ""
    return f"{before}{moment_of(event.time)}"


# -- policies ------------------------------------------------------------------------------------


def _policies(pack: PackSheet) -> Section:
    title = "Policies in force"
    if "approval" in pack.missing or (pack.approval is None and pack.identity is None):
        return Section(title, [_unknown(pack, "approval")])
    found = pack.approval
    if found is None:
        return Section(
            title, [Paragraphs(["None: no policy file was approved to act on this pack."])]
        )
    rows = [
        ("File", found.path),
        ("Approved by", found.by),
        ("Approved at", moment_of(found.time)),
        *((("May act on", each)) for each in found.policies or (UNKNOWN,)),
    ]
    return Section(title, [FactRows(rows)])
