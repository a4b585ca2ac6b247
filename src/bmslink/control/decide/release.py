"""What ends a policy that has tripped, in words."""

from __future__ import annotations

import math

from bmslink.control.decide.engine import Engine
from bmslink.control.decide.rule import PolicyRule, State, in_words

__all__ = ["lets_go"]


def lets_go(engine: Engine, policy: str) -> str:
    """What ends it; empty where it has not tripped, or there is no such policy."""
    for rule, state in engine.rules:
        if rule.name == policy and state.tripped:
            return _ends(rule, state)
    return ""


def _ends(rule: PolicyRule, state: State) -> str:
    if state.latched:
        return f"{rule.name} waits for a person: `bmslink control reset`, once its cause is gone"
    quantity, value = rule.quantity, rule.release * rule.sign
    if not math.isfinite(value) or (not quantity.unit and rule.trip == 1):
        text = f"{rule.name} lets go once that is over"
    else:
        side = "lower" if rule.sign > 0 else "higher"
        text = f"{rule.name} lets go once {quantity.title} is {in_words(quantity, value)} or {side}"
    if rule.policy.off_delay:
        text += f" for {rule.policy.off_delay:g} s"
    return text
