"""What a pack is compared with: the other packs of its bank, and its policy file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bmslink.control.check import check_pack, check_policies, check_settings
from bmslink.errors import BmsError
from bmslink.packs import find_pin, load_packs
from bmslink.protocols.common.settings_now import numbers_in
from bmslink.reports.doctor.facts import PackFacts
from bmslink.runtime.service_file import load_plan
from bmslink.served_board import board_at
from bmslink.settings.setting import Value
from bmslink.survey import survey
from bmslink.target import resolve

__all__ = ["doubts_of_policies", "settings_of_mates"]

_MOST = 8


async def settings_of_mates(
    facts: PackFacts, tell: Callable[[str], None]
) -> Mapping[str, Mapping[str, Value | None]]:
    """Pack -> its settings, of those that are named in the same bank; one that does not answer is
    left out, and `facts.missing` says so."""
    mine = facts.named
    if mine is None or not mine.bank:
        return {}
    found: dict[str, Mapping[str, Value | None]] = {}
    silent: list[str] = []
    mates = [p for p in load_packs().values() if p.bank == mine.bank and p.name != mine.name]
    for mate in mates[:_MOST]:
        tell(f"{mate.name}: reading its settings, to compare")
        try:
            endpoint = resolve(mate.name)
            async with board_at(endpoint, pin=find_pin(mate.name), named=mate) as board:
                identity, table = await survey(board)
        except (BmsError, OSError):
            silent.append(mate.name)
            continue
        if facts.identity is None or identity.vendor == facts.identity.vendor:
            found[mate.name] = table.values()
    if silent:
        facts.missing["mates"] = f"not read: {', '.join(silent)}"
    return found


def doubts_of_policies(facts: PackFacts) -> tuple[Mapping[str, Any], ...] | None:
    """What `control check` says of the policy file of a pack, over its settings and a reading;
    `None` where it has none, or where that cannot be said: then `facts.missing` says why."""
    named = facts.named
    if named is None or facts.table is None:
        return None
    try:
        plan = load_plan([named.name]).packs[0]
        file = plan.policies
        if file is None:
            return None
        settings = numbers_in(facts.table.values())
        doubts = [
            *check_policies(file.policies, settings),
            *check_settings(settings, file.policies),
        ]
        if facts.reading is not None:
            doubts += check_pack(facts.reading, file.policies)
    except BmsError as error:
        facts.missing["policies"] = str(error)
        return None
    return tuple({**doubt.to_dict(), "path": file.path} for doubt in doubts)
