"""Pages as a real browser sees them: nothing complains, all charts zoom, print is whole."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_pictures import HOSTILE, at, track
from test_sheet import EMPTY

from bmslink.reports import pictures, sheet
from browser import Browser, Page, browser

pytestmark = [pytest.mark.slow, pytest.mark.needs(program="chromium")]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as made:
        yield made


def test_a_picture_is_drawn_zooms_and_asks_nobody(chromium: Browser, tmp_path: Path) -> None:
    readings = [at(5 * n, current=n / 10) for n in [*range(200), *range(400, 600)]]
    packs = [track(readings, "a"), track(readings[::2], HOSTILE)]
    file = tmp_path / "a.html"
    limits = {"cell_ovp": 3.65, "pack_ovp": 10.0}
    file.write_text(pictures.picture_html(pictures.make_picture(packs, limits=limits)))
    page = Page(chromium, file)
    count = page.value("document.querySelectorAll('canvas').length")
    assert int(page.value("document.documentElement.dataset.ready")) == count >= 6
    drawn = (
        "[...document.querySelectorAll('section:not([hidden]) canvas')].every((c) => "
        "c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v))"
    )
    assert page.value(drawn) is True
    box = page.value(
        "(() => { const b = document.querySelector('section:not([hidden]) .u-over')"
        ".getBoundingClientRect(); return [b.left, b.width, b.top + b.height / 2]; })()"
    )
    page.drag(box[0] + box[1] * 0.25, box[0] + box[1] * 0.5, box[2])
    spans = page.value(
        "[...document.querySelectorAll('section')].map((s) => s.chart.scales.x)"
        ".map((x) => [x.min, x.max])"
    )
    begin, length = readings[0].time, 5 * 599
    assert begin is not None
    low, high = spans[0]
    assert low == pytest.approx(begin.timestamp() + length * 0.25, abs=30)
    assert high == pytest.approx(begin.timestamp() + length * 0.5, abs=30)
    assert all(span == spans[0] for span in spans), "all charts move together"
    for name in ("Whole time", "Cells: voltage", "Limits on the scale"):
        found = f"[...document.querySelectorAll('button')].find((b) => b.textContent == '{name}')"
        page.value(f"{found}.click()")
    assert page.value("document.querySelector('[data-view=voltage].panel').hidden") is False
    page.dark(on=True)
    assert pages_of(page.pdf()) >= 2
    assert page.complaints == []
    assert page.requests == [file.as_uri()]


def test_a_report_prints_whole_on_a4_and_letter(chromium: Browser, tmp_path: Path) -> None:
    cells = tuple(3.3 + n / 1000 for n in range(16))
    pack = dataclasses.replace(EMPTY, error="", reading=at(0, cell_voltages=cells))
    for count, least in ((1, 2), (3, 4)):
        file = tmp_path / f"{count}.html"
        file.write_text(sheet.sheet_html(sheet.Sheet(title=HOSTILE, packs=[pack] * count)))
        page = Page(chromium, file, width=400)
        wide = page.value("document.documentElement.scrollWidth")
        assert wide <= 400, "a narrow screen need not be moved sideways"
        a4, letter = pages_of(page.pdf()), pages_of(page.pdf(letter=True))
        assert least <= a4 <= letter <= a4 + 2 * count
        assert page.complaints == []
        assert page.requests == [file.as_uri()]


def pages_of(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", pdf))
