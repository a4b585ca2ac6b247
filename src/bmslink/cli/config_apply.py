"""`bmslink config apply`: a profile onto one pack, or onto several at the same time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import change as c
from bmslink.cli import config_files as files
from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_all
from bmslink.cli.output import DONE, Session, exit_code, identified
from bmslink.cli.several import at_once, worst
from bmslink.errors import BmsError, GateError

if TYPE_CHECKING:
    from bmslink.board import Board
    from bmslink.config import Plan
    from bmslink.config.files.profile import Profile

__all__ = ["apply"]


def apply(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The profile.")],
    targets: o.Targets = None,
    switches: c.Switches = False,
    *,
    options: c.ChangeOptions,
    connection: ConnectionOptions,
) -> None:
    """Write a profile to one pack or several.

    Shows the plan and asks. Every value is read back, and everything is set back if one is not as
    planned. Several packs are written at the same time, or in turn if they share a line. They do
    not depend on each other; the exit code is the worst: 4, 1, 2, 3, 0.
    """
    from bmslink.cli.loop import run, run_open
    from bmslink.config.files.profile import load_profile

    session = o.session_of(ctx)
    profile = load_profile(file)
    devices = connect_all(session, targets, connection)
    command = f"config apply {file}"

    async def write(device: Board) -> None:
        await c.change(session, device, profile, options, command=command, switches=switches)

    if len(devices) == 1:
        run_open(devices[0], write)
        return
    several = _Several(session, options, profile, switches, command)
    several.packs = [_Member(device) for device in devices]
    run(several.apply())
    if several.code:
        raise typer.Exit(several.code)
    if several.broken is not None:
        raise several.broken


@dataclass(slots=True)
class _Member:
    """One of the packs, and how far it came."""

    device: Board
    plan: Plan | None = None
    error: BmsError | None = None
    code: int = DONE
    begun: bool = False

    @property
    def label(self) -> str:
        return self.device.target.label


@dataclass(slots=True)
class _Several:
    """A profile that is written to several packs."""

    session: Session
    options: c.ChangeOptions
    profile: Profile
    switches: bool
    command: str
    packs: Sequence[_Member] = ()
    broken: OSError | None = None
    """Why nobody could be told how a pack ended; no other pack stops for that."""

    @property
    def code(self) -> int:
        """The worst exit code."""
        return worst([pack.code for pack in self.packs])

    async def apply(self) -> None:
        """Plan all, ask once, and write to those that may be written to."""
        async with AsyncExitStack() as opened:
            await self._at_once(partial(self._plan, opened))
            ready = [pack for pack in self.packs if await self._may_begin(pack)]
            if self.options.dry_run:
                self.session.say(c.DRY_RUN)
                return
            await self._agree([pack for pack in ready if pack.plan and pack.plan.changes])
            try:
                await self._at_once(self._write)
            finally:
                self._tell_left()

    async def _at_once(self, act: Callable[[_Member], Awaitable[None]]) -> None:
        """Do it with all packs that did not fail."""
        packs = [pack for pack in self.packs if pack.error is None]
        await at_once(packs, lambda pack: pack.device, act)

    async def _plan(self, opened: AsyncExitStack, pack: _Member) -> None:
        try:
            await opened.enter_async_context(pack.device)
            pack.plan = await self._drafting(pack)(
                waive=self.options.waived(), chemistry=self.options.chemistry
            )
        except BmsError as error:
            pack.error = error

    def _drafting(self, pack: _Member) -> Callable[..., Awaitable[Plan]]:
        from bmslink.config import draft

        return partial(draft, pack.device, self.profile, switches=self.switches)

    async def _may_begin(self, pack: _Member) -> bool:
        """Show its plan; whether it may be written to."""
        try:
            if pack.error is not None:
                raise pack.error
            drafting = self._drafting(pack)
            plan = await c.planned(
                self.session, pack.device, drafting, self.options, plan=pack.plan
            )
            pack.plan = plan
            c.show_plan(self.session, plan, whole=self.options.dry_run)
            c.stop_if_blocked(plan)
        except BmsError as error:
            self._failed(pack, error)
        return pack.error is None

    async def _agree(self, packs: Sequence[_Member]) -> None:
        """The one question; where the answer is no, nothing is sent to any of them."""
        if not packs:
            return
        what = ", ".join(f"{c.count(pack.plan)} to {pack.label}" for pack in packs if pack.plan)
        left = [pack.label for pack in self.packs if pack.error is not None]
        without = f" (not to {', '.join(left)}: see above)" if left else ""
        try:
            await c.agree(self.session, f"Write {what}{without}?", yes=self.options.yes)
        except GateError as error:
            for pack in packs:
                self._failed(pack, error)

    async def _write(self, pack: _Member) -> None:
        from bmslink.config import apply

        if pack.plan is None:
            return
        pack.begun = True
        try:
            work = apply(pack.device, pack.plan, command=self.command)
            outcome = await c.under_way(self.session, pack.device, work)
            c.show_outcome(self.session, pack.device, outcome, named=True, plan=pack.plan)
        except BmsError as error:
            self._failed(pack, error)
        except typer.Exit as end:
            pack.code = end.exit_code
        except OSError as error:
            self.broken = error

    def _failed(self, pack: _Member, error: BmsError) -> None:
        pack.error, pack.code = error, exit_code(error)
        try:
            files.failed(self.session, pack.device.target, error)
        except OSError as broken:
            self.broken = broken

    def _tell_left(self) -> None:
        """Name the packs that were not begun, where Ctrl-C ended it."""
        left = [pack for pack in self.packs if not (pack.begun or pack.error)]
        for pack in left if self.session.json else ():
            self.session.record({**identified(pack.device.target), "error": "Not begun."})
        if left:
            self.session.complain(f"Not begun: {', '.join(pack.label for pack in left)}.")
