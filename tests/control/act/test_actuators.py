"""The prepared switches of every dialect: what leaves, when, and what is said of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import bmslink
from bmslink.board import Board
from bmslink.config.switching.frames import SwitchFrames, send_once
from bmslink.control.act.actuators import BoardActuator, Prepared, prepare
from bmslink.errors import BmsError, LinkClosed, LinkTimeout
from bmslink.link.turns import Preempted, Preemption, Turns, preemptible
from bmslink.model import Command, Condition, Switch
from bmslink.protocols.abilities import is_setting
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.transport import SimTransport, make_device, name_device
from bmslink.testing import SimulatedPack

FETS = ("charge", "discharge")
ABLE: dict[str, tuple[str, ...]] = {
    "jk02+sim://?firmware=15.41&load=idle": (*FETS, "balance"),
    "jk02+sim://?firmware=10.07&load=idle": (*FETS, "balance"),
    "jk04+sim://?load=idle": ("balance",),
    "jk-modbus+sim://?load=idle": (*FETS, "balance"),
    "jk-nw+sim://?load=idle": FETS,
    "jbd+sim://?load=idle": (*FETS, "balance"),
    "daly-a5+sim://?load=idle": FETS,
    "daly-d2+sim://?load=idle": FETS,
    "daly-p81+sim://?load=idle": (*FETS, "balance"),
}
"""Target -> the switches that it has."""
URGENT = [
    (target, name)
    for target, names in ABLE.items()
    for name in names
    if not (target.startswith("jbd") and name == "balance")  # a bit of a word in factory mode
]
ALL = [(target, name) for target, names in ABLE.items() for name in names]
JBD = "jbd+sim://?load=idle"
UNTESTED = ("untested",)


class Wire:
    """What goes out on the line of a device, and when."""

    def __init__(self, device: Board) -> None:
        self.sent: list[tuple[float, bytes]] = []
        line = device.link.transport
        self._write = line.write
        line.write = self._written  # type-checked code has no such line

    async def _written(self, data: bytes) -> None:
        self.sent.append((now(), bytes(data)))
        await self._write(data)

    def since(self, moment: float) -> list[bytes]:
        return [data for at, data in self.sent if at >= moment]

    def when(self, frame: bytes, since: float = 0.0) -> float | None:
        return next((at for at, data in self.sent if data == frame and at >= since), None)


def now() -> float:
    return asyncio.get_running_loop().time()


def soon() -> float:
    return now() + 10.0


def line_of(device: Board) -> SimTransport:
    line = device.link.transport
    assert isinstance(line, SimTransport)
    return line


def pack_of(device: Board) -> Pack:
    return line_of(device).pack


@asynccontextmanager
async def ready(target: str) -> AsyncIterator[tuple[Board, Prepared, Wire]]:
    async with bmslink.connect(target).board as device:
        prepared = await prepare(device, waive=UNTESTED)
        yield device, prepared, Wire(device)


async def careful(target: str, command: Command) -> bytes:
    """The frame that the road of the settings, or of the command, sends for the same."""
    async with bmslink.connect(target).board as device:
        if not is_setting(device.driver, command.switch):
            (frame,) = await device.rehearse([], command=command)
            return frame
        table = await device.settings()
        image = dict(table.image) | table.map.encode(table.image, {command.switch.key: True})
        if command.on:
            image |= table.map.encode(image, {command.switch.key: False})
        new = table.map.encode(image, {command.switch.key: command.on})
        (frame,) = await device.rehearse(
            [(table.map.by_address[at], raw) for at, raw in new.items()]
        )
        return frame


# ------------------------------------------------------------------------------------ the frames


@pytest.mark.parametrize(("target", "names"), ABLE.items())
async def test_what_can_be_switched_is_prepared_and_the_rest_says_why(
    target: str, names: tuple[str, ...]
) -> None:
    async with ready(target) as (_, prepared, wire):
        assert set(prepared.actuators) == set(names)
        assert set(prepared.unable) == set(Switch) - set(names)
        assert all("cannot be switched" in why for why in prepared.unable.values())
        assert not wire.sent


@pytest.mark.parametrize("target", ["jbd-up+sim://", "jk-bus+sim://", "daly-sinowealth+sim://"])
async def test_what_nothing_proves_is_not_prepared(target: str) -> None:
    async with ready(target) as (_, prepared, _wire):
        assert not prepared.actuators
        assert set(prepared.unable) == set(Switch)


@pytest.mark.parametrize(("target", "name"), URGENT)
async def test_the_frames_are_those_of_the_command(target: str, name: str) -> None:
    off = await careful(target, Command(Switch(name), False))
    on = await careful(target, Command(Switch(name), True))
    async with ready(target) as (_, prepared, wire):
        actuator = prepared.actuators[name]
        assert (await actuator.off(soon())).sent
        assert wire.sent[-1][1] == off
        assert (await actuator.on(soon())).sent
        assert wire.sent[-1][1] == on


@pytest.mark.parametrize(("target", "name"), ALL)
async def test_off_and_on_take_effect_and_leave_the_others(target: str, name: str) -> None:
    """Also those that were off before: no switch turns another one on."""
    async with ready(target) as (device, prepared, _):
        pack = pack_of(device)
        actuator = prepared.actuators[name]
        for others in (True, False):
            for each in Switch:
                pack.switch(each, others)
            pack.switch(Switch(name), True)
            await asyncio.sleep(7.0)  # what JK shows of its settings is older than that
            beside = {each: on for each, on in pack.switches.items() if each != name}
            for wish in (False, True):
                sent = await (actuator.on if wish else actuator.off)(soon())
                assert (sent.sent, sent.doubt) == (True, "")
                assert pack.switches[Switch(name)] is wish
                assert {each: pack.switches[each] for each in beside} == beside
                assert await actuator.state() is wish
                await asyncio.sleep(7.0)


@pytest.mark.counted
@pytest.mark.parametrize("target", [t for t, names in ABLE.items() if "discharge" in names])
async def test_two_at_once(target: str) -> None:
    """A policy and a person, say: neither frame takes back what the other did."""
    async with ready(target) as (device, prepared, _):
        await device.read()
        pack, switch = pack_of(device), prepared.actuators
        told = await asyncio.gather(switch["charge"].off(soon()), switch["discharge"].off(soon()))
        assert all(sent.sent for sent in told)
        assert not pack.switches[Switch.CHARGE] and not pack.switches[Switch.DISCHARGE]
        await asyncio.sleep(7.0)
        pack.switch(Switch.DISCHARGE, True)
        await asyncio.sleep(7.0)
        await device.read()
        await asyncio.gather(switch["charge"].on(soon()), switch["discharge"].off(soon()))
        assert pack.switches[Switch.DISCHARGE] is False


@pytest.mark.parametrize("target", [t for t, names in ABLE.items() if "discharge" in names])
async def test_off_right_after_an_on(target: str) -> None:
    """What the reading before it showed is old."""
    async with ready(target) as (device, prepared, _):
        switch, pack = prepared.actuators, pack_of(device)
        await switch["charge"].off(soon())
        await asyncio.sleep(7.0)
        await device.read()
        await switch["charge"].on(soon())
        await switch["discharge"].off(soon())
        assert pack.switches == {Switch.CHARGE: True, Switch.DISCHARGE: False, Switch.BALANCE: True}


# --------------------------------------------------------------------------------------- latency


async def _nothing(device: Board) -> None:
    await device.read()


async def _poll(device: Board) -> None:
    while True:
        await device.read()


async def _table(device: Board) -> None:
    await device.read()
    while True:
        try:
            await device.settings()
        except BmsError:
            await device.read()


@pytest.mark.parametrize("beside", [_nothing, _poll, _table])
@pytest.mark.parametrize(("target", "name"), URGENT)
async def test_off_leaves_at_the_next_frame_boundary(target: str, name: str, beside: Any) -> None:
    """At most one exchange goes before it: the one in progress, or JBD's question for its locks."""
    frame = await careful(target, Command(Switch(name), False))
    async with ready(target) as (device, prepared, wire):
        for offset in (0.05, 0.11, 0.31):
            task = asyncio.ensure_future(beside(device))
            if beside is _nothing:
                await task
            else:
                await asyncio.sleep(1.0 + offset)
            called = now()
            sent = await prepared.actuators[name].off(called + 5.0)
            assert sent.sent
            at = wire.when(frame, called)
            assert at is not None
            asked = target.startswith("jbd") and beside is _table  # its 03 may be too old
            assert wire.since(called).index(frame) <= asked
            timing = device.link.timing
            assert at - called <= (1 + asked) * (0.2 + timing.gap), "an exchange and its pause"
            silent = target.startswith("jk-nw")  # it acknowledges nothing
            assert sent.acknowledged is (None if silent else True), "whoever reads the line"
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await prepared.actuators[name].on(soon())


@pytest.mark.parametrize("target", ABLE)
async def test_a_question_that_nobody_answers_is_not_repeated_before_it(target: str) -> None:
    """The line is noisy: what polls tries again and again, off goes between two of its tries."""
    name = ABLE[target][0]
    async with ready(target) as (device, prepared, wire):
        await device.read()
        line_of(device).device.faults.enable("silent")
        reading = asyncio.ensure_future(device.read())
        await asyncio.sleep(0.3)
        called = now()
        sent = await prepared.actuators[name].off(called + 8.0)
        frame = await careful(target, Command(Switch(name), False))
        at = wire.when(frame, called)
        assert at == min(at for at, _ in wire.sent if at >= called)
        assert at - called <= device.link.timing.timeout + device.link.timing.gap
        assert wire.since(called).count(frame) == 1, "one try"
        assert (sent.sent, sent.acknowledged) == (True, None)
        assert pack_of(device).switches[Switch(name)] is False, "it heard, and was not heard"
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def test_late_answers_are_waited_out_by_questions_and_not_by_off() -> None:
    """Where answers do not name their question, the next one waits until late ones have passed."""
    async with ready("jk-modbus+sim://?load=idle") as (device, prepared, wire):
        timing, actuator = device.link.timing, prepared.actuators["charge"]
        table = await device.settings_map(await device.identify())
        line_of(device).device.faults.enable("silent")
        with pytest.raises(LinkTimeout):
            await device.glance(table)
        line_of(device).device.faults.disable("silent")
        last = wire.sent[-1][0]
        asking = asyncio.ensure_future(device.read())
        await asyncio.sleep(0.05)
        called = now()
        assert (await actuator.off(called + 3.0)).acknowledged
        await asking
        first, second = [at for at, _ in wire.sent if at > last][:2]
        assert first - called <= timing.gap + 0.03
        assert 0.0 <= second - (last + 2 * timing.timeout) <= 0.03 + timing.gap


@pytest.mark.counted
@pytest.mark.parametrize("target", [JBD, "jk-nw+sim://?load=idle", "jk02+sim://?load=idle"])
async def test_off_is_no_part_of_a_poll_that_is_given_up(target: str) -> None:
    """The program that polls sends it, and somebody else needs the board."""
    async with ready(target) as (device, prepared, _):
        preemption = Preemption()
        with preemptible(preemption):
            preemption.asked = True
            with pytest.raises(Preempted):
                await device.read()
            assert (await prepared.actuators["charge"].off(soon())).sent
            assert pack_of(device).switches[Switch.CHARGE] is False
            assert (await prepared.actuators["charge"].on(soon())).sent
            frames = await SwitchFrames.find(device, Switch.CHARGE, UNTESTED)
            await send_once(device, await frames.off(lambda switch: None))
        assert pack_of(device).switches[Switch.CHARGE] is False


async def test_whoever_is_urgent_goes_before_all_that_wait() -> None:
    turns, order = Turns(), []

    async def speak(name: str, urgent: bool = False) -> None:
        async with turns.taken(urgent=urgent):
            order.append(name)
            await asyncio.sleep(0.1)

    tasks = [asyncio.ensure_future(speak(f"poll {n}")) for n in range(16)]
    await asyncio.sleep(0.05)
    assert not turns.outranked()
    lost = [asyncio.ensure_future(speak("given up", urgent=True)) for _ in range(2)]
    await asyncio.sleep(0)
    assert turns.outranked()
    lost[1].cancel()
    tasks.append(asyncio.ensure_future(speak("off", urgent=True)))
    asyncio.get_running_loop().call_at(0.1, lost[0].cancel)  # in the moment of its turn
    await asyncio.gather(*tasks)
    assert order == ["poll 0", "off", *(f"poll {n}" for n in range(1, 16))]
    assert not turns.outranked()
    await speak("free again")


# -------------------------------------------------------------------------------------- the truth


@pytest.mark.parametrize("target", ABLE)
async def test_what_cannot_leave_in_time_never_leaves(target: str) -> None:
    name = ABLE[target][0]
    async with ready(target) as (device, prepared, wire):
        async with device.link._turn():  # somebody speaks for very long
            sent = await prepared.actuators[name].off(now() + 0.5)
        assert sent.sent is False
        assert (await prepared.actuators[name].off(now())).sent is False
        await asyncio.sleep(5.0)
        assert not wire.sent
        assert pack_of(device).switches[Switch(name)]


@pytest.mark.parametrize("target", ABLE)
async def test_a_dead_link_is_told_and_nothing_is_queued(target: str) -> None:
    name = ABLE[target][0]
    async with ready(target) as (device, prepared, _):
        actuator = prepared.actuators[name]
        device.link._on_lost(LinkClosed("The plug was pulled."))
        for command in (actuator.off, actuator.on):
            sent = await command(soon())
            assert sent.sent is False
            assert sent.error
        assert await actuator.state() is None
        await device.reopen()
        wire = Wire(device)
        await device.read()
        assert pack_of(device).switches[Switch(name)]
        assert (await actuator.off(soon())).sent, "opened anew, its frames are found again"
        assert wire.sent
        assert pack_of(device).switches[Switch(name)] is False


async def test_a_write_that_breaks_is_unknown() -> None:
    async with ready("daly-a5+sim://?load=idle") as (device, prepared, _):

        async def broken(data: bytes) -> None:
            raise LinkClosed("The plug was pulled.")

        device.link.transport.write = broken
        sent = await prepared.actuators["charge"].off(soon())
        assert sent.sent is None
        assert "plug" in sent.error


async def test_on_goes_to_the_board_from_before_only() -> None:
    async with ready(JBD) as (device, prepared, wire):
        actuator = prepared.actuators["charge"]
        await actuator.off(soon())
        actuator._known = {**actuator._known, "firmware": "9.9"}
        await device.reopen()
        wire = Wire(device)
        sent = await actuator.on(soon())
        assert sent.sent is False
        assert "another board" in sent.error
        assert not any(b"\x5a\xe1" in data for _, data in wire.sent)


# -------------------------------------------------------------------------------------------- JBD


def lock(data: bytes) -> int | None:
    """The value of an E1."""
    return data[5] if data[1:4] == b"\x5a\xe1\x02" else None


async def locks_sent(wire: Wire, actuator: BoardActuator) -> tuple[list[int], Any]:
    before = len(wire.sent)
    sent = await actuator.off(soon())
    return [v for _, data in wire.sent[before:] if (v := lock(data)) is not None], sent


@pytest.mark.counted
@pytest.mark.parametrize("locked", [False, True])
async def test_jbd_keeps_the_other_lock_while_a_protection_is_active(locked: bool) -> None:
    """One FET is locked, and a protection has opened the other or the same one."""
    async with ready(JBD) as (device, prepared, wire):
        pack = pack_of(device)
        pack.switch(Switch.DISCHARGE, not locked)
        await device.read()  # this shows which one is locked
        pack.raise_condition("protection", Condition.SHORT_CIRCUIT)  # opens both
        await device.read()
        locks, sent = await locks_sent(wire, prepared.actuators["charge"])
        assert (locks, sent.doubt) == ([3 if locked else 1], "")
        pack.clear_condition(Condition.SHORT_CIRCUIT)
        assert pack.switches[Switch.DISCHARGE] is not locked


@pytest.mark.counted
@pytest.mark.parametrize("remembered", [None, True, False])
async def test_jbd_by_our_last_confirmed_lock_or_both(remembered: bool | None) -> None:
    """Met with both FETs open, a lock and a protection: the board does not show which is locked."""
    async with bmslink.connect(JBD).board as device:
        pack = pack_of(device)
        pack.switch(Switch.DISCHARGE, False)
        pack.raise_condition("protection", Condition.SHORT_CIRCUIT)
        memory = {Switch.DISCHARGE: remembered}
        prepared = await prepare(device, remembered=memory.get)
        wire = Wire(device)
        locks, sent = await locks_sent(wire, prepared.actuators["charge"])
        assert locks == [1 if remembered else 3]
        assert ("both are locked" in sent.doubt) is (remembered is None)
        assert sent.others == {"discharge": bool(remembered)}


@pytest.mark.counted
async def test_jbd_two_offs_in_a_row_lock_both_however_late_the_first_takes_effect() -> None:
    async with ready(JBD) as (device, prepared, wire):
        await device.read()
        assert (await locks_sent(wire, prepared.actuators["charge"]))[0] == [1]
        pack_of(device).switch(Switch.CHARGE, True)  # not yet
        await device.read()
        assert (await locks_sent(wire, prepared.actuators["discharge"]))[0] == [3]
        await asyncio.sleep(7.0)
        pack_of(device).switch(Switch.CHARGE, True)  # somebody freed it
        await device.read()
        assert (await locks_sent(wire, prepared.actuators["discharge"]))[0] == [2]


@pytest.mark.counted
async def test_jbd_asks_no_question_where_the_reading_said_it() -> None:
    async with ready(JBD) as (device, prepared, wire):
        await device.read()
        before = len(wire.sent)
        await prepared.actuators["charge"].off(soon())
        assert len(wire.sent) == before + 1
        await asyncio.sleep(2.5)
        before = len(wire.sent)
        await prepared.actuators["charge"].off(soon())
        assert len(wire.sent) == before + 2, "what is older is asked again"


@pytest.mark.parametrize("protocol", ["jk02", "jk04", "jk-modbus", "jk-nw"])
@pytest.mark.parametrize("on", [False, True])
async def test_a_board_that_is_being_asked_anew_who_it_is(protocol: str, on: bool) -> None:
    """What looks now and then whether another board answers makes the driver forget the one that
    it knew. An off at that moment was refused: the kind of the board was not known."""
    name = "balance" if protocol == "jk04" else "discharge"
    pack = SimulatedPack(protocol, cells=None if protocol == "jk04" else 4)
    async with bmslink.connect(pack.target).board as device:
        actuator = (await prepare(device, waive=["untested"])).actuators[name]
        pack.set_switch(name, not on)
        device.driver.forget()
        sent = await (actuator.on if on else actuator.off)(asyncio.get_running_loop().time() + 5.0)
        assert sent.sent, sent.error
        assert pack.truth().to_dict()[f"{name}_switch"] is on


async def test_frames_that_were_found_before_the_board_was_asked_anew() -> None:
    async with bmslink.connect("jk02+sim://?load=idle").board as device:
        frames = await SwitchFrames.find(device, Switch.CHARGE, ())
        step = await frames.off(lambda switch: None)
        device.driver.forget()
        assert await frames.off(lambda switch: None) == step


@pytest.mark.parametrize(("first", "second"), [("10.07", "15.41"), ("15.41", "10.07")])
async def test_off_goes_out_as_the_board_that_is_there_now_takes_it(
    first: str, second: str
) -> None:
    """Another board behind the same adapter: 24S and 32S boards have other registers."""
    boards = [make_device("jk02", firmware=each, load="idle") for each in (first, second)]
    target = f"jk02+sim://?pack={name_device(boards[0])}"
    async with bmslink.connect(target).board as device:
        actuators = (await prepare(device, waive=UNTESTED)).actuators
        device.link.transport.device = boards[1]  # type-checked code has no such line
        await device.reopen()
        for name in (*FETS, "balance"):
            sent = await actuators[name].off(soon())
            assert sent.sent, sent.error
            assert boards[1].pack.switches[Switch(name)] is False
        assert all(boards[0].pack.switches.values())
