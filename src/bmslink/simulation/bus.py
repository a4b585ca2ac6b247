"""Several simulated packs on one line, each at an address of its own.

All hear every request, and whoever is meant answers. On JK's bus a board at address 0 is the
master, which finds the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bmslink.errors import TargetError
from bmslink.protocols import load_driver
from bmslink.simulation.console import execute
from bmslink.simulation.pack import Pack
from bmslink.simulation.responder import Answer, Responder, responder_class

if TYPE_CHECKING:
    from bmslink.simulation.transport import SimDevice

__all__ = ["Bus", "execute_on"]

_HELP = "@N COMMAND  the same for the pack at address N; without it, for the first"


class Bus:
    """The devices on one line, which have one speed and one beat."""

    def __init__(self, members: Sequence[Responder]) -> None:
        self.members = tuple(members)
        self.baudrate = self.members[0].baudrate
        self.period = self.members[0].period

    @classmethod
    def of(
        cls,
        protocol: str,
        addresses: Sequence[int],
        packs: Mapping[int, Pack],
        *,
        firmware: str | None = None,
    ) -> Bus:
        """A device for each address. `TargetError` where the protocol knows no addresses, or an
        address is given twice or is not possible."""
        kind = responder_class(protocol)
        if not load_driver(protocol).addresses:
            raise TargetError(
                f"{protocol} knows no addresses: one pack is all such a line can have."
            )
        twice = sorted({number for number in addresses if addresses.count(number) > 1})
        if twice:
            raise TargetError(f"Two packs cannot both have the address {twice[0]}.")
        return cls([kind.on_bus(packs, number, firmware) for number in addresses])

    def line(self) -> Bus:
        """The same devices on one more line."""
        return Bus([member.line() for member in self.members])

    def receive(self, data: bytes) -> list[Answer]:
        """Bytes from the client; what those that are meant answer."""
        return [answer for member in self.members for answer in member.receive(data)]

    def stream(self) -> bytes:
        """What the devices say by themselves, one after the other."""
        return b"".join(member.stream() for member in self.members)

    def pushes(self) -> list[Answer]:
        """The same, each piece in its time."""
        return [answer for member in self.members for answer in member.pushes()]

    def other_request(self, turn: int) -> bytes:
        """Another master asks one device after the other."""
        asked = [member for member in self.members if member.other_request(0)]
        if not asked:
            return b""
        turn, which = divmod(turn, len(asked))
        return asked[which].other_request(turn)


def execute_on(device: SimDevice, line: str) -> str:
    """Carry out a console line (`bmslink.simulation.console`) on one pack of a device: `@2 state`
    is for the pack at address 2, without `@` the first is meant."""
    if not line.lstrip().startswith("@"):
        text = execute(device.pack, line, device.faults)
        return f"{text}\n{_HELP}" if line.split() == ["help"] and len(device.packs) > 1 else text
    where, _, command = line.strip()[1:].partition(" ")
    known = where.isascii() and where.isdigit() and len(where) < 4
    pack = device.packs.get(int(where)) if known else None
    if pack is None:
        there = ", ".join(f"@{number}" for number in device.packs)
        return f"error: There is no pack @{where[:40]} here" + (
            f"; there are {there}." if there else "."
        )
    if pack is not device.pack and command.split()[:1] == ["fault"]:
        return (
            "error: Faults are of the line; leave the @ away. "
            "One pack has `temperature` and `raise` for what is wrong with it."
        )
    return execute(pack, command, device.faults)
