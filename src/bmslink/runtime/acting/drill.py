"""The proof that switches obey: on a pack at rest, each once off and on, measured and read back.

The road is the one that policies take (`control.act.actuators`). What a drill is about to switch
off is in the journal first, so that a drill that is killed is found again (`orphans`). Whatever
ends it, it switches on what it switched off.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Collection, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bmslink.board import Board
from bmslink.config.checks.check import require_waivers
from bmslink.config.switching.joining import JOIN, freshen, tell_join, why_not_join
from bmslink.control.act.actuators import BoardActuator, prepare
from bmslink.control.act.consent import ConsentError, approval_of
from bmslink.control.act.facts import states_of
from bmslink.control.act.ledger import Ledger
from bmslink.control.act.store import kept_ledger
from bmslink.control.decide.quantities import blocked_by
from bmslink.control.files import parse_policies
from bmslink.errors import BmsError, GateError, TargetError
from bmslink.model import Condition, Identity, Reading, Switch
from bmslink.runtime.acting.drill_report import DrillPlan, DrillReport, DrillRow, DrillTurn
from bmslink.runtime.acting.orphans import DRILL, find_orphans, shown_states, switch_on_command
from bmslink.runtime.acting.start import acted_on_elsewhere, lock_acting, pack_key
from bmslink.service_values import of_form
from bmslink.storage.journal import Journal, JournalError, actor_name

__all__ = [
    "REST",
    "Drill",
    "DrillPlan",
    "DrillReport",
    "DrillRow",
    "approved_host_power",
    "to_its_end",
]

T = TypeVar("T")

REST = 1.0
"""A pack is at rest below this current, A: opening a FET under load is no drill."""
_LOOKS, _BETWEEN = 3, 1.0
"""How often that is looked at before anything is sent, and how far apart, s."""
_OLD = timedelta(seconds=10)


def approved_host_power(key: str) -> str | None:
    """What the approved policy file of a pack says of what feeds this computer; `None`: nothing
    is approved, or it does not say."""
    try:
        approval = approval_of(key)
    except ConsentError:
        return None
    if approval is None:
        return None
    with suppress(TargetError):
        return parse_policies(approval.text, Path(approval.path)).battery.host_power
    return None


class Drill:
    """One drill of one open board: `prepare`, then a person agrees, then `run`."""

    def __init__(
        self,
        board: Board,
        *,
        switches: Collection[Switch] = (),
        host_power: str | None = None,
        waive: Collection[str] = (),
        journal: Journal | None = None,
    ) -> None:
        """`switches`: those alone, and it is an error where one cannot be drilled. `host_power`:
        `pack` or `other`, what feeds this computer; else what the approved file says."""
        self.left: dict[str, str] = {}
        """What is left out: switch -> why."""
        self.tried: tuple[str, ...] = ()
        """What `run` switches, in this order."""
        self.key = ""
        self._board, self._wanted = board, tuple(switches)
        self._host_power, self._waive = host_power, require_waivers(waive, keys=())
        self._journal = journal or Journal()
        self.over = asyncio.Event()
        """Set when `run` has ended."""
        self._abandoned = False
        self._actuators: Mapping[str, BoardActuator] = {}

    async def prepare(self) -> None:
        """Look whether it may be; nothing is sent that changes the board. Raises `GateError` where
        not, and what reading raises."""
        board = self._board
        if there := board.elsewhere("drill"):
            plan = of_form(DrillPlan, await there(self._request(None)))
            self.key, self.tried, self.left = plan.pack, plan.tried, plan.left
            return
        identity = await board.identify()
        self.key = pack_key(board, identity)
        kept = kept_ledger(self.key)
        if kept.trouble:
            raise GateError(f"Nothing was sent. {kept.trouble}")
        if await asyncio.to_thread(acted_on_elsewhere, board, identity):
            raise _busy(self.key)
        states = await shown_states(board)
        if kept.ledger is not None:
            _require_free(kept.ledger, states)
        await self._at_rest()
        self._require_no_orphan(identity, states)
        await freshen(board, tuple(Switch))
        ledger = kept.ledger or Ledger.new(self.key, 0.0)
        found = await prepare(board, waive=self._waive, remembered=ledger.remembered)
        self._actuators = {str(name): each for name, each in found.actuators.items()}
        self._choose(states, {str(name): why for name, why in found.unable.items()})

    def _choose(self, states: Mapping[str, bool | None], unable: Mapping[str, str]) -> None:
        """Which switches are tried."""
        names = [str(switch) for switch in self._wanted or tuple(Switch)]
        self.left = {name: why for name in names if (why := self._against(name, states, unable))}
        if self.left and (self._wanted or len(self.left) == len(names)):
            raise GateError(f"Nothing was sent: {' '.join(self.left.values())}")
        self.tried = tuple(name for name in names if name not in self.left)

    def _against(
        self, name: str, states: Mapping[str, bool | None], unable: Mapping[str, str]
    ) -> str:
        """Why a switch is not tried, in a sentence; empty: it is."""
        if name in unable:
            return unable[name]
        if name == "discharge" and (why := self._feeds_host()):
            return why
        if states.get(name) is False:
            return f"{name} is off: a drill switches nothing on that it did not switch off."
        if states.get(name) is None:
            return f"The board does not show how {name} is, so nobody could see that it obeys."
        if why := self._against_bank(name):
            return (
                f"{name} might not be switched on again: {why} Where you know that no harm comes "
                f"of it, waive the check {JOIN}."
            )
        return ""

    def _against_bank(self, name: str) -> str:
        """Why a switch that is open may not close beside other packs, in a sentence; empty: it
        may."""
        if JOIN in self._waive:
            return ""
        return why_not_join(self._board, Switch(name), opened=True)

    def _feeds_host(self) -> str:
        power = self._host_power or approved_host_power(self.key)
        if power == "other":
            return ""
        if power == "pack":
            return (
                'discharge is not drilled: host_power is "pack", so this computer would go off '
                "with it, and could not switch it on again."
            )
        return (
            "discharge is not drilled: nobody says what feeds this computer. Name a policy file "
            'with host_power = "other" in its [battery], if the pack does not.'
        )

    async def _at_rest(self) -> None:
        for left in reversed(range(_LOOKS)):
            if why := not_at_rest(await self._board.read()):
                raise GateError(f"Nothing was sent: {why}")
            if left:
                await asyncio.sleep(_BETWEEN)

    def _require_no_orphan(self, identity: Identity, states: Mapping[str, bool | None]) -> None:
        kept = kept_ledger(self.key)
        for each in find_orphans(self._board, identity, self.key, states, kept, self._journal):
            if each.by == "drill":
                raise GateError(
                    f"Nothing was sent: {each.switch} is off since {each.since}: {each.why}. "
                    f"`{each.command}` switches it on."
                )

    def _request(self, agreed: Collection[str] | None) -> dict[str, Any]:
        """What a service is asked."""
        return {
            "switches": [str(switch) for switch in self._wanted],
            "host_power": self._host_power,
            "waive": sorted(self._waive),
            "agreed": None if agreed is None else list(agreed),
        }

    @property
    def plan(self) -> DrillPlan:
        """What `run` does, once it is prepared."""
        return DrillPlan(pack=self.key, tried=self.tried, left=self.left)

    def abandon(self) -> None:
        """Somebody switches off meanwhile: nothing is switched on any more."""
        self._abandoned = True

    async def run(self) -> DrillReport:
        """Switch each off and on. Raises `GateError` where another program acts on the pack,
        `JournalError` where nothing can be written down (nothing was sent then)."""
        if there := self._board.elsewhere("drill"):
            return of_form(DrillReport, await there(self._request(self.tried)))
        rows = [DrillRow(switch=n, result="left_out", why=why) for n, why in self.left.items()]
        try:
            with _alone(self.key):
                for name in self.tried:
                    row = await self._one(name)
                    rows.append(row)
                    if row.restored is False or self._abandoned:
                        break  # what is wrong is not made worse
        finally:
            self.over.set()
        return DrillReport(self.key, tuple(rows))

    async def _one(self, name: str) -> DrillRow:
        if why := not_at_rest(await self._board.read()):
            return DrillRow(switch=name, result="left_out", why=f"Nothing was sent: {why}")
        await freshen(self._board, [Switch(name)])
        if why := self._against_bank(name):
            return DrillRow(switch=name, result="left_out", why=f"Nothing was sent: {why}")
        before = await self._states()
        number = uuid.uuid4().hex[:12]
        await self._note("begin", number, name)
        joins = partial(self._joins, name)
        look = partial(freshen, self._board, [Switch(name)])
        turn = DrillTurn(self._actuators[name], lambda: self._abandoned, joins, look)
        try:
            await turn.off()
        finally:  # also when somebody ends the program
            row = await to_its_end(self._end(turn, number, name, before))
        return row

    async def _end(
        self, turn: DrillTurn, number: str, name: str, before: Mapping[str, bool | None]
    ) -> DrillRow:
        """Switch it on again, and write down what came of it."""
        if turn.sent:
            await turn.on()
        row = turn.row(name, switch_on_command(self._board, name))
        if turn.sent and row.restored:
            row = _beside(row, before, await self._states())
        try:
            await self._note("end", number, name, **row.to_dict())
        except JournalError as error:
            note = f"{error} So the journal does not say that the drill of {name} is over."
            return msgspec.structs.replace(row, note=note)
        return row

    def _joins(self, name: str) -> str:
        """Why it may not close now, in a sentence; empty: it does, and its bank hears of it."""
        why = self._against_bank(name)
        if not why:
            tell_join(self._board, Switch(name))
        return why

    async def _states(self) -> dict[str, bool | None]:
        """How all of them are, as far as the board says it; empty where it does not answer."""
        with suppress(BmsError):
            return {name: await each.state() for name, each in self._actuators.items()}
        return {}

    async def _note(self, phase: str, number: str, name: str, **more: Any) -> None:
        about = {"drill": number, "pack": self.key, "target": str(self._board.target)}
        said = {**more, **about, "switch": name, "user": actor_name(), "phase": phase}
        await asyncio.to_thread(lambda: self._journal.append(DRILL, **said))


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Do it whole, however often this task is cancelled meanwhile; then it is cancelled."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return task.result()


def _beside(
    row: DrillRow, before: Mapping[str, bool | None], after: Mapping[str, bool | None]
) -> DrillRow:
    """The same, which failed where another switch is not as it was."""
    moved = [n for n, on in before.items() if on is not None and after.get(n) is (not on)]
    if not moved:
        return row
    why = f"With {row.switch}, {' and '.join(moved)} changed as well."
    return msgspec.structs.replace(row, result="failed", why=f"{row.why} {why}".strip())


def _require_free(ledger: Ledger, states: Mapping[str, bool | None]) -> None:
    """`GateError` where something holds a switch off. Nothing acts now, so what the ledger says of
    a switch that is on is over: a person or an app gave it back."""
    if ledger.stop is not None:
        raise GateError(f"Nothing was sent: {ledger.stop.who} stopped everything, and that holds.")
    for name in Switch:
        record = ledger.record(str(name))
        held = ", ".join(record.holders) or record.person
        if (held or record.own) and states.get(str(name)) is not True:
            raise GateError(
                f"Nothing was sent: {name} is held off by {held or 'bmslink'}, by the ledger. "
                "`bmslink control status --orphans TARGET` says since when and why."
            )


def not_at_rest(reading: Reading) -> str:
    """Why a pack may not be drilled now, in a sentence; empty: it may."""
    if reading.time is not None and datetime.now(UTC) - reading.time > _OLD:
        return "what the board says is old."
    if reading.current is None:
        return "the board does not say how much current flows."
    if abs(reading.current) >= REST:
        way = "charging" if reading.current > 0 else "discharging"
        return f"the pack is {way} with {abs(reading.current):.1f} A; a drill needs less than 1 A."
    found: list[Condition] = [*reading.protections, *reading.faults]
    for path in ("charge", "discharge"):
        found += blocked_by(path, reading)
    if found:
        names = ", ".join(dict.fromkeys(map(str, found)))
        return f"the BMS protects or reports a fault ({names})."
    if not any(on is not None for on in states_of(reading).values()):
        return "the board does not show its switches."
    return ""


@contextmanager
def _alone(key: str) -> Iterator[None]:
    """Nothing else acts on the pack meanwhile."""
    lock = lock_acting(key)
    if lock is None:
        raise _busy(key)
    try:
        yield
    finally:
        os.close(lock)


def _busy(key: str) -> GateError:
    return GateError(
        f"Nothing was sent: another program on this machine acts on {key}. End it first."
    )
