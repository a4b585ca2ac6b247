"""A battery pack that behaves, in virtual time: cells, heat, a balancer, and a BMS that guards it.

Each cell is a rest voltage over its charge, a resistance, and one slow polarisation term. The
same seed gives the same pack with the same day. Nothing here knows a protocol.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right

from bmslink.chemistry import Chemistry
from bmslink.chemistry import chemistry as find_chemistry
from bmslink.errors import TargetError
from bmslink.model import Condition, Reading, Switch
from bmslink.simulation.load import daily_current, parse_load
from bmslink.simulation.protection import Guard, Measured, default_settings

__all__ = ["SEVERITIES", "Pack"]

SEVERITIES = ("alarm", "protection", "fault")
"""How bad a raised condition can be: the list of the reading it goes to."""

MAX_ADVANCE = 31 * 86400.0
_POLARISATION_TIME = 300.0  # s
_POLARISATION_SHARE = 0.7  # of the direct resistance, fully built up
_SELF_DISCHARGE = 0.02 / (30 * 86400)  # of the capacity per second: 2 % a month
_CELL_HEAT = 25.0  # J/K per cell and Ah, about 1 kJ/K per kg
_CELL_COOLING_TIME = 6000.0  # s
_MOSFET_RISE = 35.0  # K above the box at the discharge over-current limit of the board
_MOSFET_TIME = 120.0  # s
_PARITY_TIME = 10.0  # s; neighbours share a wire, so odd and even cells take turns
_OVERCHARGE_SLOPE = 0.08  # V per % above full
_DEPLETION_SLOPE = 0.15  # V per % below empty
_SOC_MARGIN = 10.0  # % beyond 0..100 after which a cell stores nothing more
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
    ) -> None:
        """Cells 1..48, capacity 1..10000 Ah, soc 0..100 %, ambient -50..100 °C, probes 0..16;
        load `cycle` (a day of sun and household), `idle`, or amps (positive charges).
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
        self._load: float | str = self._profile
        self._overrides: dict[str, float | None] = {}
        self._cell_overrides: dict[int, float] = {}
        self._raised: dict[Condition, str] = {}
        self._guard = Guard()
        self._polarising = 0.0  # A: the current the slow term has followed so far
        self._current = 0.0
        self._balancing: tuple[int, ...] = ()
        self._odd_turn = True
        self._turn_seconds = 0.0
        self._build_cells()
        self._core = self.ambient
        self._mosfet = self.ambient + 1.5
        self.set_soc(soc)

    def _build_cells(self) -> None:
        draw = random.Random(self.seed)

        def spread(share: float) -> list[float]:
            """Factors around 1, of mean exactly 1, none further away than twice the share."""
            raw = [max(-2.0, min(2.0, draw.gauss(0, 1))) for _ in range(self.cell_count)]
            mean = sum(raw) / len(raw)
            return [1 + share * (value - mean) for value in raw]

        cycles = draw.uniform(20, 200)
        self._throughput = cycles * self.capacity  # Ah discharged in its life
        self._soh = float(round(100 - cycles / 60))
        full = self.capacity * self._soh / 100
        self._full = [full * factor for factor in spread(0.005)]
        resistance = self.chemistry.resistance / self.capacity
        self._resistance = [resistance * factor for factor in spread(0.06)]
        self._total_resistance = sum(self._resistance)
        self._leak = [_SELF_DISCHARGE * ah * f for ah, f in zip(self._full, spread(0.2))]
        self._wires = [round(0.05 * factor, 3) for factor in spread(0.2)]
        offsets = [100 * (factor - 1) for factor in spread(0.0035)]
        weighted = sum(o * ah for o, ah in zip(offsets, self._full)) / sum(self._full)
        self._offsets = [offset - weighted for offset in offsets]  # %: the pack's SOC stays exact
        self._probe_offsets = [(draw.uniform(0.85, 1.15), draw.uniform(-0.3, 0.3))
                               for _ in range(self.probes)]
        curve = self.chemistry.curve
        margin = _SOC_MARGIN
        points = [
            (-margin, curve[0][1] - margin * _DEPLETION_SLOPE),
            *curve,
            (100 + margin, curve[-1][1] + margin * _OVERCHARGE_SLOPE),
        ]
        self._curve = [
            (x0, y0, (y1 - y0) / (x1 - x0))
            for (x0, y0), (x1, y1) in zip(points, points[1:])
        ]
        self._curve_starts = [x for x, _ in points[1:-1]]

    # -- time ------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let virtual seconds pass, 0 to 31 days at once.

        Steps are 1 s for up to an hour and 5 s for up to five, then longer but never above 60 s.
        """
        left = _number("The seconds to advance", seconds, 0, MAX_ADVANCE)
        longest = min(60.0, max(1.0, left / 3600))
        count = max(1, math.ceil(left / longest))
        for _ in range(count):
            self._step(left / count)

    def _step(self, seconds: float) -> None:
        """One step; of no length: only look again at what was changed from outside."""
        current = self._permitted(self._wanted(seconds))
        self._move_charge(current, seconds)
        self._warm(current, seconds)
        self.uptime += seconds
        self._sense(current)
        self._guard.update(self._measured(), self.settings, seconds)
        if self._permitted(current) != current:
            self._sense(0.0)
        self._choose_bleeders(seconds)

    def _wanted(self, seconds: float) -> float:
        """The current the load or charger would drive through closed FETs, A."""
        if not isinstance(self._load, str):
            return self._load
        if self._load == "idle":
            return 0.0
        wish = daily_current(self.seed, self.uptime + seconds / 2, min(self.capacity, 300.0))
        if wish < 0:  # the inverter backs off before the pack is empty
            return wish * max(0.0, min(1.0, (self.soc - 8) / 4))
        return min(wish, max(0.0, self._charger_limit(seconds)))

    def _charger_limit(self, seconds: float) -> float:
        """The current that brings the pack to the charger's voltage by the end of the step, A.

        Looking ahead to the end is what keeps long steps stable where the curve is steep.
        """
        scale = self._total_resistance * self._cold_factor()
        kept = math.exp(-seconds / _POLARISATION_TIME)
        slow = scale * _POLARISATION_SHARE
        room = self.cell_count * self.chemistry.full_voltage - sum(self._rest)
        rise = self._slope * seconds / 3600 + scale + slow * (1 - kept)
        return (room - slow * self._polarising * kept) / rise

    def _permitted(self, current: float) -> float:
        """What an open FET leaves of it; the other FET's body diode still carries its direction."""
        if current > 0 and not self._closed(Switch.CHARGE):
            return 0.0
        if current < 0 and not self._closed(Switch.DISCHARGE):
            return 0.0
        return current

    def _closed(self, switch: Switch) -> bool:
        forced = [c for c, severity in self._raised.items() if severity == "protection"]
        return self.switches[switch] and switch not in self._guard.opened(forced)

    def _move_charge(self, current: float, seconds: float) -> None:
        hours = seconds / 3600
        bleed = max(0.0, self.settings["balance_current"])
        for index, full in enumerate(self._full):
            amps = current - (bleed if index + 1 in self._balancing else 0.0)
            charge = self._charge[index] + amps * hours - self._leak[index] * seconds
            low, high = -full * _SOC_MARGIN / 100, full * (1 + _SOC_MARGIN / 100)
            self._charge[index] = min(high, max(low, charge))
        self._throughput += max(0.0, -current) * hours
        kept = math.exp(-seconds / _POLARISATION_TIME)
        self._polarising = current + (self._polarising - current) * kept
        self._settle()

    def _settle(self) -> None:
        """The rest voltage of each cell, and how fast their sum rises, V per Ah."""
        self._rest = []
        self._slope = 0.0
        for charge, full in zip(self._charge, self._full):
            soc = 100 * charge / full
            x, y, gradient = self._curve[bisect_right(self._curve_starts, soc)]
            self._rest.append(y + (soc - x) * gradient)
            self._slope += gradient * 100 / full

    def _cold_factor(self) -> float:
        """Resistance grows by about 2 % per degree below 25 °C."""
        return math.exp(0.02 * (25 - max(-40.0, min(80.0, self._core))))

    def _warm(self, current: float, seconds: float) -> None:
        power = current**2 * self._total_resistance * (1 + _POLARISATION_SHARE)
        heat_capacity = _CELL_HEAT * self.cell_count * self.capacity
        rise = power * self._cold_factor() * _CELL_COOLING_TIME / heat_capacity
        goal = self.ambient + rise
        self._core = goal + (self._core - goal) * math.exp(-seconds / _CELL_COOLING_TIME)
        box = (self.ambient + self._core) / 2 + 1.5
        board = min(1.5 * self.capacity, 300.0)
        goal = min(400.0, box + _MOSFET_RISE * (current / board) ** 2)
        self._mosfet = goal + (self._mosfet - goal) * math.exp(-seconds / _MOSFET_TIME)

    def _sense(self, current: float) -> None:
        """What the BMS measures at that current: cells in whole millivolts."""
        self._current = current
        driven = (current + _POLARISATION_SHARE * self._polarising) * self._cold_factor()
        cells = [
            max(0.0, round(rest + driven * resistance, 3))
            for rest, resistance in zip(self._rest, self._resistance)
        ]
        for number, volts in self._cell_overrides.items():
            cells[number - 1] = volts
        self._cells = cells

    def _measured(self) -> Measured:
        temperatures = self.temperatures
        mosfet = temperatures.pop("mosfet")
        known = [t for t in temperatures.values() if t is not None]
        return Measured(
            max_cell=max(self._cells),
            min_cell=min(self._cells),
            voltage=round(sum(self._cells), 3),
            current=self._current,
            hottest=max(known, default=None),
            coldest=min(known, default=None),
            mosfet=mosfet,
        )

    def _choose_bleeders(self, seconds: float) -> None:
        """The cells that bleed until the next step: the high ones, in turns with their
        neighbours."""
        self._turn_seconds += seconds
        if self._turn_seconds >= _PARITY_TIME:
            self._odd_turn = not self._odd_turn
            self._turn_seconds = 0.0
        lowest, start = min(self._cells), self.settings["balance_start_voltage"]
        delta = self.settings["balance_delta"]
        high = [
            number
            for number, volts in enumerate(self._cells, 1)
            if volts >= start and volts > lowest and round(volts - lowest, 3) >= delta
        ]
        if not self.switches[Switch.BALANCE]:
            high = []
        turn = [number for number in high if number % 2 == self._odd_turn]
        self._balancing = tuple(turn or high if len({n % 2 for n in high}) < 2 else turn)

    # -- what it says ----------------------------------------------------------------------------

    @property
    def soc(self) -> float:
        """State of charge, 0..100 %."""
        return min(100.0, max(0.0, 100 * sum(self._charge) / sum(self._full)))

    @property
    def temperatures(self) -> dict[str, float | None]:
        """°C as the probes give it, to a tenth: `cell_1`… and `mosfet`; `None` for a broken one."""
        rise = self._core - self.ambient
        found: dict[str, float | None] = {
            f"cell_{number}": round(self.ambient + rise * gain + offset, 1)
            for number, (gain, offset) in enumerate(self._probe_offsets, 1)
        }
        found["mosfet"] = round(self._mosfet, 1)
        return found | self._overrides

    def truth(self) -> Reading:
        """What a perfect BMS would say now."""
        self._step(0.0)
        full = sum(self._full) / self.cell_count
        return Reading(
            voltage=round(sum(self._cells), 3),
            current=round(self._current, 3),
            soc=round(self.soc, 3),
            soh=self._soh,
            remaining_capacity=round(full * self.soc / 100, 3),
            full_capacity=round(full, 3),
            nominal_capacity=self.settings["nominal_capacity"],
            cycles=int(self._throughput / self.capacity),
            cycle_capacity=round(self._throughput, 3),
            cell_voltages=tuple(self._cells),
            cell_resistances=tuple(self._wires),
            temperatures=self.temperatures,
            balancing_active=bool(self._balancing),
            balancing_cells=self._balancing,
            balance_current=self.settings["balance_current"] if self._balancing else 0.0,
            charge_switch=self.switches[Switch.CHARGE],
            discharge_switch=self.switches[Switch.DISCHARGE],
            balance_switch=self.switches[Switch.BALANCE],
            charging_allowed=self._closed(Switch.CHARGE),
            discharging_allowed=self._closed(Switch.DISCHARGE),
            heater=False,
            alarms=self._conditions("alarm", self._alarms()),
            protections=self._conditions("protection", self._guard.conditions),
            faults=self._conditions("fault", self._faults()),
            uptime=self.uptime,
        )

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

    # -- hands on it -----------------------------------------------------------------------------

    def switch(self, switch: Switch, on: bool) -> None:
        """The software switch of a FET or of the balancer."""
        self.switches[switch] = on

    def set_load(self, load: float | str | None) -> None:
        """Amps (positive charges, whatever the voltage) or `cycle` or `idle`; `None`: as built."""
        self._load = self._profile if load is None else parse_load(load)

    def set_soc(self, percent: float) -> None:
        """Fill all cells to 0..100 %, with their old differences (none at either end)."""
        soc = _number("The state of charge in %", percent, 0, 100)
        taper = min(1.0, soc / 5, (100 - soc) / 5)
        self._charge = [
            full * (soc + taper * offset) / 100 for full, offset in zip(self._full, self._offsets)
        ]
        self._settle()
        self._sense(self._current)

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
        """Report a condition as `alarm`, `protection` (opens the FETs it stands for) or
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


def _number(what: str, value: float, low: float, high: float) -> float:
    """The value if it lies within the bounds; a sentence if not (nan and inf never do)."""
    if not low <= value <= high:
        raise TargetError(f"{what} is {low:g} to {high:g}, not {value:g}.")
    return value
