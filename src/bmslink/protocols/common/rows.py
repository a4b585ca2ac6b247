"""The table of a dialect's settings: one row a setting, both for the wire and for people.

A row says where a setting is (`at`: a register, a parameter, a tag), how its value is laid out,
what may be written there and how that is known. The layouts of what is read and written
(`layouts`) and the settings that people see (`settings`) are both made of these rows. Title, unit
and kind of a name that vendors share come from the catalogue; a vendor's own carries its title.
A row without evidence is shown and never written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field

from construct import Bytes, FormatField, Struct

from bmslink.protocols.common.fields import Layout, Scaled, fields_of
from bmslink.protocols.common.settings_map import Slot
from bmslink.settings.catalogue import CATALOGUE, Shared
from bmslink.settings.setting import Danger, Evidence, Kind, Setting

__all__ = ["Row", "bare", "layouts", "places", "record", "settings", "slots", "step_of"]


@dataclass(frozen=True, slots=True)
class Row:
    """One setting of a dialect."""

    at: int
    """What is written at once: the address of its `Slot`. Rows with the same one share its
    bytes, in the order of the table."""
    key: str
    wire: Layout
    limits: tuple[float, float] | None = None
    """The lowest and highest value that may be written."""
    evidence: Evidence = Evidence.UNVERIFIED
    _: KW_ONLY
    title: str = ""
    """Of a vendor's own setting; a shared one has its title, unit and kind in the catalogue."""
    unit: str = ""
    kind: Kind = "number"
    step: float | None = None
    """What the wire can tell apart, where its layout does not say it."""
    choices: Mapping[int, str] = field(default_factory=dict)
    danger: Danger = Danger.NONE
    reason: str = ""
    """Why it is never written, whatever the evidence."""
    inside: str = ""
    """The field of the layout that holds it, where that is not called like the key."""
    bit: int | None = None
    """The bit of that field, of a switch that has no field of its own."""
    absent: tuple[float, ...] = ()
    """Numbers that mean: this board has none."""
    lowest: float | None = None
    highest: float | None = None
    """What is stored below or above these is no value of this setting."""
    unclear: bool = False
    """What its number means is not known: it is shown as bytes, never as a value."""
    live: bool = False
    own: bool = False
    """It belongs to this one board: profiles leave it out."""
    offered: bool = True
    """Whether it is a setting at all; else it only names bytes between those that are."""

    @property
    def name(self) -> str:
        """The field of the layout that holds it."""
        return self.inside or self.key

    @property
    def shared(self) -> Shared:
        """Title, unit and kind, from the catalogue if the name is a shared one."""
        return CATALOGUE.get(self.key) or Shared(self.title, self.unit, self.kind)

    def setting(self) -> Setting:
        """The row as people see it; a `ValueError` says what it lacks."""
        shared = self.shared
        if not shared.title:
            raise ValueError(f"{self.key} is not in the catalogue, so its row needs a title.")
        if (self.title or self.unit) and self.key in CATALOGUE:
            raise ValueError(f"{self.key} has its title and unit in the catalogue, not in its row.")
        low, high = self.limits or (None, None)
        made = Setting(
            key=self.key,
            title=shared.title,
            slot=self.at,
            kind=shared.kind,
            unit=shared.unit,
            minimum=low,
            maximum=high,
            step=step_of(self.wire) if self.step is None else self.step,
            choices=self.choices,
            name=self.inside,
            bit=self.bit,
            danger=self.danger,
            evidence=self.evidence,
            reason=self.reason,
            absent=self.absent,
            lowest=self.lowest,
            highest=self.highest,
            unclear=self.unclear,
            live=self.live,
            own=self.own,
        )
        if made.writable and made.kind == "number" and self.limits is None:
            raise ValueError(f"{self.key} has no limits, so it has to say why it is not written.")
        return made


def bare(at: int, name: str, wire: Layout) -> Row:
    """Bytes that are read and named, and are no setting (`reserved…`: that mean nothing)."""
    return Row(at, name, wire, offered=False)


def step_of(wire: Layout) -> float:
    """The step of a scaled number; 1 of a whole one. A `ValueError` for a float, which has none."""
    if isinstance(wire, FormatField) and wire.fmtstr[-1] in "fd":
        raise ValueError("A float does not say what a board can tell apart: its row gives a step.")
    return 1 / abs(wire.per) if isinstance(wire, Scaled) else 1.0


def record(rows: Iterable[Row], size: int = 0, rest: str = "") -> Layout:
    """The layout of rows that lie behind one another; bits of one field are one field. Where a
    `size` is given, what follows them is reserved, and called `rest` or by its offset."""
    fields = {row.name: row.wire for row in rows}
    end = sum(wire.sizeof() for wire in fields.values())
    if end < size:
        fields[rest or f"reserved_{end}"] = Bytes(size - end)
    return Struct(*(name / wire for name, wire in fields.items()))


def layouts(rows: Iterable[Row], size: int = 0, rest: str = "") -> dict[int, Layout]:
    """The layout of each address: the fields of its rows, in their order, and what is reserved of
    its `size`."""
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(row.at, []).append(row)
    return {at: record(each, size, rest) for at, each in found.items()}


def settings(rows: Iterable[Row]) -> tuple[Setting, ...]:
    """The settings among rows."""
    return tuple(row.setting() for row in rows if row.offered)


def slots(rows: Iterable[Row], known: Mapping[int, Layout]) -> tuple[Slot, ...]:
    """The slots of the settings among rows, by address; `known` are the `layouts` of the table,
    made once because a fast reader is compiled for each."""
    addresses = sorted({row.at for row in rows if row.offered})
    return tuple(Slot(address=at, layout=known[at]) for at in addresses)


def places(layout: Layout) -> dict[str, tuple[int, int]]:
    """Where each named field of a record begins and ends, in bytes."""
    found, at = {}, 0
    for name, wire in fields_of(layout):
        found[name] = (at, at + wire.sizeof())
        at += wire.sizeof()
    return found
