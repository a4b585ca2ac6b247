"""The one road that switches off: which frame it is, and how it leaves.

`bmslink switch` and what acts by itself take the same one. The frame can be made long before it is
needed; what a board's own state decides (JBD's two locks are one register) is decided when it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from bmslink.board import Board
from bmslink.config.checks.check import Check
from bmslink.errors import GateError, SettingError
from bmslink.model import Command, Switch
from bmslink.protocols.abilities import can_switch, is_setting, settings_of, switches_of
from bmslink.protocols.common.settings_map import RawSettings, SettingsMap, WriteCommand
from bmslink.protocols.parts import SettingsAccess
from bmslink.settings.setting import Evidence, Setting

__all__ = ["Remembered", "SwitchFrames", "refused", "send_bit", "send_once"]

Remembered = Callable[[Switch], bool | None]
"""How our last confirmed command left a switch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchFrames:
    """How one switch of the board that answers now is set."""

    device: Board
    switch: Switch
    setting: SettingsMap | None
    """The map of the one slot that holds it, where it is a setting; else a command sets it."""

    @classmethod
    async def find(cls, device: Board, switch: Switch, waive: Collection[str]) -> SwitchFrames:
        """At most one question. `GateError` says why this board's switch cannot be set: there is
        no such switch, its map is read-only, or it is unproven and `untested` is not waived."""
        driver = device.driver
        able = can_switch(driver, switch)
        if able.supported:
            return cls(device=device, switch=switch, setting=None)
        if not is_setting(driver, switch):
            raise refused(f"{switch} cannot be switched: {able.reason}", "supported")
        with device.guarding():
            settings = await settings_of(driver).find_switch_map(device.known)
        row = settings.by_key.get(switch.key)
        if row is None:
            raise refused(
                f"{switch} cannot be switched: this board has no such switch", "supported"
            )
        _gate(settings, row, waive)
        slot = settings.by_address[row.slot]
        alone = replace(settings, slots=(slot,), settings=(row,))
        return cls(device=device, switch=switch, setting=alone)

    @property
    def bit(self) -> bool:
        """Whether it is a bit of a word, whose neighbours must be read before it is set."""
        return self.setting is not None and self.setting.settings[0].bit is not None

    async def off(self, remembered: Remembered, fresh: float = 0.0) -> WriteCommand[Any]:
        """The frame that switches off; not where it is a `bit`. At most one question goes before
        it, and none where the board showed less than `fresh` seconds ago what it would say."""
        if self.setting is not None:
            return await self._stored(self.setting, on=False)
        with self.device.guarding():
            part = switches_of(self.device.driver)
            return await part.off_command(self.switch, remembered, fresh)

    async def on(self) -> WriteCommand[Any]:
        """The frame that switches on, after what has to be read for it; not where it is a `bit`.
        `Refused` where the board does not show what else the frame would set."""
        if self.setting is not None:
            return await self._stored(self.setting, on=True)
        return await switches_of(self.device.driver).command(Command(self.switch, True))

    async def _stored(self, setting: SettingsMap, *, on: bool) -> WriteCommand[Any]:
        """Where the driver was made to forget who answers, that is asked first."""
        with self.device.guarding():
            part = settings_of(self.device.driver)
            try:
                return _write(part, setting, on=on)
            except SettingError:
                await part.find_switch_map(self.device.known)
                return _write(part, setting, on=on)

    def bit_step(self, image: RawSettings, *, on: bool) -> WriteCommand[Any]:
        """The frame that sets a `bit` and leaves its neighbours as they were just read."""
        if self.setting is None:
            raise refused(f"{self.switch} is no setting of this board", "supported")
        (slot,) = self.setting.slots
        new = self.setting.encode(image, {self.switch.key: on})
        data = new.get(slot.address, slot.clean(image[slot.address]))
        return settings_of(self.device.driver).write_command(slot, data)


def _write(part: SettingsAccess[Any], setting: SettingsMap, *, on: bool) -> WriteCommand[Any]:
    (slot,), (row,) = setting.slots, setting.settings
    blank = bytes(slot.layout.sizeof())
    if on:
        data = setting.encode({slot.address: blank}, {row.key: True})[slot.address]
    else:
        data = slot.encode(blank, {row.field: 0})
    return part.write_command(slot, data)


async def send_once(device: Board, step: WriteCommand[Any], *, advising: bool = True) -> bool:
    """Send it, at the next frame boundary and once; whether something acknowledged it."""
    device.link.alive()
    with device.guarding(advising=advising):
        return await device.driver.perform_apart(replace(step, once=True))


async def send_bit(frames: SwitchFrames, make: Callable[[RawSettings], WriteCommand[Any]]) -> bool:
    """Read the word of a `bit`, and send at once what `make` makes of it; whether something
    acknowledged it. It waits for none of our other programs."""
    device, setting = frames.device, frames.setting
    if setting is None:
        raise refused(f"{frames.switch} is no setting of this board", "supported")
    async with device.writing(waits=False):
        return await device.driver.perform(make(await device.fetch(setting.slots)))


def refused(why: str, name: str, waiver: str = "") -> GateError:
    """The error of a gate that nothing passed."""
    sentence = f"Nothing was sent. {why}."
    return GateError(sentence, [Check(name=name, passed=False, sentence=sentence, waiver=waiver)])


def _gate(settings: SettingsMap, row: Setting, waive: Collection[str]) -> None:
    if settings.read_only_reason:
        raise refused(f"The board is read-only: {settings.read_only_reason}", "map")
    if not row.writable:
        why = row.reason or "nothing proves how it is written"
        raise refused(f"{row.key} cannot be switched: {why}", "supported")
    why = settings.untested_reason
    if not why and row.evidence == Evidence.DOCUMENT:
        why = f"only a document says how {row.key} is written"
    if why and "untested" not in waive:
        raise refused(f"Untested: {why}; --untested sends it all the same", "tested", "untested")
