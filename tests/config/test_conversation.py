"""What is asked once in a row of calls: who answers, and JBD's factory mode."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from bmslink import connect
from bmslink.board import Board
from bmslink.cli import asking
from bmslink.config import Plan, apply, draft
from bmslink.config.identity.known_as import same_board
from bmslink.errors import GateError, Refused
from bmslink.model import Identity
from bmslink.protocols.common.settings_map import SettingsMap
from bmslink.storage.journal import Journal

pytestmark = pytest.mark.counted

JBD = "sim://jbd?cells=4&load=idle&seed=1"
ENTER, LEAVE, COMMIT = "dd5a0002", "dd5a01020000", "dd5a01022828"


@contextmanager
def watched(device: Board) -> Iterator[list[str]]:
    """What enters and leaves factory mode, as it is sent; and who is asked (`who`)."""
    seen: list[str] = []
    write, identify = device.link.transport.write, device.driver.identify

    async def written(data: bytes) -> None:
        found = [each for each in (ENTER, LEAVE, COMMIT) if data.hex().startswith(each)]
        seen.extend({ENTER: "enter", LEAVE: "leave", COMMIT: "commit"}[each] for each in found)
        await write(data)

    async def identified() -> Identity:
        seen.append("who")
        return await identify()

    with (
        patch.object(device.link.transport, "write", written),
        patch.object(device.driver, "identify", identified),
    ):
        yield seen


async def test_who_answers_is_asked_again_after_a_pause_and_on_a_new_line() -> None:
    device = connect(JBD).board
    with watched(device) as seen:
        async with device:
            first = await device.who()
            assert await device.who() == first
            assert seen == ["who"]
            await device.read()  # somebody goes on answering
            await asyncio.sleep(1.0)
            await device.read()
            await device.who()
            assert seen == ["who"]
            await asyncio.sleep(2.0)
            await device.who()
            assert seen == ["who"] * 2
            await asyncio.sleep(2.0)
            await device.read()  # the pause is over, and who came with it is not known
            await device.who()
            assert seen == ["who"] * 3
            await device.reopen()
            await device.who()
            assert seen == ["who"] * 4


async def test_who_answers_is_asked_again_after_an_outage() -> None:
    device = connect(JBD).board
    faults = device.link.transport.device.faults
    with watched(device) as seen:
        async with device:
            await device.who()
            asyncio.get_running_loop().call_later(1.1, faults.disable, "silent")
            faults.enable("silent")
            await device.read()
            await device.who()
    assert seen == ["who"] * 2


async def test_a_plan_of_a_moment_ago_asks_nothing_twice(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    device = connect(JBD).board
    with watched(device) as seen:
        async with device, device.conversation():
            plan = await draft(device, {"cell_ovp": 3.6}, chemistry="lfp", journal=journal)
            await apply(device, plan, journal=journal)
    assert seen == ["who", "enter", "commit", "enter", "who", "leave"]


async def test_after_a_while_who_answers_is_asked_before_the_write(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    device = connect(JBD).board
    with watched(device) as seen:
        async with device:
            plan = await draft(device, {"cell_ovp": 3.6}, chemistry="lfp", journal=journal)
            await asyncio.sleep(30)
            await apply(device, plan, journal=journal)
    assert seen == ["who", "enter", "leave", "who", "enter", "commit", "enter", "who", "leave"]


async def test_another_board_after_a_pause_is_not_written_to(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    async with connect(JBD).board as device:
        plan = await draft(device, {"cell_ovp": 3.6}, chemistry="lfp", journal=journal)
        await asyncio.sleep(30)
        other = Identity(vendor="JBD", model="Another", firmware="8.0", protocol="jbd")

        async def identified() -> Identity:
            return other

        with (
            patch.object(device.driver, "identify", identified),
            pytest.raises(GateError, match="made for another board"),
        ):
            await apply(device, plan, journal=journal)
    assert not list(journal.records())


async def test_factory_mode_stays_open_in_a_conversation_only() -> None:
    device = connect(JBD).board
    with watched(device) as seen:
        async with device:
            found = await device.settings_map(await device.who())
            seen.clear()
            await device.settings(found)
            assert seen == ["enter", "leave"]
            seen.clear()
            async with device.conversation():
                await device.settings(found)
                async with device.conversation():
                    await device.settings(found)
                assert seen == ["enter"]
                await device.leave_session()
                assert seen == ["enter", "leave"]
                await device.leave_session()
                async with device.writing():
                    pass
                await device.settings(found)
            assert seen == ["enter", "leave", "enter", "commit", "enter", "leave"]


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
async def test_factory_mode_is_left_whatever_ends_a_conversation(
    error: type[BaseException],
) -> None:
    device = connect(JBD).board
    with watched(device) as seen:
        async with device:
            found = await device.settings_map(await device.who())
            seen.clear()
            with pytest.raises(error):
                async with device.conversation():
                    await device.settings(found)
                    raise error
            assert seen == ["enter", "leave"]
            assert not device.driver.settings.in_session


async def test_what_somebody_else_closes_is_opened_again_by_the_next_call() -> None:
    device = connect(JBD).board
    async with device:
        found = await device.settings_map(await device.who())
        async with device.conversation():
            await device.settings(found)
            await device.driver.settings._leave(b"\x00\x00")  # as an app would
            with pytest.raises(Refused, match="81"):
                await device.settings(found)
            assert (await device.settings(found)).image


async def test_a_new_line_begins_without_a_session() -> None:
    device = connect(JBD).board
    with watched(device) as seen:
        async with device:
            found = await device.settings_map(await device.who())
            async with device.conversation():
                await device.settings(found)
                seen.clear()
                await device.reopen()
                await device.settings(found)
            assert seen == ["enter", "leave"]


async def test_a_new_line_keeps_no_other_program_out() -> None:
    device = connect(JBD).board
    let_in: list[str] = []
    async with device:
        device.driver.settings._held.callback(let_in.append, "others")
        await device.reopen()
        assert let_in == ["others"]


async def test_a_rehearsal_in_a_conversation_shows_all_frames_and_sends_none() -> None:
    device = connect(JBD).board
    async with device:
        found = await device.settings_map(await device.who())
        table = await device.settings(found)
        slot = found.by_address[found.setting("cell_ovp").slot]
        data = table.image[slot.address]
        alone = await device.rehearse([(slot, data)])
        with watched(device) as seen:
            async with device.conversation():
                await device.settings(found)
                assert await device.rehearse([(slot, data)]) == alone
                assert seen == ["enter"]
            assert seen == ["enter", "leave"]
    assert [frame.hex()[:8] for frame in alone] == ["dd5a0002", "dd5a2402", "dd5a0102"]


def test_a_text_that_was_cut_short_first_is_no_other_board() -> None:
    cut = {"model": "JBD-SP", "firmware": "8.0", "serial_number": "12"}
    whole = {"model": "JBD-SP04S034", "firmware": "8.0", "serial_number": "12"}
    assert same_board(cut, whole)
    assert not same_board(cut, whole, cut_short=True)
    assert same_board(whole, cut, cut_short=True)
    assert same_board(cut, {**whole, "serial_number": "123"}, cut_short=True)
    assert same_board({**cut, "model": ""}, whole, cut_short=True)


def test_factory_mode_is_not_open_while_a_person_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bmslink.cli.app import main

    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path))
    devices: list[Board] = []
    entering = Board.__aenter__

    async def entered(self: Board) -> Board:
        devices.append(self)
        return await entering(self)

    async def answer(question: str) -> str:
        assert "Write 1 setting" in question
        assert not devices[0].driver.settings.in_session
        assert devices[0].driver.settings.in_conversation
        return "n"

    monkeypatch.setattr(Board, "__aenter__", entered)
    monkeypatch.setattr(asking, "answer", answer)
    monkeypatch.setattr(asking, "can_ask", lambda: True)
    target = f"{JBD}&gap=0"
    assert main(["settings", "set", target, "cell_ovp=3.6", "--chemistry", "lfp"]) == 3


def test_factory_mode_is_not_open_while_a_plan_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bmslink.cli import change
    from bmslink.cli.app import main

    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path))
    devices: list[Board] = []
    entering, shown = Board.__aenter__, []

    async def entered(self: Board) -> Board:
        devices.append(self)
        return await entering(self)

    def show(*args: object, **more: object) -> None:
        shown.append(devices[-1].driver.settings.in_session)

    monkeypatch.setattr(Board, "__aenter__", entered)
    monkeypatch.setattr(change, "show_plan", show)
    words = ["settings", "set", f"{JBD}&gap=0", "cell_ovp=3.6", "--chemistry", "lfp"]
    assert main([*words, "--dry-run"]) == 0
    assert main(words) == 3  # nobody is there to agree
    assert shown == [False, False]


async def test_the_board_that_answers_after_a_person_agreed_is_asked_who_it_is(
    tmp_path: Path,
) -> None:
    """While a person thinks, a gateway stays open and the plug goes into the next pack."""
    journal = Journal(tmp_path)
    async with connect(JBD).board as device:
        identify, swapped = device.driver.identify, False

        async def identified() -> Identity:
            number = "another one" if swapped else "the first one"
            return replace(await identify(), serial_number=number)

        def agree(plan: Plan) -> bool:
            nonlocal swapped
            swapped = True
            device.link.continuity.answered_at -= 60  # a person took a minute
            return True

        with patch.object(device.driver, "identify", identified):
            plan = await draft(device, {"cell_ovp": 3.6}, chemistry="lfp", journal=journal)
            asked = replace(plan, changes=())  # so that it differs from what is planned again
            with pytest.raises(GateError, match=r"Another board answers.*Nothing was sent"):
                await apply(device, asked, journal=journal, confirm=agree)
        after = await device.settings(plan.table.map)
    assert swapped
    assert after.image == plan.table.image
    assert not journal.unfinished()
    assert [r["outcome"] for r in journal.records() if r["event"] == "end"] == ["nothing sent"]


async def test_after_a_while_the_map_of_the_board_is_found_anew(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    async with connect(JBD).board as device:
        find, found = device.driver.settings.find_map, []

        async def find_map(identity: Identity) -> SettingsMap:
            found.append(identity)
            return await find(identity)

        with patch.object(device.driver.settings, "find_map", find_map):
            plan = await draft(device, {"cell_ovp": 3.6}, chemistry="lfp", journal=journal)
            assert len(found) == 1
            await asyncio.sleep(30)
            await apply(device, plan, journal=journal)
            assert len(found) == 2


async def test_a_text_that_was_cut_short_before_the_write_is_asked_for_again(
    tmp_path: Path,
) -> None:
    journal = Journal(tmp_path)
    async with connect(JBD).board as device:
        plan = await draft(device, {"cell_ovp": 3.6}, chemistry="lfp", journal=journal)
        await asyncio.sleep(30)
        identify, cut = device.driver.identify, [True]

        async def identified() -> Identity:
            found = await identify()
            assert found.model
            return replace(found, model=found.model[:3]) if cut and cut.pop() else found

        with patch.object(device.driver, "identify", identified):
            assert (await apply(device, plan, journal=journal)).result == "done"
        assert not cut


async def test_after_an_outage_that_was_no_pause_who_answers_is_not_certain() -> None:
    """Questions with less patience than usual may go unanswered twice within a moment."""
    device = connect(JBD).board
    async with device:
        assert not device.certain
        await device.who()
        assert device.certain
        device.link.continuity.outages += 1
        assert not device.certain
