"""A protocol and a place as two words (`jbd /dev/ttyUSB0`), which would name two packs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from bmslink.errors import TargetError

__all__ = ["refuse_two_words"]

_OTHERS = ("packs", "simulate", "decode", "replay", "scan")
"""Commands whose first word is something else."""


def refuse_two_words(arguments: Sequence[str]) -> None:
    """`TargetError` with the one word that was meant."""
    if any(word in _OTHERS for word in arguments[:3]):
        return
    for before, (name, place) in zip(["", *arguments], pairwise(arguments), strict=False):
        if "+" in place or not ("://" in place or _is_port(place)) or before.startswith("-"):
            continue
        from bmslink.protocols import DRIVERS, VENDORS

        if name.lower() in (*VENDORS, *DRIVERS):
            whole = place if "://" in place else f"serial://{place}"
            raise TargetError(
                f"{name} and {place} are one pack: write them as one word, {name.lower()}+{whole}."
            )


def _is_port(word: str) -> bool:
    return word.startswith(("/", "COM", "tty"))
