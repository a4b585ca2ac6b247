"""Simulated packs on the air in some processes, the real commands in others."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from test_cli_simulate import Simulator

from bmslink.transports.ble.backend import VARIABLE
from cli_support import Cli, Terminal, environment, finish, start
from radio_world import PROTOCOLS
from support import part

pytestmark = pytest.mark.slow

SHAPES = (("23", "20"), ("247", "128+22"), ("247", "any"))
"""Largest packet and lengths of notifications, as captured, and as nobody would wish.
`tests/simulation/test_gatt.py` has each with each protocol."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Radio(NamedTuple):
    """A virtual radio with simulated packs, each a process of its own."""

    place: str
    packs: dict[tuple[str, str], tuple[str, Simulator]]
    """(protocol, shape) to target and process."""

    @property
    def env(self) -> dict[str, str]:
        return environment(**{VARIABLE: f"bumble:tcp-client:{self.place}"})

    def targets(self, protocol: str) -> list[str]:
        return [target for (name, _), (target, _) in self.packs.items() if name == protocol]

    def run(self, *argv: str) -> Any:
        return finish(start(*argv, env=self.env), timeout=60)


@pytest.fixture(scope="module")
def radio() -> Iterator[Radio]:
    made = Radio(f"127.0.0.1:{free_port()}", {})
    wanted = [(p, *SHAPES[n % 3]) for n, p in enumerate(PROTOCOLS)]
    for number, (protocol, mtu, chunks) in enumerate(wanted):
        simulator = Simulator(
            protocol, "--ble", f"{'tcp-client' if number else 'tcp-server'}:{made.place}",
            "--ble-mtu", mtu, "--ble-chunk", chunks, "--seed", str(number + 1), "--load", "idle",
        )  # fmt: skip
        if not number:
            made.packs[protocol, mtu] = (simulator.line().removeprefix("ready "), simulator)
        else:
            made.packs[protocol, mtu] = ("", simulator)
    for key, (target, simulator) in made.packs.items():
        if not target:
            made.packs[key] = (simulator.line().removeprefix("ready "), simulator)
    yield made
    for _, simulator in reversed(made.packs.values()):
        if simulator.process.poll() is None:
            assert simulator.end().code == 0


class Busy(NamedTuple):
    """A pack with one who is connected, and one who would like to be."""

    target: str
    first: subprocess.Popen[str]
    second: subprocess.Popen[str]


@pytest.fixture(scope="module", autouse=True)
def busy(radio: Radio) -> Iterator[Busy]:
    """Early, because it takes the ten seconds of a scan to give up."""
    simulator = Simulator("jk04", "--ble", f"tcp-client:{radio.place}")
    target = simulator.line().removeprefix("ready ")
    first = start("read", "--watch", "1", "--json", target, env=radio.env)
    assert first.stdout is not None
    assert json.loads(first.stdout.readline())["protocol"] == "jk04"
    second = start("read", target, env=radio.env)
    yield Busy(target, first, second)
    for process in (first, second):
        if process.poll() is None:
            process.kill()
            finish(process)
    assert simulator.end().code == 0


def test_all_of_them_read_by_one_process(radio: Radio) -> None:
    targets = [target for target, _ in radio.packs.values()]
    assert len(set(targets)) == len(PROTOCOLS)
    result = radio.run("read", "--json", *targets)
    assert (result.code, result.err) == (0, "")
    found = {reading["target"]: reading for reading in result.objects}
    for (protocol, _), (target, simulator) in radio.packs.items():
        truth, reading = json.loads(simulator.ask("state")), found[target]
        assert reading["protocol"] == protocol
        assert reading["cell_voltages"] == pytest.approx(truth["cell_voltages"], abs=0.003)
        assert reading["voltage"] == pytest.approx(truth["voltage"], abs=0.06)


def test_a_scan_finds_them(radio: Radio) -> None:
    result = radio.run("scan", "--ble", "--json", "--quiet", "--timeout", "2")
    assert (result.code, result.err) == (0, "")
    found = {hit["target"].partition("+ble://")[2]: hit["protocol"] for hit in result.objects}
    for (protocol, _), (target, _) in radio.packs.items():
        vendor = "jk" if protocol.startswith("jk") else protocol.partition("-")[0]
        assert found[target.partition("+ble://")[2]].startswith(vendor)


@pytest.mark.sweep
def test_who_they_are(radio: Radio) -> None:
    asked = part(PROTOCOLS, 3)

    def info(protocol: str) -> Any:
        return radio.run("info", "--json", radio.targets(protocol)[0])

    with ThreadPoolExecutor(3) as pool:
        for protocol, result in zip(asked, pool.map(info, asked), strict=True):
            assert (result.code, result.err) == (0, ""), result
            assert result.objects[0]["protocol"] == protocol


def test_watching_goes_on_after_the_connection_broke_off(radio: Radio) -> None:
    target, simulator = radio.packs["jk02", "23"]
    terminal = Terminal("monitor", target, **{VARIABLE: radio.env[VARIABLE]})
    try:
        terminal.wait(lambda text: re.search(r"\b60(\.0)? ?%", text), 20)
        assert simulator.ask("fault ble_drop:40") == "ok"
        assert simulator.ask("soc 31") == "ok"
        terminal.wait(lambda text: re.search(r"\b31(\.0)? ?%", text), 20)
        terminal.type("q")
        assert terminal.end() == 0
    finally:
        terminal.close()


def test_a_second_radio_at_the_same_place(radio: Radio) -> None:
    result = radio.run("simulate", "jbd", "--ble", f"tcp-server:{radio.place}")
    result.failed(1, radio.place, "taken by another program")


def test_the_pack_and_its_radio_are_switched_off_and_on() -> None:
    place = f"127.0.0.1:{free_port()}"

    def on(soc: str) -> tuple[Simulator, str]:
        simulator = Simulator("jk02", "--ble", f"tcp-server:{place}", "--soc", soc)
        return simulator, simulator.line().removeprefix("ready ")

    simulator, target = on("60")
    env = environment(**{VARIABLE: f"bumble:tcp-client:{place}"})
    watching = start("read", "--json", "--watch", "0.5", target, env=env)
    assert watching.stdout is not None
    try:
        assert json.loads(watching.stdout.readline())["soc"] == 60
        assert simulator.end().code == 0
        finish(start("read", target, env=env)).failed(1, place, "bmslink simulate")
        simulator, again = on("40")
        assert again == target
        while json.loads(watching.stdout.readline()).get("soc") != 40:
            assert watching.poll() is None
        watching.send_signal(signal.SIGINT)
        result = finish(watching)
    finally:
        watching.kill()
        simulator.end()
    assert result.code == 130
    assert "disconnected" in result.err
    assert "Traceback" not in result.err
    assert "bumble" not in result.err.replace(f"bumble:tcp-client:{place}", "")


def test_one_at_a_time(radio: Radio, busy: Busy) -> None:
    finish(busy.second, timeout=40).failed(1, "was not seen", "phone app")
    assert busy.first.poll() is None
    busy.first.kill()
    finish(busy.first)
    deadline = time.monotonic() + 20
    while radio.run("read", busy.target).code:  # whoever was killed has left the radio
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["jk-nw", "--ble", "tcp-server:127.0.0.1:9"], 2, ["over Bluetooth are"]),
        (["jk02", "--ble", "tcp-server:9911"], 2, ["HOST:PORT"]),
        (["jk02", "--ble", "tcp-client:127.0.0.1:1"], 1, ["No Bluetooth controller"]),
        (["jk02", "--ble", "nonsense"], 2, ["usb:0"]),
        (["jk02", "--ble", "vhci:/no/such"], 1, ["plugged in"]),
        (["jk02", "--ble", "usb:0", "--ble-module", "x"], 2, ["no module 'x'"]),
        (["jk02", "--ble", "usb:0", "--ble-pin", "x"], 2, ["six digits"]),
        (["jk02", "--ble-pin", "123456"], 2, ["--ble"]),
    ],
)
def test_what_cannot_be_put_on_the_air(capsys, argv, code, words) -> None:
    Cli(capsys)("simulate", *argv).failed(code, *words)


def test_without_bumble() -> None:
    """Nothing else needs it, and who does says how to get it."""
    program = "import sys; sys.modules['bumble'] = None; from bmslink.cli.app import main; "
    for argv, words in (
        (["simulate", "jk02", "--ble", "tcp-server:127.0.0.1:9"], "pip install 'bmslink[bumble]'"),
        (["read", "jk02+ble://C8:47:80:00:00:01"], "pip install 'bmslink[bumble]'"),
    ):
        command = [sys.executable, "-c", f"{program}sys.exit(main({argv!r}))"]
        env = environment(**{VARIABLE: "bumble:usb:0"})
        result = subprocess.run(command, capture_output=True, text=True, env=env)
        assert result.returncode == 2
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
