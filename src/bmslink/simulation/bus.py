"""Several simulated packs on one line, each at an address of its own.

All hear every request, and the addressed one answers. On JK's bus a board at address 0 is the
master, which finds the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bmslink.errors import TargetError
from bmslink.protocols import load_driver
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import Answer, Responder, hear, responder_class, speak

__all__ = ["Bus"]


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
        return [answer for member in self.members for answer in hear(member, data)]

    def stream(self) -> bytes:
        """What the devices say by themselves, one after the other."""
        return b"".join(member.stream() for member in self.members)

    def pushes(self) -> list[Answer]:
        """The same, each piece in its time."""
        return [answer for member in self.members for answer in speak(member)]

    def remember(self) -> None:
        """Each notices what has happened to its pack."""
        for member in self.members:
            member.remember()

    def other_request(self, turn: int) -> bytes:
        """Another master asks one device after the other."""
        asked = [member for member in self.members if member.other_request(0)]
        if not asked:
            return b""
        turn, which = divmod(turn, len(asked))
        return asked[which].other_request(turn)
