"""Back to what was set before the last change: by the same gates, plan and proof as any other.

What comes back is taken from the journal's record of that change, and only where the board still
holds what the change wrote. An undo is a change as well, so undoing it sets again what it undid.
"""

from __future__ import annotations

from collections.abc import Collection

from bmslink.arguments import checked
from bmslink.board import Board, on_board
from bmslink.config.apply import apply, draft
from bmslink.config.outcome import Outcome
from bmslink.config.plan import Plan
from bmslink.config.records.last_change import Undo
from bmslink.protocols.common.settings_map import SettingsMap
from bmslink.storage.journal import Journal

__all__ = ["draft_undo", "undo"]


@on_board
@checked()
async def draft_undo(
    device: Board,
    *,
    keep_changed: bool = False,
    waive: Collection[str] = (),
    chemistry: str | None = None,
    settings: SettingsMap | None = None,
    journal: Journal | None = None,
) -> Plan:
    """The plan to go back to what was set before the last change of this pack; sends nothing.

    `plan.raw` (an `Undo`) says which change that is. A setting that holds neither what that change
    found nor what it wrote fails the check `unchanged`: `keep_changed` leaves it as it is, waiving
    `unchanged` sets it back too. Switches stay as they are. Raises `GateError` where there is no
    change to undo, and what `draft` raises.
    """
    source = Undo(keep_changed=keep_changed)
    return await draft(
        device,
        {},
        raw=source,
        waive=waive,
        chemistry=chemistry,
        settings=settings,
        journal=journal,
    )


@on_board
@checked()
async def undo(
    device: Board,
    *,
    keep_changed: bool = False,
    waive: Collection[str] = (),
    chemistry: str | None = None,
    journal: Journal | None = None,
    command: str = "",
) -> Outcome:
    """Plan it and do it, without a question in between. Raises what `draft_undo` and `apply`
    raise."""
    plan = await draft_undo(
        device, keep_changed=keep_changed, waive=waive, chemistry=chemistry, journal=journal
    )
    return await apply(device, plan, journal=journal, command=command)
