"""The soak of `tools/soak_control.py`, in small."""

from __future__ import annotations

import pytest

import soak_control
from soak_control import STORIES, Story
from support import WHOLE_SWEEP

pytestmark = pytest.mark.slow


def test_two_thousand_violations_and_none_is_missed() -> None:
    tally = soak_control.violate(2000, seed=5, period=10.0)
    assert tally.total >= 2000
    assert tally.missed == []
    assert set(tally.injected) == {kind.policy for kind in soak_control.KINDS}
    assert tally.lost > 40
    assert max(tally.within(name, 1.0) for name in tally.injected) <= 80


@pytest.mark.sweep
def test_a_day_without_a_violation_has_no_trip() -> None:
    period = 10.0 if WHOLE_SWEEP else 20.0
    false, wire = soak_control.quiet(1, seed=5, period=period)
    assert false == {}
    assert wire.samples == 86400 / period
    assert wire.lost > 20


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_stories_are_seen(story: Story) -> None:
    assert soak_control.tell(story, seed=5, period=30.0 if story.hours > 4 else 10.0)


def test_the_soak_fails_where_something_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A soak that cannot fail proves nothing."""
    rows = dict(soak_control._ROW)
    monkeypatch.setattr(soak_control, "_PATIENCE", -1)
    tally = soak_control.violate(20, seed=5, period=10.0)
    assert tally.missed
    assert rows == soak_control._ROW
