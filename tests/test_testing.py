"""`bmslink.testing`: the pack that other people's tests talk to."""

from __future__ import annotations

import gc
import threading

import pytest

import bmslink
import bmslink.config.writer
from bmslink.errors import LinkTimeout, TargetError
from bmslink.protocols import DRIVERS
from bmslink.testing import SimulatedPack


@pytest.mark.parametrize("protocol", sorted(DRIVERS))
def test_what_is_set_is_read(protocol: str) -> None:
    pack = SimulatedPack(protocol, cells=8)
    pack.set_cell_voltage(3, 3.45)
    with bmslink.blocking.connect(pack.target) as device:
        assert device.read().cell_voltages[2] == 3.45
        pack.set_cell_voltage(3, 3.3)
        assert device.read().cell_voltages[2] == 3.3
    assert pack.truth().cell_voltages[2] == 3.3
    assert pack.cell_count == 8


def test_its_hands_do_what_they_say() -> None:
    pack = SimulatedPack("jbd", cells=4, soc=50, load=-10)
    with bmslink.blocking.connect(pack.target) as device:
        assert device.read().current == -10
        pack.set_load("idle")
        pack.set_temperature("cell_1", 41.0)
        pack.set_switch("charge", False)
        pack.set_soc(75)
        pack.set_condition("cell_overvoltage", "protection")
        found = device.read()
        assert (found.current, found.soc, found.charging_allowed) == (0, 75, False)
        assert found.temperatures["sensor_1"] == 41.0
        assert found.protections == ("cell_overvoltage",)
        pack.set_condition("cell_overvoltage", None)
        pack.set_temperature("cell_1", None)
        found = device.read()
        assert found.protections == ()
        assert found.temperatures["sensor_1"] != 41.0
    before = pack.truth().soc
    pack.set_load(-50)
    pack.advance(3600)
    assert pack.truth().soc < before - 40
    pack.set_ambient(-10)
    pack.advance(86400)
    assert pack.truth().temperatures["cell_1"] < 0


def test_a_line_that_fails_and_comes_back() -> None:
    pack = SimulatedPack("jbd", faults=["silent"])
    with bmslink.blocking.connect(pack.target, timeout=0.05) as device:
        with pytest.raises(LinkTimeout):
            device.read()
        pack.repair("silent")
        assert device.read().voltage


def test_a_verified_change_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    # as in test_blocking.py: the thread's clock is the real one
    monkeypatch.setattr(bmslink.config.writer, "_REST", 0.05)
    pack = SimulatedPack("jbd", cells=4)
    assert pack.settings["cell_ovp"] != 3.62
    with bmslink.blocking.connect(pack.target) as device:
        device.apply(device.draft({"cell_ovp": 3.62}))
    assert pack.settings["cell_ovp"] == 3.62
    pack.settings["cell_ovp"] = 9  # a copy
    assert pack.settings["cell_ovp"] == 3.62


def test_two_packs_are_two() -> None:
    one, other = SimulatedPack("jbd", seed=1), SimulatedPack("jbd", seed=1, address=None)
    assert one.target != other.target
    one.set_cell_voltage(1, 3.0)
    assert other.truth().cell_voltages[0] != 3.0


def test_a_pack_that_is_gone() -> None:
    pack = SimulatedPack("jbd")
    target = pack.target
    del pack
    gc.collect()
    with pytest.raises(TargetError, match="no simulated pack"), bmslink.blocking.connect(target):
        pass


def test_it_is_stirred_from_another_thread() -> None:
    pack = SimulatedPack("jbd", cells=4, speed=1000)
    done = threading.Event()

    def stir() -> None:
        number = 0
        while not done.is_set():
            pack.set_cell_voltage(number % 4 + 1, 3.0 + number % 10 / 100)
            pack.truth()
            number += 1

    thread = threading.Thread(target=stir)
    thread.start()
    try:
        with bmslink.blocking.connect(pack.target) as device:
            for _ in range(10):
                assert all(2.9 < v < 3.7 for v in device.read().cell_voltages)
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda p: SimulatedPack("jdb"),
        lambda p: SimulatedPack("jbd", cells=0),
        lambda p: SimulatedPack("jbd", cells="8"),
        lambda p: SimulatedPack("jbd", faults="silent"),
        lambda p: SimulatedPack("jbd", load="much"),
        lambda p: p.set_cell_voltage(5, 3.3),
        lambda p: p.set_cell_voltage(1, "3.3"),
        lambda p: p.set_cell_voltage(1, 30),
        lambda p: p.set_temperature("nose", 20),
        lambda p: p.set_switch("chrge", False),
        lambda p: p.set_switch("charge", 0),
        lambda p: p.set_condition("hot", "alarm"),
        lambda p: p.set_condition("heater", "bad"),
        lambda p: p.fault("gremlins"),
        lambda p: p.repair("gremlins"),
        lambda p: p.set_load(None),
        lambda p: p.advance(-1),
    ],
)
def test_wrong_arguments(wrong) -> None:
    pack = SimulatedPack("jbd", cells=4)
    with pytest.raises(TargetError):
        wrong(pack)


def test_the_fixture(simulated_pack) -> None:
    pack = simulated_pack("jk02", cells=8, soc=40)
    with bmslink.blocking.connect(pack.target) as device:
        assert device.read().soc == 40


def test_a_wrong_argument_is_said_of_the_class() -> None:
    with pytest.raises(TargetError, match=r"^SimulatedPack\(\): protocol must be text, not None"):
        SimulatedPack(None)
