"""The fast reader: one `struct` call derived from a construct declaration.

No field is declared twice: the Struct is walked once, and what consists of fixed-size numbers,
bytes, constants, and arrays and Structs of them, gets a reader that gives exactly what
construct's own parse gives (`tests/protocols/test_derive.py` compares them on every capture and on
made-up payloads), at about a tenth of the cost. Everything else (counts from the data, strings to
the end) stays with construct.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from construct import Array, Bytes, Computed, Const, FormatField, Renamed, Struct

from bmslink.protocols.common.scale import Layout, Scaled

__all__ = ["Reader", "fixed", "reader"]

Reader = Callable[[bytes], dict[str, Any]]
"""Payload to values; `ValueError` if it is too short or a constant differs."""


class _Part(NamedTuple):
    """What a field is to `struct`, and to the reader's text."""

    codes: list[str]
    """One for each value, with its byte order; `=` where there is none."""
    text: str
    """The field's value, made of the values `v0`, `v1`, … that `struct` gives."""
    checks: list[str]
    """Statements that come before: constants that must be found."""


@lru_cache(maxsize=512)
def reader(layout: Layout) -> Reader | None:
    """The fast reader of a layout, or `None` where only construct can parse it."""
    part = _part(layout, 0) if isinstance(layout, Struct) else None
    if part is None:
        return None
    orders = {code[0] for code in part.codes if code[0] != "="}
    if len(orders) > 1:
        return None
    body = "".join(code[1:] for code in part.codes)
    return _reader(struct.Struct((orders.pop() if orders else ">") + body), part)


def fixed(layout: Layout) -> Reader:
    """The fast reader of a layout that is meant to have one; a `TypeError` for others."""
    fast = reader(layout)
    if fast is None:
        raise TypeError("only a Struct of fixed size has a fast reader")
    return fast


def _part(field: Layout, at: int, name: str = "a constant") -> _Part | None:
    """The part of a field whose first value is `v{at}`; `None`: it is not of fixed size."""
    if isinstance(field, Renamed):
        return _part(field.subcon, at, field.name or name)
    if isinstance(field, Struct):
        parts = _parts(field.subcons, at)
        named = zip((f.name for f in field.subcons), parts or (), strict=False)
        entries = (f"{name!r}: {part.text}" for name, part in named if name is not None)
        return _joined(parts, f"{{{', '.join(entries)}}}")
    if isinstance(field, Array):
        parts = _parts([field.subcon] * field.count, at) if isinstance(field.count, int) else None
        return _joined(parts, f"[{', '.join(part.text for part in parts or ())}]")
    if isinstance(field, Const):
        data = field.value
        if not isinstance(data, bytes) or not isinstance(field.subcon, Bytes):
            return None
        check = _CHECK.format(at=at, constant=data, name=name)
        return _Part([f"={len(data)}s"], f"v{at}", [check])
    if isinstance(field, Computed):
        return _Part([], repr(field.func), []) if isinstance(field.func, int) else None
    if isinstance(field, Bytes):
        return _Part([f"={field.length}s"], f"v{at}", []) if isinstance(field.length, int) else None
    return _number(field, f"v{at}")


def _number(field: Layout, text: str) -> _Part | None:
    if isinstance(field, Scaled):
        text = f"({text} + {field.offset})" if field.offset else text
        text, field = f"{text} / {field.per}", field.subcon
    if not isinstance(field, FormatField):
        return None
    code = field.fmtstr[1:]
    order = "=" if code in "bB" else field.fmtstr[0]
    return _Part([order + code], text, [])


def _parts(fields: Iterable[Layout], at: int) -> list[_Part] | None:
    """The parts of fields that follow each other; `None` if one of them is not of fixed size."""
    parts: list[_Part] = []
    for field in fields:
        part = _part(field, at)
        if part is None:
            return None
        parts.append(part)
        at += len(part.codes)
    return parts


def _joined(parts: list[_Part] | None, text: str) -> _Part | None:
    if parts is None:
        return None
    codes = [code for part in parts for code in part.codes]
    return _Part(codes, text, [check for part in parts for check in part.checks])


_SOURCE = """
def read(data):
    try:
        {targets} = unpack(data)
    except error:
        raise ValueError("{size} bytes are needed") from None
{checks}
    return {text}
"""
_CHECK = """
    if v{at} != {constant!r}:
        raise ValueError({name!r} + " is " + v{at}.hex())
"""


def _reader(packed: struct.Struct, part: _Part) -> Reader:
    """One dict display, `{"voltage": v0 / 100, "cells": [...], ...}`, made for this layout.

    It takes a third of the time of a loop over the fields. Its text holds nothing but quoted
    names and constants, and whole numbers.
    """
    source = _SOURCE.format(
        targets=f"[{', '.join(f'v{i}' for i in range(len(part.codes)))}]",
        size=packed.size,
        checks="".join(part.checks),
        text=part.text,
    )
    code = compile(source, "<layout>", "exec")
    read = next(c for c in code.co_consts if isinstance(c, CodeType))
    return FunctionType(read, {"unpack": packed.unpack_from, "error": struct.error})
