"""Branches are counted in the tests that are to be counted, and in no others."""

from __future__ import annotations

import sys

import pytest
from coverage import Coverage

from bmslink.protocols.common.rtu import crc16


def test_a_test_that_is_not_counted_is_not_slowed_down_by_counting() -> None:
    crc16(b"kept")
    assert Coverage.current() is None
    assert "coverage" not in type(sys.gettrace()).__module__


@pytest.mark.counted
def test_one_that_is_counted_takes_its_branches_itself(request: pytest.FixtureRequest) -> None:
    if Coverage.current() is None:
        pytest.skip("nothing is counted")
    assert "coverage" in type(sys.gettrace()).__module__
    assert not crc16.cache_info().currsize, "a result that an uncounted test left"
