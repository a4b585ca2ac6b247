"""What all commands that change a BMS share: show the plan, ask, apply, say how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

import typer

from bmslink.cli.option_groups import OptionGroup
from bmslink.cli.output import UNVERIFIED, Session, identified
from bmslink.errors import GateError, TargetError, UsageError

if TYPE_CHECKING:
    from bmslink.board import Board
    from bmslink.config import Outcome, Plan, Undo
    from bmslink.config.files.backup import Backup
    from bmslink.config.files.profile import Profile
    from bmslink.protocols.common.settings_map import SettingsMap

__all__ = [
    "DRY_RUN",
    "ChangeOptions",
    "PlanOptions",
    "Switches",
    "Waive",
    "WaiveOptions",
    "Yes",
    "agree",
    "can_ask",
    "change",
    "count",
    "planned",
    "show_outcome",
    "show_plan",
    "stop_if_blocked",
    "under_way",
    "value_of",
]

_T = TypeVar("_T")

DRY_RUN = "A dry run: nothing was changed."

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Answer the question with yes.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show every byte that would be sent, and send none.")
]
Waive = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CHECK", help="Proceed although this check fails (repeatable); it is recorded."
    ),
]
Switches = Annotated[
    bool,
    typer.Option(
        "--switches",
        help="Set the profile's switches too; never turns on what a person turned off.",
    ),
]


def _chemistry(text: str) -> str:
    """The name of a chemistry, before anything is opened."""
    from bmslink.settings.chemistry import chemistry

    try:
        return chemistry(text).name
    except TargetError as exc:
        raise typer.BadParameter(str(exc)) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaiveOptions(OptionGroup):
    """Which checks may fail. `UsageError` for one that does not exist."""

    of_settings: ClassVar[bool] = False
    """Settings are changed, so those that ask by their own name can be waived."""

    untested: Annotated[
        bool,
        typer.Option(
            "--untested", help="Allow writes that no recording proves (waives 'untested')."
        ),
    ] = False
    waive: Waive = None

    def __post_init__(self) -> None:
        if self.waive:
            self.waived()

    def waived(self) -> set[str]:
        """The checks that the user lets pass."""
        from bmslink.config.checks.check import require_waivers

        names = {*(self.waive or ()), *(("untested",) if self.untested else ())}
        return require_waivers(names) if self.of_settings else require_waivers(names, keys=())


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions(WaiveOptions):
    """What a plan depends on besides the pack."""

    of_settings: ClassVar[bool] = True

    chemistry: Annotated[
        str | None,
        typer.Option(
            parser=_chemistry,
            metavar="NAME",
            help="Chemistry of the cells: lfp, nmc, lto, na-ion. Never guessed.",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeOptions(PlanOptions):
    """How a change is planned, agreed to, or only shown."""

    yes: Yes = False
    dry_run: DryRun = False


async def agree(session: Session, question: str, *, yes: bool, done: str = "sent") -> None:
    """Ask on the terminal; `GateError` for anything but a yes, and where nobody can be asked. It
    says that nothing was `done`."""
    if yes:
        return
    from bmslink.cli import asking

    if not can_ask(session):
        raise GateError(f"Nothing was {done}: nobody was there to agree. --yes agrees beforehand.")
    try:
        typed = await asking.answer(f"{question} [y/N]")
    except asyncio.CancelledError:
        session.complain(f"Interrupted: nothing was {done}.")
        raise
    if typed.strip().lower() not in ("y", "yes"):
        raise GateError(f"Declined: nothing was {done}.")


def can_ask(session: Session) -> bool:
    """Whether somebody is there to answer."""
    from bmslink.cli import asking

    return not session.json and asking.can_ask()


async def under_way(session: Session, device: Board, work: Awaitable[_T]) -> _T:
    """Do it, and say what Ctrl-C or SIGTERM leave behind, whenever they come."""
    try:
        return await work
    except asyncio.CancelledError:
        from bmslink.config import left_behind

        session.complain(left_behind(device))
        raise


async def _ask_chemistry(session: Session, device: Board) -> str | None:
    """What the cells are, asked once: the answer of a named pack can be stored beside its name."""
    from bmslink.cli.asking import answer
    from bmslink.packs import remember_chemistry
    from bmslink.settings.chemistry import CHEMISTRIES, chemistry

    names = ", ".join(CHEMISTRIES)
    told = await answer(
        f"What are the cells of {device.target.label} made of ({names})? Enter: unknown"
    )
    if not told.strip():
        return None
    kind = chemistry(told).name
    if device.named is not None:
        stored = await answer(f"Store it in bmslink.toml for {device.named.name}? [y/N]")
        if stored.strip().lower() in ("y", "yes"):
            place = remember_chemistry(device.named.name, kind)
            session.say(f"{device.named.name} has {kind} cells: that is in {place} now.")
    return kind


async def change(
    session: Session,
    device: Board,
    wanted: Mapping[str, object] | Profile,
    options: ChangeOptions,
    *,
    command: str,
    settings: SettingsMap | None = None,
    raw: Backup | Undo | None = None,
    switches: bool = False,
    waive: Collection[str] = (),
) -> Outcome | None:
    """Plan, show, ask and apply on an open device; `None` after a dry run.

    `command`: what the user typed, for the journal. `settings`: the map of this board, where it
    was read already. `waive`: checks that may fail besides those of the options.
    """
    from bmslink.config import draft

    drafting = partial(draft, device, wanted, raw=raw, switches=switches, settings=settings)
    async with device.conversation():
        plan = await planned(session, device, drafting, options, waive)
        return await _change(session, device, plan, options, command)


async def _change(
    session: Session, device: Board, plan: Plan, options: ChangeOptions, command: str
) -> Outcome | None:
    from bmslink.config import apply

    if options.dry_run or not options.yes:
        await device.leave_session()  # who reads the plan may take their time, or page through it
    show_plan(session, plan, whole=options.dry_run)
    stop_if_blocked(plan)
    if options.dry_run:
        session.say(DRY_RUN)
        return None
    if plan.changes:
        do = f"Set back {count(plan)} of" if plan.undoes else f"Write {count(plan)} to"
        await agree(session, f"{do} {device.target.label}?", yes=options.yes)
    outcome = await under_way(session, device, apply(device, plan, command=command))
    show_outcome(session, device, outcome, plan=plan)
    return outcome


_ONLY_A_PERSON_KNOWS = {"twin": "Is it another one?", "place": "Is it the same board?"}
"""Check -> the question whose yes waives it, where nothing else blocks."""


async def planned(
    session: Session,
    device: Board,
    drafting: Callable[..., Awaitable[Plan]],
    options: ChangeOptions,
    waive: Collection[str] = (),
    plan: Plan | None = None,
) -> Plan:
    """The plan that `drafting` makes, with what a person says where only one can know: what the
    cells are made of, and which of two boards that look the same it is.

    `plan`: the one that was made already, without a person."""
    allowed, chemistry = options.waived() | set(waive), options.chemistry
    may_ask = can_ask(session)
    plan = plan or await drafting(waive=allowed, chemistry=chemistry)
    if plan.needs_chemistry and not options.yes and may_ask:
        await device.leave_session()
        chemistry = await _ask_chemistry(session, device)
        plan = await drafting(waive=allowed, chemistry=chemistry)
    blocked = [check.name for check in plan.blocked]
    question = _ONLY_A_PERSON_KNOWS.get(blocked[0]) if len(blocked) == 1 else None
    if question and may_ask and not options.dry_run:
        await device.leave_session()
        await agree(session, f"{plan.blocked[0].sentence} {question}", yes=False)
        plan = await drafting(waive=allowed | {*blocked}, chemistry=chemistry)
    return plan


def count(plan: Plan) -> str:
    """How many settings a plan changes."""
    number = sum(len(change.edits) for change in plan.changes)
    return f"{number} setting{'s' * (number != 1)}"


def stop_if_blocked(plan: Plan) -> None:
    """`GateError` where a check failed; they were shown already."""
    if plan.blocked:
        names = ", ".join(check.name for check in plan.blocked)
        checks = "this check" if len(plan.blocked) == 1 else "these checks"
        raise GateError(f"Nothing was sent: {checks} failed: {names} (see above).", plan.checks)


def show_plan(session: Session, plan: Plan, *, whole: bool = True) -> None:
    """The plan on stdout: as JSON only where it is the result."""
    if session.json:
        if whole or plan.blocked:
            name = {"name": plan.name} if plan.name else {}
            session.record({"target": plan.target, **name, "plan": plan.to_dict()})
        return
    from bmslink.cli.render import config, text

    glyphs = text.glyphs(ascii_only=session.ascii)
    session.show(config.plan(plan, glyphs, whole=whole or session.verbosity > 0))


def show_outcome(
    session: Session,
    device: Board,
    outcome: Outcome,
    *,
    named: bool = False,
    plan: Plan | None = None,
) -> None:
    """How it ended, on stdout; exit code 4 where what was sent is not read back. `named`: with the
    pack that it is about, one of several. What `plan` said, which was shown, is not said again."""
    whose = f"{device.target.label}: " if named else ""
    if session.json:
        session.record({**identified(device.target), "outcome": outcome.to_dict()})
    else:
        session.print(f"{whose}{outcome.sentence}")
        shown = [] if plan is None else plan.left_out_notes
        for note in (note for note in outcome.notes if note not in shown):
            session.say(f"{whose}{note}")
    if outcome.result in ("ignored", "unproven", "unknown"):
        raise typer.Exit(UNVERIFIED)


def value_of(setting_kind: str, unit: str, text: str, *, name: str = "the value") -> Any:
    """What was typed for a setting, in its own form; `UsageError` where it cannot be."""
    from bmslink.config.files.profile import SWITCHED, typed_value
    from bmslink.settings.units import NumberWithUnit

    if setting_kind == "switch":
        position = {**SWITCHED, "1": True, "0": False}.get(text.lower())
        if position is None:
            raise UsageError(f"{text!r} is neither on nor off.")
        return position
    if setting_kind != "number":
        return text
    value = typed_value(text, name)
    return value.to(unit) if isinstance(value, NumberWithUnit) else value
