"""Acme's switches."""

from __future__ import annotations

from acme_bms.framing import DONE, SET, ToyFrame
from bmslink.model import Command, Switch
from bmslink.protocols.common.settings_map import WriteCommand
from bmslink.protocols.parts import Switches

__all__ = ["ToySwitches"]

FETS = (Switch.CHARGE, Switch.DISCHARGE)


class ToySwitches(Switches[ToyFrame]):
    """02 sets a FET."""

    def __init__(self, name: str) -> None:
        super().__init__(name, commands=FETS, missing={Switch.BALANCE: "there is no balancer"})

    async def command(self, command: Command) -> WriteCommand[ToyFrame]:
        self.require(command.switch)
        return WriteCommand(
            frame=ToyFrame(code=SET, data=bytes([FETS.index(command.switch), command.on])),
            answer=lambda frame: frame.code == DONE,
            what=str(command),
        )
