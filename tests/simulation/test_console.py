"""The lines a running simulation takes, right and wrong."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmslink.errors import TargetError
from bmslink.model import Condition, Switch
from bmslink.simulation.console import COMMANDS, execute, raised
from bmslink.simulation.pack.pack import Pack


class Wire:
    """Faults as the simulation has them, with one name."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def enable(self, spec: str) -> None:
        if not spec.startswith("drop"):
            raise TargetError(f"There is no fault {spec!r}.")
        self.calls.append(("enable", spec))

    def disable(self, name: str) -> None:
        self.calls.append(("disable", name))


def idle() -> Pack:
    return Pack(load="idle")


def test_help_names_every_command():
    lines = execute(idle(), "help").splitlines()
    assert [line.split()[0] for line in lines] == list(COMMANDS)
    assert {"state", "cell", "fault", "advance"} < set(COMMANDS)


def test_state_is_the_truth_in_one_line_of_json():
    pack = idle()
    answer = execute(pack, "state")
    assert "\n" not in answer
    assert json.loads(answer) == pack.truth().to_dict()


@pytest.mark.parametrize(
    ("lines", "what", "expected"),
    [
        (["cell 3 3.7"], lambda r: r.cell_voltages[2], 3.7),
        (["cell 3 3.7", "cell 3 auto"], lambda r: r.cell_voltages, idle().truth().cell_voltages),
        (["temperature cell_1 -12.5"], lambda r: r.temperatures["cell_1"], -12.5),
        (["temperature mosfet broken"], lambda r: r.temperatures["mosfet"], None),
        (["temperature mosfet 9", "temperature mosfet auto"], lambda r: r.temperatures["mosfet"],
         26.5),
        (["load -7.5"], lambda r: r.current, -7.5),
        (["load 5", "load idle"], lambda r: r.current, 0.0),
        (["load cycle"], lambda r: r.current, Pack().truth().current),
        (["soc 12"], lambda r: r.soc, 12.0),
        (["ambient 0", "advance 200000"], lambda r: round(r.temperatures["mosfet"], 1), 1.5),
        (["switch charge off"], lambda r: r.charging_allowed, False),
        (["switch discharge off"], lambda r: r.discharge_switch, False),
        (["switch balance off"], lambda r: r.balance_switch, False),
        (["switch charge off", "switch charge on"], lambda r: r.charging_allowed, True),
        (["raise heater"], lambda r: r.alarms, (Condition.HEATER,)),
        (["raise heater fault"], lambda r: r.faults, (Condition.HEATER,)),
        (["raise pack_overvoltage protection"], lambda r: r.charging_allowed, False),
        (["raise heater", "raise afe fault", "clear heater"], lambda r: (r.alarms, r.faults),
         ((), (Condition.AFE,))),
        (["raise heater", "raise afe fault", "clear all"], lambda r: (r.alarms, r.faults),
         ((), ())),
        (["advance 90"], lambda r: r.uptime, 90.0),
    ],
)  # fmt: skip
def test_a_command_does_what_it_says(lines, what, expected):
    pack = idle()
    for line in lines:
        assert execute(pack, line) == "ok"
    assert what(pack.truth()) == expected


@pytest.mark.parametrize("line", ["", "  \n", "# soc 3", "#soc 3"])
def test_nothing_and_remarks_are_answered_with_nothing(line):
    pack = idle()
    assert execute(pack, line) == ""
    assert pack.truth().soc == 60


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("explode", "no command 'explode'; `help` lists them"),
        ("STATE", "no command 'STATE'"),
        ("state now", "written `state`"),
        ("cell 3", "written `cell N VOLTS|auto`"),
        ("cell three 3.3", "whole number from 1, not 'three'"),
        ("cell 1.5 3.3", "whole number"),
        ("cell 17 3.3", "cell number is 1 to 16"),
        ("cell -1 3.3", "whole number"),
        ("cell 1 high", "cell voltage in V is a number, not 'high'"),
        ("cell 1 nan", "not nan"),
        ("cell 1 1e999", "not inf"),
        ("temperature cell_9 5", "no probe 'cell_9'; this pack has: cell_1, cell_2, mosfet"),
        ("temperature cell_9 broken", "no probe"),
        ("temperature cell_1 warm", "temperature in °C is a number"),
        ("load heavy", "cycle, idle or up to"),
        ("soc 101", "0 to 100"),
        ("soc", "written `soc PERCENT`"),
        ("ambient cold", "ambient temperature in °C is a number"),
        ("switch heater on", "one of charge, discharge, balance"),
        ("switch charge maybe", "one of on, off"),
        ("raise fire", "one of cell_overvoltage"),
        ("raise afe loudly", "alarm, protection, fault, not as 'loudly'"),
        ("clear everything", "one of cell_overvoltage"),
        ("advance -1", "seconds to advance is 0 to"),
        ("advance soon", "is a number"),
        ("fault drop", "not available here"),
    ],
)
def test_wrong_input_is_one_sentence_and_changes_nothing(line, sentence):
    pack = idle()
    before = pack.truth()
    answer = execute(pack, line)
    assert answer.startswith("error: ")
    assert sentence in answer
    assert "\n" not in answer
    assert pack.truth() == before


def test_faults_go_to_the_wire():
    wire = Wire()
    for line in ("fault drop:0.5", "fault drop off"):
        assert execute(idle(), line, wire) == "ok"
    assert wire.calls == [("enable", "drop:0.5"), ("disable", "drop")]
    assert execute(idle(), "fault fog", wire) == "error: There is no fault 'fog'."
    assert "one of off" in execute(idle(), "fault drop on", wire)


WORDS = st.one_of(
    st.sampled_from([*COMMANDS, *Switch, *Condition, "cell_1", "auto", "all", "off", "9" * 5000]),
    st.floats().map(str),
    st.text(max_size=8),
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(WORDS, max_size=4).map(" ".join))
def test_no_line_raises(line):
    pack = Pack(cells=2)
    if not line.startswith("advance"):
        answer = execute(pack, line, Wire())
        assert isinstance(answer, str)
        news = raised(line) if answer == "ok" else None
        if news:
            truth = pack.truth()
            assert news[0] in {*truth.alarms, *truth.protections, *truth.faults}
    assert pack.truth().voltage is not None
