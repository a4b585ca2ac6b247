"""Pictures of packs over time: what is drawn is what was read, and nothing is made up."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from xml.parsers import expat

import pytest

from bmslink.errors import FrameError, UsageError
from bmslink.events import EventSeverity, PackEvent
from bmslink.model import Condition, Reading
from bmslink.reports import pictures
from bmslink.reports.pictures.condensed import Condensed
from bmslink.reports.pictures.page import integrity
from bmslink.reports.pictures.picture import Panel
from bmslink.reports.pictures.rows import hear_events, hear_page
from bmslink.reports.pictures.scales import number, scale_of, time_marks
from cli_support import Cli

START = datetime(2026, 11, 30, 6, tzinfo=UTC)
HOSTILE = '</script><script>alert(1)</script><b title="x">\x1b[31m\u2028]]>'


def at(seconds: float, **more: object) -> Reading:
    cells = (3.301, 3.305, 3.297)
    values: dict[str, object] = {
        "target": "sim://jbd", "protocol": "jbd", "voltage": 9.9, "current": -5.25, "soc": 61.5,
        "cell_voltages": cells, "temperatures": {"cell_1": 21.5, "mosfet": None},
        "conditions_known": True, "charging_allowed": True,
    }  # fmt: skip
    time = START + timedelta(seconds=seconds)
    return Reading(**{**values, **more, "time": time})


def track(readings: Iterable[Reading], name: str = "van") -> pictures.Track:
    made = pictures.Track(name, "sim://jbd")
    for each in readings:
        assert each.time is not None
        made.hear(each.time.timestamp(), each)
    return made


def logged(path: Path, readings: Iterable[Reading]) -> Path:
    path.write_text("".join(f"{json.dumps({'schema': 1, **r.to_dict()})}\n" for r in readings))
    return path


def curve(picture: pictures.Picture, title: str) -> pictures.Curve:
    found = [c for panel in picture.panels for c in panel.curves if c.title == title]
    assert len(found) >= 1, [c.title for panel in picture.panels for c in panel.curves]
    return found[-1]


class Page(HTMLParser):
    """The elements of a page, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.metas: list[dict[str, str | None]] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside = tag
        if tag == "script":
            self.texts.append("")
        if tag == "meta":
            self.metas.append(dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.texts[-1] += data


def tags_of(svg: str) -> list[str]:
    """The elements of an XML document; it fails where it is none."""
    tags: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, _: tags.append(name)
    parser.Parse(svg, True)
    return tags


def decoded(steps: Iterable[int | None], digits: int) -> Iterator[float | None]:
    last = 0
    for step in steps:
        if step is None:
            yield None
        else:
            last += step
            yield last / 10**digits


# -- condensing ----------------------------------------------------------------------------------


def test_extremes_survive_however_many_readings_there_are() -> None:
    kept = Condensed(100)
    values = [math.sin(n / 50) + (9 if n == 7777 else -9 if n == 3333 else 0) for n in range(20000)]
    for n, value in enumerate(values):
        kept.add(n * 5.0, {"a": value, "b": None})
    for most in (None, 10):
        slots = kept.slots(most)
        assert 2 <= len(slots) <= (most or 100)
        assert min(each.low[0] for each in slots) == min(values)
        assert max(each.high[0] for each in slots) == max(values)
        assert all(math.isnan(each.low[1]) for each in slots)
        assert (slots[0].first, slots[-1].last) == (0.0, 19999 * 5.0)
        assert not any(kept.breaks(slots))


def test_which_came_first_survives_being_joined() -> None:
    kept = Condensed(4)
    for n in range(64):
        kept.add(float(n), {"up": float(n), "down": float(-n)})
    for slot in kept.slots():
        if slot.low[0] != slot.high[0]:
            assert (slot.rising[0], slot.rising[1]) == (1, 0)


def test_a_column_that_comes_later_is_unknown_before() -> None:
    kept = Condensed(4)
    for n in range(40):
        kept.add(float(n), {"a": 1.0} if n < 20 else {"a": 1.0, "b": 2.0})
    slots = kept.slots()
    assert slots[-1].low[1] == slots[-1].high[1] == 2.0
    early = slots[0]
    assert len(early.low) == 1 or math.isnan(early.low[1])


def test_missing_time_is_a_gap_at_every_pace() -> None:
    for pace in (1.0, 5.0, 600.0):
        kept = Condensed()
        times = [n * pace for n in [*range(20), *range(40, 60)]]
        for time in times:
            kept.add(time, {"a": 1.0})
        breaks = kept.breaks(kept.slots())
        assert [n for n, each in enumerate(breaks) if each] == [20], pace


# -- pictures ------------------------------------------------------------------------------------


def test_values_are_those_that_were_read_and_gaps_are_gaps() -> None:
    readings = [at(5 * n, current=-5.25 + n, soc=None) for n in [*range(10), *range(500, 510)]]
    picture = pictures.make_picture([track(readings)])
    current = curve(picture, "Current")
    assert [v for v in current.values if v is not None] == [r.current for r in readings]
    assert current.values.count(None) == 1 and current.values[10] is None
    assert curve(picture, "Cell 2").values[0] == 3.305
    assert "State of charge, %" not in [f"{p.title}, {p.unit}" for p in picture.panels]
    assert not [c for p in picture.panels for c in p.curves if c.title == "MOSFET"], "no probe"
    deviation = next(p for p in picture.panels if p.view == "deviation")
    assert [round(v or 0, 6) for c in deviation.curves for v in c.values[:1]] == [0.0, 4.0, -4.0]


def test_one_reading_is_a_picture() -> None:
    picture = pictures.make_picture([track([at(0)])])
    assert picture.end > picture.start
    for text in (pictures.picture_svg(picture), pictures.picture_html(picture)):
        assert "van" in text
    with pytest.raises(UsageError, match="no reading"):
        pictures.make_picture([pictures.Track("empty")])


def test_conditions_and_switches_are_bands_with_their_times() -> None:
    tripped = {"protections": (Condition.CELL_OVERVOLTAGE,), "charging_allowed": False}
    readings = [at(5 * n, **(tripped if 10 <= n < 20 else {})) for n in range(30)]
    readings += [at(5 * n, **tripped) for n in range(30, 33)]
    lanes = {lane.title: lane for lane in pictures.make_picture([track(readings)]).lanes}
    assert lanes["Cell overvoltage"].severity.rank >= EventSeverity.ALARM.rank
    begin = START.timestamp()
    for title in ("Cell overvoltage", "Charging off"):
        first, last = lanes[title].bands
        assert (first.start, first.end, first.lasting) == (begin + 50, begin + 100, False)
        assert (last.start, last.end, last.lasting) == (begin + 150, begin + 160, True)


def test_what_was_not_read_is_not_said_to_last() -> None:
    tripped = {"protections": (Condition.CELL_OVERVOLTAGE,)}
    readings = [at(5 * n, **tripped) for n in [*range(20), *range(2000, 2020)]]
    (lane,) = pictures.make_picture([track(readings)]).lanes
    assert [round(band.end - band.start) for band in lane.bands] == [95, 95]


def test_chattering_stays_bounded() -> None:
    tripped = {"alarms": (Condition.SOC_LOW,)}
    readings = (at(5 * n, **(tripped if n % 2 else {})) for n in range(8000))
    (lane,) = pictures.make_picture([track(readings)]).lanes
    assert 1 <= len(lane.bands) <= 1500
    assert lane.bands[0].start == START.timestamp() + 5


def test_packs_share_one_axis_of_time() -> None:
    one = track((at(5 * n) for n in range(10)), "a")
    other = track((at(1000 + 5 * n, current=3.0) for n in range(10)), "a")
    picture = pictures.make_picture([one, other])
    assert [*picture.packs] == ["a", "a (sim://jbd)"]
    assert (picture.start, picture.end) == (START.timestamp(), START.timestamp() + 1045)
    current = next(p for p in picture.panels if p.title.startswith("Current"))
    assert [c.title for c in current.curves] == [*picture.packs]


def test_a_year_stays_a_few_megabytes() -> None:
    kept = track(at(n * 3600.0, current=math.sin(n)) for n in range(365 * 24))
    text = pictures.picture_html(pictures.make_picture([kept] * 1))
    assert len(text) < 3_000_000
    assert len(pictures.picture_svg(pictures.make_picture([kept], slots=400))) < 600_000


def test_rows_of_a_history_keep_their_extremes_and_limits() -> None:
    made = pictures.Track("van", values=Condensed(step=60.0))
    page = {
        "resolution": "minute",
        "fields": ["time", "voltage", "voltage_min", "voltage_max", "ccl", "charging_allowed"],
        "rows": [
            [f"{START + timedelta(minutes=n)}", 50.0, 49.0, 52.5, 80.0, 0.5 if n == 2 else 1]
            for n in (0, 1, 2, 3, 8, 9)
        ],
    }  # fmt: skip
    hear_page(made, page)
    event = PackEvent(
        "policy", "Charging stopped.", EventSeverity.ALARM, "van",
        since=START, until=START + timedelta(minutes=3), key="policy/x",
    )  # fmt: skip
    hear_events(made, [event, PackEvent("change", "Set.", pack="van", time=START)], START)
    picture = pictures.make_picture([made], show=("voltage", "events"))
    voltage = curve(picture, "Voltage")
    assert {*voltage.known()} == {49.0, 52.5}
    assert voltage.values.count(None) == 1, "minutes 4 to 7 are missing"
    assert {lane.title for lane in picture.lanes} == {"Charging off", "Policy"}
    assert [m.text for m in picture.markers] == ["Set."]


# -- writers -------------------------------------------------------------------------------------


def test_the_page_holds_the_readings_to_the_digit() -> None:
    readings = [at(5 * n, current=round(-5.25 + n / 7, 2)) for n in range(40)]
    page = Page(pictures.picture_html(pictures.make_picture([track(readings)])))
    data = json.loads(page.texts[0])
    panel = next(p for p in data["panels"] if p["title"].startswith("Current"))
    (only,) = panel["curves"]
    assert [*decoded(only["values"], panel["digits"])] == [r.current for r in readings]
    times = [*decoded(data["timelines"][only["line"]], 3)]
    assert times == [START.timestamp() + 5 * n for n in range(40)]


def test_names_from_outside_run_nowhere() -> None:
    made = track((at(5 * n) for n in range(5)), HOSTILE)
    made.markers.append(pictures.Marker(START.timestamp(), HOSTILE, EventSeverity.INFO, HOSTILE))
    picture = pictures.make_picture([made, track((at(n) for n in range(3)), "b")], notes=[HOSTILE])
    text = pictures.picture_html(picture)
    page = Page(text)
    assert page.tags.count("script") == 4 and page.tags.count("b") == 0
    assert json.loads(page.texts[0])["packs"][0] == HOSTILE
    policy = next(m["content"] or "" for m in page.metas if "http-equiv" in m)
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    for script in page.texts[1:]:
        assert integrity(script) in policy
    assert not re.findall(r"(?:src|href)\s*=", text.partition("<script>const")[0])
    assert {*tags_of(pictures.picture_svg(picture))} <= {
        *("svg", "title", "style", "rect", "text", "line", "path"),
    }
    lines = [*pictures.picture_lines(picture, width=80, colour=False, ascii_only=True)]
    assert all("\x1b" not in line for line in lines)


def test_the_terminal_picture_fits_and_speaks_ascii() -> None:
    picture = pictures.make_picture([track(at(5 * n, current=n - 20.0) for n in range(40))])
    for width in (40, 80, 133):
        lines = [*pictures.picture_lines(picture, width=width, colour=False, ascii_only=True)]
        drawn = [line for line in lines if line.startswith((" ", "+")) and "|" in line]
        assert drawn and all(len(line) <= width for line in drawn)
        assert all(line.isascii() for line in drawn)


def test_marks_of_time_and_numbers() -> None:
    start = START.timestamp()
    for span in (60, 3600, 86400, 7 * 86400, 400 * 86400):
        marks = time_marks(start, start + span, 8, zone=UTC)
        assert 2 <= len(marks) <= 9 and all(start <= time <= start + span for time, _ in marks)
    assert number(-0.001, 2) == "0.00" and number(None, 1) == "not known"
    assert number(-1.25, 2) == "\N{MINUS SIGN}1.25"


# -- the command ---------------------------------------------------------------------------------


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.chdir(tmp_path)
    return Cli(capsys, alone=True)


def test_plot_of_logs(cli: Cli, tmp_path: Path) -> None:
    log = logged(tmp_path / "a.jsonl", (at(60 * n, name="van") for n in range(120)))
    done = cli("plot", str(log), "--last", "1h", "--json")
    found = json.loads(done.out)
    assert found["packs"] == ["van"] and found["start"] == "2026-11-30T06:59:00.000Z"
    assert "Cells, from their mean, mV" in cli("plot", str(log)).out
    assert "Cell voltages, V" in cli("plot", str(log), "--cells", "voltage").out
    assert cli("plot", str(log), "-o", "a.html").code == 0
    assert cli("plot", str(log), "-o", "a.html").code == 2, "it is there already"
    assert cli("plot", str(log), "-o", "a.svg", "--force").code == 0
    assert "path" in tags_of((tmp_path / "a.svg").read_text())


def test_plot_says_what_is_wrong(cli: Cli, tmp_path: Path) -> None:
    log = logged(tmp_path / "a.jsonl", [at(0)])
    (tmp_path / "junk.csv").write_text("nothing\n")
    (tmp_path / "empty").write_bytes(b"")
    for words, code, said in (
        (["gone.csv"], 1, "no file gone.csv"),
        (["van"], 1, "no service runs"),
        (["sim://jbd"], 2, "bmslink log"),
        (["junk.csv"], 1, "no reading"),
        (["empty"], 1, "no reading"),
        (["a.jsonl", "--show", "colour"], 2, "There are cells"),
        (["a.jsonl", "--cells", "both"], 2, "deviation or voltage"),
        (["a.jsonl", "--pack", "bus"], 2, "there is: sim://jbd"),
        (["a.jsonl", "--since", "2027-01-01"], 2, "no reading in that time"),
        (["a.jsonl", "-o", "a.png"], 2, ".html or .svg"),
    ):
        done = cli("plot", *words)
        assert (done.code, said in done.err) == (code, True), (words, done)
    assert log.exists()


def test_a_file_without_readings_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FrameError):
        pictures.Sources().add_file(logged(tmp_path / "none.jsonl", []))


def test_a_difference_has_no_scale_below_zero() -> None:
    panel = Panel(title="", unit="mV", digits=0, curves=[], zero=True, least=10.0)
    assert (scale_of(panel).low, scale_of(panel).high) == (0.0, 10.0)
