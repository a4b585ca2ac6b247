"""Mistakes of ours that end nothing but what they happened in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

__all__ = ["contained"]


@contextmanager
def contained(tell: Callable[[BaseException], None]) -> Iterator[None]:
    """What is raised inside goes to a function, and no further."""
    with ExitStack() as stack:
        stack.push(lambda kind, error, trace: _took(error, tell))
        yield


def _took(error: BaseException | None, tell: Callable[[BaseException], None]) -> bool:
    if isinstance(error, Exception):
        tell(error)
        return True
    return False
