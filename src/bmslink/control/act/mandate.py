"""What the owner lets the layer do with a pack, and what is wanted of each switch within it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bmslink.control.act.actuator import ACTUATORS
from bmslink.control.act.ledger import STOP, Ledger, Override, SwitchRecord
from bmslink.control.decide.decision import Decision
from bmslink.control.decide.limits import Reason
from bmslink.control.decide.policy import Demand, Severity

__all__ = [
    "STOPPED_BY",
    "Mandate",
    "SwitchWish",
    "left_holders",
    "let_go",
    "person_holder",
    "wish_for",
]

STOPPED_BY = "emergency stop by "
"""Why a switch is off, before the name of who stopped everything."""


class Mandate(msgspec.Struct, frozen=True, kw_only=True):
    """How far the layer may go."""

    enforce: bool = False
    """Policies set switches. In shadow only a person does."""
    able: frozenset[str] = frozenset(ACTUATORS)
    """What can be switched on this board at all; the rest is protected by limits only."""
    actuators: frozenset[str] = frozenset({"charge", "discharge"})
    """What policies may switch; the balancer only where the owner says so."""
    host_power: str | None = None
    """`pack`: this program runs on the pack, `other`: it does not. Without either discharge is
    never switched by a policy."""
    alternator: bool = False
    """An alternator charges the pack: opening under its current is a load dump."""
    capacity: float = 0.0
    """Ah of the pack; 0: not known."""


class SwitchWish(msgspec.Struct, frozen=True):
    """What is wanted of one switch now."""

    demand: Demand
    holders: tuple[str, ...] = ()
    emergencies: tuple[str, ...] = ()
    """Those of the holders that are answered even while we stand down, once each."""
    why: str = ""
    by_person: bool = False
    """A person wants it off, whatever the data are."""
    left: bool = False
    """Policies that act no more hold it; only a person ends that."""


_PERSON = "person:"


def person_holder(who: str) -> str:
    """The name of a person as a holder."""
    return f"{_PERSON}{who}"


def left_holders(record: SwitchRecord) -> tuple[str, ...]:
    """The policies that a ledger names as holding a switch off. Where none of them acts any more,
    nothing gives it back, and nobody switches it on before a person has let go of them."""
    if not record.own and record.seen is not False:
        return ()
    return tuple(h for h in record.holders if h != STOP and not h.startswith(_PERSON))


def let_go(ledger: Ledger) -> tuple[Ledger, list[str]]:
    """The ledger after a person let go of what policies left, and what that was, in sentences."""
    told = []
    for name in ACTUATORS:
        record = ledger.record(name)
        if left := left_holders(record):
            ledger = ledger.with_record(name, msgspec.structs.replace(record, holders=()))
            told.append(
                f"{', '.join(left)} holds {name} off no more. Nothing was sent: `bmslink switch` "
                "switches it on."
            )
    return ledger, told


FREE = SwitchWish(Demand.FREE)


def wish_for(
    name: str,
    decision: Decision,
    ledger: Ledger,
    mandate: Mandate,
    detected: Mapping[str, Reason],
) -> SwitchWish:
    """What is wanted of one switch: the most restrictive of policies, detectors and people."""
    record = ledger.record(name)
    wish = FREE
    if name not in mandate.able:
        return wish
    if mandate.enforce and name in mandate.actuators:
        wish = _of_policies(name, decision, ledger.run.overrides)
        if name in detected:
            wish = _with_detector(wish, detected[name])
        if name == "discharge":
            wish = _feeding_the_host(wish, mandate)
    elif not mandate.enforce and (left := left_holders(record)):
        wish = SwitchWish(Demand.NO_ENABLE, left, (), "policies that act no more", left=True)
    if record.person:
        holder = person_holder(record.person)
        why = f"{record.person} switched it off"
        wish = _also(wish, Demand.OPEN_NOW, holder, why, emergency=False)
    if ledger.stop is not None:
        why = f"{STOPPED_BY}{ledger.stop.who}"
        wish = _also(wish, Demand.OPEN_NOW, STOP, why, emergency=True)
    return wish


def _also(
    wish: SwitchWish, demand: Demand, holder: str, why: str, *, emergency: bool
) -> SwitchWish:
    opens = wish.demand >= Demand.OPEN
    return SwitchWish(
        max(wish.demand, demand),
        (*wish.holders, holder) if opens else (holder,),
        (*wish.emergencies, holder) if emergency else wish.emergencies,
        f"{wish.why}; {why}" if opens else why,
        True,
    )


def _of_policies(name: str, decision: Decision, overrides: tuple[Override, ...]) -> SwitchWish:
    permit = getattr(decision, name)
    demand: Demand = permit.demand
    if not demand:
        return FREE
    reasons: tuple[Reason, ...] = permit.holders
    if overrides:
        aside = {each.policy for each in overrides}
        reasons = tuple(r for r in reasons if r.policy not in aside)
        if not reasons:
            # what asks for less is not told: nothing is switched on but by a person
            return SwitchWish(Demand.NO_ENABLE)
    holders = tuple(dict.fromkeys(r.policy for r in reasons))
    why = "; ".join(r.text for r in reasons)
    if demand < Demand.OPEN_NOW:
        return SwitchWish(demand, holders, (), why)
    urgent = {v.policy for v in decision.verdicts if v.severity == Severity.EMERGENCY}
    emergencies = tuple(h for h in holders if h in urgent)
    return SwitchWish(demand, holders, emergencies, why)


def _with_detector(wish: SwitchWish, reason: Reason) -> SwitchWish:
    if wish.demand >= Demand.OPEN:
        return msgspec.structs.replace(
            wish, holders=(*wish.holders, reason.policy), why=f"{wish.why}; {reason.text}"
        )
    return SwitchWish(Demand.OPEN, (reason.policy,), (), reason.text)


def _feeding_the_host(wish: SwitchWish, mandate: Mandate) -> SwitchWish:
    """Discharge feeds this program too, or may: then it opens in an emergency only, or never."""
    if wish.demand < Demand.OPEN:
        return wish
    if mandate.host_power == "other":
        return wish
    if mandate.host_power == "pack" and wish.demand == Demand.OPEN_NOW:
        return wish
    return msgspec.structs.replace(wish, demand=Demand.ZERO, emergencies=())
