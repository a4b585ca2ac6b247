"""Gateways that speak real Modbus/TCP: `modbus-tcp://192.168.1.30:502?address=1`.

They take a request without unit and CRC in front and behind, in an envelope with a number that
comes back with the answer. To the link this is a serial line all the same: it gets RTU bytes and
hands back RTU bytes, so the register dialects know nothing of it.

pymodbus builds the requests and reads the answers. Its client is not used: it loses two answers
that come in one piece, forgets half an answer at the next request and takes its rest for a new
one, takes fewer registers than asked for as success, and lets a malformed answer end in a traceback
of the event loop. Only what answers the one open question (number, unit, function, count) counts
here; what a gateway answers late, or to its other clients, is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass

from bmslink.errors import LinkClosed, LinkTimeout, TransportError
from bmslink.link.transport import Endpoint, Line, OnData, OnLost, Transport
from bmslink.transports.tcp import TcpTransport

try:
    from pymodbus.exceptions import ModbusException
    from pymodbus.framer import FramerRTU, FramerSocket
    from pymodbus.pdu import DecodePDU, ModbusPDU
except ImportError as exc:
    raise TransportError(
        "Modbus/TCP gateways need pymodbus: install it with `pip install 'bmslink[modbus]'`."
    ) from exc

__all__ = ["ModbusTcpTransport"]

ANSWER_TIMEOUT = 1.5
"""How long a gateway may take, where the target does not say, s: most wait 1 s for the device
before they answer that it is silent (exception 0B)."""
READ, WRITE, WRITE_MANY = 3, 6, 16
_HEADER = 6  # transaction, protocol (0), length of what follows
_LONGEST = 254  # unit and the longest message
_NUMBERS = 1 << 16

logging.getLogger("pymodbus").addHandler(logging.NullHandler())  # its words are not ours


@dataclass(slots=True)
class _Question:
    """A request that waits for its answer."""

    request: ModbusPDU
    answer: asyncio.Future[bytes]


class ModbusTcpTransport(Transport):
    """Reads (03) and writes (06, 16) of registers, through a gateway.

    Exceptions come back as RTU exception frames. `write` returns with the answer delivered, or
    without one after `timeout` (the target's, else 1.5 s). Raises `TransportError` for a request
    that Modbus/TCP cannot carry and for an answer that contradicts the request, `LinkTimeout`
    where only answers to others came, `LinkClosed` when the gateway hung up or speaks nonsense.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._place = endpoint.place
        self._timeout = endpoint.number("timeout") or ANSWER_TIMEOUT
        self._tcp = TcpTransport(endpoint)
        self._requests = DecodePDU(True)
        self._framer = FramerSocket(DecodePDU(False))
        self._buffer = bytearray()
        self._number = random.randrange(_NUMBERS)  # most other clients begin at 1
        self._question: _Question | None = None
        self._others = 0
        self._on_data: OnData | None = None
        self._on_lost: OnLost | None = None

    def line(self) -> Line:
        return Line(self._tcp.line().name.replace("tcp://", "modbus-tcp://", 1))

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        await self.close()
        self._buffer.clear()
        self._on_data, self._on_lost = on_data, on_lost
        await self._tcp.open(self._receive, self._end)

    async def close(self) -> None:
        self._on_data = self._on_lost = None
        self._fail(LinkClosed(f"{self._place} is closed."))
        await self._tcp.close()

    async def write(self, data: bytes) -> None:
        if self._on_data is None:
            raise LinkClosed(f"{self._place} is not open.")
        request = self._parse(data)
        self._number = (self._number + 1) % _NUMBERS or 1  # pymodbus takes 0 for any number
        request.transaction_id = self._number
        question = _Question(request, asyncio.get_running_loop().create_future())
        self._question, self._others = question, 0
        try:
            await self._tcp.write(self._framer.buildFrame(request))
            async with asyncio.timeout(self._timeout):
                answer = await question.answer
        except TimeoutError as exc:
            if self._others:
                raise LinkTimeout(
                    f"{self._place} answered {self._others} other request(s), but not ours within "
                    f"{self._timeout:g} s; it may be slow or busy: try a longer timeout.",
                    "other",
                ) from exc
            return  # silence: the link waits its own time and repeats
        finally:
            self._question = None
            if not question.answer.cancel() and not question.answer.cancelled():
                question.answer.exception()  # seen, even where sending failed first
        if self._on_data is not None:
            self._on_data(answer)

    def _parse(self, data: bytes) -> ModbusPDU:
        """The request in RTU bytes; `TransportError` if a Modbus gateway would not know it."""
        if len(data) > 4 and data[1] in (READ, WRITE, WRITE_MANY) and _with_crc(data[:-2]) == data:
            request = self._requests.decode(data[1:-2])
            if request is not None and request.encode() == data[2:-2] and len(data) <= _LONGEST + 2:
                request.dev_id = data[0]
                return request
        raise TransportError(
            "Modbus/TCP carries reads and writes of registers as the standard has them (functions "
            f"03, 06, 16), not {data[:16].hex(' ')}: this protocol needs a line that passes bytes."
        )

    def _receive(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) > _HEADER and self._on_data is not None:
            length = int.from_bytes(self._buffer[4:6], "big")
            if any(self._buffer[2:4]) or not 3 <= length <= _LONGEST:
                self._end(LinkClosed(f"{self._place} does not speak Modbus/TCP."))
                return
            if len(self._buffer) < _HEADER + length:
                return
            message = bytes(self._buffer[: _HEADER + length])
            del self._buffer[: _HEADER + length]
            self._hear(message)

    def _hear(self, message: bytes) -> None:
        question = self._question
        if question is None or question.answer.done():
            return
        if int.from_bytes(message[:2], "big") != question.request.transaction_id:
            self._others += 1
            return
        try:
            question.answer.set_result(self._rtu(question.request, message))
        except TransportError as exc:
            question.answer.set_exception(exc)

    def _rtu(self, request: ModbusPDU, message: bytes) -> bytes:
        """An answer as RTU bytes; `TransportError` if it is none to this request."""
        unit, body = message[_HEADER], message[_HEADER + 1 :]
        if unit != request.dev_id:
            raise self._contradiction(request, f"came from unit {unit}")
        if body[0] & 0x7F != request.function_code:
            raise self._contradiction(request, f"is one to function {body[0]:02d}")
        try:
            _, answer = self._framer.handleFrame(message, unit, request.transaction_id)
        except ModbusException as exc:
            raise self._contradiction(request, f"cannot be read ({body[:8].hex(' ')})") from exc
        if answer is None or bytes([answer.function_code]) + answer.encode() != body:
            raise self._contradiction(request, f"is malformed ({body[:8].hex(' ')})")
        if why := _mismatch(request, answer):
            raise self._contradiction(request, why)
        return _with_crc(message[_HEADER:])

    def _contradiction(self, request: ModbusPDU, why: str) -> TransportError:
        return TransportError(
            f"The answer of {self._place} to function {request.function_code:02d} for unit "
            f"{request.dev_id} {why}: the gateway mixes up its requests."
        )

    def _end(self, error: Exception | None) -> None:
        on_lost = self._on_lost
        self._on_data = self._on_lost = None
        self._fail(error or LinkClosed(f"{self._place} closed the connection."))
        if on_lost is not None:
            on_lost(error)

    def _fail(self, error: Exception) -> None:
        if self._question is not None and not self._question.answer.done():
            self._question.answer.set_exception(error)


def _with_crc(data: bytes) -> bytes:
    return data + FramerRTU.compute_CRC(data).to_bytes(2, "big")


def _mismatch(request: ModbusPDU, answer: ModbusPDU) -> str:
    """What is wrong with a well-formed answer; empty if it fits."""
    if answer.isError():
        return ""
    if request.function_code == READ:
        asked, came = request.count, len(answer.registers)
        return "" if asked == came else f"has {came} registers instead of {asked}"
    if answer.address != request.address:
        return f"is about register {answer.address} instead of {request.address}"
    if request.function_code == WRITE:
        same = list(answer.registers) == list(request.registers)
    else:
        same = answer.count == request.count
    return "" if same else "confirms something else than was written"
