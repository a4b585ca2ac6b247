"""Our decoder is compared with what independent programs said; a change in that is noticed."""

from __future__ import annotations

import ast
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import evidence_page
import goldens
import recorded_verdicts
import verify
from counterparts import missing
from verdict_reasons import REASONS, Ours

RECORD: dict[str, list[dict[str, Any]]] = json.loads(recorded_verdicts.RECORD.read_text())
GOLDENS = [json.loads(goldens.golden_path(path).read_text()) for path in goldens.captures()]


def capture(name: str) -> tuple[Any, Any]:
    return verify.whole_capture(next(goldens.FIXTURES.glob(f"*/{name}.jsonl")))


def test_the_record_has_every_program_and_only_captures_that_exist() -> None:
    said = {verdict["program"] for verdicts in RECORD.values() for verdict in verdicts}
    assert said == {f"{p.name} {p.version}" for p in verify.PROGRAMS}
    assert set(RECORD) <= {path.stem for path in goldens.captures()}


def test_a_wrong_value_in_the_record_is_a_disagreement(monkeypatch: pytest.MonkeyPatch) -> None:
    header, pieces = capture("jk02-32s-8s-9pct")
    said = json.loads(json.dumps(RECORD[header.id]))
    tallies = recorded_verdicts.compared(header, pieces)
    assert set(tallies) == {"aiobmsble 0.31.0", "jkctl 0.2.0", "mppsolar 0.16.56"}
    said[0]["values"]["current"] += 0.01
    monkeypatch.setattr(recorded_verdicts, "_record", lambda: {header.id: said})
    with pytest.raises(AssertionError, match=r"aiobmsble.*current"):
        recorded_verdicts.compared(header, pieces)


@pytest.mark.parametrize(
    ("program", "protocol", "key", "theirs", "ours", "reason"),
    [
        ("aiobmsble 1", "jk02", "temperatures", [2.5, 2.5, 6.0], [2.5, 6.0], "mosfet-twice"),
        ("aiobmsble 1", "jk02", "temperatures", [2.5, 2.5, 6.0], [2.5, 6.1], None),
        ("aiobmsble 1", "jbd", "temperatures", [-30.0, 24.8], [24.8], "probe-not-fitted"),
        ("aiobmsble 1", "jbd", "temperatures", [-29.0, 24.8], [24.8], None),
        ("jkctl 1", "jbd", "temperatures", [-30.0, 24.8], [24.8], None),
        ("aiobmsble 1", "jk02", "current", 1.0, None, None),
        ("ecoworthy-logger 1", "jbd", "current", 649.32, -6.04, "unsigned-current"),
        ("ecoworthy-logger 1", "jbd", "current", 649.32, -6.05, None),
        ("bmstools 1", "jbd", "current", -0.58, -5.8, None),  # without the flag of large packs
        ("bmstools 1", "jbd", "current", -0.01, -13.2, None),  # nor Daren's layout
        ("mppsolar 1", "jk02", "uptime", 3883523, 20660739.0, "three-bytes-of-uptime"),
        ("mppsolar 1", "jk02", "uptime", 3883524, 20660739.0, None),
    ],
)
def test_a_reason_covers_its_own_difference_only(
    program: str, protocol: str, key: str, theirs: Any, ours: Any, reason: str | None
) -> None:
    found = recorded_verdicts.judge(program, protocol, key, theirs, Ours({key: ours}, {}, []))
    assert not found.agrees
    assert (found.reason.name if found.reason else None) == reason
    assert found.explained is (reason is not None)


def test_tenfold_units_explain_what_the_frame_says_is_tenfold() -> None:
    def why(theirs: float, ours: float, **frame: Any) -> str | None:
        said = Ours({"current": ours}, {}, [frame])
        reason = recorded_verdicts.judge("bmstools 1", "jbd", "current", theirs, said).reason
        return reason.name if reason else None

    assert why(-0.58, -5.8, scale_and_humidity=0x88) == "bmstools-tenfold"
    assert why(-0.58, -58.0, scale_and_humidity=0x88) is None
    assert why(-0.58, -5.8, scale_and_humidity=0x08) is None
    assert why(-0.01, -13.2, variant="daren") == "bmstools-tenfold"


def test_every_reason_is_needed() -> None:
    used = {
        name for gold in GOLDENS for tally in gold.get("compared", {}).values() for name in tally
    }
    names = [reason.name for reason in REASONS]
    assert len(set(names)) == len(names)
    assert set(names) == used - {"agree"}


def test_what_only_our_notes_expect_is_no_source() -> None:
    path = next(goldens.FIXTURES.glob("*/jk02-b2a25s-bit4.jsonl"))
    found = goldens.decode(path)
    assert goldens.expected(found.header)["protections"] == ["cell_overvoltage"]
    assert goldens.verified_by(found, {}) == "expectation"
    assert evidence_page.kinds({"verified_by": "expectation"}) == {"expectation"}
    assert evidence_page.kinds({"verified_by": "source, x 1"}) == {"source", "program", "either"}
    assert evidence_page.kinds({"verified_by": "none", "logs": [{}]}) == {"none"}
    assert evidence_page.kinds({"verified_by": "none"}) == {"without values"}


def test_bare_payloads_are_compared_too() -> None:
    header, pieces = capture("daly-can-2x8s-212")
    assert set(recorded_verdicts.compared(header, pieces)) >= {"dalybms 0.5.0", "powermon 1.0.18"}


@pytest.mark.parametrize("program", verify.PROGRAMS, ids=lambda p: p.name)
def test_an_adapter_shares_no_code_with_us(program: verify.Program) -> None:
    for path in (program.adapter, verify.PEERS / "answering.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                top = name.partition(".")[0]
                assert top == "answering" or not (Path("src", top).exists() or top in OWN), name


OWN = {path.stem for path in Path(verify.__file__).parent.glob("*.py")} | {"bmslink"}


@pytest.mark.parametrize("name", ["bmstools", "dalybms", "pydalybms"])
def test_the_record_is_what_the_installed_programs_say(name: str) -> None:
    """The ordinary lane has these three; the others are asked by `make verify`."""
    if find_spec(name) is None:
        missing(name)
    (program,) = [p for p in verify.PROGRAMS if p.name == name]
    folders = ("jbd",) if name == "bmstools" else ("daly-a5", "daly-can")
    asked = [
        verify.as_asked(*verify.whole_capture(path))
        for path in goldens.captures()
        if path.parent.name in folders
    ]
    said = verify.ask(program, sys.executable, json.dumps(asked))
    title = f"{program.name} {program.version}"
    recorded = {k: [v for v in vs if v["program"] == title] for k, vs in RECORD.items()}
    assert said == {k: vs for k, vs in recorded.items() if vs}


def test_a_program_without_a_python_keeps_its_record_and_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(verify, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(verify, "PYTHONS", ["no-such-python"])
    record, unasked = verify.gathered("[]")
    assert record.keys() == RECORD.keys()
    assert len(unasked) == len(verify.PROGRAMS)
    assert "jkctl 0.2.0 could not be asked: needs Python 3.11 or newer" in " ".join(unasked)
