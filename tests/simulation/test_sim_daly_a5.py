"""The simulated Daly board, the driver that reads it, and two other people's programs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dalybms import DalyBMS as OlderClient
from hypothesis import given, settings
from hypothesis import strategies as st
from pydalybms import DalyBMS as NewerClient

import bmslink.device
from bmslink.errors import TargetError
from bmslink.model import Condition, Reading, Switch
from bmslink.protocols.base import Options
from bmslink.protocols.common.fields import parse
from bmslink.protocols.daly.a5.driver import DalyA5Codec, DalyA5Framer, DalyFrame, read_request
from bmslink.protocols.daly.a5.layouts import FAILURES
from bmslink.protocols.daly.settings import PARAMETERS
from bmslink.simulation.boards.daly_a5 import DalyA5Responder
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import make_responder
from bmslink.simulation.terminal import Terminal
from bmslink.simulation.transport import SimDevice, SimLine, SimTransport, make_device
from support import virtual_run

LIVE = range(0x90, 0x99)


def board(*, address: int | None = None, firmware: str | None = None, **pack: Any) -> Any:
    return make_responder("daly-a5", Pack(**pack), address=address, firmware=firmware)


def ask(responder: DalyA5Responder, *requests: DalyFrame) -> list[DalyFrame]:
    framer = DalyA5Framer()
    sent = b"".join(framer.encode(request) for request in requests)
    found = [f for one in responder.receive(sent) for f in framer.feed(one.data)]
    assert framer.skipped_bytes == framer.pending == 0
    return found


def data_of(responder: DalyA5Responder, data_id: int, data: bytes = bytes(8)) -> bytes:
    (found,) = ask(responder, read_request(data_id, data=data))
    assert (found.address, found.id) == (responder.number, data_id)
    return found.data


def reading_of(responder: DalyA5Responder) -> Reading:
    codec = DalyA5Codec(Options())
    found = ask(responder, *(read_request(i) for i in LIVE))
    return codec.reading([codec.decode(f) for f in found])


def assert_agrees(ours: Reading, truth: Reading) -> None:
    """Equal to half a step of the wire."""
    assert ours.voltage == pytest.approx(truth.voltage, abs=0.051)
    assert ours.current == pytest.approx(truth.current, abs=0.051)
    assert ours.soc == pytest.approx(truth.soc, abs=0.051)
    assert ours.remaining_capacity == pytest.approx(truth.remaining_capacity, abs=0.0006)
    assert ours.cycles == truth.cycles
    assert ours.cell_voltages == pytest.approx(truth.cell_voltages, abs=0.0006)
    named = {n.replace("cell_", "sensor_"): t for n, t in truth.temperatures.items()}
    assert ours.temperatures == pytest.approx(named, abs=0.501)
    for name in ("balancing_active", "charging_allowed", "discharging_allowed"):
        assert getattr(ours, name) is getattr(truth, name)
    assert (ours.alarms, ours.protections, ours.faults) == (
        truth.alarms,
        truth.protections,
        truth.faults,
    )


# ------------------------------------------------------------------------------ responder


@pytest.mark.parametrize("load", [-35.0, 35.0, 0.0])
@pytest.mark.parametrize(
    ("chemistry", "cells", "probes"), [("lfp", 16, 2), ("nmc", 7, 1), ("lto", 24, 9)]
)
def test_the_reading_is_the_truth_of_the_pack(
    chemistry: str, cells: int, probes: int, load: float
) -> None:
    responder = board(chemistry=chemistry, cells=cells, probes=probes, load=load, soc=43)
    responder.pack.advance(600)
    ours = reading_of(responder)
    assert_agrees(ours, responder.pack.truth())
    assert ours.raw["current_sign"] == ("reported" if load else "assumed")
    assert ours.raw["life"] == 600 % 256


def test_a_balancing_pack_says_so_in_a_mask() -> None:
    responder = board(cells=16, load=5.0)
    responder.pack.set_cell_voltage(2, 3.5)
    responder.pack.advance(30)
    truth = responder.pack.truth()
    assert truth.balancing_cells == (2,)
    assert data_of(responder, 0x97).hex() == "0200000000000000"
    assert_agrees(reading_of(responder), truth)


def test_an_empty_pack_and_a_tripped_one() -> None:
    responder = board(cells=8)
    responder.pack.set_cell_voltage(3, 3.8)
    responder.pack.advance(30)
    truth = responder.pack.truth()
    assert Condition.CELL_OVERVOLTAGE in truth.protections
    assert truth.charging_allowed is False
    assert_agrees(reading_of(responder), truth)


def test_a_broken_probe_is_a_missing_one() -> None:
    responder = board(probes=3)
    responder.pack.break_probe("cell_2")
    responder.pack.break_probe("mosfet")
    ours = reading_of(responder)
    assert ours.temperatures["sensor_2"] is None
    assert "mosfet" not in ours.temperatures
    assert ours.faults == (Condition.TEMPERATURE_SENSE,)


def test_a_pack_without_probes_answers_no_96() -> None:
    responder = board(probes=0)
    assert ask(responder, read_request(0x96)) == []
    assert reading_of(responder).temperatures == {"mosfet": 26.0}


def test_cold_is_not_taken_for_a_missing_probe() -> None:
    responder = board(probes=1)
    responder.pack.set_temperature("cell_1", -45.0)
    assert reading_of(responder).temperatures["sensor_1"] == -39.0


@pytest.mark.parametrize("severity", ["alarm", "protection", "fault"])
@pytest.mark.parametrize("condition", list(Condition))
def test_every_condition_that_daly_knows_arrives(condition: Condition, severity: str) -> None:
    responder = board(cells=4)
    responder.pack.raise_condition(severity, condition)
    ours = reading_of(responder)
    seen = {
        **dict.fromkeys(ours.alarms, "alarm"),
        **dict.fromkeys(ours.protections, "protection"),
        **dict.fromkeys(ours.faults, "fault"),
    }
    if (severity, condition) in FAILURES.values():
        assert seen == {condition: severity}
    elif severity != "alarm" and condition in {c for _, c in FAILURES.values()}:
        assert seen.keys() == {condition}  # Daly has one bit for it, whatever its level
    else:
        assert seen == {}


def test_back_to_back_frames_number_from_one() -> None:
    found = ask(board(cells=16), read_request(0x95))
    assert [f.data[0] for f in found] == [1, 2, 3, 4, 5, 6]
    assert found[-1].data[3:] == bytes(5)
    assert [f.data[0] for f in ask(board(probes=9), read_request(0x96))] == [1, 2]


@pytest.mark.parametrize(
    ("address", "heard", "deaf"),
    [(None, (0x40, 0x80, 0x20), (0x41, 0x01)), (1, (0x40,), (0x41,)), (3, (0x42,), (0x40, 0x80))],
)
def test_who_is_answered(
    address: int | None, heard: tuple[int, ...], deaf: tuple[int, ...]
) -> None:
    responder = board(address=address)
    for host in heard:
        assert [f.address for f in ask(responder, read_request(0x90, host))] == [address or 1]
    for host in deaf:
        assert ask(responder, read_request(0x90, host)) == []


@pytest.mark.parametrize("data_id", [0x00, 0x58, 0x64, 0x66, 0x70, 0x99, 0x9A, 0x11, 0x22, 0xDB])
def test_unknown_ids_are_silent(data_id: int) -> None:
    assert ask(board(), read_request(data_id)) == []


@pytest.mark.parametrize(
    "options", [{"address": 0}, {"address": 25}, {"firmware": "much too long."[:14] + "x"}]
)
def test_impossible_boards(options: dict[str, Any]) -> None:
    with pytest.raises(TargetError):
        board(**options)


def test_requests_may_come_cut_and_among_junk() -> None:
    responder = board()
    request = DalyA5Framer().encode(read_request(0x90))
    assert responder.receive(b"\xa5junk" + request[:5]) == []
    assert len(responder.receive(request[5:] + b"\n")) == 1
    assert responder.receive(request[:6]) == []
    assert len(responder.receive(request)) == 1


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 255), st.binary(min_size=8, max_size=8))
def test_any_request_gets_a_valid_answer_or_none(data_id: int, data: bytes) -> None:
    for found in ask(board(cells=4), read_request(data_id, data=data)):
        assert found.id == data_id


def test_the_mosfets_are_switched() -> None:
    responder = board()
    assert data_of(responder, 0xD9, bytes(8)) == bytes(8)
    assert responder.pack.switches[Switch.DISCHARGE] is False
    assert responder.pack.switches[Switch.CHARGE] is True
    ours = reading_of(responder)
    assert (ours.charging_allowed, ours.discharging_allowed) == (True, False)
    assert ours.alarms == (Condition.SOFTWARE_LOCK,)
    on = b"\x01" + bytes(7)
    assert data_of(responder, 0xD9, on) == on
    assert data_of(responder, 0xDA, bytes(8)) == bytes(8)
    assert responder.pack.switches[Switch.DISCHARGE] is True
    assert responder.pack.switches[Switch.CHARGE] is False
    assert ask(responder, read_request(0xDA, data=b"\x07" + bytes(7))) == []


def test_the_clock_and_the_charge_are_set_together() -> None:
    """daly-a5-uart-setrtcsoc-tx: 2022-12-13 21:29:39 and 30 %."""
    responder = board(load=0.0)
    responder.pack.advance(5)
    other_line = responder.line()
    assert data_of(responder, 0x61)[:6] == bytes([24, 1, 1, 0, 0, 5])
    wanted = bytes.fromhex("160c0d151d27012c")
    assert data_of(responder, 0x21, wanted) == b"\x01" + bytes(7)
    assert responder.pack.truth().soc == pytest.approx(30.0)
    responder.pack.advance(20)
    assert data_of(other_line, 0x61)[:6] == bytes([22, 12, 13, 21, 29, 59])


@pytest.mark.parametrize("wanted", ["160d0d151d27012c", "160c0d151d2703e9", "0000000000000000"])
def test_a_clock_that_makes_no_sense_changes_nothing(wanted: str) -> None:
    responder = board(soc=60, load=0.0)
    assert data_of(responder, 0x21, bytes.fromhex(wanted)) == bytes(8)
    assert responder.pack.truth().soc == pytest.approx(60.0, abs=0.01)
    assert data_of(responder, 0x61)[0] == 24


def test_parameters_are_the_settings_of_the_pack() -> None:
    responder = board(cells=16, chemistry="nmc", capacity=280)
    responder.pack.settings["cell_ovp"] = 4.21
    values: dict[str, Any] = {}
    for data_id in (0x50, 0x51, 0x52, 0x53, *range(0x59, 0x62), 0x65):
        values |= parse(PARAMETERS[data_id].layout, data_of(responder, data_id), "parameter")
    assert values["cell_ovp"] == 4.21
    shared = {k: v for k, v in responder.pack.settings.items() if k in values}
    assert len(shared) > 25
    assert {k: values[k] for k in shared} == pytest.approx(shared, abs=0.51)
    assert values["daly_board_1_cells"] == 16
    assert values["chemistry"] == 1
    assert values["nominal_capacity"] == 280.0
    assert values["soc_low_warning"] == values["soc_low"] == 10.0


def test_a_setting_that_fits_no_frame_makes_it_silent() -> None:
    responder = board()
    responder.pack.settings["cell_ovp"] = 99.0
    assert ask(responder, read_request(0x59)) == []
    assert data_of(responder, 0x5A)


# --------------------------------------------------------------------------- with the driver


def over_the_air(query: str, use: Callable[[Any, Pack], Any]) -> Any:
    async def main() -> Any:
        async with bmslink.connect(f"daly-a5+sim://?{query}").board as device:
            transport = device.link.transport
            assert isinstance(transport, SimTransport)
            return await use(device, transport.pack)

    return virtual_run(main())


async def compare(device: Any, pack: Pack) -> None:
    for _ in range(2):
        assert_agrees(await device.read(), pack.truth())


@pytest.mark.parametrize(
    "query",
    [
        "cells=16",
        "cells=48&chemistry=nmc",
        "cells=1&load=idle",
        "cells=3&chemistry=lto&load=idle",
        "cells=8&address=2",
        "fault=echo",
        "fault=noise:40",
        "fault=late:0.3",
        "fault=chunk",
        "fault=duplicate",
        "fault=glue",
        "fault=foreign",
        "fault=sleepy",
        "fault=corrupt:15&seed=3",
        "fault=cut:15&seed=3",
        "fault=condition:discharge_overtemperature",
        "soc=3&load=-10",
    ],
)
def test_read_over_good_and_bad_lines(query: str) -> None:
    slow = query if "load" in query else f"{query}&load=-20"
    over_the_air(f"{slow}&speed=0.001", compare)


def test_identify() -> None:
    async def identify(device: Any, pack: Pack) -> Any:
        return await device.identify()

    identity = over_the_air("cells=14&chemistry=nmc&firmware=70_260316_01T6", identify)
    assert identity.firmware == "70_260316_01T6"
    assert identity.hardware == "DL-BMS-R32-01E"
    assert identity.serial_number == "SIM64298310"
    assert (identity.cell_count, identity.chemistry) == (14, "nmc")


# --------------------------------------------------------------- with other people's programs


class Served:
    """A simulated board on a pseudo-terminal, in a thread of its own."""

    def __init__(self, place: Path, **pack: Any) -> None:
        self.place = place
        self.pack = pack
        self.device: SimDevice | None = None
        self.ready = threading.Event()
        self.loop = asyncio.new_event_loop()
        self.over: asyncio.Event | None = None

    async def live(self) -> None:
        self.over = asyncio.Event()
        self.device = make_device("daly-a5", speed=1e-6, **self.pack)
        self.device.pack.advance(60)
        terminal = Terminal(self.place)
        line = SimLine(self.device, terminal.write, client_rate=lambda: terminal.rate)
        terminal.listen(line.receive)
        self.ready.set()
        try:
            await self.over.wait()
        finally:
            line.close()
            terminal.close()

    def truth(self) -> Reading:
        async def look() -> Reading:
            assert self.device is not None
            return self.device.pack.truth()

        return asyncio.run_coroutine_threadsafe(look(), self.loop).result(5)


@contextmanager
def served(place: Path, **pack: Any) -> Iterator[Served]:
    it = Served(place, **pack)
    thread = threading.Thread(target=it.loop.run_until_complete, args=(it.live(),))
    thread.start()
    try:
        assert it.ready.wait(5)
        yield it
    finally:
        assert it.over is not None
        it.loop.call_soon_threadsafe(it.over.set)
        thread.join(5)
        it.loop.close()


FULL = {"cells": 16, "load": "15", "soc": 97.0}


@pytest.mark.parametrize("pack", [FULL, {"cells": 7, "load": "-23.4", "chemistry": "nmc"}])
def test_dalybms_reads_it(tmp_path: Path, pack: dict[str, Any]) -> None:
    with served(tmp_path / "daly", **pack) as it:
        client = OlderClient()
        client.connect(str(it.place))
        found, truth = client.get_all(), it.truth()
        client.disconnect()
    cells = dict(enumerate(truth.cell_voltages, 1))
    assert found["soc"]["total_voltage"] == pytest.approx(truth.voltage, abs=0.051)
    assert found["soc"]["current"] == pytest.approx(truth.current, abs=0.051)
    assert found["soc"]["soc_percent"] == pytest.approx(truth.soc, abs=0.051)
    assert found["cell_voltages"] == pytest.approx(cells, abs=0.0006)
    extremes = found["cell_voltage_range"]
    assert extremes["highest_voltage"] == pytest.approx(truth.max_cell_voltage, abs=0.0006)
    assert extremes["lowest_voltage"] == pytest.approx(truth.min_cell_voltage, abs=0.0006)
    assert cells[extremes["highest_cell"]] == truth.max_cell_voltage
    assert cells[extremes["lowest_cell"]] == truth.min_cell_voltage
    warm = [truth.temperatures["cell_1"], truth.temperatures["cell_2"]]
    assert list(found["temperatures"].values()) == pytest.approx(warm, abs=0.501)
    spread = found["temperature_range"]
    assert spread["highest_temperature"] == pytest.approx(max(warm), abs=0.501)
    assert spread["lowest_temperature"] == pytest.approx(min(warm), abs=0.501)
    charging = (truth.current or 0) > 0
    assert found["mosfet_status"]["mode"] == ("charging" if charging else "discharging")
    assert found["mosfet_status"]["charging_mosfet"] is truth.charging_allowed
    assert found["mosfet_status"]["discharging_mosfet"] is truth.discharging_allowed
    assert found["mosfet_status"]["capacity_ah"] == pytest.approx(
        truth.remaining_capacity, abs=0.0006
    )
    assert found["status"]["cells"] == len(cells)
    assert found["status"]["temperature_sensors"] == 2
    assert found["status"]["cycles"] == truth.cycles
    assert found["status"]["charger_running"] is charging
    assert found["status"]["load_running"] is not charging
    assert found["errors"] == []


def test_dalybms_switches_it_and_sets_its_charge(tmp_path: Path) -> None:
    with served(tmp_path / "daly", cells=4, load="idle") as it:
        client = OlderClient()
        client.connect(str(it.place))
        client.set_charge_mosfet(False)
        client.set_discharge_mosfet(False)
        truth = it.truth()
        assert (truth.charge_switch, truth.discharge_switch) == (False, False)
        client.set_charge_mosfet(True)
        assert it.truth().charge_switch is True
        client.disconnect()


def test_dalybms_hears_of_failures(tmp_path: Path) -> None:
    with served(tmp_path / "daly", cells=4, load="idle", faults=["condition:afe:fault"]) as it:
        client = OlderClient()
        client.connect(str(it.place))
        assert client.get_errors() == ["AFE acquisition chip malfunction"]
        client.disconnect()


@pytest.mark.parametrize("pack", [FULL, {"cells": 24, "load": "-23.4", "chemistry": "lto"}])
def test_pydalybms_reads_it(tmp_path: Path, pack: dict[str, Any]) -> None:
    with served(tmp_path / "daly", faults=["condition:cell_delta:protection"], **pack) as it:
        client = NewerClient(str(it.place))
        answers = (
            client.get_soc(),
            client.get_voltage_min_max_cell(),
            client.get_temperature_min_max_cell(),
            client.get_status_information(),
            client.get_battery_failure_status(),
            client.get_cell_voltages(pack["cells"]),
        )
        truth = it.truth()
    soc, extremes, spread, status, failures, cells = answers
    assert soc.cumulative_total_voltage == pytest.approx(truth.voltage, abs=0.051)
    assert soc.current == pytest.approx(truth.current, abs=0.051)
    assert soc.soc == pytest.approx(truth.soc, abs=0.051)
    assert cells.cells == pytest.approx(truth.cell_voltages, abs=0.0006)
    assert extremes.max.voltage == pytest.approx(truth.max_cell_voltage, abs=0.0006)
    assert extremes.min.voltage == pytest.approx(truth.min_cell_voltage, abs=0.0006)
    assert truth.cell_voltages[extremes.max.number - 1] == truth.max_cell_voltage
    assert truth.cell_voltages[extremes.min.number - 1] == truth.min_cell_voltage
    warm = [truth.temperatures["cell_1"], truth.temperatures["cell_2"]]
    assert spread.max.temperature == pytest.approx(max(warm), abs=0.501)
    assert spread.min.temperature == pytest.approx(min(warm), abs=0.501)
    assert (status.cells, status.temperature_sensors) == (pack["cells"], 2)
    assert status.charger_connected is (truth.current > 0)
    assert failures.diff_volt_level_2
    raised = [name for name, value in vars(failures).items() if value]
    assert raised == ["diff_volt_level_2"]
