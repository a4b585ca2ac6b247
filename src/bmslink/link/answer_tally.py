"""What came instead of an answer, and what that says to a person."""

from __future__ import annotations

from dataclasses import dataclass

from bmslink.errors import LinkTimeout

__all__ = ["AnswerTally"]

_BY_WIRE = ("wrong baud rate, protocol or wiring", "is the BMS awake, wired (TX to RX)")
_BY_RADIO = ("wrong protocol", "is the board behind the Bluetooth module awake")


@dataclass(slots=True)
class AnswerTally:
    """What came instead of an answer."""

    start: int
    """Bytes the link had heard before."""
    others: int = 0
    """Frames that were not the answer, `echoes` of them the request itself."""
    echoes: int = 0
    got: int = 0
    """Frames of an answer that did not become complete."""

    def timeout(
        self, *, heard: int, radio: bool, address: int | None, addressed: bool
    ) -> LinkTimeout:
        """The error that says it. `heard`: bytes since the question; `addressed`: boards of this
        protocol can have another address than is asked where none is named."""
        if self.got:
            return LinkTimeout(f"The answer stopped after {self.got} frame(s).", "other")
        if self.others and self.echoes == self.others:
            return LinkTimeout(
                "Only our own request came back: the adapter echoes, and the BMS is silent.",
                "other",
            )
        own = "" if address is None else f", none from address {address} (--address)"
        if self.others:
            return LinkTimeout(
                f"Only other frames came ({self.others}){own}; another master or device may "
                "share the line.",
                "other",
            )
        garbled, awake = _BY_RADIO if radio else _BY_WIRE
        if heard:
            return LinkTimeout(f"{heard} bytes came, but no valid frame: {garbled}.", "garbage")
        asked = "and is this its protocol"
        if address is not None:
            asked = f"and are this its protocol and {address} its address (--address)"
        elif addressed and not radio:
            asked = "is this its protocol, and has it an address of its own (--address)"
        return LinkTimeout(f"No answer: {awake}, {asked}?", "silence")
