"""The fast reader gives exactly what construct's own parse gives."""

from __future__ import annotations

from typing import Any

import pytest
from construct import (
    Array,
    Byte,
    Bytes,
    Const,
    ConstructError,
    GreedyBytes,
    Int16sb,
    Int16ub,
    Int16ul,
    Struct,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import goldens
from bmslink.errors import FrameError
from bmslink.protocols import load_driver
from bmslink.protocols.base import Options
from bmslink.protocols.derive import fixed, reader
from bmslink.protocols.fields import fields_of, parse, scaled


def by_construct(layout: Any, data: bytes) -> dict[str, Any]:
    return {k: v for k, v in layout.parse(data).items() if k != "_io"}


def layouts_of_captures() -> dict[Any, bytes]:
    """Every layout that a captured payload needs, with one such payload."""
    found: dict[Any, bytes] = {}
    for path in goldens.captures():
        header, pieces = goldens.open_capture(path)
        driver = load_driver(header.protocol)
        codec = driver.make_codec(Options(variant=header.variant or None))
        pieces = (goldens.whole(header, piece) for piece in pieces)
        for sent, frame in goldens.frames(header, pieces):
            payload = codec.payload(frame, sent=sent)
            if payload is not None:
                found.setdefault(payload.layout, payload.data)
            codec.explain(frame, sent=sent)
    return found


LAYOUTS = layouts_of_captures()
FIXED = [layout for layout in LAYOUTS if reader(layout) is not None]


def test_most_layouts_have_a_fast_reader() -> None:
    assert len(FIXED) > 100
    assert len(FIXED) > 0.8 * len(LAYOUTS)


@pytest.mark.parametrize("number", range(len(FIXED)))
def test_equal_on_captures(number: int) -> None:
    layout = FIXED[number]
    data = LAYOUTS[layout]
    fast = reader(layout)
    assert fast is not None
    assert fast(data) == by_construct(layout, data)
    assert list(fast(data)) == list(by_construct(layout, data))
    with pytest.raises(ValueError, match="needed"):
        fast(data[: layout.sizeof() - 1])


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_equal_on_anything(data: st.DataObject) -> None:
    layout = data.draw(st.sampled_from(FIXED))
    payload = data.draw(st.binary(min_size=layout.sizeof(), max_size=layout.sizeof()))
    fast = reader(layout)
    assert fast is not None
    try:
        expected = by_construct(layout, payload)
    except ConstructError:
        with pytest.raises(ValueError):
            fast(payload)
    else:
        assert fast(payload) == expected
        assert layout.build(fast(payload)) == layout.build(expected)


def test_what_only_construct_can_parse_is_left_to_it() -> None:
    for layout in (
        Struct("rest" / GreedyBytes),
        Struct("n" / Byte, "data" / Bytes(lambda this: this.n)),
        Struct("n" / Byte, "data" / Array(lambda this: this.n, Byte)),
        Struct("big" / Int16ub, "little" / Int16ul),
        Struct("inner" / Struct("rest" / GreedyBytes)),
        Struct("items" / Array(2, Struct("n" / Byte, "data" / Bytes(lambda this: this.n)))),
        Struct("five" / Const(5, Byte)),
        Byte,
    ):
        assert reader(layout) is None


def test_fields_of_a_struct() -> None:
    layout = Struct("start" / Const(b"\xdd"), Bytes(1), "cells" / Array(2, Byte))
    assert [name for name, _ in fields_of(layout)] == ["start", "cells"]
    with pytest.raises(TypeError):
        fields_of(Byte)


def test_constants_scales_and_arrays() -> None:
    layout = Struct(
        "start" / Const(b"\xdd"),
        "cells" / Array(2, scaled(Int16ub, 1000)),
        "raw" / Array(2, Int16sb),
        "temperature" / scaled(Byte, 1, -40),
        "kelvin" / Array(1, scaled(Int16ub, 10, -2731)),
    )
    data = bytes.fromhex("dd0ce40ce5ffff00010a0b8a")
    values = parse(layout, data, "test")
    assert values == {
        "start": b"\xdd",
        "cells": [3.3, 3.301],
        "raw": [-1, 1],
        "temperature": -30.0,
        "kelvin": [22.3],
    }
    with pytest.raises(FrameError, match="start is de"):
        parse(layout, b"\xde" + data[1:], "test")
    with pytest.raises(FrameError, match="12 bytes"):
        parse(layout, data[:-1], "test")


def test_what_must_have_a_fast_reader_says_so() -> None:
    with pytest.raises(TypeError, match="fixed size"):
        fixed(Struct("rest" / GreedyBytes))
