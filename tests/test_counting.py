"""Branches are counted in the tests that are to be counted, and in no others."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from coverage import Coverage

from bmslink.protocols.common.rtu import crc16
from support import TESTS


@pytest.fixture
def hooks(request: pytest.FixtureRequest) -> Any:
    return request.config.pluginmanager.get_plugin(str(TESTS / "conftest.py"))


def test_a_test_that_is_not_counted_is_not_slowed_down_by_counting(hooks: Any) -> None:
    assert Coverage.current() is None
    assert "coverage" not in type(sys.gettrace()).__module__


@pytest.mark.counted
def test_one_that_is_counted_takes_its_branches_itself(hooks: Any) -> None:
    if Coverage.current() is None:
        pytest.skip("nothing is counted")
    assert "coverage" in type(sys.gettrace()).__module__
    assert not hooks.uncounted, "results that uncounted tests left"


def test_what_functions_of_the_protocols_keep_is_forgotten(hooks: Any) -> None:
    assert hooks.uncounted
    crc16(b"kept")
    hooks._forget_uncounted()
    assert not crc16.cache_info().currsize
    hooks.uncounted.append("this one")
