"""Every check once: its name, what it asks, why that matters, and the function that judges.

To add one, write a function over the facts in `checks/`, and a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from bmslink.reports.doctor.checks import (
    battery,
    board,
    host,
    journal,
    reach,
    settings,
    traffic,
)
from bmslink.reports.doctor.facts import HostFacts, PackFacts
from bmslink.reports.doctor.finding import Area, CheckVerdict, DoctorFinding, LookedAt

__all__ = ["HOST_CHECKS", "PACK_CHECKS", "DoctorCheck", "all_checks", "judge"]

F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class DoctorCheck(Generic[F]):
    """One row."""

    name: str
    area: Area
    title: str
    """What is looked at, in a few words."""
    about: str
    """Why it matters, for `--explain`, and for findings that have no reason of their own."""
    judge: Callable[[F], CheckVerdict | None]
    """`None`: it does not apply to this pack."""


_A = Area

PACK_CHECKS: tuple[DoctorCheck[PackFacts], ...] = (
    DoctorCheck("port", _A.LINK, "the port exists and may be opened",
                "Without the port nothing is known of the battery. Serial ports belong to a group "
                "(dialout on Debian and Ubuntu, uucp on Arch) that you have to be in.",
                reach.access),
    DoctorCheck("port-holder", _A.LINK, "nobody else has the port",
                "Two programs on one port take each other's answers, and both see damaged frames.",
                reach.holder),
    DoctorCheck("adapter", _A.LINK, "the adapter is quick",
                "An FTDI adapter with a latency timer of 16 ms adds that to every answer; polls "
                "slow down, and boards with short pauses lose answers.",
                reach.adapter),
    DoctorCheck("network", _A.LINK, "the gateway takes the connection",
                "A gateway that refuses is up, and listens on another port or serves somebody; "
                "one that cannot be reached is off, elsewhere, or behind a wall.",
                reach.tcp),
    DoctorCheck("bluetooth-link", _A.LINK, "the pack can be connected by Bluetooth",
                "A pack takes one connection at a time; the vendor's app in a pocket is the usual "
                "reason why it cannot be found. Some packs want to be paired, or a pin.",
                reach.radio),
    DoctorCheck("answer", _A.LINK, "the pack answers as the target says",
                "Another speed gives garbage, another address silence, another protocol both. The "
                "doctor looks for what does answer, and only asks what `scan` asks.",
                reach.answer),
    DoctorCheck("frames", _A.LINK, "frames arrive whole",
                "A frame that fails its checksum is thrown away. A line that damages one in fifty "
                "will lose the off that matters, and is not fit to be written over.",
                traffic.damage),
    DoctorCheck("echo", _A.LINK, "requests do not come back",
                "Two-wire adapters that hear themselves return each request. bmslink passes over "
                "it; programs that do not take the request for the answer.",
                traffic.echo),
    DoctorCheck("strangers", _A.LINK, "only this pack answers",
                "Two devices with one address answer at once, and their bytes mix.",
                traffic.strangers),
    DoctorCheck("second-master", _A.LINK, "nobody else asks on this line",
                "A serial line has one master. A second one (display, inverter, app) talks into "
                "the answers, and what it sets is set.",
                traffic.second_master),
    DoctorCheck("link-quality", _A.LINK, "answers come, and in time",
                "Lost answers delay readings, and a policy that does not hear limits the current.",
                traffic.quality),
    DoctorCheck("firmware", _A.BOARD, "the firmware is known",
                "What is written is only written where a recording proves how this firmware holds "
                "it. Reading is always possible.",
                board.firmware),
    DoctorCheck("conditions", _A.BOARD, "the board reports nothing",
                "What the board reports is what it acts on: an active protection has cut the "
                "charge or the load.",
                board.conditions),
    DoctorCheck("probes", _A.BOARD, "cells and probes are measured",
                "What is not measured is not protected.",
                board.probes),
    DoctorCheck("current-zero", _A.BOARD, "no current is shown where none flows",
                "An offset of 0.3 A is 7 Ah a day: the state of charge drifts away from the truth.",
                board.offset),
    DoctorCheck("board-clock", _A.BOARD, "the board's clock is right",
                "The board's own log is only as good as its clock.",
                board.clock),
    DoctorCheck("default-password", _A.BOARD, "the password is not the factory's",
                "Everybody within reach of its Bluetooth could change settings and switch it off.",
                board.password),
    DoctorCheck("switches", _A.BOARD, "charging and discharging are switched on",
                "A switch that is off by mistake looks like a broken battery; one that is off for "
                "a reason must not be switched on before that is mended.",
                board.switches),
    DoctorCheck("open-change", _A.BOARD, "no change of it was cut off",
                "A change that was cut off may have left half of its values: limits that do not "
                "belong together.",
                journal.open_change),
    DoctorCheck("own-history", _A.BOARD, "the board remembers nothing of note",
                "What tripped last month shows what one look cannot.",
                journal.own_history),
    DoctorCheck("cell-delta", _A.BATTERY, "the cells agree",
                "The weakest cell ends every charge and discharge. At rest LFP cells agree within "
                "a few mV; at the top and near empty, and under load, they are further apart.",
                battery.delta),
    DoctorCheck("resistance", _A.BATTERY, "no wire or cell stands out",
                "A bad balance wire shifts what the board measures, and a bad terminal gets hot.",
                battery.resistance),
    DoctorCheck("capacity", _A.BATTERY, "it holds what it should",
                "Below 80 % of the design, cells age faster and differ more.",
                battery.capacity),
    DoctorCheck("charge-state", _A.BATTERY, "the state of charge goes with the voltages",
                "The board counts current, and counting drifts: what it shows may be far from what "
                "is there.",
                battery.soc),
    DoctorCheck("temperatures", _A.BATTERY, "the probes agree",
                "A warm probe is a warm terminal or cell; a cold one hangs free.",
                battery.temperatures),
    DoctorCheck("trend", _A.BATTERY, "nothing gets worse quickly",
                "One look cannot tell an old battery from one that is failing; its history can.",
                battery.trend),
    DoctorCheck("rules", _A.SETTINGS, "the settings go together",
                "Limits that contradict each other leave a protection without effect.",
                settings.rules),
    DoctorCheck("chemistry", _A.SETTINGS, "the settings are made for these cells",
                "3.65 V is full for LFP, and far too little for NMC; 4.2 V destroys LFP.",
                settings.chemistry),
    DoctorCheck("trips", _A.SETTINGS, "nothing is near its limit",
                "A limit that is reached cuts the charge or the load, often in the wrong moment.",
                settings.trips),
    DoctorCheck("changed", _A.SETTINGS, "it holds what was written last",
                "Apps, restarts and second masters change settings without a word.",
                settings.changed),
    DoctorCheck("bank", _A.SETTINGS, "packs of the bank are set alike",
                "The pack with the narrowest limits ends the charge for all of them.",
                settings.alike),
    DoctorCheck("policies", _A.SETTINGS, "its policies go with its settings",
                "A policy has to act before the board does, or it never acts.",
                settings.policies),
)  # fmt: skip
"""About one pack, in the order they are shown."""

HOST_CHECKS: tuple[DoctorCheck[HostFacts], ...] = (
    DoctorCheck("versions", _A.HOST, "what is installed",
                "A report of a fault begins with the versions.", host.versions),
    DoctorCheck("configuration", _A.HOST, "bmslink.toml can be used",
                "With a mistake in it no name works, and a service does not start.",
                host.configuration),
    DoctorCheck("private-files", _A.HOST, "secrets are kept from others",
                "A pin or token that others may read is refused.", host.private),
    DoctorCheck("ports", _A.HOST, "the serial ports may be opened",
                "Serial ports belong to a group that you have to be in.", host.ports),
    DoctorCheck("bluetooth", _A.HOST, "Bluetooth works",
                "Without an adapter that is switched on, and BlueZ on Linux, no pack is found by "
                "radio.", host.bluetooth),
    DoctorCheck("service", _A.HOST, "the service answers, and is of this version",
                "Settings and plans go between a service and commands of one version only.",
                host.service),
    DoctorCheck("unfinished", _A.HOST, "no change was cut off",
                "A change that was cut off may have left half of its values in a board.",
                host.unfinished),
    DoctorCheck("journal", _A.HOST, "the journal is whole",
                "The journal knows what a board held before each change.", host.journal),
    DoctorCheck("sessions", _A.HOST, "no balancing session was cut off",
                "A session raises settings for hours; one that was cut off has not set them back.",
                host.sessions),
    DoctorCheck("folders", _A.HOST, "journal and states can be written",
                "Nothing is written to a board that the journal cannot note.", host.folders),
    DoctorCheck("computer-clock", _A.HOST, "this computer's clock is right",
                "Logs, history and the board's own clock are set by it.", host.wall_clock),
)  # fmt: skip
"""About this computer."""


def all_checks() -> Mapping[str, tuple[Area, str, str]]:
    """Name -> area, title and explanation of every check."""
    packs = {each.name: (each.area, each.title, each.about) for each in PACK_CHECKS}
    return packs | {each.name: (each.area, each.title, each.about) for each in HOST_CHECKS}


def judge(
    checks: Iterable[DoctorCheck[F]], facts: F, pack: str = ""
) -> Iterator[DoctorFinding | tuple[bool, LookedAt]]:
    """Findings, and what was right (`True`) or not known (`False`)."""
    for check in checks:
        verdict = check.judge(facts)
        if verdict is None:
            continue
        for each in verdict.findings:
            why = each.why or check.about
            yield replace(each, name=check.name, area=check.area, pack=pack, why=why)
        text = verdict.right or verdict.unknown
        if not verdict.findings and text:
            yield bool(verdict.right), LookedAt(check.name, check.title, check.area, text, pack)
