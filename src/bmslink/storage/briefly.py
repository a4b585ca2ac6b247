"""Work with the disk that must not keep anybody waiting: a disk that hangs is given a moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from bmslink.errors import BmsError

__all__ = ["briefly"]

T = TypeVar("T")


def briefly(work: Callable[[], T], seconds: float) -> T | None:
    """What `work` gives; `None` where it is not done within so many seconds. A `BmsError` or
    `OSError` that it raises is raised here. A thread that hangs ends with the program."""
    found: list[T] = []
    raised: list[Exception] = []

    def do() -> None:
        try:
            found.append(work())
        except (BmsError, OSError) as error:
            raised.append(error)

    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    return found[0] if found else None
