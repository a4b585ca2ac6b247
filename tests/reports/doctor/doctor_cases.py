"""A pack and a computer that are well, and for each check what makes them ill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from bmslink.config.checks.cells import KnownCells
from bmslink.config.verify import Verification
from bmslink.errors import BmsError, LinkTimeout, PortDenied, PortNotFound
from bmslink.events import EventSeverity
from bmslink.link.transport import parse_target
from bmslink.model import Capability, Condition, Identity
from bmslink.packs import NamedPack
from bmslink.past import BoardCounter, BoardEvent, BoardPast
from bmslink.reports.doctor.facts import HostFacts, LineFacts, PackFacts, PortFacts
from bmslink.reports.doctor.look import look_at_pack
from bmslink.target import resolve
from virtual_time import virtual_run

WELL = "sim://jbd?load=0.0&cells=4"


@cache
def _looked() -> PackFacts:
    return virtual_run(look_at_pack(resolve(WELL), named=NamedPack("van", WELL, chemistry="lfp")))


def well(**changes: Any) -> PackFacts:
    """What is found of a simulated pack that is well, with changes."""
    return replace(_looked(), missing=dict(_looked().missing), **changes)


def reading(**changes: Any) -> PackFacts:
    """The same with changes in its reading."""
    (*_, latest) = _looked().readings
    return well(readings=(replace(latest, **changes),))


def settings(**changes: float) -> PackFacts:
    """The same with other settings."""
    table = _looked().table
    assert table is not None
    image = dict(table.image) | table.map.encode(table.image, changes)
    return well(table=replace(table, image=image))


def identity(**changes: Any) -> Identity:
    """Who it is, with changes."""
    known = _looked().identity
    assert known is not None
    return replace(known, **changes)


def line(**changes: Any) -> PackFacts:
    """The same with other traffic."""
    known = _looked().line
    assert isinstance(known, LineFacts)
    return well(line=replace(known, **changes))


def dead(target: str, error: BmsError, **changes: Any) -> PackFacts:
    """One that does not answer."""
    return PackFacts(target=parse_target(target), error=error, **changes)


def port(**changes: Any) -> PackFacts:
    """One at a serial port."""
    usb = {"usb": "0403:6001 FTDI", "latency": 1, "latency_file": "/sys/x y/latency_timer"}
    about = PortFacts(path="/dev/tty USB0", **{**usb, **changes})
    return well(target=parse_target("jbd+serial:///dev/tty USB0"), port=about)


LIFE = {
    "capacity": {
        "of_nominal": 70.0,
        "offset": {"value": 0.4, "uncertainty": 0.1},
        "trend": {"per_year": -9.0, "uncertainty": 2.0},
    },
    "resistance": {
        "cells": [{"cell": 3, "value": 0.004, "uncertainty": 0.0002, "of_median": 190.0}]
    },
}
SILENT = LinkTimeout("Nothing came back.", "silence")
BLE = "jk02+ble://C8:47:8C:E4:55:12"

ILL: dict[str, Callable[[], PackFacts]] = {
    "port": lambda: port(allowed=False, group="dialout"),
    "port-holder": lambda: port(holders=("minicom (pid 12)",)),
    "adapter": lambda: port(latency=16),
    "network": lambda: dead("jbd+tcp://10.0.0.9:8899", PortNotFound("It cannot be reached.")),
    "bluetooth-link": lambda: dead(BLE, PortDenied("It wants to be paired first.")),
    "answer": lambda: dead(
        "jbd+serial:///dev/ttyUSB0", SILENT, found=("jbd+serial:///dev/ttyUSB0?baudrate=19200",)
    ),
    "frames": lambda: line(bad_frames=9),
    "echo": lambda: line(echoes=10, asked=12),
    "strangers": lambda: line(strangers=2),
    "second-master": lambda: line(unasked=40, listened=2.0, masters="frames of jbd"),
    "link-quality": lambda: line(timeouts=4),
    "firmware": lambda: well(
        identity=identity(capabilities={"settings": Capability(False, "nothing proves it")})
    ),
    "conditions": lambda: reading(faults=(Condition.AFE,)),
    "probes": lambda: reading(temperatures={"cell_1": None, "cell_2": 20.0}),
    "current-zero": lambda: reading(
        charging_allowed=False, discharging_allowed=False, current=0.9
    ),
    "board-clock": lambda: well(
        target=parse_target("jk02+serial:///dev/ttyUSB0"), clock_off=-9000.0,
        settable=frozenset({"clock"}),
    ),
    "switches": lambda: well(
        switches={"charge": False},
        orphans=(
            {
                "switch": "charge", "by": "person", "why": "ann switched it off", "since": None,
                "command": "bmslink control reset van && bmslink switch van charge on",
            },
        ),
    ),
    "open-change": lambda: well(open_change="A change was cut off."),
    "own-history": lambda: well(
        past=BoardPast(
            counters=(
                BoardCounter(
                    name="short_circuit", text="short circuits", count=3,
                    condition=Condition.SHORT_CIRCUIT,
                ),
            ),
            events=(BoardEvent(log="l", name="x", text="short", severity=EventSeverity.ALARM),),
        )
    ),
    "cell-delta": lambda: reading(cell_voltages=(3.30, 3.30, 3.30, 3.22)),
    "resistance": lambda: reading(cell_resistances=(0.05, 0.05, 0.06, 0.31)),
    "capacity": lambda: reading(full_capacity=55.0, nominal_capacity=100.0),
    "charge-state": lambda: reading(soc=5.0),
    "temperatures": lambda: reading(temperatures={"cell_1": 20.0, "cell_2": 41.0}),
    "trend": lambda: well(life=LIFE),
    "rules": lambda: settings(cell_ovp=2.5),
    "chemistry": lambda: well(cells=KnownCells("lfp", ("The board says nmc.",))),
    "trips": lambda: settings(cell_uvp=3.4),
    "changed": lambda: well(
        verification=Verification(result="differs", sentence="cell_ovp differs.")
    ),
    "bank": lambda: well(
        named=NamedPack("van", WELL, bank="house"), mates={"o'ther": {"cell_ovp": 3.5}}
    ),
    "policies": lambda: well(
        named=NamedPack("van", WELL, policies="p.toml"),
        policies=({"level": "danger", "about": "cells", "text": "4 and 8.", "path": "/a b.toml"},),
    ),
}  # fmt: skip
"""Check -> a pack that it must find ill. `default-password` only says what it cannot know."""


def computer(**changes: Any) -> HostFacts:
    """A computer that is well, with changes."""
    about: dict[str, Any] = {
        "versions": {"bmslink": "0.2.0", "bumble": None},
        "ports": (PortFacts(path="/dev/ttyUSB0"),),
        "radios": ({"name": "hci0", "blocked": ""},),
        "bluez": True,
        "services": ({"pid": 7, "version": "0.2.0", "socket": "/run/x"},),
        "unfinished": (),
        "damaged": 0,
        "sessions": (),
        "folders": ({"what": "The journal", "path": "/var/j", "free": 1 << 40},),
    }
    return HostFacts(**{**about, **changes})


ILL_COMPUTERS: dict[str, Callable[[], HostFacts]] = {
    "configuration": lambda: computer(config="bmslink.toml, line 3: there is no key x."),
    "private-files": lambda: computer(private=(("/etc/my file", "Everybody may read it."),)),
    "ports": lambda: computer(
        ports=(PortFacts(path="/dev/ttyUSB0", allowed=False, group="dialout"),)
    ),
    "bluetooth": lambda: computer(radios=({"name": "hci0", "blocked": "soft"},)),
    "service": lambda: computer(services=({"pid": 7, "version": "0.1.0", "socket": "/run/x"},)),
    "unfinished": lambda: computer(unfinished=({"target": "sim://jbd?a=1&b=2", "when": "today"},)),
    "journal": lambda: computer(damaged=2),
    "sessions": lambda: computer(
        sessions=({"target": "sim://jbd", "name": "", "owner": "command", "held": False},)
    ),
    "folders": lambda: computer(
        folders=({"what": "The journal", "path": "/var/j", "free": 1 << 20},)
    ),
    "computer-clock": lambda: computer(clock="It shows 1970."),
}
"""Check -> a computer that it must find ill. `versions` only lists them."""
