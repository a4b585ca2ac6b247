"""What the journal says that a change was going to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bmslink.config.checks.check import known_waivers, refuse
from bmslink.config.effects import describe
from bmslink.config.plan import Change, changes_of, writable_part
from bmslink.errors import BmsError
from bmslink.protocols.common.settings_map import RawSettings, SettingsMap, SettingsSnapshot
from bmslink.settings.chemistry import chemistry

__all__ = ["ChangeRecord", "damaged", "neither", "read"]


@dataclass(frozen=True, slots=True)
class ChangeRecord:
    """What the journal says of a change."""

    before: SettingsSnapshot
    changes: list[Change]
    restore: bool
    chemistry: str | None
    waived: frozenset[str]


def neither(settings: SettingsMap, record: ChangeRecord, now: RawSettings) -> str:
    """The settings that hold neither their old nor their new value, in a sentence. What the board
    computes anew while others are written may hold anything on the way."""
    beside = {near for each in record.changes for near in settings.related.get(each.slot, ())}
    odd = [
        describe(settings, change.slot, record.before.image[change.slot], now.get(change.slot))
        for change in record.changes
        if change.slot not in beside
        and not settings.same(change.slot, now.get(change.slot), change.new)
        and not settings.same(change.slot, now.get(change.slot), change.old)
    ]
    if not odd:
        return ""
    return f"Neither the old nor the new value is read of these: {'; '.join(odd)}."


def damaged(why: str) -> BmsError:
    return refuse(
        f"The journal's record of the change cannot be used: {why}. `--keep` gives it up.",
        "journal",
    )


def read(settings: SettingsMap, begin: Mapping[str, Any]) -> ChangeRecord:
    """The record, with everything in it checked: what it holds is going to be written."""
    try:
        image = {int(slot, 16): bytes.fromhex(raw) for slot, raw in begin["image"].items()}
        goal = {int(each["slot"]): bytes.fromhex(each["new"]) for each in begin["changes"]}
        before = SettingsSnapshot(map=settings, image=image)
        part, left = writable_part(settings, image, goal, own=True)
        if left or part != goal:
            raise damaged("it holds bytes that may not be written")
        changes = changes_of(before, goal)
        for edit in (edit for change in changes for edit in change.edits):
            if not begin.get("restore"):
                settings.setting(edit.key).check(edit.new)
        # a waiver that this version does not know any more waives nothing
        waived = known_waivers(name for name in begin.get("waived", ()) if isinstance(name, str))
        stated = begin.get("chemistry")
        kind = chemistry(stated).name if isinstance(stated, str) else None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise damaged(f"{type(error).__name__} {error}") from error
    return ChangeRecord(before, changes, bool(begin.get("restore")), kind, waived)
