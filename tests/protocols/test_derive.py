"""The fast reader gives exactly what construct's own parse gives, the fast writer what its build
gives."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import accumulate, product
from typing import Any, get_args

import pytest
from construct import (
    Array,
    Byte,
    Bytes,
    Computed,
    Const,
    ConstructError,
    Container,
    GreedyBytes,
    Int16sb,
    Int16ub,
    Int16ul,
    ListContainer,
    Renamed,
    Struct,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

import goldens
from bmslink import protocols
from bmslink.errors import FrameError
from bmslink.protocols import load_driver
from bmslink.protocols.base import Options
from bmslink.protocols.common import rtu
from bmslink.protocols.common.derive import UNFIT, fixed, reader, writer
from bmslink.protocols.common.fields import build, fields_of, parse, scaled
from bmslink.protocols.daly.a5 import codec as daly_a5_codec
from bmslink.protocols.daly.a5 import layouts as daly_a5_layouts
from bmslink.protocols.daly.registers import d2 as daly_d2
from bmslink.protocols.daly.registers import layouts as daly_register_layouts
from bmslink.protocols.daly.registers import p81 as daly_p81
from bmslink.protocols.jbd import framing as jbd_framing
from bmslink.protocols.jbd import layouts as jbd_layouts
from bmslink.protocols.jbd import settings as jbd_settings
from bmslink.protocols.jbd.up import framing as jbd_up
from bmslink.protocols.jbd.up import layouts as jbd_up_layouts
from bmslink.protocols.jk import settings as jk_settings
from bmslink.protocols.jk.modbus import map as jk_modbus_map
from bmslink.protocols.jk.nw import framing as jk_nw
from bmslink.protocols.jk.nw import tags as jk_nw_tags
from support import WHOLE_SWEEP

MODULES = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(protocols.__path__, "bmslink.protocols.")
]
LONGEST = 600


def plain(value: Any) -> Any:
    """What construct's own parse gives, without its containers."""
    if isinstance(value, Container):
        return {k: plain(v) for k, v in value.items() if k != "_io"}
    return [plain(v) for v in value] if isinstance(value, ListContainer) else value


def with_constants(layout: Any, data: bytes) -> bytes:
    """The data with a layout's constants where they belong."""
    if isinstance(layout, Renamed):
        return with_constants(layout.subcon, data)
    if isinstance(layout, Const):
        return layout.value
    inner = layout.subcons if isinstance(layout, Struct) else ()
    if isinstance(layout, Array):
        inner = [layout.subcon] * layout.count
    for field, at in zip(inner, accumulate([f.sizeof() for f in inner], initial=0), strict=False):
        end = at + field.sizeof()
        data = data[:at] + with_constants(field, data[at:end]) + data[end:]
    return data


# ---------------------------------------------------------------------------------- the layouts


@cache
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
            codec.decode(frame, sent=sent)
    return found


def layouts_of_tables(value: Any, depth: int = 0) -> Iterator[Any]:
    """Every Struct that stands in the tables of a module, however deep."""
    if isinstance(value, Struct):
        yield value
    elif depth > 4:
        return
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from layouts_of_tables(item, depth + 1)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from layouts_of_tables(item, depth + 1)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from layouts_of_tables(getattr(value, field.name), depth + 1)


LENGTHS = (0, 1, 2, 3, 13, 60, 255)
ALL_TAGS = bytes(jk_nw_tags.TAGS)
ALL_WIDTHS = sum(1 + row.width(b"") for row in jk_nw_tags.TAGS.values())
MAKERS: dict[Any, Iterable[tuple[Any, ...]]] = {
    daly_register_layouts.block_layout: product(
        (daly_d2.D2_TABLE, daly_p81.P81_TABLE), range(0, 0x140, 9), (1, 2, 5, 62)
    ),
    jbd_framing.frame_layout: product(LENGTHS),
    jbd_framing.module_layout: product(LENGTHS[:4]),
    jbd_layouts.basic_layout: [
        (23 + 2 * n + left, n, kind)
        for n in (0, 2, 8)
        for left in range(17)
        for kind in ("classic", "daren", "unknown")
    ],
    jbd_layouts.addressed_basic_layout: [(29 + 2 * n + left, n) for n in (0, 4) for left in (0, 3)],
    jbd_layouts.cells_layout: product((0, 2, 8, 64)),
    jbd_settings.register_layout: product(range(256), (2, 31)),
    jbd_up.frame_layout: product(LENGTHS),
    jbd_up_layouts._status_layout: product((0, 1, 16, 32), (0, 4), (0, 4, 12)),
    jbd_up_layouts._individual_layout: product((0, 16), (0, 4)),
    jk_modbus_map.chunk_layout: product(
        (jk_modbus_map.LIVE, jk_modbus_map.SETTINGS, jk_modbus_map.INFO),
        range(0, 260, 13),
        (2, 5, 60, 250),
    ),
    jk_nw._frame_layout: product(LENGTHS),
    jk_nw_tags.body_layout: [
        *((bytes([tag]), 1 + row.width(b"")) for tag, row in jk_nw_tags.TAGS.items()),
        *((ALL_TAGS, ALL_WIDTHS + 3 * cells) for cells in (0, 1, 24, 85)),
    ],
    jk_settings.write_layout: product((None, "24s", "32s"), range(256), (1, 2, 4, 13, 16)),
    rtu.frame_layout: product(get_args(rtu.Shape), LENGTHS),
}
"""What makes layouts, and for which arguments it is tried."""
HELPERS = {
    "_alone",
    "_field_layout",
    "_record_field",
    "_table",
    "big_endian",
    "individual_layout",
    "record",
    "status_layout",
}
"""They make pieces of those, or choose among them."""


@cache
def fixed_layouts() -> list[Any]:
    """Those of them all that have a fast reader; not looked for where another process tests it."""
    made = (
        *layouts_of_captures(),
        *(layout for module in MODULES for layout in layouts_of_tables(vars(module))),
        *(make(*arguments) for make, tried in MAKERS.items() for arguments in tried),
        jbd_framing.frame_layout(34, addressed=True),
    )
    return [each for each in dict.fromkeys(made) if each is not None and reader(each) is not None]


def test_most_layouts_have_a_fast_reader() -> None:
    layouts, fixed = layouts_of_captures(), set(fixed_layouts())
    captured = [layout for layout in layouts if layout in fixed]
    assert len(captured) > 0.9 * len(layouts) > 150
    assert len(fixed) > 500


def test_every_function_that_makes_a_layout_is_tried() -> None:
    names = {
        name
        for module in MODULES
        for name, made in vars(module).items()
        if inspect.isfunction(function := inspect.unwrap(made) if callable(made) else made)
        and function.__annotations__.get("return") in ("Layout", "Layout | None")
    }
    assert names == {make.__name__ for make in MAKERS} | HELPERS


@pytest.mark.uncounted
def test_equal_on_captures() -> None:
    fixed = set(fixed_layouts())
    for layout, data in layouts_of_captures().items():
        fast = reader(layout)
        if fast is None:
            assert layout not in fixed, layout
            continue
        assert fast(data) == plain(layout.parse(data)), layout
        assert list(fast(data)) == list(plain(layout.parse(data))), layout
        if layout.sizeof():
            with pytest.raises(ValueError, match="needed"):
                fast(data[: layout.sizeof() - 1])


def written(layout: Any, values: Any) -> bytes:
    """By the fast writer, which every layout with a fast reader has."""
    fast = writer(layout)
    assert fast is not None
    return fast(values)


def same(layout: Any, payload: bytes) -> None:
    """Both give the same values of the same types, or both refuse."""
    fast = reader(layout)
    assert fast is not None
    try:
        expected = plain(layout.parse(payload))
    except ConstructError:
        with pytest.raises(ValueError):
            fast(payload)
    else:
        values = fast(payload)
        assert repr(values) == repr(expected)
        assert written(layout, values) == layout.build(expected)


@pytest.mark.slow
@settings(max_examples=8 if WHOLE_SWEEP else 1, deadline=None)
@given(st.binary(min_size=LONGEST, max_size=LONGEST))
@example(bytes(LONGEST))
@example(b"\xff" * LONGEST)
def test_every_layout_equal_on_anything(data: bytes) -> None:
    for layout in fixed_layouts():
        same(layout, with_constants(layout, data[: layout.sizeof()]))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_equal_on_anything(data: st.DataObject) -> None:
    layout = data.draw(st.sampled_from(fixed_layouts()))
    size = layout.sizeof()
    same(layout, data.draw(st.binary(min_size=max(0, size - 1), max_size=size + 1)))


ODD: tuple[Any, ...] = (
    None, True, -1, 0, 255, 256, 1 << 40, 2.5, -0.0004, float("nan"), float("inf"), "12", b"", b"1",
    bytearray(b"12"), [], [1], (1, 2), {}, {0: 1, 1: 2},
)  # fmt: skip
"""Values that most fields cannot hold."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in some values."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in inner:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_values_that_do_not_fit_are_built_or_refused_as_construct_does(data: st.DataObject) -> None:
    layout = data.draw(st.sampled_from([layout for layout in fixed_layouts() if layout.subcons]))
    values = parse(layout, with_constants(layout, bytes(layout.sizeof())), "test")
    *way, last = data.draw(st.sampled_from(list(places(values)) or [()])) or (None,)
    holder: Any = values
    for key in way:
        holder = holder[key]
    what = data.draw(st.sampled_from(["other", "gone", "more", "tuple"]))
    if what == "other" or last is None:
        holder[last] = data.draw(st.sampled_from(ODD))
    elif what == "gone":
        del holder[last]
    elif what == "tuple":
        holder[last] = tuple(holder[last]) if isinstance(holder[last], list) else holder[last]
    elif isinstance(holder[last], list):
        holder[last].append(0)
    try:
        expected = layout.build(values)
    except (ConstructError, *UNFIT) as error:
        with pytest.raises((FrameError, *[type(error)] * isinstance(error, ValueError))):
            build(layout, values, "test")
    else:
        assert build(layout, values, "test") == expected


@given(st.binary(min_size=8, max_size=8))
def test_daly_live_readers_leave_nothing_out(data: bytes) -> None:
    """They read the layouts of the tables, and add the id."""
    assert daly_a5_codec._LIVE.keys() == set(range(0x90, 0x99))
    for data_id, (_, read, *_) in daly_a5_codec._LIVE.items():
        expected = plain(daly_a5_layouts.STATUS[data_id][1].parse(data))
        assert read(data) == expected | {"id": data_id}


def test_what_only_construct_can_parse_is_left_to_it() -> None:
    for layout in (
        Struct("rest" / GreedyBytes),
        Struct("n" / Byte, "data" / Bytes(lambda this: this.n)),
        Struct("n" / Byte, "data" / Array(lambda this: this.n, Byte)),
        Struct("big" / Int16ub, "little" / Int16ul),
        Struct("inner" / Struct("rest" / GreedyBytes)),
        Struct("items" / Array(2, Struct("n" / Byte, "data" / Bytes(lambda this: this.n)))),
        Struct("five" / Const(5, Byte)),
        Struct("twice" / Computed(lambda this: 2)),
        Byte,
    ):
        assert reader(layout) is None
        assert writer(layout) is None


def test_bytes_are_neither_cut_nor_filled_up() -> None:
    layout = Struct("name" / Bytes(3))
    assert build(layout, {"name": b"abc"}, "test") == b"abc"
    for wrong in (b"ab", b"abcd", "abc"):
        with pytest.raises(UNFIT):
            written(layout, {"name": wrong})
        with pytest.raises(FrameError, match="cannot be built"):
            build(layout, {"name": wrong}, "test")


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
    assert written(layout, values) == build(layout, values, "test") == data
    assert written(layout, {**values, "start": None, "cells": (3.3, 3.301)}) == data
    for wrong in ({"start": b"\xde"}, {"cells": [3.3]}, {"cells": [3.3] * 3}, {"temperature": 300}):
        with pytest.raises(UNFIT):
            written(layout, values | wrong)
        with pytest.raises(FrameError, match="cannot be built"):
            build(layout, values | wrong, "test")
    with pytest.raises(FrameError, match="start is de"):
        parse(layout, b"\xde" + data[1:], "test")
    with pytest.raises(FrameError, match="12 bytes"):
        parse(layout, data[:-1], "test")


def test_structs_within_and_values_that_are_given() -> None:
    cell = Struct("mark" / Const(b"\x0a"), "number" / Byte, "voltage" / scaled(Int16ub, 1000))
    layout = Struct("cells" / Array(2, cell), "end" / Struct("code" / Byte), "id" / Computed(7))
    values = parse(layout, bytes.fromhex("0a010ce4 0a020ce5 09"), "test")
    assert values == {
        "cells": [
            {"mark": b"\n", "number": 1, "voltage": 3.3},
            {"mark": b"\n", "number": 2, "voltage": 3.301},
        ],
        "end": {"code": 9},
        "id": 7,
    }
    assert written(layout, values) == bytes.fromhex("0a010ce4 0a020ce5 09")
    with pytest.raises(FrameError, match="mark is 0b"):
        parse(layout, bytes.fromhex("0a010ce4 0b020ce5 09"), "test")


def test_arrays_within_arrays() -> None:
    cell = Struct("levels" / Array(2, Byte), "names" / Array(2, Bytes(1)))
    layout = Struct(
        "rows" / Array(2, Array(2, Int16ub)),
        "cells" / Array(2, cell),
        "none" / Array(0, Byte),
        "marks" / Array(2, Const(b"\xdd")),
        "sevens" / Array(2, Computed(7)),
    )
    data = bytes.fromhex("0001000200030004 01026162 03046364 dddd")
    values = parse(layout, data, "test")
    assert values["rows"] == [[1, 2], [3, 4]]
    assert values["cells"][1] == {"levels": [3, 4], "names": [b"c", b"d"]}
    assert (values["none"], values["sevens"]) == ([], [7, 7])
    assert written(layout, values) == build(layout, values, "test") == data
    assert layout.build(values) == data
    for wrong in ({"rows": [[1, 2], [3]]}, {"none": [1]}, {"marks": [b"\xdd", b"\xde"]}):
        with pytest.raises(UNFIT):
            written(layout, values | wrong)
        with pytest.raises(FrameError, match="cannot be built"):
            build(layout, values | wrong, "test")


def test_what_must_have_a_fast_reader_says_so() -> None:
    with pytest.raises(TypeError, match="fixed size"):
        fixed(Struct("rest" / GreedyBytes))
