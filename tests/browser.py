"""A real browser for tests of pages: Chromium without a window, steered over two pipes.

It needs no network and no driver. `needs(program="chromium")` marks the tests that use it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cli_support import leash
from counterparts import require

__all__ = ["Browser", "Page", "browser"]

_PATIENCE = 30.0


class Browser:
    """The program and its two pipes; messages end with a zero byte."""

    def __init__(self, folder: Path) -> None:
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        arguments = (
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic"),
            "--disable-dev-shm-usage",
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *("--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"),
        )
        shell = 'exec "$@" 3<&"$0" 4>&"$BROWSER_OUT"'
        self._process = subprocess.Popen(
            [*leash(), "bash", "-c", shell, str(to_read), require("chromium"), *arguments],
            pass_fds=(to_read, to_write),
            env={**os.environ, "BROWSER_OUT": str(to_write), "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._number, self._rest = 0, b""
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **values: Any) -> dict[str, Any]:
        """The result of one command; what happens meanwhile goes to `events`."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": values}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            found = self._message()
            if found.get("id") == self._number:
                assert "error" not in found, f"{method}: {found['error']}"
                result: dict[str, Any] = found["result"]
                return result
            self.events.append(found)
        raise AssertionError(f"the browser does not answer {method}")

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = os.read(self._read, 1 << 20)
            assert piece, "the browser ended"
            self._rest += piece
        one, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(one)
        return found

    def close(self) -> None:
        """End it."""
        for handle in (self._write, self._read):
            os.close(handle)
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Page:
    """One page, and all that went wrong in it."""

    def __init__(self, browser: Browser, file: Path, width: int = 1100, height: int = 900) -> None:
        self._browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session: str = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        self.call("Page.navigate", url=file.as_uri())
        until = time.monotonic() + _PATIENCE
        while self.value("document.readyState") != "complete" and time.monotonic() < until:
            time.sleep(0.05)

    def call(self, method: str, **values: Any) -> dict[str, Any]:
        """A command of the DevTools protocol, to this page."""
        return self._browser.call(method, self._session, **values)

    def value(self, expression: str) -> Any:
        """What an expression is, as JSON."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                          awaitPromise=True)  # fmt: skip
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    @property
    def complaints(self) -> list[str]:
        """Exceptions, what is refused, what is on the console."""
        kinds = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        return [json.dumps(e["params"])[:500] for e in self._events() if e["method"] in kinds]

    @property
    def requests(self) -> list[str]:
        """What the page asked for, itself included."""
        events = [e for e in self._events() if e["method"] == "Network.requestWillBeSent"]
        return [e["params"]["request"]["url"] for e in events]

    def _events(self) -> list[dict[str, Any]]:
        return [e for e in self._browser.events if e.get("sessionId") == self._session]

    def drag(self, left: float, right: float, y: float) -> None:
        """The mouse, pressed, from one place to another."""
        for kind, x, buttons in (
            ("mouseMoved", left, 0), ("mousePressed", left, 1),
            ("mouseMoved", (left + right) / 2, 1), ("mouseMoved", right, 1),
            ("mouseReleased", right, 0),
        ):  # fmt: skip
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, buttons=buttons,
                      button="none" if kind == "mouseMoved" else "left", clickCount=1)  # fmt: skip

    def dark(self, *, on: bool) -> None:
        """What its reader prefers."""
        wanted = {"name": "prefers-color-scheme", "value": "dark" if on else "light"}
        self.call("Emulation.setEmulatedMedia", features=[wanted])

    def picture(self) -> bytes:
        """What is seen, as PNG."""
        return base64.b64decode(
            self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        )

    def pdf(self, *, letter: bool = False) -> bytes:
        """What is printed, as the page says: on A4, or on Letter."""
        width, height = (8.5, 11.0) if letter else (8.27, 11.69)
        found = self.call("Page.printToPDF", printBackground=False, preferCSSPageSize=False,
                          paperWidth=width, paperHeight=height)  # fmt: skip
        return base64.b64decode(found["data"])


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser while the block runs; what it keeps is in this folder."""
    made = Browser(folder)
    try:
        yield made
    finally:
        made.close()
