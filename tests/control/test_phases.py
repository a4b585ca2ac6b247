"""Charge phases: bulk, absorption, float, re-bulk; and what is a phase, what protects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmslink.control import Engine, PolicySet
from bmslink.control.backtest.backtest import Backtest
from bmslink.control.backtest.logs import Entry
from bmslink.control.decide.catalogue import default_policies
from bmslink.control.decide.lasting.phase import ChargePhase, next_phase
from bmslink.control.decide.limits import Kind
from bmslink.control.files import parse_policies
from bmslink.errors import TargetError
from control_support import ALL, LFP, Run, healthy, only, replace

BULK, ABSORPTION, FLOAT, REBULK = ChargePhase
SOON = default_policies(LFP).changing("high_soc_dwell", on_delay=5.0, off_delay=5.0)


@pytest.mark.parametrize(
    ("phase", "facts", "after"),
    [
        (BULK, {}, BULK),
        (BULK, {"top": True}, ABSORPTION),
        (BULK, {"floats": True}, FLOAT),
        (ABSORPTION, {}, ABSORPTION),
        (ABSORPTION, {"empty": True}, BULK),
        (ABSORPTION, {"empty": True, "top": True}, ABSORPTION),
        (ABSORPTION, {"floats": True}, FLOAT),
        (FLOAT, {"floats": True, "top": True, "empty": True}, FLOAT),
        (FLOAT, {}, REBULK),
        (REBULK, {}, REBULK),
        (REBULK, {"top": True}, ABSORPTION),
        (REBULK, {"floats": True}, FLOAT),
    ],
)
def test_the_machine(phase: ChargePhase, facts: dict[str, bool], after: ChargePhase) -> None:
    assert next_phase(phase, **{"floats": False, **facts}) is after


def test_a_day_of_a_pack_that_floats() -> None:
    run = Run(only("high_soc_dwell", on_delay=3600.0), poll=60.0)
    seen = []
    for volts, soc, amps, seconds in (
        (3.35, 85.0, 30.0, 3600),
        (3.445, 98.0, 10.0, 3600),
        (3.42, 100.0, 0.0, 7200),
        (3.35, 99.0, 0.0, 86400),
        (3.31, 79.0, -10.0, 1800),
        (3.45, 99.0, 10.0, 600),
    ):
        told = run(healthy(volts, soc=soc, current=amps), seconds).to_dict()
        seen.append((told["phase"], told["cvl"]["value"], told["cvl"]["kind"]))
    assert seen == [
        ("bulk", 55.2, "phase"),
        ("absorption", 55.2, "phase"),
        ("float", 53.6, "phase"),
        ("float", 53.6, "phase"),
        ("rebulk", 55.2, "phase"),
        ("absorption", 55.2, "phase"),
    ]


def test_what_protects_is_told_from_the_phase() -> None:
    """Several packs share a phase; what protects one of them holds for all."""
    run = Run(SOON, sink=True)
    run(healthy(3.42, soc=100.0), 30)
    floating = run.decision.limits.cvl
    assert (floating.kind, floating.of(Kind.PHASE), floating.of(Kind.PROTECT)) == (
        Kind.PHASE, 53.6, None,
    )  # fmt: skip
    hot = run(healthy(3.32, soc=100.0, temperatures={"cell_1": 56.0, "cell_2": 56.0}), 30)
    cvl = hot.limits.cvl
    assert (hot.phase, cvl.kind, cvl.of(Kind.PHASE)) == (FLOAT, Kind.PROTECT, 53.6)
    assert cvl.value == cvl.of(Kind.PROTECT) == pytest.approx(53.12)
    assert hot.limits.ccl.kind is hot.limits.dcl.kind is Kind.PROTECT
    back = run(healthy(3.32, soc=100.0), 90)
    assert (back.limits.cvl.reasons[0].policy, back.limits.cvl.kind) == ("recovery", Kind.PROTECT)


def test_a_pack_that_is_full_by_its_voltage_is_not_part_empty() -> None:
    """Where the counted charge had drifted to 78 %, float ended and began again, day by day."""
    run = Run(SOON)
    run(healthy(3.42, soc=78.0), 120)
    assert run.happened("high_soc_dwell") == ["trip"]
    run(healthy(3.38, soc=78.0), 30)
    assert run.happened("high_soc_dwell") == ["trip", "release"]


def test_old_data_leave_the_phase() -> None:
    run = Run(SOON)
    run(healthy(3.42, soc=100.0), 30)
    assert run.silence(3600).phase is FLOAT
    run(healthy(3.42, soc=None, cells={1: None}), 60)
    assert run.decision.phase is FLOAT


def test_a_dwell_that_only_watches_changes_no_phase() -> None:
    run = Run(SOON, acting=())
    assert run(healthy(3.42, soc=100.0), 60).phase is BULK
    assert run.happened("high_soc_dwell") == ["trip"]


def _again(run: Run) -> Run:
    other = Run(run.engine.plan.policies, sink=True)
    other.now, other.uptime = run.now, run.uptime
    other.engine.load(json.loads(json.dumps(run.engine.save())), run.now)
    return other


def test_the_phase_is_restored() -> None:
    run = Run(SOON, sink=True)
    for volts, soc in ((3.445, 98.0), (3.42, 100.0), (3.29, 70.0)):
        run(healthy(volts, soc=soc), 30)
        assert _again(run).silence(0).phase is run.decision.phase
    assert run.decision.phase is REBULK
    saved = run.engine.save()
    for phase in ("", "equalise"):
        engine = Engine(SOON, acting=ALL)
        engine.load({**saved, "phase": phase}, 0.0)
        assert engine.tick(0.0).phase is BULK
    del saved["phase"]  # 0.1.0 knew none
    Engine(SOON).load(saved, 0.0)


_MOMENTS = st.lists(
    st.tuples(
        st.sampled_from([3.30, 3.32, 3.42, 3.445, 3.47, 3.56, 3.72]),
        st.sampled_from([100.0, 95.0, 78.0, None]),
        st.sampled_from([-60.0, 0.0, 0.0, 0.0, 20.0]),
        st.sampled_from([True, True, True, False]),
        st.integers(1, 25),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=12, deadline=None)
@given(_MOMENTS, st.sets(st.integers(1, 160), max_size=8), st.booleans())
def test_a_restart_never_ends_a_float_sooner(
    moments: list[tuple[float, float | None, float, bool, int]], restarts: set[int], every: bool
) -> None:
    """A3, over the phases: at some steps, or at every one."""
    plain, other, beat = Run(SOON, sink=True), Run(SOON, sink=True), 0
    for volts, soc, amps, told, seconds in moments:
        for _ in range(seconds):
            beat += 1
            if every or beat in restarts:
                other = _again(other)
            if told:
                reading = healthy(volts, soc=soc, current=amps)
                one, two = plain(reading), other(reading)
            else:
                one, two = plain.silence(0), other.silence(0)
            assert two.phase is FLOAT or one.phase is not FLOAT, beat
            assert two.limits.cvl.value <= one.limits.cvl.value + 1e-6, beat


@pytest.mark.parametrize(
    ("low", "high", "volts"),
    [
        ("rebulk_voltage", "float_voltage", "3.36 V"),
        ("float_voltage", "charge_voltage", "3.46 V"),
        ("charge_voltage", "ov_critical", "3.80 V"),
        ("uv_trip", "ov_trip", "3.71 V"),
        ("uv_critical", "uv_trip", "2.75 V"),
    ],
)
def test_thresholds_in_the_wrong_order_are_refused(low: str, high: str, volts: str) -> None:
    head = 'schema = 2\n[battery]\nchemistry = "lfp"\ncells = 16\ncapacity = "280 Ah"\n'
    text = f'{head}[thresholds]\n{low} = "{volts}"\n'
    with pytest.raises(TargetError, match=rf"p, line 7: {low} \({volts}\) must lie below {high}"):
        parse_policies(text, Path("p"))
    shipped = default_policies(LFP)
    turned: PolicySet = replace_threshold(shipped, low, float(volts.split()[0]))
    with pytest.raises(TargetError, match=f"{low} .* must lie below {high}"):
        Engine(turned)


def replace_threshold(policies: PolicySet, name: str, value: float) -> PolicySet:
    import msgspec

    thresholds = {**policies.thresholds, name: value}
    return msgspec.structs.replace(policies, thresholds=thresholds)


def test_a_backtest_counts_the_phases() -> None:
    test = Backtest(SOON, poll=1.0)
    told: Any = [(3.35, 90.0), (3.445, 98.0), (3.42, 100.0), (3.42, 100.0)]
    for second in range(40):
        volts, soc = told[second // 10]
        reading = replace(healthy(volts, soc=soc), uptime=float(second))
        test.step(Entry("sim://jbd", float(second), reading))
    report = test.report()
    assert report.phase_seconds == {"absorption": 5.0, "bulk": 10.0, "float": 24.0}
    assert set(report.kind_seconds["cvl"]) == {"phase"}
    assert report.to_dict()["phase_seconds"]["float"] == 24.0


def test_a_kind_of_a_later_version_is_taken_for_protection() -> None:
    """What is not known throws nothing away that is saved beside it."""
    run = Run(SOON, sink=True)
    run(healthy(3.42, soc=100.0), 30)
    saved = run.engine.save()
    saved["ramps"]["cvl"]["kind"] = "equalise"
    engine = Engine(SOON, acting=ALL, sink=True)
    engine.load(saved, 0.0)
    assert engine.save()["ramps"]["cvl"]["kind"] == "protect"
    assert engine.tick(0.0).phase is FLOAT
