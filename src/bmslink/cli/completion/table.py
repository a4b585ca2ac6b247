"""What can be completed. Made by `tools/completion_table.py`: do not edit."""

from __future__ import annotations

__all__ = ["ABOUT", "COMMANDS", "COMMON", "CONNECTION", "KEYS", "VALUES"]

COMMON = "--json --quiet -v --verbose --trace=file --debug --version --help -h"

CONNECTION = "--protocol=protocol|vendor --address= --baudrate= --timeout= --pin-file=file"

COMMANDS = {
    "scan": (
        "--ble --serial --port=port* --timeout= --connect --protocol=protocol|vendor "
        "--pin-file=file --add="
    ),
    "info": "target @",
    "read": "target* --watch= --count= @",
    "monitor": "target* @",
    "decode": "file --hex= --protocol=protocol|vendor --frames",
    "capture": "target -o=file --output=file --seconds= --count= --watch= --force @",
    "log": "target* -o=file --output=file --watch= --seconds= --count= @",
    "simulate": (
        "protocol --pty=file --tcp= --ble= --ble-module= --ble-name= --ble-chunk= "
        "--ble-mtu= --ble-pin= --cells= --chemistry=chemistry --capacity= --soc= --seed= "
        "--address=* --firmware= --speed= --load= --imbalance= --fault=fault*"
    ),
    "replay": "file --pty=file --tcp= --speed= --loop --protocol=protocol|vendor",
    "settings show": "target @",
    "settings get": "target key* @",
    "settings set": (
        "target assignment* --untested --waive=waiver* --chemistry=chemistry --yes -y --dry-run @"
    ),
    "config backup": "target --output=file -o=file --force @",
    "config export": "target --own --output=file -o=file --force @",
    "config presets": "preset target --cells= --capacity= --output=file -o=file --force @",
    "config plan": "file target* --switches --untested --waive=waiver* --chemistry=chemistry @",
    "config apply": (
        "file target* --switches --untested --waive=waiver* --chemistry=chemistry --yes "
        "-y --dry-run @"
    ),
    "config restore": (
        "file target --clone --untested --waive=waiver* --chemistry=chemistry --yes -y --dry-run @"
    ),
    "config undo": (
        "target --keep-changed --overwrite --untested --waive=waiver* "
        "--chemistry=chemistry --yes -y --dry-run @"
    ),
    "config resume": "target --rollback --keep --show --waive=waiver* --yes -y @",
    "config verify": "target @",
    "config diff": "file|target* --all @",
    "config journal": "target",
    "switch": "target switch on_off --untested --waive=waiver* --yes -y --dry-run @",
    "control presets": (
        "policy_preset target --chemistry=chemistry --use=use --cells= --capacity= "
        "--output=file -o=file --force @"
    ),
    "control check": "file target @ --settings=file --upgrade --yes -y --dry-run",
    "control backtest": (
        "file --policies=file --compare=file* --settings=file --sink --interval= --speed= "
        "--protocol=protocol|vendor"
    ),
    "control explain": (
        "file|target --policies=file --at= --all --settings=file --sink --interval= --speed= @"
    ),
    "control approve": "target file --yes -y @",
    "control run": (
        "target* --policies=file --shadow --enforce --watch= --count= --sink-command= "
        "--untested --settings=file --sink @"
    ),
    "control offload": (
        "target file --untested --waive=waiver* --chemistry=chemistry --yes -y --dry-run @"
    ),
    "control drill": "target file --only=switch* --untested --waive=waiver* --yes -y @",
    "control status": "--orphans=target @",
    "control emergency-stop": "target --why= --untested @",
    "control reset": "target nothing @",
    "control override": "target nothing --minutes= --why= @",
    "control resume": "target switch @",
    "balance session": (
        "target --target-delta= --top= --current= --capacity= --chemistry=chemistry "
        "--supply= --hours= --untested --waive=waiver* --sink-command= --interval= "
        "--dry-run --yes -y --resume --restore --detach --output=file -o=file @"
    ),
    "balance status": "target @",
    "balance cancel": "target @",
    "balance watch": "target @",
    "serve": "target* --config=file --system --loopback --history=file",
    "service status": "--socket=file",
    "service reload": "--socket=file",
    "service stop": "--socket=file",
    "service install": "--user --write --credential=file* --force",
    "service test-alerts": "--socket=file",
    "service lend": "pack --for= --end --pty=file --tcp=",
    "service release": "pack --for= --end",
    "history": (
        "pack|bank --since= --last= --until= --resolution=raw_minute_hour_auto "
        "--field=field* --csv --socket=file"
    ),
    "plot": (
        "file* --output=file -o=file --force --since= --last= --until= --show=* "
        "--cells=deviation_voltage --pack=* --settings=file --title= --socket=file"
    ),
    "life": "pack --from=file --chemistry=chemistry --socket=file",
    "events": (
        "target --since= --last= --until= --severity=info_warning_alarm_critical --open "
        "--what=kind --limit= --seen --board --samples --socket=file @"
    ),
    "doctor": "target --explain= --bundle=file --force @",
    "packs list": "",
    "packs add": "nothing target --force --chemistry=chemistry",
    "packs remove": "pack",
    "packs path": "",
}

ABOUT = {
    "scan": "Find packs over Bluetooth and on serial ports.",
    "info": "Show who a pack is: vendor, model, firmware, serial number.",
    "read": "Read packs once, or every S seconds.",
    "monitor": "Watch packs live, full screen.",
    "decode": "Turn captured bytes into readings, offline.",
    "capture": "Record every byte both ways, with times.",
    "log": "Write readings to a file: CSV, JSON lines, SQLite or Parquet.",
    "simulate": "Simulate a pack that other software can talk to.",
    "replay": "Serve a recorded pack to other software.",
    "settings": "Show, get and set parameters by name.",
    "config": "Back up, plan, apply and compare whole configurations.",
    "switch": "Switch charging, discharging or balancing on or off.",
    "control": "Try protection policies, approve them, and let them act.",
    "balance": "Balance the cells of a pack at the top of charge.",
    "serve": "Run the service: it reads packs and lets other programs in.",
    "service": "Manage the service: status, reload, stop, install, lend, release.",
    "history": "Show what the service stored about a pack.",
    "plot": "Draw readings over time, in the terminal or in a file to zoom in.",
    "life": "Show how a battery is used and worn, and how certain that is.",
    "events": "Show a board's own history and what the service saw.",
    "doctor": "Find out what is wrong with link, board, battery, settings or computer.",
    "packs": "Name packs, so that `bmslink read van` is enough.",
    "settings show": "Show every setting of a pack: value, limits, whether it...",
    "settings get": "Show some settings by name, in their own units.",
    "settings set": "Write settings: KEY=VALUE, the value in the setting's...",
    "config backup": "Save everything that a pack holds, as raw bytes.",
    "config export": "Write the settings of a pack as a profile.",
    "config presets": "List the presets, or write one as a profile to start from.",
    "config plan": "Show what a profile would change, and every check.",
    "config apply": "Write a profile to one pack or several.",
    "config restore": "Restore a pack from a backup.",
    "config undo": "Go back to what was set before the last change.",
    "config resume": "Finish a change that was cut off, or set it back.",
    "config verify": "Check that a pack still holds what its last change wrote.",
    "config diff": "Compare packs, backups and profiles.",
    "config journal": "Show what was changed, when, by whom, and how.",
    "control presets": "Write a commented policy file to start from; everything...",
    "control check": "Find what is doubtful about a policy file, and about the...",
    "control backtest": "Try policies on a recording: what they would have done,...",
    "control explain": "Show why a moment is judged as it is: the reasons behind...",
    "control approve": "Let a policy file act on a pack, once: `control run...",
    "control run": "Judge live packs and tell each change of a decision, with...",
    "control offload": "Set the board's own limits from a policy file, so that it...",
    "control drill": "Switch each switch of a pack at rest once off and on, and...",
    "control status": "Show what every running `control run` says now.",
    "control emergency-stop": "Switch charging, discharging and balancing off, at once...",
    "control reset": "End an emergency stop, and let go of what waits for a...",
    "control override": "Set a policy aside for a while, when you know better.",
    "control resume": "End a stand-down: policies may switch again what somebody...",
    "balance session": "Bring the cells of a pack together at the top of charge,...",
    "balance status": "How the balancing session of a pack is, or what the last...",
    "balance cancel": "End the balancing session of a pack: everything is set...",
    "balance watch": "Show how the balancing session of a pack goes on, until...",
    "service status": "Show the state of the service and its packs.",
    "service reload": "Make the service read its file again; only what changed...",
    "service stop": "Stop the service.",
    "service install": "Print the systemd unit, or write it, and say what to do...",
    "service test-alerts": "Make the service send a test to each receiver of alerts.",
    "service lend": "Lend the line of a served pack to another program, byte...",
    "service release": "Give up the Bluetooth link of a served pack, so that the...",
    "packs list": "List the named packs.",
    "packs add": "Name a pack.",
    "packs remove": "Forget the name of a pack.",
    "packs path": "Show where the file with the names is, whether it exists...",
}

VALUES = {
    "protocol": (
        "jk02 jk-nw daly-d2 daly-p81 jk-modbus jk-bus daly-a5 daly-sinowealth jk04 jbd jbd-up"
    ),
    "vendor": "jk daly jbd",
    "chemistry": "lfp nmc lto na-ion",
    "switch": "charge discharge balance",
    "on_off": "on off",
    "waiver": (
        "chemistry clone health jbd_external_switch jbd_load_detection "
        "jk_button_emergency jk_device_address jk_discharge_ocp_2 jk_discharge_ocp_3 "
        "jk_gps_lock_charge jk_gps_lock_discharge jk_parallel_limiter_disabled "
        "jk_port_rs485 jk_temperature_sensors_disabled join limits load order partial "
        "place protection rating rules soc trip twin unchanged untested"
    ),
    "fault": (
        "silent noise echo corrupt cut glue late chunk duplicate sleepy second_master "
        "foreign ble_drop probe condition command_ignored command_no_effect command_late "
        "reboot reboot_forgets app second_host disobey alternator"
    ),
    "preset": "lfp nmc lto na-ion lfp-100 lfp-280 lfp-314",
    "use": "ups solar van boat",
    "policy_preset": (
        "lfp-ups nmc-ups lto-ups na-ion-ups lfp-solar nmc-solar lto-solar na-ion-solar "
        "lfp-van nmc-van lto-van na-ion-van lfp-boat nmc-boat lto-boat na-ion-boat"
    ),
    "kind": (
        "state condition switch limit policy acting change finding trouble balance "
        "settings_changed change_cut_off drift_unknown returned board_replaced board_back "
        "board_confirmed service_began service_ended reload reload_refused "
        "history_damaged history_gap history_full output ok silent lost replaced lent "
        "released failed ended"
    ),
    "field": "main cells temperatures limits switches conditions energy",
    "raw_minute_hour_auto": "raw minute hour auto",
    "deviation_voltage": "deviation voltage",
    "info_warning_alarm_critical": "info warning alarm critical",
}

KEYS = {
    "jk02": (
        "balance_current balance_delta balance_start_voltage balance_switch cell_count "
        "cell_ovp cell_ovp_release cell_uvp cell_uvp_release charge_ocp charge_ocp_delay "
        "charge_ocp_release charge_otp charge_otp_release charge_switch charge_utp "
        "charge_utp_release discharge_ocp discharge_ocp_delay discharge_ocp_release "
        "discharge_otp discharge_otp_release discharge_switch discharge_utp "
        "discharge_utp_release empty_voltage float_voltage full_charge_voltage "
        "jk_button_emergency jk_buzzer_trigger jk_can_protocol jk_device_address "
        "jk_discharge_ocp_2 jk_discharge_ocp_3 jk_display_always_on jk_dry1_trigger "
        "jk_dry2_trigger jk_dry_contact_intermittent jk_float_mode jk_float_time "
        "jk_gps_heartbeat jk_gps_lock_charge jk_gps_lock_discharge jk_heating "
        "jk_heating_start jk_heating_stop jk_parallel_limiter_disabled jk_port_rs485 "
        "jk_power_off_voltage jk_precharge_time jk_rebulk_soc jk_request_charge_time "
        "jk_request_charge_voltage jk_smart_sleep jk_smart_sleep_delay "
        "jk_smart_sleep_voltage jk_special_charger jk_temperature_sensors_disabled "
        "jk_timed_data jk_uart1_protocol jk_uart2_protocol jk_uart3_protocol mosfet_otp "
        "mosfet_otp_release nominal_capacity short_circuit_delay short_circuit_release"
    ),
    "jk-nw": (
        "balance_delta balance_start_voltage balance_switch cell_count cell_delta "
        "cell_ovp cell_ovp_delay cell_ovp_release cell_uvp cell_uvp_delay "
        "cell_uvp_release charge_ocp charge_ocp_delay charge_otp charge_switch charge_utp "
        "charge_utp_release discharge_ocp discharge_ocp_delay discharge_otp "
        "discharge_switch discharge_utp discharge_utp_release jk_address jk_battery_type "
        "jk_box_otp jk_box_otp_release jk_calibrating jk_current_calibration "
        "jk_dedicated_charger jk_soc_low mosfet_otp mosfet_otp_release nominal_capacity "
        "pack_ovp pack_uvp sleep_delay temperature_delta"
    ),
    "daly-d2": (
        "balance_delta balance_start_voltage cell_delta cell_delta_warning cell_ovp "
        "cell_ovp_warning cell_uvp cell_uvp_warning charge_ocp charge_ocp_warning "
        "charge_otp charge_otp_warning charge_switch charge_utp charge_utp_warning "
        "chemistry daly_balancer_switch daly_board_1_cells daly_board_1_sensors "
        "daly_board_2_cells daly_board_2_sensors daly_board_3_cells daly_board_3_sensors "
        "daly_boards daly_nominal_cell_voltage discharge_ocp discharge_ocp_warning "
        "discharge_otp discharge_otp_warning discharge_switch discharge_utp "
        "discharge_utp_warning mosfet_otp nominal_capacity pack_ovp pack_ovp_warning "
        "pack_uvp pack_uvp_warning sleep_delay soc temperature_delta "
        "temperature_delta_warning"
    ),
    "daly-p81": (
        "balance_current balance_delta balance_start_voltage balance_switch cell_count "
        "cell_delta cell_delta_delay cell_delta_release cell_delta_warning cell_ovp "
        "cell_ovp_delay cell_ovp_release cell_ovp_warning cell_uvp cell_uvp_delay "
        "cell_uvp_release cell_uvp_warning charge_ocp charge_ocp_delay charge_ocp_warning "
        "charge_otp charge_otp_delay charge_otp_release charge_otp_warning charge_switch "
        "charge_utp charge_utp_delay charge_utp_release charge_utp_warning "
        "daly_balance_stop_voltage daly_board_1_cells daly_board_1_sensors "
        "daly_board_2_cells daly_board_2_sensors daly_board_3_cells daly_board_3_sensors "
        "daly_board_number daly_boards daly_charged_capacity daly_discharged_capacity "
        "daly_empty_delay daly_full_charge_delay daly_level_3_charge_ocp "
        "daly_level_3_charge_ocp_delay daly_level_3_discharge_ocp "
        "daly_level_3_discharge_ocp_delay daly_nominal_cell_voltage daly_second_capacity "
        "discharge_ocp discharge_ocp_delay discharge_ocp_warning discharge_otp "
        "discharge_otp_delay discharge_otp_release discharge_otp_warning discharge_switch "
        "discharge_utp discharge_utp_delay discharge_utp_release discharge_utp_warning "
        "empty_voltage full_charge_voltage mosfet_otp mosfet_otp_delay mosfet_otp_release "
        "mosfet_otp_warning nominal_capacity pack_ovp pack_ovp_delay pack_ovp_release "
        "pack_ovp_warning pack_uvp pack_uvp_delay pack_uvp_release pack_uvp_warning "
        "short_circuit_current sleep_delay soc soc_low soc_low_delay soc_low_release "
        "soc_low_warning temperature_delta temperature_delta_delay "
        "temperature_delta_release temperature_delta_warning"
    ),
    "jk-modbus": (
        "balance_current balance_delta balance_start_voltage balance_switch cell_count "
        "cell_ovp cell_ovp_release cell_uvp cell_uvp_release charge_ocp charge_ocp_delay "
        "charge_ocp_release charge_otp charge_otp_release charge_switch charge_utp "
        "charge_utp_release discharge_ocp discharge_ocp_delay discharge_ocp_release "
        "discharge_otp discharge_otp_release discharge_switch discharge_utp "
        "discharge_utp_release empty_voltage float_voltage full_charge_voltage "
        "jk_button_emergency jk_device_address jk_discharge_ocp_2 jk_discharge_ocp_3 "
        "jk_display_always_on jk_dry_contact_intermittent jk_float_mode jk_gps_heartbeat "
        "jk_gps_lock_charge jk_gps_lock_discharge jk_heating jk_heating_start "
        "jk_heating_stop jk_parallel_limiter_disabled jk_port_rs485 jk_power_off_voltage "
        "jk_precharge_time jk_request_charge_voltage jk_smart_sleep jk_smart_sleep_delay "
        "jk_smart_sleep_voltage jk_special_charger jk_temperature_sensors_disabled "
        "jk_timed_data mosfet_otp mosfet_otp_release nominal_capacity short_circuit_delay "
        "short_circuit_release"
    ),
    "jk-bus": "",
    "daly-a5": (
        "balance_delta balance_start_voltage cell_delta cell_delta_warning cell_ovp "
        "cell_ovp_warning cell_uvp cell_uvp_warning charge_ocp charge_ocp_warning "
        "charge_otp charge_otp_warning charge_utp charge_utp_warning chemistry "
        "daly_board_1_cells daly_board_1_sensors daly_boards daly_current_drift "
        "daly_nominal_cell_voltage daly_operating_mode daly_shunt_resistance "
        "discharge_ocp discharge_ocp_warning discharge_otp discharge_otp_warning "
        "discharge_utp discharge_utp_warning nominal_capacity pack_ovp pack_ovp_warning "
        "pack_uvp pack_uvp_warning short_circuit_current sleep_delay soc_high "
        "soc_high_warning soc_low soc_low_warning temperature_delta "
        "temperature_delta_warning"
    ),
    "daly-sinowealth": "",
    "jk04": (
        "balance_current balance_delta balance_switch cell_count jk_balance_start_voltage "
        "jk_power_off_voltage"
    ),
    "jbd": (
        "balance_charging_only balance_delta balance_start_voltage balance_switch "
        "cell_count cell_ovp cell_ovp_delay cell_ovp_release cell_uvp cell_uvp_delay "
        "cell_uvp_release charge_ocp charge_ocp_delay charge_ocp_release charge_otp "
        "charge_otp_delay charge_otp_release charge_utp charge_utp_delay "
        "charge_utp_release cycle_capacity discharge_ocp discharge_ocp_delay "
        "discharge_ocp_release discharge_otp discharge_otp_delay discharge_otp_release "
        "discharge_utp discharge_utp_delay discharge_utp_release empty_voltage "
        "full_charge_voltage jbd_cycle_count jbd_external_switch jbd_fet_control_time "
        "jbd_function_bits jbd_hardware_cell_ovp jbd_hardware_cell_uvp "
        "jbd_hardware_delays jbd_led_count jbd_led_time jbd_leds jbd_load_detection "
        "jbd_ntc_bits jbd_overcurrent_2_level jbd_production_date jbd_self_discharge "
        "jbd_serial_number jbd_short_circuit_level jbd_shunt jbd_soc_100_voltage "
        "jbd_soc_10_voltage jbd_soc_20_voltage jbd_soc_30_voltage jbd_soc_40_voltage "
        "jbd_soc_50_voltage jbd_soc_60_voltage jbd_soc_70_voltage jbd_soc_80_voltage "
        "jbd_soc_90_voltage nominal_capacity pack_ovp pack_ovp_delay pack_ovp_release "
        "pack_uvp pack_uvp_delay pack_uvp_release short_circuit_release"
    ),
    "jbd-up": (
        "jbd_up_ambient_otp jbd_up_ambient_otp_alarm jbd_up_ambient_otp_alarm_delay "
        "jbd_up_ambient_otp_alarm_release jbd_up_ambient_otp_delay "
        "jbd_up_ambient_otp_release jbd_up_ambient_utp jbd_up_ambient_utp_alarm "
        "jbd_up_ambient_utp_alarm_delay jbd_up_ambient_utp_alarm_release "
        "jbd_up_ambient_utp_delay jbd_up_ambient_utp_release jbd_up_balance_delta "
        "jbd_up_balance_start_voltage jbd_up_cell_delta jbd_up_cell_delta_alarm "
        "jbd_up_cell_delta_alarm_delay jbd_up_cell_delta_alarm_release "
        "jbd_up_cell_delta_delay jbd_up_cell_delta_release jbd_up_cell_ovp "
        "jbd_up_cell_ovp_alarm jbd_up_cell_ovp_alarm_delay jbd_up_cell_ovp_alarm_release "
        "jbd_up_cell_ovp_delay jbd_up_cell_ovp_release jbd_up_cell_uvp "
        "jbd_up_cell_uvp_alarm jbd_up_cell_uvp_alarm_delay jbd_up_cell_uvp_alarm_release "
        "jbd_up_cell_uvp_delay jbd_up_cell_uvp_release jbd_up_charge_ocp "
        "jbd_up_charge_ocp_2 jbd_up_charge_ocp_2_delay jbd_up_charge_ocp_2_release "
        "jbd_up_charge_ocp_alarm jbd_up_charge_ocp_alarm_delay "
        "jbd_up_charge_ocp_alarm_release jbd_up_charge_ocp_count jbd_up_charge_ocp_delay "
        "jbd_up_charge_ocp_release jbd_up_charge_otp jbd_up_charge_otp_alarm "
        "jbd_up_charge_otp_alarm_delay jbd_up_charge_otp_alarm_release "
        "jbd_up_charge_otp_delay jbd_up_charge_otp_release jbd_up_charge_utp "
        "jbd_up_charge_utp_alarm jbd_up_charge_utp_alarm_delay "
        "jbd_up_charge_utp_alarm_release jbd_up_charge_utp_delay "
        "jbd_up_charge_utp_release jbd_up_discharge_ocp jbd_up_discharge_ocp_2 "
        "jbd_up_discharge_ocp_2_delay jbd_up_discharge_ocp_2_release "
        "jbd_up_discharge_ocp_alarm jbd_up_discharge_ocp_alarm_delay "
        "jbd_up_discharge_ocp_alarm_release jbd_up_discharge_ocp_count "
        "jbd_up_discharge_ocp_delay jbd_up_discharge_ocp_release jbd_up_discharge_otp "
        "jbd_up_discharge_otp_alarm jbd_up_discharge_otp_alarm_delay "
        "jbd_up_discharge_otp_alarm_release jbd_up_discharge_otp_delay "
        "jbd_up_discharge_otp_release jbd_up_discharge_utp jbd_up_discharge_utp_alarm "
        "jbd_up_discharge_utp_alarm_delay jbd_up_discharge_utp_alarm_release "
        "jbd_up_discharge_utp_delay jbd_up_discharge_utp_release jbd_up_mosfet_otp "
        "jbd_up_mosfet_otp_alarm jbd_up_mosfet_otp_alarm_delay "
        "jbd_up_mosfet_otp_alarm_release jbd_up_mosfet_otp_delay "
        "jbd_up_mosfet_otp_release jbd_up_pack_ovp jbd_up_pack_ovp_alarm "
        "jbd_up_pack_ovp_alarm_delay jbd_up_pack_ovp_alarm_release jbd_up_pack_ovp_delay "
        "jbd_up_pack_ovp_release jbd_up_pack_uvp jbd_up_pack_uvp_alarm "
        "jbd_up_pack_uvp_alarm_delay jbd_up_pack_uvp_alarm_release jbd_up_pack_uvp_delay "
        "jbd_up_pack_uvp_release jbd_up_soc_low jbd_up_soc_low_alarm "
        "jbd_up_soc_low_alarm_delay jbd_up_soc_low_alarm_release jbd_up_soc_low_delay "
        "jbd_up_soc_low_release jbd_up_temperature_delta jbd_up_temperature_delta_alarm "
        "jbd_up_temperature_delta_alarm_delay jbd_up_temperature_delta_alarm_release "
        "jbd_up_temperature_delta_delay jbd_up_temperature_delta_release"
    ),
}
