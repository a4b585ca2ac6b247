"""What goes out on the wire when we talk to a simulated board of each protocol, byte by byte.

`python tools/wire_goldens.py` writes `tests/fixtures/wire/<protocol>.json` anew; only after a
change that is meant to change what is sent. A test compares on every run, so that a change of names
and places shows that it is none of bytes.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

from bmslink import BmsError, Command, connect
from bmslink.board import Board
from bmslink.config import adjust, apply, draft, draft_adjustment, switch
from bmslink.model import Adjustment, Switch
from bmslink.protocols import DRIVERS
from bmslink.storage.journal import Journal
from virtual_time import virtual_run

__all__ = ["GOLDENS", "sent_to"]

GOLDENS = Path(__file__).parent.parent / "tests" / "fixtures" / "wire"
_LIMITS: Mapping[str, object] = {"cell_ovp": 3.6, "cell_uvp": 2.6, "charge_utp": 1.0}
_WISHES: Mapping[str, Mapping[str, object]] = {
    "jk04": {"balance_delta": 0.015},
    "daly-d2": {"cell_ovp": 3.6, "charge_utp": 1.0, "charge_otp": 54},
    "daly-a5": {"cell_ovp": 3.6, "charge_ocp": 90, "charge_utp": 1.0},
}
_MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def _change(device: Board, journal: Journal) -> object:
    wishes = _WISHES.get(device.driver.name, _LIMITS)
    plan = await draft(device, wishes, chemistry="lfp", journal=journal)
    return await apply(device, plan, journal=journal)


async def _clock(device: Board, journal: Journal) -> object:
    wish = Adjustment(clock=_MOMENT)
    plan = await draft_adjustment(device, wish, waive={"untested"}, journal=journal)
    return await adjust(device, plan, journal=journal)


_SESSIONS: Mapping[str, Callable[[Board, Journal], Awaitable[object]]] = {
    "info": lambda device, journal: device.identify(),
    "read": lambda device, journal: device.read(),
    "settings": lambda device, journal: device.settings(),
    "change": _change,
    "off": lambda device, journal: switch(
        device, Command(Switch.DISCHARGE, False), journal=journal
    ),
    "on": lambda device, journal: switch(device, Command(Switch.DISCHARGE, True), journal=journal),
    "balance": lambda device, journal: switch(
        device, Command(Switch.BALANCE, False), journal=journal
    ),
    "clock": _clock,
}
"""Each on a line of its own, one after the other, to the same kind of board."""


def sent_to(protocol: str, folder: Path) -> dict[str, list[str]]:
    """Session -> the writes of it, in hex, and how it ended where that was an error."""
    return {name: virtual_run(_sent(protocol, name, folder / name)) for name in _SESSIONS}


async def _sent(protocol: str, name: str, folder: Path) -> list[str]:
    sent: list[str] = []
    device = connect(f"{protocol}+sim://?cells=4&load=idle&seed=1").board
    write = device.link.transport.write

    async def written(data: bytes) -> None:
        sent.append(data.hex())
        await write(data)

    with patch.object(device.link.transport, "write", written):
        try:
            async with device:
                await _SESSIONS[name](device, Journal(folder))
        except BmsError as error:
            sent.append(type(error).__name__)
    return sent


def main() -> int:
    """Write them all."""
    GOLDENS.mkdir(exist_ok=True)
    for protocol in DRIVERS:
        with tempfile.TemporaryDirectory() as folder:
            text = json.dumps(sent_to(protocol, Path(folder)), indent=1)
        (GOLDENS / f"{protocol}.json").write_text(f"{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
