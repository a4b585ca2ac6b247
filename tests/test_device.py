"""What programs do with a pack: streams that survive, settings, changes, and what is refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

import bmslink
from bmslink import config
from bmslink.errors import (
    BmsError,
    GateError,
    LinkClosed,
    LinkTimeout,
    PortNotFound,
    SettingError,
    UsageError,
)
from bmslink.link.transport import OnData, OnLost, Transport
from bmslink.testing import SimulatedPack

WRITABLE = ["jbd", "jk02", "jk-modbus", "daly-a5", "daly-d2", "daly-p81"]


class Cable(Transport):
    """A line to a simulated pack whose plug can be pulled, and which counts what was sent."""

    def __init__(self, pack: SimulatedPack) -> None:
        self.inner = pack.transport()
        self.sent: list[bytes] = []
        self.plugged = True
        self._lost: OnLost | None = None

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        if not self.plugged:
            raise PortNotFound("There is no cable.")
        self._lost = on_lost
        await self.inner.open(on_data, on_lost)

    async def close(self) -> None:
        self._lost = None
        await self.inner.close()

    async def write(self, data: bytes) -> None:
        if not self.plugged:
            raise LinkClosed("The cable is gone.")
        self.sent.append(data)
        await self.inner.write(data)

    def pull(self) -> None:
        self.plugged = False
        if self._lost is not None:
            self._lost(LinkClosed("The cable was pulled."))


@asynccontextmanager
async def cabled(pack: SimulatedPack) -> AsyncIterator[tuple[bmslink.Device, Cable]]:
    cable = Cable(pack)
    async with bmslink.connect("shed", transport=cable, protocol=pack.protocol) as device:
        yield device, cable


# ------------------------------------------------------------------------------------- streams


async def test_a_lost_link_ends_a_stream_unless_it_may_come_back() -> None:
    async with cabled(SimulatedPack("jbd", cells=4)) as (device, cable):
        stream = device.stream(1.0)
        assert (await anext(stream)).voltage
        cable.pull()
        with pytest.raises(LinkClosed):
            await anext(stream)


async def test_a_lost_link_is_opened_again_with_longer_and_longer_pauses() -> None:
    troubles: list[tuple[type[BmsError], float]] = []

    def trouble(error: BmsError, wait: float) -> None:
        troubles.append((type(error), wait))
        if len(troubles) == 7:
            cable.plugged = True

    async with cabled(SimulatedPack("jbd", cells=4)) as (device, cable):
        times = []
        async for reading in device.stream(0.5, reconnect=True, on_trouble=trouble):
            times.append(asyncio.get_running_loop().time())
            assert reading.voltage
            if len(times) == 2:
                cable.pull()
            if len(times) == 4:
                break
    assert [wait for _, wait in troubles] == [1, 2, 4, 8, 16, 30, 30]
    assert troubles[0][0] is LinkClosed
    assert {kind for kind, _ in troubles[1:]} == {PortNotFound}
    assert times[1] - times[0] == pytest.approx(0.5)
    assert times[3] - times[2] == pytest.approx(0.5)
    assert times[2] - times[1] == pytest.approx(91.5, abs=2)


async def test_silence_is_passed_over_and_the_beat_goes_on() -> None:
    pack = SimulatedPack("jbd", cells=4)
    troubles: list[BmsError] = []

    def trouble(error: BmsError, wait: float) -> None:
        assert wait == 10.0
        troubles.append(error)
        pack.repair("silent")

    async with cabled(pack) as (device, _):
        async for _reading in device.stream(10.0, reconnect=True, on_trouble=trouble):
            if troubles:
                break
            pack.fault("silent")
    assert [type(error) for error in troubles] == [LinkTimeout]


async def test_a_stream_is_left_at_any_time() -> None:
    async with cabled(SimulatedPack("jbd", cells=4)) as (device, cable):
        stream = device.stream(0.1, reconnect=True)
        await anext(stream)
        await stream.aclose()
        before = len(cable.sent)
        await asyncio.sleep(5)
        assert len(cable.sent) == before
        assert (await device.read()).voltage


def test_a_plain_script_has_the_same_stream() -> None:
    pack = SimulatedPack("jbd", cells=4)
    troubles: list[float] = []

    def trouble(error: BmsError, wait: float) -> None:
        assert isinstance(error, LinkTimeout)
        assert threading.current_thread() is not threading.main_thread()
        troubles.append(wait)
        pack.repair("silent")

    with bmslink.blocking.connect(f"{pack.target}&gap=0&timeout=0.05") as device:
        for _ in device.stream(0.01, reconnect=True, on_trouble=trouble):
            if troubles:
                break
            pack.fault("silent")
        pack.fault("silent")
        with pytest.raises(LinkTimeout):
            list(device.stream(0.01))
    assert troubles == [0.01]


# ------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize("protocol", WRITABLE)
async def test_settings_are_a_mapping(protocol: str) -> None:
    async with cabled(SimulatedPack(protocol, cells=8)) as (device, _):
        settings = await device.settings()
    row = settings["cell_ovp"]
    assert (row.key, row.unit, row.title) == ("cell_ovp", "V", row.setting.title)
    assert row.minimum is not None and row.maximum is not None
    assert row.minimum < settings.numbers()["cell_ovp"] < row.maximum
    assert list(settings) == list(settings.to_dict()) == [row.key for row in settings.values()]
    assert len(settings) == len(list(settings)) > 10
    assert settings.to_dict()["cell_ovp"] == row.value
    assert "cell_ovp" in settings and "no_such" not in settings
    assert settings.get("no_such") is None
    with pytest.raises(SettingError, match=r"no setting 'cell_ovpp'\. Did you mean cell_ovp"):
        settings["cell_ovpp"]
    with pytest.raises(KeyError):
        settings["no_such"]
    assert set(settings.numbers()) < set(settings)
    assert not [v for v in settings.numbers().values() if isinstance(v, bool)]


# ------------------------------------------------------------------------------------- changes


@pytest.mark.parametrize("protocol", WRITABLE)
async def test_a_change_is_planned_made_verified_and_undone(protocol: str) -> None:
    pack = SimulatedPack(protocol, cells=8, load="idle")
    async with cabled(pack) as (device, cable):
        before = (await device.settings()).numbers()["cell_ovp"]
        plan = await device.plan({"cell_ovp": 3.6}, chemistry="lfp", waive=["tested"])
        assert isinstance(plan, bmslink.Plan)
        assert plan.blocked == ()
        assert repr(plan).startswith(f"<Plan for {plan.target}: cell_ovp "), "short enough to print"
        assert len(repr(plan)) < 400
        assert set(plan.frames) - set(cable.sent), "nothing of it was sent"
        assert pack.settings["cell_ovp"] == pytest.approx(before, abs=0.001)
        outcome = await device.apply(plan)
        assert isinstance(outcome, bmslink.Outcome)
        assert outcome.result == "done"
        assert pack.settings["cell_ovp"] == pytest.approx(3.6, abs=0.001)
        assert (await device.verify()).result == "holds"
        undo = await device.plan_undo(chemistry="lfp", waive=["tested"])
        assert "cell_ovp" in {edit.key for change in undo.changes for edit in change.edits}
        assert pack.settings["cell_ovp"] == pytest.approx(3.6, abs=0.001)
        assert (await device.undo(chemistry="lfp", waive=["tested"])).result == "done"
        assert (await device.settings()).numbers()["cell_ovp"] == before


async def test_config_takes_a_device_and_its_board() -> None:
    async with cabled(SimulatedPack("jbd", cells=4, load="idle")) as (device, _):
        for either in (device, device.board):
            plan = await config.draft(either, {"cell_ovp": 3.6})
            assert [check.name for check in plan.blocked] == []
            assert await config.unfinished(either) is None
        with pytest.raises(UsageError):
            await config.draft("jbd", {"cell_ovp": 3.6})


@pytest.mark.parametrize("protocol", [*WRITABLE, "jk04", "jk-nw"])
async def test_switches_obey_and_say_so(protocol: str) -> None:
    pack = SimulatedPack(protocol, cells=8, load="idle")
    async with cabled(pack) as (device, _):
        identity = await device.inspect()  # reads some settings, and not that of a D2's switch
        for switch in ("charge", "discharge"):
            if not identity.capabilities[f"switch_{switch}"].supported:
                with pytest.raises((GateError, SettingError)):
                    await device.switch(switch, False)
                continue
            assert (await device.switch(switch, False)).result == "done"
            assert pack.truth().charge_switch is (switch != "charge")
            command = bmslink.Command(bmslink.Switch(switch), True)
            assert (await device.switch(command)).result == "done"
            assert pack.truth().charge_switch is True


@pytest.mark.parametrize("protocol", ["jbd-up", "daly-sinowealth", "jk-bus"])
async def test_what_is_not_proven_is_refused_before_anything_is_sent(protocol: str) -> None:
    async with cabled(SimulatedPack(protocol, cells=8, load="idle")) as (device, _):
        await device.identify()
        for refused in (
            lambda: device.plan({"cell_ovp": 3.6}, chemistry="lfp"),
            lambda: device.set_soc(50.0),
            lambda: device.set_clock(),
            lambda: device.switch("balance", True),
        ):
            try:
                result = await refused()
            except (GateError, SettingError):
                pass
            else:
                assert isinstance(result, bmslink.Plan) and result.blocked


@pytest.mark.parametrize("protocol", ["jk02", "daly-a5"])
async def test_clock_and_charge_are_set(protocol: str) -> None:
    pack = SimulatedPack(protocol, cells=8, load="idle", soc=60)
    async with cabled(pack) as (device, _):
        abilities = (await device.inspect()).capabilities
        moment = datetime(2027, 3, 4, 5, 6, 7, tzinfo=UTC)
        assert (await device.set_clock(moment, waive=["tested"])).result == "done"
        shown = await device.clock()
        assert shown is not None and abs(shown - moment) < timedelta(minutes=1)
        if protocol == "daly-a5":
            assert (await device.set_soc(55.0, waive=["tested"])).result == "done"
            assert (await device.read()).soc == pytest.approx(55, abs=0.5)
        else:
            with pytest.raises(GateError):
                await device.set_soc(55.0, waive=["tested"])
        assert abilities["read"].supported


async def test_wrong_arguments_send_nothing() -> None:
    async with cabled(SimulatedPack("jbd", cells=4, load="idle")) as (device, cable):
        before = list(cable.sent)
        wrong = [
            lambda: device.switch("chrge", False),
            lambda: device.switch("charge"),
            lambda: device.switch("charge", 0),
            lambda: device.switch(bmslink.Command("charge", False), True),
            lambda: device.plan({"cell_ovp": "high"}, chemistry=5),
            lambda: device.apply("plan"),
            lambda: device.set_soc("full"),
            lambda: device.set_clock(datetime(2027, 3, 4, tzinfo=UTC).replace(tzinfo=None)),
            lambda: device.undo(waive=5),
            lambda: anext(device.stream(-1.0)),
        ]
        for call in wrong:
            with pytest.raises(SettingError):
                await call()
        assert cable.sent == before
        for soc in (-1.0, 100.5):
            with pytest.raises((SettingError, GateError)):
                await device.set_soc(soc)


@pytest.mark.parametrize("kind", [bmslink.Device, bmslink.blocking.Device])
def test_raw_slots_and_frames_are_not_offered(kind: type) -> None:
    for name in ("store", "fetch", "send", "adjust", "rehearse", "link", "driver", "conversation"):
        assert not hasattr(kind, name), name


def test_a_plain_script_plans_and_undoes() -> None:
    pack = SimulatedPack("jbd", cells=4, load="idle", speed=1)
    with bmslink.blocking.connect(f"{pack.target}&gap=0") as device:
        assert device.plan({"cell_ovp": 3.6}).blocked == ()
        with pytest.raises(GateError):
            device.undo()
        assert device.verify().result
