"""What finds a board on a line: the questions that its driver answers to, as data.

A driver carries its probes (`Driver.probes`); `bmslink.discovery.probes` puts those of all
drivers in one order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bmslink.model import Identity

__all__ = ["Overheard", "Probe", "Relatives", "Turn"]

Relatives = Literal["", "always", "thorough"]
"""Whether boards of a protocol may answer other protocols of their vendor as well, so that those
are asked too: never, always, or only in a thorough search."""


@dataclass(frozen=True, slots=True)
class Turn:
    """When a question is asked: at one speed, at one or more addresses."""

    baudrate: int
    addresses: Sequence[int | None] = (None,)
    place: int = 900
    """Its place among the questions at that speed, the smallest first. Questions with one place
    take turns: all of them at the first address, then all at the next. `bmslink.discovery.probes`
    lists the places in use, and why; a new protocol comes last until it is known that its
    question is harmless to the boards that come after it."""


Overheard = tuple[str, int | None, Identity]
"""A protocol whose frames were on the line, the address they name, and who that is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One question, and what counts as its answer."""

    protocols: tuple[str, ...]
    """Who may answer it; where there are two, the first whose codec understands the answer."""
    question: str
    """What it is, for people."""
    ask: Callable[[int | None], Any]
    """The frame for an address."""
    fits: Callable[[Any, Any], bool]
    """Whether a frame (second) is the answer to that question (first)."""
    within: float
    """s until the answer begins, with what a USB adapter adds."""
    turns: tuple[Turn, ...]
    """When it is asked."""
    rank: int = 90
    """Where several protocols answer at one place, that with the smallest is the best to use."""
    speaker: Callable[[Any], int | None] = lambda frame: None
    """The address that an answer names."""
    proves: Callable[[Identity], bool] = lambda identity: True
    """Whether what the answer says can be true of such a board."""
    confirm: Any = None
    """A second question that must be answered too, where a check of 8 bits is all there is."""
    overhears: bool = True
    """Whether its frames can be recognised without having asked."""
    rules_out: Callable[[Sequence[Overheard], bytes], str] = lambda heard, data: ""
    """Where its protocol was overheard: which of all that were cannot be meant; empty for none."""
    one_of_several: bool = False
    """Whether a board that was asked without an address may hang on a bus with others: then the
    other addresses are asked too, and each board is known by the address that it names."""
    after: str | None = None
    """A protocol that must have met silence at the same address and speed, a while ago."""

    @property
    def protocol(self) -> str:
        """The protocol it is made for."""
        return self.protocols[0]
