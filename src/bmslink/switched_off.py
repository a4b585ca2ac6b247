"""What is switched off on a board while something else is under way there: an older on gives way.

Off goes before everything else, so an on that was asked for earlier may leave later. Whoever may
switch something on says so by `watched` when it begins, and asks `require_none` in the moment in
which a frame leaves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from bmslink.errors import Refused
from bmslink.model import Switch
from bmslink.protocols.common.settings_map import SettingsMap

__all__ = ["Overtaken", "SwitchedOff", "switches_on"]


class Overtaken(Refused):
    """An on that gives way to a newer off: it did not leave."""


class SwitchedOff:
    """Of one board."""

    def __init__(self) -> None:
        self._offs: Counter[Switch] = Counter()
        self._since: ContextVar[Counter[Switch] | None] = ContextVar("since", default=None)

    def note(self, switch: Switch) -> None:
        """It is about to be switched off."""
        self._offs[switch] += 1

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Inside, `require_none` is about what was switched off since the outermost such block
        began."""
        if self._since.get() is not None:
            yield
            return
        token = self._since.set(self._offs.copy())
        try:
            yield
        finally:
            self._since.reset(token)

    def require_none(self, switches: Collection[Switch]) -> None:
        """`Overtaken` where one of them was switched off meanwhile."""
        since = self._since.get()
        off = [s for s in switches if since is not None and self._offs[s] != since[s]]
        if off:
            names = " and ".join(off)
            raise Overtaken(f"{names} on was not sent: somebody switched {names} off meanwhile.")


def switches_on(settings: SettingsMap, address: int, data: bytes) -> list[Switch]:
    """The switches that are on in the bytes of one slot."""
    values = settings.decode({address: data})
    return [switch for switch in Switch if values.get(switch.key) is True]
