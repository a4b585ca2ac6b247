"""What apprise knows: 100 and more services, each by an address of its own. It needs the extra
`alerts`."""

from __future__ import annotations

import logging
from importlib.util import find_spec

from bmslink.errors import TargetError
from bmslink.events import EventSeverity
from bmslink.outputs.alerts.rules import Alert
from bmslink.outputs.alerts.sender import NotDelivered

__all__ = ["AppriseAddress"]

_KINDS = {
    EventSeverity.INFO: "info",
    EventSeverity.WARNING: "warning",
    EventSeverity.ALARM: "failure",
    EventSeverity.CRITICAL: "failure",
}
for _name in ("apprise", "urllib3"):  # their words may hold the address, which is a secret
    logging.getLogger(_name).addHandler(logging.NullHandler())
    logging.getLogger(_name).propagate = False


class AppriseAddress:
    """One address; no text that this makes holds more of it than its scheme."""

    def __init__(self, url: str) -> None:
        """Raises `TargetError` where apprise is missing, or does not know the address."""
        if find_spec("apprise") is None:
            raise TargetError(
                "This alert needs apprise: install it with `pip install 'bmslink[alerts]'`, or use "
                "a webhook."
            )
        import apprise

        self._scheme = url.partition(":")[0][:20]
        self._apprise = apprise.Apprise()
        if not self._apprise.add(url):
            raise TargetError(
                "apprise does not know this address: it looks like ntfy://TOPIC or mailto://…"
            )

    def __call__(self, alert: Alert) -> None:
        """See `Deliver`."""
        done = self._apprise.notify(
            body=alert.text or alert.title,
            title=alert.title,
            notify_type="success" if alert.state == "over" else _KINDS[alert.severity],
        )
        if not done:
            raise NotDelivered(f"{self._scheme}: apprise could not deliver it")
