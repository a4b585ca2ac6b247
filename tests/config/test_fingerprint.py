"""What a board is known by again."""

from __future__ import annotations

import pytest

import bmslink
from bmslink.config import apply, draft
from bmslink.config.identity.fingerprint import Fingerprint, fingerprint, fingerprint_of
from bmslink.errors import SettingError

CONFIGURABLE = ("jbd", "jk02", "jk04", "jk-modbus", "jk-nw", "daly-a5", "daly-d2", "daly-p81")


async def look(target: str) -> Fingerprint:
    async with bmslink.connect(target).board as device:
        return fingerprint(await device.identify(), await device.settings())


@pytest.mark.parametrize("protocol", CONFIGURABLE)
async def test_a_board_is_equal_to_itself_and_not_to_one_with_other_cells(protocol: str) -> None:
    one = await look(f"sim://{protocol}?gap=0&cells=16&seed=1")
    same = await look(f"sim://{protocol}?gap=0&cells=16&soc=30&seed=1")
    other = await look(f"sim://{protocol}?gap=0&cells=8&seed=1")
    assert one.like(same)
    assert one.differs(same) == ""
    if not one.certain:
        assert other.differs(one)
        assert not one.like(other)


async def test_what_people_change_changes_no_fingerprint() -> None:
    async with bmslink.connect("sim://jbd?gap=0&cells=16&load=idle").board as device:
        before = fingerprint(await device.identify(), await device.settings())
        wanted = {"cell_ovp": 3.6, "nominal_capacity": 90.0, "cycle_capacity": 70.0}
        plan = await draft(device, wanted, waive=["rules", "load"])
        await apply(device, plan)
        after = fingerprint(await device.identify(), await device.settings())
    assert before == after
    assert {"jbd_shunt", "jbd_production_date", "cell_count"} <= before.settings.keys()
    assert "jbd_cycle_count" not in before.settings  # it counts up


def test_a_text_cut_short_is_no_other_board() -> None:
    whole = Fingerprint(vendor="JBD", model="JBD-SP16S020-L16S-100A", cell_count=16)
    cut = Fingerprint(vendor="JBD", model="JBD-SP16S0", cell_count=16)
    assert whole.differs(cut) == cut.differs(whole) == ""
    assert whole.like(cut)
    assert whole.differs(Fingerprint(model="JBD"))  # too little to be its beginning
    assert "16 cells" in Fingerprint(cell_count=15).differs(whole)


def test_a_serial_number_decides_and_a_row_of_zeros_is_none() -> None:
    one = Fingerprint(serial_number="A1", model="old name", cell_count=16)
    assert one.like(Fingerprint(serial_number="A1", model="another name", cell_count=15))
    assert "serial number" in one.differs(Fingerprint(serial_number="B2"))
    blank = Fingerprint(serial_number="00000000", model="JK04X", cell_count=16)
    assert not blank.certain
    assert not blank.like(Fingerprint(serial_number="00000000", model="JK04X", cell_count=8))


def test_too_little_in_common_is_no_likeness() -> None:
    assert not Fingerprint().like(Fingerprint())
    assert not Fingerprint(vendor="JBD", cell_count=16).like(Fingerprint(vendor="JBD"))
    one, other = Fingerprint(settings={"a": 1.0}, map="x"), Fingerprint(settings={"a": 2}, map="y")
    assert one.differs(other) == ""  # values of two maps mean different things
    assert not one.like(other)


def test_it_survives_json_and_takes_nothing_else_for_one() -> None:
    one = Fingerprint("JBD", "M", "H", "S1", 16, "jbd-classic", {"a": 1.0, "b": "x", "c": True})
    assert Fingerprint.from_dict(one.to_dict()) == one
    strange: list[object] = [None, 3, [], {"model": 5, "cell_count": "16", "settings": [1]}]
    for found in (*strange, {"settings": {"a": None}, "cell_count": True}):
        assert Fingerprint.from_dict(found) == Fingerprint()
    assert "cell_count" not in one.without({"cell_count"}).settings
    assert one.without({"cell_count"}).cell_count is None


@pytest.mark.real_time
async def test_of_a_record_as_of_a_board() -> None:
    """A backup and the board that it was made of have one fingerprint."""

    async with bmslink.connect("sim://daly-d2?gap=0&cells=16").board as device:
        identity, table = await device.identify(), await device.settings()
    kept = {"vendor": identity.vendor, "model": identity.model, "hardware": identity.hardware,
            "serial_number": None, "cell_count": identity.cell_count, "firmware": "x",
            "map": "some other key of the record"}  # fmt: skip
    assert fingerprint_of(kept, table.map, table.image) == fingerprint(identity, table)


async def test_without_settings_it_says_less() -> None:
    async with bmslink.connect("sim://jk-bus?gap=0").board as device:
        identity = await device.identify()
        with pytest.raises(SettingError):
            await device.settings_map(identity)
    assert fingerprint(identity).settings == {}
