"""The commissioning report: what it says is what is known, and what is not known is said."""

from __future__ import annotations

import dataclasses
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from test_pictures import HOSTILE, at, logged

from bmslink.model import Identity, Reading
from bmslink.packs import NamedPack
from bmslink.reports import sheet
from bmslink.reports.sheet.blocks import FactRows, Paragraphs, Section, SheetTable
from bmslink.reports.sheet.sections import pack_sections
from bmslink.storage.journal import Journal
from bmslink.target import resolve
from cli_support import Cli


@pytest.fixture(autouse=True)
def own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))
    monkeypatch.setenv("BMSLINK_CONFIG", str(tmp_path / "bmslink.toml"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.chdir(tmp_path)


class Texts(HTMLParser):
    """The tags and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())


def section(pack: sheet.PackSheet, title: str) -> Section:
    return next(each for each in pack_sections(pack) if each.title == title)


def facts(pack: sheet.PackSheet, title: str) -> dict[str, str]:
    blocks = section(pack, title).blocks
    return {k: v for each in blocks if isinstance(each, FactRows) for k, v in each.rows}


def table(pack: sheet.PackSheet, title: str) -> SheetTable:
    return next(b for b in section(pack, title).blocks if isinstance(b, SheetTable))


def said(pack: sheet.PackSheet, title: str) -> str:
    blocks = section(pack, title).blocks
    return " ".join(line for b in blocks if isinstance(b, Paragraphs) for line in b.lines)


EMPTY = sheet.PackSheet(title="empty", target="jbd+serial:///dev/ttyUSB0", error="It is silent.")


def test_what_is_not_known_is_said_and_never_zero() -> None:
    text = sheet.sheet_html(sheet.Sheet(title="x", packs=[EMPTY]))
    page = Texts(text)
    assert "It is silent." in page.texts and page.texts.count("Not known: It is silent.") >= 6
    who = facts(EMPTY, "Identity")
    assert who.pop("Target") == EMPTY.target
    assert {*who.values()} == {"not known"}
    tests = facts(EMPTY, "Tests")
    assert tests["Capacity found"].startswith("not done")
    assert "script" not in page.tags


def test_a_reading_is_shown_to_its_digits() -> None:
    pack = dataclasses.replace(EMPTY, error="", reading=at(0, soh=None))
    state = facts(pack, "State")
    assert state["Voltage"] == "9.90\N{NO-BREAK SPACE}V"
    assert state["Current, charging is positive"] == "\N{MINUS SIGN}5.25\N{NO-BREAK SPACE}A"
    assert state["State of health (from the board)"] == "not known"
    assert state["Tripped"] == "none"
    rows = table(pack, "Cells").rows
    assert [row[1] for row in rows] == ["3.301", "3.305", "3.297"]
    assert [row[2] for row in rows] == ["0.0", "4.0", "\N{MINUS SIGN}4.0"]
    assert [row[4] for row in rows] == ["", "highest", "lowest"]
    assert facts(pack, "Temperatures") == {
        "At the cells 1": "21.5\N{NO-BREAK SPACE}°C", "MOSFET": "not known",
    }  # fmt: skip
    unread = dataclasses.replace(pack, reading=dataclasses.replace(at(0), conditions_known=False))
    assert facts(unread, "State")["Tripped"] == "not known"


def test_tests_and_journal_say_what_was_done() -> None:
    cells = {"cells": [3.45, 3.61]}
    report = {
        "began": "2026-11-30T06:00:00Z", "who": "ann", "text": "It is done.", "hours": 3.5,
        "before": cells, "at_top": None, "after": {"cells": [3.44, 3.445]},
        "set_back": {"restored": True},
    }  # fmt: skip
    begin = {
        "event": "begin", "id": "1", "time": "2026-11-30T06:00:00Z", "user": "ann",
        "changes": [{"settings": [{"key": "cell_ovp", "old": 3.65, "new": 3.6, "unit": "V"}]}],
    }  # fmt: skip
    cut = {"event": "begin", "id": "2", "time": "2026-11-30T07:00:00Z", "switch": "charge"}
    drill = {
        "event": "drill", "phase": "end", "switch": "charge", "result": "passed", "off_s": 0.4,
        "on_s": 0.6, "time": "2026-11-30T08:00:00Z",
    }  # fmt: skip
    life = {"capacity": {"now": {"value": 96.2, "uncertainty": 1.5}, "of_nominal": 96.2}}
    pack = dataclasses.replace(
        EMPTY, error="", balance=report, life=life, drills=[drill],
        journal=[begin, cut, {"event": "end", "id": "1", "outcome": "done"}],
    )  # fmt: skip
    tests = facts(pack, "Tests")
    assert tests["Difference before"].startswith("160\N{NO-BREAK SPACE}mV")
    assert tests["Difference when the top was reached"] == "not known"
    assert tests["Settings set back"] == "yes, read back"
    assert tests["Capacity found"].startswith("96.2\N{NO-BREAK SPACE}Ah")
    assert table(pack, "Tests").rows[0][1:4] == ["charge", "passed", "0.4\N{NO-BREAK SPACE}s"]
    changes = table(pack, "What was changed, when and by whom").rows
    assert [row[1:] for row in changes] == [
        ["ann", "cell_ovp: 3.65 V to 3.6 V", "done"],
        ["not known", "charge switched off", "cut off"],
    ]


def test_foreign_text_is_text() -> None:
    who = Identity(vendor=HOSTILE, model=HOSTILE, serial_number=HOSTILE, protocol="jbd")
    pack = dataclasses.replace(EMPTY, title=HOSTILE, target=HOSTILE, identity=who, error=HOSTILE)
    both = sheet.Sheet(title=HOSTILE, packs=[pack, pack], customer=HOSTILE, installer=HOSTILE)
    page = Texts(sheet.sheet_html(both))
    assert "script" not in page.tags and "b" not in page.tags


async def test_a_simulated_pack_has_its_report(tmp_path: Path) -> None:
    endpoint = resolve("sim://jbd?cells=8&seed=3")
    named = NamedPack("van", str(endpoint), pin="471108", chemistry="lfp")
    before = [*Journal().records()]
    pack = await sheet.sheet_of_pack(endpoint, named=named)
    assert [*Journal().records()] == before, "nothing is written"
    assert pack.error == "" and facts(pack, "Identity")["Vendor"] == "JBD"
    assert "differ" in said(pack, "Settings against the profile")
    rows = table(pack, "Settings against the profile")
    assert pack.compared is not None
    assert rows.marked == frozenset(n for n, each in enumerate(pack.compared) if each.differs)
    assert [*rows.marked] == [*range(len(rows.marked))], "differences come first"
    assert len(table(pack, "Cells").rows) == 8
    assert "None: no policy file" in said(pack, "Policies in force")
    text = sheet.sheet_html(sheet.Sheet(title="Van", packs=[pack]))
    assert "471108" not in text and "Signatures" in text


def test_reports_of_recordings_and_their_errors(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cli = Cli(capsys, alone=True)
    logged(tmp_path / "a.jsonl", (at(60 * n, name="van") for n in range(60)))
    done = cli("report", "a.jsonl", "-o", "a.html", "--title", "Boat", "--json")
    assert done.code == 0 and json.loads(done.out)["packs"][0]["pack"] == "van"
    text = (tmp_path / "a.html").read_text()
    page = Texts(text)
    assert "Boat" in page.texts and "svg" in page.tags
    assert "Not known: this report was made from a recording." in page.texts
    for words, code, said_so in (
        (["a.jsonl", "-o", "a.html"], 2, "exists already"),
        (["a.jsonl", "-o", "a.pdf"], 2, ".html"),
        (["gone.jsonl", "-o", "b.html"], 1, "no file"),
        (["nobody", "-o", "b.html"], 2, "nobody"),
        (["a.jsonl", "-o", "b.html", "--pack", "bus"], 2, "nothing of"),
    ):
        done = cli("report", *words)
        assert (done.code, said_so in done.err) == (code, True), (words, done)
    assert not (tmp_path / "b.html").exists()


def test_a_bank_has_an_overview_and_a_part_for_each_pack(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "bmslink.toml").write_text(
        '[packs.one]\ntarget = "sim://jbd?seed=1"\n[packs.two]\ntarget = "sim://jk02?seed=2"\n'
        '[banks.house]\npacks = ["one", "two"]\nconnection = "parallel"\n'
    )
    done = Cli(capsys, alone=True)("report", "house", "-o", "house.html")
    assert done.code == 0, done
    texts = Texts((tmp_path / "house.html").read_text()).texts
    assert texts.count("Overview") == 1 and texts.count("Identity") == 2
    assert "in parallel" in texts and "2, of which 2 were read" in texts


def test_an_empty_reading_makes_a_page() -> None:
    pack = dataclasses.replace(EMPTY, error="", reading=Reading(protocol="jbd"))
    assert "not known" in sheet.sheet_html(sheet.Sheet(title="x", packs=[pack, pack]))
