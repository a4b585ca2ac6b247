"""The receivers that `[alerts]` names, with their secrets. No message repeats one of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from bmslink.errors import TargetError
from bmslink.outputs.alerts.options import ReceiverOptions
from bmslink.outputs.alerts.sender import Deliver
from bmslink.storage.credentials import read_secret, require_private

__all__ = ["make_receiver"]

_LONGEST = 1 << 14
_SECRET = "a secret"


def make_receiver(
    name: str, options: ReceiverOptions, beside: Callable[[str], Path], config: Path | None
) -> Deliver:
    """What brings an alert there. `beside`: a path as the file means it; `config`: that file.

    Raises `TargetError` for an address that cannot be, and for a secret that is missing or that
    everybody on this machine may read.
    """
    title = f"[alerts.to.{name}]"
    try:
        address = _secret(options.way, options, beside, config)
        if options.way == "apprise":
            from bmslink.outputs.alerts.apprise import AppriseAddress

            return AppriseAddress(address)
        from bmslink.outputs.alerts.webhook import Webhook

        token = options.token_file or options.token_env
        return Webhook(address, _secret("token", options, beside, config) if token else "")
    except TargetError as exc:
        raise TargetError(f"{title} {exc}") from None


def _secret(
    way: str, options: ReceiverOptions, beside: Callable[[str], Path], config: Path | None
) -> str:
    direct: str | None = getattr(options, way, None)
    named: str | None = getattr(options, f"{way}_file")
    variable: str | None = getattr(options, f"{way}_env")
    if direct is not None:
        if way == "apprise" and config is not None:
            require_private(config, _SECRET)
        return direct
    if named is not None:
        path = beside(named)
        try:
            found = read_secret(path, _LONGEST, _SECRET).decode().strip()
        except TargetError:
            raise
        except (OSError, ValueError) as exc:
            why = getattr(exc, "strerror", None) or "it is no text"
            raise TargetError(f"{path} cannot be read: {why}.") from None
    else:
        path = Path(variable or "")
        found = os.environ.get(variable or "", "").strip()
    if not found:
        raise TargetError(f"{path} is empty: it should hold the {way}.")
    return found
