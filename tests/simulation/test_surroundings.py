"""What acts on a simulated pack from outside, on every dialect that can switch."""

from __future__ import annotations

import asyncio
import json

import pytest

import bmslink
from bmslink.control.act.actuators import prepare
from bmslink.errors import TargetError
from bmslink.model import Switch
from bmslink.simulation.console import execute, execute_on
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.pack.surroundings import HAPPENINGS
from bmslink.simulation.transport import make_device
from bmslink.simulation.wire import FAULTS
from bmslink.testing import SimulatedPack

CHARGE, DISCHARGE, BALANCE = Switch
DIALECTS = {
    "jk02": True, "jk04": True, "jk-modbus": True, "jk-nw": None, "jbd": True, "daly-a5": True,
    "daly-d2": True, "daly-p81": True,
}  # fmt: skip
"""Protocol -> what an off is acknowledged with while the board is well."""
OLD = 7.0
"""So long a view of the switches may be old, s."""


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("protocol", DIALECTS)
async def test_how_boards_take_commands(protocol: str) -> None:
    """Ignored, acknowledged for nothing, obeyed late: each looks different on the wire."""
    pack = SimulatedPack(protocol)
    async with bmslink.connect(pack.target).board as device:
        switch = (await prepare(device, waive=["untested"])).actuators
        one = switch.get("charge") or switch["balance"]

        async def off() -> bool | None:
            sent = await one.off(now() + 5.0)
            assert sent.sent
            return sent.acknowledged

        pack.ignore_commands()
        assert await off() is None
        await asyncio.sleep(OLD)
        assert await one.state() is True
        pack.repair("command_ignored")

        pack.ignore_commands(one.name, acknowledged=True)
        assert await off() is DIALECTS[protocol]
        await asyncio.sleep(OLD)
        assert await one.state() is True
        pack.repair("command_no_effect")

        pack.delay_commands(20.0)
        assert await off() is DIALECTS[protocol]
        await asyncio.sleep(OLD)
        assert await one.state() is True
        await asyncio.sleep(20.0)
        assert await one.state() is False
        assert pack.counters["commands"] == 3


@pytest.mark.parametrize("forgets", [False, True])
@pytest.mark.parametrize("protocol", DIALECTS)
async def test_a_restart(protocol: str, forgets: bool) -> None:
    """The board is silent for a moment, has run for no time, and may have forgotten."""
    pack = SimulatedPack(protocol)
    pack.advance(7200.0)
    async with bmslink.connect(pack.target).board as device:
        switch = (await prepare(device, waive=["untested"])).actuators
        one = switch.get("charge") or switch["balance"]
        await one.off(now() + 5.0)
        await asyncio.sleep(OLD)
        assert await one.state() is False
        before = (await device.read()).uptime
        pack.reboot(forgets=forgets, after=1.0)
        await asyncio.sleep(1.5)
        asked = now()
        assert await device.read(), "it is asked until it is awake again"
        assert now() - asked > 1.0
        await asyncio.sleep(OLD)
        after = (await device.read()).uptime
        assert before is None or after is None or after < before
        assert (before is None) is (after is None)
        assert await one.state() is forgets
        assert pack.counters["boots"] == 2


@pytest.mark.parametrize("protocol", DIALECTS)
async def test_an_app_and_a_second_host(protocol: str) -> None:
    pack = SimulatedPack(protocol)
    name = "balance" if protocol == "jk04" else "charge"
    async with bmslink.connect(pack.target).board as device:
        one = (await prepare(device, waive=["untested"])).actuators[name]
        pack.fault(f"app:{name}:off")
        await asyncio.sleep(OLD)
        assert await one.state() is False
        pack.fault(f"app:{name}:on:30")
        await asyncio.sleep(OLD)
        assert await one.state() is False
        await asyncio.sleep(30.0)
        assert await one.state() is True
        if name == "balance":
            return
        pack.second_host(20.0)
        await one.off(now() + 5.0)
        await asyncio.sleep(OLD)
        assert await one.state() is False
        await asyncio.sleep(20.0)
        assert await one.state() is True, "somebody else switched it on again"


async def test_commands_that_a_restart_finds_are_lost() -> None:
    pack = SimulatedPack("daly-a5")
    async with bmslink.connect(pack.target).board as device:
        one = (await prepare(device)).actuators["charge"]
        pack.delay_commands(5.0)
        await one.off(now() + 5.0)
        pack.reboot()
        await asyncio.sleep(20.0)
        assert await one.state() is True


# --------------------------------------------------------------------------- chargers and loads


def living(load: float, **more: float) -> Pack:
    pack = Pack(load=load, cells=4, **more)
    pack.advance(1.0)
    return pack


def flows(pack: Pack) -> float:
    pack.advance(1.0)
    return pack.truth().current or 0.0


def test_limits_are_obeyed_until_their_time_is_over() -> None:
    pack = living(50.0)
    assert execute(pack, "limits ccl=20 dcl=5 ttl=60") == "ok"
    assert flows(pack) == 20.0
    execute(pack, "load -50")
    assert flows(pack) == -5.0
    execute(pack, "limits ccl=20 ttl=30")
    assert flows(pack) == -50.0
    execute(pack, "limits dcl=5 ttl=30")
    pack.advance(31.0)
    assert flows(pack) == 0.0, "a dead limit is no current"
    execute(pack, "limits off")
    assert flows(pack) == -50.0


def test_a_charge_voltage_is_obeyed() -> None:
    pack = living(50.0, soc=90.0)
    pack.around.give_limits({"cvl": 13.6}, ttl=7200.0)
    pack.advance(3600.0)
    truth = pack.truth()
    assert truth.voltage is not None
    assert truth.current is not None
    assert truth.voltage <= 13.61
    assert truth.current < 5.0


def test_a_charger_that_disobeys() -> None:
    pack = living(50.0)
    execute(pack, "limits ccl=0 ttl=600")
    assert flows(pack) == 0.0
    execute(pack, "fault disobey")
    assert flows(pack) == 50.0
    execute(pack, "fault disobey off")
    assert flows(pack) == 0.0


@pytest.mark.parametrize(("zero_first", "dumps"), [(0.0, 1), (3.0, 1), (10.0, 0)])
def test_an_alternator_dumps_its_load_where_the_fet_opens_under_it(
    zero_first: float, dumps: int
) -> None:
    """It follows limits slowly: three seconds are too few for 60 A."""
    pack = living(0.0, capacity=200.0)
    execute(pack, "fault alternator")
    pack.advance(20.0)
    assert flows(pack) == 60.0
    if zero_first:
        execute(pack, "limits ccl=0 ttl=60")
        pack.advance(zero_first)
    execute(pack, "app charge off")
    assert flows(pack) == 0.0
    counted = json.loads(execute(pack, "counters"))
    assert (counted["load_dumps"], counted["opened_under_load"]) == (dumps, dumps)


def test_an_opening_under_load_is_counted_whatever_opens_it() -> None:
    pack = living(-50.0)
    execute(pack, "raise discharge_overcurrent protection")
    pack.advance(1.0)
    assert json.loads(execute(pack, "counters"))["opened_under_load"] == 1
    execute(pack, "app charge off")  # not in the way of this current
    pack.advance(1.0)
    assert json.loads(execute(pack, "counters"))["load_dumps"] == 0


# ------------------------------------------------------------------------------------ the console


@pytest.mark.parametrize("name", HAPPENINGS)
def test_each_is_begun_and_ended_by_a_line_and_for_one_pack_of_a_line(name: str) -> None:
    device = make_device("daly-a5", address=(1, 2), load="idle")
    spec = f"{name}:60" if name.startswith("reboot") else name
    assert execute_on(device, f"@2 fault {spec}") == "ok"
    once = ("app",)  # it has happened already
    assert device.packs[2].around.active == (() if name in once else (name,))
    assert not device.packs[1].around.active
    assert execute_on(device, f"@2 fault {name} off") == "ok"
    assert not device.packs[2].around.active
    device.packs[2].advance(120.0)
    assert device.packs[2].around.boots == 1, "what was ended before its time does not happen"


def test_help_lists_the_faults_in_a_line_each() -> None:
    lines = execute(Pack(load="idle"), "help fault").splitlines()
    assert [line.split()[0] for line in lines] == list(FAULTS)
    assert set(HAPPENINGS) < set(FAULTS)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("app charge maybe", "is written app"),
        ("app heater off", "There is no switch"),
        ("limits ccl", "are written"),
        ("limits ccl=x", "ccl is a number"),
        ("limits ccl=-1", "0 to 10000"),
        ("limits ccl=1 ccl=2", "are written"),
        ("limits volts=3", "are written"),
        ("limits ccl=1 ttl=0", "ttl is above 0"),
        ("limits ccl=nan", "0 to 10000"),
        ("fault command_late:0", "0.001 to 600"),
        ("fault command_ignored:heater", "There is no switch"),
        ("fault disobey:3", "takes no argument"),
        ("fault reboot:-1", "0 to 86400"),
        ("fault alternator:x", "1 to 1000"),
        ("fault app:charge", "is written app"),
        ("fault command_late maybe", "is one of off"),
        ("help wire", "is one of fault"),
    ],
)
def test_wrong_lines_change_nothing(line: str, why: str) -> None:
    pack = Pack(load="idle")
    answer = execute(pack, line)
    assert answer.startswith("error: ")
    assert why in answer
    assert not pack.around.active
    assert not pack.around.limits
    assert all(pack.switches.values())


def test_the_pack_for_programs_says_what_is_wrong() -> None:
    pack = SimulatedPack("jbd")
    pack.set_limits(ccl=10.0, ttl=5.0)
    pack.set_alternator(40.0)
    pack.disobey_limits()
    for wrong in (
        lambda: pack.set_limits(ccl=-1.0),
        lambda: pack.set_limits(ttl=0.0),
        lambda: pack.delay_commands(0.0),
        lambda: pack.second_host(-1.0),
        lambda: pack.set_alternator(5000.0),
        lambda: pack.ignore_commands("heater"),
        lambda: pack.reboot(after=float("nan")),
    ):
        with pytest.raises(TargetError):
            wrong()
