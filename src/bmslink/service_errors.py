"""Errors between a service and its clients: what was raised there is raised here as the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmslink import errors
from bmslink.config.checks.check import Check
from bmslink.config.outcome import Outcome
from bmslink.errors import BmsError, LinkClosed, LinkTimeout, RollbackError, TransportError
from bmslink.service_client import Lost
from bmslink.service_forms import in_form, of_form

__all__ = ["error_form", "error_of", "lost_change", "lost_off"]


def error_form(error: BmsError) -> dict[str, Any]:
    """An error, so that it can be raised again elsewhere as the same."""
    more: dict[str, Any] = {}
    for name in ("heard", "status", "checks"):
        if value := getattr(error, name, None):
            more[name] = in_form(value)
    found, outcome = getattr(error, "found", None), getattr(error, "outcome", None)
    if isinstance(found, bytes):
        more["found"] = found.hex()
    if isinstance(outcome, Outcome):
        more["outcome"] = in_form(outcome)
    return {"error": str(error), "kind": _kind(error), **more}


def _kind(error: BmsError) -> str:
    """The class of ours that it is, or is derived from."""
    return next(each.__name__ for each in type(error).__mro__ if each.__name__ in errors.__all__)


def error_of(form: Mapping[str, Any]) -> BmsError:
    """The error again; one of a kind that is not known is a `TransportError`."""
    sentence, hint, kind = (str(form.get(name) or "") for name in ("error", "hint", "kind"))
    known = getattr(errors, kind, None) if kind in errors.__all__ else None
    text = " ".join(part for part in (sentence, hint) if part) or "The service gave no reason."
    if known is None:
        return TransportError(f"The service says: {text}")
    if issubclass(known, errors.LinkTimeout):
        return errors.LinkTimeout(text, str(form.get("heard", "silence")))
    if issubclass(known, errors.GateError):
        return errors.GateError(text, of_form(list[Check], form.get("checks", [])))
    if issubclass(known, errors.Refused):
        status = form.get("status")
        return errors.Refused(text, status if isinstance(status, int) else None)
    outcome = form.get("outcome")
    ended = of_form(Outcome, outcome) if isinstance(outcome, dict) else None
    if issubclass(known, errors.VerifyError):
        raw = form.get("found")
        return errors.VerifyError(text, _bytes(raw), ended)
    if issubclass(known, errors.RollbackError):
        return errors.RollbackError(text, ended)
    made: BmsError = known(text)
    return made


def lost_change(after: str) -> Lost:
    """For a change whose service fails: once it was asked for, something may have been written,
    and `after` says how to find out."""

    def lost(error: TransportError, sent: bool) -> BmsError:
        return RollbackError(f"{error} {after}") if sent else error

    return lost


def lost_off(switch: str, pid: int) -> Lost:
    """For switching off: whether the request went out or not, nobody knows that it is off."""

    def lost(error: TransportError, sent: bool) -> BmsError:
        del sent
        unknown = f"nothing says that {switch} is off."
        if isinstance(error, LinkTimeout):
            return LinkTimeout(
                f"The service (process {pid}) does not answer, so {unknown} End it (`kill -9 "
                f"{pid}`) and give the command again: then it goes to the pack at once."
            )
        return LinkClosed(f"{error} So {unknown} Give the command again at once.")

    return lost


def _bytes(raw: object) -> bytes | None:
    try:
        return bytes.fromhex(raw) if isinstance(raw, str) else None
    except ValueError:
        return None
