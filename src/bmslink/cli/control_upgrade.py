"""`bmslink control check FILE --upgrade`: a policy file of an older version, written anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from bmslink.cli import change as c
from bmslink.cli.option_groups import OptionGroup
from bmslink.cli.output import Session
from bmslink.errors import TargetError

__all__ = ["UpgradeOptions", "upgrade"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeOptions(OptionGroup):
    """Whether a policy file is written anew."""

    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Write a file of an older version anew.")
    ] = False
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --upgrade: do not ask.")] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --upgrade: show what changes, write nothing.")
    ] = False

    def wanted(self, target: str | None, settings: str | None) -> bool:
        """Whether it is; `TargetError` for options that do not go together."""
        if self.upgrade and (target is not None or settings is not None):
            raise TargetError("--upgrade is about the file alone: leave out TARGET and --settings.")
        if not self.upgrade and (self.yes or self.dry_run):
            raise TargetError("--yes and --dry-run belong to --upgrade.")
        return self.upgrade


def upgrade(session: Session, file: str, options: UpgradeOptions) -> None:
    """Show what changes, ask, and write it."""
    from bmslink.cli.loop import run as run_loop
    from bmslink.cli.render import control as render
    from bmslink.control.upgrade import upgrade_of, write_upgrade

    found = upgrade_of(Path(file))
    values = {**found.to_dict(), "written": False, "kept": None}
    if not session.json:
        session.print(*render.upgrade(found))
    if not found.needed or options.dry_run:
        if session.json:
            session.record(values)
        return
    run_loop(c.agree(session, f"Write {file} anew?", yes=options.yes, done="written"))
    kept = write_upgrade(found)
    if session.json:
        session.record({**values, "written": True, "kept": str(kept)})
    else:
        session.print(f"{file} is written anew; the old one is {kept}.")
