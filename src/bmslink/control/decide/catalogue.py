"""The policies that bmslink has: a record for each quantity, with its levels. Each level alone can
only withdraw, never permit.

A record says once what all its levels share; a level says where it begins and what follows: `warn`,
`curve` or `limit` (a part of the current), `trip`, `critical` (until a person resets it), `backup`
(the BMS did not trip). Each level has a name of its own as well, which events and old files use.

Thresholds that are text are names of `thresholds.py`. Host thresholds lie inside the BMS's own
settings, so that the host acts first; those that say the BMS did not trip lie outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from bmslink.control.decide.policy import (
    Action,
    Battery,
    Demand,
    Mode,
    OnMissing,
    Policy,
    PolicySet,
    Severity,
)
from bmslink.control.decide.records.levels import (
    LOCKOUT,
    ONLY_TOLD,
    OTHERS,
    SLOW_LOCKOUT,
    Fields,
    backup,
    critical,
    curve,
    ignore,
    level_of,
    limit,
    record,
    trip,
    warn,
)
from bmslink.control.decide.records.life import life_records
from bmslink.control.decide.thresholds import CURVES, THRESHOLDS

__all__ = ["CATALOGUE", "SPLIT", "default_policies", "with_parts"]

_T = TypeVar("_T")

_CHARGE, _DISCHARGE, _BALANCE = (Action.CHARGE,), (Action.DISCHARGE,), (Action.BALANCE,)
_BOTH = (Action.CHARGE, Action.DISCHARGE)


# -------------------------------------------------------------------------------- the records


def _voltage() -> Iterator[Policy]:
    yield from record(
        "cell_overvoltage", "max_cell", _CHARGE,
        warn("a cell is high", trip="ov_warning", release="ov_release"),
        curve("the charge current falls as a cell fills", "ccl_voltage"),
        trip("a cell is too high", trip="ov_trip", release="ov_release", off_delay=60.0,
             inside_bms=0.03),
        critical("a cell is dangerously high", trip="ov_critical", release="ov_release"),
        backup("overvoltage", "the BMS did not stop an over-charge", 0.02, "ov_release",
               "charging"),
        bms="cell_ovp",
    )  # fmt: skip
    yield from record(
        "pack_overvoltage", "pack_voltage", _CHARGE,
        trip("the pack voltage is too high", trip="ov_trip", release="ov_release", on_delay=2.0,
             off_delay=60.0, inside_bms=0.01),  # per cell; chargers end 0.1 V below it
        bms="pack_ovp",
    )  # fmt: skip
    yield from record(
        "cell_undervoltage", "min_cell", _DISCHARGE,
        warn("a cell is low", trip="uv_warning", release="uv_derate_release"),
        curve("the discharge current falls as a cell empties", "dcl_voltage"),
        trip("a cell is too low", trip="uv_trip", release="uv_release", load_delay=10.0,
             off_delay=60.0, inside_bms=0.05),
        critical("a cell is dangerously low", trip="uv_critical", release="uv_release",
                 load_delay=10.0),
        backup("undervoltage", "the BMS did not stop a deep discharge", 0.02, "uv_release",
               "discharging"),
        over=False, bms="cell_uvp",
    )  # fmt: skip
    yield from record(
        "pack_undervoltage", "pack_voltage", _DISCHARGE,
        trip("the pack voltage is too low", trip="uv_trip", release="uv_release", on_delay=2.0,
             load_delay=10.0, off_delay=60.0, inside_bms=0.05),
        over=False, bms="pack_uvp",
    )  # fmt: skip
    yield from record(
        "deep_discharge", "min_cell", _CHARGE,
        limit("a deeply discharged cell is charged gently", trip="uv_critical",
              release="deep_release", factor=0.02, of="capacity", min_off=0.0),
        critical("a cell is too deeply discharged to be charged", name="no_charge_below",
                 trip="no_charge_below", release="uv_critical"),
        over=False, on_delay=1.0,
    )  # fmt: skip
    yield from record(
        "cell_sum", "cell_sum_error", (),
        warn("cells and pack voltage do not add up", name="cell_sum", trip=100.0, release=70.0,
             on_delay=10.0),
    )  # fmt: skip


def _current(way: str, acts: tuple[Action, ...]) -> Iterator[Policy]:
    name = f"{way}_overcurrent"
    yield from record(
        name, f"{way}_load", acts,
        warn(f"{way} current above its rating", trip=105.0, on_delay=60.0),
        trip(f"{way} current above its rating for long", trip=105.0, on_delay=300.0,
             lockout=SLOW_LOCKOUT),
        trip(f"{way} current far above its rating", level="fast", name=f"{name}_fast",
             trip=120.0, on_delay=10.0, on_missing=OTHERS),
        # a motor or an inverter that starts draws more for a second
        trip(f"{way} overload", level="instant", name=f"{name}_instant", trip=150.0,
             on_delay=2.0, on_missing=OTHERS),
        release=90.0,
    )  # fmt: skip
    heat = f"{way}_heat"
    yield from record(
        heat, heat, acts,
        warn(f"the {way} path runs warm", trip=93.0, release=85.0),
        curve(f"the {way} current falls before its path is hot", heat),
        trip(f"the {way} path is hot (I²t)", trip=100.0, release=60.0, lockout=SLOW_LOCKOUT),
    )  # fmt: skip


def _temperature() -> Iterator[Policy]:
    hot, cold, working = "max_temperature", "min_temperature", "min_working_temperature"
    slow: Fields = {"on_delay": 10.0}
    yield from record(
        "charge_overtemperature", hot, _CHARGE,
        warn("warm for charging", trip="charge_ot_warning", release="charge_ot_quiet",
             when="charging", **slow),
        curve("the charge current falls in the heat", "charge_hot", name="charge_hot_derate",
              of="capacity"),
        trip("too hot to charge", trip="charge_ot_trip", release="charge_ot_release",
             inside_bms=2.0, **slow),
        backup("charge_hot", "the BMS charges in too much heat", 2.0, "charge_ot_release",
               "charging"),
        bms="charge_otp",
    )  # fmt: skip
    yield from record(
        "charge_undertemperature", cold, _CHARGE,
        curve("the charge current falls in the cold", "charge_cold", name="charge_cold_derate",
              of="capacity"),
        trip("too cold to charge", trip="charge_ut_trip", release="charge_ut_release",
             inside_bms=1.0, **slow),  # 2 °C is a morning
        backup("charge_cold", "the BMS charges in too much cold", 2.0, "charge_ut_release",
               "charging"),
        over=False, bms="charge_utp",
    )  # fmt: skip
    yield from record(
        "discharge_overtemperature", hot, _DISCHARGE,
        warn("warm for discharging", trip="discharge_ot_warning", release="discharge_ot_quiet",
             **slow),
        curve("the load is limited in the heat", "discharge_hot", name="discharge_hot_derate"),
        trip("too hot to discharge", trip="discharge_ot_trip", release="discharge_ot_release",
             inside_bms=2.0, **slow),
        backup("discharge_hot", "the BMS discharges in too much heat", 2.0,
               "discharge_ot_release", "discharging"),
        bms="discharge_otp",
    )  # fmt: skip
    yield from record(
        "discharge_undertemperature", working, _DISCHARGE,
        curve("the load is limited in the cold", "discharge_cold", name="discharge_cold_derate"),
        trip("too cold to discharge", trip="discharge_ut_trip", release="discharge_ut_release",
             inside_bms=2.0, **slow),
        backup("discharge_cold", "the BMS discharges in too much cold", 2.0,
               "discharge_ut_release", "discharging"),
        over=False, bms="discharge_utp",
    )  # fmt: skip
    yield from record(
        "temperature_critical", hot, _BOTH,
        critical("dangerously hot", name="temperature_critical", trip="temperature_critical",
                 release="discharge_ot_release"),
    )  # fmt: skip
    yield from record(
        "temperature_spread", "temperature_spread", _BOTH,
        warn("the probes differ", trip=10.0, release=7.0),
        limit("the probes differ much", trip=15.0, release=12.0, factor=0.5, on_missing=OTHERS),
        on_delay=60.0,
    )  # fmt: skip
    yield from record(
        "temperature_rise", "temperature_rise", _BOTH,
        critical("it heats up without a load that explains it", name="temperature_rise",
                 trip=2.0, release=0.5, on_delay=30.0, when="light load"),
    )  # fmt: skip
    yield from record(
        "mosfet_overtemperature", "mosfet_temperature", _BOTH,
        curve("the current falls as the MOSFETs get hot", "mosfet_hot", name="mosfet_derate"),
        trip("the MOSFETs are too hot", trip="mosfet_trip", release="mosfet_release",
             on_delay=5.0, bms="mosfet_otp", inside_bms=5.0),
        optional=True,
    )  # fmt: skip
    yield from record(
        "silent_probe", "silent_probes", (),
        warn("a temperature probe says nothing", name="silent_probe", trip=1.0, release=0.0,
             on_delay=60.0),
    )  # fmt: skip


def _cells(chemistry: str) -> Iterator[Policy]:
    def warning(region: str, when: str, volts: float) -> Fields:
        return warn(f"the cells differ, {when}", level=f"{region}_warn",
                    name=f"cell_delta_{region}_warning", trip=volts,
                    release=round(0.7 * volts, 4), when=when)  # fmt: skip

    def much(region: str, when: str, volts: float, acts: tuple[Action, ...]) -> Fields:
        """On the direction that makes it worse, only."""
        return limit(f"the cells differ much, {when}", level=region,
                     name=f"cell_delta_{region}", trip=volts, release=round(0.7 * volts, 4),
                     acts=acts, factor=0.3, on_missing=OTHERS, when=when)  # fmt: skip

    flat = (
        warning("rest", "rest on the plateau", 0.02),
        much("rest", "rest on the plateau", 0.06, _BOTH),
        warning("load", "heavy load", 0.15),
        much("load", "heavy load", 0.30, _DISCHARGE),
        much("charging", "heavy charge", 0.30, _CHARGE),
        level_of(Severity.NOTICE, "bottom", "the cells differ, as nearly empty ones do",
                 name="cell_delta_bottom", trip=0.2, release=0.14, min_off=0.0,
                 when="bottom of charge", on_missing=ONLY_TOLD),
    )  # fmt: skip
    yield from record(
        "cell_delta", "cell_delta", (),
        warning("top", "top of charge", 0.05),
        much("top", "top of charge", 0.12, _CHARGE),
        *(flat if chemistry == "lfp" else ()),
        on_delay=60.0,
    )  # fmt: skip
    yield from record(
        "runaway_cell", "runaway", _CHARGE,
        limit("one cell runs away from the others", trip=0.1, release=0.05, on_delay=120.0,
              off_delay=600.0, factor=0.05, of="capacity", on_missing=OTHERS),
    )  # fmt: skip
    yield from record(
        "high_soc_dwell", "mean_cell", (Action.FLOAT,),
        limit("full for a day: the charge voltage goes to float", trip="dwell_voltage",
              release="rebulk_voltage", on_delay=86400.0, off_delay=600.0, when="resting",
              holds=True, release_when="part empty", factor=0.0, min_off=0.0,
              on_missing=OTHERS, demands=Demand.FREE),
    )  # fmt: skip
    # a limit of 0: without a sink it is a stop, and is locked out like one
    yield from record(
        "soc_floor", "soc", _DISCHARGE,
        limit("the state of charge is low", trip=10.0, release=15.0, on_delay=30.0,
              lockout=LOCKOUT, mode=Mode.OFF),
        over=False,
    )  # fmt: skip
    yield from record(
        "soc_ceiling", "soc", _CHARGE,
        limit("the state of charge is high", trip=90.0, release=85.0, on_delay=30.0,
              lockout=LOCKOUT, mode=Mode.OFF),
    )  # fmt: skip


def _bms() -> Iterator[Policy]:
    """What the BMS does by itself needs no command: on some boards that is a stored setting."""
    for way, acts in (("charge", _CHARGE), ("discharge", _DISCHARGE)):
        yield from record(
            f"bms_{way}_protection", f"{way}_protections", acts,
            limit(f"the BMS protects against {way[:-1]}ing", trip=1.0, release=0.0, samples=1,
                  demands=Demand.NO_ENABLE),
        )  # fmt: skip
        yield from record(
            f"bms_{way}_fet", f"{way}_fet_open", acts,
            limit(f"the BMS does not let {way} current through", trip=1.0, release=0.0,
                  samples=1, demands=Demand.FREE, off_delay=0.0, min_off=0.0,
                  on_missing=ignore("not every BMS tells it")),
        )  # fmt: skip
    yield from record(
        "bms_fault", "faults", (),
        warn("the BMS reports a fault", name="bms_fault", trip=1.0, release=0.0, samples=1),
    )  # fmt: skip
    yield from record(
        "short_circuit_memory", "short_circuits", _DISCHARGE,
        critical("repeated short circuits: the BMS must not try again",
                 name="short_circuit_memory", trip=2.0, release=1.0, samples=1),
    )  # fmt: skip
    yield from record(
        "emergency_stop", "stopped", (*_BOTH, *_BALANCE),
        critical("a person stopped everything", name="emergency_stop", trip=1.0, release=0.0,
                 samples=1, off_delay=0.0, min_off=0.0),
    )  # fmt: skip


def _link() -> Iterator[Policy]:
    """A link that is lost moves no switch: its answer is a limit, which ends with fresh data."""
    lost: Fields = {"min_off": 0.0, "off_samples": 3, "on_missing": OTHERS,
                    "demands": Demand.ZERO}  # fmt: skip
    quick: Fields = {"samples": 1, "release": 0.0, "off_delay": 0.0}
    yield from record(
        "data_age", "data_age", (*_BOTH, Action.FLOAT),
        warn("no fresh data", name="stale_data_warning", trip="stale_after"),
        limit("no fresh data for long", name="stale_data_derate", trip="derate_after",
              factor=0.3, of="last", **lost),
        **quick,
    )  # fmt: skip
    for name, way, acts in (
        ("stale_data", "charge", _CHARGE),
        ("stale_data_discharge", "discharge", _DISCHARGE),
    ):
        yield from record(
            name, f"{way}_blindness", acts,
            limit(f"no fresh data for longer than is safe while it may {way}", trip=100.0,
                  **lost),
            **quick,
        )  # fmt: skip


def _balancing() -> Iterator[Policy]:
    """One record about one switch: each level sees another quantity."""

    def rule(level: str, title: str, quantity: str, **more: Any) -> Fields:
        return trip(title, level=level, name=f"balance_{level}", quantity=quantity,
                    **{"lockout": None, **more})  # fmt: skip

    yield from record(
        "balance", "", _BALANCE,
        rule("voltage", "the cells are not full enough to be compared", "max_cell", over=False,
             trip="balance_rest", release="balance_start"),
        rule("delta", "the cells are equal", "cell_delta", over=False, trip=0.005, release=0.010,
             off_delay=30.0),  # noise of the cells reaches from one to the other
        rule("rate", "the current is too high to compare cells", "rate", trip=0.2, release=0.15,
             off_delay=10.0),
        rule("discharging", "the pack is being discharged", "discharge_rate", trip=0.02,
             release=0.01, off_delay=10.0),
        rule("cold", "too cold to balance", "min_temperature", over=False, trip=5.0, release=8.0),
        rule("hot", "too hot to balance", "max_temperature", trip=45.0, release=42.0),
        rule("mosfet", "the MOSFETs are too hot to balance", "mosfet_temperature", trip=70.0,
             release=65.0, optional=True),
        rule("balancer", "the balancer is too hot", "balancer_temperature", trip=70.0,
             release=65.0, optional=True),
        rule("conditions", "the BMS reports a condition", "balance_conditions", trip=1.0,
             release=0.0, samples=1, off_delay=30.0),
        rule("share", "the balancer has moved enough for a day", "balanced", trip=5.0,
             release=1.0),
        off_delay=0.0, on_missing=OnMissing("trip"),
    )  # fmt: skip


def _all(chemistry: str) -> dict[str, Policy]:
    rows = [
        *_voltage(),
        *_current("charge", _CHARGE),
        *_current("discharge", _DISCHARGE),
        *_temperature(),
        *_cells(chemistry),
        *_bms(),
        *_link(),
        *_balancing(),
        *life_records(chemistry),
    ]
    return {row.name: row for row in rows}


CATALOGUE = {chemistry: _all(chemistry) for chemistry in THRESHOLDS}
"""Chemistry -> name -> policy, as shipped: everything in shadow, SOC limits off."""


def default_policies(battery: Battery) -> PolicySet:
    """All policies of a battery's chemistry with its default numbers."""
    return PolicySet(
        battery=battery,
        thresholds=dict(THRESHOLDS[battery.chemistry]),
        curves=dict(CURVES[battery.chemistry]),
        policies=dict(CATALOGUE[battery.chemistry]),
    )


SPLIT: Mapping[str, tuple[str, ...]] = {
    "stale_data": ("stale_data_discharge",),
    "cell_delta_load": ("cell_delta_charging",),
}
"""Policy of 0.1.0 -> those that were one with it, and what was said of it holds for.

All its other names mean today what they meant then. A policy that is renamed or merged is added
here, never taken away."""


def with_parts(found: Mapping[str, _T]) -> dict[str, _T]:
    """What 0.1.0 said of policies, for the policies of today."""
    parts = {part: found[name] for name, parts in SPLIT.items() if name in found for part in parts}
    return {**parts, **found}
