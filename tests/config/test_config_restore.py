"""Backups: only onto the board that they are of, and only what may stand in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace as replace_table
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bmslink.board import Board
from bmslink.config import Plan, apply, draft, make_plan
from bmslink.config.files.backup import Backup, _sealed, load_backup, make_backup
from bmslink.device import connect
from bmslink.errors import GateError, SettingError
from bmslink.storage.journal import Journal
from config_faults import World, equal
from support import FIXTURES

OLD = FIXTURES / "old" / "0.1.0" / "backups"


async def backup_of(device: Board, raw: Mapping[int, str] | None = None) -> Backup:
    """A whole backup, of other bytes where `raw` says so: what a forger makes of one."""
    kept = make_backup(str(device.target), await device.identify(), await device.settings())
    forged = {f"{address:04x}": text for address, text in (raw or {}).items()}
    return _sealed(replace(kept, slots={**kept.slots, **forged})) if forged else kept


def blocked(plan: Plan) -> set[str]:
    return {check.name for check in plan.blocked}


def sentence(plan: Plan, name: str) -> str:
    return next(check.sentence for check in plan.checks if check.name == name)


@pytest.mark.parametrize("clone", [False, True])
async def test_a_backup_of_another_board_is_refused_on_every_road(
    clone: bool, tmp_path: Path
) -> None:
    """A 16S board of firmware 2.1 is no 15S board of firmware 8.0, whatever is waived."""

    journal = Journal(tmp_path)
    async with connect("sim://jbd?firmware=2.1&cells=16&load=idle&gap=0").board as one:
        kept = await backup_of(one)
    async with connect("sim://jbd?firmware=8.0&cells=15&load=idle&gap=0").board as other:
        before = await other.settings()
        made = await draft(other, {}, raw=kept, waive=["clone"] if clone else [], journal=journal)
        assert blocked(made) == {"backup"}
        assert made.changes == ()
        assert "16 cells" in sentence(made, "backup")
        with pytest.raises(GateError, match="16 cells"):
            await apply(other, made, journal=journal)
        assert (await other.settings()).image == before.image
    assert not list(journal.records())


async def test_another_board_of_the_same_kind_needs_clone(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    async with connect("sim://jbd?firmware=2.1&load=idle&gap=0").board as one:
        kept = await backup_of(one)
    async with connect("sim://jbd?firmware=8.0&load=idle&gap=0").board as other:
        made = await draft(other, {}, raw=kept, journal=journal)
        assert blocked(made) == {"backup"}
        made = await draft(other, {}, raw=kept, waive=["clone"], journal=journal)
        assert blocked(made) == set()


async def test_a_board_without_a_serial_number_is_known_by_its_place(tmp_path: Path) -> None:
    """Boards of one batch are equal in all that they tell."""

    world = World("jbd", tmp_path)
    async with world.device() as device:
        identity, table = await device.identify(), await device.settings()
        assert identity.serial_number is None
        away = make_backup("jbd+serial:///dev/ttyUSB7", identity, table)
        made = await draft(device, {}, raw=away, journal=world.journal)
        assert blocked(made) == {"backup"}
        assert "no serial number" in sentence(made, "backup")
        made = await draft(device, {}, raw=away, waive=["clone"], journal=world.journal)
        assert blocked(made) == set()
        here = make_backup(str(device.target), identity, table)
        assert not blocked(await draft(device, {}, raw=here, journal=world.journal))


async def test_a_board_with_a_serial_number_may_hang_anywhere(tmp_path: Path) -> None:
    world = World("jk02", tmp_path)
    async with world.device() as device:
        identity, table = await device.identify(), await device.settings()
        away = make_backup("jk02+serial:///dev/ttyUSB7", identity, table)
        assert not blocked(await draft(device, {}, raw=away, journal=world.journal))


async def test_what_the_maker_set_tells_two_boards_apart(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    async with world.device() as device:
        identity, table = await device.identify(), await device.settings()
        shunt = replace_table(table, image={**table.image, 0x2C: bytes.fromhex("0007")})
        other = make_backup(str(device.target), identity, shunt)
        made = await draft(device, {}, raw=other, journal=world.journal)
        assert blocked(made) == {"backup"}
        assert "jbd_shunt" in sentence(made, "backup")
        old = replace(other, fingerprint={}, place={})  # as 0.1.0 made it
        made = await draft(device, {}, raw=_sealed(old), journal=world.journal)
        assert "jbd_shunt" in sentence(made, "backup")


async def test_bytes_without_a_backup_are_refused(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    async with world.device() as device:
        image: Any = (await backup_of(device)).image()
        with pytest.raises(SettingError, match="raw must be Backup"):
            await draft(device, {}, raw=image, journal=world.journal)
        table, identity = await device.settings(), await device.identify()
        reading = await device.read()
        made = make_plan(table, {}, identity=identity, reading=reading, raw=image)
        with pytest.raises(SettingError, match="give the whole backup"):
            await apply(device, made, journal=world.journal)
    assert world.writes == 0


async def test_a_backup_that_was_altered_in_memory_is_none(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    async with world.device() as device:
        kept = await backup_of(device)
        altered = replace(kept, slots={**kept.slots, "0024": "0e10"})
        made = await draft(device, {}, raw=altered, waive=["clone"], journal=world.journal)
        assert (blocked(made), made.changes) == ({"backup"}, ())


FORGED: list[tuple[int, str, str]] = [
    (0x18, "fffb", "charge_otp = 6280 °C is outside"),
    (0x3D, "0000", "cell_ovp_delay = 0 s is outside"),
    (0x24, "11f8", "cell_ovp = 4.6 V is outside"),
]


@pytest.mark.parametrize(("slot", "raw", "told"), FORGED)
async def test_a_restore_keeps_to_the_limits(
    slot: int, raw: str, told: str, tmp_path: Path
) -> None:
    """The checksum of a forged backup is good."""

    world = World("jbd", tmp_path)
    async with world.device() as device:
        before = await device.settings()
        kept = await backup_of(device, {slot: raw})
        made = await draft(device, {}, raw=kept, journal=world.journal)
        assert "limits" in blocked(made)
        assert told in sentence(made, "limits")
        assert made.vouched == {}
        with pytest.raises(GateError, match="outside"):
            await apply(device, made, journal=world.journal)
    assert world.writes == 0
    assert equal(await world.table(), before.image)


FACTORY = {0x18: "1005"}  # 137 °C: beyond the 120 that we would set


async def factory(world: World, device: Board, *waive: str) -> Plan:
    kept = await backup_of(device, FACTORY)
    return await draft(
        device, {}, raw=kept, waive=[*waive, "rules", "chemistry"], journal=world.journal
    )


async def test_a_factory_value_comes_back_by_name_or_where_the_journal_knows_it(
    tmp_path: Path,
) -> None:
    world = World("jbd", tmp_path)
    async with world.device() as device:
        made = await factory(world, device)
        assert blocked(made) == {"limits"}
        assert made.refused == {0x18}
        made = await factory(world, device, "limits")
        assert blocked(made) == set()
        assert made.vouched == {0x18: bytes.fromhex("1005")}
        await apply(device, made, journal=world.journal)
        assert (await device.settings()).values()["charge_otp"] == 137.0
        kept = await backup_of(device)
        lower = await draft(device, {"charge_otp": 55}, journal=world.journal)
        await apply(device, lower, journal=world.journal)
        made = await draft(
            device, {}, raw=kept, waive=["rules", "chemistry"], journal=world.journal
        )
        assert blocked(made) == set()
        assert made.vouched == {0x18: bytes.fromhex("1005")}
        assert any("The journal shows" in remark for remark in made.remarks)
        await apply(device, made, journal=world.journal)
        assert (await device.settings()).values()["charge_otp"] == 137.0
    begun = [r for r in world.journal.records() if r["event"] == "begin"]
    assert "limits" in begun[0]["waived"]


async def test_what_the_journal_knows_of_another_board_proves_nothing(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    async with world.device() as device:
        await apply(device, await factory(world, device, "limits"), journal=world.journal)
    async with connect("sim://jbd?firmware=8.0&cells=8&load=idle&gap=0").board as other:
        kept = await backup_of(other, FACTORY)
        made = await draft(other, {}, raw=kept, waive=["rules", "chemistry"], journal=world.journal)
        assert "limits" in blocked(made)


async def test_no_waiver_lets_a_value_be_set_outside_its_limits(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    async with world.device() as device:
        made = await draft(
            device,
            {"charge_otp": 137},
            waive=["limits", "rules", "chemistry"],
            journal=world.journal,
        )
        assert (blocked(made), made.changes) == ({"limits"}, ())
        kept = await backup_of(device, FACTORY)
        both = await draft(
            device,
            {"cell_ovp": 9},
            raw=kept,
            waive=["limits", "rules", "chemistry"],
            journal=world.journal,
        )
        assert blocked(both) == {"limits"}


async def test_what_an_altered_record_says_proves_nothing(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    async with world.device() as device:
        change = await draft(device, {"charge_otp": 56}, journal=world.journal)
        await apply(device, change, journal=world.journal)
        kept = await backup_of(device, FACTORY)
        (file,) = world.journal.folder.glob("*.jsonl")
        held = change.table.image[0x18].hex()
        file.write_text(file.read_text().replace(f'"18": "{held}"', '"18": "1005"', 1))
        made = await draft(
            device, {}, raw=kept, waive=["rules", "chemistry"], journal=world.journal
        )
        assert "limits" in blocked(made)
        assert made.vouched == {}


@pytest.mark.parametrize("path", sorted(OLD.glob("*.json")), ids=lambda path: path.stem)
def test_backups_of_earlier_versions_are_read(path: Path) -> None:
    kept = load_backup(path)
    assert (kept.intact, kept.fingerprint, kept.place) == (True, {}, {})
    assert kept.image()
