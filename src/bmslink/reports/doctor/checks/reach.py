"""Can the pack be reached at all? Port, permission, who holds it, and what answers instead."""

from __future__ import annotations

import re
import shlex

from bmslink.errors import LinkTimeout, PortBusy, PortDenied, PortNotFound, UnknownDevice
from bmslink.events import EventSeverity
from bmslink.link.transport import split_host
from bmslink.reports.doctor.facts import PackFacts, PortFacts
from bmslink.reports.doctor.finding import CheckVerdict, DoctorFinding, found, right, unknown

__all__ = ["access", "adapter", "answer", "holder", "port_finding", "radio", "tcp"]

_SLOW_TIMER = 1
"""ms. FTDI adapters ship with 16, which every short answer waits for."""
_WIRED = ("serial",)


def access(facts: PackFacts) -> CheckVerdict | None:
    """Whether the port exists and may be opened."""
    port = facts.port
    if port is None:
        return None
    finding = port_finding(port)
    if finding is not None:
        return found(finding)
    if isinstance(facts.error, PortDenied):
        return found(
            DoctorFinding(
                severity=EventSeverity.ALARM,
                what=str(facts.error),
                fix="Let this user open it: join the group that it belongs to.",
                command=f"ls -l {shlex.quote(port.path)}",
            )
        )
    return right(f"{port.path} exists and may be opened")


def port_finding(port: PortFacts) -> DoctorFinding | None:
    """What keeps this user from a port; `None`: nothing."""
    if not port.exists:
        others = ", ".join(port.others)
        return DoctorFinding(
            severity=EventSeverity.ALARM,
            what=f"There is no port {port.path}"
            + (f"; these exist: {others}." if others else "; no serial port was found here."),
            fix="Plug the adapter in, or name one of the ports there are. `dmesg` shows what the "
            "system saw when it was plugged in.",
            command="bmslink scan --serial",
            facts={"path": port.path, "ports": list(port.others)},
        )
    if port.allowed:
        return None
    if port.group and port.group != "root":
        return DoctorFinding(
            severity=EventSeverity.ALARM,
            what=f"You may not open {port.path}: it belongs to the group {port.group}.",
            fix="Join the group, then log out and in again.",
            command=f"sudo usermod -aG {shlex.quote(port.group)} $USER",
            facts={"path": port.path, "group": port.group},
        )
    return DoctorFinding(
        severity=EventSeverity.ALARM,
        what=f"You may not open {port.path}: only its owner {port.owner or 'root'} may.",
        fix="A udev rule gives serial ports to a group; most systems have one (dialout).",
        facts={"path": port.path, "owner": port.owner},
    )


def holder(facts: PackFacts) -> CheckVerdict | None:
    """Who else has the port open."""
    port = facts.port
    if port is None:
        if isinstance(facts.error, PortBusy):
            return found(
                DoctorFinding(
                    severity=EventSeverity.ALARM,
                    what=str(facts.error),
                    fix="Close the phone app or the program that is connected: a pack takes one.",
                )
            )
        return None
    if not port.exists:
        return None
    if port.served:
        return right(f"the service ({facts.service}) owns it, and was asked")
    if port.holders:
        who = ", ".join(port.holders[:4])
        pid = re.search(r"pid (\d+)", port.holders[0])
        return found(
            DoctorFinding(
                severity=EventSeverity.ALARM,
                what=f"{port.path} is in use by {who}.",
                fix="End that program first. Two that read one port steal each other's bytes.",
                command=f"ps -p {pid[1]} -o pid,user,args" if pid else "",
                facts={"path": port.path, "holders": list(port.holders)},
            )
        )
    if port.stale_lock:
        return found(
            DoctorFinding(
                severity=EventSeverity.INFO,
                what=f"{port.stale_lock} is of a program that has ended.",
                fix="bmslink passes over it; other programs may not. It can be removed.",
                command=f"sudo rm {shlex.quote(port.stale_lock)}",
            )
        )
    if isinstance(facts.error, PortBusy):
        return found(DoctorFinding(severity=EventSeverity.ALARM, what=str(facts.error),
                                   fix="End that program first."))  # fmt: skip
    return right("no other program has it open, as far as this user can see")


def adapter(facts: PackFacts) -> CheckVerdict | None:
    """The USB adapter and its latency timer."""
    port = facts.port
    if port is None or not port.exists:
        return None
    if port.latency is not None and port.latency > _SLOW_TIMER:
        file = shlex.quote(port.latency_file)
        return found(
            DoctorFinding(
                severity=EventSeverity.WARNING,
                what=f"The adapter at {port.path} keeps what it receives for up to "
                f"{port.latency} ms (its latency timer).",
                fix='Set the timer to 1 ms. To keep it over replugging, put ACTION=="add", '
                'SUBSYSTEM=="usb-serial", DRIVER=="ftdi_sio", ATTR{latency_timer}="1" into '
                "/etc/udev/rules.d/99-ftdi.rules.",
                command=f"echo 1 | sudo tee {file}",
                facts={"latency_ms": port.latency, "usb": port.usb},
            )
        )
    if port.usb:
        timer = "" if port.latency is None else f", latency timer {port.latency} ms"
        return right(f"{port.usb}{timer}")
    return unknown("the system names no USB adapter behind it")


def tcp(facts: PackFacts) -> CheckVerdict | None:
    """Whether a gateway takes the connection."""
    if facts.target.scheme not in ("tcp", "rfc2217", "modbus-tcp"):
        return None
    error = facts.error
    host, port = split_host(facts.target.place)
    if error is None or isinstance(error, LinkTimeout | UnknownDevice):
        return right(f"{facts.target.place} takes the connection")
    refused = isinstance(error.__cause__, ConnectionRefusedError)
    return found(
        DoctorFinding(
            severity=EventSeverity.ALARM,
            what=str(error),
            fix=(
                f"Something answers at {host}, and nothing listens on port {port}: look up the "
                "port in the gateway's own page, and whether it takes only one client."
                if refused
                else "Check the name or address, the network, and that the gateway has power."
            ),
            command="" if refused else f"ping -c 3 {shlex.quote(host)}",
            facts={"host": host, "port": port},
        )
    )


def radio(facts: PackFacts) -> CheckVerdict | None:
    """Bluetooth: adapter, permission, pairing, pin."""
    if facts.target.scheme != "ble":
        return None
    error = facts.error
    if error is None:
        return right("connected by Bluetooth")
    fix, command = "", ""
    if isinstance(error, PortDenied):
        pairing = any(word in str(error) for word in ("pair", "pin", "passkey"))
        fix = (
            "Put the pin into a file that only you may read, and name it with --pin-file."
            if pairing
            else "Let this user use Bluetooth, then log out and in again."
        )
        command = "" if pairing else "sudo usermod -aG bluetooth $USER"
    elif isinstance(error, PortNotFound):
        fix = "Turn Bluetooth on, go nearer, and close the phone app: a pack takes one at a time."
        command = "bmslink scan --ble"
    else:
        fix = "Go nearer, close the phone app, and try again."
        command = "bmslink scan --ble"
    return found(
        DoctorFinding(severity=EventSeverity.ALARM, what=str(error), fix=fix, command=command)
    )


def answer(facts: PackFacts) -> CheckVerdict | None:
    """Whether a pack answers as the target says; else what does."""
    if facts.answers:
        return right(f"it answers as {facts.target.protocol}")
    error = facts.error
    if error is None:
        return unknown(facts.why_not("identity"))
    if facts.target.scheme == "replay":
        return found(
            DoctorFinding(
                what=f"The recording {facts.target.place} does not hold enough for one reading.",
                fix="It shows what its bytes mean; a longer recording can be examined.",
                command=f"bmslink decode {shlex.quote(facts.target.place)}",
            )
        )
    if not isinstance(error, LinkTimeout | UnknownDevice):
        scheme = facts.target.scheme
        told = scheme in ("ble", "tcp", "rfc2217", "modbus-tcp") or (
            facts.port is not None
            and (not facts.port.exists or not facts.port.allowed or bool(facts.port.holders))
        )
        if told or isinstance(error, PortBusy):
            return unknown("the link could not be opened")
        fix = "Mend the link first; then run the doctor again."
        return found(DoctorFinding(severity=EventSeverity.ALARM, what=str(error), fix=fix))
    if facts.found:
        return found(
            DoctorFinding(
                severity=EventSeverity.ALARM,
                what=f"Nothing answers as {facts.target}, but {facts.found[0]} does: protocol, "
                "speed or address is another one.",
                fix="Use that target.",
                command=f"bmslink info {shlex.quote(facts.found[0])}",
                facts={"found": list(facts.found), "heard": facts.heard},
            )
        )
    return found(_silent(facts))


_HEARD = {
    "garbage": (
        "bytes come that are no frames",
        "The speed is wrong, A and B are swapped, ground is missing, or the line is disturbed.",
    ),
    "other": (
        "frames come, and none is the answer",
        "Another master asks on this line, or the board has another address.",
    ),
    "silence": (
        "nothing comes back",
        "The board sleeps (charge it, or press its button), or RX and TX, or A and B, are swapped.",
    ),
}


def _silent(facts: PackFacts) -> DoctorFinding:
    what, fix = _HEARD.get(facts.heard, _HEARD["silence"])
    tried = f" Tried: {facts.searched}." if facts.searched else ""
    return DoctorFinding(
        severity=EventSeverity.ALARM,
        what=f"No pack answers at {facts.target}: {what}.{tried}",
        fix=fix,
        facts={"heard": facts.heard or "silence"},
    )
