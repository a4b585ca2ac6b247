"""A board with two switches that does not always obey, and the program that acts on it. Pure.

Who has a pack of its own (a bench of values, the second pack model) gives decisions and readings,
and asks this how the switches really are. What a command does is drawn: as a rule it takes effect
at once; `rough` of them are ignored, acknowledged for nothing, late, lost on the way, or in doubt.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bmslink.control.act.actuator import ACTUATORS, Sent
from bmslink.control.act.detectors import CurrentWatch, detect, load_watch, release, save_watch
from bmslink.control.act.facts import facts_of
from bmslink.control.act.ledger import Ledger, load_ledger, save_ledger
from bmslink.control.act.mandate import Mandate
from bmslink.control.act.messages import Request, SwitchCommand
from bmslink.control.act.numbers import DAY, ActingNumbers
from bmslink.control.act.reconciler import reconcile
from bmslink.control.decide.decision import Decision
from bmslink.model import Reading

__all__ = ["PATHS", "ActingBoard"]

PATHS = ("charge", "discharge")
_LATE = (1.0, 8.0)  # s
_NUMBERS = ActingNumbers()


class ActingBoard:
    """Both switches, everything on, and a program that has just started."""

    def __init__(
        self,
        now: float = 0.0,
        *,
        draw: random.Random | None = None,
        rough: float = 0.0,
        tells_switch: bool = True,
        alternator: bool = False,
        capacity: float = 100.0,
        numbers: ActingNumbers = _NUMBERS,
    ) -> None:
        """`tells_switch`: the board shows its switches, and not only what conducts."""
        self.on = dict.fromkeys(PATHS, True)
        """How they really are."""
        self.ledger = Ledger.new("pack", now)
        self.numbers = numbers
        self.said: Counter[str] = Counter()
        """Remarks, by what they are."""
        self.writes: list[float] = []
        """When a switch was written, repeats left out."""
        self.sent: Counter[tuple[str, bool]] = Counter()
        """All that was sent, repeats included."""
        self.commands: list[SwitchCommand] = []
        """Of the last cycle."""
        self._draw, self._rough, self._tells = draw or random.Random(0), rough, tells_switch
        self._mandate = Mandate(
            enforce=True, host_power="other", alternator=alternator, capacity=capacity,
            able=frozenset(PATHS),
        )  # fmt: skip
        self._watch = CurrentWatch()
        self._due: list[tuple[float, str, bool]] = []
        self._before = self.ledger

    # -- the board -------------------------------------------------------------------------------

    def shown(self, protected: Sequence[str] = ()) -> dict[str, Any]:
        """What a reading says of the switches; `protected`: paths that the BMS closes itself."""
        told: dict[str, Any] = {}
        for name, conducts in (
            ("charge", "charging_allowed"),
            ("discharge", "discharging_allowed"),
        ):
            told[f"{name}_switch"] = self.on[name] if self._tells else None
            told[conducts] = self.on[name] and name not in protected
        return told

    def app(self, name: str, *, on: bool) -> None:
        """Somebody else switches."""
        self.on[name] = on

    def forget(self) -> None:
        """The board restarts, and all is on."""
        self.on, self._due = dict.fromkeys(PATHS, True), []

    def pass_time(self, now: float) -> None:
        """What was late takes effect."""
        for at, name, on in self._due:
            if at <= now:
                self.on[name] = on
        self._due = [each for each in self._due if each[0] > now]

    def _obey(self, command: SwitchCommand, now: float) -> Sent:
        name, on = command.actuator, command.on
        if self._draw.random() >= self._rough:
            self._due = [each for each in self._due if each[1] != name]
            self.on[name] = on
            return Sent(sent=True, acknowledged=True)
        match self._draw.randrange(5):
            case 0:
                return Sent(sent=True)
            case 1:
                return Sent(sent=True, acknowledged=True)
            case 2:
                self._due.append((now + self._draw.uniform(*_LATE), name, on))
                return Sent(sent=True, acknowledged=True)
            case 3:
                return Sent(sent=False, error="The line was busy.")
            case _:
                self.on[name] = on if self._draw.random() < 0.5 else self.on[name]
                return Sent(sent=None, error="Nobody knows.")

    # -- the program -----------------------------------------------------------------------------

    def cycle(
        self,
        decision: Decision,
        reading: Reading | None,
        now: float,
        alive: Mapping[str, bool],
        *requests: Request,
    ) -> None:
        """A decision, and the reading it was made on; `None`: none came. `alive`: what limits the
        current answers."""
        ledger = self._before = self.ledger
        facts = None if reading is None else facts_of(reading, decision)
        off = {n: r.own and r.confirmed for n in ACTUATORS for r in (ledger.record(n),)}
        found = detect(self._watch, decision.limits, facts, alive, off, now)
        told = reconcile(
            ledger, decision, facts, alive, now, mandate=self._mandate, numbers=self.numbers,
            requests=requests, detected=found.holds,
        )  # fmt: skip
        self._watch, self.ledger, self.commands = found.watch, told.ledger, told.commands
        for remark in (*found.remarks, *told.remarks):
            self.said[remark.what] += 1
        for command in told.commands:
            sent = self._obey(command, now)
            self.ledger = self.ledger.heard_of(command.actuator, command.id, sent)
            self.sent[command.actuator, command.on] += 1
            if not command.repeat:
                self.writes.append(now)

    def look(self) -> None:
        """A person has looked at what disobeyed."""
        for name in PATHS:
            self._watch = release(self._watch, name)

    def die(self, now: float) -> None:
        """The program is killed and starts again with what the disk holds: an off of the last
        cycle may not be on it, an on is."""
        wrote = any(command.on for command in self.commands) or self._draw.random() < 0.5
        kept = self.ledger if wrote else self._before
        plain = json.loads(json.dumps([save_ledger(kept, now), save_watch(self._watch, now)]))
        saved: list[dict[str, Any]] = plain
        self.ledger = self._before = load_ledger(saved[0], "pack", now)
        self._watch, self.commands = load_watch(saved[1], now), []

    def most_in_a_day(self) -> int:
        """Switch writes in the day with the most of them."""
        first, most = 0, 0
        for last, at in enumerate(self.writes):
            while at - self.writes[first] >= DAY:
                first += 1
            most = max(most, last - first + 1)
        return most
