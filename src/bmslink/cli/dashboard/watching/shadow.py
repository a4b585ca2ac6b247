"""What the policies of a named pack would decide on what is shown; nothing here acts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bmslink.cli.dashboard.model.bounds import CellBound, PolicyMargin
from bmslink.cli.dashboard.model.pack import WatchedPack
from bmslink.errors import BmsError
from bmslink.model import Reading

if TYPE_CHECKING:
    from bmslink.control.decide.engine import Engine
    from bmslink.control.decide.policy import PolicySet
    from bmslink.control.decide.rule import PolicyRule
    from bmslink.packs import NamedPack

__all__ = ["ShadowPolicies"]

_CELLS = {"max_cell": ("h", True, "charge"), "min_cell": ("l", False, "discharge")}
"""Quantity -> its mark, whether it is an upper limit, and which current it stops."""
_NEAR = 4.0
"""A policy is far away from where the pack is so many times its hysteresis from it, and nearer by
equal steps."""


class ShadowPolicies:
    """The engine of one pack, for show."""

    def __init__(self, pack: WatchedPack) -> None:
        self._pack = pack
        self._policies: PolicySet | None = None
        self._engine: Engine | None = None
        self._settings: object = None
        self._said = ""
        self.bounds: list[CellBound] = []
        """Where they act on a cell."""

    def load(self, named: NamedPack | None, file: Path) -> None:
        """Read the policy file that stands beside a name in bmslink.toml (`file`), if one does."""
        if named is None or named.policies is None:
            return
        from bmslink.control.files import load_policies

        path = file.parent / named.policies
        try:
            self._policies = load_policies(path)
        except BmsError as error:
            self._said = str(error)
        else:
            self._said = f"{path}, in shadow, judged here: nothing acts"
        self._pack.policies = self._said

    def begin_anew(self) -> None:
        """Who judges the pack changed: nothing of what the other one decided holds."""
        self.forget()
        self._pack.policies, self._pack.limits = self._said, {}

    def forget(self) -> None:
        """Another board answers: begin anew."""
        self._engine = None

    def judge(self, reading: Reading, now: float) -> None:
        """A reading came. A pack that a service judges is left to it."""
        pack = self._pack
        if self._policies is None or pack.through:
            return
        if self._engine is None or self._settings is not pack.settings:
            self._begin(self._policies)
        if self._engine is None:
            return
        pack.limits = self._engine.step(reading, now).to_dict()

    def _begin(self, policies: PolicySet) -> None:
        from bmslink.control.decide.engine import Engine
        from bmslink.control.decide.policy import Mode

        pack = self._pack
        self._settings = pack.settings
        values = {} if pack.settings is None else pack.settings.values()
        numbers = {
            key: float(value)
            for key, value in values.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        acting = (Mode.ENFORCE, Mode.SHADOW)
        try:
            self._engine = Engine(policies, numbers, acting=acting, poll=max(0.1, pack.interval))
        except BmsError as error:
            self._policies, pack.policies = None, str(error)
            return
        self.bounds = [*_bounds(self._engine.plan.rules)]

    def margins(self) -> list[PolicyMargin]:
        """How far the pack is from each policy, as of the latest reading."""
        if self._engine is None:
            return []
        states = {v["policy"]: v for v in self._pack.limits.get("verdicts", ())}
        found = []
        for rule in self._engine.plan.rules:
            if rule.timeless or not math.isfinite(rule.trip):
                continue
            measured = self._engine.measured
            value = measured[rule.source][0] if rule.source < len(measured) else None
            found.append(_margin(rule, value, states.get(rule.name, {})))
        return found


def _margin(rule: PolicyRule, value: float | None, verdict: dict[str, str]) -> PolicyMargin:
    from bmslink.control.decide.rule import in_words

    text, state = str(verdict.get("text", "")), str(verdict.get("state", "holds"))
    apart = None if value is None else rule.trip - rule.sign * value
    reach = _NEAR * max(rule.quantity.hysteresis, 1e-6)
    share = 0.0 if apart is None else max(0.0, min(1.0, 1 - apart / (5 * reach)))
    if value is None and state == "holds":
        state, text = "rests", text or "not measured"
    return PolicyMargin(
        name=rule.name,
        title=rule.policy.title,
        value="" if value is None else in_words(rule.quantity, value),
        trip=in_words(rule.quantity, rule.sign * rule.trip),
        share=1.0 if state in ("tripped", "latched") else share,
        margin="" if apart is None else f"{in_words(rule.quantity, max(0.0, apart))} away",
        state=state,
        mode=rule.policy.mode.value,
        text=text,
    )


def _bounds(rules: tuple[PolicyRule, ...]) -> Iterator[CellBound]:
    """The first policy that stops the current on each side."""
    found: dict[str, PolicyRule] = {}
    for rule in rules:
        if rule.policy.quantity not in _CELLS or not math.isfinite(rule.trip) or rule.curve:
            continue
        stops = _CELLS[rule.policy.quantity][2] in rule.policy.acts
        if stops and rule.policy.severity.name == "TRIP":
            before = found.setdefault(rule.policy.quantity, rule)
            if rule.trip < before.trip:
                found[rule.policy.quantity] = rule
    for name, rule in found.items():
        mark, over, _ = _CELLS[name]
        yield CellBound(mark, f"policy {rule.name}", rule.sign * rule.trip, over)
