"""What one pack did over time: its values, condensed, and what came and went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bmslink.model import Reading
from bmslink.reports.pictures.condensed import Condensed
from bmslink.reports.pictures.lanes import LaneKeeper, states_of
from bmslink.reports.pictures.picture import Lane, Marker

__all__ = ["SINGLE", "Track", "deviations"]

SINGLE = ("voltage", "current", "power", "soc", "cell_delta")
"""Fields of a reading that are one number."""
_DEVIATION = "deviation_"


def deviations(cells: Sequence[float | None]) -> list[float | None]:
    """How far each cell is from the mean of those that are known, V."""
    known = [volts for volts in cells if volts is not None]
    if not known:
        return [None] * len(cells)
    mean = sum(known) / len(known)
    return [None if volts is None else volts - mean for volts in cells]


@dataclass(slots=True)
class Track:
    """One pack."""

    name: str
    target: str = ""
    values: Condensed = field(default_factory=Condensed)
    lanes: LaneKeeper = field(default_factory=LaneKeeper)
    told: list[Lane] = field(default_factory=list)
    """Lanes of events that somebody else kept: the history of a service."""
    markers: list[Marker] = field(default_factory=list)
    latest: Reading | None = None
    """The last reading; `None` where a history gave rows."""
    _cells: int = -1
    _probes: tuple[str, ...] = ()
    _in_order: bool = False

    def hear(self, time: float, reading: Reading) -> None:
        """One reading."""
        self.latest = reading
        self.lanes.hear(time, states_of(reading))
        cells = reading.cell_voltages
        if len(cells) != self._cells or tuple(reading.temperatures) != self._probes:
            self._arrange(reading)
        if not self._in_order:
            self.values.add(time, self._named(reading))
            return
        row: list[float | None] = [
            reading.voltage, reading.current, reading.power, reading.soc, reading.cell_delta,
        ]  # fmt: skip
        row += reading.temperatures.values()
        row += cells
        row += deviations(cells)
        self.values.add_row(time, row)

    def _arrange(self, reading: Reading) -> None:
        """Make room for what is new; usually the columns then have the order of a reading."""
        self._cells, self._probes = len(reading.cell_voltages), tuple(reading.temperatures)
        names = [*self._named(reading)]
        for name in names:
            self.values.columns.setdefault(name, len(self.values.columns))
        self._in_order = [*self.values.columns] == names

    def _named(self, reading: Reading) -> dict[str, float | None]:
        cells = reading.cell_voltages
        return {
            **{name: getattr(reading, name) for name in SINGLE},
            **{f"temperature_{name}": v for name, v in reading.temperatures.items()},
            **{f"cell_voltage_{n}": v for n, v in enumerate(cells, 1)},
            **{f"{_DEVIATION}{n}": v for n, v in enumerate(deviations(cells), 1)},
        }

    def hear_row(self, time: float, row: dict[str, float | None]) -> None:
        """One row of a history, by the names of its fields; deviations are added."""
        cells = sorted((name for name in row if name.startswith("cell_voltage_")), key=_number)
        off = deviations([row[name] for name in cells])
        more = {f"{_DEVIATION}{_number(name)}": v for name, v in zip(cells, off, strict=True)}
        self.values.add(time, {**row, **more})

    @property
    def all_lanes(self) -> list[Lane]:
        """Those of the readings, and those that were kept."""
        return [*self.lanes.lanes(self.name), *self.told]


def _number(name: str) -> int:
    return int(name.rpartition("_")[2])
