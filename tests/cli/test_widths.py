"""At 80 and at 40 columns no word is cut in two, and every value keeps its digits and its unit."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

import bmslink
from bmslink.cli.render import config, differences, info, read
from bmslink.cli.render import settings as render
from bmslink.cli.render.fold import fold
from bmslink.cli.render.plain import Plain
from bmslink.cli.render.text import UNICODE as G
from bmslink.config import draft
from bmslink.config.files.compare import compare, side_of_table
from bmslink.settings.packed import words_of

WIDTHS = pytest.mark.parametrize("width", [40, 80, 140])
TARGETS = [
    "sim://jbd?load=idle",
    "sim://jk02?load=idle&speed=100",
    "sim://jk-modbus?load=idle",
    "sim://daly-a5?load=idle",
    "sim://daly-d2?load=idle",
    "sim://daly-p81?load=idle",
]


def lines(renderable: Any, width: int) -> list[str]:
    """What a terminal of that width shows; none of its lines is longer."""
    file = io.StringIO()
    Console(file=file, width=width, highlight=False, markup=False).print(Plain(renderable))
    found = [line.rstrip() for line in file.getvalue().splitlines()]
    assert max(map(len, found)) <= width
    return found


def whole(text: str, shown: list[str]) -> bool:
    """Whether it is on one line, and no part of a longer word."""
    return any(re.search(rf"(?<!\S){re.escape(text)}(?!\S)", line) for line in shown)


@WIDTHS
@pytest.mark.parametrize("target", TARGETS)
async def test_settings_show_every_value_whole(target: str, width: int) -> None:
    async with bmslink.connect(target) as device:
        table = (await device.settings()).snapshot
    shown = lines(render.settings(table, G), width)
    values = table.values()
    for row in table.map.settings:
        assert whole(row.key, shown), row.key
        assert whole(render.shown(row, values[row.key], G), shown), row.key
    if width == 140:
        assert any("Cell over-voltage" in line for line in shown)
    headings = ["Cell voltages", "Current", "Temperature", "Balancing", "The board itself"]
    assert [line for line in shown if line in headings] == headings
    assert whole("commissioning:", shown)


async def test_settings_show_packed_numbers_in_words_and_why() -> None:
    async with bmslink.connect("sim://jbd") as device:
        table = (await device.settings()).snapshot
    shown = lines(render.settings(table, G), 80)
    line = next(line for line in shown if line.startswith("jbd_production_date"))
    assert words_of("jbd_production_date", table.values()["jbd_production_date"]) in line
    assert any(line.strip().startswith("C: a recorded write") for line in shown)
    assert any(re.match(r"cell_ovp .*2\.5 to 4\.5 V", line) for line in shown)


@WIDTHS
async def test_a_plan_shows_every_value_whole(width: int) -> None:
    wanted = {"nominal_capacity": 280.0, "charge_ocp": 9000.0 / 100, "discharge_utp_delay": 5.0}
    async with bmslink.connect("sim://jbd?load=idle") as device:
        made = await draft(device, wanted)
    shown = lines(config.plan(made, G, whole=True), width)
    for change in made.changes:
        for edit in change.edits:
            row = made.table.map.setting(edit.key)
            assert whole(edit.key, shown)
            assert whole(row.show(edit.old), shown)
            assert whole(row.show(edit.new), shown)
    for frame in made.frames:
        assert frame.hex() in "".join(line.replace(" ", "") for line in shown)


@WIDTHS
async def test_a_comparison_shows_every_value_whole(width: int) -> None:
    sides = []
    for target in ("sim://jbd?cells=16", "sim://daly-d2?capacity=280", "sim://jk02?capacity=50"):
        async with bmslink.connect(target) as device:
            sides.append(side_of_table(target, (await device.settings()).snapshot))
    found = compare(sides)
    assert found
    names = [side.name for side in sides]
    shown = lines(differences.table(found, names, G, width), width)
    for each in found:
        assert whole(each.key, shown)
        for value in each.shown:
            assert value is None or whole(value, shown), each.key


@WIDTHS
async def test_a_reading_shows_every_value_whole(width: int) -> None:
    async with bmslink.connect("sim://jbd?cells=16&soc=60&seed=1") as device:
        reading = await device.read()
        identity = await device.inspect()
    shown = lines(read.block(reading, G), width)
    assert whole(f"{reading.voltage:.2f} V", shown)
    for name, value in reading.temperatures.items():
        assert whole(f"{name} {value:.1f} °C", shown)
    for value in reading.cell_voltages:
        assert any(f"{value:.3f}" in line for line in shown)
    beside = lines(read.brief(reading, G), width)
    for part in (f"{reading.voltage:.2f} V", f"{reading.soc:.0f} %"):
        assert whole(part, beside)
    assert whole("(docs/protocols/jbd.md).", lines(info.table(identity, G), 80))
    lines(info.table(identity, G), width)


@pytest.mark.parametrize("width", [8, 20, 40, 80])
def test_a_sentence_is_cut_between_words_and_a_target_is_whole(width: int) -> None:
    target = "jbd+serial:///dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0"
    text = f"  {target}: cell_ovp = 9 V is outside 2.5 to 4.5 V; -12.5 °C."
    found = fold(text, width)
    assert [word for line in found for word in line.split()] == text.split()
    assert any(target in line for line in found)
    for pair in ("9 V", "4.5 V;", "-12.5 °C."):
        assert any(pair in line for line in found) or width < len(pair)
    assert all(len(line) <= width or len(line.split()) == 1 for line in found) or width == 8


def test_nothing_is_lost_of_odd_text() -> None:
    assert fold("", 40) == [""]
    assert fold("   ", 40) == ["   "]
    assert fold("a  b", 40) == ["a  b"]
