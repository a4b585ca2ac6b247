"""What records say of a change, whatever is in them."""

from __future__ import annotations

from bmslink.config.records.edits import adjusted, changes_of, edits_of, value_in_words


def test_damaged_records_are_passed_over() -> None:
    begin = {"event": "begin", "id": "a", "changes": [3, {"settings": 4}, {"settings": [5, {}]}]}
    records = [{"event": "begin", "id": ["x"]}, begin, {"event": "end"}, {"event": "end", "id": 1}]
    assert changes_of(records) == [(begin, None)]
    assert [*edits_of(begin)] == [{}]
    assert [*edits_of({"changes": "all"})] == []
    assert adjusted({"adjust": 3}) == ""


def test_values_are_said_with_their_unit() -> None:
    said = [value_in_words(value, "V") for value in (3.65, True, None, "lfp")]
    assert said == ["3.65 V", "on", "unknown", "lfp"]
    assert adjusted({"adjust": {"soc": 80, "clock": None}}) == "soc 80"
