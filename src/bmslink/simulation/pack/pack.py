"""A battery pack that behaves, in virtual time: cells, heat, a balancer, and a BMS that guards it.

The same seed gives the same pack with the same day. Nothing here knows a protocol.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

from bmslink.errors import TargetError
from bmslink.model import Condition, Reading, Switch
from bmslink.settings.chemistry import Chemistry
from bmslink.settings.chemistry import chemistry as find_chemistry
from bmslink.simulation.pack.cells import Cells
from bmslink.simulation.pack.load import Supply, daily_current, parse_load
from bmslink.simulation.pack.protection import Guard, Measured, default_settings
from bmslink.simulation.pack.surroundings import Surroundings

__all__ = ["MAX_ADVANCE", "SEVERITIES", "Pack"]

SEVERITIES = ("alarm", "protection", "fault")
"""How bad a raised condition can be: the list of the reading it goes to."""

MAX_ADVANCE = 31 * 86400.0
"""The most virtual seconds that one `advance` takes."""
_CELL_HEAT = 25.0  # J/K per cell and Ah, about 1 kJ/K per kg
_CELL_COOLING_TIME = 6000.0  # s
_MOSFET_RISE = 35.0  # K above the box at the discharge over-current limit of the board
_MOSFET_TIME = 120.0  # s
_PARITY_TIME = 10.0  # s; neighbours share a wire, so odd and even cells take turns
_HOTTEST = 400.0  # °C: by then something has melted
_FETS = (Switch.CHARGE, Switch.DISCHARGE)
_ORDER = {condition: index for index, condition in enumerate(Condition)}


class Pack:
    """One simulated pack. Settings are live: change `settings`, and the guard obeys at once."""

    def __init__(
        self,
        *,
        chemistry: str = "lfp",
        cells: int = 16,
        capacity: float = 100.0,
        soc: float = 60.0,
        seed: int = 1,
        ambient: float = 25.0,
        probes: int = 2,
        load: float | str = "cycle",
        imbalance: float | None = None,
        active: bool = False,
    ) -> None:
        """Cells 1..48, capacity 1..10000 Ah, soc 0..100 %, ambient -50..100 °C, probes 0..16;
        load `cycle` (a day of sun and household), `idle`, `supply:AMPS:VOLTS`, or amps (positive
        charges). `imbalance`, 0..300 mV: so far apart the cells rest when the highest is full.
        `active`: its balancer moves charge from the highest cell to the lowest, else it bleeds.
        `TargetError` for anything else."""
        self.chemistry: Chemistry = find_chemistry(chemistry)
        self.cell_count = int(_number("The number of cells", cells, 1, 48))
        self.capacity = _number("The capacity in Ah", capacity, 1, 10_000)
        """Ah the pack was sold with."""
        self.probes = int(_number("The number of temperature probes", probes, 0, 16))
        self.ambient = _number("The ambient temperature in °C", ambient, -50, 100)
        self.seed = seed & (1 << 64) - 1
        self.settings: dict[str, float] = default_settings(
            self.chemistry, self.cell_count, self.capacity
        )
        self.switches: dict[Switch, bool] = dict.fromkeys(Switch, True)
        self.uptime = 0.0
        """Virtual seconds since the start."""
        self._profile = parse_load(load)
        self._load: float | str | Supply = self._profile
        self._overrides: dict[str, float | None] = {}
        self._cell_overrides: dict[int, float] = {}
        self._raised: dict[Condition, str] = {}
        self._guard = Guard()
        self.around: Surroundings = Surroundings(self)
        """What acts on it from outside, and how its board takes commands."""
        self._current = 0.0
        self._balancing: tuple[int, ...] = ()
        self._active, self._fed = active, 0
        self._odd_turn = True
        self._turn_seconds = 0.0
        self._build()
        if imbalance is not None:
            self._cells.unbalance(_number("The imbalance in mV", imbalance, 0, 300) / 1000)
        self.set_soc(soc)

    def _build(self) -> None:
        """The cells and sensors of this seed, as warm as the air."""
        self._air = self.ambient  # what the cells feel of it
        self._rise = 0.0  # their own warmth above it
        self._mosfet = self.ambient + 1.5
        draw = random.Random(self.seed)
        cycles = draw.uniform(20, 200)
        self._throughput = cycles * self.capacity  # Ah discharged in its life
        self._soh = float(round(100 - cycles / 60))
        self._cells = Cells(self.chemistry, self.cell_count, self.capacity * self._soh / 100, draw)
        self._voltages: list[float] = []
        self._wires = tuple(  # Ω
            round(draw.uniform(0.03, 0.07), 3) for _ in range(self.cell_count)
        )
        self._placing = [  # how much of the warmth reaches the probe, and what it misreads
            (f"cell_{number}", draw.uniform(0.85, 1.15), draw.uniform(-0.3, 0.3))
            for number in range(1, self.probes + 1)
        ]

    # -- time ------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let virtual seconds pass, 0 to 31 days at once.

        It is cut into a thousand steps of 1 to 60 s: 1 s for up to a quarter of an hour, at most
        5 s for up to 80 minutes; more steps than that beyond 16 hours.
        """
        left = _number("The seconds to advance", seconds, 0, MAX_ADVANCE)
        longest = min(60.0, max(1.0, left / 1000))
        count = max(1, math.ceil(left / longest))
        for _ in range(count):
            self._step(left / count)

    def _step(self, seconds: float) -> None:
        """One step; of no length: only look again at what was changed from outside."""
        closed = self._closed_fets()
        self.around.watch(closed, self._current)
        current = _permitted(self._wanted(seconds), closed)
        bleed = max(0.0, self.settings["balance_current"])
        self._cells.move(current, seconds, bleed, self._balancing, self._fed)
        self._throughput += max(0.0, -current) * seconds / 3600
        self._warm(current, seconds)
        self.uptime += seconds
        self.around.advance()
        self._sense(current)
        self._guard.update(self._measured(), self.settings, seconds)
        closed = self._closed_fets()
        self.around.watch(closed, current)
        if _permitted(current, closed) != current:
            self._sense(0.0)
        self._choose_bleeders(seconds)

    def _wanted(self, seconds: float) -> float:
        """The current that loads and chargers drive through closed FETs, A."""

        def ceiling(volts: float) -> float:
            return self._cells.current_to(volts, seconds, self._stiffness())

        return self.around.wanted(self._profiled(seconds), seconds, ceiling)

    def _profiled(self, seconds: float) -> float:
        """What they would drive if nobody limited them, A."""
        if isinstance(self._load, Supply):
            amps, volts = self._load
            most = self._cells.current_to(volts, seconds, self._stiffness())
            return min(amps, max(0.0, most))
        if not isinstance(self._load, str):
            return self._load
        if self._load == "idle":
            return 0.0
        wish = daily_current(self.seed, self.uptime + seconds / 2, min(self.capacity, 300.0))
        if wish < 0:  # the inverter backs off before the pack is empty
            return wish * max(0.0, min(1.0, (self.soc - 8) / 4))
        limit = self.cell_count * self.chemistry.full_voltage
        return min(wish, max(0.0, self._cells.current_to(limit, seconds, self._stiffness())))

    def _closed_fets(self) -> dict[Switch, bool]:
        """Which FETs conduct: those that are switched on and that nothing opens."""
        forced = [c for c, severity in self._raised.items() if severity == "protection"]
        opened = self._guard.opened(forced)
        return {fet: self.switches[fet] and fet not in opened for fet in _FETS}

    def _stiffness(self) -> float:
        """Resistance grows by about 2 % per degree below 25 °C."""
        return math.exp(0.02 * (25 - max(-40.0, min(80.0, self._air + self._rise))))

    def _warm(self, current: float, seconds: float) -> None:
        heat_capacity = _CELL_HEAT * self.cell_count * self.capacity
        rise = self._cells.heat(current, self._stiffness()) * _CELL_COOLING_TIME / heat_capacity
        kept = math.exp(-seconds / _CELL_COOLING_TIME)
        goal = min(_HOTTEST, rise)
        self._rise = goal + (self._rise - goal) * kept
        self._air = self.ambient + (self._air - self.ambient) * kept
        box = (self.ambient + self._air + self._rise) / 2 + 1.5
        board = min(1.5 * self.capacity, 300.0)
        goal = min(_HOTTEST, box + _MOSFET_RISE * (current / board) ** 2)
        self._mosfet = goal + (self._mosfet - goal) * math.exp(-seconds / _MOSFET_TIME)

    def _sense(self, current: float) -> None:
        """What the BMS measures at that current."""
        self._current = current
        self._voltages = self._cells.voltages(current, self._stiffness())
        for number, volts in self._cell_overrides.items():
            self._voltages[number - 1] = volts

    def _measured(self) -> Measured:
        temperatures = self.temperatures
        mosfet = temperatures.pop("mosfet")
        known = [t for t in temperatures.values() if t is not None]
        return Measured(
            max_cell=max(self._voltages),
            min_cell=min(self._voltages),
            voltage=round(sum(self._voltages), 3),
            current=self._current,
            hottest=max(known, default=None),
            coldest=min(known, default=None),
            mosfet=mosfet,
        )

    def _choose_bleeders(self, seconds: float) -> None:
        """The cells that bleed until the next step: the high ones, in turns with their
        neighbours; an active balancer serves the highest alone, for the lowest."""
        self._turn_seconds += seconds
        if self._turn_seconds >= _PARITY_TIME:
            self._odd_turn = not self._odd_turn
            self._turn_seconds = 0.0
        lowest, start = min(self._voltages), self.settings["balance_start_voltage"]
        delta = max(0.001, self.settings["balance_delta"])
        high = [
            number
            for number, volts in enumerate(self._voltages, 1)
            if volts >= start and round(volts - lowest, 3) >= delta
        ]
        if self._active:
            high = high and [self._voltages.index(max(self._voltages)) + 1]
            self._fed = self._voltages.index(lowest) + 1 if high else 0
        elif len({number % 2 for number in high}) == 2:
            high = [number for number in high if number % 2 == self._odd_turn]
        on = self.switches[Switch.BALANCE]
        self._balancing, self._fed = (tuple(high), self._fed) if on else ((), 0)

    # -- what it says ----------------------------------------------------------------------------

    @property
    def soc(self) -> float:
        """State of charge, 0..100 %."""
        return self._cells.soc

    @property
    def temperatures(self) -> dict[str, float | None]:
        """°C as the probes give it, to a tenth: `cell_1`… and `mosfet`; `None` for a broken one."""
        found: dict[str, float | None] = {
            name: round(self._air + self._rise * gain + offset, 1)
            for name, gain, offset in self._placing
        }
        found["mosfet"] = round(self._mosfet, 1)
        return found | self._overrides

    def truth(self) -> Reading:
        """What a perfect BMS would say now."""
        self._step(0.0)
        full = sum(self._cells.full) / self.cell_count
        soc = self.soc
        closed = self._closed_fets()
        return Reading(
            voltage=round(sum(self._voltages), 3),
            current=round(self._current, 3) + 0.0,  # never -0.0
            soc=round(soc, 3),
            soh=self._soh,
            remaining_capacity=round(full * soc / 100, 3),
            full_capacity=round(full, 3),
            nominal_capacity=self.settings["nominal_capacity"],
            cycles=int(self._throughput / self.capacity),
            cycle_capacity=round(self._throughput, 3),
            cell_voltages=tuple(self._voltages),
            cell_resistances=self._wires,
            temperatures=self.temperatures,
            balancing_active=bool(self._balancing),
            balancing_cells=self._balancing,
            balance_current=self.settings["balance_current"] if self._balancing else 0.0,
            charge_switch=self.switches[Switch.CHARGE],
            discharge_switch=self.switches[Switch.DISCHARGE],
            balance_switch=self.switches[Switch.BALANCE],
            charging_allowed=closed[Switch.CHARGE],
            discharging_allowed=closed[Switch.DISCHARGE],
            heater=False,
            alarms=self._conditions("alarm", self._alarms()),
            protections=self._protections(),
            faults=self._conditions("fault", self._faults()),
            conditions_known=True,
            uptime=round(self.running, 3),
        )

    def protections(self) -> tuple[Condition, ...]:
        """Those of `truth`, without the rest of it."""
        self._step(0.0)
        return self._protections()

    def _protections(self) -> tuple[Condition, ...]:
        return self._conditions("protection", self._guard.conditions)

    def _conditions(self, severity: str, own: set[Condition]) -> tuple[Condition, ...]:
        raised = {c for c, forced in self._raised.items() if forced == severity}
        return tuple(sorted(own | raised, key=_ORDER.__getitem__))

    def _alarms(self) -> set[Condition]:
        measured = self._measured()
        found = self._guard.warnings(measured, self.settings)
        if self.soc <= self.settings["soc_low"]:
            found.add(Condition.SOC_LOW)
        if round(measured.max_cell - measured.min_cell, 3) >= self.settings["cell_delta"]:
            found.add(Condition.CELL_DELTA)
        if measured.hottest is not None and measured.coldest is not None:
            apart = round(measured.hottest - measured.coldest, 1)
            if apart >= self.settings["temperature_delta"]:
                found.add(Condition.TEMPERATURE_DELTA)
        return found - {c for c, severity in self._raised.items() if severity == "protection"}

    def _faults(self) -> set[Condition]:
        found = set()
        if None in self._overrides.values():
            found.add(Condition.TEMPERATURE_SENSE)
        if self.settings["cell_count"] != self.cell_count:
            found.add(Condition.CELL_COUNT_MISMATCH)
        return found

    @property
    def running(self) -> float:
        """How long its board has been running, s."""
        return self.uptime - self.around.booted

    # -- hands on it -----------------------------------------------------------------------------

    def switch(self, switch: Switch, on: bool) -> None:
        """The software switch of a FET or of the balancer, set at once by whatever hand. What
        comes by wire is a command of `around`."""
        self.switches[switch] = on

    def set_load(self, load: float | str | None) -> None:
        """Amps (positive charges, whatever the voltage), `cycle`, `idle` or `supply:AMPS:VOLTS`;
        `None`: as built."""
        self._load = self._profile if load is None else parse_load(load)

    def set_soc(self, percent: float) -> None:
        """Fill the cells to 0..100 %, as unequal as they began (at either end all alike)."""
        self._cells.fill(_number("The state of charge in %", percent, 0, 100))

    def set_ambient(self, celsius: float) -> None:
        """The air around the pack, -50..100 °C; the cells follow slowly."""
        self.ambient = _number("The ambient temperature in °C", celsius, -50, 100)

    def set_cell_voltage(self, number: int, volts: float | None) -> None:
        """Hold what is measured of a cell (from 1) at 0..10 V; `None` measures it again."""
        cell = int(_number("The cell number", number, 1, self.cell_count))
        if volts is None:
            self._cell_overrides.pop(cell, None)
        else:
            self._cell_overrides[cell] = round(_number("The cell voltage in V", volts, 0, 10), 3)

    def set_temperature(self, name: str, celsius: float | None) -> None:
        """Hold a probe at -50..200 °C; `None` measures it again, also after `break_probe`."""
        self._check_probe(name)
        if celsius is None:
            self._overrides.pop(name, None)
        else:
            self._overrides[name] = _number("The temperature in °C", celsius, -50, 200)

    def break_probe(self, name: str) -> None:
        """The probe is gone: its temperature is `None`, and that is a fault."""
        self._check_probe(name)
        self._overrides[name] = None

    def _check_probe(self, name: str) -> None:
        if name not in self.temperatures:
            raise TargetError(
                f"There is no probe {name[:40]!r}; this pack has: {', '.join(self.temperatures)}."
            )

    def raise_condition(self, severity: str, condition: Condition) -> None:
        """Report a condition as `alarm`, `protection` (opens the FETs it is about) or
        `fault`, until it is cleared."""
        if severity not in SEVERITIES:
            raise TargetError(
                f"A condition is raised as {', '.join(SEVERITIES)}, not as {severity[:40]!r}."
            )
        self._raised[condition] = severity

    def clear_condition(self, condition: Condition) -> None:
        """Take back what was raised, and reset a real trip of it; a lasting cause trips again."""
        self._raised.pop(condition, None)
        self._guard.clear(condition)


def _permitted(current: float, closed: Mapping[Switch, bool]) -> float:
    """What an open FET leaves of it; the other FET's body diode still carries its direction."""
    if current > 0 and not closed[Switch.CHARGE]:
        return 0.0
    if current < 0 and not closed[Switch.DISCHARGE]:
        return 0.0
    return current


def _number(what: str, value: float, low: float, high: float) -> float:
    """The value if it lies within the bounds; a sentence if not (nan and inf never do)."""
    if not low <= value <= high:
        raise TargetError(f"{what} is {low:g} to {high:g}, not {str(value)[:40]}.")
    return value
