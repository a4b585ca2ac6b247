"""For programs that own their connection: `Decoder` and `encode`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from bmslink.arguments import checked
from bmslink.decoding import Event, Skip, Stream
from bmslink.errors import TargetError
from bmslink.model import Reading
from bmslink.protocols import load_driver
from bmslink.protocols.base import Options

__all__ = ["Decoder", "encode"]


class Decoder:
    """Decodes what one pack sends: no connection, no clock, no waiting.

    ```python
    decoder = bmslink.Decoder("jk02")
    for chunk in notifications:
        for reading in decoder.feed(chunk):
            print(reading.soc)
    ```

    Chunks may be cut anywhere and may hold noise; what is no valid frame is skipped and counted.
    JBD, JK02, JK04 and `jk-nw` polls are given as soon as they are complete; of the other
    protocols only the next poll (or `flush`) shows that one was.
    """

    @checked(TargetError)
    def __init__(
        self,
        protocol: str,
        *,
        current_sign: Literal["auto", "normal", "inverted"] = "auto",
        variant: str | None = None,
    ) -> None:
        """`protocol` as in targets (`jk02`, `jbd`, `daly-a5`…); `current_sign` and `variant` (`24s`
        or `32s` of `jk02`) where the bytes alone do not tell. Raises `TargetError`."""
        options = Options(current_sign=current_sign, variant=variant)
        self._stream = Stream(protocol, options, at_once=True)
        self._time: datetime | None = None
        self._skipped = 0

    @property
    def protocol(self) -> str:
        """The protocol that it decodes."""
        return self._stream.protocol

    @property
    def frames(self) -> int:
        """How many whole frames came."""
        return self._stream.frames

    @property
    def skipped(self) -> int:
        """How many bytes were no valid frame."""
        return self._skipped

    @checked()
    def feed(
        self, data: bytes, *, sent: bool = False, time: datetime | None = None
    ) -> list[Reading]:
        """The readings that these bytes complete, most often none or one.

        Give it what was sent as well (`sent=True`): answers of register protocols (`jk-modbus`,
        `daly-d2`, `daly-p81`) do not say which registers they hold. `time` becomes that of the
        readings. Damaged bytes raise nothing.
        """
        self._time = time
        return self._readings(self._stream.take(bytes(data), sent, time))

    def flush(self) -> list[Reading]:
        """The reading that is left when the line has fallen silent; half a frame is given up."""
        return self._readings(self._stream.finish(self._time))

    def _readings(self, events: Iterator[Event]) -> list[Reading]:
        readings = []
        for event in events:
            if isinstance(event, Reading):
                readings.append(event)
            elif isinstance(event, Skip):
                self._skipped += event.length
        return readings


@checked(TargetError)
def encode(protocol: str, request: str, *, address: int | None = None) -> bytes:
    """The bytes of a read request: what asks a pack for one part of a poll.

    `request` is its name (`basic_info` and `cells` of `jbd`, `device_info` and `settings` of
    `jk02`, after which the board streams, `90` to `98` of `daly-a5`, …); the error for an unknown
    one names all of the protocol. `address` is that of a board on a bus. Nothing that changes a
    pack is made here. Raises `TargetError`.
    """
    driver = load_driver(protocol)
    make = driver.requests.get(request)
    if make is None:
        raise TargetError(
            f"{protocol} has no read request {request[:40]!r}; "
            f"it has: {', '.join(driver.requests)}."
        )
    if address is not None and address not in driver.addresses:
        raise TargetError(f"{protocol} has no address {address}.")
    return driver.make_framer().encode(make(address))
