"""Whether an emergency stop is read back, and what is said where it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from bmslink.errors import VerifyError

__all__ = ["not_read_back", "require_read_back", "shown_in_words", "still_on"]

Switches = Mapping[str, Mapping[str, Any]]
"""As in the status of what acts on a pack."""

_SHOWS = 15.0
"""How long a board may take to show it, s: a slow one is read every few seconds."""
_LOOK = 0.25


def still_on(switches: Switches | None) -> list[str]:
    """Which of charge and discharge can be switched and are not shown as off; both where nobody
    says how they are."""
    if switches is None:
        return ["charge", "discharge"]
    return [
        name
        for name, each in switches.items()
        if each.get("able") and name != "balance" and each.get("shown") is not False
    ]


def shown_in_words(switches: Switches | None) -> str:
    """How charge and discharge are shown, in a sentence."""
    known = {n: each for n, each in (switches or {}).items() if each.get("able") and n != "balance"}
    words = {False: "read back as off", True: "still shown as on", None: "not shown yet"}
    told = [f"{name} is {words[each.get('shown')]}" for name, each in known.items()]
    return f"{', '.join(told)}." if told else "Nobody says how its switches are."


def not_read_back(switches: Switches | None) -> VerifyError:
    """The error that says it."""
    what = " and ".join(still_on(switches))
    return VerifyError(
        f"Off was sent, but {what} did not read back as off: look at the pack. "
        + shown_in_words(switches).capitalize()
    )


async def require_read_back(look: Callable[[], Switches | None]) -> None:
    """Wait until all is shown as off. Raises `VerifyError` where that does not come."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _SHOWS
    while still_on(look()):
        if loop.time() >= until:
            raise not_read_back(look())
        await asyncio.sleep(_LOOK)
