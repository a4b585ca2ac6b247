"""Every byte of a transport, written down as it passes."""

from __future__ import annotations

from bmslink.errors import TransportError
from bmslink.link.capture import Writer
from bmslink.link.transport import OnData, OnLost, Transport, WrappedTransport

__all__ = ["Recorder"]


class Recorder(WrappedTransport):
    """Any transport, with every byte written down."""

    def __init__(self, inner: Transport, writer: Writer) -> None:
        super().__init__(inner)
        self.writer = writer

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

    async def write(self, data: bytes) -> None:
        try:
            self.writer.write("tx", data)
        finally:  # switching off waits for no disk
            await self.inner.write(data)
