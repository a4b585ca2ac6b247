"""Sessions that hold settings, writes, and settings again: our maps see exactly those changes.

Also: every settings record that was captured decodes to values that our own limits allow, and a
map calls a firmware proven only where its settings were recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from test_vendor_writes import write_of

import bmslink
import goldens
from bmslink.errors import SettingError
from bmslink.link.capture import open_capture
from bmslink.link.link import Frame
from bmslink.protocols.common.fields import parse, text
from bmslink.protocols.common.rtu import RTUFrame
from bmslink.protocols.common.settings_map import SettingsMap, SettingsSnapshot
from bmslink.protocols.daly.a5.codec import DalyFrame
from bmslink.protocols.jbd.framing import JBDFrame
from bmslink.protocols.jk.jk02.framing import JK02Frame
from bmslink.protocols.jk.jk02.layouts import DEVICE_INFO
from bmslink.protocols.jk.jk04.map import jk04_map
from bmslink.protocols.jk.map import jk_map, slot_bytes, writable
from bmslink.settings.setting import Evidence, Value
from known_boards import BOARDS
from support import about, virtual_run

SETTINGS, INFO = 0x01, 0x03
Image = dict[int, bytes]


class Session:
    """One capture, frame by frame: what is written, and what is read."""

    def __init__(self, path: Path) -> None:
        self.header, self.lines = open_capture(path)
        self.firmware = self.header.firmware
        self.variant = self.header.variant or ("32s" if path.parent.name == "jk-bus" else "")
        self.table = bytes(293)
        self.command_flags = bytes(32)
        self.asked = 0

    def events(self) -> Iterator[tuple[str, Image]]:
        """`written` and `read`, each with slots and their bytes."""
        pieces = [goldens.whole(self.header, line) for line in self.lines]
        for sent, frame in goldens.frames(self.header, pieces):
            write = write_of(frame) if sent else None
            if write is not None:
                yield "written", {write[1]: write[2]}
            elif sent and isinstance(frame, RTUFrame):
                self.asked = frame.register
            elif not sent:
                image = self._read(frame)
                if image:
                    yield "read", image

    def _read(self, frame: Frame) -> Image:
        if isinstance(frame, JBDFrame):
            known = 0x10 <= frame.mark < 0x48 and not frame.module
            return {frame.mark: frame.data} if known and len(frame.data) == 2 else {}
        if isinstance(frame, JK02Frame):
            return self._native(frame)
        if isinstance(frame, RTUFrame) and frame.shape == "data":
            return self._registers(frame.data)
        if isinstance(frame, DalyFrame):
            return {frame.id: frame.data} if 0x50 <= frame.id < 0x90 else {}
        return {}

    def _registers(self, data: bytes) -> Image:
        """What an answer holds of the slots; FFFF is how these boards say that they have none."""
        found = {}
        for slot in self.map().slots:
            at = 2 * (slot.address - self.asked)
            raw = data[at : at + slot.layout.sizeof()] if at >= 0 else b""
            if len(raw) == slot.layout.sizeof() and set(raw) != {0xFF}:
                found[slot.address] = raw
        return found

    def _native(self, frame: JK02Frame) -> Image:
        if frame.command:
            return {}
        if frame.code == INFO:
            info = parse(DEVICE_INFO, frame.data, "info")
            self.firmware = text(info["software_version"])
            self.command_flags = info["command_flags"]
        if frame.code != SETTINGS:
            return {}
        self.table = frame.data
        if self.header.protocol == "jk04":
            sizes = {s.address: s.layout.sizeof() for s in BOARDS["jk04"].map.slots}
            return {at: frame.data[at : at + size] for at, size in sizes.items()}
        found = {at: slot_bytes(self.variant, at, frame.data) for at in writable(self.variant)}
        return {at: raw for at, raw in found.items() if raw is not None}

    def map(self) -> SettingsMap:
        protocol = self.header.protocol
        if protocol in ("jk02", "jk-bus"):
            return jk_map(self.variant, self.firmware, self.table, self.command_flags)
        if protocol == "jk04":
            return jk04_map(self.firmware)
        return next(b.map for b in BOARDS.values() if b.protocol == protocol)


@cache
def session(path: Path) -> tuple[SettingsMap, list[tuple[str, Image]]]:
    found = Session(path)
    events = list(found.events())
    return found.map(), events


@cache
def with_settings() -> list[Path]:
    """Captures that hold settings."""
    kinds = ("jk02", "jk04", "jk-bus", "jbd", "daly-d2", "daly-p81", "daly-a5", "daly-can")
    return [
        path
        for path in goldens.captures()
        if path.parent.name in kinds and any(kind == "read" for kind, _ in session(path)[1])
    ]


class Seen(NamedTuple):
    """What one map makes of a session."""

    changes: dict[str, tuple[Value | None, Value | None]]
    """Key -> value before and after, of all that differs between two readings."""
    written: dict[str, Value | None]
    """Key -> value, by the bytes that were written between them."""


def seen(path: Path) -> Iterator[Seen]:
    """Every reading after a write, compared with the one before."""
    settings_map, events = session(path)
    held: Image = {}
    since: Image = {}
    for kind, image in events:
        known = {at: raw for at, raw in image.items() if at in settings_map.by_address}
        if kind == "written":
            since |= known
            continue
        both = known.keys() & held.keys()
        before = settings_map.decode({at: held[at] for at in both})
        after = settings_map.decode({at: known[at] for at in both})
        live = {row.key for row in settings_map.settings if row.live}
        changed = {
            key: (before[key], after[key])
            for key in before
            if key not in live and before[key] != after[key]
        }
        meant = {at: since.pop(at) for at in both & since.keys()}
        values = settings_map.decode(meant)
        keys = [row.key for row in settings_map.settings if row.slot in meant]
        yield Seen(changed, {key: values[key] for key in keys})
        held |= known


def with_writes() -> list[Path]:
    return [p for p in with_settings() if any(kind == "written" for kind, _ in session(p)[1])]


def test_what_was_written_and_nothing_else_has_changed() -> None:
    assert len(with_writes()) > 5
    for path in with_writes():
        with about(path):
            nothing_else_has_changed(path)


def nothing_else_has_changed(path: Path) -> None:
    for changes, written in seen(path):
        assert {key: after for key, (_, after) in changes.items()}.items() <= written.items()
        # what was written and does not show as a change stood there before already
        for key in written.keys() - changes.keys():
            assert after_of(path, key, written[key])


def after_of(path: Path, key: str, value: Value | None) -> bool:
    """Whether a capture holds a setting with this value."""
    settings_map, events = session(path)
    slot = settings_map.setting(key).slot
    return any(
        settings_map.decode(image)[key] == value
        for kind, image in events
        if kind == "read" and slot in image
    )


def test_the_recorded_changes_by_name() -> None:
    """What the captures prove: a write, and another value read after it than before."""
    found = {
        (path.stem, key, *change)
        for path in with_settings()
        for changes, written in seen(path)
        for key, change in changes.items()
        if key in written
    }
    assert {(stem, key) for stem, key, _, _ in found} == {
        ("sess-jk02-32s-b2a20s20p-11.288H-port-heating", "jk_heating"),
        ("sess-jk02-32s-b2a20s20p-11.288H-port-heating", "jk_port_rs485"),
        ("sess-jk04-b2a16s-writes", "balance_current"),
        ("sess-jk04-b2a16s-writes", "jk_power_off_voltage"),
        ("daly-d2-balancer-btsnoop", "daly_balancer_switch"),
    }
    assert ("sess-jk04-b2a16s-writes", "balance_current", 1.0, 2.0) in found


def test_a_recorded_value_is_one_that_could_be_written() -> None:
    assert len(with_settings()) > 20
    for path in with_settings():
        with about(path):
            could_be_written(path)


def could_be_written(path: Path) -> None:
    """Our limits, steps and words fit what real boards hold; what means "none" is `None`."""
    settings_map, events = session(path)
    for kind, image in events:
        if kind == "written":
            continue
        known = {at: raw for at, raw in image.items() if at in settings_map.by_address}
        for key, value in settings_map.decode(known).items():
            row = settings_map.setting(key)
            if value is not None and row.writable and path.stem not in STRANGE:
                assert row.check(value) == value, f"{path.stem}: {key} = {value}"


STRANGE: Mapping[str, str] = {
    "daly-d2-balancer-btsnoop": "a balancer protects nothing: its limits are 0, -40 °C and 500 V",
}
"""Boards that hold what is beyond our limits, and why that is no reason to widen them."""


def test_a_firmware_is_called_proven_only_where_its_settings_were_recorded() -> None:
    """Of the firmwares that anybody recorded: those without their settings are untested."""
    told: dict[tuple[str, str], bool] = {}
    maps: dict[tuple[str, str], SettingsMap] = {}
    for path in goldens.captures():
        if path.parent.name not in ("jk02", "jk04", "jk-bus"):
            continue
        found = Session(path)
        kinds = {kind for kind, _ in found.events()}
        if found.firmware and found.variant in ("24s", "32s", "") and " " not in found.firmware:
            key = (found.header.protocol.replace("jk-bus", "jk02") + found.variant, found.firmware)
            told[key] = told.get(key, False) or "read" in kinds
            maps[key] = found.map()
    assert told["jk0232s", "19.27"] is False
    assert told["jk0232s", "15.41"] is True
    for key, recorded in told.items():
        assert bool(maps[key].untested_reason) is not recorded, key


def test_what_means_none_is_no_number() -> None:
    d2, p81, a5 = (BOARDS[name].map for name in ("daly-d2", "daly-p81", "daly-a5"))
    assert d2.decode({0x8A: b"\xff\xff", 0xA2: b"\0\xff"})["sleep_delay"] is None  # never
    assert d2.decode({0xA2: b"\0\xff"})["temperature_delta"] is None  # off
    assert d2.decode({0x98: b"\0\xff"})["charge_otp"] is None
    assert d2.decode({0x95: b"\x74\x90"})["discharge_ocp_warning"] is None  # the other side of 0 A
    assert p81.decode({0x115: b"\xff\xff"})["sleep_delay"] is None
    assert a5.decode({0x53: bytes.fromhex("00011801 01 ffff 00")})["sleep_delay"] is None
    assert a5.decode({0x53: bytes.fromhex("00011801 01 0e10 00")})["sleep_delay"] == 3600.0


def test_old_jk_boards_do_not_have_the_registers_that_hold_nothing() -> None:
    """Smart sleep holds 0.6 V, four other cell voltages 0, on all recorded 24S boards."""
    absent = {"jk_smart_sleep_voltage", "full_charge_voltage", "empty_voltage",
              "jk_request_charge_voltage", "float_voltage"}  # fmt: skip
    path = next(p for p in with_settings() if p.stem == "jk02-24s-b2a24s20p-10.02")
    settings_map, events = session(path)
    values = settings_map.decode(next(image for kind, image in events if kind == "read"))
    assert {key for key, value in values.items() if value is None} == absent
    assert {row.key for row in settings_map.settings if not row.writable} == absent


def test_the_settings_of_up_packs_are_shown_and_never_written() -> None:
    path = next(p for p in goldens.captures() if p.stem == "jbd-syssi-up16s020-two-devices")
    header, pieces = open_capture(path)
    found = [frame for sent, frame in goldens.frames(header, pieces) if not sent]
    image = {f.start: f.data for f in found if f.start in (0x1800, 0x1C00) and f.is_answer}
    settings_map = BOARDS["jbd-up"].map
    values = settings_map.decode(image)
    shown = ("jbd_up_cell_ovp", "jbd_up_pack_uvp_release", "jbd_up_discharge_utp",
             "jbd_up_charge_ocp_2_delay", "jbd_up_balance_delta")  # fmt: skip
    assert [values[key] for key in shown] == [3.65, 48.0, -20.0, 0.5, 0.03]
    assert None not in values.values()
    units = [settings_map.setting(key).unit for key in shown]
    assert units == ["V", "V", "°C", "s", "V"]
    for key, value in values.items():
        with pytest.raises(SettingError, match="nobody was ever recorded"):
            settings_map.encode(image, {key: value})


async def settings_of(target: str) -> SettingsSnapshot:
    async with bmslink.connect(target).board as device:
        return await device.settings()


def test_a_relayed_up_pack_says_why_it_shows_no_settings() -> None:
    assert virtual_run(settings_of("sim://jbd-up")).values()["jbd_up_cell_ovp"] == 3.65
    with pytest.raises(SettingError, match="on its own line"):
        virtual_run(settings_of("sim://jbd-up?address=2"))


def test_newer_jbd_boards_have_six_more_points_known_from_a_document() -> None:
    points = {f"jbd_soc_{n}_voltage" for n in (10, 30, 50, 70, 90, 100)}
    newer, older = (virtual_run(settings_of(f"sim://jbd?firmware={v}")) for v in ("2.1", "8.0"))
    assert points <= newer.values().keys()
    assert None not in {newer.values()[key] for key in points}
    assert {newer.map.setting(key).evidence for key in points} == {Evidence.DOCUMENT}
    assert not points & older.values().keys()


def test_jbd_boards_that_count_tenfold_show_ten_times_as_much_and_take_none_of_it() -> None:
    keys = ("nominal_capacity", "cycle_capacity", "charge_ocp", "discharge_ocp")
    image = {0x10: b"\x0b\xb8", 0x11: b"\x0b\xb8", 0x28: b"\x13\x88", 0x29: b"\xec\x78"}
    plain, tenfold = (BOARDS[name].map for name in ("jbd", "jbd-tenfold"))
    assert [plain.decode(image)[key] for key in keys] == [30.0, 30.0, 50.0, 50.0]
    assert [tenfold.decode(image)[key] for key in keys] == [300.0, 300.0, 500.0, 500.0]
    for key in keys:
        with pytest.raises(SettingError, match="tenfold"):
            tenfold.encode(image, {key: 100.0})
