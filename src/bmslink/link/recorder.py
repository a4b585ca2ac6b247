"""Every byte of a transport, written down as it passes."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from bmslink.errors import TransportError
from bmslink.link.capture import Writer
from bmslink.link.gatt import SeenDevice
from bmslink.link.transport import Line, OnData, OnLost, Transport

__all__ = ["Recorder"]


class Recorder(Transport):
    """Any transport, with every byte written down."""

    def __init__(self, inner: Transport, writer: Writer) -> None:
        self.inner = inner
        self.writer = writer
        self.streaming_clock = inner.streaming_clock

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        lost = False

        def record(data: bytes) -> None:
            if lost:
                return
            try:
                self.writer.write("rx", data)
            except TransportError as exc:  # a full disk: better no reading than one unrecorded
                end(exc)
            else:
                on_data(data)

        def end(error: Exception | None) -> None:
            nonlocal lost
            if not lost:
                lost = True
                on_lost(error)

        await self.inner.open(record, end)

    async def close(self) -> None:
        await self.inner.close()

    async def write(self, data: bytes) -> None:
        try:
            self.writer.write("tx", data)
        finally:  # switching off waits for no disk
            await self.inner.write(data)

    def peer(self) -> SeenDevice | None:
        return self.inner.peer()

    def line(self) -> Line | None:
        return self.inner.line()

    def reached(self) -> str:
        return self.inner.reached()

    def turn(self, **how: bool) -> AbstractAsyncContextManager[float]:
        return self.inner.turn(**how)

    def outranked(self) -> bool:
        return self.inner.outranked()

    def companions(self) -> int:
        return self.inner.companions()
