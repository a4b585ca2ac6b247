"""A balancing session for programs: what `Device.balance_session` calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bmslink.board import Board
from bmslink.control.sessions.options import SessionOptions
from bmslink.errors import BmsError, GateError
from bmslink.runtime.acting.limit_sinks import LineSink
from bmslink.runtime.sessions.host import DirectHost
from bmslink.runtime.sessions.session import BalanceSession

__all__ = ["Ask", "balance", "report_when_over"]

Ask = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""Asks the service that owns a pack."""
_LOOK = 1.0
"""s between two looks at a session of a service."""


async def balance(
    board: Board,
    options: Mapping[str, Any],
    *,
    interval: float,
    sink: Callable[[dict[str, Any]], None] | None,
    on_news: Callable[[str], None] | None,
) -> dict[str, Any]:
    """On an open board; its report. Raises `UsageError`, `GateError`, what reading raises, and
    `RestoreError` where not all is read back as it was."""
    chosen = SessionOptions.of(options)
    if (there := board.elsewhere("balance")) is not None:
        if sink is not None:
            raise GateError("Nothing was sent: the service of this pack says its limits.")
        return await _there(there, chosen)
    news = on_news or (lambda text: None)
    host = DirectHost(
        board, interval=interval, sinks=[] if sink is None else [LineSink(sink)],
        tell=lambda what, text, alarm: news(text), waive=frozenset(chosen.waive),
    )  # fmt: skip
    try:
        session = BalanceSession(host, chosen)
        await session.prepare()
        return (await session.run()).to_dict()
    finally:
        await host.close()


async def _there(ask: Ask, options: SessionOptions) -> dict[str, Any]:
    """By the service; it goes on whatever becomes of this program."""
    about = options.to_dict()
    looked = await ask({"do": "plan", "options": about})
    if looked["refused"] or looked["plan"] is None:
        told = " ".join(c["text"] for c in looked["checks"] if c["state"] == "refused")
        raise GateError(f"Nothing was sent. {told}")
    agreed = looked["plan"]["agreement"]
    await ask({"do": "start", "options": about, "agreed": agreed})
    return await report_when_over(ask, lambda found: None)


async def report_when_over(ask: Ask, show: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Look until a session has ended; its report. Raises `BmsError` where it ended without one."""
    while True:
        found = await ask({"do": "status"})
        if found.get("error"):
            raise BmsError(str(found["error"]))
        if found["state"] == "none":
            report = found.get("report")
            if isinstance(report, dict):
                return report
            raise GateError("No balancing session of it runs, and no report of one is kept.")
        show(found)
        await asyncio.sleep(_LOOK)
