"""The fast reader: one `struct` call derived from a construct declaration.

No field is declared twice: the Struct is walked once, and what consists of fixed-size numbers,
bytes, constants and arrays of numbers gets a reader that gives exactly what construct's own
parse gives (`tests/test_derive.py` compares them on every capture and on made-up payloads), at
about a tenth of the cost. Everything else (counts from the data, strings to the end) stays with
construct.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from construct import Array, Bytes, Const, FormatField, Renamed, Struct

from bmslink.protocols.scale import Layout, Scaled

__all__ = ["Reader", "fixed", "reader"]

Reader = Callable[[bytes], dict[str, Any]]
"""Payload to values; `ValueError` if it is too short or a constant differs."""


class _Step(NamedTuple):
    name: str | None
    first: int
    last: int | None
    """None for a single value, else the end of an array's slice."""
    per: int | None
    """None: the raw number."""
    offset: int
    constant: bytes | None


@lru_cache(maxsize=512)
def reader(layout: Layout) -> Reader | None:
    """The fast reader of a layout, or `None` where only construct can parse it."""
    if not isinstance(layout, Struct):
        return None
    steps: list[_Step] = []
    formats: list[str] = []
    for field in layout.subcons:
        step = _step(field, len_of(steps))
        if step is None:
            return None
        steps.append(step[0])
        formats.append(step[1])
    orders = {f[0] for f in formats if f[0] in "<>"}
    if len(orders) > 1:
        return None
    body = "".join(f.lstrip("<>=") for f in formats)
    return _reader(struct.Struct((orders.pop() if orders else ">") + body), steps)


def fixed(layout: Layout) -> Reader:
    """The fast reader of a layout that is meant to have one; a `TypeError` for others."""
    fast = reader(layout)
    if fast is None:
        raise TypeError("only a Struct of fixed size has a fast reader")
    return fast


def len_of(steps: list[_Step]) -> int:
    """How many values `struct` gives for the steps so far."""
    if not steps:
        return 0
    last = steps[-1]
    return last.first + 1 if last.last is None else last.last


def _step(field: Layout, at: int) -> tuple[_Step, str] | None:
    name: str | None = None
    if isinstance(field, Renamed):
        name, field = field.name, field.subcon
    if isinstance(field, Const):
        data = field.value
        if not isinstance(data, bytes) or not isinstance(field.subcon, Bytes):
            return None
        return _Step(name, at, None, None, 0, data), f"={len(data)}s"
    if isinstance(field, Bytes):
        if not isinstance(field.length, int):
            return None
        return _Step(name, at, None, None, 0, None), f"={field.length}s"
    count: int | None = None
    if isinstance(field, Array):
        if not isinstance(field.count, int):
            return None
        count, field = field.count, field.subcon
    per: int | None = None
    offset = 0
    if isinstance(field, Scaled):
        per, offset, field = field.per, field.offset, field.subcon
    if not isinstance(field, FormatField):
        return None
    code = field.fmtstr
    order = "=" if code[1] in "bB" else code[0]
    last = None if count is None else at + count
    repeated = "" if count is None else str(count)
    return _Step(name, at, last, per, offset, None), f"{order}{repeated}{code[1]}"


_SOURCE = """
def read(data):
    if len(data) < {size}:
        raise ValueError("{size} bytes are needed")
    v = unpack(data)
{checks}
    return {{{entries}}}
"""
_CHECK = """
    if v[{at}] != {constant!r}:
        raise ValueError({name!r} + " is " + v[{at}].hex())
"""


def _reader(packed: struct.Struct, steps: list[_Step]) -> Reader:
    """One dict display, `{"voltage": v[0] / 100, "cells": [...], ...}`, made for these steps.

    It takes a third of the time of a loop over them. Its text holds nothing but quoted names and
    constants, and whole numbers.
    """
    checks = [
        _CHECK.format(at=s.first, constant=s.constant, name=s.name or "a constant")
        for s in steps
        if s.constant is not None
    ]
    entries = ", ".join(f"{s.name!r}: {_expression(s)}" for s in steps if s.name is not None)
    source = _SOURCE.format(size=packed.size, checks="".join(checks), entries=entries)
    code = compile(source, "<layout>", "exec")
    read = next(c for c in code.co_consts if isinstance(c, CodeType))
    return FunctionType(read, {"unpack": packed.unpack_from})


def _expression(step: _Step) -> str:
    """How the values `v` that `struct` gave become the value of this step."""
    last = step.first + 1 if step.last is None else step.last
    values = [f"v[{i}]" for i in range(step.first, last)]
    if step.offset:
        values = [f"({value} + {step.offset})" for value in values]
    if step.per is not None:
        values = [f"{value} / {step.per}" for value in values]
    return values[0] if step.last is None else f"[{', '.join(values)}]"
