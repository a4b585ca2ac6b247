"""What acts on a pack, for people: who holds a switch, whose it is, and what gives it back; and
whether a stop is read back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from bmslink.control.act.actuator import ACTUATORS
from bmslink.control.act.facts import SwitchFacts
from bmslink.control.act.ledger import STOP, Ledger
from bmslink.control.act.mandate import Mandate, SwitchWish, person_holder, wish_for
from bmslink.control.act.numbers import ActingNumbers
from bmslink.control.act.steps.enabling import obstacle
from bmslink.control.decide.decision import Decision, Limits
from bmslink.control.decide.limits import Limit, Permit, Reason
from bmslink.control.decide.policy import Demand
from bmslink.errors import VerifyError

__all__ = [
    "Note",
    "TellActing",
    "not_read_back",
    "nothing_known",
    "require_read_back",
    "shown_in_words",
    "still_on",
    "switches_status",
]

Switches = Mapping[str, Mapping[str, Any]]
"""As in the status of what acts on a pack."""

_SHOWS = 15.0
"""How long a board may take to show it, s: a slow one is read every few seconds."""
_LOOK = 0.25


class TellActing(Protocol):
    """Publishes an event of the pack."""

    def __call__(self, what: str, text: str, *, alarm: bool = False, **data: Any) -> None: ...


class Note(Protocol):
    """Has a record written to the journal, soon; waits for nothing."""

    def __call__(self, event: str, **data: Any) -> None: ...


def switches_status(
    ledger: Ledger,
    decision: Decision | None,
    facts: SwitchFacts | None,
    now: float,
    *,
    mandate: Mandate,
    numbers: ActingNumbers,
    detected: Mapping[str, Reason],
    disk: bool,
    joins: Callable[[str], str] = lambda name: "",
    lets_go: Callable[[str], str] = lambda policy: "",
) -> dict[str, dict[str, Any]]:
    """All switches, by their names, as plain values. `now` in s of the clock of the ledger.
    `lets_go` says what ends a policy that has tripped."""
    return {
        name: _switch_status(
            name,
            ledger,
            decision,
            facts,
            now,
            mandate=mandate,
            numbers=numbers,
            detected=detected,
            disk=disk,
            joins=joins,
            lets_go=lets_go,
        )
        for name in ACTUATORS
    }


def _switch_status(
    name: str,
    ledger: Ledger,
    decision: Decision | None,
    facts: SwitchFacts | None,
    now: float,
    *,
    mandate: Mandate,
    numbers: ActingNumbers,
    detected: Mapping[str, Reason],
    disk: bool,
    joins: Callable[[str], str],
    lets_go: Callable[[str], str],
) -> dict[str, Any]:
    """One switch."""
    record = ledger.record(name)
    order = record.order
    shown: dict[str, Any] = {
        "able": name in mandate.able,
        "shown": record.seen,
        "owner": "ours" if record.own else record.owner.value,
        "holders": list(record.holders),
        "demand": "",
        "why": "",
        "stood_down": record.down is not None,
        "command": None,
        "given_back": "",
    }
    if order is not None:
        shown["command"] = {
            "on": order.on,
            "ago": round(now - order.last, 1) if order.last >= ledger.run.started else None,
            "actor": order.actor,
            "tries": order.tries,
            "read_back": order.read_back,
        }
    if decision is None:
        return shown
    wish = wish_for(name, decision, ledger, mandate, detected)
    shown["holders"], shown["why"] = list(wish.holders), wish.why
    shown["demand"] = wish.demand.name.lower()
    if record.own:
        word, text = obstacle(
            name,
            ledger,
            wish,
            facts,
            now,
            mandate=mandate,
            numbers=numbers,
            stale=decision.stale,
            disk=disk,
            joins=joins,
        )
        shown["given_back"] = _held(wish, text, lets_go) if word == "held" else text
    return shown


def _held(wish: SwitchWish, text: str, lets_go: Callable[[str], str]) -> str:
    """Who holds a switch, how that is now, and what ends it; `text` says it where a detector does,
    or where it is not known what ends the hold of a policy."""
    told = [_of_people(holder) or lets_go(holder) for holder in wish.holders]
    if told and all(told):
        return f"Held by {'; and by '.join(told)}"
    return "; ".join([text, *filter(None, told)])


def _of_people(holder: str) -> str:
    """A person who holds it, and what ends that, in words; empty: it is no person."""
    if holder == STOP:
        return "an emergency stop: `bmslink control reset TARGET` ends it"
    if holder.startswith(person_holder("")):
        name = holder.removeprefix(person_holder(""))
        return f"{name}, by hand: `bmslink switch TARGET SWITCH on` switches it on"
    return ""


def nothing_known(now: float) -> Decision:
    """The decision where no policy has judged anything yet: the data are old, nothing is asked."""
    none = Limit(0.0, (Reason("no_data", 0.0, "nothing is known yet"),))
    permit = Permit(Demand.NO_ENABLE)
    return Decision(
        time=now,
        charge=permit,
        discharge=permit,
        balance=permit,
        limits=Limits(cvl=none, ccl=none, dcl=none, dvl=none),
        stale=True,
        quality={},
        bms={},
    )


def still_on(switches: Switches | None) -> list[str]:
    """Which of charge and discharge can be switched and are not shown as off; both where nobody
    says how they are."""
    if switches is None:
        return ["charge", "discharge"]
    return [
        name
        for name, each in switches.items()
        if each.get("able") and name != "balance" and each.get("shown") is not False
    ]


def shown_in_words(switches: Switches | None) -> str:
    """How charge and discharge are shown, in a sentence."""
    known = {n: each for n, each in (switches or {}).items() if each.get("able") and n != "balance"}
    words = {False: "read back as off", True: "still shown as on", None: "not shown yet"}
    told = [f"{name} is {words[each.get('shown')]}" for name, each in known.items()]
    return f"{', '.join(told)}." if told else "Nobody says how its switches are."


def not_read_back(switches: Switches | None) -> VerifyError:
    """The error that says it."""
    what = " and ".join(still_on(switches))
    return VerifyError(
        f"Off was sent, but {what} did not read back as off: look at the pack. "
        + shown_in_words(switches).capitalize()
    )


async def require_read_back(look: Callable[[], Switches | None]) -> None:
    """Wait until all is shown as off. Raises `VerifyError` where that does not come."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _SHOWS
    while still_on(look()):
        if loop.time() >= until:
            raise not_read_back(look())
        await asyncio.sleep(_LOOK)
