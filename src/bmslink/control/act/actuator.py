"""What the reconciler needs of a board: one switch that can be set and looked at."""

from __future__ import annotations

from typing import Protocol

import msgspec

__all__ = ["ACTUATORS", "Actuator", "Sent"]

ACTUATORS = ("charge", "discharge", "balance")
"""The switches of a pack; also the names of the permits of a `Decision`."""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one command right after it: never that it took effect."""

    sent: bool | None
    """`False`: nothing went out, for certain. `None`: it is not known."""
    acknowledged: bool | None = None
    """What the board answered; `None`: nothing that can be read."""
    others: dict[str, bool] = {}
    """Switches that the same frame sets as well, and to what."""
    doubt: str = ""
    """What of `others` is a guess, in a sentence."""
    error: str = ""
    """Why it failed, in a sentence."""


class Actuator(Protocol):
    """One switch of one board, prepared: no plan, no table, no lock is needed any more."""

    @property
    def name(self) -> str:
        """One of ACTUATORS."""

    @property
    def seldom_told(self) -> bool:
        """Readings do not show it as it is now: `state` does."""

    async def off(self, deadline: float) -> Sent:
        """Switch off: one try, which ends at `deadline` (monotonic seconds). Does not raise
        `BmsError`."""

    async def on(self, deadline: float) -> Sent:
        """The same for on."""

    async def state(self) -> bool | None:
        """How the board shows the switch now; `None`: it does not say."""
