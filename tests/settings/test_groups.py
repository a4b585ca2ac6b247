"""Every setting of every map has its heading, and packed numbers their words."""

from __future__ import annotations

import re

import pytest

from bmslink.protocols import DRIVERS, load_driver
from bmslink.settings.catalogue import CATALOGUE
from bmslink.settings.groups import Group, group_of, grouped
from bmslink.settings.packed import words_of

EVERY = sorted(
    {key for name in DRIVERS for each in load_driver(name).every_map() for key in each.by_key}
)

OF_THE_BOARD = re.compile(
    r"cell_count|sleep_delay|daly_board.*|jbd_led.*|jk_.*(address|protocol|trigger|sleep.*)|"
    r"daly_(current_drift|operating_mode|shunt_resistance)|"
    r"jbd_(cycle_count|fet_control_time|function_bits|production_date|self_discharge|serial_number|"
    r"shunt)|jk_(calibrating|current_calibration|dedicated_charger|display_always_on|"
    r"dry_contact_intermittent|gps_heartbeat|port_rs485|power_off_voltage|special_charger|timed_data)"
)
"""What is meant to be nowhere else: a new key has to be put somewhere."""


def test_nothing_is_under_the_board_itself_by_chance() -> None:
    found = {key for key in {*EVERY, *CATALOGUE} if group_of(key) is Group.BOARD}
    assert not [key for key in found if not OF_THE_BOARD.fullmatch(key)]


@pytest.mark.parametrize(
    ("key", "group"),
    [
        ("cell_ovp_release", Group.CELLS),
        ("jbd_hardware_cell_uvp", Group.CELLS),
        ("jbd_up_cell_delta_alarm_delay", Group.CELLS),
        ("pack_uvp", Group.PACK),
        ("charge_ocp", Group.CURRENT),
        ("daly_level_3_discharge_ocp_delay", Group.CURRENT),
        ("short_circuit_delay", Group.SHORT_CIRCUIT),
        ("charge_utp_warning", Group.TEMPERATURE),
        ("jk_heating_start", Group.TEMPERATURE),
        ("jbd_up_ambient_otp", Group.TEMPERATURE),
        ("balance_switch", Group.BALANCING),
        ("jbd_up_balance_delta", Group.BALANCING),
        ("soc", Group.CAPACITY),
        ("jbd_soc_80_voltage", Group.CAPACITY),
        ("full_charge_voltage", Group.CAPACITY),
        ("jk_request_charge_time", Group.CAPACITY),
        ("charge_switch", Group.SWITCHES),
        ("jk_device_address", Group.BOARD),
    ],
)
def test_what_a_setting_is_about(key: str, group: Group) -> None:
    assert group_of(key) is group


def test_a_limit_is_followed_by_its_warning_release_and_delay() -> None:
    keys = ["cell_ovp_delay", "cell_uvp", "cell_ovp_release", "charge_ocp", "cell_ovp"]
    assert list(grouped(keys)) == [
        (Group.CELLS, ["cell_ovp", "cell_ovp_release", "cell_ovp_delay", "cell_uvp"]),
        (Group.CURRENT, ["charge_ocp"]),
    ]
    assert sorted(key for _, own in grouped(EVERY) for key in own) == EVERY


@pytest.mark.parametrize(
    ("key", "number", "words"),
    [
        ("jbd_function_bits", 6.0, "load detection, balancing"),
        ("jbd_function_bits", 0x41, "external switch, bit 6 (meaning unknown)"),
        ("jbd_function_bits", 0, "none"),
        ("jbd_ntc_bits", 5, "NTC 1, NTC 3"),
        ("jbd_production_date", 11388, "2022-03-28"),
        ("jbd_production_date", 0, "no date"),
        ("jbd_production_date", (22 << 9) | (2 << 5) | 30, "no date"),
        ("jbd_production_date", 0xFFFF, "no date"),
        ("jbd_short_circuit_level", 0x8D, "code 8D of the measuring chip"),
        ("daly_operating_mode", 2, "wakes by a short press"),
        ("daly_operating_mode", 9, "meaning unknown"),
        ("jk_battery_type", 1, "NMC"),
        ("jbd_ntc_bits", None, ""),
        ("jbd_ntc_bits", -1, ""),
        ("jbd_ntc_bits", 1.5, ""),
        ("cell_ovp", 3.6, ""),
    ],
)
def test_a_packed_number_in_words(key: str, number: float | None, words: str) -> None:
    assert words_of(key, number) == words
