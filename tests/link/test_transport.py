"""The target grammar: the one string that names a pack."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bmslink.errors import TargetError
from bmslink.link.transport import (
    SCHEMES,
    Endpoint,
    Transport,
    make_transport,
    parse_target,
    split_host,
)
from bmslink.protocols.jk.radio import JK_MODULES


@pytest.mark.parametrize(
    ("text", "scheme", "place", "protocol", "query"),
    [
        (
            "jbd+serial:///dev/ttyUSB0?baudrate=9600",
            "serial",
            "/dev/ttyUSB0",
            "jbd",
            {"baudrate": "9600"},
        ),
        ("serial://COM3", "serial", "COM3", None, {}),
        ("/dev/ttyUSB0", "serial", "/dev/ttyUSB0", None, {}),
        ("/dev/serial/by-id/usb-1a86", "serial", "/dev/serial/by-id/usb-1a86", None, {}),
        ("/dev/ttyUSB0?baudrate=115200", "serial", "/dev/ttyUSB0", None, {"baudrate": "115200"}),
        ("./pty", "serial", "./pty", None, {}),
        ("~/pty", "serial", "~/pty", None, {}),
        ("ttyUSB0", "serial", "ttyUSB0", None, {}),
        ("COM3", "serial", "COM3", None, {}),
        ("com12", "serial", "com12", None, {}),
        ("\\\\.\\COM12", "serial", "\\\\.\\COM12", None, {}),
        (
            "jk-modbus+tcp://192.168.1.20:8899?address=2",
            "tcp",
            "192.168.1.20:8899",
            "jk-modbus",
            {"address": "2"},
        ),
        ("socket://gateway.local:23", "tcp", "gateway.local:23", None, {}),
        ("JBD+TCP://[::1]:8899", "tcp", "[::1]:8899", "jbd", {}),
        ("tcp://[fe80::1%25eth0]:23", "tcp", "[fe80::1%eth0]:23", None, {}),
        (
            "jk-modbus+modbus-tcp://192.168.1.30:502",
            "modbus-tcp",
            "192.168.1.30:502",
            "jk-modbus",
            {},
        ),
        ("daly-a5+rfc2217://host:4000", "rfc2217", "host:4000", "daly-a5", {}),
        ("jk02+ble://C8:47:8C:E4:55:12", "ble", "C8:47:8C:E4:55:12", "jk02", {}),
        ("ble://JK_B2A24S", "ble", "JK_B2A24S", None, {}),
        (
            "sim://jbd?cells=16&soc=60&seed=1",
            "sim",
            "",
            "jbd",
            {"cells": "16", "soc": "60", "seed": "1"},
        ),
        ("jbd+sim://", "sim", "", "jbd", {}),
        ("jbd+sim://jbd", "sim", "", "jbd", {}),
        ("sim://", "sim", "", None, {}),
        ("sim://jbd?fault=noise&fault=silence", "sim", "", "jbd", {"fault": "noise,silence"}),
        (
            "replay:///path/a%20b.jsonl?speed=10",
            "replay",
            "/path/a b.jsonl",
            None,
            {"speed": "10"},
        ),
        ("replay://session.jsonl", "replay", "session.jsonl", None, {}),
    ],
)
def test_each_form_of_target(text, scheme, place, protocol, query):
    endpoint = parse_target(text)
    assert endpoint == Endpoint(scheme, place, protocol, query)
    assert parse_target(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("serial:///dev/\x07", "control characters"),
        ("serial:///dev/%00", "control characters"),
        ("serial:///dev/\x9b2J", "control characters"),
        ("sim://?load=%1b", "control characters"),
        ("/dev/\udcff", "control characters"),
        ("jbd", "is no target"),
        ("serial", "is no target"),
        ("192.168.1.20:8899", "is no target"),
        ("jbd+/dev/ttyUSB0", "is no target"),
        ("usb://1", "Unknown scheme 'usb'.*serial"),
        ("serial://", "does not say where"),
        ("ble:// ", "does not say where"),
        ("replay://?speed=2", "does not say where"),
        ("tcp://", "HOST:PORT"),
        ("tcp://host", "HOST:PORT"),
        ("tcp://host:", "HOST:PORT"),
        ("tcp://host:0", "HOST:PORT"),
        ("tcp://host:65536", "HOST:PORT"),
        ("tcp://host:٣", "HOST:PORT"),
        ("tcp://::1:8899", "HOST:PORT"),
        ("tcp://C8:47:8C:E4:55:12", "HOST:PORT"),
        ("tcp://[::1]", "HOST:PORT"),
        ("tcp://host:1/path", "HOST:PORT"),
        ("sim://jbd/", "no protocol name"),
        ("jbd+sim://daly-a5", "two protocols: jbd and daly-a5"),
        ("serial:///dev/ttyUSB0?baudrate", "not key=value"),
        ("serial:///dev/ttyUSB0?speed=2", "Unknown key 'speed' for serial.*baudrate"),
        ("sim://?Cells=4", "Unknown key 'Cells'"),
        ("serial:///dev/ttyUSB0?baudrate=1&baudrate=2", "is given twice"),
        ("sim://?cells=4&cells=8", "is given twice"),
    ],
)
def test_what_is_wrong_with_a_target_is_said(text, words):
    with pytest.raises(TargetError, match=words):
        parse_target(text)


@pytest.mark.parametrize(
    "text",
    [
        "jbd+serial:///dev/ttyUSB0?pin=123456",
        "jbd+serial:///dev/ttyUSB0?address=1&PIN=123456",
        "jbd+serial:///dev/ttyUSB0?p%69n=123456",
        "sim://?password=123456",
        "nonsense?passcode=123456",
        "usb://x?pin=123456&junk",
    ],
)
def test_a_secret_is_refused_and_not_repeated(text):
    with pytest.raises(TargetError, match=r"--pin-file.*BMSLINK_PIN") as caught:
        parse_target(text)
    assert "123456" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "number"),
    [("9600", 9600.0), ("0x2A", 42.0), ("0.25", 0.25), ("-1", -1.0), ("1e3", 1000.0)],
)
def test_numbers_of_a_query(text, number):
    endpoint = parse_target(f"sim://?soc={text}")
    assert endpoint.number("soc") == number
    assert endpoint.number("seed") is None
    assert endpoint.number("seed", 7) == 7


@pytest.mark.parametrize(
    "text", ["", "x", "0x", "0xg", "nan", "inf", "-inf", "1e10", "0x" + "f" * 400, "1,5", "--1"]
)
def test_what_is_no_number_is_refused(text):
    endpoint = parse_target(f"sim://?soc={text}")
    with pytest.raises(TargetError, match="soc="):
        endpoint.number("soc")
    with pytest.raises(TargetError, match="soc="):
        endpoint.integer("soc")


def test_whole_numbers_of_a_query():
    endpoint = parse_target("sim://?cells=16&seed=0x10&soc=1.5")
    assert (endpoint.integer("cells"), endpoint.integer("seed")) == (16, 16)
    assert (endpoint.integer("speed"), endpoint.integer("speed", 3)) == (None, 3)
    with pytest.raises(TargetError, match="whole number"):
        endpoint.integer("soc")


def test_options_are_laid_over_a_query():
    endpoint = parse_target("jbd+serial:///dev/ttyUSB0?baudrate=9600&gap=0.2")
    changed = endpoint.with_query(baudrate=19200, address=None, timeout=0.5)
    assert str(changed) == "jbd+serial:///dev/ttyUSB0?baudrate=19200&gap=0.2&timeout=0.5"
    assert endpoint.query["baudrate"] == "9600"


@pytest.mark.parametrize(
    ("place", "parts"),
    [
        ("host:23", ("host", 23)),
        ("127.0.0.1:65535", ("127.0.0.1", 65535)),
        ("[::1]:8899", ("::1", 8899)),
        ("[fe80::1%eth0]:8899", ("fe80::1%eth0", 8899)),
        ("host:23/", ("host", 23)),
    ],
)
def test_host_and_port(place, parts):
    assert split_host(place) == parts


def test_a_protocol_without_radio_modules_is_not_spoken_over_bluetooth():
    text = "jk-modbus+ble://C8:47:8C:E4:55:12"
    with pytest.raises(TargetError, match="jk-modbus is not spoken over Bluetooth") as caught:
        make_transport(parse_target(text))
    assert text in str(caught.value)


@pytest.mark.parametrize("scheme", [name for name, scheme in SCHEMES.items() if scheme.factory])
def test_each_scheme_has_its_transport(scheme):
    network = ("tcp", "socket", "rfc2217", "modbus-tcp")
    place = "jbd" if scheme == "sim" else "127.0.0.1:1" if scheme in network else "/dev/x"
    assert isinstance(make_transport(parse_target(f"{scheme}://{place}"), JK_MODULES), Transport)


_LIKELY = st.lists(
    st.sampled_from([*SCHEMES, "jbd", "://", "+", "?", "&", "=", "%", "%3F", "[::1]", ":", "8899"])
    | st.sampled_from(["/dev/ttyUSB0", "COM3", "~/", "cells", "fault", "pin", "address", "0x1"])
    | st.text(max_size=3)
).map("".join)


@given(st.text() | _LIKELY)
@example("serial:///a%253Fb?gap=%26")
@example("/dev/a%20b")
@example("tcp://[::%25?]:1")
def test_any_text_is_a_target_or_a_target_error(text):
    try:
        endpoint = parse_target(text)
    except TargetError:
        return
    again = parse_target(str(endpoint))
    assert again == endpoint
    str(endpoint).encode()


@given(
    st.sampled_from(["serial", "replay", "ble"]),
    st.text(min_size=1).filter(lambda t: t.isprintable() and t.strip()),
    st.dictionaries(
        st.sampled_from(["address", "baudrate", "gap", "current_sign"]),
        st.text().filter(str.isprintable),
    ),
)
def test_any_place_and_values_survive_being_written_as_a_target(scheme, place, query):
    endpoint = Endpoint(scheme, place, "jbd", query)
    assert parse_target(str(endpoint)) == endpoint
