"""Four owners, their month and their fault: `tools/owners.py`, in small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import month_log
import owners
from bmslink.model import Reading
from lives import LIVES
from owners import OWNERS, Owner
from support import WHOLE_SWEEP

_TRIED = OWNERS if WHOLE_SWEEP else OWNERS[::3]
"""`tools/owners.py` plays all of them, a month each."""


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.parametrize("owner", _TRIED, ids=lambda owner: owner.name)
def test_an_owner_sees_quiet_days_and_a_real_fault_in_words(owner: Owner, tmp_path: Path) -> None:
    seen = owners.play(owner, tmp_path, days=1.0)
    assert seen.good, seen
    assert seen.samples == 2880


def test_a_month_log_is_what_read_prints(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["14.4 V", "--days", "0.01", "--every", "60", "--probes", "a", "b", "m", "silent"]
    assert month_log.main(asked) == 0
    told = [Reading.from_dict(json.loads(line)) for line in capsys.readouterr().out.splitlines()]
    assert len(told) == 14
    assert list(told[0].temperatures) == ["a", "b", "m", "silent"]
    assert told[0].temperatures["silent"] is None
    assert (told[1].time - told[0].time).total_seconds() == 60
    assert month_log.main(["--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [life.name for life in LIVES]
    assert month_log.main(["no such life"]) == 2
