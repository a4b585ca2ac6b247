"""The receivers that `[alerts]` names, with their secrets. No message repeats one of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from bmslink.errors import TargetError
from bmslink.outputs.alerts.options import ReceiverOptions
from bmslink.outputs.alerts.sender import Deliver
from bmslink.storage.atomic import read_bounded

__all__ = ["make_receiver"]

_LONGEST = 1 << 14


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
            _require_private(config)
        return direct
    if named is not None:
        path = beside(named)
        try:
            _require_private(path)
            found = read_bounded(path, _LONGEST, "secret").decode().strip()
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


def _require_private(path: Path) -> None:
    """Raises `TargetError` where everybody may read a file with a secret; `OSError`."""
    if os.name == "posix" and path.stat().st_mode & stat.S_IROTH:
        raise TargetError(
            f"Everybody on this machine may read {path}, which holds a secret: `chmod o= {path}`."
        )
