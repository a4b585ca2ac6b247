"""What bmslink switched off and has not given back: by the ledger, the journal, and the board.

For whoever has a pack whose current does not flow and no service that says why. Nothing is sent
that changes the board.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from bmslink.board import Board
from bmslink.config.identity.known_as import pack_of
from bmslink.config.switching.off_marks import last_commands
from bmslink.control.act.actuator import ACTUATORS
from bmslink.control.act.actuators import prepare
from bmslink.control.act.facts import states_of
from bmslink.control.act.ledger import SwitchRecord
from bmslink.control.act.mandate import STOPPED_BY, left_holders
from bmslink.control.act.store import KeptLedger, kept_ledger
from bmslink.model import Identity, Switch
from bmslink.places import place_of
from bmslink.runtime.acting.start import pack_key
from bmslink.service_values import of_form
from bmslink.storage.journal import Journal

__all__ = [
    "DRILL",
    "Orphan",
    "Orphans",
    "find_orphans",
    "off_since",
    "orphans",
    "switch_on_command",
]

DRILL = "drill"
"""The event of the journal that a drill writes, before and after each switch."""
_NOBODY = (
    "neither the ledger nor the journal says who did it: an app, a button, another program, or the "
    "BMS itself"
)


class Orphan(msgspec.Struct, frozen=True, kw_only=True):
    """One switch that is off, or was when we last knew."""

    switch: str
    """`charge`, `discharge` or `balance`."""
    by: str
    """`policy`, `person`, `emergency stop`, `drill` or `unknown`."""
    since: str | None
    """UTC, ISO 8601; `None`: not known."""
    why: str
    """In words."""
    shown: bool | None
    """How the board shows it now: `False`, or `None` where it does not."""
    source: str
    """Who says so: `ledger`, `journal` or `board`."""
    command: str
    """What switches it on without any service."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


class Orphans(msgspec.Struct, frozen=True):
    """Of one pack."""

    pack: str
    """Who it is, as in its ledger."""
    states: dict[str, bool | None] = msgspec.field(name="switches")
    """How the board shows its switches."""
    rows: tuple[Orphan, ...] = msgspec.field(name="orphans")
    trouble: tuple[str, ...] = ()
    """What could not be read, in sentences."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "pack": self.pack,
            "switches": self.states,
            "orphans": [row.to_dict() for row in self.rows],
            "trouble": list(self.trouble),
        }


def switch_on_command(board: Board, switch: str, kept: KeptLedger | None = None) -> str:
    """What a person types to switch it on; where its ledger says that something holds it off, or
    cannot be read, letting go of that comes first."""
    word = shlex.quote(board.target.word)
    command = f"bmslink switch {word} {switch} on"
    ledger = None if kept is None else kept.ledger
    held = ledger is not None and (ledger.stop or left_holders(ledger.record(switch)))
    if held or (kept is not None and kept.trouble):
        return f"bmslink control reset {word} && {command}"
    return command


async def orphans(device: Board, journal: Journal | None = None) -> Orphans:
    """Look at the board, the ledger and the journal; of a served pack, at those of the service.
    Raises `LinkTimeout`, …, `JournalError`."""
    if there := device.elsewhere("orphans"):
        return of_form(Orphans, await there())
    identity = await device.identify()
    states = await shown_states(device)
    journal = journal or Journal()
    key = pack_key(device, identity)
    kept = kept_ledger(key)
    rows = find_orphans(device, identity, key, states, kept, journal)
    return Orphans(key, states, tuple(rows), (kept.trouble,) if kept.trouble else ())


async def shown_states(device: Board) -> dict[str, bool | None]:
    """How the board shows its switches now: asked for where readings show them late."""
    states = states_of(await device.read())
    prepared = await prepare(device, waive=("untested",))
    for name, actuator in prepared.actuators.items():
        if actuator.seldom_told or states.get(str(name)) is None:
            states[str(name)] = await actuator.state()
    return states


class _Said(NamedTuple):
    by: str
    since: str | None
    why: str
    source: str


def find_orphans(
    device: Board,
    identity: Identity,
    key: str,
    states: Mapping[str, bool | None],
    kept: KeptLedger,
    journal: Journal,
) -> Iterator[Orphan]:
    """The same by what was read already; raises `JournalError`."""
    records = [record for record in journal.records() if record.get("event") in (DRILL, "acting")]
    people = last_commands(journal, place_of(device.target), pack_of(identity))
    for name in ACTUATORS:
        if states.get(name):
            continue
        said = (
            _by_ledger(name, str(device.target), kept, records)
            or _by_drill(name, key, records)
            or _by_person(name, people)
            or _by_policies(name, str(device.target), kept, records)
        )
        if said is None and name != "balance" and states.get(name) is False:
            said = _Said("unknown", None, _NOBODY, "board")
        if said is not None:
            yield Orphan(
                switch=name, by=said.by, since=said.since, why=said.why, shown=states.get(name),
                source=said.source, command=switch_on_command(device, name, kept),
            )  # fmt: skip


def _by_ledger(
    name: str, target: str, kept: KeptLedger, records: list[Mapping[str, Any]]
) -> _Said | None:
    if kept.ledger is None:
        return None
    record, stop = kept.ledger.record(name), kept.ledger.stop
    if not record.own and not record.person:
        return None
    order, about = record.order, ("command", target, name, False)
    told = [r for r in records if order is not None and _is_order(r, about, order.id)]
    # a ledger counts no time in which nothing acted, so the journal knows better
    since = (_time(told[-1]) if told else None) or off_since(record, kept)
    if stop is not None:
        why = f"{stop.who} stopped everything, until a reset"
        return _Said("emergency stop", since, why, "ledger")
    if record.person:
        return _Said("person", since, f"{record.person} switched it off", "ledger")
    left = ", ".join(record.holders) or "a policy, which holds no more"
    why = str(told[-1].get("why")) if told else left
    if why.startswith(STOPPED_BY):
        return _Said("emergency stop", since, f"{why}, which was reset since", "ledger")
    return _Said("policy", since, why, "ledger")


def off_since(record: SwitchRecord, kept: KeptLedger) -> str | None:
    """When the last off went out, by a ledger on the disk: UTC; `None`: not known."""
    if record.off_at is None or kept.saved is None:
        return None
    return _utc(kept.saved + timedelta(seconds=record.off_at))


def _is_order(record: Mapping[str, Any], about: tuple[object, ...], order: int) -> bool:
    """Every pack counts its orders from one, and the journal is that of all packs."""
    said = tuple(record.get(key) for key in ("what", "target", "actuator", "on"))
    return said == about and record.get("id") == order


def _by_drill(name: str, key: str, records: list[Mapping[str, Any]]) -> _Said | None:
    """A drill that was killed, or could not switch it on again."""
    last: Mapping[str, Any] | None = None
    for record in records:
        if (record.get("event"), record.get("pack"), record.get("switch")) == (DRILL, key, name):
            over = record.get("phase") == "end" and record.get("restored") is True
            last = None if over else last or record
    if last is None:
        return None
    why = f"a drill by {last.get('user') or 'somebody'} ended before it was on again"
    return _Said("drill", _time(last), why, "journal")


def _by_person(name: str, people: Mapping[Switch, Mapping[str, Any]]) -> _Said | None:
    begin = people.get(Switch(name))
    if begin is None or begin.get("on") is not False:
        return None
    why = f"{begin.get('user') or 'somebody'} switched it off with `bmslink switch`"
    return _Said("person", _time(begin), why, "journal")


def _by_policies(
    name: str, target: str, kept: KeptLedger, records: list[Mapping[str, Any]]
) -> _Said | None:
    """By the journal, where there is no ledger that says more."""
    if kept.ledger is not None:
        return None
    about = ("acting", "command", target, name)
    sent = [
        record
        for record in records
        if tuple(map(record.get, ("event", "what", "target", "actuator"))) == about
        if record.get("sent") is not False
    ]
    if not sent or sent[-1].get("on") is not False:
        return None
    return _Said("policy", _time(sent[-1]), str(sent[-1].get("why")), "journal")


def _time(record: Mapping[str, Any]) -> str | None:
    found = record.get("time")
    return found if isinstance(found, str) else None


def _utc(moment: datetime) -> str:
    text = moment.astimezone(UTC).isoformat(timespec="seconds")
    return text.replace("+00:00", "Z")
