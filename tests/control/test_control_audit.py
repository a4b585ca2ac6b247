"""The journal of decisions: what stands in it, and that it stays small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bmslink.control.audit import Audit, Budget
from bmslink.control.decide.catalogue import default_policies
from bmslink.storage.journal import Journal
from control_support import LFP, Run, healthy, warm
from support import WHOLE_SWEEP

WHY = {"policies": "policy.toml", "sha256": "00ff"}


class Book:
    """A journal in memory."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def append(self, event: str, **data: Any) -> None:
        self.records.append({"event": event, **data})


def audited(run: Run, book: Book, **options: Any) -> Audit:
    audit = Audit("sim://jbd", WHY, shadow=True, append=book.append, **options)
    take = run._take

    def both(decision):
        audit(decision, run.engine.sample)
        return take(decision)

    run._take = both
    return audit


def test_a_change_says_who_why_inputs_before_and_after(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("USER", "ada")
    journal = Journal(tmp_path)
    run = Run(default_policies(LFP))
    book = Book()
    audited(run, book)
    run(healthy(), 60)
    count = len(book.records)
    run(healthy(), 60)
    assert len(book.records) == count  # nothing changes: nothing is written
    run(healthy(temperatures=warm(-8.0)), 30)
    record = next(r for r in book.records[count:] if not r["after"]["charge"]["allowed"])
    assert (record["event"], record["user"], record["shadow"]) == ("decision", "ada", True)
    assert (record["target"], record["policies"], record["sha256"]) == (
        "sim://jbd", "policy.toml", "00ff")  # fmt: skip
    assert record["before"]["charge"] == {"allowed": True, "because": []}
    assert any("coldest cell probe" in why for why in record["after"]["charge"]["because"])
    assert record["inputs"]["temperatures"]["cell_1"] == -8.0
    assert record["inputs"]["quality"]["cells"] == "good"
    journal.append(**record)
    (read,) = journal.records()
    assert read["after"] == json.loads(json.dumps(record["after"]))


def test_the_ramp_and_the_noise_of_a_derate_are_no_changes() -> None:
    run, book = Run(default_policies(LFP)), Book()
    audited(run, book)
    run(healthy(), 120)
    count = len(book.records)
    for n in range(200):
        run(healthy(3.46 + 0.001 * (n % 3)))
    assert len(book.records) <= count + 4


@pytest.mark.slow
@pytest.mark.sweep
def test_a_chattering_policy_does_not_fill_the_disk() -> None:
    """A pack that goes wild for two days, in `make soak` for a week, a change each second."""
    days = 7 if WHOLE_SWEEP else 2
    run, book = Run(default_policies(LFP)), Book()
    audit = Audit("x", WHY, shadow=True, append=book.append)
    calm, wild = run(healthy(), 5), run(healthy(3.46), 5)
    for second in range(days * 86400):
        decision = msgspec.structs.replace((calm, wild)[second % 2], time=1000.0 + second)
        audit(decision, run.engine.sample)
    assert len(book.records) < 60 + days * 144 + 2
    assert book.records[-1]["left_out"] > 100


def test_a_switch_is_written_down_though_the_rest_has_used_its_budget() -> None:
    run, book = Run(default_policies(LFP)), Book()
    audit = Audit("x", WHY, shadow=True, append=book.append)
    calm, limited = run(healthy(), 5), run(healthy(3.46), 5)
    for n in range(300):
        decision = msgspec.structs.replace((calm, limited)[n % 2], time=1000.0 + n)
        audit(decision, run.engine.sample)
    stopped = run(healthy(3.7), 5)
    assert not stopped.charge.allowed
    before = len(book.records)
    assert audit(stopped, run.engine.sample)
    assert len(book.records) == before + 1
    assert book.records[-1]["left_out"] > 0


def test_a_budget_refills() -> None:
    budget = Budget(2, 10.0)
    assert [budget.take(t) for t in (0.0, 0.0, 0.0, 9.0, 11.0, 11.5, 1e6, 1e6, 1e6)] == [
        True, True, False, False, True, False, True, True, False]  # fmt: skip
