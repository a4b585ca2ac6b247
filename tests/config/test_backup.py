"""Backups: whole or refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bmslink.config import oddities, restore
from bmslink.config.files.backup import (
    Backup,
    BackupError,
    _sealed,
    load_backup,
    make_backup,
    save_backup,
)
from bmslink.config.files.compare import (
    Difference,
    Side,
    compare,
    side_of_backup,
    side_of_profile,
    side_of_table,
)
from bmslink.config.files.profile import parse_profile
from bmslink.config.plan import make_plan
from bmslink.config.restore import unusable_reason
from bmslink.errors import UsageError
from bmslink.model import Identity
from bmslink.places import named_place
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.protocols.daly.a5.map import a5_map

MAP = a5_map("20220810")
WHO = Identity(vendor="Daly", model="R32", firmware="20220810", protocol="daly-a5", cell_count=16)


def table(**wanted: object) -> SettingsSnapshot:
    image = {slot.address: bytes(slot.layout.sizeof()) for slot in MAP.slots}
    image[0x5B] = bytes.fromhex("7530" * 4)  # no current; 0 would be 3000 A
    return SettingsSnapshot(map=MAP, image={**image, **MAP.encode(image, wanted)})


def made(**wanted: object) -> Backup:
    return make_backup("daly-a5+sim://x", WHO, table(**wanted))


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.binary(min_size=8, max_size=8), min_size=len(MAP.slots), max_size=len(MAP.slots))
)
def test_what_is_saved_is_what_is_loaded(tmp_path: Path, data: list[bytes]) -> None:
    """Whatever a board can hold in its slots: also what no map can explain."""
    image = dict(table().image)
    for slot, raw in zip(MAP.slots, data, strict=True):
        one = {**image, slot.address: raw}
        image = image if oddities(SettingsSnapshot(map=MAP, image=one)) else one
    backup = make_backup("x", WHO, SettingsSnapshot(map=MAP, image=image))
    save_backup(backup, tmp_path / "b.json", overwrite=True)
    assert load_backup(tmp_path / "b.json") == backup
    assert backup.image() == image


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_changed_byte_is_noticed_or_changes_nothing(tmp_path: Path, data: st.DataObject) -> None:
    place = tmp_path / "b.json"
    save_backup(made(cell_ovp=3.6), place, overwrite=True)
    whole = bytearray(place.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    place.write_bytes(whole)
    try:
        found = load_backup(place)
    except BackupError:
        return
    assert found.image() == made(cell_ovp=3.6).image()


def text_of(**changes: Any) -> str:
    """A backup with other contents and its old checksum."""
    whole = made()
    fields = {name: getattr(whole, name) for name in Backup.__struct_fields__}
    return json.dumps({**fields, **changes})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"a": 1}',
        "[" * 100_000,
        "9" * 5000,
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
        text_of(slots={"59": "0102030405060708"}),
        text_of(slots={"59": "xx"}),
        text_of(slots={"zz": "00"}),
        text_of(slots={"59": 5}),
        text_of(slots=[]),
        text_of(values={"cell_ovp": float("nan")}),
        text_of(values={"cell_ovp": [1]}),
        text_of(schema=2),
        text_of(kind="other"),
        text_of(extra=1),
        text_of(sha256=""),
        text_of(time=None),
    ],
    ids=range(20),  # the texts hold the present, and tests need the same names in every process
)
def test_what_is_no_backup_of_ours_is_refused(tmp_path: Path, text: str) -> None:
    place = tmp_path / "b.json"
    place.write_text(text)
    with pytest.raises(BackupError) as caught:
        load_backup(place)
    assert str(place) in str(caught.value)
    assert len(str(caught.value)) < 400


def test_cut_off_and_huge_and_missing(tmp_path: Path) -> None:
    place = tmp_path / "b.json"
    save_backup(made(), place)
    whole = place.read_bytes()
    for part in (whole[:-40], whole[: len(whole) // 2], b"\xff\xfe" + whole, whole + b"{}"):
        place.write_bytes(part)
        with pytest.raises(BackupError):
            load_backup(place)
    place.write_bytes(whole + b" " * (4 << 20))
    with pytest.raises(BackupError, match="longer than"):
        load_backup(place)
    with pytest.raises(BackupError, match="cannot be read"):
        load_backup(tmp_path / "none.json")


def test_one_that_was_sealed_anew_by_hand_is_whole_all_the_same(tmp_path: Path) -> None:
    """Two values of one slot, of which a reader would take either; and none at all."""
    backup, place = made(), tmp_path / "b.json"
    address, raw = next((at, raw) for at, raw in backup.slots.items() if at.upper() != at)
    for slots in ({**backup.slots, address.upper(): raw}, {}):
        sealed = _sealed(msgspec.structs.replace(backup, slots=slots))
        assert sealed.intact
        save_backup(sealed, place, overwrite=True)
        if slots:
            with pytest.raises(BackupError, match="two values of one slot"):
                load_backup(place)
        else:
            assert "holds no settings" in unusable_reason(load_backup(place), WHO, MAP)


def test_a_backup_is_written_whole_and_over_nothing(tmp_path: Path) -> None:
    place = tmp_path / "b.json"
    save_backup(made(), place)
    with pytest.raises(BackupError, match="--force"):
        save_backup(made(cell_ovp=3.6), place)
    assert load_backup(place).values["cell_ovp"] != 3.6
    save_backup(made(cell_ovp=3.6), place, overwrite=True)
    assert load_backup(place).values["cell_ovp"] == 3.6
    with pytest.raises(BackupError, match="cannot be written"):
        save_backup(made(), tmp_path / "no" / "b.json")
    assert [p.name for p in tmp_path.iterdir()] == ["b.json"]  # no draft is left behind


# ------------------------------------------------------------------------------- comparing


def test_a_backup_and_the_board_it_is_of_are_alike() -> None:
    """Units and what belongs to one board alone included."""
    live, kept = side_of_table("live", table(cell_ovp=3.6)), side_of_backup("kept", made())
    (found,) = compare([live, kept])
    assert (found.key, found.shown) == ("cell_ovp", ("3.6 V", "0 V"))
    assert live.units == kept.units
    assert live.ignored == kept.ignored != frozenset()
    assert compare([live, side_of_backup("kept", made(cell_ovp=3.6))]) == []


def test_a_profile_counts_in_its_own_units_and_only_where_it_says_something() -> None:
    live = side_of_table("live", table(cell_ovp=3.6, sleep_delay=7200, chemistry="nmc"))

    def against(text: str) -> list[Difference]:
        return compare([side_of_profile("p", parse_profile(f"[settings]\n{text}")), live])

    assert against('cell_ovp = "3600 mV"\nsleep_delay = "2 h"\nchemistry = "nmc"') == []
    assert against("cell_ovp = 3.6") == []
    (found,) = against('sleep_delay = "1 h"')
    assert found.shown == ("3600 s", "7200 s")
    (found,) = against('chemistry = "lfp"')
    assert found.to_dict(["p", "live"]) == {
        "key": "chemistry",
        "unit": "",
        "values": {"p": "lfp", "live": "nmc"},
        "missing": [],
        "differs": True,
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('cell_ovp = "3.6 A"', "p: cell_ovp: 3.6 A is no value in V"),
        ('cell_ovp = "high"', "p: cell_ovp is a number, not 'high'"),
        ("cell_ovp = true", "p: cell_ovp is a number, not True"),
        ("chemistry = 1", "p: chemistry is a text, not 1.0"),
    ],
)
def test_what_no_board_can_hold_is_no_difference_but_a_mistake(text: str, why: str) -> None:
    sides = [
        side_of_profile("p", parse_profile(f"[settings]\n{text}")),
        side_of_table("live", table(cell_ovp=3.6, chemistry="nmc")),
    ]
    with pytest.raises(UsageError, match=re.escape(why)):
        compare(sides)


@pytest.mark.parametrize(("word", "on"), [('"on"', True), ("true", True), ('"off"', False)])
def test_a_switch_in_a_profile_is_on_or_off_in_words_too(word: str, on: bool) -> None:
    profile = parse_profile(f"[settings]\nbalance_switch = {word}\n")
    assert profile.settings["balance_switch"] is on
    live = Side(name="live", values={"balance_switch": on}, units={})
    assert compare([side_of_profile("p", profile), live]) == []


def test_what_a_backup_does_not_hold_is_named() -> None:
    whole = made(cell_ovp=3.6)
    slots = {at: raw for at, raw in whole.slots.items() if int(at, 16) != 0x59}
    part = _sealed(msgspec.structs.replace(whole, slots=slots))
    gone = [r.key for r in MAP.settings if r.slot == 0x59 and r.writable]
    here = table()
    assert restore.lacking(part, MAP, here.image) == gone
    assert gone
    assert restore.lacking(whole, MAP, here.image) == []
    remarks = make_plan(here, {}, identity=WHO, reading=None, raw=part).remarks
    assert f"The backup is not whole: {', '.join(gone)} stay as they are now." in remarks


def test_a_backup_names_the_place_where_it_was_made(tmp_path: Path) -> None:
    """Whatever the `target` in it says: a link may lead elsewhere by now."""
    port, other, link = tmp_path / "port", tmp_path / "other", tmp_path / "link"
    port.touch()
    other.touch()
    link.symlink_to(port)
    target = f"daly-a5+serial://{link}"
    place = {"path": [str(port)], "address": 1}
    assert named_place({"target": target, "place": place}) == target
    link.unlink()
    link.symlink_to(other)
    assert named_place({"target": target, "place": place}) == str(port)
    assert named_place({"target": target}) == target
    moved = msgspec.structs.replace(made(), target=target, place=place)
    why = restore.foreign_reason(moved, WHO, table(), elsewhere=True)
    assert why.startswith(f"The backup was made at {port}.")


def test_what_a_board_lacks_is_missing_there() -> None:
    profile = parse_profile("[settings]\ncell_ovp = 3.6\ncell_ovp_delay = 2\n")
    sides = [side_of_profile("p", profile), side_of_table("live", table(cell_ovp=3.6))]
    (found,) = compare(sides)
    assert (found.key, found.values, found.missing) == (
        "cell_ovp_delay",
        (2.0, None),
        (False, True),
    )
    assert found.shown == ("2 s", "missing")


def test_no_setting_of_any_side_is_dropped() -> None:
    """Of three and more, what only one or two have, and what no profile names, is shown too."""
    profile = parse_profile("[settings]\ncell_ovp = 3.6\n")
    one = Side(name="one", values={"cell_ovp": 3.6, "cell_uvp": 2.6, "a": 1.0}, units={})
    two = Side(name="two", values={"cell_ovp": 3.6, "cell_uvp": 2.7}, units={})
    sides = [side_of_profile("p", profile), one, two]
    assert {d.key: d.shown for d in compare(sides)} == {
        "cell_uvp": (None, "2.6 V", "2.7 V"),
        "a": (None, "1", "missing"),
    }
    first = next(iter(compare(sides, whole=True)))
    assert (first.key, first.differs) == ("cell_ovp", False)
    assert compare([side_of_profile("p", profile), one]) == []  # it says nothing of the others


def test_what_is_optional_may_be_missing() -> None:
    asked = Side(name="p", values={"x": 1.0}, units={}, partial=True, optional=frozenset("x"))
    board = Side(name="board", values={"y": 1.0}, units={})
    assert compare([asked, board]) == []
    (found,) = compare([asked, board], whole=True)[:1]
    assert found.missing == (False, True)
    assert compare([asked, Side(name="other", values={"x": 2.0}, units={})])
    # between boards, and between profiles, it is a difference all the same
    assert compare([asked, Side(name="has", values={"x": 1.0}, units={}), board])
    assert compare([asked, Side(name="q", values={}, units={}, partial=True)])
    profile = parse_profile("[settings]\ncell_ovp = 3.6\n[optional]\ncell_ovp_delay = 2\n")
    assert (
        compare([side_of_profile("p", profile), side_of_table("live", table(cell_ovp=3.6))]) == []
    )


def test_between_profiles_what_one_does_not_say_is_missing_there() -> None:
    more = parse_profile("[settings]\ncell_ovp = 3.6\ncell_uvp = 2.6\n")
    less = parse_profile('[settings]\ncell_ovp = "3600 mV"\n')
    (found,) = compare([side_of_profile("more", more), side_of_profile("less", less)])
    assert (found.key, found.shown) == ("cell_uvp", ("2.6 V", "missing"))


def test_a_value_that_a_board_does_not_tell_is_a_difference() -> None:
    silent = SettingsSnapshot(map=MAP, image={k: v for k, v in table().image.items() if k != 0x59})
    found = compare([side_of_table("a", silent), side_of_table("b", table())])
    assert {each.key for each in found} == {r.key for r in MAP.settings if r.slot == 0x59}
    assert found[0].shown[0] == "unknown"
