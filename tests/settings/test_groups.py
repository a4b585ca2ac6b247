"""Every setting of every map has its heading, and packed numbers their words."""

from __future__ import annotations

import pytest

from bmslink.protocols import DRIVERS, load_driver
from bmslink.settings.catalogue import CATALOGUE
from bmslink.settings.groups import Group, group_of, grouped
from bmslink.settings.packed import words_of

EVERY = sorted(
    {key for name in DRIVERS for each in load_driver(name).every_map() for key in each.by_key}
)

OF_THE_BOARD = {
    *("cell_count", "sleep_delay"),
    *(key for key in EVERY if key.startswith(("daly_board", "jbd_led"))),
    *("daly_current_drift", "daly_operating_mode", "daly_shunt_resistance"),
    *("jbd_cycle_count", "jbd_fet_control_time", "jbd_function_bits", "jbd_production_date"),
    *("jbd_self_discharge", "jbd_serial_number", "jbd_shunt"),
    *("jk_address", "jk_calibrating", "jk_current_calibration", "jk_dedicated_charger"),
    *("jk_device_address", "jk_display_always_on", "jk_dry_contact_intermittent"),
    *("jk_gps_heartbeat", "jk_port_rs485", "jk_power_off_voltage", "jk_special_charger"),
    *("jk_smart_sleep", "jk_smart_sleep_delay", "jk_smart_sleep_voltage", "jk_timed_data"),
}
"""What is meant to be nowhere else: a new key that protects something must not land here."""


def test_no_protection_is_under_the_board_itself() -> None:
    lost = {key for key in {*EVERY, *CATALOGUE} if group_of(key) is Group.BOARD} - OF_THE_BOARD
    protecting = ("ovp", "uvp", "ocp", "otp", "utp", "delta", "short", "balance", "capacity")
    assert not [key for key in lost if any(word in key for word in protecting)]


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
