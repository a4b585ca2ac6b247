"""jkctl: JK's native frames, by the data description that JK's own application ships."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from typing import Any

from jkctl.history import HEADER_BYTES, RECORD_BYTES, decode_stored_record
from jkctl.protocol import DATA_OFF, Protocol

from answering import Capture, Question, cells, main

DESCRIBED = Protocol()

RUNTIME = {
    "cellStatus": "values.cell_mask",
    "cellVolAve": "values.average_voltage",
    "maxVoltDelta": "values.delta_voltage",
    "celMaxVol": "values.highest_cell",
    "celMinVol": "values.lowest_cell",
    "tempMos": "values.mosfet_temperature",
    "cellWireResStat": "values.wire_warning",
    "batVol": "voltage",
    "batWatt": "values.power",
    "batCurrent": "current",
    "batTemp1": "values.temperature_1",
    "batTemp2": "values.temperature_2",
    "batTemp3": "values.temperature_3",
    "batTemp4": "values.temperature_4",
    "batTemp5": "values.temperature_5",
    "sysAlarm": "values.alarms",
    "equCurrent": "balance_current",
    "equStatus": "values.balance_action",
    "socRelativeStateOfCharge": "soc",
    "socCapabilityRemain": "remaining_capacity",
    "socFullChargeCapacity": "full_capacity",
    "socCycleCount": "cycles",
    "socCycleCapacity": "cycle_capacity",
    "sOCSOH": "soh",
    "preDischarge": "values.precharge_state",
    "userAlarm": "values.user_alarm",
    "runtime": "uptime",
    "chargeStatus": "charging_allowed",
    "dischargeStatus": "discharging_allowed",
    "userAlarm2": "values.user_alarm_2",
    "tempSensorAbsent": "values.sensor_mask",
    "heatingStatus": "values.heating",
    "timeEmerg": "values.emergency_countdown",
    "dischrgCurCorrect": "values.discharge_correction",
    "chrgCurCorrect": "values.charge_correction",
    "chargPWMDutyCyle": "values.charge_pwm",
    "dischargPWMDutyCyle": "values.discharge_pwm",
    "totalBatVol": "values.voltage_2",
    "heatCurrent": "values.heating_current",
    "relay": "values.relay",
    "aCCStatus": "values.acc",
    "specialChargerSta": "values.special_charger",
    "startupFlag": "values.startup",
    "mCUID": "values.mcu_id",
    "chargePlugged": "values.charger_plugged",
    "sysRunTicks": "values.run_ticks",
    "pVDTrigTimestamps": "values.undervoltage_stamp",
    "rtcCounter": "values.clock",
    "detailLogsCount": "values.log_count",
    "timeEnterSleep": "values.sleep_in",
    "parLimiter": "values.parallel_limiter",
    "batteryType": "values.chemistry",
    "chargeStatusTime": "values.charge_stage_time",
    "chargeStatus2": "values.charge_stage",
    "switchStatus": "values.outputs",
}
COUNTDOWNS = ("timeDcOCPR", "timeDcSCPR", "timeCOCPR", "timeCSCPR", "timeUVPR", "timeOVPR")
SETTINGS = {
    "volSmartSleep": "jk_smart_sleep_voltage",
    "volCellUV": "cell_uvp",
    "volCellUVPR": "cell_uvp_release",
    "volCellOV": "cell_ovp",
    "volCellOVPR": "cell_ovp_release",
    "volBalanTrig": "balance_delta",
    "volSOCP100": "full_charge_voltage",
    "volSOCP0": "empty_voltage",
    "volCellRCV": "jk_request_charge_voltage",
    "volCellRFV": "float_voltage",
    "volSysPwrOff": "jk_power_off_voltage",
    "timBatCOC": "charge_ocp",
    "timBatCOCPDly": "charge_ocp_delay",
    "timBatCOCPRDly": "charge_ocp_release",
    "timBatDcOC": "discharge_ocp",
    "timBatDcOCPDly": "discharge_ocp_delay",
    "timBatDcOCPRDly": "discharge_ocp_release",
    "timBatSCPRDly": "short_circuit_release",
    "curBalanMax": "balance_current",
    "tmpBatCOT": "charge_otp",
    "tmpBatCOTPR": "charge_otp_release",
    "tmpBatDcOT": "discharge_otp",
    "tmpBatDcOTPR": "discharge_otp_release",
    "tmpBatCUT": "charge_utp",
    "tmpBatCUTPR": "charge_utp_release",
    "tmpMosOT": "mosfet_otp",
    "tmpMosOTPR": "mosfet_otp_release",
    "cellCount": "cell_count",
    "batChargeEn": "charge_switch",
    "batDischargeEn": "discharge_switch",
    "balanEn": "balance_switch",
    "capBatCell": "nominal_capacity",
    "volStartBalan": "balance_start_voltage",
}
NEWER = {
    "devAddr": "jk_device_address",
    "dischrgPreChrgT": "jk_precharge_time",
    "currentRange": "jk_current_range",
    "tmpStartHeating": "jk_heating_start",
    "tmpStopHeating": "jk_heating_stop",
    "timeSmartSleep": "jk_smart_sleep_delay",
    "tmpBatDCHUT": "discharge_utp",
    "tmpBatDCHUTPR": "discharge_utp_release",
}
"""Settings of the newer layout, that older boards fill with zeros."""
INFO = {
    "manuDeviceID": "model",
    "hardwareVersion": "hardware",
    "softwareVersion": "firmware",
    "oddRunTime": "run_time",
    "pwrOnTimes": "power_on_count",
    "bluetoothName": "name",
    "manufactureDate": "first_power_on",
    "deviceSN": "serial_number",
}

RECORD = {
    "rtc": "clock",
    "code": "code",
    "switches": "states",
    "max_cell_no": "highest_cell",
    "min_cell_no": "lowest_cell",
    "cell_max_v": "max_cell_voltage",
    "cell_min_v": "min_cell_voltage",
    "pack_v": "voltage",
    "pack_a": "current",
    "remaining_ah": "remaining_capacity",
    "full_ah": "full_capacity",
    "max_temp_c": "max_temperature",
    "min_temp_c": "min_temperature",
    "mos_temp_c": "mosfet_temperature",
    "heat_a": "heating_current",
}
"""A record of the detail log."""
LOGS = 10
"""How many frames of a detail log it is asked about; one has 70, of the same kind."""


def runtime(raw: bytes) -> dict[str, Any]:
    """Table 02."""
    said = DESCRIBED.decode("02", raw)
    values = {mine: said[theirs] for theirs, mine in RUNTIME.items()}
    values["cell_voltages"] = cells(said["cellVol"])
    values["values.release_countdowns"] = [said[name] for name in COUNTDOWNS]
    values["values.cell_resistances"] = said["cellWireRes"]
    return values


def settings(raw: bytes, wide: bool) -> dict[str, Any]:
    """Table 01."""
    said = DESCRIBED.decode("01", raw)
    names = SETTINGS | NEWER if wide else SETTINGS
    values = {f"values.{mine}": said[theirs] for theirs, mine in names.items()}
    values["values.short_circuit_delay"] = round(said["scpDelay"] / 1e6, 6)  # it says µs
    return values


def info(raw: bytes) -> dict[str, Any]:
    """Table 03."""
    said = DESCRIBED.decode("03", raw)
    return {f"values.{mine}": said[theirs] for theirs, mine in INFO.items() if said[theirs] != ""}


def detail_log(raw: bytes) -> dict[str, Any]:
    """Table 06; the records in the byte order of the board, as all native frames have it."""
    said = DESCRIBED.decode("06", raw)
    start = DATA_OFF + HEADER_BYTES
    entries = []
    for number in range(said["count"]):
        one = decode_stored_record(raw[start + number * RECORD_BYTES :][:RECORD_BYTES])
        entries.append({mine: getattr(one, theirs) for theirs, mine in RECORD.items()})
    return {
        "values.first": said["beginIndex"],
        "values.count": said["count"],
        "values.entries": entries,
    }


def questions(capture: Capture) -> Iterator[Question]:
    """Each native frame, of JK's newer layout; the identity is where it always was."""
    if capture.protocol not in ("jk02", "jk-bus", "jk04"):
        return
    logs = 0
    for frame in capture.frames:
        wide = frame.variant != "24s"
        if frame.raw[4] == 3:
            yield Question((frame,), partial(info, frame.raw))
        elif capture.protocol == "jk04":
            continue
        elif frame.raw[4] == 6 and logs < LOGS:
            logs += 1
            yield Question((frame,), partial(detail_log, frame.raw))
        elif frame.raw[4] == 2 and wide:
            yield Question((frame,), partial(runtime, frame.raw))
        elif frame.raw[4] == 1:
            yield Question((frame,), partial(settings, frame.raw, wide))


if __name__ == "__main__":
    main("jkctl", questions, (struct.error, ValueError, IndexError))
