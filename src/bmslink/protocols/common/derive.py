"""The fast reader and writer: one `struct` call derived from a construct declaration.

No field is declared twice: the Struct is walked once, and what consists of fixed-size numbers,
bytes, constants, and arrays and Structs of them, gets a reader that gives exactly what
construct's own parse gives, and a writer that gives exactly what its build gives
(`tests/protocols/test_derive.py` compares them on every capture and on made-up payloads), at about
a tenth of the cost. Everything else (counts from the data, strings to the end) stays with
construct, and so do values that a writer cannot put as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from construct import Array, Bytes, Computed, Const, FormatField, Renamed, Struct

from bmslink.protocols.common.scale import Layout, Scaled

__all__ = ["UNFIT", "Reader", "Writer", "fixed", "reader", "writer"]

Reader = Callable[[bytes], dict[str, Any]]
"""Payload to values; `ValueError` if it is too short or a constant differs."""
Writer = Callable[[object], bytes]
"""Values to payload; one of `UNFIT` where construct has to build it, or to say what is wrong."""
UNFIT = (AttributeError, LookupError, OverflowError, TypeError, ValueError, struct.error)
"""What a writer raises for values that it cannot put as they are."""


class _Part(NamedTuple):
    """What a field is to `struct`, and to the reader's text."""

    codes: list[str]
    """One for each value, with its byte order; `=` where there is none."""
    text: str
    """The field's value, made of the values `v0`, `v1`, … that `struct` gives."""
    checks: list[str]
    """Statements that come before: constants that must be found."""
    puts: list[str]
    """What `struct` is to put there, made of the values `o`."""
    needs: list[str]
    """What must be true of `o` for that; `struct` would cut bytes, or fill them up."""


@lru_cache(maxsize=512)
def reader(layout: Layout) -> Reader | None:
    """The fast reader of a layout, or `None` where only construct can parse it."""
    derived = _derived(layout)
    return None if derived is None else _reader(*derived)


@lru_cache(maxsize=512)
def writer(layout: Layout) -> Writer | None:
    """The fast writer of a layout, or `None` where only construct can build it."""
    derived = _derived(layout)
    return None if derived is None else _writer(*derived)


def _derived(layout: Layout) -> tuple[struct.Struct, _Part] | None:
    part = _part(layout, 0, "o") if isinstance(layout, Struct) else None
    if part is None:
        return None
    orders = {code[0] for code in part.codes if code[0] != "="}
    if len(orders) > 1:
        return None
    body = "".join(code[1:] for code in part.codes)
    return struct.Struct((orders.pop() if orders else ">") + body), part


def fixed(layout: Layout) -> Reader:
    """The fast reader of a layout that is meant to have one; a `TypeError` for others."""
    fast = reader(layout)
    if fast is None:
        raise TypeError("only a Struct of fixed size has a fast reader")
    return fast


def _part(field: Layout, at: int, value: str, name: str = "a constant") -> _Part | None:
    """The part of a field whose first value is `v{at}`, and which is built of `value`; `None`: it
    is not of fixed size."""
    if isinstance(field, Renamed):
        return _part(field.subcon, at, value, field.name or name)
    if isinstance(field, Struct):
        parts = _parts([(f, _member(f, value)) for f in field.subcons], at)
        named = zip((f.name for f in field.subcons), parts or (), strict=False)
        entries = (f"{name!r}: {part.text}" for name, part in named if name is not None)
        return _joined(parts, f"{{{', '.join(entries)}}}")
    if isinstance(field, Array):
        count = field.count
        return _array(field.subcon, count, at, value) if isinstance(count, int) else None
    if isinstance(field, Const):
        data = field.value
        if not isinstance(data, bytes) or not isinstance(field.subcon, Bytes):
            return None
        check = _CHECK.format(at=at, constant=data, name=name)
        return _Part([f"={len(data)}s"], f"v{at}", [check], [f"{data!r}"], [_given(value, data)])
    if isinstance(field, Computed):
        return _Part([], repr(field.func), [], [], []) if isinstance(field.func, int) else None
    if isinstance(field, Bytes):
        if not isinstance(field.length, int):
            return None
        need = f"type({value}) is bytes and len({value}) == {field.length}"
        return _Part([f"={field.length}s"], f"v{at}", [], [value], [need])
    return _number(field, f"v{at}", value)


def _array(item: Layout, count: int, at: int, value: str) -> _Part | None:
    """The part of an array. It is built by loops over its items `x`: a term for each item would
    take long to compile."""
    parts = _parts([(item, "x")] * count, at)
    whole = _joined(parts, f"[{', '.join(part.text for part in parts or ())}]")
    if whole is None:
        return None
    puts, needs = (parts[0].puts, parts[0].needs) if parts else ([], [])
    long = f"isinstance({value}, (list, tuple)) and len({value}) == {count}"
    return whole._replace(
        puts=[f"*[put for x in {value} for put in ({', '.join(puts)},)]"] if puts else [],
        needs=[long, *(f"all({need} for x in {value})" for need in needs)],
    )


def _member(field: Layout, value: str) -> str:
    """Where the value of a field of a Struct is."""
    inner = field.subcon if isinstance(field, Renamed) else field
    if isinstance(inner, Const):  # need not be there
        return f"{value}.get({field.name!r})"
    return f"{value}[{field.name!r}]"


def _given(value: str, data: bytes) -> str:
    """A constant is as declared, or left out."""
    return f"{value} in (None, {data!r})"


def _number(field: Layout, text: str, value: str) -> _Part | None:
    if isinstance(field, Scaled):
        text = f"({text} + {field.offset})" if field.offset else text
        value = f"round({value} * {field.per}) - {field.offset}"
        text, field = f"{text} / {field.per}", field.subcon
    if not isinstance(field, FormatField):
        return None
    code = field.fmtstr[1:]
    order = "=" if code in "bB" else field.fmtstr[0]
    return _Part([order + code], text, [], [value], [])


def _parts(fields: Iterable[tuple[Layout, str]], at: int) -> list[_Part] | None:
    """The parts of fields that follow each other, each built of a value; `None` if one of them is
    not of fixed size."""
    parts: list[_Part] = []
    for field, value in fields:
        part = _part(field, at, value)
        if part is None:
            return None
        parts.append(part)
        at += len(part.codes)
    return parts


def _joined(parts: list[_Part] | None, text: str, *needs: str) -> _Part | None:
    if parts is None:
        return None
    return _Part(
        [code for part in parts for code in part.codes],
        text,
        [check for part in parts for check in part.checks],
        [put for part in parts for put in part.puts],
        [*needs, *(need for part in parts for need in part.needs)],
    )


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
    return _compiled(source, {"unpack": packed.unpack_from, "error": struct.error})


_WRITER = """
def write(o):
    if not ({needs}):
        raise ValueError("construct has to see to it")
    return pack({puts})
"""


def _writer(packed: struct.Struct, part: _Part) -> Writer:
    """One call of `pack(round(o["voltage"] * 100) - 0, o["cells"][0], ...)`, likewise."""
    needs = ["type(o) is dict", *part.needs]
    source = _WRITER.format(needs=" and ".join(needs), puts=", ".join(part.puts))
    return _compiled(source, {"pack": packed.pack})


def _compiled(source: str, names: dict[str, Any]) -> Callable[..., Any]:
    """The one function of a text that knows these names, and the builtins."""
    code = compile(source, "<layout>", "exec")
    function = next(c for c in code.co_consts if isinstance(c, CodeType))
    return FunctionType(function, names)
