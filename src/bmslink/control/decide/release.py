"""What holds a policy that has tripped, how that is now, and what ends it, in words."""

from __future__ import annotations

import math

from bmslink.control.decide.engine import Engine
from bmslink.control.decide.rule import PolicyRule, State, in_words
from bmslink.control.decide.sample import Quality

__all__ = ["lets_go", "value_now"]


def lets_go(engine: Engine, policy: str) -> str:
    """Why it tripped, its value now, and what ends it; empty where it has not tripped, or there is
    no such policy."""
    for rule, state in engine.rules:
        if rule.name == policy and state.tripped:
            now = _now(engine, rule)
            told = [f"{rule.name} (tripped at {state.cause})", *([now] if now else [])]
            return "; ".join([*told, f"it {_ends(rule, state)}"])
    return ""


def value_now(engine: Engine, policy: str) -> str:
    """The value of now of what has tripped; empty where it has not, or has no value of its own."""
    for rule, state in engine.rules:
        if rule.name == policy and state.tripped:
            return _now(engine, rule)
    return ""


def _now(engine: Engine, rule: PolicyRule) -> str:
    if not _measurable(rule) or not engine.measured:
        return ""
    value, quality = engine.measured[rule.source]
    if value is None or quality >= Quality.MISSING:
        return "now not known"
    return f"now {in_words(rule.quantity, value)}"


def _measurable(rule: PolicyRule) -> bool:
    """Whether it goes by a number, and not by whether something is so."""
    return bool(rule.quantity.unit) or rule.trip != 1


def _ends(rule: PolicyRule, state: State) -> str:
    if state.latched:
        return "waits for a person: `bmslink control reset TARGET`, once its cause is gone"
    value = rule.release * rule.sign
    if not math.isfinite(value) or not _measurable(rule):
        text = "lets go once that is over"
    else:
        side = "below" if rule.sign > 0 else "above"
        text = f"lets go at or {side} {in_words(rule.quantity, value)}"
    if rule.policy.off_delay:
        text += f" for {rule.policy.off_delay:g} s"
    return text
