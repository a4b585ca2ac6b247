"""The control engine against a pack that behaves, over a wire that does not.

    python tools/soak_control.py [--violations N] [--days N] [--seed N] [--period S]
                                 [--drop-outs SHARE] [--jobs N]

Injects violations, up to five at a time, and expects the policy of each to trip in time; lives
through days without a violation and expects that no permit changes; walks through whole stories (a
cold night, a weak cell, an alternator, ...). Every reading has noise, 1 % of the frames are lost,
0.1 % arrive with a wild value that no checksum catches, and now and then the radio is gone for 8 to
25 s. All policies act, those about the link too. `threshold_hour.py` stays at each threshold.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from bmslink.control.decide.catalogue import default_policies
from bmslink.control.decide.policy import Severity
from bmslink.model import Condition
from bmslink.simulation.pack.pack import Pack
from soak_wire import BATTERY, DROP_OUTS, PROBES, Bench, Wire, failing_pack

LINK = frozenset({"stale_data_warning", "stale_data_derate", "stale_data", "stale_data_discharge"})
"""What answers to lost frames: no violation of the pack, and no false trip."""
_ROW = {policy.name: policy for policy in default_policies(BATTERY).policies.values()}


# ------------------------------------------------------------------------------- violations


@dataclass(frozen=True)
class Kind:
    """One way to violate, the policy that must trip, and how to heal."""

    policy: str
    group: str
    """At one time only one of a group."""
    low: float
    high: float
    hurt: Callable[[Bench, float, int], None]
    heal: Callable[[Bench, int], None]


def _high(pack: Bench, volts: float, n: int) -> None:
    pack.set_cell_voltage(1 + n % 2, volts)


def _high_back(pack: Bench, n: int) -> None:
    pack.set_cell_voltage(1 + n % 2, None)


def _low(pack: Bench, volts: float, n: int) -> None:
    pack.set_cell_voltage(3 + n % 2, volts)


def _low_back(pack: Bench, n: int) -> None:
    pack.set_cell_voltage(3 + n % 2, None)


def _probe(pack: Bench, celsius: float, n: int) -> None:
    pack.set_temperature(PROBES[n % len(PROBES)], celsius)


def _probe_back(pack: Bench, n: int) -> None:
    pack.set_temperature(PROBES[n % len(PROBES)], None)


def _mosfet(pack: Bench, celsius: float, _n: int) -> None:
    pack.set_temperature("mosfet", celsius)


def _mosfet_back(pack: Bench, _n: int) -> None:
    pack.set_temperature("mosfet", None)


def _load(pack: Bench, amps: float, _n: int) -> None:
    pack.set_current(amps)


def _load_back(pack: Bench, _n: int) -> None:
    pack.set_current(0.0)


def _protects(condition: Condition) -> Callable[[Bench, float, int], None]:
    return lambda pack, value, n: pack.protect(condition)


def _clears(condition: Condition) -> Callable[[Bench, int], None]:
    return lambda pack, n: pack.protect(condition, on=False)


KINDS = (
    Kind("cell_overvoltage", "high", 3.705, 3.74, _high, _high_back),
    Kind("cell_overvoltage_critical", "high", 3.755, 4.4, _high, _high_back),
    Kind("cell_undervoltage", "low", 2.45, 2.695, _low, _low_back),
    Kind("cell_undervoltage_critical", "low", 1.0, 2.395, _low, _low_back),
    Kind("charge_undertemperature", "probe", -18.0, -0.6, _probe, _probe_back),
    Kind("discharge_undertemperature", "probe", -38.0, -20.6, _probe, _probe_back),
    Kind("charge_overtemperature", "probe", 55.6, 59.0, _probe, _probe_back),
    Kind("discharge_overtemperature", "probe", 60.6, 69.0, _probe, _probe_back),
    Kind("temperature_critical", "probe", 70.6, 110.0, _probe, _probe_back),
    Kind("mosfet_overtemperature", "mosfet", 90.6, 120.0, _mosfet, _mosfet_back),
    Kind("discharge_overcurrent_instant", "path", -290.0, -151.0, _load, _load_back),
    Kind("charge_overcurrent_instant", "path", 76.0, 150.0, _load, _load_back),
    Kind("discharge_overcurrent_fast", "path", -148.0, -121.5, _load, _load_back),
    Kind("charge_overcurrent_fast", "path", 61.0, 74.0, _load, _load_back),
    Kind("bms_charge_protection", "path", 0, 0, _protects(Condition.CELL_OVERVOLTAGE),
         _clears(Condition.CELL_OVERVOLTAGE)),
    Kind("bms_discharge_protection", "path", 0, 0, _protects(Condition.CELL_UNDERVOLTAGE),
         _clears(Condition.CELL_UNDERVOLTAGE)),
)  # fmt: skip


@dataclass
class Tally:
    """What came of the violations."""

    injected: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    took: dict[str, Counter[float]] = field(default_factory=dict)
    """Policy -> seconds from violation to trip -> how often."""
    samples: int = 0
    lost: int = 0
    corrupted: int = 0

    @property
    def total(self) -> int:
        """All violations."""
        return sum(self.injected.values())

    def within(self, policy: str, share: float) -> float:
        """s, within which so much (0..1) of its violations were seen."""
        seen, need = 0, share * self.took[policy].total()
        for seconds, count in sorted(self.took[policy].items()):
            seen += count
            if seen >= need:
                return seconds
        return math.inf

    def add(self, other: Tally) -> None:
        """What another process found."""
        self.injected += other.injected
        self.missed += other.missed
        for policy, took in other.took.items():
            self.took.setdefault(policy, Counter()).update(took)
        self.samples += other.samples
        self.lost += other.lost
        self.corrupted += other.corrupted


_PATIENCE = 8
"""Periods after the on-delay, within which a policy must trip, whatever is lost on the way."""


def violate(count: int, seed: int, period: float, *, drop_outs: float = DROP_OUTS) -> Tally:
    """Inject at least so many violations, up to five at a time."""
    tally = Tally()
    wire = Wire(Bench(), seed, period, drop_outs=drop_outs)
    for _ in wire.run(20 * period):
        pass
    while tally.total < count:
        chosen = _choose(wire)
        began = wire.now
        for number, kind in enumerate(chosen):
            kind.hurt(wire.pack, wire.random.uniform(kind.low, kind.high), number)
        _await(wire, chosen, tally, began)
        for number, kind in enumerate(chosen):
            kind.heal(wire.pack, number)
        _recover(wire)
        if wire.now > 3e8:  # a new pack every ten years
            wire = _renewed(wire, tally)
    _add_up(wire, tally)
    return tally


def _choose(wire: Wire[Bench]) -> list[Kind]:
    free = [kind for kind in KINDS if kind.policy not in wire.tripped]
    wire.random.shuffle(free)
    chosen: dict[str, Kind] = {}
    for kind in free[: 1 + wire.random.randrange(8)]:
        chosen.setdefault(kind.group, kind)
    return list(chosen.values())[:5]


def _await(wire: Wire[Bench], chosen: list[Kind], tally: Tally, began: float) -> None:
    waiting = {kind.policy: kind for kind in chosen}
    for name in waiting:
        tally.injected[name] += 1
    while waiting:
        wire.beat()
        took = wire.now - began
        for name in tuple(waiting):
            row = _ROW[name]
            if name in wire.tripped:
                tally.took.setdefault(name, Counter())[took] += 1
                del waiting[name]
            elif took > max(row.on_delay, row.load_delay) + _PATIENCE * wire.period:
                tally.missed.append(f"{name} at {began:.0f} s")
                del waiting[name]


def _recover(wire: Wire[Bench]) -> None:
    """Until nothing is left of it but heat, or a quarter of an hour has gone."""
    for _ in wire.run(900):
        if any(name not in LINK for name in wire.tripped):
            wire.reset()
        if not any(kind.policy in wire.tripped for kind in KINDS):
            return


def _renewed(wire: Wire[Bench], tally: Tally) -> Wire[Bench]:
    _add_up(wire, tally)
    seed = wire.random.randrange(1 << 30)
    return Wire(Bench(), seed, wire.period, drop_outs=wire.drop_outs)


def _add_up(wire: Wire[Bench], tally: Tally) -> None:
    tally.samples += wire.samples
    tally.lost += wire.lost
    tally.corrupted += wire.corrupted


# ------------------------------------------------------------------------------- quiet days


def quiet(days: float, seed: int, period: float) -> tuple[Counter[str], Wire[Pack]]:
    """Days of sun and household in mild air, without a violation; gives back the trips, and every
    change of a permit, whatever it is from."""
    wire = Wire(failing_pack(seed, "cycle"), seed, period)
    for hour in range(round(24 * days)):
        wire.pack.set_ambient(18 + 8 * (1 if 8 <= (hour + 9) % 24 < 20 else 0))
        for _ in wire.run(3600):
            pass
    false = Counter({
        name: count
        for name, count in wire.events.items()
        if _ROW[name].severity >= Severity.DERATE
        and name not in LINK
        and not name.startswith("balance_")
    })  # fmt: skip
    false += Counter({f"{path} permit": wire.changes[path] for path in ("charge", "discharge")})
    return false, wire


# ---------------------------------------------------------------------------------- stories


@dataclass(frozen=True)
class Story:
    """Something that goes wrong slowly, and the policy that must see it."""

    name: str
    policy: str
    hours: float
    begin: Callable[[Wire[Pack]], None]
    go_on: Callable[[Wire[Pack]], None] = lambda wire: None


def _begin(soc: float, load: float | str, ambient: float = 25.0) -> Callable[[Wire[Pack]], None]:
    def begin(wire: Wire[Pack]) -> None:
        wire.pack.set_soc(soc)
        wire.pack.set_load(load)
        wire.pack.set_ambient(ambient)

    return begin


def _lead(way: float, start: float) -> Callable[[Wire[Pack]], None]:
    """Cell 2 leaves the others by so many V per hour, from an hour on."""

    def go_on(wire: Wire[Pack]) -> None:
        volts = start + way * max(0.0, wire.now / 3600 - 1)
        wire.pack.set_cell_voltage(2, min(3.59, max(2.0, volts)))

    return go_on


STORIES = (
    Story("overcharged", "cell_overvoltage", 8, _begin(70, 20.0)),
    Story("discharged to the end", "cell_undervoltage", 8, _begin(40, -20.0)),
    Story("a cold night", "charge_undertemperature", 12, _begin(50, -2.0, -15.0)),
    Story("a hot bay", "charge_overtemperature", 24, _begin(50, 10.0, 68.0)),
    Story("a failed probe", "charge_undertemperature", 1, _begin(50, 10.0),
          lambda wire: wire.pack.break_probe("cell_1")),
    Story("a runaway cell", "runaway_cell", 2, _begin(50, 10.0), _lead(0.6, 3.33)),
    Story("a weak cell", "cell_undervoltage", 4, _begin(50, -10.0), _lead(-0.6, 3.25)),
    Story("an alternator that obeys nobody", "charge_overcurrent_instant", 1, _begin(30, 90.0)),
    Story("a long overload", "discharge_heat", 2, _begin(90, -112.0)),
)  # fmt: skip


def tell(story: Story, seed: int, period: float) -> bool:
    """Whether the policy saw it; without a value the currents must be limited at least."""
    wire = Wire(failing_pack(seed), seed, period)
    story.begin(wire)
    for decision in wire.run(3600 * story.hours):
        story.go_on(wire)
        if story.policy in wire.tripped:
            return True
        missing = {v.policy for v in decision.verdicts if v.state == "missing"}
        if story.policy in missing:
            return decision.limits.ccl.value <= 0.2 * (BATTERY.charge_current or 0.0)
    return False


# ------------------------------------------------------------------------------- the figures

_PART = 10_000  # violations
say = partial(print, flush=True)  # a soak of an hour is read while it runs


def _violated(seed: int, count: int, period: float, drop_outs: float) -> Tally:
    return violate(count, seed, period, drop_outs=drop_outs)


def _show_violations(chosen: argparse.Namespace) -> int:
    """In parts, each with a seed of its own, in as many processes as there may be."""
    start = time.monotonic()
    tally = Tally()
    parts = math.ceil(chosen.violations / _PART)
    seeds = range(chosen.seed, chosen.seed + parts)
    count = math.ceil(chosen.violations / parts)
    one = partial(_violated, count=count, period=chosen.period, drop_outs=chosen.drop_outs)
    with ProcessPoolExecutor(chosen.jobs) as pool:
        for part in pool.map(one, seeds):
            tally.add(part)
            if time.monotonic() - start > 60 * chosen.minutes:
                pool.shutdown(cancel_futures=True)
                break
    say(
        f"violations: {tally.total} injected, {len(tally.missed)} missed; a sample every "
        f"{chosen.period:g} s, {tally.samples} samples, {tally.lost} lost, {tally.corrupted} "
        f"corrupted ({time.monotonic() - start:.0f} s)"
    )
    for name, count in sorted(tally.injected.items()):
        half, most, longest = (tally.within(name, share) for share in (0.5, 0.99, 1.0))
        say(f"  {name:<32} {count:>8}  {half:3.0f} s  99 %: {most:3.0f} s  all: {longest:3.0f} s")
    for missed in tally.missed[:20]:
        say(f"  MISSED {missed}")
    return len(tally.missed)


def _show_quiet(days: float, seed: int, period: float) -> int:
    start = time.monotonic()
    false, wire = quiet(days, seed, period)
    say(
        f"quiet: {days:g} days, a sample every {period:g} s, {wire.samples} samples, "
        f"{wire.lost} lost, {wire.corrupted} corrupted: {false.total()} false trips "
        f"{dict(+false) or ''} ({time.monotonic() - start:.0f} s)"
    )
    return false.total()


def main(arguments: list[str]) -> int:
    """Print the figures; 1 if anything was missed or tripped without reason."""
    parser = argparse.ArgumentParser(description="Soak test of the control engine.")
    parser.add_argument("--violations", type=int, default=1_000_000)
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--period", type=float, default=10.0, help="s between samples")
    parser.add_argument("--drop-outs", type=float, default=DROP_OUTS, help="share of polls, 0..1")
    parser.add_argument("--minutes", type=float, default=math.inf, help="no more violations then")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    chosen = parser.parse_args(arguments)
    bad = _show_violations(chosen) if chosen.violations else 0
    bad += _show_quiet(chosen.days, chosen.seed, chosen.period) if chosen.days else 0
    for story in STORIES:
        seen = all(tell(story, chosen.seed + n, chosen.period) for n in range(3))
        bad += not seen
        say(f"story: {story.name}: {'seen' if seen else 'MISSED'} by {story.policy}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
