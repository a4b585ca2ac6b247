"""Which Bluetooth stack bleak drives: the system's own, or one that `BMSLINK_BLE_BACKEND` names.

The variable is `MODULE:FACTORY` or `MODULE:FACTORY:SPEC`; `bumble:SPEC` is short for the bundled
one (`bmslink.transports.ble.bumble:factory:SPEC`, e.g. `bumble:tcp-client:127.0.0.1:9000`). The
factory is an ordinary function that gets SPEC (or an empty string) and gives back a `Backend`:

```python
class Mine(Backend):
    def __init__(self, spec: str) -> None:
        super().__init__("mine", client=MyClient, scanner=MyScanner)

    async def open(self) -> None: ...
    async def close(self) -> None: ...
```

`client` and `scanner` are passed to bleak as `backend=`: subclasses (not objects, because bleak
makes those) of `bleak.backends.client.BaseBleakClient` and
`bleak.backends.scanner.BaseBleakScanner`. What they share (an opened adapter, a connection to a
proxy) lives in the `Backend`, e.g. in classes made by the factory:
`type("Client", (MyClient,), {"radio": self})`.

The factory is called once per event loop and variable text; `open` is awaited before the first
use and `close` after the last one has ended (a transport that is open or a scan that runs is one
use), so an adapter is set up once however many packs there are, and is free when nobody needs it.
After `close` the same object may be opened again. Whatever these raise is translated to one of
bmslink's own errors (`ble_errors.py`).
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from bleak import BleakClient
from bleak.backends.client import BaseBleakClient
from bleak.backends.scanner import BaseBleakScanner

from bmslink.errors import BmsError, TargetError
from bmslink.link.transport import load
from bmslink.transports.ble.errors import brought_to_an_end

__all__ = ["VARIABLE", "Backend", "backend_in_use"]

VARIABLE = "BMSLINK_BLE_BACKEND"
_BUNDLED = {"bumble": "bmslink.transports.ble.bumble:factory"}


class Backend:
    """A Bluetooth stack; without classes of its own it is the system's."""

    def __init__(
        self,
        name: str = "system",
        *,
        client: type[BaseBleakClient] | None = None,
        scanner: type[BaseBleakScanner] | None = None,
    ) -> None:
        self.name = name
        self.client = client
        self.scanner = scanner
        self.radio = asyncio.Lock()
        """Held by whoever scans or connects: most adapters do one of that at a time."""

    async def open(self) -> None:
        """Set up what all clients and scanners share; raises what it likes."""

    async def close(self) -> None:
        """Release it; may be called after an `open` that failed."""

    async def pair(self, client: BleakClient, passkey: str) -> None:
        """Pair a connected device that asks for a passkey; the system's own stack may ask the
        user for it instead."""
        if self.client is None and sys.platform == "linux":
            from bmslink.transports.ble.pairing import agent  # D-Bus exists on Linux only

            async with agent(passkey):
                await client.pair()
        else:
            await client.pair()


class _Use:
    """A backend, whether it is open, and how many use it at the moment."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.users = 0
        self.open = False
        self.lock = asyncio.Lock()


_uses: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Use]] = WeakKeyDictionary()


def _make(text: str) -> Backend:
    """The backend that the variable names; `TargetError` if there is none of that name."""
    if not text:
        return Backend()
    module, _, rest = text.partition(":")
    if module in _BUNDLED:
        path, spec = _BUNDLED[module], rest
    else:
        name, _, spec = rest.partition(":")
        path = f"{module}:{name}"
    try:
        factory = load(path)
    except (ImportError, AttributeError, ValueError) as exc:
        extra = " (pip install 'bmslink[bumble]')" if module in _BUNDLED else ""
        raise TargetError(f"{VARIABLE}={text!r} cannot be loaded: {exc}{extra}.") from exc
    try:
        backend = factory(spec) if callable(factory) else None
    except BmsError:
        raise
    except Exception as exc:  # somebody else's factory
        raise TargetError(f"{VARIABLE}={text!r}: {path} failed: {exc}.") from exc
    if not isinstance(backend, Backend):
        raise TargetError(f"{VARIABLE}={text!r}: {path} gives no bmslink Bluetooth backend.")
    return backend


@asynccontextmanager
async def backend_in_use() -> AsyncIterator[Backend]:
    """The backend, open as long as this lasts."""
    text = os.environ.get(VARIABLE, "")
    mine = _uses.setdefault(asyncio.get_running_loop(), {})
    if text not in mine:
        mine[text] = _Use(_make(text))
    use = mine[text]
    async with use.lock:
        if not use.open:
            try:
                await use.backend.open()
            except BaseException:
                await brought_to_an_end(use.backend.name, use.backend.close)
                raise
            use.open = True
        use.users += 1
    try:
        yield use.backend
    finally:
        use.users -= 1  # at once: who is cancelled while he waits here uses it no more either
        async with use.lock:
            if use.open and not use.users:
                use.open = False
                await brought_to_an_end(use.backend.name, use.backend.close)
