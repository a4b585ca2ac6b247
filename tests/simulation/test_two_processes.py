"""`bmslink simulate` and `bmslink read` as two processes: they agree on all that is carried."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from serial import rfc2217
from test_cli_simulate import Simulator
from test_rfc2217 import PtyPort, Server, listening

from bmslink.simulation.responder import RESPONDERS
from cli_support import Result, finish, start

pytestmark = pytest.mark.slow

STIRRED = (
    "load -7.5",
    "cell 2 3.211",
    "temperature cell_1 21",
    "temperature cell_2 27",
    "temperature mosfet 44",
    "switch charge off",
    "raise cell_undervoltage protection",
)
EXACT = (
    "cell_count", "cycles", "temperatures", "balancing_active", "charge_switch",
    "discharge_switch", "balance_switch", "charging_allowed", "discharging_allowed", "heater",
    "protections", "faults",
)  # fmt: skip
CLOSE = {
    "voltage": 0.06, "current": 0.06, "soc": 0.6, "soh": 0.6, "remaining_capacity": 0.11,
    "full_capacity": 0.06, "nominal_capacity": 0.06, "cycle_capacity": 0.6,
    "cell_voltages": 0.0025, "cell_resistances": 0.0006, "balance_current": 0.06,
}  # fmt: skip
"""How far a value may be away: half a digit of the coarsest protocol and what the pack does
between the two moments."""

_DALY = {
    "soh", "full_capacity", "nominal_capacity", "cycle_capacity", "cell_resistances",
    "charge_switch", "discharge_switch", "balance_switch", "heater",
}  # fmt: skip
LACKS: dict[str, set[str]] = {
    "jk02": set(),
    "jk-nw": {"soh", "remaining_capacity", "cell_resistances", "balance_current", "heater"},
    "jk-modbus": set(),
    "jk-bus": set(),
    "daly-a5": _DALY | {"balance_current"},
    "daly-sinowealth": _DALY - {"full_capacity"}
    | {"cycles", "balancing_active", "balance_current"},
    "jk04": {
        "current", "soc", "soh", "remaining_capacity", "full_capacity", "nominal_capacity",
        "cycles", "cycle_capacity", "temperatures", "charge_switch", "discharge_switch",
        "charging_allowed", "discharging_allowed", "heater", "protections", "faults",
    },
    "daly-d2": _DALY,
    "daly-p81": _DALY - {"heater"},
    "jbd": _DALY - {"full_capacity", "nominal_capacity"},
    "jbd-up": {
        "cycle_capacity", "cell_resistances", "balance_current", "charge_switch",
        "discharge_switch", "balance_switch",
    },
}  # fmt: skip
"""What a protocol does not say; everything else must come, and be right."""
NOT_OF_THE_PACK = ("ambient", "board", "heater")


def stirred(protocol: str, folder: Path) -> Simulator:
    """A simulator on a pseudo-terminal, with a pack that is not as all packs are."""
    link = folder / protocol
    simulator = Simulator(protocol, "--pty", str(link), "--seed", "4", "--soc", "55")
    assert simulator.line() == f"ready {protocol}+serial://{link}"
    for command in STIRRED:
        assert simulator.ask(command).startswith("ok")
    return simulator


def read(target: str) -> Result:
    return finish(start("read", "--json", target), timeout=40)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Per protocol what `read` printed, and the simulator's `state` after that."""
    folder = tmp_path_factory.mktemp("packs")
    running: list[Simulator] = []

    def both(protocol: str) -> tuple[Result, dict[str, Any]]:
        simulator = stirred(protocol, folder)
        running.append(simulator)
        result = read(f"{protocol}+serial://{folder / protocol}")
        return result, json.loads(simulator.ask("state"))

    with ThreadPoolExecutor(3) as pool:
        order = sorted(RESPONDERS, key=lambda protocol: protocol != "jk-bus")  # it listens first
        yield dict(zip(order, pool.map(both, order), strict=True))
        for simulator in running:  # a process ends with the thread that started it
            assert simulator.end().code == 0


def comparable(found: dict[str, Any]) -> dict[str, Any]:
    """The values by which two readings are compared; `None` where nothing is said."""
    probes = {
        name: t
        for name, t in found["temperatures"].items()
        if t is not None and name not in NOT_OF_THE_PACK
    }
    return found | {
        "cell_count": len(found["cell_voltages"]),
        "temperatures": sorted(probes.values()) or None,
        "protections": found["protections"] or None,
    }


@pytest.mark.parametrize("protocol", RESPONDERS)
def test_they_agree(outcomes: dict[str, Any], protocol: str) -> None:
    result, state = outcomes[protocol]
    assert result.code == 0, result
    (found,) = result.objects
    assert found["protocol"] == protocol
    said, truth = comparable(found), comparable(state)
    assert truth["temperatures"] == [21, 27, 44]
    for name in EXACT:
        expected = None if name in LACKS[protocol] else truth[name]
        assert (name, said[name]) == (name, expected)
    for name, tolerance in CLOSE.items():
        if name in LACKS[protocol]:
            assert (name, said[name]) == (name, None)
        else:
            assert said[name] == pytest.approx(truth[name], abs=tolerance), name


class Gateway(Server):
    """pyserial's PortManager in front of the port of another process."""

    def __init__(self, connection, link: Path) -> None:
        self.connection = connection
        self.port = PtyPort(str(link), timeout=0.01)
        self.manager = rfc2217.PortManager(self.port, self)
        self.done = threading.Event()
        self.threads = [
            threading.Thread(target=work, daemon=True)
            for work in (self.from_network, self.from_port)
        ]
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(2)
        for thread in self.threads:
            thread.join(5)
        self.connection.close()
        self.port.close()


def test_an_rfc2217_server_between_them(tmp_path: Path) -> None:
    """It sets the simulator's port to the speed that the reader asks for."""
    simulator = stirred("jk-modbus", tmp_path)  # 115200 baud, where a port stands at another
    try:
        with listening(lambda connection: Gateway(connection, tmp_path / "jk-modbus")) as (
            place,
            _,
        ):
            result = read(f"jk-modbus+rfc2217://{place}")
        state = json.loads(simulator.ask("state"))
    finally:
        simulator.end()
    (found,) = result.objects
    assert comparable(found)["temperatures"] == [21, 27, 44]
    assert found["cell_voltages"] == pytest.approx(state["cell_voltages"], abs=0.0025)
    assert found["voltage"] == pytest.approx(state["voltage"], abs=0.06)


def test_several_packs_on_one_terminal(tmp_path: Path) -> None:
    link = tmp_path / "bus"
    simulator = Simulator("daly-p81", "--pty", str(link), "--address", "1", "--address", "0x2")
    try:
        targets = [f"daly-p81+serial://{link}?address={n}" for n in (1, 2)]
        assert [simulator.line() for _ in targets] == [f"ready {target}" for target in targets]
        assert simulator.ask("@2 cell 3 3.456") == "ok"
        assert simulator.ask("soc 33") == "ok"
        readers = start("read", "--json", *targets, stderr=subprocess.PIPE)
        first, second = finish(readers).objects
        assert (first["soc"], second["soc"]) == (33, 60)
        assert second["cell_voltages"][2] == 3.456 != first["cell_voltages"][2]
        assert json.loads(simulator.ask("@2 state"))["cell_voltages"][2] == 3.456
    finally:
        assert simulator.end().code == 0
