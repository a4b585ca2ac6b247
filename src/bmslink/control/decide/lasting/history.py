"""What policies remember beyond one sample: heat, rest, rise, short circuits, age.

Plain numbers, advanced once per sample; the same samples give the same numbers.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

import msgspec

from bmslink.control.decide.lasting.life_measures import LifeMeasures
from bmslink.control.decide.policy import Battery
from bmslink.control.decide.sample import HIGHEST_RATE, Quality, Sample
from bmslink.model import Condition

__all__ = ["CURRENT_PICKUP", "HistoryMemory", "PackHistory"]

CURRENT_PICKUP = 1.05
"""The thermal model is at 100 % after long at this multiple of the rating."""
_HIGHEST_RATIO = 2.0  # above it the definite-time policies act within 2 s
_RISE_WINDOW, _GROWTH_WINDOW, _STEP = 180.0, 60.0, 10.0  # s
_UNSEEN = 60.0  # s: in a longer silence a load may have warmed the cells by what looks like a fault
_SHORT_CIRCUITS_WITHIN = 600.0  # s
_LIGHT_LOAD = 0.5  # C: what warms the cells by less than a fault does
_CLEAR_SAMPLES = 2  # a protection that one lost frame hides has not gone
_DAY = 86400.0
_LONGEST_STEP = 60.0  # s of balancing that one sample may stand for


Points = list[tuple[float, float]]
"""Age, s, and value."""


class HistoryMemory(msgspec.Struct):
    """What a `PackHistory` knows beyond heat and short circuits."""

    last: float | None = None
    resting: float | None = None
    balanced: float = 0.0
    day: float | None = None
    clear: int = 0
    rise: float | None = None
    growth: float | None = None
    warming: dict[str, Points] = {}
    lead: Points = []


class PackHistory:
    """What one pack did lately. Percentages of `*_heat` are of what the current path takes."""

    def __init__(
        self,
        battery: Battery,
        thresholds: Mapping[str, float],
        charge_rating: float,
        discharge_rating: float,
    ) -> None:
        self.battery = battery
        self.thresholds = thresholds
        self.charge_rating = charge_rating
        self.discharge_rating = discharge_rating
        self.charge_heat = 0.0
        self.discharge_heat = 0.0
        self.rise: float | None = None
        """K/min over three minutes in which neither load nor heater explains it, of the second
        fastest cell probe: the sun and a heater's mat warm one. With a single one, beyond what the
        board's own probes rise. `None`: too early to say, or nothing to compare with."""
        self.growth: float | None = None
        """V/min by which the highest cell leaves the mean."""
        self.short_circuits: deque[float] = deque(maxlen=32)
        self.stopped = 0.0
        """1 during an emergency stop."""
        self.life = LifeMeasures()
        """What is known of the battery's life; nobody says it where nothing keeps it."""
        self.age = 0.0
        self.charge_blindness = 0.0
        """The age of the data, % of what is safe while it may charge."""
        self.discharge_blindness = 0.0
        self._balanced = 0.0  # Ah since the day began
        self._day: float | None = None
        self._resting: float | None = None
        self._warming: dict[str, deque[tuple[float, float]]] = {}
        """Of each probe, since nothing explains that it warms."""
        self._lead: deque[tuple[float, float]] = deque()
        self._clear = _CLEAR_SAMPLES
        self._last: float | None = None

    @property
    def balanced_share(self) -> float:
        """Charge that the balancer moved today, % of the capacity."""
        return 100 * self._balanced / self.battery.capacity

    def beyond_belief(self, current: float) -> bool:
        """No current, but a broken value."""
        return abs(current) > HIGHEST_RATE * self.battery.capacity

    def rested(self, now: float) -> float:
        """How long less than 0.05 C has flowed, s."""
        return 0.0 if self._resting is None else now - self._resting

    def remember(self, now: float) -> HistoryMemory:
        """What must survive a restart, beside heat and short circuits."""

        def age(time: float | None) -> float | None:
            return None if time is None else now - time

        def points(told: deque[tuple[float, float]]) -> list[tuple[float, float]]:
            return [(now - time, value) for time, value in told]

        return HistoryMemory(
            last=age(self._last),
            resting=age(self._resting),
            balanced=self._balanced,
            day=age(self._day),
            clear=self._clear,
            rise=self.rise,
            growth=self.growth,
            warming={name: points(told) for name, told in self._warming.items()},
            lead=points(self._lead),
        )

    def restore(self, found: HistoryMemory, now: float) -> None:
        """The same back."""

        def time(age: float | None) -> float | None:
            return None if age is None else now - age

        def points(told: list[tuple[float, float]]) -> deque[tuple[float, float]]:
            return deque((now - age, value) for age, value in told)

        self._last, self._resting = time(found.last), time(found.resting)
        self._balanced, self._day = found.balanced, time(found.day)
        self._clear = found.clear if found.last is not None else _CLEAR_SAMPLES
        self.rise, self.growth = found.rise, found.growth
        self._warming = {name: points(told) for name, told in found.warming.items()}
        self._lead = points(found.lead)

    def update(self, sample: Sample, longest: float) -> None:
        """Advance to a sample; of a gap no more than `longest` seconds warm or cool anything."""
        passed = 0.0 if self._last is None else max(0.0, sample.time - self._last)
        self._last = sample.time
        self._warm(sample, passed, longest)
        self._rest(sample, passed > longest)
        self._follow(sample, passed > _UNSEEN)
        self._remember_shorts(sample)
        self._balance(sample, passed)

    def _warm(self, sample: Sample, passed: float, longest: float) -> None:
        current, quality = sample.current, sample.quality["current"]
        if current is None or quality > Quality.SUSPECT:
            return
        size = abs(current)
        if self.beyond_belief(current):
            return
        charge = size if quality else max(0.0, current)
        discharge = size if quality else max(0.0, -current)
        # of a silence nobody knows what flowed: more than `longest` neither warms nor cools
        fading = math.exp(-min(passed, longest) / self.battery.time_constant)
        self.charge_heat = _heat(self.charge_heat, charge / self.charge_rating, fading)
        self.discharge_heat = _heat(self.discharge_heat, discharge / self.discharge_rating, fading)

    def _rest(self, sample: Sample, gap: bool) -> None:
        current = sample.current
        if gap or current is None or abs(current) >= 0.05 * self.battery.capacity:
            self._resting = None
        elif self._resting is None:
            self._resting = sample.time

    def _follow(self, sample: Sample, unseen: bool) -> None:
        now = sample.time
        if unseen or self._explained(sample):
            self._warming.clear()
            self.rise = None
        elif not sample.quality["temperatures"] and sample.probes:
            self.rise = self._rising(sample)
        if not sample.quality["cells"] and sample.max_cell is not None:
            lead = sample.max_cell - sample.cell_sum / len(sample.cells)
            self.growth = _slope(self._lead, now, lead, _GROWTH_WINDOW)

    def _explained(self, sample: Sample) -> bool:
        """Whether a load or a heater warms the cells."""
        if sample.reading.heater:
            return True
        current = sample.current
        if current is None or self.beyond_belief(current):
            return False  # nobody knows
        return abs(current) >= _LIGHT_LOAD * self.battery.capacity

    def _rising(self, sample: Sample) -> float | None:
        """K/min, by what several probes say together."""
        cells: list[float] = []
        others: list[float] = []
        for name, value in sample.temperatures.items():
            if value is None:
                self._warming.pop(name, None)  # one that speaks again is no rise
                continue
            points = self._warming.setdefault(name, deque())
            slope = _slope(points, sample.time, value, _RISE_WINDOW)
            if slope is not None:
                (cells if name in sample.probes else others).append(slope)
        if len(cells) > 1:
            return sorted(cells)[-2]
        if cells and others:
            return cells[0] - max(0.0, *others)
        return None

    def _remember_shorts(self, sample: Sample) -> None:
        if sample.quality["conditions"]:
            return  # what was not read has not gone
        shorts = self.short_circuits
        while shorts and sample.time - shorts[0] > _SHORT_CIRCUITS_WITHIN:
            shorts.popleft()
        protections = sample.reading.protections
        if protections and Condition.SHORT_CIRCUIT in protections:
            if self._clear >= _CLEAR_SAMPLES:
                shorts.append(sample.time)
            self._clear = 0
        elif self._clear < _CLEAR_SAMPLES:
            self._clear += 1

    def _balance(self, sample: Sample, passed: float) -> None:
        if self._day is None or sample.time - self._day >= _DAY:
            self._day, self._balanced = sample.time, 0.0
        reading = sample.reading
        if reading.balancing_active and reading.balance_current:
            amps = abs(reading.balance_current)
            if math.isfinite(amps):
                self._balanced += amps * min(passed, _LONGEST_STEP) / 3600


def _heat(before: float, ratio: float, fading: float) -> float:
    """First-order heating towards the square of the current, %."""
    goal = 100 * min(_HIGHEST_RATIO, ratio / CURRENT_PICKUP) ** 2
    return goal + (before - goal) * fading


def _slope(
    points: deque[tuple[float, float]], now: float, value: float, window: float
) -> float | None:
    """Change per minute over at least the window; keeps a point every ten seconds."""
    if not points or now - points[-1][0] >= _STEP:
        points.append((now, value))
    while len(points) > 1 and now - points[1][0] >= window:
        points.popleft()
    start, first = points[0]
    return 60 * (value - first) / (now - start) if now - start >= window else None
