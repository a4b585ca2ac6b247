"""What is remembered of switches: over a restart, over versions, and on a disk that fails."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmslink.control.act.consent import (
    Acts,
    ConsentError,
    approval_of,
    approve,
    may_enforce,
    withdraw,
)
from bmslink.control.act.ledger import (
    Ledger,
    LedgerDamaged,
    Order,
    Owner,
    Stop,
    SwitchRecord,
    load_ledger,
    save_ledger,
)
from bmslink.control.act.store import LedgerStore
from bmslink.storage import state

ages = st.floats(0, 1e5).map(lambda age: round(age, 3))
names = st.text("abc_", min_size=1, max_size=6)
NOW = 200_000.0


@st.composite
def records(draw: st.DrawFn) -> SwitchRecord:
    def moments(longest: float) -> tuple[float, ...]:
        found = draw(st.lists(st.floats(0, longest), max_size=4))
        return tuple(NOW - age for age in found)

    order = None
    if draw(st.booleans()):
        order = Order(
            id=draw(st.integers(1, 99)),
            on=False,
            at=NOW - draw(ages),
            last=NOW - draw(ages),
            tries=draw(st.integers(1, 9)),
            read_back=draw(st.sampled_from([None, True, False])),
        )
    return SwitchRecord(
        prior=draw(st.sampled_from([None, True, False])),
        own=draw(st.booleans()),
        confirmed=draw(st.booleans()),
        owner=draw(st.sampled_from(Owner)),
        holders=tuple(draw(st.lists(names, max_size=3))),
        person=draw(st.sampled_from(["", "anna"])),
        order=order,
        seen=draw(st.sampled_from([None, True, False])),
        off_at=draw(st.none() | ages.map(lambda age: NOW - age)),
        enables=moments(3600),
        writes=moments(86400),
        written=draw(st.integers(0, 9999)),
        clashes=moments(600),
        down=draw(st.none() | ages.map(lambda age: NOW - age)),
        asserted=tuple(draw(st.lists(names, max_size=2))),
        futile=draw(st.integers(0, 3)),
    )


ledgers = st.builds(
    lambda a, b, stop: msgspec.structs.replace(
        Ledger.new("pack", 0.0), charge=a, discharge=b, stop=stop, uptime=5.0
    ),
    records(),
    records(),
    st.sampled_from([None, Stop("anna", "smoke")]),
)


def through_json(plain: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(plain, allow_nan=False))
    return found


@settings(max_examples=40, deadline=None)
@given(ledgers, st.floats(0, 1e6))
def test_saving_keeps_all_that_makes_a_restriction_last(ledger: Ledger, start: float) -> None:
    back = load_ledger(through_json(save_ledger(ledger, NOW)), "pack", start)
    assert back.stop == ledger.stop
    for name in ("charge", "discharge", "balance"):
        old, new = ledger.record(name), back.record(name)
        for field in ("prior", "own", "confirmed", "owner", "holders", "person", "seen", "written",
                      "asserted", "futile"):  # fmt: skip
            assert getattr(new, field) == getattr(old, field), field
        for field in ("enables", "writes", "clashes"):
            aged = [NOW - t for t in getattr(old, field)]
            assert [start - t for t in getattr(new, field)] == pytest.approx(aged, abs=1e-3)
        assert (new.down is None) == (old.down is None)
        assert (new.order is None) == (old.order is None)


def test_what_this_version_does_not_know_is_kept() -> None:
    plain = through_json(save_ledger(Ledger.new("pack", 0.0), 5.0))
    plain["heater"] = {"own": True}
    plain["charge"]["mood"] = 7
    again = save_ledger(load_ledger(plain, "pack", 0.0), 0.0)
    assert again["heater"] == {"own": True}
    assert again["charge"]["mood"] == 7
    assert "mood" not in again["discharge"]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("charge",), None),
        (("charge", "off_at"), -1.0),
        (("charge", "off_at"), math.inf),
        (("charge", "writes"), [1.0, math.nan]),
        (("charge", "own"), "yes"),
        (("charge", "order"), {"id": 1, "on": False, "at": -5.0, "last": 0.0}),
        (("pack",), "another"),
        (("stop",), "smoke"),
        (("schema",), "1"),
    ],
)
def test_a_damaged_ledger_is_refused(where: tuple[str, ...], value: Any) -> None:
    plain = through_json(save_ledger(Ledger.new("pack", 0.0), 5.0))
    place = plain
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    with pytest.raises(LedgerDamaged, match="pack"):
        load_ledger(plain, "pack", 0.0)


def test_what_a_driver_may_ask_of_it() -> None:
    on = Order(id=1, on=True, at=0.0, last=0.0, read_back=True)
    ledger = msgspec.structs.replace(
        Ledger.new("pack", 0.0),
        charge=SwitchRecord(own=True, confirmed=True, seen=False),
        discharge=SwitchRecord(order=on, seen=True),
    )
    assert [ledger.remembered(n) for n in ("charge", "discharge", "balance")] == [False, True, None]
    unread = ledger.with_record("charge", SwitchRecord(own=True))
    assert unread.remembered("charge") is None


# -- the disk ------------------------------------------------------------------------------------


def owning() -> Ledger:
    own = SwitchRecord(
        prior=True, own=True, confirmed=True, owner=Owner.OURS, seen=False, off_at=90.0
    )
    return Ledger.new("pack", 0.0).with_record("charge", own)


@pytest.mark.real_time
async def test_what_is_saved_is_found_again(tmp_path: Path) -> None:
    kept = LedgerStore("pack", tmp_path)
    assert kept.load(5.0) == (Ledger.new("pack", 5.0), "")
    assert await kept.saved(owning(), 100.0)
    found, trouble = LedgerStore("pack", tmp_path).load(7.0)
    assert trouble == ""
    assert found.charge.own
    assert found.charge.off_at == -3.0
    assert LedgerStore("other", tmp_path).load(7.0).ledger.charge == SwitchRecord()
    assert kept.file.stat().st_mode & 0o777 == 0o600
    kept.close()


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff", b'{"schema": 1}', b"{" * 5000])
def test_a_damaged_file_is_put_aside_and_gives_nothing_back(tmp_path: Path, data: bytes) -> None:
    kept = LedgerStore("pack", tmp_path)
    kept.file.write_bytes(data)
    ledger, trouble = kept.load(0.0)
    assert ledger == Ledger.new("pack", 0.0)
    assert "only a person" in trouble
    assert kept.file.with_suffix(".damaged").read_bytes() == data
    assert kept.save(owning(), 100.0).result(5)
    kept.close()


@pytest.mark.real_time
async def test_a_full_disk_stops_enables_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    kept = LedgerStore("pack", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(state, "replace_file", full)
        assert not await kept.saved(owning(), 100.0)
        assert not kept.well
        assert "No space left" in kept.trouble
    assert await kept.saved(owning(), 100.0)
    assert kept.well
    kept.close()


@pytest.mark.real_time
async def test_a_disk_that_hangs_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, written = threading.Event(), []

    def hang(file: Path, data: bytes) -> None:
        goes_on.wait(10)
        written.append(data)

    monkeypatch.setattr(state, "replace_file", hang)
    kept = LedgerStore("pack", tmp_path)
    loop = asyncio.get_running_loop()
    begin = loop.time()
    first = kept.save(owning(), 100.0)
    later = [kept.save(owning(), 100.0 + n) for n in range(50)]
    assert not await kept.saved(owning(), 200.0, patience=0.1)
    assert loop.time() - begin < 2.0
    assert not kept.well
    goes_on.set()
    for future in (first, *later):
        assert await asyncio.wrap_future(future)
    assert len(written) <= 2, "what a newer one holds is not written"
    assert kept.well
    kept.close()


# -- who lets it act -----------------------------------------------------------------------------


def test_a_changed_file_only_watches_beside_the_approved_one(tmp_path: Path) -> None:
    nothing = may_enforce(None, "pack", "a")
    assert (nothing.acts, nothing.enforced, nothing.alarm) == (Acts.NOTHING, None, True)
    approve("pack", "a = 1\n", path="p.toml", by="anna", folder=tmp_path)
    found = approval_of("pack", tmp_path)
    assert may_enforce(found, "pack", "a = 1\n")[:3] == (Acts.THIS, "a = 1\n", False)
    kept = may_enforce(found, "pack", "a = 2\n")
    assert kept[:3] == (Acts.KEPT, "a = 1\n", True)
    assert "anna" in kept.text
    assert may_enforce(found, "other", "a = 1\n").acts is Acts.NOTHING
    assert approval_of("other", tmp_path) is None
    assert withdraw("pack", tmp_path)
    assert not withdraw("pack", tmp_path)
    assert approval_of("pack", tmp_path) is None


def test_an_approval_that_was_altered_is_none(tmp_path: Path) -> None:
    approve("pack", "trip = 3.65", path="p.toml", by="anna", folder=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes().replace(b"3.65", b"9.65"))
    with pytest.raises(ConsentError, match="altered"):
        approval_of("pack", tmp_path)
    assert approval_of("pack", tmp_path) is None
    for data in (b"{", b'{"schema": 1, "pack": 7}'):
        file.write_bytes(data)
        with pytest.raises(ConsentError, match="again"):
            approval_of("pack", tmp_path)
