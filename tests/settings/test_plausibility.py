"""What no board can hold is found, and what recorded boards hold is never taken for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from test_config_plan import board

from bmslink.config import believe, make_plan, oddities
from bmslink.config.files.backup import make_backup
from bmslink.config.files.compare import side_of_table
from bmslink.config.files.profile import profile_of
from bmslink.decoding import FrameEvent, explain
from bmslink.errors import BmsError, FrameError
from bmslink.protocols.common.settings_map import SettingsMap, SettingsSnapshot
from bmslink.protocols.jk.map import TABLE_BYTES, jk_map
from bmslink.settings.plausibility import implausible
from bmslink.settings.setting import Setting
from support import FIXTURES

BOARDS = ("jbd", "jk02", "jk-modbus", "jk04", "jk-nw", "daly-a5", "daly-d2", "daly-p81", "jbd-up")
RECORDED = (*BOARDS, "jk-bus")
CAPTURES = sorted(p for name in RECORDED for p in (FIXTURES / name).glob("*.jsonl"))


@cache
def rows(protocol: str) -> dict[str, Setting]:
    """Every row of a protocol's map, as if all of it could be written."""
    sim = "jk02" if protocol == "jk-bus" else protocol  # which only listens
    maps: list[SettingsMap] = [board(f"sim://{sim}")[0].map]
    if protocol in ("jk02", "jk-bus", "jk-modbus"):
        maps += [
            jk_map(each, "15.41", b"\xff" * TABLE_BYTES, b"\xff" * 16) for each in ("24s", "32s")
        ]
    return {row.key: replace(row, reason="") for each in maps for row in each.settings}


def settings_in(capture: Path) -> Iterator[dict[str, Any]]:
    """The numbers of settings in each frame of a recording."""
    known = rows(capture.parent.name)
    try:
        for event in explain(capture, capture.parent.name):
            if isinstance(event, FrameEvent) and not event.sent and event.role == "settings":
                yield {
                    key: known[key].believe(float(value))
                    for key, value in event.values.items()
                    if key in known
                    and known[key].kind == "number"
                    and isinstance(value, int | float)
                }
    except BmsError:
        return  # a recording of damaged frames only


def test_no_value_of_a_recorded_board_is_impossible() -> None:
    judged = 0
    for capture in CAPTURES:
        for values in settings_in(capture):
            found = implausible(rows(capture.parent.name).values(), values)
            assert found == [], capture.name
            judged += sum(value is not None for value in values.values())
    assert judged > 500


@pytest.mark.parametrize("protocol", BOARDS)
def test_what_may_be_written_is_believed_when_it_is_read_back(protocol: str) -> None:
    """Else a change would be set back because of its own value."""
    read_only = {row.key for row in board(f"sim://{protocol}")[0].map.settings if row.reason}
    for row in rows(protocol).values():
        for end in () if row.key in read_only else (row.minimum, row.maximum):
            assert end is None or row.kind == "text" or implausible([row], {row.key: end}) == []


@pytest.mark.parametrize("protocol", BOARDS)
def test_a_simulated_board_of_every_protocol_is_believed(protocol: str) -> None:
    believe(board(f"sim://{protocol}")[0])


def jk(**fields: int) -> SettingsSnapshot:
    """A JK board over Modbus that was read with these raw numbers."""
    table = board("sim://jk-modbus?load=idle")[0]
    image = dict(table.image)
    for key, number in fields.items():
        image[table.map.setting(key).slot] = number.to_bytes(4, "big")
    return replace(table, image=image)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({"charge_otp": 3550}, "charge_otp = 355 °C is outside -60 to 160."),
        ({"charge_otp": 100_000}, "charge_otp = 10000 °C is outside"),
        ({"charge_ocp_delay": 3200}, "charge_ocp_delay = 3200 s is outside 0 to 1000."),
        ({"cell_ovp": 60_000}, "cell_ovp = 60 V is outside 0 to 5."),
        ({"charge_ocp": 4_000_000}, "charge_ocp = 4000 A is outside 0 to 2000."),
        ({"nominal_capacity": 30_000_000}, "nominal_capacity = 30000 Ah is outside"),
        ({"charge_switch": 3550}, "charge_switch is neither on nor off."),
        ({"cell_count": 3200}, "cell_count = 3200 is outside 0 to 64."),
    ],
)
def test_what_no_board_can_hold_is_named(raw: dict[str, int], sentence: str) -> None:
    found = oddities(jk(**raw))
    assert sentence in found
    assert found.endswith("The line may mix up answers: read again.")


def test_such_a_table_is_neither_planned_on_nor_kept() -> None:
    odd = jk(charge_otp=3550)
    identity, reading = board("sim://jk-modbus?load=idle")[1:]
    made = make_plan(
        odd,
        {"cell_ovp_release": 3.5},
        identity=identity,
        reading=reading,
        chemistry="lfp",
        waive=["rules", "chemistry", "health"],
    )
    assert [check.name for check in made.blocked] == ["plausible"]
    assert made.blocked[0].waiver == ""
    for use in (
        lambda: make_backup("sim://jk-modbus", identity, odd),
        lambda: profile_of(odd),
        lambda: side_of_table("it", odd),
    ):
        with pytest.raises(FrameError, match="charge_otp = 355 °C"):
            use()


def test_nothing_impossible_is_set_back_to_either() -> None:
    table, identity, reading = board("sim://jk-modbus?load=idle")
    raw = jk(charge_otp=62_800).image
    made = make_plan(
        table, {}, identity=identity, reading=reading, raw=raw, waive=["rules", "limits"]
    )
    blocked = {check.name: check for check in made.blocked}
    assert blocked["plausible"].sentence == "charge_otp = 6280 °C is outside -60 to 160."


def test_switching_off_is_not_kept_waiting_by_it() -> None:
    identity, reading = board("sim://jk-modbus?load=idle")[1:]
    odd = jk(charge_otp=3550)

    def names(**wanted: object) -> list[str]:
        made = make_plan(odd, wanted, identity=identity, reading=reading)
        return [check.name for check in made.blocked]

    assert "plausible" not in names(charge_switch=False)
    assert "plausible" not in names(charge_switch=False, discharge_switch=False)
    assert "plausible" in names(charge_switch=False, cell_uvp=2.7)


def test_two_blocks_that_take_each_others_answers_are_found() -> None:
    """Two questions of the same length, each answered by what answers the other."""
    table = board("sim://jk-modbus?load=idle")[0]
    four = [at for at in sorted(table.image) if len(table.image[at]) == 4]
    for length in (15, 14, 8):
        first, second = four[:length], four[length : 2 * length]
        image = dict(table.image)
        for one, other in zip(first, second, strict=False):
            image[one], image[other] = image[other], image[one]
        assert oddities(replace(table, image=image))


def test_many_are_counted_and_a_board_without_a_limit_is_believed() -> None:
    odd = jk(charge_otp=3550, discharge_otp=3550, mosfet_otp=3550, cell_ovp=60_000)
    assert "And 1 more." in oddities(odd)
    pack = Setting(key="pack_uvp", title="", slot=1, unit="V")
    assert implausible([pack], {"pack_uvp": 500.0}) == []
    assert implausible([pack], {"pack_uvp": 300.0}) != []
    assert implausible([replace(pack, reason="text stands there")], {"pack_uvp": 300.0}) == []
    assert implausible([replace(pack, live=True)], {"pack_uvp": 300.0}) == []
