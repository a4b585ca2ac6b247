"""Whether other settings changed while a switch was set.

Nothing is read for it before the frame: off is never delayed. So only what was read in this
session anyway can be compared with what the board holds afterwards, and where nothing was, that is
said. What differs is reported and left alone: nobody asked for another write.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bmslink.board import Board
from bmslink.config.effects import describe
from bmslink.config.outcome import Outcome
from bmslink.errors import BmsError
from bmslink.model import Command
from bmslink.protocols.common.settings_map import RawSettings, SettingsMap

__all__ = ["Beside"]

_MOST = 3
"""How many changes are named."""
_NOT_LOOKED = (
    "The settings were not read before, so whether any of them changed meanwhile was not looked at."
)


@dataclass(frozen=True, slots=True)
class Beside:
    """The settings as they were last read before a switch is set."""

    settings: SettingsMap | None
    image: RawSettings

    @classmethod
    def of(cls, device: Board) -> Beside:
        """What was read since the link was opened; nothing is asked."""
        part = device.driver.settings
        settings = None if part is None or device.known is None else part.own_map
        if part is None or settings is None:
            return cls(None, {})
        latest = {slot.address: part.seen.latest(slot.address) for slot in settings.slots}
        return cls(settings, {a: raw for a, raw in latest.items() if raw is not None})

    async def judge(self, device: Board, command: Command, outcome: Outcome) -> Outcome:
        """The outcome, with what changed beside: it is done only where nothing did.

        Where the switch itself is in doubt, that is said already, and nothing more is read.
        """
        if outcome.result != "done":
            return outcome
        if self.settings is None or not self.image:
            more = [] if device.driver.settings is None else [_NOT_LOOKED]
            return replace(outcome, notes=[*outcome.notes, *more])
        try:
            now = (await device.settings(self.settings)).image
        except BmsError as error:
            sentence = (
                f"{outcome.sentence} The settings cannot be read again, so whether any of them "
                f"changed meanwhile is not known: {error}"
            )
            return replace(outcome, result="unproven", sentence=sentence)
        told = self._changed(self.settings, command, now)
        if not told:
            return outcome
        names = ", ".join(told[:_MOST])
        more_names = f" and {len(told) - _MOST} more" if len(told) > _MOST else ""
        sentence = (
            f"{outcome.sentence} But other settings differ from what was read before: "
            f"{names}{more_names}. Nothing was set back."
        )
        return replace(outcome, result="unproven", sentence=sentence)

    def _changed(self, settings: SettingsMap, command: Command, now: RawSettings) -> list[str]:
        key = f"{command.switch}_switch"
        row = settings.by_key.get(key)
        read = row is not None and row.slot in self.image  # else it is not compared either
        own = settings.encode(self.image, {key: command.on}) if read else {}
        return [
            describe(settings, address, own.get(address, raw), now.get(address))
            for address, raw in self.image.items()
            if not settings.same(address, now.get(address), own.get(address, raw))
        ]
