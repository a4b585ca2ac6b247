"""What the parts of a driver say and refuse, and a board's settings as programs see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

import bmslink
from bmslink.errors import FrameError, SettingError, TargetError
from bmslink.model import Adjustment, Switch
from bmslink.protocols import load_driver
from bmslink.protocols.abilities import clock_soc_of, settings_of, to_adjust, to_switch
from bmslink.protocols.common.settings_map import SettingsSnapshot, Slot
from bmslink.protocols.common.settings_now import Settings
from bmslink.settings.setting import Evidence

JBD = "sim://jbd?cells=8&load=idle"


async def snapshot(target: str = JBD) -> SettingsSnapshot:
    async with bmslink.connect(target) as device:
        return (await device.settings()).snapshot


async def test_a_switch_or_a_clock_that_no_command_sets() -> None:
    async with bmslink.connect(JBD).board as board:
        assert to_switch(board.driver, Switch.CHARGE) is board.driver.switches
        with pytest.raises(SettingError, match="balance cannot be switched: it is a setting here"):
            to_switch(board.driver, Switch.BALANCE)
        with pytest.raises(SettingError, match="soc cannot be set: the board counts it"):
            to_adjust(board.driver, Adjustment(soc=50))
        with pytest.raises(SettingError, match="Clock and charge cannot be set"):
            clock_soc_of(board.driver)
    async with bmslink.connect("sim://daly-a5?cells=8").board as board:
        assert to_adjust(board.driver, Adjustment(soc=50)) is board.driver.clock_soc


async def test_two_readings_that_never_agree() -> None:
    """Answers to other questions, or somebody else who changes settings."""
    async with bmslink.connect("sim://daly-d2?cells=8").board as board:
        identity = await board.identify()
        found = await board.settings_map(identity)
        part = settings_of(board.driver)
        fetch, read, calmed = part.fetch, [0], []

        async def other_each_time(slots: Sequence[Slot]) -> dict[int, bytes]:
            image = await fetch(slots)
            address = found.setting("cell_ovp").slot
            read[0] += 1
            return {**image, address: (3600 + read[0]).to_bytes(2, "big")}

        async def calm() -> None:
            calmed.append(read[0])

        part.__dict__["fetch"] = part.__dict__["fetch_again"] = other_each_time
        async with part.session(writing=False):
            with pytest.raises(FrameError, match="Two readings of the settings differed 3 times"):
                await part.fetch_proven(found, calm)
        assert (read, calmed) == ([6], [2, 4, 6])


async def test_settings_as_programs_see_them() -> None:
    settings = Settings(await snapshot())
    ovp = settings["cell_ovp"]
    assert (ovp.key, ovp.title, ovp.value, ovp.unit) == ("cell_ovp", "Cell over-voltage", 3.65, "V")
    assert (ovp.minimum, ovp.maximum, ovp.choices) == (2.5, 4.5, None)
    assert (ovp.writable, ovp.reason, ovp.raw) == (True, "", b"\x0e\x42")
    assert str(ovp) == "3.65 V"
    assert ovp.to_dict()["group"] == "cells"
    assert next(iter(settings)) == "nominal_capacity"
    assert len(settings) == len(list(settings)) == len(settings.to_dict())
    assert settings.to_dict()["cell_ovp"] == 3.65
    assert settings.numbers()["cell_ovp"] == 3.65
    assert "balance_switch" not in settings.numbers()
    assert settings.get("cell_uvp_warning") is None
    with pytest.raises(SettingError, match=r"no setting 'cell_opv'\. Did you mean cell_ovp\?"):
        settings["cell_opv"]
    with pytest.raises(KeyError, match=r"^This board has no setting 'zzz'\.$"):
        settings["zzz"]


async def test_why_a_setting_is_not_written() -> None:
    table = await snapshot()
    whole = table.map

    def of(key: str, **changes: object) -> tuple[bool, str]:
        now = Settings(replace(table, map=replace(whole, **changes)))[key]
        return now.writable, now.reason

    assert of("cell_count") == (False, "a wrong count falsifies every protection")
    assert of("cell_ovp", read_only_reason="odd") == (False, "odd")
    assert of("cell_ovp", untested_reason="new") == (True, "with --untested: new")
    rows = tuple(
        replace(row, evidence=Evidence.DOCUMENT) if row.key == "cell_ovp" else row
        for row in whole.settings
    )
    assert of("cell_ovp", settings=rows) == (True, "with --untested: known from a document only")
    slot = whole.setting("cell_ovp").slot
    image = {address: raw for address, raw in table.image.items() if address != slot}
    lacking = Settings(replace(table, image=image))["cell_ovp"]
    assert (lacking.writable, lacking.reason) == (False, "the board does not answer for it")
    assert (lacking.value, lacking.raw, str(lacking)) == (None, None, "-")


def test_a_vendor_is_no_protocol() -> None:
    with pytest.raises(TargetError, match=r"jk is a vendor; .* is needed: jk02, jk-nw, "):
        load_driver("jk")
