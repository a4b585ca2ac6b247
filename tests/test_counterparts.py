"""What is missing is skipped by name, and fails where it has to be there."""

from __future__ import annotations

import pytest

import counterparts


def test_a_missing_program_is_skipped_by_name_and_fails_where_it_is_required(monkeypatch):
    monkeypatch.delenv("BMSLINK_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        counterparts.require("no-such-program")
    monkeypatch.setenv("BMSLINK_REQUIRE", "sh no-such-program")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        counterparts.require("no-such-program")
    with pytest.raises(pytest.skip.Exception):
        counterparts.require("no-such-progra")
    assert counterparts.require("sh").endswith("sh")
