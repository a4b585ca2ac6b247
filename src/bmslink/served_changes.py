"""The functions of `config` for a pack that a service owns: it plans, checks, writes and proves.

What goes over is the request: the values, the profile or the backup, what is waived, and of a plan
that somebody agreed to its fingerprint. The service plans anew on its own board and refuses where
that comes to other frames or replaces other values. The journal is the service's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from bmslink.arguments import checked
from bmslink.config import (
    AdjustmentPlan,
    Backup,
    CutOff,
    Outcome,
    Plan,
    Profile,
    Undo,
    Verification,
)
from bmslink.errors import GateError, UsageError
from bmslink.link.transport import Endpoint
from bmslink.model import Adjustment, Command, Identity
from bmslink.packs import NamedPack
from bmslink.protocols.common.settings_map import SettingsMap, SettingsSnapshot
from bmslink.registry import Served
from bmslink.service_client import Lost
from bmslink.service_errors import lost_change, lost_off
from bmslink.service_forms import (
    AdjustmentForm,
    PlanForm,
    SurveyForm,
    fingerprint_of,
    in_form,
    of_form,
)

__all__ = ["ServedChanges"]

_OFF_WITHIN = 3.0
"""How long the service may take to say that it has the wish to switch off, s."""


class AskedBoard(Protocol):
    """What is needed of the board that is asked through the service."""

    target: Endpoint
    named: NamedPack | None
    served: Served

    @property
    def open_change(self) -> str | None:
        """What was cut off earlier on this pack."""

    def require_version(self) -> None:
        """`TransportError` where the service runs another version."""

    async def call(
        self, road: str, request: Any, *, first: float = ..., lost: Lost | None = ...
    ) -> Any:
        """What the service answers to a request."""


class ServedChanges:
    """What `config` does, asked of the service."""

    def __init__(self, board: AskedBoard) -> None:
        self._board = board

    def function(self, name: str) -> Callable[..., Any]:
        """The one that does what this function of `config` does; `drill` and `orphans` give plain
        values."""
        found: dict[str, Callable[..., Any]] = {
            "adjust": self.adjust,
            "apply": self.apply,
            "balance": partial(self._call, "balance"),
            "cut_off_change": self.cut_off_change,
            "draft": self.draft,
            "draft_adjustment": self.draft_adjustment,
            "draft_undo": self.draft_undo,
            "drill": partial(self._call, "drill"),
            "left_behind": self.left_behind,
            "open_change": self.open_change,
            "orphans": partial(self._call, "look", {"what": "orphans"}),
            "rehearse_switch": self.rehearse_switch,
            "resume": self.resume,
            "survey": self.survey,
            "switch": self.switch,
            "undo": self.undo,
            "unfinished": self.unfinished,
            "verify": self.verify,
        }
        return partial(_do, found[name])

    async def _call(self, road: str, request: Mapping[str, Any]) -> Any:
        self._board.require_version()
        return await self._board.call(road, request)

    async def _change(self, road: str, request: Mapping[str, Any], after: str = "") -> Outcome:
        """How a change ended. `RollbackError` where the service was lost in the middle of it:
        something may have been written, and `after` says how to find out."""
        word = self._board.target.word
        after = after or (
            f"What of the change was written is not known: `bmslink config resume {word}` finishes "
            "it or sets it back, if it was cut off."
        )

        self._board.require_version()
        return of_form(Outcome, await self._board.call(road, request, lost=lost_change(after)))

    # ---------------------------------------------------------------------------------- settings

    @checked()
    async def draft(
        self,
        wanted: Mapping[str, object] | Profile,
        *,
        raw: Backup | Undo | None = None,
        switches: bool = False,
        waive: Collection[str] = (),
        chemistry: str | None = None,
        settings: SettingsMap | None = None,
    ) -> Plan:
        """As `config.draft`."""
        del settings  # the service has its own
        request = _request(wanted, raw, switches, waive, self._cells(chemistry))
        found = of_form(PlanForm, _form(await self._call("plan", request)))
        plan = found.plan(wanted, raw, switches=switches, waive=frozenset(waive), stated=chemistry)
        return self._named(plan)

    def _cells(self, chemistry: str | None) -> str | None:
        """What the cells are, where only this side's bmslink.toml says so."""
        named = self._board.named
        return chemistry or (named.chemistry if named is not None else None)

    def _named(self, plan: Plan) -> Plan:
        """The pack called as it is called here."""
        target = self._board.target
        return replace(plan, target=str(target), name=target.name or None)

    @checked()
    async def draft_undo(
        self,
        *,
        keep_changed: bool = False,
        waive: Collection[str] = (),
        chemistry: str | None = None,
        settings: SettingsMap | None = None,
    ) -> Plan:
        """As `config.draft_undo`."""
        return await self.draft(
            {},
            raw=Undo(keep_changed=keep_changed),
            waive=waive,
            chemistry=chemistry,
            settings=settings,
        )

    @checked()
    async def apply(
        self,
        plan: Plan,
        *,
        confirm: Callable[[Plan], bool] | None = None,
        command: str = "",
    ) -> Outcome:
        """As `config.apply`."""
        if plan.blocked:
            told = " ".join(check.sentence for check in plan.blocked)
            raise GateError(f"Nothing was sent. {told}", plan.checks)
        raw = plan.raw if isinstance(plan.raw, Backup | Undo) else None
        chemistry = self._cells(plan.stated)
        request = _request(plan.wanted, raw, plan.switches, plan.waive, chemistry)
        try:
            return await self._apply(plan, request, command)
        except GateError as refusal:
            changed = [check.name for check in refusal.checks] == ["unchanged"]
            if not changed or confirm is None:
                raise
            fresh = await self.draft(
                plan.wanted,
                raw=raw,
                switches=plan.switches,
                waive=plan.waive,
                chemistry=plan.stated,
            )
            if fresh.blocked or not confirm(fresh):
                raise
            return await self._apply(fresh, request, command)

    async def _apply(self, plan: Plan, request: Mapping[str, Any], command: str) -> Outcome:
        agreed = {"fingerprint": fingerprint_of(plan), "command": command}
        return await self._change("apply", {**request, **agreed})

    @checked()
    async def undo(
        self,
        *,
        keep_changed: bool = False,
        waive: Collection[str] = (),
        chemistry: str | None = None,
        command: str = "",
    ) -> Outcome:
        """As `config.undo`."""
        plan = await self.draft_undo(keep_changed=keep_changed, waive=waive, chemistry=chemistry)
        return await self.apply(plan, command=command)

    @checked()
    async def resume(
        self,
        *,
        rollback: bool = False,
        keep: bool = False,
        agreed: bool = False,
        waive: Collection[str] = (),
        confirm: Callable[[str], bool] | None = None,
    ) -> Outcome:
        """As `config.resume`."""
        odd = None
        if confirm is not None and not keep:
            found = await self.cut_off_change()
            if found is not None and found.odd and confirm(found.odd):
                odd = found.odd
        request = {
            "rollback": rollback,
            "keep": keep,
            "agreed": agreed,
            "waive": sorted(waive),
            "agreed_to": odd,
        }
        return await self._change("resume", request)

    # ------------------------------------------------------------------------------ what is known

    async def survey(self, keys: Collection[str] = ()) -> tuple[Identity, SettingsSnapshot]:
        """As `bmslink.survey.survey`."""
        told = await self._call("ask", {"what": "survey", "keys": list(keys)})
        found = of_form(SurveyForm, told)
        return found.identity, found.table.snapshot()

    @checked()
    async def verify(self) -> Verification:
        """As `config.verify`."""
        return of_form(Verification, await self._call("look", {"what": "verify"}))

    @checked()
    async def cut_off_change(self) -> CutOff | None:
        """As `config.cut_off_change`."""
        found = await self._call("look", {"what": "cut off"})
        return None if found is None else of_form(CutOff, found)

    @checked()
    async def unfinished(self) -> str | None:
        """As `config.unfinished`."""
        found = await self._call("look", {"what": "unfinished"})
        return found if isinstance(found, str) else None

    def open_change(self, identity: Identity | None = None) -> str | None:
        """As `config.open_change`."""
        del identity
        return self._board.open_change

    def left_behind(self) -> str:
        """As `config.left_behind`: what was begun goes on in the service."""
        word = self._board.target.word
        return (
            "Interrupted here only: what the service has begun it ends or sets back. `bmslink "
            f"config verify {word}` tells how it ended."
        )

    # ----------------------------------------------------------------------- switches, clock, SOC

    @checked()
    async def switch(self, command: Command, *, waive: Collection[str] = ()) -> Outcome:
        """As `config.switch`. Off is the one wish that a service of any version takes."""
        request = {"switch": str(command.switch), "on": command.on, "waive": sorted(waive)}
        word = self._board.target.word
        if command.on:
            after = f"Whether {command.switch} is on is not known: `bmslink read {word}` tells."
            return await self._change("switch", request, after)
        lost = lost_off(str(command.switch), self._board.served.service.pid)
        found = await self._board.call("switch", request, first=_OFF_WITHIN, lost=lost)
        return of_form(Outcome, found)

    @checked()
    async def rehearse_switch(
        self, command: Command, *, waive: Collection[str] = ()
    ) -> list[bytes]:
        """As `config.rehearse_switch`."""
        request = {
            "switch": str(command.switch),
            "on": command.on,
            "waive": sorted(waive),
            "dry_run": True,
        }
        return of_form(list[bytes], await self._call("switch", request))

    @checked()
    async def draft_adjustment(
        self,
        wish: Adjustment,
        *,
        now: bool = False,
        waive: Collection[str] = (),
        chemistry: str | None = None,
    ) -> AdjustmentPlan:
        """As `config.draft_adjustment`."""
        cells = self._cells(chemistry)
        request = _adjustment(wish.clock, wish.soc, now, waive, cells)
        found = of_form(AdjustmentForm, _form(await self._call("adjustment", request)))
        made = found.adjustment(frozenset(waive), cells)
        return replace(made, plan=self._named(made.plan))

    @checked()
    async def adjust(self, plan: AdjustmentPlan) -> Outcome:
        """As `config.adjust`."""
        if plan.plan.blocked:
            told = " ".join(check.sentence for check in plan.plan.blocked)
            raise GateError(f"Nothing was sent. {told}", plan.plan.checks)
        wish, whole = plan.wish, plan.plan
        request = _adjustment(wish.clock, wish.soc, plan.now, whole.waive, whole.stated)
        agreed = {"fingerprint": fingerprint_of(plan)}
        after = "Whether it was set is not known: look at the pack before it is set again."
        return await self._change("adjust", {**request, **agreed}, after)


def _form(shown: object) -> object:
    """Of a plan that the service shows the whole."""
    return shown.get("form") if isinstance(shown, dict) else None


def _do(does: Callable[..., Any], /, *args: Any, journal: object = None, **kwargs: Any) -> Any:
    """Do it. No function takes a journal here: it is the service's."""
    if journal is not None:
        raise UsageError(
            "A service owns this pack and writes its changes into its own journal: leave `journal` "
            "out. Nothing was sent."
        )
    return does(*args, **kwargs)


def _request(
    wanted: Mapping[str, object] | Profile,
    raw: Backup | Undo | None,
    switches: bool,
    waive: Collection[str],
    chemistry: str | None,
) -> dict[str, Any]:
    request: dict[str, Any] = {
        "switches": switches,
        "waive": sorted(waive),
        "chemistry": chemistry,
        "backup": in_form(raw) if isinstance(raw, Backup) else None,
        "undo": in_form(replace(raw, since=())) if isinstance(raw, Undo) else None,
    }
    if isinstance(wanted, Profile):
        return {**request, "profile": in_form(wanted)}
    for key, value in wanted.items():
        if not isinstance(key, str) or not isinstance(value, bool | int | float | str):
            raise UsageError(
                f"{str(key)[:40]} cannot be {str(value)[:40]!r}: a setting is a number, on or off, "
                "or text. Nothing was sent."
            )
    return {**request, "wanted": dict(wanted)}


def _adjustment(
    clock: datetime | None,
    soc: float | None,
    now: bool,
    waive: Collection[str],
    chemistry: str | None,
) -> dict[str, Any]:
    return {
        "clock": None if clock is None else clock.isoformat(),
        "soc": soc,
        "now": now,
        "waive": sorted(waive),
        "chemistry": chemistry,
    }
