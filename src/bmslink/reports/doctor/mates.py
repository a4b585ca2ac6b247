"""The settings of the other packs of a bank, to compare with."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bmslink.errors import BmsError
from bmslink.packs import find_pin, load_packs
from bmslink.reports.doctor.facts import PackFacts
from bmslink.served_board import board_at
from bmslink.settings.setting import Value
from bmslink.survey import survey
from bmslink.target import resolve

__all__ = ["settings_of_mates"]

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
