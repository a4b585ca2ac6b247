"""What `bmslink control run` prints while packs are supervised."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bmslink.cli.output import Session, about, identified
from bmslink.cli.render import control_run as render

if TYPE_CHECKING:
    from bmslink.control.check import Finding
    from bmslink.control.decide.decision import Decision
    from bmslink.errors import BmsError
    from bmslink.link.transport import Endpoint

__all__ = ["Printer"]


class Printer:
    """Prints decisions, errors and remarks: the `Observer` of the command line."""

    def __init__(
        self, session: Session, targets: Sequence[Endpoint], *, shadow: bool = True
    ) -> None:
        self._session = session
        self._shadow = shadow
        self._targets = targets

    def on_decision(self, index: int, decision: Decision, *, changed: bool) -> None:
        """People see what changed, programs also how limits move."""
        now = datetime.now(UTC)
        if self._session.json:
            values = {**decision.to_dict(), "time": now}
            which = identified(self._targets[index])
            self._session.record({**which, "shadow": self._shadow, **values})
        elif changed:
            label = f"#{index + 1} " if len(self._targets) > 1 else ""
            self._session.print(*render.change(decision, now, label))

    def on_error(self, index: int, error: BmsError) -> None:
        """One of the packs gives no reading."""
        target = self._targets[index]
        if self._session.json:
            self._session.record({**identified(target), "error": str(error)})
        self._session.show_traceback(error)
        self._session.complain(about(target, error))

    def on_finding(self, index: int, finding: Finding) -> None:
        """The pack does not fit the policy file."""
        self._session.say(f"{self._targets[index].label}: {finding.text}")

    def on_acting(self, index: int, what: str, text: str, *, alarm: bool) -> None:
        """What acts on a pack says something."""
        target = self._targets[index]
        if self._session.json:
            said = {"acting": what, "text": text, "alarm": alarm}
            self._session.record({**identified(target), **said})
            return
        label = f"#{index + 1} " if len(self._targets) > 1 else ""
        self._session.print(*render.acting(text, datetime.now(UTC), label, alarm=alarm))

    def on_trouble(self, sentence: str) -> None:
        """What goes on all the same."""
        self._session.complain(sentence)
