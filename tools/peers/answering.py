"""What the adapters in this directory share: captures in as JSON, what a program says out.

An adapter asks one independent program. It runs in that program's own environment, where bmslink
is not installed, so it can share no code with our codecs. On standard input it gets a list of
captures; on standard output it gives, for each question that the program can be asked, either the
values that the program gives or why it gives none. Names of values: `voltage` is a value of a
reading, `values.max_cell` one that a frame holds in the protocol's own names.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

__all__ = ["Capture", "Frame", "Question", "cells", "main", "seconds"]


@dataclass(frozen=True)
class Frame:
    """One whole frame from a board."""

    number: int
    raw: bytes
    asked: bytes
    """The request before it; empty where nobody asked."""
    variant: str
    """The layout, where a protocol has several: a user of the program chooses it too."""


@dataclass(frozen=True)
class Capture:
    """The frames of one capture that hold values."""

    id: str
    protocol: str
    firmware: str
    frames: tuple[Frame, ...]


@dataclass(frozen=True)
class Question:
    """What a program is asked at once, and how."""

    frames: tuple[Frame, ...]
    ask: Callable[[], dict[str, Any]]


def cells(voltages: list[Any]) -> list[Any]:
    """Without the places of a fixed list that no cell is wired to."""
    return [v for v in voltages if v]


def seconds(text: str) -> int:
    """Of a duration such as `44D22H45M23S`."""
    total = 0
    for letter, factor in (("D", 86400), ("H", 3600), ("M", 60), ("S", 1)):
        number, _, text = text.partition(letter)
        total += int(number) * factor
    return total


def main(
    program: str,
    questions: Callable[[Capture], Iterator[Question]],
    refusals: tuple[type[Exception], ...],
) -> None:
    """Answer for all captures; `refusals` are the errors with which the program refuses a frame."""
    said: dict[str, list[dict[str, Any]]] = {}
    for one in json.load(sys.stdin):
        frames = tuple(
            Frame(n, bytes.fromhex(f["hex"]), bytes.fromhex(f["asked"]), f["variant"])
            for n, f in enumerate(one["frames"])
        )
        capture = Capture(one["id"], one["protocol"], one["firmware"], frames)
        for question in questions(capture):
            answer: dict[str, Any] = {"frames": [f.number for f in question.frames]}
            try:
                answer["values"] = question.ask()
            except refusals as exc:
                answer["refused"] = " ".join(f"{type(exc).__name__}: {exc}".split())[:120]
            if answer.get("values") != {}:
                said.setdefault(capture.id, []).append(answer)
    json.dump({"program": f"{program} {version(program)}", "said": said}, sys.stdout)
