"""The rules of acting, one by one: what is sent, what is given back, and who is respected."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from bmslink.control import Demand
from bmslink.control.act.actuator import ACTUATORS, Sent
from bmslink.control.act.facts import SwitchFacts, facts_of
from bmslink.control.act.ledger import Ledger, Owner, load_ledger, save_ledger
from bmslink.control.act.mandate import Mandate
from bmslink.control.act.messages import (
    EmergencyStop,
    OverridePolicy,
    PersonOff,
    PersonOn,
    Remark,
    ResetStop,
    Resume,
    SwitchCommand,
)
from bmslink.control.act.numbers import ActingNumbers
from bmslink.control.act.reconciler import reconcile
from bmslink.control.act.steps.enabling import obstacle
from bmslink.control.decide.decision import Decision, Event, Limits, PolicyVerdict
from bmslink.control.decide.limits import Limit, Permit, Reason
from bmslink.control.decide.policy import Mode, Severity
from bmslink.model import Condition
from control_support import healthy

NONE = Limit(0.0, (Reason("rating", 0.0, "as rated"),))
LIMITS = Limits(NONE, NONE, NONE, NONE)
ENFORCE = Mandate(enforce=True, host_power="other", capacity=100.0)
SINKS = {"charge": True, "discharge": True}


def decided(
    charge: Demand = Demand.FREE,
    discharge: Demand = Demand.FREE,
    *,
    by: str = "cell_overvoltage",
    stale: bool = False,
    events: tuple[Event, ...] = (),
) -> Decision:
    def permit(demand: Demand) -> Permit:
        return Permit(demand, (Reason(by, 0.0, f"{by} says so"),) if demand else ())

    demands = (charge, discharge)
    severity = Severity.EMERGENCY if Demand.OPEN_NOW in demands else Severity.TRIP
    verdict = PolicyVerdict(by, Mode.ENFORCE, severity, "tripped", "why")
    return Decision(
        time=0.0,
        charge=permit(charge),
        discharge=permit(discharge),
        balance=Permit(),
        limits=LIMITS,
        verdicts=(verdict,) if any(demands) else (),
        events=events,
        stale=stale,
        quality={"current": "good"},
        bms={},
    )


class Bench:
    """A board with three switches, which do what they are told, and a program that acts on them."""

    def __init__(self, mandate: Mandate = ENFORCE, **numbers: Any) -> None:
        self.numbers = ActingNumbers(**numbers)
        self.mandate = mandate
        self.now = 0.0
        self.on = dict.fromkeys(ACTUATORS, True)
        self.obeys = True
        self.uptime = 1e6
        self.current: float | None = 0.0
        self.facts: dict[str, Any] = {}
        self.sinks: dict[str, bool] = {}
        self.ledger = Ledger.new("pack", 0.0)
        self.sent: list[SwitchCommand] = []
        self.said: list[Remark] = []
        for _ in range(5):
            self(decided())

    def __call__(
        self,
        decision: Decision,
        *requests: Any,
        seconds: float = 2.0,
        heard: bool = True,
        **more: Any,
    ) -> list[tuple[str, bool]]:
        """One cycle; gives back what was sent: switch and whether on."""
        self.now += seconds
        self.uptime += seconds
        fields = {**self.on, "uptime": self.uptime, "current": self.current, **self.facts}
        result = reconcile(
            self.ledger,
            decision,
            SwitchFacts(**fields) if heard else None,
            self.sinks,
            self.now,
            mandate=self.mandate,
            numbers=self.numbers,
            requests=requests,
            **more,
        )
        self.ledger = result.ledger
        self.sent += result.commands
        self.said += result.remarks
        for command in result.commands:
            if self.obeys:
                self.on[command.actuator] = command.on
            self.ledger = self.ledger.heard_of(command.actuator, command.id, Sent(sent=True))
        return [(c.actuator, c.on) for c in result.commands]

    def told(self, what: str) -> Remark:
        """The last remark of that kind."""
        return [r for r in self.said if r.what == what][-1]

    def wait(self, decision: Decision, seconds: float) -> list[tuple[str, bool]]:
        """Polls every 2 s for so long; gives back all that was sent."""
        sent = []
        for _ in range(int(seconds / 2)):
            sent += self(decision)
        return sent

    def restart(self) -> None:
        """The program is killed; what was saved comes back."""
        plain = json.loads(json.dumps(save_ledger(self.ledger, self.now), allow_nan=False))
        self.now += 3.0
        self.ledger = load_ledger(plain, "pack", self.now)


TRIP, URGENT, FREE = Demand.OPEN, Demand.OPEN_NOW, Demand.FREE
OFF, ON = ("charge", False), ("charge", True)


def test_a_trip_opens_and_is_given_back_once_all_speaks_for_it() -> None:
    bench = Bench()
    bench.wait(decided(), 60)
    assert bench(decided(TRIP)) == [OFF]
    assert bench.sent[-1].why == "cell_overvoltage says so"
    assert bench(decided(TRIP)) == []
    record = bench.ledger.charge
    assert (record.own, record.confirmed, record.prior, record.owner) == (
        True, True, True, Owner.OURS,
    )  # fmt: skip
    assert record.holders == ("cell_overvoltage",)
    assert bench.wait(decided(), 54) == []  # off for a minute at least
    assert bench.wait(decided(), 6) == [ON]
    assert bench(decided()) == []
    assert bench.told("given_back")
    assert not bench.ledger.charge.own
    assert bench.wait(decided(), 600) == []


def test_soft_before_hard() -> None:
    bench = Bench()
    bench.sinks, bench.current = SINKS, 40.0
    assert bench(decided(TRIP)) == []
    assert bench(decided(TRIP), seconds=1.0) == []
    bench.current = 2.5
    assert bench(decided(TRIP), seconds=1.0) == []
    bench.current = 1.9
    assert bench(decided(TRIP), seconds=0.5) == [OFF]  # the current has fallen

    slow = Bench()
    slow.sinks, slow.current = SINKS, 40.0
    slow(decided(TRIP))
    assert slow(decided(TRIP), seconds=3.0) == [OFF]  # it does not fall in time
    now = Bench()
    now.sinks, now.current = SINKS, 40.0
    assert now(decided(URGENT)) == [OFF]  # an emergency waits for nothing


def test_a_sink_that_dies_ends_the_wait() -> None:
    bench = Bench()
    bench.sinks, bench.current = SINKS, 40.0
    assert bench(decided(TRIP), seconds=0.1) == []
    bench.sinks = {**SINKS, "charge": False}
    assert bench(decided(TRIP), seconds=0.1) == [OFF]
    assert bench.told("sink_lost").alarm


def test_an_alternator_is_warned_and_given_time() -> None:
    bench = Bench(msgspec.structs.replace(ENFORCE, alternator=True))
    bench.sinks, bench.current = SINKS, 40.0
    assert bench(decided(TRIP)) == []
    assert bench.told("pre_alarm").alarm
    assert bench.wait(decided(TRIP), 8) == []
    assert bench(decided(TRIP)) == [OFF]


def test_an_unverified_off_is_repeated_then_once_a_minute() -> None:
    bench = Bench()
    bench.obeys = False
    times = []
    for _ in range(160):
        if bench(decided(URGENT), seconds=1.0):
            times.append(bench.now)
    gaps = [b - a for a, b in pairwise(times)]
    assert gaps == [2.0] * 5 + [60.0] * 2
    assert bench.ledger.writes_today(bench.now) == 1  # repeats are counted apart
    assert bench.ledger.charge.written == 8


def test_a_gap_in_the_data_makes_no_new_off_of_one_that_is_not_read_back() -> None:
    """A slow line is stale at each second poll, and a protection of the BMS hides the switch."""
    bench = Bench()
    bench.wait(decided(), 60)
    bench.obeys = False
    bench.on["charge"] = None
    times = []
    for _ in range(60):
        bench(decided(URGENT, stale=True), seconds=3.0, heard=False)
        if bench(decided(URGENT), seconds=1.0):
            times.append(bench.now)
    assert [b - a for a, b in pairwise(times)] == [4.0] * 5 + [60.0] * 3
    assert bench.ledger.writes_today(bench.now) == 1


@pytest.mark.parametrize("demand", [Demand.NO_ENABLE, Demand.ZERO])
def test_a_mirror_and_a_curve_send_nothing(demand: Demand) -> None:
    bench = Bench()
    assert bench.wait(decided(demand, demand), 120) == []
    bench(decided(TRIP))
    assert bench.wait(decided(demand), 600) == [], "nor do they let anything be switched on"
    assert bench(decided()) == [ON]


def test_old_data_send_nothing_and_give_nothing_back() -> None:
    bench = Bench()
    bench.wait(decided(), 60)
    assert bench(decided(TRIP, stale=True), heard=False) == []
    assert bench(decided(URGENT, URGENT, stale=True), heard=False) == []
    assert bench(decided(TRIP)) == [OFF]
    bench(decided(TRIP))
    for _ in range(50):
        assert bench(decided(stale=True), heard=False) == []
    assert bench.wait(decided(), 4) == []  # two good samples
    assert bench(decided()) == [ON]


def test_a_suspect_sample_begins_the_count_again() -> None:
    bench = Bench()
    bench.wait(decided(), 60)
    bench(decided(TRIP))
    bench.wait(decided(), 56)
    bench.facts = {"good": False}
    assert bench.wait(decided(), 20) == []
    bench.facts = {}
    assert bench.wait(decided(), 4) == []
    assert bench(decided()) == [ON]


def test_a_protection_of_the_bms_blocks_its_path() -> None:
    bench = Bench()
    bench.wait(decided(), 60)
    bench(decided(TRIP))
    bench.facts = {"protected": ("charge",)}
    assert bench.wait(decided(), 600) == []
    bench.facts = {"protected": ("discharge",)}
    assert bench(decided()) == [ON]


def test_what_was_off_before_is_not_switched_on() -> None:
    bench = Bench()
    bench.on["charge"] = False  # an app
    bench(decided())
    assert bench.told("foreign_off")
    assert bench(decided(TRIP)) == []  # it is off
    assert bench.wait(decided(), 600) == []
    assert bench.ledger.charge.owner == Owner.FOREIGN

    unseen = Bench()
    unseen.facts = {"discharge": None}
    unseen.ledger = Ledger.new("pack", 0.0)
    unseen.wait(decided(), 60)
    assert unseen(decided(FREE, URGENT)) == [("discharge", False)]
    unseen.facts = {}
    unseen.wait(decided(), 600)
    assert not unseen.on["discharge"], "nobody knows how it was"
    word, why = obstacle(
        "discharge", unseen.ledger, *_wished(), unseen.now, mandate=ENFORCE,
        numbers=unseen.numbers, stale=False, disk=True,
    )  # fmt: skip
    assert (word, "only a person" in why) == ("prior", True)


def _wished() -> tuple[Any, Any]:
    from bmslink.control.act.mandate import SwitchWish

    return SwitchWish(Demand.FREE), SwitchFacts()


def test_an_off_by_another_frame_is_given_back_by_a_person_only() -> None:
    bench = Bench()
    bench.facts = {"charge": None, "discharge": None}
    sent = Sent(sent=True, others={"discharge": False}, doubt="it does not show")
    bench(decided(URGENT))
    bench.ledger = bench.ledger.heard_of("charge", bench.sent[-1].id, sent)
    bench.on["discharge"] = False
    bench.facts = {}
    bench.wait(decided(), 600)
    assert bench.on == {"charge": True, "discharge": False, "balance": True}
    assert bench(decided(), PersonOn("discharge", "anna")) == [("discharge", True)]


def test_an_off_that_is_not_read_back_is_not_given_back() -> None:
    bench = Bench()
    bench(decided(TRIP))
    bench.facts = {"charge": None}
    assert bench.wait(decided(), 600) == []
    assert bench.ledger.charge.order is not None
    assert bench.ledger.charge.order.read_back is None, "not known is not done"
    bench.facts = {}
    assert bench(decided()) == [ON]


def test_what_a_frame_leaves_as_the_board_showed_it_is_not_ours() -> None:
    bench = Bench()
    bench(decided(TRIP))
    sent = Sent(sent=True, others={"discharge": False})
    bench.ledger = bench.ledger.heard_of("charge", bench.sent[-1].id, sent)
    bench.on["discharge"] = False  # an app, a moment before
    bench.wait(decided(), 600)
    assert not bench.ledger.discharge.own
    assert not bench.on["discharge"]


def test_what_was_certainly_not_sent_claims_nothing() -> None:
    bench = Bench()
    bench.obeys = False
    bench(decided(TRIP))
    bench.ledger = bench.ledger.heard_of("charge", bench.sent[-1].id, Sent(sent=False))
    assert not bench.ledger.charge.own
    bench.on["charge"] = False  # so it was somebody else
    bench(decided(TRIP))
    assert bench.told("foreign_off")
    assert bench.wait(decided(), 600) == []


def test_a_reboot_that_forgot_is_asserted_once_and_is_no_clash() -> None:
    bench = Bench()
    for _ in range(3):
        bench(decided(TRIP))
        bench(decided(TRIP))
        bench.on["charge"], bench.uptime = True, 0.0
        assert bench(decided(TRIP)) == [OFF]
        assert bench.told("forgot").text.startswith("The board restarted with charge on: ")
    bench(decided(TRIP))
    bench.on["charge"], bench.facts = True, {"uptime": None, "greeted": True}
    assert bench(decided(TRIP)) == [OFF]
    assert bench.ledger.charge.clashes == ()
    bench(decided(TRIP))
    bench.restart()
    bench.on["charge"], bench.facts = True, {}
    assert bench(decided(TRIP)) == [OFF]
    assert bench.told("forgot").text.startswith("charge is on, and was off when the last program")


def test_two_hosts_end_in_a_stand_down() -> None:
    bench = Bench()
    bench(decided(TRIP))
    bench(decided(TRIP))
    bench.on["charge"] = True
    assert bench(decided(TRIP)) == [OFF]
    assert bench.told("clash").alarm
    bench(decided(TRIP))
    bench.on["charge"] = True
    assert bench(decided(TRIP)) == []
    said = bench.told("stand_down")
    assert said.alarm
    assert "cell_overvoltage" in said.text
    assert bench.wait(decided(TRIP), 1200) == []
    assert bench(decided(TRIP), Resume("anna")) == []  # by itself it sends nothing
    assert bench(decided(TRIP)) == [OFF]


def test_two_clashes_far_apart_are_two() -> None:
    bench = Bench()
    for _ in range(3):
        bench(decided(TRIP))
        bench.wait(decided(TRIP), 602)
        bench.on["charge"] = True
        assert bench(decided(TRIP)) == [OFF]
    assert bench.ledger.charge.down is None


def stood_down() -> Bench:
    bench = Bench()
    bench(decided(TRIP))
    for _ in range(2):
        bench(decided(TRIP))
        bench.on["charge"] = True
        bench(decided(TRIP))
    assert bench.ledger.charge.down is not None
    return bench


def test_an_emergency_while_we_stand_down_is_answered_once() -> None:
    bench = stood_down()
    assert bench(decided(URGENT, by="cell_critical")) == [OFF]
    bench(decided(URGENT, by="cell_critical"))
    bench.on["charge"] = True
    assert bench.wait(decided(URGENT, by="cell_critical"), 300) == []
    assert bench(decided(URGENT, by="thermal")) == [OFF]
    bench(decided())
    bench.on["charge"] = True
    bench(decided())
    assert bench(decided(URGENT, by="thermal")) == [OFF], "it is newly confirmed"


def test_after_a_stand_down_nothing_is_switched_on() -> None:
    bench = stood_down()
    assert bench(decided(URGENT, by="thermal")) == [OFF]
    assert bench.wait(decided(), 600) == []
    assert bench(decided(), Resume("anna")) == []
    assert bench(decided()) == [ON]


def test_a_persons_switch() -> None:
    bench = Bench()
    assert bench(decided(), PersonOff("charge", "anna")) == [OFF]
    assert bench.wait(decided(), 4000) == []  # no policy gives it back
    bench.restart()
    assert bench.wait(decided(), 600) == []
    assert bench(decided(TRIP), PersonOn("charge", "ben")) == []
    refusal = bench.told("refused").text
    assert "cell_overvoltage" in refusal
    assert "control override" in refusal
    assert bench(decided(), PersonOn("charge", "ben")) == [ON]
    assert bench.sent[-1].actor == "ben"
    assert bench.wait(decided(), 600) == []


def test_a_person_is_heard_on_old_data_and_in_shadow() -> None:
    bench = Bench(Mandate())
    assert bench(decided(stale=True), PersonOff("balance", "anna"), heard=False) == [
        ("balance", False)
    ]
    assert bench.wait(decided(URGENT, URGENT), 100) == []
    assert bench(decided(), PersonOn("balance", "anna")) == [("balance", True)]


def test_a_persons_on_overtakes_an_off_that_is_not_read_back() -> None:
    bench = Bench()
    bench(decided(), PersonOff("charge", "anna"))
    assert bench(decided(), PersonOn("charge", "anna"), heard=False) == [ON]


def test_a_switch_that_is_not_there() -> None:
    bench = Bench(msgspec.structs.replace(ENFORCE, able=frozenset({"discharge"})))
    assert bench(decided(), PersonOff("charge", "anna")) == []
    assert "cannot be switched" in bench.told("refused").text
    assert bench(decided(URGENT, URGENT), EmergencyStop("anna")) == [("discharge", False)]


def test_an_emergency_stop_stays_until_it_is_reset() -> None:
    bench = Bench()
    assert {c for c, _ in bench(decided(stale=True), EmergencyStop("anna"), heard=False)} == {
        "charge", "discharge", "balance",
    }  # fmt: skip
    bench.wait(decided(), 100)
    bench.restart()
    assert bench.wait(decided(), 600) == []
    assert bench(decided(), PersonOn("charge", "ben")) == []
    assert "control reset" in bench.told("refused").text
    assert ("charge", True) in bench(decided(), ResetStop("ben"))
    assert bench(decided(), ResetStop("ben")) == []
    assert bench.told("refused")


def test_an_override_ends_by_itself() -> None:
    def held(**more: Any) -> Bench:
        bench = Bench(**more)
        bench(decided(TRIP))
        bench.wait(decided(TRIP), 60)
        bench(decided(TRIP), OverridePolicy("cell_overvoltage", 600, "anna"))
        assert bench.told("override")
        assert bench.wait(decided(TRIP), 100) == [], "it switches nothing on by itself"
        assert bench(decided(TRIP), PersonOn("charge", "anna")) == [ON]
        assert bench(decided(TRIP)) == []
        return bench

    late = held()
    assert late.wait(decided(TRIP), 700) == [OFF]
    stale = held()
    stale(decided(TRIP, stale=True), heard=False)
    assert stale(decided(TRIP)) == [OFF]
    alarm = held()
    alarm.facts = {"alarms": frozenset({"cell_delta"})}
    assert alarm(decided(TRIP)) == [OFF]
    other = held()
    event = Event("temperature", Mode.ENFORCE, "trip", "hot")
    assert other(decided(TRIP, events=(event,))) == [OFF]
    restarted = held()
    restarted.restart()
    assert restarted(decided(TRIP)) == [OFF]


@pytest.mark.parametrize(
    ("request_", "decision", "why"),
    [
        (OverridePolicy("cell_overvoltage", 3601, "anna"), decided(TRIP), "60 min"),
        (OverridePolicy("cell_overvoltage", 0, "anna"), decided(TRIP), "more than 0"),
        (OverridePolicy("cell_overvoltage", 60, "anna"), decided(URGENT), "emergency"),
        (OverridePolicy("another", 60, "anna"), decided(TRIP), "holds nothing"),
        (OverridePolicy("cell_overvoltage", 60, "anna"), decided(TRIP, stale=True), "data"),
    ],
)
def test_what_cannot_be_set_aside(request_: Any, decision: Decision, why: str) -> None:
    bench = Bench()
    bench(decision, request_)
    assert why in bench.told("refused").text
    assert not bench.ledger.run.overrides


@pytest.mark.parametrize(
    ("power", "demand", "opens"),
    [
        (None, TRIP, False),
        (None, URGENT, False),
        ("pack", TRIP, False),
        ("pack", URGENT, True),
        ("other", TRIP, True),
    ],
)
def test_who_feeds_the_host(power: str | None, demand: Demand, opens: bool) -> None:
    bench = Bench(msgspec.structs.replace(ENFORCE, host_power=power))
    assert bench(decided(FREE, demand)) == ([("discharge", False)] if opens else [])
    assert bench(decided(demand)) == [OFF]
    assert bench(decided(), PersonOff("discharge", "anna")) == [("discharge", False)]


def test_budgets_stop_what_switches_on_and_nothing_else() -> None:
    bench = Bench(enables_an_hour=3, writes_a_day=9)
    for _ in range(3):
        bench(decided(TRIP))
        assert bench.wait(decided(), 130) == [ON]
    assert bench(decided(TRIP)) == [OFF]
    assert bench.wait(decided(), 600) == [], "three times within an hour"
    assert bench.wait(decided(), 3600) == [ON]
    assert bench(decided(TRIP)) == [OFF]
    assert bench.wait(decided(), 4000) == [], "nine writes within a day"
    assert sum(r.what == "budget" for r in bench.said) == 1
    assert bench(decided(), PersonOn("charge", "anna")) == []
    assert "used up" in bench.told("refused").text
    for _ in range(20):
        bench.on["charge"] = True
        bench.wait(decided(), 700)
        assert bench(decided(URGENT)) == [OFF]
    for _ in range(4):
        bench.restart()
    assert bench.wait(decided(), 4000) == []


def test_without_a_disk_nothing_is_switched_on() -> None:
    bench = Bench()
    bench.wait(decided(), 60)
    assert bench(decided(TRIP), disk=False) == [OFF]
    for _ in range(100):
        assert bench(decided(), disk=False) == []
    assert bench(decided(), PersonOn("charge", "anna"), disk=False) == []
    assert bench(decided()) == [ON]


def test_an_on_without_effect_is_left_to_a_person() -> None:
    bench = Bench()
    bench.wait(decided(), 60)
    bench(decided(TRIP))
    bench(decided(TRIP))
    bench.obeys = False
    assert bench.wait(decided(), 4000) == [ON, ON]
    assert bench.ledger.charge.futile == 2


def test_an_off_goes_before_an_on() -> None:
    bench = Bench()
    bench.wait(decided(), 60)
    bench(decided(TRIP))
    bench.wait(decided(), 58)
    assert bench(decided(FREE, URGENT)) == [("discharge", False), ON]


def test_a_restart_gives_nothing_back_sooner() -> None:
    bench = Bench()
    bench.wait(decided(), 60)
    bench(decided(TRIP))
    bench.wait(decided(TRIP), 100)
    bench.restart()
    assert bench.wait(decided(), 58) == []
    assert bench.wait(decided(), 4) == [ON]


def test_an_off_from_before_a_restart_explains_no_later_one() -> None:
    bench = Bench()
    bench.obeys = False
    bench(decided(TRIP))
    bench.restart()
    bench.facts = {"charge": None}
    bench(decided())
    bench.facts = {}
    bench(decided())  # it shows on: the off is over
    bench.on["charge"] = False  # an app
    bench(decided())
    assert bench.told("foreign_off")
    bench.obeys = True
    assert bench.wait(decided(), 600) == []


def test_what_a_detector_holds_opens_and_says_why() -> None:
    bench = Bench()
    reason = Reason("limit_disobeyed", 0.0, "60 A at a limit of 0 A")
    assert bench(decided(), detected={"charge": reason}) == [OFF]
    assert bench.ledger.charge.holders == ("limit_disobeyed",)


def test_facts_of_a_reading() -> None:
    def facts(**changes: Any) -> SwitchFacts:
        return facts_of(healthy(**changes), decided())

    assert facts().charge is True
    assert facts(charging_allowed=False).charge is False
    assert facts(charging_allowed=False, conditions_known=False).charge is None
    locked = facts(charging_allowed=False, protections=(Condition.CELL_OVERVOLTAGE,))
    assert (locked.charge, "discharge" in locked.protected) == (None, False)
    lock = {"alarms": (Condition.SOFTWARE_LOCK,), "protections": (Condition.CELL_OVERVOLTAGE,)}
    assert facts(charging_allowed=False, **lock).charge is False
    assert facts(charging_allowed=False, discharging_allowed=False, **lock).charge is None
    assert facts(charge_switch=False, charging_allowed=True).charge is True, "current can flow"
    assert facts(charge_switch=True, charging_allowed=False).charge is True
    asked = facts_of(healthy(), decided(), states={"charge": False, "discharge": None})
    assert (asked.charge, asked.discharge) == (False, True)
    assert not facts_of(healthy(), decided(stale=True)).good


@pytest.mark.real_time
def test_a_quiet_cycle_is_quick() -> None:
    bench = Bench()
    quiet, ledger, best = decided(), bench.ledger, 1.0
    facts = [SwitchFacts(charge=True, discharge=True, uptime=float(n)) for n in range(500)]
    for _ in range(5):
        begin = time.process_time()
        for fact in facts:
            ledger = reconcile(ledger, quiet, fact, SINKS, bench.now, mandate=ENFORCE).ledger
        best = min(best, (time.process_time() - begin) / len(facts))
    assert best < 60e-6, f"{best * 1e6:.0f} µs"


def test_an_emergency_that_ended_over_a_restart_is_new_when_it_comes_again() -> None:
    bench = stood_down()
    assert bench(decided(URGENT, by="thermal")) == [OFF]
    bench(decided(URGENT, by="thermal"))
    bench.on["charge"] = True
    bench(decided(URGENT, by="thermal"))
    bench.restart()
    assert bench.wait(decided(), 4) == []
    assert bench(decided(URGENT, by="thermal")) == [OFF]


def test_an_off_over_an_on_that_nobody_saw_is_repeated() -> None:
    """It showed off before the on, and now it does not show at all: that is not off."""
    bench = Bench()
    for _ in range(3):
        bench(decided(Demand.OPEN_NOW))
    while bench(decided()) != [("charge", True)]:
        pass
    assert bench.on["charge"]
    bench.facts, bench.obeys = {"charge": None}, False
    assert [bench(decided(Demand.OPEN_NOW)) for _ in range(3)] == [[("charge", False)]] * 3


def test_what_holds_is_not_new_with_every_reading() -> None:
    """It went to the disk with each of them, for as long as a switch was held off."""
    bench = Bench()
    for _ in range(3):
        bench(decided(Demand.OPEN_NOW))
    held = bench.ledger.charge
    assert held.own
    assert held.confirmed
    bench(decided(Demand.OPEN_NOW))
    bench(decided(Demand.OPEN_NOW, stale=True), heard=False)
    assert bench.ledger.charge is held


def test_what_a_person_tried_in_vain_delays_no_policy() -> None:
    """A stop on a board that nobody has heard, tried until it was tried once a minute. It is reset,
    and the first reading shows a switch on that a policy holds."""
    bench = Bench()
    saved = save_ledger(bench.ledger, bench.now)
    bench.ledger = load_ledger(json.loads(json.dumps(saved)), "pack", bench.now)
    bench.obeys = False
    trip = decided(Demand.OPEN, stale=True)
    bench(trip, EmergencyStop("anna"), heard=False)
    for _ in range(9):
        bench(trip, heard=False)
    bench(trip, ResetStop("anna"), heard=False)
    assert bench(decided(Demand.OPEN)) == [("charge", False)]


def test_an_off_that_is_over_explains_no_later_one() -> None:
    """A person's off had no effect, and the person wants it on again. Once that off can no longer
    take effect, a reading that shows on ends it: an app's off after that was given back."""
    bench = Bench()
    bench.obeys = False
    bench(decided(), PersonOff("charge", "anna"))
    bench(decided(), seconds=2.0)
    bench(decided(), PersonOn("charge", "anna"), seconds=6.0)
    bench(decided(), seconds=5.0)
    assert bench.on["charge"]
    bench.on["charge"] = False
    bench(decided())
    assert bench.told("foreign_off")
    assert bench.wait(decided(), 300.0) == []


def test_an_off_without_effect_is_said_once_until_it_is_read_back() -> None:
    bench = Bench()
    bench.obeys = False
    bench.wait(decided(charge=Demand.OPEN_NOW), 120)
    assert len(bench.sent) > 5
    (said,) = [r for r in bench.said if r.what == "no_effect"]
    assert said.text.endswith("It is sent again and again until it does.")
    assert said.alarm
    bench.obeys = True
    bench.wait(decided(charge=Demand.OPEN_NOW), 120)
    assert bench.on["charge"] is False
    bench.wait(decided(), 120)
    assert bench.on["charge"] is True
    bench.obeys = False
    bench.wait(decided(charge=Demand.OPEN_NOW), 30)
    assert len([r for r in bench.said if r.what == "no_effect"]) == 2


def test_after_a_restart_an_on_from_before_may_still_take_effect() -> None:
    """An off that went out over it is not read back by what shows off before that."""
    bench = Bench()
    for _ in range(3):
        bench(decided(URGENT))
    bench.obeys = False
    while bench(decided()) != [ON]:
        pass
    assert bench(decided(URGENT)) == [OFF]
    bench.restart()
    bench.said.clear()
    bench(decided(URGENT))
    assert not [r for r in bench.said if r.what == "read_back"]
    bench.wait(decided(URGENT), 14.0)
    assert bench.told("read_back")
