"""Policies on recordings: what is found, that it is the same every time, and hostile logs."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmslink.control.backtest.backtest import Backtest, backtest
from bmslink.control.backtest.explain import explain_log
from bmslink.control.backtest.logs import Entry, Log
from bmslink.control.backtest.playback import packs
from bmslink.control.backtest.report import BacktestReport
from bmslink.control.decide.catalogue import default_policies
from bmslink.errors import BmsError, CaptureError, FrameError, TargetError
from bmslink.model import Condition, Reading
from bmslink.simulation.responder import RESPONDERS
from control_support import LFP, healthy, only, replace
from log_support import START, at, capture, cold_night, lines, steady, write
from support import part

SHIPPED = default_policies(LFP)


def entries(readings: Iterable[Reading]) -> list[Entry]:
    return [Entry(r.target or "", r.time.timestamp() if r.time else 0.0, r) for r in readings]


def tried(readings: Iterable[Reading], policies=SHIPPED, **options: Any) -> BacktestReport:
    ((report,),) = backtest(entries(readings), [policies], **options)
    return report


def of_log(path: Path, **options: Any) -> tuple[list[BacktestReport], Log]:
    log = Log(path, **options)
    return [reports[0] for reports in backtest(log, [SHIPPED])], log


def seconds(time: float) -> float:
    return time - START.timestamp()


# ------------------------------------------------------------------------- what is found


def test_a_cold_night_says_what_when_why_and_for_how_long() -> None:
    report = tried(cold_night(), only("charge_undertemperature"))
    (trip,) = report.trips
    assert trip.policy == "charge_undertemperature"
    assert "cell_1" in trip.text
    assert "-0.2 °C, at or below 0.0 °C" in trip.text
    assert seconds(trip.began) == pytest.approx(3610, abs=10)
    assert trip.ended is not None
    assert seconds(trip.ended) == pytest.approx(3 * 3600 + 8 * 60 + 30, abs=10)
    assert report.tripped_seconds["charge_undertemperature"] == pytest.approx(
        trip.seconds(report.ended)
    )
    assert [(c.switch, c.on) for c in report.commands] == [("charge", False), ("charge", True)]
    assert report.commands[0].time == trip.began


def test_what_is_not_charged_is_what_flowed_above_the_limit() -> None:
    report = tried(cold_night(), only("charge_undertemperature"))
    hours = report.totals.charge_stopped_seconds / 3600
    assert hours == pytest.approx(2 + 8.5 / 60, abs=0.01)
    ramp = 20 * (30 + 4) / 3600  # held for 30 s, then up by 5 A/s: 20 A are let through again
    assert report.totals.not_charged_ah == pytest.approx(20 * hours, abs=ramp + 0.06)
    assert report.totals.not_charged_wh == pytest.approx(
        report.totals.not_charged_ah * 16 * 3.3, rel=1e-6
    )
    assert report.totals.charged_ah == pytest.approx(20 * 5, abs=0.1)
    assert report.totals.not_discharged_ah == 0


def test_broken_values_count_as_no_charge() -> None:
    readings = list(cold_night())
    whole = tried(readings).totals
    for n, (amps, volts) in enumerate(((1e300, 52.8), (3276.7, 52.8), (20.0, 1e300))):
        readings[700 + 50 * n] = replace(readings[700 + 50 * n], current=amps, voltage=volts)
    totals = tried(readings).totals
    assert totals.not_charged_ah == pytest.approx(whole.not_charged_ah, abs=0.2)
    assert totals.not_charged_wh == pytest.approx(whole.not_charged_wh, rel=0.01)


def test_a_derating_counts_only_what_is_above_it() -> None:
    readings = [replace(r, current=-40.0) for r in steady(3600)]
    derated = only("soc_floor", mode="shadow", trip=70.0, release=75.0, factor=0.25)
    report = tried(readings, derated, sink=True)
    assert report.binding_seconds["dcl"]["soc_floor"] == pytest.approx(3600, abs=60)
    assert report.totals.not_discharged_ah == pytest.approx(15.0, abs=0.3)  # 40 A - 25 A
    assert report.totals.discharge_stopped_seconds == 0


def test_without_a_sink_a_derate_at_zero_throws_the_switch_and_a_curve_does_not() -> None:
    full = [replace(r, cell_voltages=(3.56,) * 16, soc=95.0) for r in steady(600)]
    ceiling = only("soc_ceiling", mode="shadow")
    assert tried(full, ceiling).command_counts == {"charge off": 1}
    assert tried(full, ceiling, sink=True).command_counts == {}
    for sink in (False, True):
        assert tried(full, only("cell_overvoltage_derate"), sink=sink).command_counts == {}


def test_margins_tell_the_closest_approach_and_its_moment() -> None:
    readings = list(steady(600))
    readings[30] = replace(readings[30], cell_voltages=(3.3,) * 15 + (3.52,))
    margins = {m.policy: m for m in tried(readings).margins}
    near = margins["cell_overvoltage"]
    assert near.closest == 3.52
    assert near.left == pytest.approx(0.18)
    assert seconds(near.time) == 300
    beyond = {m.policy: m for m in tried(cold_night()).margins}["charge_undertemperature"]
    assert beyond.left == pytest.approx(-5.0)


def test_a_policy_at_rest_has_no_margin() -> None:
    """The cells differ much, but never under load: the policy about load saw nothing."""
    apart = [replace(r, cell_voltages=(3.0,) + (3.3,) * 15) for r in steady(600)]
    assert "cell_delta_load" not in {m.policy for m in tried(apart).margins}


def test_a_gap_ages_the_data_until_charging_would_stop() -> None:
    night = list(steady(600)) + [at(600 + 4000 + t, healthy()) for t in range(0, 300, 10)]
    report = tried(night)
    assert report.totals.gaps == 1
    assert report.totals.longest_gap == pytest.approx(4010)
    stale = [t for t in report.trips if t.policy.startswith("stale_data")]
    assert [t.policy for t in stale] == [
        "stale_data_derate", "stale_data_warning", "stale_data_discharge", "stale_data"
    ]  # fmt: skip
    # 1 C of discharge empties a pack sooner than 0.5 C of charge fills it
    assert seconds(stale[0].began) == pytest.approx(590 + 30, abs=10)
    assert 600 < seconds(stale[2].began) < seconds(stale[3].began) < 590 + 1900
    assert all(t.ended is not None and seconds(t.ended) <= 4700 for t in stale)
    assert report.totals.stale_seconds == pytest.approx(4010 - 30, abs=15)


def test_samples_that_are_doubtful_are_counted() -> None:
    readings = list(steady(1000))
    readings[50] = replace(readings[50], cell_voltages=(3.3,) * 15 + (0.0,))
    readings[60] = replace(readings[60], temperatures={"cell_1": None, "cell_2": 25.0})
    totals = tried(readings).totals
    assert totals.samples == 100
    assert totals.suspect == 1
    assert totals.stops == 0


def test_latches_and_warnings_are_counted_apart() -> None:
    hot = [replace(r, cell_voltages=(3.3,) * 15 + (3.9,)) for r in steady(300)]
    report = tried(hot, only("cell_overvoltage_critical", "cell_overvoltage_warning"))
    totals = report.totals
    assert (totals.stops, totals.latches, totals.warnings) == (1, 1, 1)
    assert report.counts["cell_overvoltage_warning"] == 1


def test_no_cause_says_that_a_value_is_beyond_when_it_is_not() -> None:
    """One probe is missing for good, another jumps and comes back: what tripped is told as it
    was, not with the value of today."""
    readings = [
        replace(r, temperatures={"cell_1": t, "cell_2": 25.0, "cell_4": None, "mosfet": 30.0})
        for n, r in enumerate(steady(900))
        for t in (-5.0 if 20 <= n < 23 else 25.0,)
    ]
    spread = [t for t in tried(readings).trips if t.policy == "temperature_spread"]
    assert all("0.0 K, at or above" not in t.text for t in spread)
    assert all("nothing refuted it" in t.text for t in spread)


# --------------------------------------------------------------------------- determinism


@pytest.mark.slow
def test_two_files_in_one_pass_are_as_each_alone() -> None:
    careful = msgspec.structs.replace(
        SHIPPED,
        thresholds={**SHIPPED.thresholds, "charge_ut_trip": 12.0, "charge_ut_release": 15.0},
    )
    ((one, other),) = backtest(entries(cold_night()), [SHIPPED, careful])
    assert one.digest == tried(cold_night()).digest
    assert other.digest == tried(cold_night(), careful).digest
    assert one.digest != other.digest
    assert other.totals.not_charged_ah > one.totals.not_charged_ah


@pytest.mark.slow
def test_packs_in_one_log_do_not_touch_each_other() -> None:
    night = list(cold_night())
    other = [replace(r, target="sim://jk02", current=-20.0) for r in night]
    mixed = [r for pair in zip(night, other, strict=True) for r in pair]
    alone = {r.target: r for r in (tried(night), tried(other))}
    one_after_the_other = [*night, *other]
    for order in (mixed, one_after_the_other):
        for (report,) in backtest(entries(order), [SHIPPED]):
            assert report == alone[report.target]


def test_the_wall_clock_has_no_say() -> None:
    """The same night in another century."""
    later = [replace(r, time=r.time and r.time + timedelta(days=36525)) for r in cold_night()]
    here, there = tried(cold_night()), tried(later)
    for report in (here, there):
        report.digest = ""
    shift = there.began - here.began
    for trip in there.trips:
        trip.began -= shift
        trip.ended = trip.ended and trip.ended - shift
    assert there.trips == here.trips
    assert there.totals == here.totals


def decisions(path: Path) -> list[bytes]:
    """Every decision on a log, in bytes."""
    found: list[bytes] = []

    class Keep(Backtest):
        def sampled(self, entry, decision, engine) -> None:
            found.append(msgspec.json.encode(decision))

        def waited(self, time, decision, engine) -> None:
            found.append(msgspec.json.encode(decision))

    tests: dict[str, Keep] = {}
    for target, poll, portion in packs(Log(path)):
        test = tests.setdefault(target, Keep(SHIPPED, poll=poll))
        for entry in portion:
            test.step(entry)
    return found


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.parametrize("protocol", RESPONDERS)
def test_a_capture_gives_the_same_decisions_however_it_was_cut(
    protocol: str, tmp_path: Path
) -> None:
    header, *pieces = capture(protocol, 26)
    whole = tmp_path / "whole.jsonl"
    whole.write_text("".join(json.dumps(line) + "\n" for line in (header, *pieces)))
    expected = decisions(whole)
    assert len(expected) >= 25
    draw = random.Random(7)
    for longest in part((1, 3, 40), 3, list(RESPONDERS).index(protocol)):
        cut = tmp_path / f"{longest}.jsonl"
        with cut.open("w") as file:
            file.write(json.dumps(header) + "\n")
            for piece in pieces:
                data = piece["hex"]
                while data:
                    take = 2 * draw.randint(1, longest)
                    file.write(json.dumps({**piece, "hex": data[:take]}) + "\n")
                    data = data[take:]
        assert decisions(cut) == expected


@pytest.mark.slow
def test_memory_does_not_grow_with_the_log() -> None:
    source = (
        Entry("x", 10.0 * n, healthy(uptime=float(n), current=float(n % 7))) for n in range(4000)
    )
    tracemalloc.start()
    backtest(source, [SHIPPED])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000  # the readings alone would be several MB


# ------------------------------------------------------------------------- hostile logs


def test_what_is_no_reading_is_skipped_and_counted(tmp_path: Path) -> None:
    good = lines(steady(600)).splitlines()
    bad = [
        "",
        "no json",
        good[0][:50],
        '{"schema":1,"target":"sim://jbd","error":"No answer."}',
        '{"hello": "world"}',
        "[1, 2, 3]",
        good[0].replace("2026-01-10T18:00:00.000Z", "2026-01-10T18:00:00"),
        good[0].replace('"2026-01-10T18:00:00.000Z"', "null"),
        good[0].replace("52.8", "1e999"),
        '{"a":' * 5000,
        "x" * 200_000,
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join([*good[:30], *bad, *good[30:]]) + "\n")
    (report,), log = of_log(path)
    assert report.totals.samples == 60
    assert report.totals.gaps == 0
    skipped = log.skipped
    assert (skipped.errors, skipped.foreign, skipped.untimed) == (1, 1, 2)
    assert skipped.damaged == 6


@pytest.mark.slow
def test_duplicates_are_left_out_and_steps_back_are_counted(tmp_path: Path) -> None:
    readings = list(cold_night())
    twice = [r for r in readings for _ in range(2)]
    report = tried(twice)
    assert report.totals.duplicates == len(readings)
    assert report.digest == tried(readings).digest
    back = [replace(r, time=r.time and r.time - timedelta(hours=1)) for r in readings[500:]]
    stepped = tried(readings[:500] + back)
    assert stepped.totals.backwards == 1
    assert stepped.totals.gaps == 0
    before, after = tried(readings).trips, stepped.trips
    assert [t.policy for t in after] == [t.policy for t in before]


def test_a_condition_of_a_newer_version_is_kept_as_other(tmp_path: Path) -> None:
    told = replace(next(steady(10)), protections=(Condition.CELL_OVERVOLTAGE,))
    text = lines([told]).replace("cell_overvoltage", "cell_on_fire")
    path = tmp_path / "log.jsonl"
    path.write_text(text)
    (entry,) = Log(path)
    assert entry.reading.protections == (Condition.OTHER,)


def test_a_log_without_times_needs_an_interval(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", [replace(r, time=None) for r in steady(600)])
    with pytest.raises(FrameError, match="--interval"):
        of_log(path)
    (report,), _ = of_log(path, interval=10.0)
    assert report.interval == 10.0
    assert report.ended == 590.0


def test_an_accelerated_recording_is_stretched(tmp_path: Path) -> None:
    quick = [replace(r, time=START + timedelta(seconds=n / 60)) for n, r in enumerate(cold_night())]
    (report,), _ = of_log(write(tmp_path / "log.jsonl", quick), speed=600.0)
    assert report.interval == pytest.approx(10.0, abs=0.01)
    assert [t.policy for t in report.trips] == [t.policy for t in tried(cold_night()).trips]


def test_what_cannot_be_says_so(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="holds no reading"):
        of_log(write(tmp_path / "empty", []))
    with pytest.raises(BmsError, match="There is no file"):
        of_log(tmp_path / "nothing")
    with pytest.raises(TargetError, match="speed"):
        Log(tmp_path, speed=0)
    many = [at(n, healthy(), target=f"sim://{n}") for n in range(100)]
    with pytest.raises(TargetError, match="64 packs"):
        backtest(entries(many), [SHIPPED])


def test_a_damaged_capture_names_its_line(tmp_path: Path) -> None:
    header, *pieces = capture("jbd", 3)
    path = tmp_path / "capture.jsonl"
    path.write_text(json.dumps(header) + "\n" + json.dumps(pieces[0]) + "\n{broken\n")
    with pytest.raises(CaptureError, match="line 3"):
        of_log(path)
    path.write_text(json.dumps(header) + "\n")
    with pytest.raises(CaptureError, match=r"capture\.jsonl"):
        of_log(path)


junk = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([line.encode() for line in lines(steady(100)).splitlines()]),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["time", "cell_voltages", "protocol", "voltage", "alarms", "raw"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(junk, max_size=12))
def test_no_bytes_break_it(tmp_path_factory: pytest.TempPathFactory, content: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    path.write_bytes(b"\n".join(content))
    try:
        reports, _ = of_log(path)
    except BmsError:
        return
    for report in reports:
        json.dumps(report.to_dict(), allow_nan=False)


# ------------------------------------------------------------------------------ explain


def test_a_moment_is_explained_by_what_was_known_then() -> None:
    log = entries(cold_night())
    (before,) = explain_log(log, SHIPPED, after=3000)
    (during,) = explain_log(log, SHIPPED, at=(START + timedelta(hours=2)).timestamp())
    (after,) = explain_log(log, SHIPPED)
    assert before.decision.charge.allowed
    assert not during.decision.charge.allowed
    assert {r.policy for r in during.decision.charge.reasons} >= {"charge_undertemperature"}
    states = {j.policy: j for j in during.judgements}
    assert states["charge_undertemperature"].state == "tripped"
    assert states["charge_undertemperature"].threshold == 0.0
    assert states["cell_overvoltage"].state == "content"
    # its curve never leaves more than half of 1 C: in the cold nothing falls in the heat
    assert states["charge_hot_derate"].state == "content"
    assert "charge_hot_derate" not in {v.policy for v in during.decision.verdicts}
    assert "bms_did_not_trip_overvoltage" in during.not_applicable
    assert after.decision.charge.allowed


def test_a_moment_in_a_gap_is_stale() -> None:
    (found,) = explain_log(entries([*steady(600), *steady(0)]), SHIPPED, after=5)
    assert not found.decision.stale
    late = [*steady(600), at(9000, healthy())]
    (found,) = explain_log(entries(late), SHIPPED, after=5000)
    assert found.decision.stale
    assert found.decision.limits.ccl.value == 0
    with pytest.raises(TargetError, match="begins after"):
        explain_log(entries(late), SHIPPED, at=0.0)


def test_what_waits_and_what_rests_is_told() -> None:
    cold = [
        replace(r, temperatures={"cell_1": t, "cell_2": t, "mosfet": 30.0})
        for n, r in enumerate(steady(300, 1.0))
        for t in (-1.0 if n > 290 else 1.0,)
    ]
    (found,) = explain_log(entries(cold), SHIPPED, after=295)
    states = {j.policy: j.state for j in found.judgements}
    assert states["charge_undertemperature"] == "pending"
    assert states["cell_delta_load"] == "resting"
    assert "soc_floor" not in states, "it is off as shipped"
    assert states["discharge_cold_derate"] == "derating"
    assert states["charge_hot_derate"] == "content", "half of 1 C is all that it ever leaves"


def test_a_log_that_changes_its_pace_is_followed() -> None:
    """The interval was guessed from the first 24 lines: after them a reading a minute was old."""
    calm = [healthy(current=-5.0, uptime=float(n)) for n in range(400)]
    quick = [at(float(n), calm[n]) for n in range(60)]
    slow = [at(60.0 + 60 * n, calm[60 + n]) for n in range(240)]
    report = tried([*quick, *slow])
    assert report.interval == 60
    assert report.totals.stale_seconds < 30 * 60
    lossy = [reading for n, reading in enumerate(slow) if n % 7 and n % 5]
    assert tried([*quick, *lossy]).interval == 60
    assert tried([*quick, slow[0], *steady_after(slow[0])]).interval == 1


def steady_after(reading: Reading) -> list[Reading]:
    """A reading a second again: one gap is no pace."""
    assert reading.time is not None
    began = (reading.time - START).total_seconds()
    return [at(began + n, healthy(current=-5.0, uptime=900.0 + n)) for n in range(1, 100)]
