"""What a protocol needs from its line."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Timing"]

_RADIO_TIMEOUT, _RADIO_IDLE = 1.0, 0.5  # s


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What a protocol needs from its line. Times in seconds; sources are given at each driver."""

    baudrate: int = 9600
    timeout: float = 0.5
    """How long an answer may take."""
    gap: float = 0.1
    """Quiet time before each request."""
    retries: int = 3
    """How often an unanswered request is repeated."""
    wake_retries: int = 4
    """The same for the first request of a session: it may only wake the board."""
    idle: float = 0.15
    """Silence on the line after which a half-received frame is given up."""
    anonymous: bool = False
    """Answers do not say what they answer, so those to tries that were given up must have passed
    before anything else is asked."""

    def over_radio(self) -> Timing:
        """The same with the least patience that Bluetooth needs: packets wait for their turn on
        the air, and are repeated there."""
        return replace(
            self, timeout=max(self.timeout, _RADIO_TIMEOUT), idle=max(self.idle, _RADIO_IDLE)
        )
