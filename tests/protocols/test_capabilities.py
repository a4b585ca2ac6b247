"""What `info` says of a board's settings is what every settings command does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import bmslink
from bmslink.board import Board
from bmslink.config import draft
from bmslink.errors import LinkTimeout, SettingError
from bmslink.model import Identity, Switch
from bmslink.protocols import DRIVERS
from bmslink.protocols.abilities import abilities, is_setting
from bmslink.protocols.common.settings_map import SettingsMap
from bmslink.protocols.jbd.map import CELL_COUNT, FUNCTION_BITS, jbd_map
from bmslink.settings.setting import Evidence
from bmslink.storage.journal import Journal

Trouble = Callable[[Board, pytest.MonkeyPatch], None]


def nothing(device: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary board."""


def contradiction(device: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """A JBD board whose register of the cells says something else than it reports."""

    async def settings_map(identity: Identity) -> SettingsMap:
        words = {FUNCTION_BITS: bytes(2), CELL_COUNT: (5).to_bytes(2, "big")}
        return jbd_map(identity, words)

    monkeypatch.setattr(device.driver.settings, "find_map", settings_map)


def no_map(device: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board that does not say which settings it has."""

    async def settings_map(identity: Identity) -> SettingsMap:
        raise SettingError("The board does not say which settings it has.")

    monkeypatch.setattr(device.driver.settings, "find_map", settings_map)


def no_firmware(device: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board that does not tell its firmware."""
    identify = device.driver.identify

    async def without() -> Identity:
        return replace(await identify(), firmware=None)

    monkeypatch.setattr(device.driver, "identify", without)


async def refused(device: Board, journal: Journal) -> bool:
    """Whether a change of settings is refused, whatever is waived that can be."""
    try:
        plan = await draft(device, {}, waive=["untested"], journal=journal)
    except SettingError:
        return True
    names = {check.name for check in plan.blocked}
    return bool(names & {"identity", "map"}) or not any(
        row.writable and not row.is_switch for row in plan.table.map.settings
    )


@pytest.mark.parametrize(
    ("protocol", "trouble"),
    [
        *((protocol, nothing) for protocol in DRIVERS),
        ("jbd", contradiction),
        ("jk-modbus", no_map),
        *((protocol, no_firmware) for protocol in ("jbd", "jk02", "jk04", "daly-d2", "jk-nw")),
    ],
)
async def test_the_capability_is_what_the_commands_do(
    protocol: str, trouble: Trouble, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bmslink.connect(f"sim://{protocol}?gap=0&load=idle&cells=8").board as device:
        trouble(device, monkeypatch)
        told = (await device.inspect()).capabilities
        assert told["settings"].supported is not await refused(device, Journal(tmp_path))
        assert told["settings"].supported or told["settings"].reason
        if trouble is not nothing:
            assert not any(
                told[f"switch_{s}"].supported for s in Switch if is_setting(device.driver, s)
            )
        # whoever asks for the identity alone hears the same from then on
        assert (await device.identify()).capabilities == told


async def test_a_board_that_answers_for_no_settings_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with bmslink.connect("sim://jbd?gap=0").board as device:

        async def silence(identity: Identity) -> SettingsMap:
            raise LinkTimeout("No answer.", "silence")

        monkeypatch.setattr(device.driver.settings, "find_map", silence)
        able = (await device.inspect()).capabilities["settings"]
        assert (able.supported, able.reason) == (False, "No answer")


async def test_of_several_reasons_the_first_is_told() -> None:
    async with bmslink.connect("sim://jbd").board as device:
        identity = await device.identify()
        found = await device.settings_map(identity)
        one, other = found.settings[:2]
        rows = (
            replace(one, evidence=Evidence.UNVERIFIED, reason="nobody wrote it"),
            replace(other, evidence=Evidence.UNVERIFIED, reason="another reason"),
        )
        told = abilities(device.driver, identity, replace(found, settings=rows), "")["settings"]
        assert (told.supported, told.reason) == (False, "read-only: nobody wrote it")


async def test_a_board_that_was_not_asked_promises_nothing() -> None:
    """Without a map neither settings nor the switches among them are offered, and why is said."""

    async with bmslink.connect("sim://jk02").board as device:
        identity = await device.identify()
        found = abilities(device.driver, identity, None)
        said = {name: able.reason for name, able in found.items() if not able.supported}
        why = "this board does not tell its settings like this"
        assert said == {
            "settings": why,
            "switch_charge": why,
            "switch_discharge": why,
            "switch_balance": why,
        }


async def test_a_switch_that_the_map_lacks_or_closes_is_not_offered() -> None:
    async with bmslink.connect("sim://jk02").board as device:
        identity = await device.identify()
        table = await device.driver.settings.find_map(identity)
        rows = tuple(
            replace(row, reason="the board says that it does not take it")
            if row.key == "charge_switch"
            else row
            for row in table.settings
            if row.key != "balance_switch"
        )
        found = abilities(device.driver, identity, replace(table, settings=rows))
        assert [
            (found[name].supported, found[name].reason)
            for name in ("switch_charge", "switch_balance", "switch_discharge")
        ] == [
            (False, "the board says that it does not take it"),
            (False, "this board has no such setting"),
            (True, "it is the setting discharge_switch here"),
        ]
        only = replace(table, settings=tuple(row for row in table.settings if row.is_switch))
        settings = abilities(device.driver, identity, only)["settings"]
        assert (settings.supported, settings.reason) == (
            False,
            "only switches can be written: nothing is known",
        )
