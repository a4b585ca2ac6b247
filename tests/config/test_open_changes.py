"""To which pack a change that was cut off belongs, however it is reached now."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace

import pytest

import bmslink
from bmslink import places
from bmslink.config import (
    apply,
    cut_off_change,
    draft,
    draft_undo,
    resume,
    switch,
    unfinished,
    verify,
)
from bmslink.config.identity.fingerprint import Fingerprint
from bmslink.config.identity.locks import is_held, locked
from bmslink.config.records import open_changes as oc
from bmslink.config.records.open_changes import regards
from bmslink.errors import GateError
from bmslink.link.gatt import SeenDevice
from bmslink.link.transport import parse_target
from bmslink.model import Command, Switch
from bmslink.places import recorded_place, where
from bmslink.storage.journal import Journal
from bmslink.transports import ports
from config_faults import WISHES, World


def same(one: str, other: str) -> bool:
    return where(parse_target(one)).same(where(parse_target(other)))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("jbd+tcp://localhost:8899", "jbd+tcp://127.0.0.1:8899", True),
        ("jbd+tcp://[::1]:8899", "jbd+rfc2217://127.0.0.1:8899", True),
        ("jbd+tcp://[::ffff:127.0.0.1]:8899", "jbd+tcp://0.0.0.0:8899", True),
        ("jbd+tcp://127.0.0.1:8899", "jbd+tcp://127.0.0.1:8898", False),
        ("jbd+tcp://192.0.2.1:1", "daly-p81+modbus-tcp://192.0.2.1:1", True),
        ("jbd+tcp://192.0.2.1:1", "jbd+tcp://192.0.2.2:1", False),
        ("daly-p81+tcp://192.0.2.1:1?address=2", "daly-p81+tcp://192.0.2.1:1", False),
        ("daly-p81+tcp://192.0.2.1:1?address=0x1", "daly-p81+tcp://192.0.2.1:1?gap=0", True),
        ("jbd+ble://AA:BB:CC:DD:EE:01", "jbd+ble://aa-bb-cc-dd-ee-01", True),
        ("jbd+ble://AA:BB:CC:DD:EE:01", "jbd+ble://AA:BB:CC:DD:EE:02", False),
        ("jk02+ble://JK_B2A20S20P", "jk02+ble://jk_b2a20s20p", True),
        ("jbd+tcp://192.0.2.1:1", "jbd+serial:///dev/ttyX", False),
    ],
)
def test_a_place_is_the_same_however_it_is_written(one: str, other: str, expected: bool) -> None:
    assert same(one, other) is same(other, one) is expected


async def test_what_a_change_alters_does_not_tell_its_board_from_others(tmp_path: Path) -> None:
    world = World("jk02", tmp_path)
    async with world.device() as device:
        identity, table = await device.identify(), await device.settings()
        for keys, count in ((["cell_count"], None), (["cell_ovp"], 4)):
            changes = [{"slot": 1, "settings": [{"key": key} for key in keys]}]
            await oc.begin(world.journal, device, identity, changes, table)
            told = list(world.journal.records())[-1]["fingerprint"]
            assert (told["cell_count"], told["settings"].get("cell_count")) == (count, count)


def test_an_address_that_this_computer_has_is_this_computer() -> None:
    """Only to such an address a socket can be bound."""
    assert places._ours(ip_address("127.0.0.1"))
    assert not places._ours(ip_address("192.0.2.1"))


def test_a_port_is_the_same_by_every_path(tmp_path: Path) -> None:
    master, slave = os.openpty()
    name = os.ttyname(slave)
    (tmp_path / "one").symlink_to(name)
    (tmp_path / "two").symlink_to(tmp_path / "one")
    (tmp_path / "a").mkdir()
    names = (name, f"{tmp_path}/one", f"{tmp_path}/two", f"{tmp_path}/a/../two",
             f"/dev/pts/../pts/{Path(name).name}")  # fmt: skip
    assert all(same(f"jbd+serial://{one}", f"serial://{two}") for one in names for two in names)
    assert not same(f"serial://{name}", "serial:///dev/pts/ptmx")
    before = where(parse_target(f"serial://{tmp_path}/one"))
    os.close(master)
    os.close(slave)
    (tmp_path / "one").unlink()
    (tmp_path / "one").symlink_to("/dev/pts/9999")  # made anew, as after a restart
    assert before.same(where(parse_target(f"serial://{tmp_path}/one")))


def port(device: str, serial: str | None, location: str) -> SimpleNamespace:
    return SimpleNamespace(
        device=device, vid=0x0403, pid=0x6001, serial_number=serial, location=location,
        description="", hwid="")  # fmt: skip


def test_a_replugged_adapter_is_the_same_and_another_one_on_its_port_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugged: list[SimpleNamespace] = []
    monkeypatch.setattr(ports.list_ports, "comports", lambda: plugged)

    def at(device: str, *found: SimpleNamespace):
        plugged[:] = found
        return where(parse_target(f"serial://{device}"))

    a, b = "/dev/ttyUSB0", "/dev/ttyUSB1"
    first = at(a, port(a, "FT123456", "1-1"))
    assert first.same(at(b, port(b, "FT123456", "1-4")))  # another number and another socket
    assert not first.same(at(a, port(a, "FT999999", "1-1")))
    cheap = at(a, port(a, None, "1-1"))
    assert cheap.same(at(b, port(b, None, "1-1")))  # the same socket
    assert not cheap.same(at(a, port(a, None, "1-2")))
    assert "usb" not in at(a, port(a, "0001", "1-1")).marks
    twins = at(a, port(a, "FT123456", "1-1"), port(b, "FT123456", "1-2"))
    assert "usb" not in twins.marks
    parts = at(a, port(a, "FT123456", "1-1:1.0"), port(b, "FT123456", "1-1:1.1"))
    assert not parts.same(at(b, port(a, "FT123456", "1-1:1.0"), port(b, "FT123456", "1-1:1.1")))
    assert recorded_place({"place": first.to_dict()}).same(first)


def test_a_radio_is_known_by_its_address_once_it_is_connected() -> None:
    from bmslink.places import Place, _radio

    name, address = "JK_B2A20S20P", "C8:47:8C:E4:55:1"
    by_name, other = (
        Place(_radio(name, SeenDevice(address=f"{address}{n}", name=name))) for n in "23"
    )
    assert by_name.same(where(parse_target("jk02+ble://c8:47:8c:e4:55:12")))
    assert not by_name.same(other)
    assert all("name" not in name for name in by_name.names)


# -------------------------------------------------------------------------------- whole changes


@pytest.fixture(autouse=True)
def nobody_answered_yet() -> Iterator[None]:
    oc._answered.clear()
    yield
    oc._answered.clear()


def file_of(journal: Journal) -> Path:
    (path,) = journal.folder.glob("*.jsonl")
    return path


async def cut_short(world: World, target: str) -> None:
    """A change that ends in the middle, as by Ctrl-C, at a place."""
    async with world.device() as device:
        device.target = parse_target(target)
        plan = await draft(device, WISHES[world.protocol], journal=world.journal)
        reached = asyncio.Event()
        world.on_write = reached.set
        task = asyncio.ensure_future(apply(device, plan, journal=world.journal))
        await reached.wait()
        task.cancel()
        await asyncio.wait([task])


async def test_at_another_port_the_same_looking_board_asks_and_is_never_written_to_unasked(
    tmp_path: Path,
) -> None:
    world = World("jbd", tmp_path)
    await cut_short(world, "jbd+serial:///dev/ttyA")
    oc._answered.clear()  # a new process
    writes = world.writes
    async with world.device() as device:
        device.target = parse_target("jbd+serial:///dev/ttyB")
        plan = await draft(device, {"balance_delta": 0.02}, journal=world.journal)
        (check,) = plan.blocked
        assert (check.name, check.waiver) == ("twin", "twin")
        assert "/dev/ttyA" in check.sentence
        found = await cut_off_change(device, world.journal)
        assert found.elsewhere == "serial:///dev/ttyA"
        assert "at serial:///dev/ttyA" in found.sentence
        assert "--waive place" in found.sentence
        assert "of this pack" not in found.sentence
        with pytest.raises(GateError):
            await apply(device, plan, journal=world.journal)
        for agreed in (False, True):
            with pytest.raises(GateError, match="only looks the same"):
                await resume(device, rollback=True, agreed=agreed, journal=world.journal)
            with pytest.raises(GateError, match="only looks the same"):
                await resume(device, keep=True, agreed=agreed, journal=world.journal)
        assert world.writes == writes
        ended = await resume(device, rollback=True, waive=["place"], journal=world.journal)
        assert ended.result == "rolled back"
    assert not world.journal.unfinished()


async def test_a_board_with_other_cells_or_an_other_shunt_is_free(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    await cut_short(world, "jbd+serial:///dev/ttyA")
    oc._answered.clear()
    async with bmslink.connect("sim://jbd?gap=0&cells=8&load=idle").board as device:
        plan = await draft(device, {"balance_delta": 0.02}, journal=world.journal)
        assert not plan.blocked


async def test_identical_boards_that_both_answer_do_not_block_each_other(tmp_path: Path) -> None:
    """A has an open change; it answered at its own line, so B is another board."""

    world, twin = World("jbd", tmp_path), World("jbd", tmp_path)
    await cut_short(world, "jbd+serial:///dev/ttyA")
    oc._answered.clear()
    async with twin.device() as b:
        b.target = parse_target("jbd+serial:///dev/ttyB")
        assert (await draft(b, {"balance_delta": 0.02}, journal=world.journal)).blocked
        async with world.device() as a:
            a.target = parse_target("jbd+serial:///dev/ttyA")
            (check,) = (await draft(a, {}, journal=world.journal)).blocked
            assert check.name == "unfinished"
        plan = await draft(b, {"balance_delta": 0.02}, journal=world.journal)
        assert not plan.blocked
        assert (await apply(b, plan, journal=world.journal)).result == "done"


async def test_a_change_under_way_elsewhere_is_none_that_was_cut_off(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    await cut_short(world, "jbd+serial:///dev/ttyA")
    oc._answered.clear()
    (cut,) = world.journal.unfinished()
    names = recorded_place(cut.begin).names
    async with world.device() as device:
        device.target = parse_target("jbd+serial:///dev/ttyB")
        with locked(world.journal.folder / "locks", names):
            assert not (await draft(device, {}, journal=world.journal)).blocked
        assert (await draft(device, {}, journal=world.journal)).blocked


async def test_a_change_that_another_program_is_making_was_not_cut_off(tmp_path: Path) -> None:
    """Nobody is sent to `config resume` for it, on no road; its own program goes on."""
    world = World("jbd", tmp_path)
    await cut_short(world, "jbd+serial:///dev/ttyA")
    (cut,) = world.journal.unfinished()
    journal, released = world.journal, asyncio.Event()

    async def other_program() -> None:
        with locked(journal.folder / "locks", recorded_place(cut.begin).names):
            await released.wait()

    other = asyncio.create_task(other_program())
    await asyncio.sleep(0)
    async with world.device() as device:
        device.target = parse_target("jbd+serial:///dev/ttyA")
        writes = world.writes
        (check,) = (await draft(device, {"balance_delta": 0.02}, journal=journal)).blocked
        assert (check.name, check.waiver) == ("lock", "")
        assert f"by process {os.getpid()} now: wait" in check.sentence
        assert await unfinished(device, journal) is None
        roads = (
            draft_undo(device, journal=journal),
            resume(device, journal=journal),
            cut_off_change(device, journal),
            verify(device, journal=journal),
            switch(device, Command(Switch.CHARGE, on=True), journal=journal),
        )
        for road in roads:
            with pytest.raises(GateError, match="wait for it to end") as refused:
                await road
            assert "cut off" not in str(refused.value)
            assert [each.name for each in refused.value.checks if each.blocks] == ["lock"]
        assert world.writes == writes
        released.set()
        await other
        (check,) = (await draft(device, {"balance_delta": 0.02}, journal=journal)).blocked
        assert check.name == "unfinished"
        assert (await resume(device, rollback=True, journal=journal)).result == "rolled back"


_HOLDER = """
import sys
from pathlib import Path
from bmslink.config.identity.locks import locked
with locked(Path(sys.argv[1]), sys.argv[2:]):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_two_processes_with_names_in_common_never_wait_for_each_other(tmp_path: Path) -> None:
    command = (sys.executable, "-c", _HOLDER, str(tmp_path))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    first = subprocess.Popen((*command, "b", "a"), text=True, **pipes)
    assert first.stdout.readline() == "held\n"
    assert is_held(tmp_path, ["x", "a"])
    assert not is_held(tmp_path, ["x", "y"])
    second = subprocess.run((*command, "c", "b"), text=True, timeout=20, capture_output=True)
    assert f"process {first.pid}" in second.stderr
    with locked(tmp_path, ["c", "d"]):  # what the second had taken is free again
        pass
    first.kill()  # however it ends, its locks end with it
    first.communicate(timeout=20)
    with locked(tmp_path, ["a", "b"]):
        assert is_held(tmp_path, ["a"])


# ------------------------------------------------------------------------------------- damage


def damaged(journal: Journal, old: bytes, new: bytes, at: int = 0) -> None:
    """Alter a line of the journal."""
    path = file_of(journal)
    lines = path.read_bytes().splitlines(keepends=True)
    assert old in lines[at]
    lines[at] = lines[at].replace(old, new, 1)
    path.write_bytes(b"".join(lines))


TARGET = "jbd+serial:///dev/ttyA"


@pytest.mark.parametrize("hurt", ["image", "begin gone", "begin unreadable", "target", "id",
                                  "write", "end", "line gone"])  # fmt: skip
async def test_a_damaged_change_blocks_its_pack_and_is_only_given_up(
    hurt: str, tmp_path: Path
) -> None:
    world = World("jbd", tmp_path)
    journal = world.journal
    await cut_short(world, TARGET)
    (cut,) = journal.unfinished()
    path = file_of(journal)
    if hurt == "image":
        begin = cut.begin["changes"][0]["new"].encode()
        damaged(journal, b'"new": "' + begin, b'"new": "ffff')
    elif hurt == "begin gone":
        path.write_bytes(path.read_bytes().partition(b"\n")[2])
    elif hurt == "begin unreadable":
        path.write_bytes(b"\xff" * 40 + path.read_bytes()[40:])
    elif hurt == "target":
        damaged(journal, b"ttyA", b"ttyC")
    elif hurt == "id":
        damaged(journal, cut.id.encode(), b"0" * 12)
    elif hurt == "write":
        damaged(journal, b'"write"', b'"wrote"', at=1)
    elif hurt == "end":
        journal.reopen(cut).end("done")
        assert not journal.unfinished()
        damaged(journal, b'"end"', b'"ent"', at=-1)
    else:
        cut_lines = path.read_bytes().splitlines(keepends=True)
        journal.reopen(cut).note("rollback")
        more = path.read_bytes().splitlines(keepends=True)[len(cut_lines) :]
        path.write_bytes(b"".join([*cut_lines[:1], *cut_lines[2:], *more]))
    oc._answered.clear()
    writes = world.writes
    async with world.device() as device:
        device.target = parse_target(TARGET)
        plan = await draft(device, {"balance_delta": 0.02}, journal=journal)
        (check,) = plan.blocked
        assert (check.name, check.waiver) == ("unfinished", "")
        with pytest.raises(GateError):
            await apply(device, plan, journal=journal)
        for rollback in (False, True):
            with pytest.raises(GateError, match=r"may have been cut off.*--show.*--keep"):
                await resume(device, rollback=rollback, agreed=True, journal=journal)
        assert world.writes == writes
        for _ in range(3):  # the damage, and what it hid
            ended = await resume(device, keep=True, journal=journal)
            if ended.result == "nothing":
                break
            assert ended.result == "kept"
        assert not journal.unfinished()
        assert not (await draft(device, {}, journal=journal)).blocked
        assert world.writes == writes


def test_damage_of_what_ended_or_of_an_audit_blocks_nobody(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    done = journal.begin("tcp://192.0.2.1:1", {}, [])
    done.note("write", slot=1)
    done.end("done")
    journal.append("decision", target="x")
    journal.append("decision", target="y")
    damaged(journal, b'"write"', b'"wrote"', at=1)
    damaged(journal, b'"x"', b'"z"', at=3)
    assert not journal.unfinished()
    assert journal.damaged() == 2


def test_a_torn_last_line_blocks_no_other_pack(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin("tcp://192.0.2.1:1", {}, []).note("write", slot=1)
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-30])
    (cut,) = journal.unfinished()
    assert not cut.damage
    there, board = where(parse_target("tcp://192.0.2.2:1")), Fingerprint(model="M", cell_count=4)
    assert regards(cut, there, board) == ""
    assert regards(cut, where(parse_target("tcp://192.0.2.1:1")), board) == "place"
    path.write_bytes(path.read_bytes()[:20])  # even its beginning was torn: nothing was sent
    assert not journal.unfinished()
