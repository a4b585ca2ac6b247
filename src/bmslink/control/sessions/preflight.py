"""Whether a session may begin, check by check. Pure: what was looked at comes in as values."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

import msgspec

from bmslink.control.sessions.balancer import Balancer
from bmslink.control.sessions.moment import CellsNow
from bmslink.control.sessions.plan import SessionPlan
from bmslink.settings.bands import BANDS

__all__ = ["Before", "CheckState", "SessionCheck", "preflight", "refusals"]

_FAR = 0.300
"""V between cells at rest, below the top: that is no imbalance any more but a bad cell or wire."""


class CheckState(StrEnum):
    """What a check came to."""

    OK = "ok"
    WARNING = "warning"
    REFUSED = "refused"


class SessionCheck(msgspec.Struct, frozen=True):
    """One check."""

    name: str
    state: CheckState
    text: str
    """In a sentence, with its numbers."""

    def to_dict(self) -> dict[str, str]:
        """For JSON."""
        return {"name": self.name, "state": self.state.value, "text": self.text}


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """What was found before a session. Empty sentences: nothing is in the way."""

    unusable: str = ""
    """Why the pack's reading says too little."""
    now: CellsNow | None = None
    alarms: tuple[str, ...] = ()
    chemistry: str | None = None
    balancer: Balancer | None = None
    plan: SessionPlan | None = None
    sink: bool = False
    """There is somebody to whom limits are said."""
    sink_trouble: str = ""
    stopped: str = ""
    """Who stopped the pack."""
    held: tuple[str, ...] = ()
    """Who holds charging or balancing off."""
    busy: str = ""
    """Another program acts on the pack."""
    other: str = ""
    """Another session, running or cut off."""
    open_change: str = ""
    settings: str = ""
    """Why its settings cannot be changed as planned."""


def preflight(before: Before) -> list[SessionCheck]:
    """All checks, whether passed or not."""
    found = [*_cells(before), *_board(before)]
    if before.now is not None:
        found += [*_state(before.now, before), *_warmth(before.now, before.plan)]
    return [*found, *_others(before)]


def refusals(checks: list[SessionCheck]) -> list[SessionCheck]:
    """Those that keep it from beginning."""
    return [check for check in checks if check.state is CheckState.REFUSED]


def _check(name: str, text: str, state: CheckState = CheckState.OK) -> SessionCheck:
    return SessionCheck(name, state, text)


def _refuse(name: str, text: str) -> SessionCheck:
    return SessionCheck(name, CheckState.REFUSED, text)


def _warn(name: str, text: str) -> SessionCheck:
    return SessionCheck(name, CheckState.WARNING, text)


def _cells(before: Before) -> Iterator[SessionCheck]:
    now = before.now
    if now is None:
        yield _refuse("cells", f"The cells cannot be judged: {before.unusable or 'no reading'}.")
        return
    where = (
        f"{len(now.cells)} cells from {now.low:.3f} V (cell {now.lowest}) to {now.high:.3f} V "
        f"(cell {now.highest}): {1000 * now.delta:.0f} mV apart."
    )
    name = before.chemistry
    if name is None:
        yield _check("cells", where)
        yield _refuse(
            "chemistry", "Nobody says what the cells are: give --chemistry lfp, nmc, lto or na-ion."
        )
        return
    dead, highest = BANDS[name].uvp[0], BANDS[name].working[1]
    if now.low < dead or now.high > highest:
        beyond = f"outside {dead:.2f} to {highest:.2f} V, where {name} cells work"
        yield _refuse("cells", f"{where} That is {beyond}.")
    elif now.delta > _FAR:
        yield _refuse("cells", f"{where} More than {_FAR:.1f} V is a bad cell or wire, see to it.")
    else:
        yield _check("cells", where)
    yield _check("chemistry", f"The cells are {name}.")
    yield from _capacity(now)


def _capacity(now: CellsNow) -> Iterator[SessionCheck]:
    if now.capacity is None:
        yield _refuse(
            "capacity",
            "The board does not say the capacity, and the charge current follows from it: "
            "give --capacity AH.",
        )
    else:
        yield _check("capacity", f"{now.capacity:g} Ah.")


def _board(before: Before) -> Iterator[SessionCheck]:
    balancer, plan = before.balancer, before.plan
    if balancer is None:
        return
    amps = balancer.amps
    told = "its current is not known" if amps is None else _amps(amps, set_to=balancer.current)
    if plan is None:
        yield _check("balancer", f"The balancer of {balancer.vendor}: {told}.")
        return
    trouble = balancer.in_the_way(plan.start, plan.top, plan.target)
    hard = balancer.on is False and not balancer.switchable
    if hard:
        yield _refuse("balancer", f"The balancer cannot work: {'; '.join(trouble)}.")
    elif trouble:
        yield _warn("balancer", f"The balancer may not do it ({told}): {'; '.join(trouble)}.")
    else:
        begins = balancer.start if "balance_start_voltage" not in plan.settings else plan.start
        where = "from a voltage it does not say" if begins is None else f"from {begins:.3f} V"
        yield _check("balancer", f"The balancer works {where}; {told}.")
    if plan.top < plan.start + 0.04:
        yield _refuse(
            "top",
            f"The cells may go to {plan.top:.3f} V only ({plan.top_why}), and balancing means "
            f"something from {plan.start:.3f} V on.",
        )
    else:
        yield _check(
            "top",
            f"The highest cell is held at {plan.top:.3f} V ({plan.top_why}); "
            f"{plan.bound:.3f} V ends the session.",
        )
    if before.settings:
        yield _refuse("settings", before.settings)
    if before.now is not None and before.now.high >= plan.bound:
        yield _refuse(
            "high",
            f"Cell {before.now.highest} is at {before.now.high:.3f} V already: stop charging, and "
            "let it fall first.",
        )


def _amps(amps: tuple[float, float], *, set_to: float | None) -> str:
    if set_to:
        return f"it is set to {set_to:g} A"
    return f"such boards move {amps[0]:g} to {amps[1]:g} A"


def _state(now: CellsNow, before: Before) -> Iterator[SessionCheck]:
    if now.current is None:
        yield _refuse("current", "The board does not say how much current flows.")
    elif abs(now.current) < 0.5:
        yield _check("current", f"The pack is at rest ({now.current:+.1f} A).")
    else:
        way = "charged" if now.current > 0 else "discharged"
        yield _check("current", f"The pack is being {way} with {abs(now.current):.1f} A.")
    if now.charge_switch is False:
        yield _refuse("charging", "Charging is switched off: switch it on first.")
    elif now.shut:
        yield _refuse(
            "charging",
            "The board lets no charge current in and does not say why: switch charging on first.",
        )
    if now.protections:
        names = ", ".join(now.protections)
        yield _refuse("protections", f"The BMS protects or reports a fault: {names}.")
    elif before.alarms or now.passing:
        names = ", ".join(dict.fromkeys([*before.alarms, *now.passing]))
        yield _warn("alarms", f"The BMS warns of {names}.")
    else:
        yield _check("alarms", "The BMS warns of nothing.")
    yield from _charger(now, before)


def _charger(now: CellsNow, before: Before) -> Iterator[SessionCheck]:
    plan = before.plan
    if before.sink:
        if before.sink_trouble:
            yield _warn("charger", f"Limits are said, but: {before.sink_trouble}")
        else:
            yield _check("charger", "The charger is told its limits, and has to obey them.")
        return
    if plan is None:
        return
    if plan.supply is None:
        yield _refuse(
            "charger",
            "Nobody obeys charge limits here. Name what carries them out (--sink-command, or "
            "sink_command of the pack in bmslink.toml), or set a constant-voltage supply to "
            f"{plan.cells * plan.start + 0.05 * plan.cells / 2:.1f} V and say so with --supply.",
        )
        return
    each = plan.supply / plan.cells
    if each > plan.top or each + now.delta > plan.bound:
        yield _refuse(
            "charger",
            f"A supply of {plan.supply:g} V is {each:.3f} V for each of {plan.cells} cells, and "
            f"the highest is {1000 * now.delta:.0f} mV above the lowest: set it lower.",
        )
    elif each < plan.start + 0.01:
        yield _refuse(
            "charger",
            f"A supply of {plan.supply:g} V brings {plan.cells} cells to {each:.3f} V, and "
            f"balancing begins at {plan.start:.3f} V: set it higher.",
        )
    else:
        yield _warn(
            "charger",
            f"A person has set a supply of {plan.supply:g} V ({each:.3f} V for each cell). Nobody "
            "here can turn it down: only the BMS's own protection can stop it.",
        )


def _warmth(now: CellsNow, plan: SessionPlan | None) -> Iterator[SessionCheck]:
    if now.hottest is None or now.coldest is None:
        yield _warn("temperature", "No cell probe says anything, so nobody sees a hot cell.")
        return
    shown = f"The cells are at {now.coldest:.0f} to {now.hottest:.0f} °C"
    if plan is None:
        yield _check("temperature", f"{shown}.")
    elif now.coldest <= plan.coldest:
        yield _refuse("temperature", f"{shown}: below {plan.coldest:g} °C they are not charged.")
    elif now.hottest >= plan.hottest:
        yield _refuse("temperature", f"{shown}: above {plan.hottest:g} °C nothing is balanced.")
    elif not plan.numbers.coldest + 5 <= now.coldest <= now.hottest <= 35:
        yield _warn("temperature", f"{shown}; 10 to 35 °C suit them.")
    else:
        yield _check("temperature", f"{shown}.")


def _others(before: Before) -> Iterator[SessionCheck]:
    if before.stopped:
        yield _refuse("stop", f"{before.stopped} stopped the pack, and that holds.")
    if before.held:
        yield _refuse("held", f"Held off: {'; '.join(before.held)}.")
    for name, text in (
        ("alone", before.busy), ("session", before.other), ("change", before.open_change),
    ):  # fmt: skip
        if text:
            yield _refuse(name, text)
    if not (before.stopped or before.held or before.busy or before.other or before.open_change):
        yield _check("free", "No stop, no other program, no other session, no unfinished change.")
