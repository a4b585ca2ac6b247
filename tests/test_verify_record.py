"""Our decoder is compared with what independent programs said; a change in that is noticed."""

from __future__ import annotations

import json

import pytest

import goldens
import independent
import recorded_verdicts


def test_the_record_covers_the_streaming_protocols() -> None:
    record = json.loads(recorded_verdicts.RECORD.read_text())
    assert len(record) > 100
    ids = {path.stem for path in goldens.captures()}
    assert not set(record) - ids


def test_a_wrong_value_in_the_record_is_a_disagreement(monkeypatch: pytest.MonkeyPatch) -> None:
    path = next(goldens.FIXTURES.glob("jk02/jk02-32s-8s-9pct.jsonl"))
    found = goldens.decode(path)
    said = json.loads(recorded_verdicts.RECORD.read_text())[path.stem]
    assert independent.decoder_of(found.header, found.pieces) == said[0]["program"]
    said[0]["values"]["current"] += 0.01
    monkeypatch.setattr(recorded_verdicts, "_record", lambda: {path.stem: said})
    with pytest.raises(AssertionError, match="current"):
        independent.decoder_of(found.header, found.pieces)


def test_an_explanation_covers_its_own_difference_only() -> None:
    differs = recorded_verdicts.differs
    assert not differs("jk02", "temperatures", [2.5, 2.5, 6.0], [2.5, 6.0])
    assert differs("jk02", "temperatures", [2.5, 2.5, 6.0], [2.5, 6.1])
    assert not differs("jbd", "temperatures", [-30.0, 24.8], [24.8])
    assert differs("jbd", "temperatures", [-29.0, 24.8], [24.8])
    assert differs("jk02", "current", 1.0, None)
