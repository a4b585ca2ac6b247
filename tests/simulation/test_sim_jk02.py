"""The simulated JK02 board: what it answers, what it obeys, and that the driver reads it right."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from bmslink.device import connect
from bmslink.errors import TargetError
from bmslink.model import Condition, Identity, Reading, Switch
from bmslink.protocols.base import Record
from bmslink.protocols.jk.jk02.driver import JK02Codec, JK02Frame, JK02Framer, command
from bmslink.protocols.jk.settings import REGISTERS
from bmslink.simulation.boards.jk02 import MODELS, JK02Responder
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import make_responder
from bmslink.simulation.transport import SimTransport
from support import virtual_run

INFO, SETTINGS, CELLS, ACK = 0x03, 0x01, 0x02, 0xC8
READ_INFO, READ_SETTINGS = command(0x97), command(0x96)


def board(firmware: str | None = None, **options: Any) -> JK02Responder:
    found = make_responder("jk02", Pack(**options), firmware=firmware)
    assert isinstance(found, JK02Responder)
    return found


def ask(device: JK02Responder, *requests: JK02Frame) -> list[JK02Frame]:
    framer = JK02Framer()
    answers = device.receive(b"".join(framer.encode(request) for request in requests))
    frames = [f for answer in answers for f in framer.feed(answer.data)]
    assert framer.skipped_bytes == framer.pending == 0
    return frames


def write(device: JK02Responder, register: int, value: float) -> None:
    wire = REGISTERS[device.model.variant][register].wire
    (answer,) = ask(device, command(register, wire.build(value)))
    assert (answer.code, answer.data) == (ACK, b"\x01")


def settings(device: JK02Responder) -> Record:
    (found, *_) = [f for f in ask(device, READ_SETTINGS) if f.code == SETTINGS]
    return JK02Codec(device.model.variant).decode(found)


def live(device: JK02Responder) -> Reading:
    """The next live record, with the settings known."""
    codec = JK02Codec()
    for frame in ask(device, READ_INFO, READ_SETTINGS):
        codec.decode(frame)
    (frame,) = JK02Framer().feed(device.stream())
    return codec.reading([codec.decode(frame)])


def test_it_answers_in_the_order_of_real_boards() -> None:
    new, old = board("15.41"), board("14.20")
    assert [f.code for f in ask(new, READ_INFO)] == [INFO, ACK]
    assert [f.code for f in ask(new, READ_SETTINGS)] == [SETTINGS, INFO, ACK]
    assert [f.code for f in ask(old, READ_SETTINGS)] == [SETTINGS, ACK]
    delays = [a.delay for a in new.receive(JK02Framer().encode(READ_SETTINGS))]
    assert delays == sorted(delays)
    assert 0.05 <= delays[0] <= delays[-1] <= 0.45


def test_it_streams_only_after_device_info_and_settings() -> None:
    device = board()
    assert device.stream() == b""
    ask(device, READ_SETTINGS)
    assert device.stream() == b""
    ask(device, READ_INFO)
    assert device.stream() == b""
    ask(device, READ_SETTINGS)
    assert device.stream()[4] == CELLS
    assert device.line().stream() == b""


def test_records_are_counted() -> None:
    device = board()
    ask(device, READ_INFO, READ_SETTINGS)
    counters = [device.stream()[5] for _ in range(300)]
    assert [(b - a) % 256 for a, b in pairwise(counters)] == [1] * 299


@pytest.mark.parametrize("firmware", MODELS)
def test_every_firmware_tells_the_truth(firmware: str) -> None:
    device = board(firmware, cells=8, soc=99.9, seed=3, load=-12.5)
    device.pack.advance(600)
    truth, found = device.pack.truth(), live(device)
    same = ("voltage", "current", "soh", "remaining_capacity", "full_capacity", "cycles")
    same += ("nominal_capacity", "cycle_capacity", "cell_voltages", "cell_resistances")
    same += ("balancing_active", "balance_current", "charging_allowed", "discharging_allowed")
    same += ("charge_switch", "discharge_switch", "balance_switch", "uptime")
    assert {k: getattr(found, k) for k in same} == {k: getattr(truth, k) for k in same}
    assert found.soc == round(truth.soc or 0)
    assert truth.temperatures.items() <= found.temperatures.items()
    assert found.raw["variant"] == MODELS[firmware].variant


@pytest.mark.parametrize("firmware", MODELS)
def test_every_firmware_says_who_it_is(firmware: str) -> None:
    codec = JK02Codec()
    records = [codec.decode(f) for f in ask(board(firmware, cells=8), READ_INFO, READ_SETTINGS)]
    found = codec.identity([r for r in records if r.role in ("identity", "settings")])
    assert (found.model, found.firmware, found.cell_count, found.variant) == (
        MODELS[firmware].vendor_id,
        firmware,
        8,
        MODELS[firmware].variant,
    )


def test_both_variants_have_their_limits() -> None:
    assert len(live(board("10.07", cells=24)).cell_voltages) == 24
    assert len(live(board("15.41", cells=32)).cell_voltages) == 32
    for firmware, cells in (("10.07", 25), ("15.41", 33)):
        with pytest.raises(TargetError, match="up to"):
            board(firmware, cells=cells)


def test_unknown_firmware_names_the_known_ones() -> None:
    with pytest.raises(TargetError, match=r"'8\.0\.3M'.*15\.41"):
        board("8.0.3M")


@pytest.mark.parametrize("firmware", ["10.07", "11.17", "15.41"])
def test_a_broken_probe_is_null(firmware: str) -> None:
    device = board(firmware)
    device.pack.break_probe("cell_2")
    found = live(device)
    assert found.temperatures["cell_2"] is None
    assert found.temperatures["cell_1"] is not None
    # the alarm word of 24S boards ends before that bit
    assert found.faults == ((Condition.TEMPERATURE_SENSE,) if firmware != "10.07" else ())


def test_a_cell_without_a_wire_is_0_v() -> None:
    device = board(cells=4)
    device.pack.set_cell_voltage(4, 0.0)
    found = live(device)
    assert (len(found.cell_voltages), found.cell_voltages[3]) == (4, 0.0)
    assert Condition.VOLTAGE_SENSE in found.faults


def test_conditions_reach_the_client_as_jk_can_say_them() -> None:
    device = board()
    device.pack.raise_condition("protection", Condition.SHORT_CIRCUIT)
    device.pack.raise_condition("alarm", Condition.WIRE_RESISTANCE)
    device.pack.raise_condition("fault", Condition.DISCHARGE_MOSFET)
    device.pack.raise_condition("fault", Condition.EEPROM)  # JK has no bit for it
    found = live(device)
    assert found.protections == (Condition.SHORT_CIRCUIT,)
    assert found.alarms == (Condition.WIRE_RESISTANCE,)
    assert found.faults == (Condition.DISCHARGE_MOSFET,)
    assert (found.charging_allowed, found.discharging_allowed) == (False, False)


def test_values_beyond_a_field_stop_at_its_end() -> None:
    device = board(load=-200.0, capacity=10_000, soc=100)
    device.pack.settings["balance_current"] = 60.0
    device.pack.settings["discharge_utp"] = -200.0
    device.pack.set_cell_voltage(1, 4.0)
    assert live(device).balance_current == 32.767
    assert settings(board("19.10")).values["discharge_utp"] == -20
    device = board("19.10")
    device.pack.settings["discharge_utp"] = -200.0
    assert settings(device).values["discharge_utp"] == -128


@pytest.mark.parametrize("firmware", ["10.07", "15.41"])
def test_switches_are_obeyed_and_shown(firmware: str) -> None:
    device = board(firmware)
    codes = {0x1D: Switch.CHARGE, 0x1E: Switch.DISCHARGE, 0x1F: Switch.BALANCE}
    for register, switch in codes.items():
        write(device, register, 0)
        assert device.pack.switches[switch] is False
        assert settings(device).values[f"{switch}_switch"] is False
    found = live(device)
    assert (found.charging_allowed, found.discharging_allowed) == (False, False)
    write(device, 0x1D, 1)
    assert live(device).charging_allowed is True


def test_settings_are_written_where_the_next_read_shows_them() -> None:
    device = board("15.41")
    write(device, 0x04, 3.55)  # what the pack guards
    write(device, 0x37, -10)  # what only JK has
    write(device, 0x2A, 1)  # one bit of the switch word
    write(device, 0x2D, 1)
    write(device, 0x2A, 0)
    found = settings(device).values
    assert device.pack.settings["cell_ovp"] == found["cell_ovp"] == 3.55
    assert (found["jk_heating_start"], found["jk_smart_sleep"]) == (-10, True)
    assert settings(device.line()).values["jk_heating_start"] == -10


def test_the_short_circuit_delay_has_another_register_on_each_variant() -> None:
    for firmware, register in (("10.07", 0x25), ("15.41", 0x21)):
        device = board(firmware)
        write(device, register, 0.0005)
        assert settings(device).values["short_circuit_delay"] == 0.0005


@pytest.mark.parametrize(
    "ignored",
    [
        command(0x04, b"\x01"),  # too short
        command(0x64, (50_000).to_bytes(4, "little")),  # a calibration
        command(0x9D),  # factory reset
        command(0xE0, b"\x01"),  # no such register
    ],
)
def test_other_writes_are_acknowledged_and_change_nothing(ignored: JK02Frame) -> None:
    device = board("15.41")
    before = settings(device).values
    assert [f.code for f in ask(device, ignored)] == [ACK]
    assert settings(device).values == before


def test_requests_cut_anywhere_and_behind_junk_are_heard() -> None:
    request = JK02Framer().encode(READ_INFO)
    device = board()
    heard = [device.receive(bytes([byte])) for byte in b"\x55\xaa\xeb\x90\x02" + request]
    assert [bool(answers) for answers in heard] == [False] * 24 + [True]
    assert len(board().receive(request[:11] + request)) == 2


# ---------------------------------------------------------------------------------- end to end

BAD_LINES = ("noise", "echo", "corrupt", "cut", "glue", "late", "chunk", "duplicate", "sleepy")


def test_a_simulated_pack_is_read_like_a_real_one() -> None:
    async def main() -> tuple[Identity, Reading, Reading, Pack]:
        async with connect("jk02+sim://?cells=16&seed=4&load=-20").board as device:
            identity = await device.identify()
            first = await device.read()
            assert isinstance(device.link.transport, SimTransport)
            return identity, first, await device.read(), device.link.transport.pack

    identity, first, second, pack = virtual_run(main())
    assert (identity.vendor, identity.model, identity.variant, identity.chemistry) == (
        "JK",
        "JK_PB2A16S20P",
        "32s",
        "lfp",
    )
    truth = pack.truth()
    assert second.current == truth.current == -20.0
    assert second.voltage == pytest.approx(truth.voltage, abs=0.02)
    assert second.target == "jk02+sim://?cells=16&seed=4&load=-20"
    assert 0 < (second.uptime or 0) - (first.uptime or 0) <= 1


@pytest.mark.parametrize("fault", BAD_LINES)
def test_a_bad_line_gives_readings_all_the_same(fault: str) -> None:
    async def main() -> list[Reading]:
        async with connect(f"jk02+sim://?firmware=10.07&cells=8&fault={fault}").board as device:
            return [await device.read() for _ in range(5)]

    for reading in virtual_run(main()):
        assert len(reading.cell_voltages) == 8
        assert reading.soc == 60


@pytest.mark.counted
def test_switches_are_read_again_and_never_shown_when_old() -> None:
    async def main() -> list[bool | None]:
        async with connect("jk02+sim://?load=idle").board as device:
            found = [(await device.read()).charge_switch]
            device.link.transport.pack.switch(Switch.CHARGE, on=False)
            await asyncio.sleep(40)
            await device.read()  # asks for the settings
            await asyncio.sleep(2)
            found.append((await device.read()).charge_switch)

            async def lost(frame: JK02Frame) -> None:
                return

            device.link.send = lost
            await asyncio.sleep(500)
            return [*found, (await device.read()).charge_switch]  # too old to be told

    assert virtual_run(main()) == [True, False, None]
