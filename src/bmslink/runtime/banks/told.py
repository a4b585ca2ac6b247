"""Events of a bank: another pack or reason binds a limit, a pack is missing, it is well again."""

from __future__ import annotations

from typing import Any

from bmslink.control.banks.decision import BankCode, BankDecision, BankLimit
from bmslink.runtime.watching.conditions import Teller

__all__ = ["BankTeller"]

_SETTLED = 10.0
"""s for which another reason has to bind a limit before it is told, as with a pack's limits."""
_ORDINARY = ("rating", "recovery", "charge_voltage", "discharge_voltage")
"""Reasons of a pack's limit that nothing lowers."""
_TITLES = {
    "cvl": ("The charge voltage", "V"),
    "ccl": ("The charge current", "A"),
    "dcl": ("The discharge current", "A"),
    "dvl": ("The discharge voltage", "V"),
}
_Binding = tuple[str, str, str]
"""Code, pack, and the policy of that pack; three times nothing: it is as it should be."""
_NOTHING: _Binding = ("", "", "")


class BankTeller:
    """Of one bank."""

    def __init__(self, name: str, tell: Teller) -> None:
        self._name, self._tell = name, tell
        self._bound: dict[str, _Binding] = {}
        self._waiting: dict[str, tuple[_Binding, float]] = {}
        self._trouble: dict[str, float] = {}
        self._said: set[str] = set()

    def hear(self, decision: BankDecision, now: float) -> None:
        """A decision. What has lasted for a while is told."""
        for name in _TITLES:
            limit: BankLimit | None = getattr(decision, name)
            self._limit(name, _NOTHING if limit is None else _binding(limit), limit, now)
        self._troubled(decision.trouble, now)

    def _limit(self, name: str, binding: _Binding, limit: BankLimit | None, now: float) -> None:
        before = self._bound.get(name, _NOTHING)
        if binding == before:
            self._waiting.pop(name, None)
            return
        waiting, since = self._waiting.get(name, (None, now))
        if waiting != binding:
            self._waiting[name] = binding, now
            return
        if now - since < _SETTLED:
            return
        del self._waiting[name]
        self._bound[name] = binding
        title, unit = _TITLES[name]
        key, of = f"bank/{self._name}/{name}", f"{title} of the bank {self._name}"
        code, pack, policy = binding
        value = None if limit is None else limit.value
        data: dict[str, Any] = {
            "bank": self._name,
            "limit": name,
            "value": value,
            "code": code or None,
        }
        if binding == _NOTHING or limit is None:
            shown = "" if value is None else f": {value:g} {unit}"
            text = f"{of} is no longer limited{shown}."
            self._tell("limit", text, key=key, over=True, by=None, policy=None, **data)
            return
        text = f"{of} is limited to {limit.value:g} {unit}: {limit.why.text}."
        self._tell("limit", text, key=key, by=pack or None, policy=policy or None, **data)

    def _troubled(self, trouble: tuple[str, ...], now: float) -> None:
        self._trouble = {text: self._trouble.get(text, now) for text in trouble}
        lasting = {text for text, since in self._trouble.items() if now - since >= _SETTLED}
        for text in sorted(lasting - self._said):
            self._say(text, alarm=True)
        for text in sorted(self._said - set(self._trouble)):
            self._say(text, over=True)
        self._said = (self._said & set(self._trouble)) | lasting

    def _say(self, text: str, *, alarm: bool = False, over: bool = False) -> None:
        key = f"bank/{self._name}/{text}"
        told = f"It is over: {text}" if over else text
        told = f"Bank {self._name}: {told}"
        self._tell("trouble", told, alarm=alarm, key=key, over=over, bank=self._name)

    def mistaken(self, text: str) -> None:
        """A mistake of ours."""
        self._tell("trouble", f"Bank {self._name}: {text}", alarm=True, bank=self._name)


def _binding(limit: BankLimit) -> _Binding:
    why = limit.why
    usual = why.code in (BankCode.SHARE, BankCode.SUM, BankCode.PHASE, BankCode.PROTECT)
    if usual and (not why.policy or why.policy in _ORDINARY):
        return _NOTHING
    return why.code.value, why.pack, why.policy
