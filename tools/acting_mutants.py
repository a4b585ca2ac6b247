"""Guards of acting, dropped one at a time, and whether the explorer or a test finds that out.

    python tools/acting_mutants.py [--only N ...] [--check]

Each row puts another text in the place of one that is there exactly once, in a copy of the package.
A row that names a plan is found by `explore_acting`, one that names a test by pytest. The exit code
is 1 where one is not found. `--check` only looks whether all texts are there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

__all__ = ["MUTANTS", "Mutant", "missing"]

ROOT = Path(__file__).resolve().parent.parent
_ACT = Path("src", "bmslink", "control", "act")
_PATIENCE = 300.0


class Mutant(NamedTuple):
    """One guard dropped."""

    module: str
    line: str
    instead: str
    by: str
    """`plan alphabet depth` of the explorer, or the name of a test."""


_ON = "steps/enabling.py"
_SEE = "steps/observing.py"
_DO = "steps/ordering.py"
_ASK = "steps/asking.py"
_HEED = "steps/heeding.py"
_ACTOR = "../../runtime/acting/pack_actor.py"
MUTANTS = (
    # switching on
    Mutant(_ON, "if record.prior is not True:", "if False:", "test_what_was_off_before"),
    Mutant(
        _ON,
        "    if not mandate.enforce:",
        "    if False:",
        "shadow all 4",
    ),
    Mutant(_ON, "if record.down is not None:", "if False:", "test_after_a_stand_down"),
    Mutant(
        _ON, "if wish.demand != Demand.FREE:", "if wish.demand >= Demand.OPEN:",
        "test_a_mirror_and_a_curve",
    ),
    Mutant(_ON, " or run.good < numbers.good_samples:", ":", "plain core 5"),
    Mutant(
        _ON,
        "if facts.shown(name) is not False or not record.confirmed:",
        "if False:",
        "test_an_off_that_is_not_read_back",
    ),
    Mutant(_ON, "if name in facts.protected:", "if False:", "test_a_protection_of_the_bms"),
    Mutant(_ON, "run.started + numbers.after_start,", "now,", "plain core 5"),
    Mutant(
        _ON,
        "numbers.min_off + (now if record.off_at is None else record.off_at),",
        "now,",
        "plain core 4",
    ),
    Mutant(
        _ON,
        "max((t + numbers.enable_apart for t in record.enables), default=now),",
        "now,",
        "plain core 5",
    ),
    Mutant(_ON, "if record.futile >= numbers.futile_enables:", "if False:", "plain core 4"),
    Mutant(
        _ON,
        "if sum(now - t < HOUR for t in record.enables) >= numbers.enables_an_hour:",
        "if False:",
        "tight core 6",
    ),
    Mutant(_ON, "if not budget_left(ledger, now, numbers):", "if False:", "tight core 6"),
    Mutant(_ON, "if not disk:", "if False:", "plain all 4"),
    # what a reading means
    Mutant(
        _SEE, "found = Meaning.FORGOT if restarted else Meaning.CLASH", "found = Meaning.CLASH",
        "plain core 6",
    ),
    Mutant(
        _SEE,
        "if order.over and now - order.at <= numbers.settle:\n            return",
        "if False:\n            return",
        "plain core 6",
    ),
    Mutant(
        _SEE,
        "if order.over and now - off_at <= numbers.settle and not restarted:",
        "if False:",
        "plain core 6",
    ),
    Mutant(_SEE, "if now - order.last <= numbers.settle and not over:", "if not over:",
           "plain core 5"),
    Mutant(_SEE, "if not record.confirmed:\n            return", "if True:\n            return",
           "plain core 6"),
    Mutant(
        _SEE,
        "record, own=False, confirmed=False, prior=None, futile=0, owner=owner, order=order",
        "record, futile=0, owner=owner, order=order",
        "plain core 5",
    ),
    # switching off
    Mutant(
        "reconciler.py", "if blind and not wish.by_person:", "if False:", "plain core 4"
    ),
    Mutant(
        "reconciler.py", "if record.seen is False and not coming_on:", "if record.seen is False:",
        "plain core 5",
    ),
    Mutant("reconciler.py", "if self.now - order.last < wait:", "if False:", "plain core 4"),
    Mutant(
        "reconciler.py", "order.tries <= numbers.quick_tries", "order.tries <= 99", "plain core 3"
    ),
    Mutant(
        "reconciler.py", "if not self.alive.get(name, False):\n            return True",
        "if False:\n            return True", "stubborn core 4",
    ),
    Mutant("reconciler.py", "elif self.now - record.waiting >= longest:", "elif True:",
           "alternator core 3"),
    Mutant("reconciler.py", "return current is not None and abs(current) < least", "return True",
           "stubborn core 3"),
    Mutant("reconciler.py", "if len(clashes) == 1:", "if True:", "plain core 5"),
    Mutant("reconciler.py", "elif down and not new:", "elif False:", "plain core 5"),
    Mutant(
        "reconciler.py", "new = not set(wish.emergencies) <= set(asserted)", "new = False",
        "test_an_emergency_while_we_stand_down",
    ),
    Mutant("reconciler.py", "and order.last >= held", "", "plain core 4"),
    Mutant("reconciler.py", "self.commands.sort(key=lambda command: command.on)", "",
           "test_an_off_goes_before_an_on"),
    # what is wanted
    Mutant("mandate.py", "if record.person:", "if False:", "plain core 3"),
    Mutant("mandate.py", "if ledger.stop is not None:", "if False:", "plain all 4"),
    Mutant("mandate.py", "if mandate.enforce and name in mandate.actuators:", "if True:",
           "shadow core 3"),
    Mutant("mandate.py", "if name == \"discharge\":", "if False:", "test_who_feeds_the_host"),
    Mutant(_ASK, "if wish.holders:", "if False:", "plain core 3"),
    Mutant(_ASK, "if record.seen is True and not going_off:", "if record.seen is True:",
           "test_a_persons_on_overtakes_an_off"),
    Mutant(_ASK, "if found[0].severity == Severity.EMERGENCY:", "if False:",
           "test_what_cannot_be_set_aside"),
    Mutant(_HEED, "        good = 0\n    elif", "        good = run.good\n    elif",
           "plain core 5"),
    Mutant(_HEED, "if facts.greeted or not ledger.run.heard:", "if False:", "plain core 6"),
    # what is remembered
    Mutant(_DO, "prior=record.seen if takes else record.prior,", "prior=True,",
           "test_what_was_off_before"),
    Mutant(_DO, "takes = not record.own and record.seen is not False", "takes = not record.own",
           "plain core 5"),
    Mutant(_DO, "writes=record.writes if repeat else _within(record.writes, now, DAY),",
           "writes=record.writes,", "tight core 6"),
    Mutant(_DO, "enables=_within(record.enables, now, HOUR),", "", "tight core 6"),
    Mutant("ledger.py", "last = now if order.on else now - max(order.last, _LONG_AGO)",
           "last = now - order.last", "test_an_off_from_before_a_restart"),
    Mutant("ledger.py", "elif sent.doubt:", "elif sent.others:", "test_what_a_frame_leaves"),
    Mutant("ledger.py", "at = now if order.on or order.over else", "at = now if order.on else",
           "test_after_a_restart_an_on"),
    Mutant(_DO, "seen=None if unread and record.seen is False else record.seen,",
           "seen=record.seen,", "test_an_off_over_an_on"),
    Mutant(_SEE, "off_at = order.at if record.off_at is None else record.off_at",
           "off_at = order.at", "test_an_off_that_is_over"),
    Mutant("reconciler.py", "held = record.held if self.ledger.run.heard else None",
           "held = record.held", "test_what_a_person_tried"),
    Mutant("reconciler.py", "if record is not before and record != before:",
           "if record is not before:", "test_what_holds_is_not_new"),
    # what waits
    Mutant(_ACTOR, "if now - order.at >= _ON_TAKES:", "if False:", "test_an_on_that_waited"),
    Mutant(_ACTOR, "if command.actuator in self._facts.protected:", "if False:",
           "test_a_protection_that_came"),
    Mutant(_ACTOR, "if self.ledger.record(name).order is order:", "if True:",
           "test_what_was_asked_before"),
)  # fmt: skip


def missing(root: Path = ROOT) -> list[str]:
    """The rows whose text is not there exactly once."""
    found = []
    for number, mutant in enumerate(MUTANTS, 1):
        count = (root / _ACT / mutant.module).read_text().count(mutant.line)
        if count != 1:
            found.append(f"{number}: {mutant.module} has {mutant.line!r} {count} times")
    return found


def _found(copy: Path, mutant: Mutant) -> tuple[bool, str]:
    """Whether it is found in a copy that has it, and the last line that tells so."""
    if mutant.by.startswith("test_"):
        command = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/control/act"]
        command += ["-k", mutant.by]
    else:
        plan, alphabet, depth = mutant.by.split()
        command = ["tools/explore_acting.py", "--plan", plan, "--alphabet", alphabet]
        command += ["--depth", depth]
    done = subprocess.run(
        [sys.executable, *command],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy / "src")},
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    told = next((line for line in lines if line.startswith("broken")), lines[-1] if lines else "")
    return done.returncode == 1, told


def _main() -> int:
    parser = argparse.ArgumentParser(description="Drop the guards of acting, one at a time.")
    parser.add_argument("--only", type=int, nargs="+", default=range(1, len(MUTANTS) + 1))
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    lost = missing()
    for line in lost:
        print(line)
    if lost or asked.check:
        return bool(lost)
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        leave = shutil.ignore_patterns("__pycache__")
        for name in ("src", "tools", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=leave)
        shutil.copy(ROOT / "pyproject.toml", copy)
        for number in asked.only:
            mutant = MUTANTS[number - 1]
            file = copy / _ACT / mutant.module
            whole = file.read_text()
            file.write_text(whole.replace(mutant.line, mutant.instead))
            began = time.monotonic()
            found, told = _found(copy, mutant)
            file.write_text(whole)
            survived += not found
            word = "found" if found else "SURVIVED"
            print(f"{number}: {word} by {mutant.by}, {time.monotonic() - began:.1f} s: {told}",
                  flush=True)  # fmt: skip
    print(f"{survived} of {len(asked.only)} survived")
    return bool(survived)


if __name__ == "__main__":
    sys.exit(_main())
