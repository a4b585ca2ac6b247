"""What a board and bmslink.toml say of a battery: the `[battery]` of a policy file for one pack."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from bmslink.config.checks.cells import KnownCells, cells_of
from bmslink.config.checks.check import number
from bmslink.config.checks.rating import currents_of
from bmslink.control.decide.compile import OCP_SHARE
from bmslink.control.decide.policy import Battery
from bmslink.control.decide.sample import OPEN
from bmslink.control.presets import Use
from bmslink.errors import TargetError
from bmslink.model import Identity, Reading
from bmslink.packs import NamedPack
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.settings.chemistry import chemistry
from bmslink.settings.setting import Value
from bmslink.settings.units import write

__all__ = ["BoardBattery", "battery_of"]


class BoardBattery(msgspec.Struct, frozen=True):
    """A battery, and where each of its values is from."""

    battery: Battery
    notes: dict[str, str]
    """Field of `Battery` -> its comment."""
    remarks: tuple[str, ...] = ()
    """Sentences about what does not go together."""


def battery_of(
    use: Use,
    identity: Identity,
    table: SettingsSnapshot | None,
    reading: Reading,
    *,
    named: NamedPack | None = None,
    stated: str | None = None,
    cells: int | None = None,
    capacity: float | None = None,
) -> BoardBattery:
    """The battery of one pack, for a use; `table` is `None` where its settings cannot be read. What
    the caller states goes before what the board says: `stated` is the chemistry.

    It is never guessed: where neither the caller nor bmslink.toml nor the board says it,
    or where two of them say different things and the caller nothing, it is a `TargetError`; so is a
    number of cells or a capacity that nobody says.
    """
    notes: dict[str, str] = {}
    kind, remarks = _chemistry(identity, table, reading, named, stated, notes)
    count = cells or len(reading.cell_voltages) or identity.cell_count
    if not count:
        raise TargetError("The board does not say how many cells it has: give --cells.")
    notes["cells"] = "in series; --cells" if cells else "in series; the board"
    size = _capacity(table, reading, capacity, notes)
    amps = {
        "charge": _current("charge", use.charge_rate, size, identity, table, named, notes),
        "discharge": _current("discharge", use.discharge_rate, size, identity, table, named, notes),
    }
    fuse = None if named is None else named.fuse
    if fuse is not None:
        notes["fuse"] = "bmslink.toml; 80 % of it is used"
    battery = Battery(
        chemistry=kind,
        cells=count,
        capacity=size,
        charge_current=amps["charge"],
        discharge_current=amps["discharge"],
        fuse=fuse,
        sensors=_probes(reading, notes),
    )
    return BoardBattery(battery, notes, remarks)


def _chemistry(
    identity: Identity,
    table: SettingsSnapshot | None,
    reading: Reading,
    named: NamedPack | None,
    stated: str | None,
    notes: dict[str, str],
) -> tuple[str, tuple[str, ...]]:
    if table is None:
        words = (stated, None if named is None else named.chemistry, identity.chemistry)
        found = KnownCells(next((chemistry(word).name for word in words if word), None))
    else:
        found = cells_of(table, identity, reading, named=named, stated=stated)
    if found.chemistry is None:
        hint = f" {found.hint}" if found.hint else ""
        raise TargetError(f"Nobody says what the cells are: give --chemistry.{hint}")
    if found.contradictions and stated is None:
        against = " ".join(found.contradictions)
        raise TargetError(f"{against} Say what the cells are with --chemistry.")
    if stated is not None:
        notes["chemistry"] = "--chemistry"
    elif named is not None and named.chemistry is not None:
        notes["chemistry"] = "bmslink.toml"
    else:
        held = _values(table).get("chemistry") or identity.chemistry
        notes["chemistry"] = "the board" if held == found.chemistry else "the board's name"
    return found.chemistry, tuple(found.contradictions)


def _values(table: SettingsSnapshot | None) -> dict[str, Value | None]:
    return {} if table is None else table.values()


def _capacity(
    table: SettingsSnapshot | None, reading: Reading, stated: float | None, notes: dict[str, str]
) -> float:
    if stated is not None:
        notes["capacity"] = "--capacity"
        return stated
    held = number(_values(table).get("nominal_capacity")) or reading.nominal_capacity
    if not held:
        raise TargetError("The board does not say what its capacity is: give --capacity.")
    notes["capacity"] = "what the board is set to; the sheet of the cells may say less"
    return held


def _current(
    way: str,
    rate: float,
    capacity: float,
    identity: Identity,
    table: SettingsSnapshot | None,
    named: NamedPack | None,
    notes: dict[str, str],
) -> float:
    """The usual current of the cells, or what the board bears or is set to, if that is less; A."""

    def bounds() -> Iterator[tuple[float, str]]:
        yield rate * capacity, f"{rate:g} C, a guess: the sheet of the cells decides"
        rating = currents_of(identity, named, capacity).get(f"{way}_ocp")
        if rating is not None:
            yield rating
        ocp = number(_values(table).get(f"{way}_ocp"))
        if ocp:
            says = f"{OCP_SHARE:.0%} of the board's {way}_ocp, {write(abs(ocp), 'A')}"
            yield OCP_SHARE * abs(ocp), says

    amps, says = min(bounds(), key=lambda bound: bound[0])
    notes[f"{way}_current"] = says
    return round(amps, 1)


def _probes(reading: Reading, notes: dict[str, str]) -> tuple[str, ...]:
    """The probes of cells that say something. Which of JBD's and Daly's are at cells is unknown."""
    told = {
        name: value for name, value in reading.temperatures.items()
        if name.startswith(("cell_", "sensor_"))
    }  # fmt: skip
    heard = tuple(name for name, t in told.items() if t is not None and t > OPEN)
    silent = [name for name in told if name not in heard]
    says = "those that said something"
    if silent:
        says += f"; add {', '.join(silent)} if fitted"
    if any(name.startswith("sensor_") for name in heard):
        says += "; leave out one that sits at the MOSFETs"
    notes["sensors"] = says if heard else "no probe said anything"
    return heard
