"""A setting is described once: in the catalogue, or in the rows of its vendor."""

from __future__ import annotations

import pytest
from construct import Float32l, Int16ub, Int32ul

from bmslink import connect
from bmslink.protocols import DRIVERS, load_driver
from bmslink.protocols.common.fields import scaled
from bmslink.protocols.common.rows import Row, bare, layouts, places, record, settings, slots
from bmslink.protocols.names import VENDOR_PREFIXES
from bmslink.settings.catalogue import CATALOGUE
from bmslink.settings.setting import Evidence, Setting

pytestmark = pytest.mark.counted

MV = scaled(Int16ub, 1000)


def every_setting() -> list[Setting]:
    maps = [each for name in DRIVERS for each in load_driver(name).every_map()]
    return [row for each in maps for row in each.settings]


def test_a_name_means_the_same_on_all_boards() -> None:
    found: dict[str, set[tuple[str, str, str]]] = {}
    for row in every_setting():
        found.setdefault(row.key, set()).add((row.title, row.unit, row.kind))
    assert not {key: said for key, said in found.items() if len(said) > 1}


def test_what_no_vendor_owns_is_in_the_catalogue() -> None:
    names = {row.key for row in every_setting()}
    assert {name for name in names if not name.startswith(VENDOR_PREFIXES)} <= CATALOGUE.keys()
    assert not [name for name in CATALOGUE if name.startswith(VENDOR_PREFIXES)]
    titles = [shared.title for shared in CATALOGUE.values()]
    assert len(set(titles)) == len(titles)


def test_a_row_that_lacks_its_title_says_so() -> None:
    with pytest.raises(ValueError, match="jk_acme is not in the catalogue"):
        Row(1, "jk_acme", MV).setting()
    with pytest.raises(ValueError, match="cell_ovp has its title and unit in the cat"):
        Row(1, "cell_ovp", MV, title="Over-voltage").setting()


def test_a_row_that_would_take_anything_says_so() -> None:
    with pytest.raises(ValueError, match="cell_ovp has no limits"):
        Row(1, "cell_ovp", MV, None, Evidence.APP).setting()
    with pytest.raises(ValueError, match="its row gives a step"):
        Row(1, "cell_ovp", Float32l, (2.5, 4.5), Evidence.APP).setting()
    assert Row(1, "cell_ovp", Float32l, (2.5, 4.5), step=0.001).setting().step == 0.001
    assert Row(1, "charge_switch", Int16ub, None, Evidence.APP).setting().writable


def test_a_row_without_evidence_is_never_written() -> None:
    row = Row(1, "cell_ovp", MV, (2.5, 4.5)).setting()
    assert not row.writable
    assert (row.title, row.unit, row.step) == ("Cell over-voltage", "V", 0.001)
    assert Row(1, "cell_ovp", MV, (2.5, 4.5), Evidence.APP).setting().writable


def test_rows_of_one_address_share_its_bytes() -> None:
    rows = (
        Row(7, "cell_ovp", MV, (2.5, 4.5), Evidence.APP),
        bare(7, "residue", Int16ub),
        Row(9, "charge_switch", Int32ul, inside="word", bit=0),
        Row(9, "discharge_switch", Int32ul, inside="word", bit=1),
    )
    known = layouts(rows, 6, "reserved")
    assert known[7].sizeof() == known[9].sizeof() == 6
    assert places(known[7]) == {"cell_ovp": (0, 2), "residue": (2, 4), "reserved": (4, 6)}
    assert places(known[9]) == {"word": (0, 4), "reserved": (4, 6)}
    assert "reserved_4" in places(record(rows[2:], 6))
    assert places(record(rows[:2])) == {"cell_ovp": (0, 2), "residue": (2, 4)}
    assert [slot.address for slot in slots(rows, known)] == [7, 9]
    keys = ["cell_ovp", "charge_switch", "discharge_switch"]
    assert [row.key for row in settings(rows)] == keys


async def test_the_switches_of_up_packs_say_why_they_are_not_switched() -> None:
    async with connect("sim://jbd-up?gap=0") as device:
        capabilities = (await device.inspect()).capabilities
    for name in ("switch_charge", "switch_discharge"):
        assert not capabilities[name].supported
        assert "another source puts the pack to sleep" in capabilities[name].reason


@pytest.mark.parametrize(
    ("target", "key", "value", "raw", "why"),
    [
        # 47 or 87 °C: neither is said
        ("sim://daly-d2?gap=0", "mosfet_otp", None, "0057", "sources disagree"),
        ("sim://jk04", "jk_balance_start_voltage", 4.25, "00008840", "one source names it so"),
        ("sim://jbd?gap=0", "jbd_short_circuit_level", 141.0, "8d5c", "no board was seen"),
    ],
)
async def test_what_sources_disagree_about_is_shown_and_never_written(
    target: str, key: str, value: float | None, raw: str, why: str
) -> None:
    async with connect(target) as device:
        table = (await device.settings()).snapshot
    row, held = table.map.setting(key), table.raw(key)
    assert not row.writable
    assert why in row.reason
    assert table.values()[key] == value
    assert held is not None
    assert held.hex() == raw
