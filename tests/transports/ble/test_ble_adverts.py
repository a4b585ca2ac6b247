"""Who advertises like one of ours, and who does not (`fixtures/adverts.json`)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmslink.discovery.ble import advertised
from bmslink.link.gatt import Advert, SeenDevice, matches, uuid16
from bmslink.protocols import DRIVERS, load_driver
from support import FIXTURES

ADVERTS = json.loads((FIXTURES / "adverts.json").read_text())
EVERY = {name: load_driver(name).adverts for name in DRIVERS}


def seen(entry: dict) -> SeenDevice:
    said = entry.get("manufacturers", {}).items()
    return SeenDevice(
        address=entry["address"],
        name=entry["name"],
        services=frozenset(entry.get("services", ())),
        manufacturers={int(m, 16): bytes.fromhex(data) for m, data in said},
    )


def label(entry: dict) -> str:
    return f"{entry['name']}-{entry['why']}"


@pytest.mark.parametrize("entry", ADVERTS["known"], ids=label)
def test_a_known_advert_is_of_one_driver(entry):
    fitting = {
        name for name, adverts in EVERY.items() if any(matches(a, seen(entry)) for a in adverts)
    }
    assert fitting == {entry["driver"]}


@pytest.mark.parametrize("entry", ADVERTS["foreign"], ids=label)
def test_a_foreign_advert_is_of_none(entry):
    fitting = [
        (name, a) for name, adverts in EVERY.items() for a in adverts if matches(a, seen(entry))
    ]
    assert fitting == []


def test_every_sign_is_shown_by_a_known_advert():
    """A sign that no fixture shows would be tested by nothing."""
    for name, adverts in EVERY.items():
        for advert in adverts:
            assert any(matches(advert, seen(e)) for e in ADVERTS["known"] if e["driver"] == name), (
                advert
            )


def test_what_is_certain_is_only_what_others_do_not_say():
    for name, adverts in EVERY.items():
        for entry in ADVERTS["known"]:
            certain = any(a.certain and matches(a, seen(entry)) for a in adverts)
            assert not certain or entry["driver"] == name


def test_all_parts_of_a_sign_must_fit():
    advert = Advert(
        name="JK.*",
        services=frozenset({uuid16(0xFFE0), uuid16(0xFEE7)}),
        manufacturers=frozenset({1, 2}),
        data=b"\x88",
        addresses=("C8:47:8",),
    )
    fits = SeenDevice(
        address="c8:47:8c:00:00:00",
        name="jk-1",
        services=frozenset({uuid16(0xFFE0), uuid16(0xFEE7), uuid16(0x180A)}),
        manufacturers={2: b"\x88\xa0", 9: b""},
    )
    assert matches(advert, fits)
    for change in (
        {"address": "C8:48:00:00:00:00"},
        {"name": "my JK"},
        {"services": frozenset({uuid16(0xFFE0)})},
        {"manufacturers": {3: b"\x88"}},
        {"manufacturers": {2: b"\xa0"}},
        {"manufacturers": {2: b"\xa0\x88"}},
    ):
        said = {n: getattr(fits, n) for n in ("address", "name", "services", "manufacturers")}
        assert not matches(advert, SeenDevice(**(said | change)))
    assert not matches(Advert(), fits)


def test_what_only_such_boards_say_weighs_more_than_what_others_say_too():
    jk = {"address": "C8:47:8C:00:00:01", "services": frozenset({uuid16(0xFFE0)})}
    assert advertised(SeenDevice(**jk)) == ("jk02", False)
    assert advertised(SeenDevice(**jk, name="JBD-SP04S")) == ("jbd", True)
    assert advertised(SeenDevice(address="11:22:33:44:55:66")) is None


@pytest.mark.slow
@given(st.text(max_size=60), st.text(max_size=20), st.binary(max_size=30))
def test_whatever_is_advertised_is_only_compared(name, address, data):
    said = SeenDevice(address=address, name=name, manufacturers={0x0B65: data})
    for adverts in EVERY.values():
        for advert in adverts:
            assert matches(advert, said) in (True, False)
