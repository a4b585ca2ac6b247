"""What `bmslink control run --enforce` needs beside `--shadow`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bmslink.cli.streams import waiting_for_stdout
from bmslink.errors import BmsError, GateError, PortBusy, UsageError

if TYPE_CHECKING:
    from bmslink.board import Board
    from bmslink.cli.control_printer import Printer
    from bmslink.cli.output import Session
    from bmslink.control.decide.policy import PolicySet
    from bmslink.runtime.acting.limit_sinks import LimitSink, LimitSinks
    from bmslink.runtime.judging.pack_memory import PackMemory
    from bmslink.runtime.supervisor import Enforcing

__all__ = ["ActingRun"]

T = TypeVar("T")
_LAST_WORDS = 5.0
"""How long the end waits for the journal, s."""


class ActingRun:
    """One `control run --enforce`."""

    def __init__(
        self,
        session: Session,
        printer: Printer,
        chosen: PolicySet,
        path: str,
        sink_command: str | None,
        *,
        untested: bool,
    ) -> None:
        """Raises `GateError` where the file may not act, `UsageError` for sinks that cannot be."""
        from bmslink.runtime.acting.start import read_policy_text, require_host_power
        from bmslink.runtime.judging.disk import DiskQueue

        require_host_power(chosen, path)
        if sink_command == "-" and not session.json:
            raise UsageError("--sink-command - writes JSON lines: give --json as well.")
        self._session, self._printer, self._path = session, printer, path
        self._sink_command = sink_command
        self._waive = frozenset({"untested"} if untested else ())
        self._text = read_policy_text(Path(path))
        self.queue = DiskQueue()
        """What goes to the disk: nothing that acts waits for it."""
        self._ill = False

    async def require_consent(self, devices: list[Board]) -> None:
        """Open them and look: `GateError` where a pack that answers has nothing approved, or where
        a service has it; `PortBusy` where another program has its port; then none is open. One that
        does not answer is looked at when it does."""
        try:
            for device in devices:
                await self._require_consent_of(device)
        except BaseException:
            for device in devices:
                await device.close()
            raise

    async def _require_consent_of(self, device: Board) -> None:
        from bmslink.runtime.acting.start import acted_on_elsewhere, served_text, standing_of

        if device.elsewhere("switch") is not None:
            raise GateError(f"Nothing was sent. {served_text(device)}")
        try:
            await device.open()
            identity = await device.identify()
            standing = standing_of(device, identity, self._text)
            busy = acted_on_elsewhere(device, identity)
        except PortBusy:
            raise
        except BmsError as error:
            await device.close()
            self._session.say(f"{device.target.label}: {error} It waits for its consent.")
            return
        if standing.enforced is None:
            raise GateError(f"Nothing was sent. {standing.text}")
        if busy:
            raise GateError(
                f"Nothing was sent. Another program on this machine acts on "
                f"{device.target.label}: end it first (`bmslink control status` shows it)."
            )

    def pack(self, index: int, device: Board, interval: float) -> Enforcing:
        """What one pack needs."""
        from bmslink.runtime.acting.acting_side import ActingSide
        from bmslink.runtime.supervisor import Enforcing

        target = str(device.target)

        def tell(what: str, text: str, *, alarm: bool = False, **data: Any) -> None:
            self._printer.on_acting(index, str(data.get("change", what)), text, alarm=alarm)

        side = ActingSide(
            device, self._text, self._path,
            enforce=True, interval=interval, note=self.append, tell=tell, target=target,
            waive=self._waive, sinks=self._sinks(target),
        )  # fmt: skip
        return Enforcing(side, self.append, self._memory(device.target.label, target))

    def _memory(self, name: str, target: str) -> PackMemory:
        from bmslink.runtime.judging.pack_memory import (
            MemoryPlace,
            PackDisk,
            PackMemory,
            default_folder,
        )
        from bmslink.storage.journal import Journal

        disk = PackDisk(self.queue, default_folder(), Journal())
        return PackMemory(MemoryPlace(name, target), disk, self._printer.on_trouble)

    def _sinks(self, target: str) -> LimitSinks:
        from bmslink.runtime.acting.limit_sinks import CommandSink, LimitSinks, LineSink

        found: list[LimitSink] = []
        if self._sink_command == "-":
            write = partial(self._session.record, latest=f"limits {target}")
            found.append(LineSink(write, waiting_for_stdout))
        elif self._sink_command is not None:
            found.append(CommandSink(self._sink_command))
        return LimitSinks(found, {"target": target})

    def append(self, event: str, **data: Any) -> None:
        """Have a record written to the journal; nothing waits for it."""
        from bmslink.storage.journal import Journal

        self.queue.put(partial(Journal().append, event, **data), ended=self._written)

    def _written(self, error: str) -> None:
        if error and not self._ill:
            self._printer.on_trouble(f"{error} What runs goes on.")
        self._ill = bool(error)

    async def around(self, devices: list[Board], work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Look for the consent of each pack, then do it while the journal is written."""
        import asyncio

        await self.require_consent(devices)
        writing = asyncio.create_task(self.queue.run())
        try:
            return await work()
        finally:
            await self.queue.flush(_LAST_WORDS)
            writing.cancel()
            self.queue.close()
