"""What can be completed. Made by `tools/completion_table.py`: do not edit."""

from __future__ import annotations

__all__ = ["ABOUT", "COMMANDS", "COMMON", "CONNECTION", "VALUES"]

COMMON = "--json --quiet -v --verbose --trace=file --debug --version --help -h"

CONNECTION = "--protocol=protocol|vendor --address= --baudrate= --timeout= --pin-file=file"

COMMANDS = {
    "scan": (
        "--ble --serial --port=port* --timeout= --connect --protocol=protocol|vendor "
        "--pin-file=file --add="
    ),
    "info": "target @",
    "doctor": "target --explain=check --bundle=file --force @",
    "read": "target* --watch= --count= @",
    "monitor": "target* @",
    "decode": "file --hex= --protocol=protocol|vendor --frames",
    "capture": (
        "target -o=file --output=file --seconds= --count= --watch= --force --contribute --shown=* @"
    ),
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
        "file* --output=file -o=file --force --since= --last= --until= "
        "--show=cells_difference_voltage_current_power_soc_temperatures_events* "
        "--cells=deviation_voltage --pack=* --settings=file --title= --socket=file"
    ),
    "report": (
        "target|bank|file* --output=file -o=file --force --profile=file --pack=* --title= "
        "--customer= --installer= @"
    ),
    "life": "pack --from=file --chemistry=chemistry --capacity= --socket=file",
    "events": (
        "target --since= --last= --until= --severity=info_warning_alarm_critical --open "
        "--what=kind --limit= --seen --board --samples --socket=file @"
    ),
    "packs list": "",
    "packs add": "nothing target --force --chemistry=chemistry",
    "packs remove": "pack",
    "packs path": "",
}

ABOUT = {
    "scan": "Find packs over Bluetooth and on serial ports.",
    "info": "Show who a pack is: vendor, model, firmware, serial number.",
    "doctor": "Find out what is wrong with a pack, its link or this computer.",
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
    "report": "Write the commissioning report of a pack or bank, to sign.",
    "life": "Show how a battery is used and worn, and how certain that is.",
    "events": "Show a board's own history and what the service saw.",
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
    "balance cancel": "End the balancing session of a pack.",
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
    "check": (
        "port port-holder adapter network bluetooth-link answer frames echo strangers "
        "second-master link-quality firmware conditions probes current-zero board-clock "
        "default-password switches open-change own-history cell-delta resistance capacity "
        "charge-state temperatures trend rules chemistry trips changed bank policies "
        "versions configuration private-files ports bluetooth service unfinished journal "
        "sessions folders computer-clock cell_overvoltage cell_undervoltage "
        "pack_overvoltage pack_undervoltage charge_overcurrent discharge_overcurrent "
        "short_circuit charge_overtemperature charge_undertemperature "
        "discharge_overtemperature discharge_undertemperature mosfet_overtemperature "
        "board_overtemperature cell_delta temperature_delta soc_low soc_high soh_low "
        "fully_charged cell_count_mismatch wire_resistance voltage_sense current_sense "
        "temperature_sense afe charge_mosfet discharge_mosfet precharge eeprom clock "
        "communication parallel_communication settings_invalid default_password "
        "software_lock heater other"
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
    "cells_difference_voltage_current_power_soc_temperatures_events": (
        "cells difference voltage current power soc temperatures events"
    ),
    "deviation_voltage": "deviation voltage",
    "info_warning_alarm_critical": "info warning alarm critical",
}
