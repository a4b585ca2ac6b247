"""What apprise knows: more than 100 services, each by an address of its own. It needs the extra
`alerts`.

apprise runs in a process of its own for each alert: it takes 50 MB and a second to load all it
knows, which a service that watches batteries has better use for, and a hung one can be ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec

from bmslink.errors import TargetError
from bmslink.events import EventSeverity
from bmslink.outputs.alerts.message import Alert
from bmslink.outputs.alerts.sender import NotDelivered

__all__ = ["AppriseAddress"]

_KINDS = {
    EventSeverity.INFO: "info",
    EventSeverity.WARNING: "warning",
    EventSeverity.ALARM: "failure",
    EventSeverity.CRITICAL: "failure",
}
_TIMEOUT = 60.0  # s
_UNKNOWN = 3
_CHILD = f"""
import apprise, json, sys
asked = json.load(sys.stdin)
found = apprise.Apprise()
if not found.add(asked.pop("url")):
    sys.exit({_UNKNOWN})
sys.exit(0 if not asked or found.notify(**asked) else 1)
"""


class AppriseAddress:
    """One address; no text that this makes holds more of it than its scheme."""

    def __init__(self, url: str, *, timeout: float = _TIMEOUT) -> None:
        """Raises `TargetError` where apprise is missing, or does not know the address."""
        self._url, self._timeout = url, timeout
        self._scheme = url.partition(":")[0][:20]
        if find_spec("apprise") is None:
            raise TargetError(
                "This alert needs apprise: install it with `pip install 'bmslink[alerts]'`, or use "
                "a webhook."
            )
        with suppress(NotDelivered):  # then the first alert says what is wrong
            self._check()

    def _check(self) -> None:
        if self._run() == _UNKNOWN:
            raise TargetError(
                "apprise does not know this address: it looks like ntfy://TOPIC or mailto://…"
            )

    def __call__(self, alert: Alert) -> None:
        """See `Deliver`."""
        kind = "success" if alert.state == "over" else _KINDS[alert.severity]
        body = alert.text or alert.title
        if self._run(title=alert.title, body=body, notify_type=kind) != 0:
            raise NotDelivered(f"{self._scheme}: apprise could not deliver it")

    def _run(self, **asked: str) -> int:
        """How apprise ends. What it says stays unheard, because it may name the address."""
        text = json.dumps({"url": self._url, **asked}).encode()
        with ThreadPoolExecutor(1) as alone:  # the caller may have a loop that runs
            try:
                return alone.submit(asyncio.run, _child(text, self._timeout)).result()
            except TimeoutError:
                raise NotDelivered(f"{self._scheme}: apprise did not end in time") from None
            except OSError as exc:
                raise NotDelivered(f"{self._scheme}: apprise cannot run: {exc.strerror}") from None


async def _child(text: bytes, timeout: float) -> int:
    """Its exit code. Raises `TimeoutError`, `OSError`."""
    nothing = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", _CHILD,
        stdin=asyncio.subprocess.PIPE, stdout=nothing, stderr=nothing,
    )  # fmt: skip
    try:
        async with asyncio.timeout(timeout):
            await process.communicate(text)
            return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
