"""Whether a switch may close beside the other packs of a bank: current equalises between packs
whose voltages differ.

Whoever reads all packs of a bank says so (`Board.joins`); that is the service. Without it nobody
knows how the others are, and a person has to.
"""

from __future__ import annotations

from collections.abc import Collection

from bmslink.board import Board
from bmslink.config.checks.check import Check, known_waivers, refuse
from bmslink.errors import TargetError
from bmslink.link.transport import parse_target
from bmslink.model import Command, Switch
from bmslink.packs import load_packs
from bmslink.places import where

__all__ = [
    "JOIN",
    "bank_of",
    "freshen",
    "join_checks",
    "require_may_join",
    "tell_join",
    "why_not_join",
]

JOIN = "join"
"""The check, and its waiver."""
_PATHS = (Switch.CHARGE, Switch.DISCHARGE)


def why_not_join(
    device: Board, switch: Switch, *, by_file: bool = True, opened: bool = False
) -> str:
    """Why a switch may not close now, in a sentence; empty: it may. `by_file`: the bank is looked
    up in bmslink.toml, which reads the disk; else it is that of `Board.bank`. `opened`: as if it
    were open, though it is closed."""
    if switch not in _PATHS:
        return ""
    if device.joins is not None:
        return device.joins.why_not(switch, opened=opened)
    bank = bank_of(device) if by_file else device.bank
    if not bank:
        return ""
    return (
        f"This pack is in the bank {bank}, and what would flow between it and the other packs is "
        "known only where all of them are read: `bmslink serve` does that."
    )


def bank_of(device: Board) -> str:
    """The bank of packs in parallel that a pack is in, by its name, else by its place in
    bmslink.toml; of a file that cannot be read nothing is known."""
    if device.named is not None:
        return device.named.bank
    try:
        packs = load_packs()
    except TargetError:
        return ""
    place = where(device.target, ask=False)
    for pack in packs.values():
        if pack.bank and place.same(where(parse_target(pack.target), ask=False)):
            return pack.bank
    return ""


def require_may_join(
    device: Board, command: Command, waive: Collection[str], *, rehearsed: bool = False
) -> None:
    """`GateError` where a switch may not close beside the other packs of a bank; else those hear
    that it does, unless it is only `rehearsed`."""
    if not command.on or command.switch not in _PATHS:
        return
    if JOIN not in known_waivers(waive) and (why := why_not_join(device, command.switch)):
        raise refuse(
            f"Nothing was sent. {why} Where you know that no harm comes of it, waive the check "
            f"{JOIN}.",
            JOIN,
            JOIN,
        )
    if not rehearsed:
        tell_join(device, command.switch)


def tell_join(device: Board, switch: Switch) -> None:
    """A switch closes now: the other packs of its bank wait."""
    if device.joins is not None and switch in _PATHS:
        device.joins.began(switch)


async def freshen(device: Board, switches: Collection[Switch]) -> None:
    """Before it is asked whether one of them may close: have the pack read for its bank."""
    if device.joins is not None and device.opened and any(each in _PATHS for each in switches):
        await device.joins.freshen()


def join_checks(device: Board, switches: Collection[Switch], waive: Collection[str]) -> list[Check]:
    """The same for a plan that turns switches on: a check for each that may not close."""
    found = {switch: why_not_join(device, switch) for switch in switches}
    waived = JOIN in known_waivers(waive)
    return [
        Check(name=JOIN, passed=False, sentence=why, waiver=JOIN, waived=waived)
        for why in found.values()
        if why
    ]
