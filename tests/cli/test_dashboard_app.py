"""The dashboard as an application over simulated packs: textual's pilot presses the keys."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from bmslink.cli.dashboard.app import Dashboard
from bmslink.cli.dashboard.behind import Behind
from bmslink.cli.dashboard.desk import Dialog
from bmslink.cli.dashboard.drawing import draw
from bmslink.cli.dashboard.model.pack import WatchedPack
from bmslink.cli.dashboard.watching.place import NamedPlace
from bmslink.cli.render import text as t
from bmslink.config import Plan
from bmslink.connection import Connection
from bmslink.control.presets import preset
from bmslink.device import Device
from bmslink.errors import PortNotFound
from bmslink.link.transport import Pin
from bmslink.model import Identity, Reading
from bmslink.packs import find_pack
from bmslink.target import resolve
from served_support import served

QUIET = "sim://jbd?gap=0&cells=4&seed={}"


def places_of(*targets: str) -> list[NamedPlace]:
    return [NamedPlace(resolve(text), Pin(), find_pack(text)) for text in targets]


@asynccontextmanager
async def dashboard(
    *targets: str, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[Dashboard, Pilot[None]]]:
    places = places_of(*targets)
    packs = [WatchedPack(p.endpoint.name or str(p.endpoint), str(p.endpoint)) for p in places]
    app = Dashboard(packs, t.UNICODE, lambda desk, draw: Behind(desk, places, t.UNICODE, draw))
    async with app.run_test(size=size) as pilot:
        yield app, pilot
        await app.stop()


async def until(app: Dashboard, found: Callable[[str], bool], seconds: float = 20) -> str:
    """The screen, once it shows what is looked for."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not found(text := "\n".join(app.shown)):
        assert asyncio.get_running_loop().time() < deadline, text
        await asyncio.sleep(0.05)
    return text


async def test_packs_are_listed_zoomed_by_key_and_mouse_and_resized():
    async with dashboard(QUIET.format(1), QUIET.format(2)) as (app, pilot):
        await until(app, lambda text: "2 packs   " in text)
        await pilot.press("down", "enter")
        await until(app, lambda text: "live," in text and "seed=2" in text)
        row = next(n for n, line in enumerate(app.shown) if "5 events" in line)
        await pilot.click(offset=(app.shown[row].index("events"), row))
        await until(app, lambda text: "5[events]" in text)
        await pilot.resize_terminal(132, 40)
        await until(app, lambda text: len(app.shown) == 40 and len(app.shown[0]) == 132)
        await pilot.press("escape", "q")
    assert app.failure is None


async def test_a_setting_is_changed_by_plan_question_and_proof(tmp_path: Path):
    async with dashboard(f"{QUIET.format(1)}&chemistry=lfp") as (app, pilot):
        await until(app, lambda text: "H 3.650" in text)  # the limits were read for the bars
        await pilot.press("3", "down", "e")
        await until(app, lambda text: "new value in V" in text)
        await pilot.press(*"3.6", "enter")
        text = await until(app, lambda text: "y yes" in text or "What are the cells" in text)
        if "What are" in text:
            await pilot.press(*"lfp", "enter")
        text = await until(app, lambda text: "y yes" in text)
        assert "3.65 V  >  3.6 V" in text
        await pilot.press("n")
        await until(app, lambda text: "Declined: nothing was sent." in text)
        await pilot.press("e", *"3.6", "enter")
        text = await until(app, lambda text: "y yes" in text or "What are the cells" in text)
        if "What are" in text:
            await pilot.press(*"lfp", "enter")
            await until(app, lambda text: "y yes" in text)
        await pilot.press("y")
        await until(app, lambda text: "Enter closes this" in text)
        await pilot.press("enter", "1")
        await until(app, lambda text: "H 3.600" in text)
        await pilot.press("5")
        await until(app, lambda text: "cell_ovp, from here" in text)


async def test_a_check_stops_a_change_and_a_person_may_let_it_pass_by_its_name():
    async with dashboard(f"{QUIET.format(1)}&fault=condition:cell_overvoltage") as (app, pilot):
        await until(app, lambda text: "H 3.650" in text)
        await pilot.press("3", "down", "e")
        await until(app, lambda text: "new value in V" in text)
        await pilot.press(*"3.6", "enter")
        text = await until(app, lambda text: "To go on all" in text or "What are the" in text)
        if "What are" in text:
            await pilot.press(*"lfp", "enter")
        text = await until(app, lambda text: "To go on all the same, type protection" in text)
        assert "STOP  protection" in text
        await pilot.press(*"yes", "enter")
        await until(app, lambda text: "Nothing was sent." in text and "3[settings]" in text)


async def test_off_goes_out_with_the_second_key_whatever_the_polls_and_the_screen_do(
    monkeypatch: pytest.MonkeyPatch,
):
    order: list[str] = []

    def noted(*about: Any) -> Any:
        order.append("draw")
        return draw(*about)

    monkeypatch.setattr("bmslink.cli.dashboard.app.draw", noted)
    async with dashboard(QUIET.format(1)) as (app, pilot):
        await until(app, lambda text: "live," in text)
        await pilot.press("-", "-", "-")  # the next reading is far away
        pack = app.desk.packs[0]
        await pilot.press("x")
        await until(app, lambda text: "at once?" in text)
        assert app.behind is not None
        board = app.behind.followers[id(pack)].opened()
        assert board.tap is not None
        with board.tap.listening(lambda way, data: order.append(way)):
            order.clear()
            await pilot.press("c")
            await until(app, lambda text: "charge off is sent" in text)
        while order[0] == "rx":  # of the exchange in progress
            del order[0]
        assert order[:3] == ["tx", "rx", "tx"], "JBD's question, and the frame, before a drawing"
        await until(app, lambda text: "charge off: read back" in text)
        assert pack.reading.charging_allowed is False or pack.reading.charge_switch is False
        assert any(event.what == "switch_here" for event in pack.events)


async def test_a_recording_is_turned_on_and_back_and_held(fixtures: Path):
    file = fixtures / "jbd" / "jbd-aces-4s.jsonl"
    async with dashboard(f"replay://{file}?speed=50") as (app, pilot):
        await until(app, lambda text: "ENDED" in text)
        pack = app.desk.packs[0]
        assert pack.recording is not None
        await pilot.press("<")
        await until(app, lambda text: "ENDED" not in text)
        await until(app, lambda text: "ENDED" in text)
        await pilot.press("(", "6")
        await until(app, lambda text: "10 times as fast" in text)


async def test_a_mistake_of_ours_ends_it_with_an_error(monkeypatch: pytest.MonkeyPatch):
    def fail(*about: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with dashboard(QUIET.format(1)) as (app, pilot):
            await until(app, lambda text: "live," in text)
            monkeypatch.setattr("bmslink.cli.dashboard.app.draw", fail)
            await pilot.press("?")
            await pilot.pause(0.2)
    assert isinstance(app.failure, ZeroDivisionError)


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bmslink.toml with two packs, one of which has policies."""
    file = tmp_path / "bmslink.toml"
    monkeypatch.setenv("BMSLINK_CONFIG", str(file))
    (tmp_path / "lfp.toml").write_text(preset("lfp", "solar", cells=4, capacity=100))
    file.write_text(
        f'[packs.van]\ntarget = "{QUIET.format(1)}"\npolicies = "lfp.toml"\n'
        f'[packs.boat]\ntarget = "{QUIET.format(2)}"\n'
    )
    return file


def edited(file: Path, old: str, new: str) -> None:
    """Another content, and a time that differs."""
    file.write_text(file.read_text().replace(old, new))
    os.utime(file, (0, file.stat().st_mtime + 5))


async def test_names_are_shown_and_follow_bmslink_toml(names: Path):
    async with dashboard("van", "boat") as (app, _):
        await until(app, lambda text: "2 packs   " in text and "   boat " in text)
        edited(names, "[packs.boat]", "[packs.ship]")
        await until(app, lambda text: "   ship " in text and "boat" not in text)
        edited(names, "seed=2", "seed=3")
        await until(app, lambda text: "does not name this pack any more" in " ".join(text.split()))
        assert [event.what for event in app.desk.packs[1].events].count("renamed") == 2


async def test_the_policies_of_a_named_pack_are_tried_in_shadow(names: Path):
    async with dashboard("van") as (app, pilot):
        await until(app, lambda text: "h 3.6" in text and "H 3.650" in text)
        await pilot.press("4")
        text = await until(app, lambda text: "how far it is from each" in text)
        assert "in shadow, judged here: nothing acts" in " ".join(text.split())
        assert "charge      permitted" in text
        margins = app.desk.more(app.desk.packs[0]).margins
        (high,) = [each for each in margins if each.name == "cell_overvoltage"]
        assert high.state == "holds" and high.margin.endswith("V away")
        edited(names, "lfp.toml", "missing.toml")
    async with dashboard("van") as (app, pilot):
        await until(app, lambda text: "live," in text)
        await pilot.press("4")
        await until(app, lambda text: "There is no file" in text)


async def test_a_board_that_is_exchanged_while_the_link_is_lost_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
):
    async with dashboard(QUIET.format(1), QUIET.format(2)) as (app, pilot):
        await until(app, lambda text: "2 packs   " in text)
        assert app.behind is not None
        follower = app.behind.followers[id(app.desk.packs[0])]
        other = replace(app.desk.packs[0].identity, serial_number=None, model="another")
        monkeypatch.setattr(type(follower.opened()), "identify", answers(other))
        await follower.opened().link.close()  # unplugged
        await until(app, lambda text: "LINK LOST" in text)
        await until(app, lambda text: "OTHER BOARD" in text, 60)
        await pilot.press("home", "x")
        await until(app, lambda text: "Nothing was switched: another board" in text)
        await pilot.press("a")
        await until(app, lambda text: "OTHER BOARD" not in text)


def answers(identity: Identity) -> Callable[[object], Awaitable[Identity]]:
    """A board that says it is this one."""

    async def identify(board: object) -> Identity:
        return identity

    return identify


# ------------------------------------------------------------------- off while the link is lost


class Cable:
    """Whether the simulated packs can be reached."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plugged, self.openings = True, 0
        opened = Connection.open

        async def open_it(board: Connection) -> None:
            self.openings += 1
            if not self.plugged:
                raise PortNotFound("There is no port sim.")
            await opened(board)

        monkeypatch.setattr(Connection, "open", open_it)

    async def pull(self, app: Dashboard) -> None:
        """Out; the screen says so, and the next opening is far away."""
        self.plugged = False
        pack = app.desk.current(0)
        assert app.behind is not None and pack is not None
        await app.behind.followers[id(pack)].opened().link.close()
        await until(app, lambda text: "LINK LOST" in text)
        await asyncio.sleep(20)


async def test_off_is_tried_while_the_link_is_lost_and_goes_out_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
):
    cable = Cable(monkeypatch)
    async with dashboard(QUIET.format(1)) as (app, pilot):
        await until(app, lambda text: "live," in text)
        await cable.pull(app)
        before = cable.openings
        await pilot.press("x", "c")
        text = await until(app, lambda text: "tried again" in text)
        assert "charge off is not out yet" in " ".join(text.split())
        await asyncio.sleep(3)
        assert 3 <= cable.openings - before <= 6, "at once, and every second"
        await pilot.press("x", "c")
        assert app.behind is not None
        assert len(app.behind.followers[id(app.desk.packs[0])].switching) == 1
        (left,) = app.behind.left()
        assert ": charge off was not proven yet. `bmslink read " in left
        cable.plugged = True
        begun = asyncio.get_running_loop().time()
        await until(app, lambda text: "charge off: read back" in text)
        assert asyncio.get_running_loop().time() - begun < 8
        assert app.desk.packs[0].reading.charging_allowed is False


async def test_off_that_never_gets_through_says_that_it_was_not_sent(
    monkeypatch: pytest.MonkeyPatch,
):
    cable = Cable(monkeypatch)
    async with dashboard(QUIET.format(1)) as (app, pilot):
        await until(app, lambda text: "live," in text)
        await cable.pull(app)
        await pilot.press("x", "d")
        text = await until(app, lambda text: "was NOT sent" in text, 40)
        told = " ".join(text.split())
        assert "discharge off was NOT sent, tried for 30 s: There is no port sim." in told
        cable.plugged = True
        await until(app, lambda text: "live," in text, 60)
        assert app.desk.packs[0].reading.discharging_allowed is True, "nothing is sent later"


async def test_off_is_never_delayed_by_a_change_that_is_planned_or_written():
    async with dashboard(f"{QUIET.format(1)}&chemistry=lfp") as (app, pilot):
        await until(app, lambda text: "H 3.650" in text)
        await pilot.press("3", "down", "e")
        await until(app, lambda text: "new value in V" in text)
        await pilot.press(*"3.6", "enter")
        text = await until(app, lambda text: "y yes" in text or "What are the cells" in text)
        if "What are" in text:
            await pilot.press(*"lfp", "enter")
            await until(app, lambda text: "y yes" in text)
        await pilot.press("x", "c")  # no to the plan
        await until(app, lambda text: "charge off: read back" in text)
        assert app.desk.packs[0].settings.values()["cell_ovp"] != 3.6
        app.desk.dialog = Dialog("a change", busy="writing ...")
        await pilot.press("x", "d")
        app.desk.dialog = None
        await until(app, lambda text: "discharge off: read back" in text)


async def test_a_pack_is_read_through_a_service_that_starts_and_directly_when_it_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    target = QUIET.format(1)
    async with dashboard(target) as (app, pilot):
        await until(app, lambda text: "live," in text)
        pack = app.desk.packs[0]
        assert pack.through == "" and app.behind is not None
        follower = app.behind.followers[id(pack)]
        own = follower.opened()
        async with served(target):
            await pilot.press("6")  # it gives the line away, though nothing is wrong with its own
            await until(app, lambda text: "the service (process" in text)
            assert not own.opened
            await until(app, lambda text: "live," in text)
            pack.limits = {"ccl": {"value": 1.0}}
            await pilot.press("x", "c")
            await until(app, lambda text: "charge off: read back" in text)
            assert follower.service is not None
        await until(app, lambda text: "the service (process" not in text and "live," in text, 60)
        assert (pack.limits, pack.beat) == ({}, 0.0), "nothing that the service decided is left"
        said = [event.text for event in pack.events if event.what == "service"]
        assert said[0].startswith("It is read through the service (process ")
        assert said[1] == "It is read directly: no service has it now."
        assert app.failure is None


async def test_the_age_of_a_served_reading_is_that_of_the_reading():
    pack = WatchedPack("served", "sim://", beat=30.0)
    pack.take(Reading(soc=1.0), 100.0, datetime.now().astimezone(), 25.0)
    assert pack.age(105.0) == 30.0
    assert (pack.freshness(105.0), pack.freshness(170.0)) == ("live", "late")


_ANY = [
    *"abcdefghijklmnoprstuvwxyz0123456789?/+-[]<>()= é電AXYE",
    "up", "down", "pageup", "pagedown", "home", "end", "enter", "escape", "tab", "shift+tab",
    "left", "right", "backspace", "ctrl+u", "f1", "delete",
]  # fmt: skip
_OFTEN = ["x", "c", "d", "a", "e", "enter", "y", "down", "escape", "3"]


async def test_whatever_keys_are_pressed_nothing_breaks_and_nothing_is_written_unasked(
    monkeypatch: pytest.MonkeyPatch, fixtures: Path
):
    """Random keys, clicks, sizes and pulled cables. A change is written only right after a yes to
    its question, and a switch only goes off after the question for it."""
    rng, lately, cable = random.Random(19), list[str](), Cable(monkeypatch)
    apply, switch = Device.apply, Device.switch

    async def applied(device: Device, plan: Plan, **more: Any) -> Any:
        assert {"y", "Y"} & set(lately[-8:])
        return await apply(device, plan, **more)

    async def switched(device: Device, name: str, on: bool | None = None, **more: Any) -> Any:
        assert on is False and {*"xX"} & set(lately) and {*"cdaCDA"} & set(lately[-8:])
        return await switch(device, name, on, **more)

    monkeypatch.setattr(Device, "apply", applied)
    monkeypatch.setattr(Device, "switch", switched)
    recording = fixtures / "jbd" / "jbd-aces-4s.jsonl"
    targets = (f"{QUIET.format(1)}&chemistry=lfp", "sim://jk02?cells=24", f"replay://{recording}")
    async with dashboard(*targets) as (app, pilot):
        for n in range(400):
            if rng.random() < 0.01:
                cable.plugged = rng.random() < 0.6
                (follower, *_) = app.behind.followers.values() if app.behind else [None]
                if follower is not None and follower.reachable() is not None:
                    await follower.opened().link.close()
            if rng.random() < 0.01:
                size = rng.choice([(20, 5), (40, 12), (80, 24), (300, 80)])
                await pilot.resize_terminal(*size)
            lately.append(rng.choice(_OFTEN if rng.random() < 0.4 else _ANY))
            app._press(lately[-1])
            if n % 4 == 0:
                await asyncio.sleep(rng.choice([0, 0.01, 0.3, 2]))
            assert app.failure is None
        assert not any("made a mistake" in e.text for p in app.desk.packs for e in p.events)
