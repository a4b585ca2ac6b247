"""The commands a running `bmslink simulate` takes on its standard input."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from bmslink.errors import BmsError, TargetError
from bmslink.model import Condition, Switch
from bmslink.simulation.load import PROFILES
from bmslink.simulation.pack import SEVERITIES, Pack

__all__ = ["COMMANDS", "Faults", "execute"]


class Faults(Protocol):
    """Whoever damages the wire on request; raises `TargetError` for a name it does not know."""

    def enable(self, spec: str) -> None:
        """Begin a fault, `NAME` or `NAME:ARG`."""

    def disable(self, name: str) -> None:
        """End a fault."""


Words = Sequence[str]


class _Row(NamedTuple):
    usage: str
    summary: str
    words: range
    """How many words may follow the name."""
    run: Callable[[Pack, Words, Faults | None], str | None]


def execute(pack: Pack, line: str, faults: Faults | None = None) -> str:
    """Carry out one line; the answer is `ok`, what was asked for, or a sentence `error: …`.

    Empty lines and lines that begin with `#` do nothing and answer nothing.
    """
    name, *words = line.split() or ["#"]
    if name.startswith("#"):
        return ""
    row = COMMANDS.get(name)
    if row is None:
        return f"error: There is no command {name[:40]!r}; `help` lists them."
    if len(words) not in row.words:
        return f"error: The command is written `{row.usage}`."
    try:
        return row.run(pack, words, faults) or "ok"
    except BmsError as error:
        return f"error: {error}"


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise TargetError(f"{what} is a number, not {text[:40]!r}.") from None


def _whole(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise TargetError(f"{what} is a whole number, not {text[:40]!r}.")
    return int(text)


def _condition(text: str) -> Condition:
    try:
        return Condition(text)
    except ValueError:
        raise TargetError(
            f"There is no condition {text[:40]!r}; there are: {', '.join(Condition)}."
        ) from None


def _help(pack: Pack, words: Words, faults: Faults | None) -> str:  # noqa: ARG001
    width = max(len(row.usage) for row in COMMANDS.values())
    return "\n".join(f"{row.usage:<{width}}  {row.summary}" for row in COMMANDS.values())
