"""The policies that bmslink has, as rows. Each one alone can only withdraw, never permit.

Thresholds that are text are names of `thresholds.py`. Host thresholds lie inside the BMS's own
settings, so that the host acts first; those that say the BMS did not trip lie outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from bmslink.control.decide.policy import (
    Action,
    Battery,
    Demand,
    Mode,
    OnMissing,
    Policy,
    PolicySet,
    Reset,
    Severity,
)
from bmslink.control.decide.thresholds import CURVES, THRESHOLDS

__all__ = ["CATALOGUE", "SPLIT", "default_policies", "with_parts"]

_T = TypeVar("_T")

_CHARGE, _DISCHARGE, _BALANCE = (Action.CHARGE,), (Action.DISCHARGE,), (Action.BALANCE,)
_BOTH = (Action.CHARGE, Action.DISCHARGE)
_LOCKOUT = (3, 900.0)
_MANUAL = Reset.MANUAL


def _ignore(reason: str) -> OnMissing:
    return OnMissing("ignore", 1.0, reason)


_ONLY_TOLD = _ignore("this policy only tells")
_OTHERS = _ignore("the policies of the quantity itself answer for it")


def _row(severity: Severity, name: str, title: str, quantity: str, **more: Any) -> Policy:
    return Policy(severity=severity, name=name, title=title, quantity=quantity, **more)


def _warn(name: str, title: str, quantity: str, **more: Any) -> Policy:
    more = {"min_off": 0.0, "on_missing": _ONLY_TOLD, **more}
    return _row(Severity.WARN, name, title, quantity, **more)


def _derate(name: str, title: str, quantity: str, **more: Any) -> Policy:
    return _row(Severity.DERATE, name, title, quantity, **more)


def _to_zero(name: str, title: str, quantity: str, **more: Any) -> Policy:
    """A limit of 0 while it is tripped: without a sink it is a stop, and is locked out like one."""
    return _derate(name, title, quantity, **{"lockout": _LOCKOUT, **more})


def _trip(name: str, title: str, quantity: str, **more: Any) -> Policy:
    return _row(Severity.TRIP, name, title, quantity, **{"lockout": _LOCKOUT, **more})


def _emergency(name: str, title: str, quantity: str, **more: Any) -> Policy:
    more = {"reset": _MANUAL, "on_missing": _OTHERS, **more}
    return _row(Severity.EMERGENCY, name, title, quantity, **more)


def _voltage() -> list[Policy]:
    low: dict[str, Any] = {"over": False, "acts": _DISCHARGE}
    return [
        _warn("cell_overvoltage_warning", "a cell is high", "max_cell", trip="ov_warning",
              release="ov_release"),
        _derate("cell_overvoltage_derate", "the charge current falls as a cell fills", "max_cell",
                acts=_CHARGE, curve="ccl_voltage"),
        _trip("cell_overvoltage", "a cell is too high", "max_cell", acts=_CHARGE, trip="ov_trip",
              release="ov_release", off_delay=60.0, bms="cell_ovp", inside_bms=0.03),
        _emergency("cell_overvoltage_critical", "a cell is dangerously high", "max_cell",
                   acts=_CHARGE, trip="ov_critical", release="ov_release"),
        _trip("pack_overvoltage", "the pack voltage is too high", "pack_voltage", acts=_CHARGE,
              trip="ov_trip", release="ov_release", on_delay=2.0, off_delay=60.0,
              bms="pack_ovp", inside_bms=0.01),  # per cell; chargers end 0.1 V below it
        _warn("cell_undervoltage_warning", "a cell is low", "min_cell", over=False,
              trip="uv_warning", release="uv_derate_release"),
        _derate("cell_undervoltage_derate", "the discharge current falls as a cell empties",
                "min_cell", **low, curve="dcl_voltage"),
        _trip("cell_undervoltage", "a cell is too low", "min_cell", **low, trip="uv_trip",
              release="uv_release", load_delay=10.0, off_delay=60.0, bms="cell_uvp",
              inside_bms=0.05),
        _emergency("cell_undervoltage_critical", "a cell is dangerously low", "min_cell", **low,
                   trip="uv_critical", release="uv_release", load_delay=10.0),
        _trip("pack_undervoltage", "the pack voltage is too low", "pack_voltage", **low,
              trip="uv_trip", release="uv_release", on_delay=2.0, load_delay=10.0, off_delay=60.0,
              bms="pack_uvp", inside_bms=0.05),
        _derate("deep_discharge", "a deeply discharged cell is charged gently", "min_cell",
                over=False, acts=_CHARGE, trip="uv_critical", release="deep_release",
                on_delay=1.0, factor=0.02, of="capacity", min_off=0.0),
        _emergency("no_charge_below", "a cell is too deeply discharged to be charged", "min_cell",
                   over=False, acts=_CHARGE, trip="no_charge_below", release="uv_critical",
                   on_delay=1.0),
        _warn("cell_sum", "cells and pack voltage do not add up", "cell_sum_error", trip=100.0,
              release=70.0, on_delay=10.0),
    ]  # fmt: skip


def _current(way: str, action: tuple[Action, ...]) -> list[Policy]:
    load, heat = f"{way}_load", f"{way}_heat"
    back: dict[str, Any] = {"release": 90.0, "acts": action}
    return [
        _warn(f"{way}_overcurrent_warning", f"{way} current above its rating", load, trip=105.0,
              release=90.0, on_delay=60.0),
        _trip(f"{way}_overcurrent", f"{way} current above its rating for long", load, trip=105.0,
              on_delay=300.0, **back),
        _trip(f"{way}_overcurrent_fast", f"{way} current far above its rating", load, trip=120.0,
              on_delay=10.0, on_missing=_OTHERS, **back),
        # a motor or an inverter that starts draws more for a second
        _trip(f"{way}_overcurrent_instant", f"{way} overload", load, trip=150.0,
              on_delay=2.0, on_missing=_OTHERS, **back),
        _warn(f"{way}_heat_warning", f"the {way} path runs warm", heat, trip=93.0, release=85.0),
        _derate(f"{way}_heat_derate", f"the {way} current falls before its path is hot", heat,
                acts=action, curve=heat),
        _trip(f"{way}_heat", f"the {way} path is hot (I²t)", heat, trip=100.0, release=60.0,
              acts=action),
    ]  # fmt: skip


def _temperature() -> list[Policy]:
    hot, cold, working = "max_temperature", "min_temperature", "min_working_temperature"
    slow: dict[str, Any] = {"on_delay": 10.0}
    return [
        _warn("charge_overtemperature_warning", "warm for charging", hot,
              trip="charge_ot_warning", release="charge_ot_quiet", when="charging", **slow),
        _derate("charge_hot_derate", "the charge current falls in the heat", hot, acts=_CHARGE,
                curve="charge_hot", of="capacity"),
        _trip("charge_overtemperature", "too hot to charge", hot, acts=_CHARGE,
              trip="charge_ot_trip", release="charge_ot_release", bms="charge_otp",
              inside_bms=2.0, **slow),
        _derate("charge_cold_derate", "the charge current falls in the cold", cold, over=False,
                acts=_CHARGE, curve="charge_cold", of="capacity"),
        _trip("charge_undertemperature", "too cold to charge", cold, over=False, acts=_CHARGE,
              trip="charge_ut_trip", release="charge_ut_release", bms="charge_utp",
              inside_bms=1.0, **slow),  # 2 °C is a morning
        _warn("discharge_overtemperature_warning", "warm for discharging", hot,
              trip="discharge_ot_warning", release="discharge_ot_quiet", **slow),
        _derate("discharge_hot_derate", "the load is limited in the heat", hot, acts=_DISCHARGE,
                curve="discharge_hot"),
        _trip("discharge_overtemperature", "too hot to discharge", hot, acts=_DISCHARGE,
              trip="discharge_ot_trip", release="discharge_ot_release", bms="discharge_otp",
              inside_bms=2.0, **slow),
        _derate("discharge_cold_derate", "the load is limited in the cold", working, over=False,
                acts=_DISCHARGE, curve="discharge_cold"),
        _trip("discharge_undertemperature", "too cold to discharge", working, over=False,
              acts=_DISCHARGE, trip="discharge_ut_trip", release="discharge_ut_release",
              bms="discharge_utp", inside_bms=2.0, **slow),
        _emergency("temperature_critical", "dangerously hot", hot, acts=_BOTH,
                   trip="temperature_critical", release="discharge_ot_release"),
        _warn("temperature_spread_warning", "the probes differ", "temperature_spread", trip=10.0,
              release=7.0, on_delay=60.0),
        _derate("temperature_spread", "the probes differ much", "temperature_spread", trip=15.0,
                release=12.0, on_delay=60.0, acts=_BOTH, factor=0.5, on_missing=_OTHERS),
        _emergency("temperature_rise", "it heats up without a load that explains it",
                   "temperature_rise", trip=2.0, release=0.5, on_delay=30.0, acts=_BOTH,
                   when="light load"),
        _derate("mosfet_derate", "the current falls as the MOSFETs get hot", "mosfet_temperature",
                acts=_BOTH, curve="mosfet_hot", optional=True),
        _trip("mosfet_overtemperature", "the MOSFETs are too hot", "mosfet_temperature",
              acts=_BOTH, trip="mosfet_trip", release="mosfet_release", on_delay=5.0,
              optional=True, bms="mosfet_otp", inside_bms=5.0),
        _warn("silent_probe", "a temperature probe says nothing", "silent_probes", trip=1.0,
              release=0.0, on_delay=60.0),
    ]  # fmt: skip


def _cells(chemistry: str) -> list[Policy]:
    def warning(region: str, when: str, volts: float) -> Policy:
        return _warn(f"cell_delta_{region}_warning", f"the cells differ, {when}", "cell_delta",
                     trip=volts, release=round(0.7 * volts, 4), when=when,
                     on_delay=60.0)  # fmt: skip

    def limit(region: str, when: str, volts: float, acts: tuple[Action, ...]) -> Policy:
        """On the direction that makes it worse, only."""
        return _derate(f"cell_delta_{region}", f"the cells differ much, {when}", "cell_delta",
                       trip=volts, release=round(0.7 * volts, 4), acts=acts, factor=0.3,
                       on_missing=_OTHERS, when=when, on_delay=60.0)  # fmt: skip

    flat = chemistry == "lfp"
    return [
        warning("top", "top of charge", 0.05),
        limit("top", "top of charge", 0.12, _CHARGE),
        *((warning("rest", "rest on the plateau", 0.02),
           limit("rest", "rest on the plateau", 0.06, _BOTH),
           warning("load", "heavy load", 0.15),
           limit("load", "heavy load", 0.30, _DISCHARGE),
           limit("charging", "heavy charge", 0.30, _CHARGE)) if flat else ()),
        *([_row(Severity.NOTICE, "cell_delta_bottom", "the cells differ, as nearly empty ones do",
                "cell_delta", trip=0.2, release=0.14, on_delay=60.0, min_off=0.0,
                when="bottom of charge", on_missing=_ONLY_TOLD)] if flat else ()),
        _derate("runaway_cell", "one cell runs away from the others", "runaway", trip=0.1,
                release=0.05, on_delay=120.0, off_delay=600.0, acts=_CHARGE, factor=0.05,
                of="capacity", on_missing=_OTHERS),
        _derate("high_soc_dwell", "full for a day: the charge voltage goes to float", "mean_cell",
                trip="dwell_voltage", release="rebulk_voltage", on_delay=86400.0,
                off_delay=600.0, when="resting", holds=True, release_when="part empty",
                acts=(Action.FLOAT,), factor=0.0, min_off=0.0,
                on_missing=_OTHERS, demands=Demand.FREE),
        _to_zero("soc_floor", "the state of charge is low", "soc", over=False, trip=10.0,
                release=15.0, on_delay=30.0, acts=_DISCHARGE, mode=Mode.OFF),
        _to_zero("soc_ceiling", "the state of charge is high", "soc", trip=90.0, release=85.0,
                on_delay=30.0, acts=_CHARGE, mode=Mode.OFF),
    ]  # fmt: skip


def _bms() -> list[Policy]:
    def backup(name: str, title: str, quantity: str, setting: str, margin: float, way: str,
               release: str, **more: Any) -> Policy:  # fmt: skip
        action = _CHARGE if way == "charging" else _DISCHARGE
        return _emergency(f"bms_did_not_trip_{name}", title, quantity, acts=action, bms=setting,
                          inside_bms=-margin, after_bms=True, on_delay=5.0, release=release,
                          when=f"{way} through", **more)  # fmt: skip

    def mirror(way: str, action: tuple[Action, ...]) -> list[Policy]:
        """What the BMS does by itself needs no command: on some boards that is a stored setting."""
        shared: dict[str, Any] = {"trip": 1.0, "release": 0.0, "samples": 1, "acts": action}
        return [
            _derate(f"bms_{way}_protection", f"the BMS protects against {way[:-1]}ing",
                    f"{way}_protections", demands=Demand.NO_ENABLE, **shared),
            _derate(f"bms_{way}_fet", f"the BMS does not let {way} current through",
                    f"{way}_fet_open", demands=Demand.FREE, off_delay=0.0, min_off=0.0,
                    on_missing=_ignore("not every BMS tells it"), **shared),
        ]  # fmt: skip

    return [
        *mirror("charge", _CHARGE),
        *mirror("discharge", _DISCHARGE),
        _warn("bms_fault", "the BMS reports a fault", "faults", trip=1.0, release=0.0, samples=1),
        backup("overvoltage", "the BMS did not stop an over-charge", "max_cell", "cell_ovp", 0.02,
               "charging", "ov_release"),
        backup("undervoltage", "the BMS did not stop a deep discharge", "min_cell", "cell_uvp",
               0.02, "discharging", "uv_release", over=False),
        backup("charge_hot", "the BMS charges in too much heat", "max_temperature", "charge_otp",
               2.0, "charging", "charge_ot_release"),
        backup("charge_cold", "the BMS charges in too much cold", "min_temperature", "charge_utp",
               2.0, "charging", "charge_ut_release", over=False),
        backup("discharge_hot", "the BMS discharges in too much heat", "max_temperature",
               "discharge_otp", 2.0, "discharging", "discharge_ot_release"),
        backup("discharge_cold", "the BMS discharges in too much cold", "min_working_temperature",
               "discharge_utp", 2.0, "discharging", "discharge_ut_release", over=False),
        _emergency("short_circuit_memory", "repeated short circuits: the BMS must not try again",
                   "short_circuits", trip=2.0, release=1.0, samples=1, acts=_DISCHARGE),
        _emergency("emergency_stop", "a person stopped everything", "stopped", trip=1.0,
                   release=0.0, samples=1, acts=(*_BOTH, *_BALANCE), off_delay=0.0, min_off=0.0),
    ]  # fmt: skip


def _link() -> list[Policy]:
    """A link that is lost moves no switch: its answer is a limit, which ends with fresh data."""
    shared: dict[str, Any] = {"samples": 1, "on_missing": _OTHERS, "release": 0.0, "min_off": 0.0,
                              "off_delay": 0.0, "off_samples": 3,
                              "demands": Demand.ZERO}  # fmt: skip

    def blind(name: str, way: str, acts: tuple[Action, ...]) -> Policy:
        return _derate(name, f"no fresh data for longer than is safe while it may {way}",
                       f"{way}_blindness", trip=100.0, acts=acts, **shared)  # fmt: skip

    return [
        _warn("stale_data_warning", "no fresh data", "data_age", trip="stale_after", release=0.0,
              off_delay=0.0, samples=1),
        _derate("stale_data_derate", "no fresh data for long", "data_age", trip="derate_after",
                acts=(*_BOTH, Action.FLOAT), factor=0.3, of="last", **shared),
        blind("stale_data", "charge", _CHARGE),
        blind("stale_data_discharge", "discharge", _DISCHARGE),
    ]  # fmt: skip


def _balancing() -> list[Policy]:
    def rule(name: str, title: str, quantity: str, **more: Any) -> Policy:
        more = {"lockout": None, "off_delay": 0.0, "on_missing": OnMissing("trip"), **more}
        return _trip(f"balance_{name}", title, quantity, acts=_BALANCE, **more)

    return [
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
    ]  # fmt: skip


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
