"""Each check of the doctor finds what it is for, says nothing of what is well, and never calls
well what it does not know; and every command that it gives can be pasted."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import fields

import pytest
from doctor_cases import ILL, ILL_COMPUTERS, computer, reading, well

from bmslink.cli import app
from bmslink.cli.option_groups import with_groups
from bmslink.errors import UsageError
from bmslink.events import EventSeverity
from bmslink.link.transport import parse_target
from bmslink.model import Condition
from bmslink.reports.doctor.conditions import ADVICE
from bmslink.reports.doctor.examine import judged
from bmslink.reports.doctor.explain import explain, names
from bmslink.reports.doctor.facts import HostFacts, PackFacts
from bmslink.reports.doctor.finding import DoctorFinding
from bmslink.reports.doctor.table import HOST_CHECKS, PACK_CHECKS

FORBIDDEN = re.compile(r"--(?:yes|force|waive|untested|no-)")


def findings() -> Iterator[DoctorFinding]:
    """Everything that the ill packs and computers show."""
    for make in ILL.values():
        yield from judged([make()], None).findings
    for make_host in ILL_COMPUTERS.values():
        yield from judged([], make_host()).findings


@pytest.mark.parametrize("name", ILL)
def test_a_check_finds_what_it_is_for(name: str) -> None:
    found = [each for each in judged([ILL[name]()], None).findings if each.name == name]
    assert found
    for each in found:
        assert each.what.endswith((".", "!"))
        assert each.why
        assert each.fix


@pytest.mark.parametrize("name", ILL_COMPUTERS)
def test_a_check_of_the_computer_finds_what_it_is_for(name: str) -> None:
    found = judged([], ILL_COMPUTERS[name]()).findings
    assert {each.name for each in found} == {name}


def test_every_check_has_a_case() -> None:
    assert {c.name for c in PACK_CHECKS} - {"default-password"} == set(ILL)
    assert {c.name for c in HOST_CHECKS} - {"versions"} == set(ILL_COMPUTERS)


def test_what_is_well_has_no_finding() -> None:
    assert judged([well()], computer()).findings == ()


def test_what_is_not_known_is_never_called_right() -> None:
    nothing = PackFacts(target=parse_target("jbd+serial:///dev/ttyUSB0"))
    examination = judged([nothing], HostFacts())
    assert not examination.findings
    listed = {row.name for row in examination.right}
    assert listed <= {"configuration", "private-files", "computer-clock"}
    assert all(row.text for row in examination.not_known)


def test_a_history_without_numbers_is_not_known() -> None:
    young = {"capacity": {"trend": {"per_year": None, "why": "too short"}}, "resistance": {}}
    examination = judged([well(life=young)], None)
    assert {"trend", "resistance"} <= {row.name for row in examination.not_known}


def test_each_pack_is_named_with_its_findings() -> None:
    ill = reading(faults=(Condition.AFE,))
    ill.target = parse_target("sim://jbd?seed=2")
    (found,) = judged([well(), ill], None).findings
    assert found.pack == "jbd+sim://?seed=2"
    assert found.severity is EventSeverity.CRITICAL


def test_notes_are_no_trouble() -> None:
    assert not judged([ILL["echo"]()], None).trouble
    assert judged([ILL["conditions"]()], None).trouble


def _still(command: Callable[..., None]) -> Callable[..., None]:
    """The command with its options, doing nothing."""
    real = with_groups(command)

    @functools.wraps(real)
    def nothing(**values: object) -> None:
        """Nothing."""

    return nothing


def test_every_fix_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "with_groups", _still)
    commands = {each.command for each in findings() if each.command}
    ours = 0
    for command in sorted(commands):
        assert not FORBIDDEN.search(command)
        assert "\n" not in command
        for part in command.split(" && "):
            words = shlex.split(part)
            assert words
            if words[0] == "bmslink":
                ours += 1
                assert app.main(words[1:]) == 0, part
    assert ours > 10


def test_no_fix_in_words_takes_a_guard_away() -> None:
    for each in findings():
        assert not FORBIDDEN.search(f"{each.fix} {each.why}"), each


def test_every_condition_has_a_cause_and_a_cure() -> None:
    assert set(ADVICE) == set(Condition)
    for condition in Condition:
        assert explain(str(condition)).kind == "condition"


def test_every_name_is_explained() -> None:
    for name in names():
        found = explain(name)
        assert found.title
        assert found.text
    with pytest.raises(UsageError, match="Did you mean cell-delta"):
        explain("cell-delt")


def test_json_has_all_keys() -> None:
    told = judged([ILL["conditions"]()], computer()).to_dict()
    assert list(told) == ["target", "findings", "right", "not_known", "packs", "versions"]
    keys = {field.name for field in fields(DoctorFinding)}
    assert all(set(each) == keys for each in told["findings"])
