"""This computer: versions, ports, radio, service, disk, clock, and what was left unfinished."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from bmslink.events import EventSeverity
from bmslink.reports.doctor.checks.reach import port_finding
from bmslink.reports.doctor.facts import HostFacts
from bmslink.reports.doctor.finding import CheckVerdict, DoctorFinding, found, right, unknown

__all__ = [
    "bluetooth",
    "configuration",
    "folders",
    "journal",
    "ports",
    "private",
    "service",
    "sessions",
    "unfinished",
    "versions",
    "wall_clock",
]

_ROOM = 50 << 20
"""Bytes: less free than this, a journal or history soon cannot be written."""


def versions(host: HostFacts) -> CheckVerdict | None:
    """What is installed."""
    if not host.versions:
        return unknown("the packages cannot be listed")
    told = [f"{name} {version}" for name, version in host.versions.items() if version]
    lacks = [name for name, version in host.versions.items() if version is None]
    return right(", ".join(told) + (f"; not installed: {', '.join(lacks)}" if lacks else ""))


def ports(host: HostFacts) -> CheckVerdict | None:
    """The serial ports, and whether they may be opened."""
    if host.ports is None:
        return unknown("the ports cannot be listed")
    findings = [each for port in host.ports if (each := port_finding(port)) is not None]
    names = ", ".join(port.path for port in host.ports)
    return found(*findings, right=names or "there is no serial port here")


def bluetooth(host: HostFacts) -> CheckVerdict | None:
    """Adapters, and whether something blocks them."""
    if host.radios is None:
        return unknown("only Linux lists its adapters here")
    if not host.radios:
        return right("there is no adapter; packs are reached over wires and networks")
    findings = [
        DoctorFinding(
            severity=EventSeverity.WARNING,
            what=f"The Bluetooth adapter {radio.get('name')} is switched off"
            + (" by a key or in the firmware." if radio.get("blocked") == "hard" else "."),
            fix="Switch it on.",
            command="" if radio.get("blocked") == "hard" else "sudo rfkill unblock bluetooth",
        )
        for radio in host.radios
        if radio.get("blocked")
    ]
    if not findings and host.bluez is False:
        findings.append(
            DoctorFinding(
                severity=EventSeverity.WARNING,
                what="There is a Bluetooth adapter, and BlueZ does not run.",
                fix="Start it.",
                command="sudo systemctl start bluetooth",
            )
        )
    return found(*findings, right=", ".join(str(radio.get("name")) for radio in host.radios))


def service(host: HostFacts) -> CheckVerdict | None:
    """Services that run, their version, and whether they answer."""
    if host.services is None:
        return unknown(host.missing.get("services", "the registry cannot be read"))
    findings = []
    mine = host.versions.get("bmslink")
    for each in host.services:
        if each.get("trouble"):
            findings.append(
                DoctorFinding(
                    severity=EventSeverity.ALARM,
                    what=f"The service (process {each.get('pid')}) runs and does not answer: "
                    f"{each['trouble']}",
                    fix="Restart it.",
                    command="sudo systemctl restart bmslink",
                )
            )
        elif mine and each.get("version") != mine:
            findings.append(
                DoctorFinding(
                    severity=EventSeverity.WARNING,
                    what=f"The service (process {each.get('pid')}) runs bmslink "
                    f"{each.get('version')}, and this is {mine}.",
                    fix="Restart it, so that both are of one version.",
                    command="sudo systemctl restart bmslink",
                )
            )
    findings += [
        DoctorFinding(
            severity=EventSeverity.INFO,
            what=f"A service ended without taking its entry along: {path}.",
            fix="Nothing has to be done: the next service replaces it.",
        )
        for path in host.stale
    ]
    told = ", ".join(f"process {s.get('pid')}, bmslink {s.get('version')}" for s in host.services)
    return found(*findings, right=f"runs: {told}" if told else "no service runs")


def unfinished(host: HostFacts) -> CheckVerdict | None:
    """Changes in the journal that were cut off, of any pack."""
    if host.unfinished is None:
        return unknown(host.missing.get("journal", "the journal cannot be read"))
    return found(*map(_cut, host.unfinished), right="no change was cut off")


def _cut(row: Mapping[str, Any]) -> DoctorFinding:
    target = str(row.get("target") or "")
    damage = f" Its record is damaged: {row['damage']}." if row.get("damage") else ""
    whose = f" of {target}" if target else ""
    return DoctorFinding(
        severity=EventSeverity.ALARM,
        what=f"A change{whose} was cut off ({row.get('when') or 'when is not known'}).{damage}",
        fix="Finish it or set it back; until then nothing else is written to that pack."
        if target
        else "Its pack cannot be read any more; `bmslink config journal` shows what is left.",
        command=f"bmslink config resume {shlex.quote(target)}"
        if target
        else "bmslink config journal",
        facts=dict(row),
    )


def journal(host: HostFacts) -> CheckVerdict | None:
    """Whether all lines of the journal verify."""
    if host.damaged is None:
        return unknown(host.missing.get("journal", "the journal cannot be read"))
    if host.damaged:
        return found(
            DoctorFinding(
                severity=EventSeverity.WARNING,
                what=f"{host.damaged} lines of the journal do not verify, or are missing.",
                fix="A disk that was full or a file that somebody edited: look what is there.",
                command="bmslink config journal",
            )
        )
    return right("every line verifies")


def sessions(host: HostFacts) -> CheckVerdict | None:
    """Balancing sessions that were cut off."""
    if host.sessions is None:
        return unknown(host.missing.get("sessions", "their folder cannot be read"))
    findings = []
    for row in host.sessions:
        if row.get("held"):
            continue
        target = str(row.get("name") or row.get("target") or "")
        served = row.get("owner") == "service"
        findings.append(
            DoctorFinding(
                severity=EventSeverity.ALARM,
                what=f"A balancing session of {target} is not over, and nobody runs it: the board "
                "may still hold what it set.",
                fix="Start the service: it goes on with it."
                if served
                else "End it: everything is set back.",
                command="sudo systemctl start bmslink"
                if served
                else f"bmslink balance cancel {shlex.quote(target)}",
                facts={"target": row.get("target"), "owner": row.get("owner")},
            )
        )
    return found(*findings, right="none was cut off")


def folders(host: HostFacts) -> CheckVerdict | None:
    """Whether the journal, the states and the registry can be written, and the room they have."""
    findings = []
    for row in host.folders:
        path = shlex.quote(str(row.get("path")))
        if row.get("trouble"):
            findings.append(
                DoctorFinding(
                    severity=EventSeverity.ALARM,
                    what=f"{row.get('what')} in {row.get('path')} cannot be written: "
                    f"{row['trouble']}.",
                    fix="Make it yours, or name another folder "
                    "(BMSLINK_JOURNAL, BMSLINK_STATE, BMSLINK_RUNTIME).",
                    command=f"ls -ld {path}",
                )
            )
        elif isinstance(free := row.get("free"), int) and free < _ROOM:
            findings.append(
                DoctorFinding(
                    severity=EventSeverity.ALARM,
                    what=f"The disk of {row.get('path')} has {free >> 20} MiB left.",
                    fix="Make room: without a journal nothing is written to a pack.",
                    command=f"df -h {path}",
                    facts={"free": free},
                )
            )
    if not host.folders:
        return unknown("no folder was looked at")
    return found(*findings, right="all can be written")


def configuration(host: HostFacts) -> CheckVerdict | None:
    """Whether bmslink.toml can be used."""
    if host.config:
        return found(
            DoctorFinding(
                severity=EventSeverity.ALARM,
                what=host.config,
                fix="Correct the line.",
                command="bmslink packs path",
            )
        )
    notes = [
        DoctorFinding(severity=EventSeverity.INFO, what=text, fix="Correct or remove it.",
                      command="bmslink packs path")
        for text in host.remarks
    ]  # fmt: skip
    return found(*notes, right=host.file or "there is no bmslink.toml")


def private(host: HostFacts) -> CheckVerdict | None:
    """Whether files with secrets are kept from others."""
    findings = [
        DoctorFinding(
            severity=EventSeverity.ALARM,
            what=sentence,
            fix="Keep it from others.",
            command=f"chmod o=,g-w {shlex.quote(path)}",
        )
        for path, sentence in host.private
    ]
    return found(*findings, right="no file with a secret is open to others")


def wall_clock(host: HostFacts) -> CheckVerdict | None:
    """Whether this computer's clock can be right."""
    if host.clock:
        return found(
            DoctorFinding(
                severity=EventSeverity.WARNING,
                what=host.clock,
                fix="Set it, and have it kept right by a time server.",
                command="timedatectl set-ntp true",
            )
        )
    if host.synchronised is False:
        return found(
            DoctorFinding(
                severity=EventSeverity.INFO,
                what="This computer's clock is not kept right by a time server.",
                fix="Logs and events are only as right as it is.",
                command="timedatectl set-ntp true",
            )
        )
    return right("nothing speaks against it")
