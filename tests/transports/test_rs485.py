"""Who switches the direction of an RS485 adapter: `?rts=`."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import serial
from test_serial import pty

from bmslink.errors import LinkClosed, TargetError, TransportError
from bmslink.link.transport import make_transport, parse_target
from bmslink.transports import rs485
from wires import failure, opened


@pytest.fixture
def diary(monkeypatch):
    """What pyserial is asked to do, on a pseudo-terminal that had an RTS line."""
    entries: list[object] = []

    class Adapter(serial.Serial):
        def _update_dtr_state(self):
            pass

        def _update_rts_state(self):
            entries.append(f"rts {'on' if self._rts_state else 'off'}")

        def write(self, data):
            entries.append(bytes(data))
            return super().write(data)

        def flush(self):
            super().flush()
            entries.append("sent")

    monkeypatch.setattr(serial, "Serial", Adapter)
    return entries


@pytest.mark.parametrize(
    ("query", "before", "while_sending"),
    [
        ("", [], [b"hello"]),
        ("?rts=on", ["rts on"], [b"hello"]),
        ("?rts=off", ["rts off"], [b"hello"]),
        ("?rts=toggle", ["rts off"], ["rts on", b"hello", "sent", "rts off"]),
    ],
)
@pytest.mark.real_time
async def test_the_line_follows_the_target(diary, query, before, while_sending):
    with pty(bytes.upper) as port:
        async with opened(f"serial://{port.path}{query}") as (ear, transport):
            assert diary == ["rts on", *before]  # what pyserial does to every port comes first
            diary.clear()
            await transport.write(b"hello")
            assert diary == while_sending
            await ear.until(lambda: ear.heard == b"HELLO")


class FakePort:
    """A port whose write and flush take their time on a clock of its own."""

    baudrate = 9600

    def __init__(self, monkeypatch, flush=0.0) -> None:
        self.now = 100.0
        self.takes = flush
        self.fails: Exception | None = None
        self.log: list[tuple[float, str]] = []
        self._rts = False
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep)
        monkeypatch.setattr(rs485, "time", clock)

    def sleep(self, seconds):
        self.now += seconds

    @property
    def rts(self):
        return self._rts

    @rts.setter
    def rts(self, level):
        self._rts = level
        self.log.append((round(self.now - 100.0, 6), f"rts {'on' if level else 'off'}"))

    def write(self, data):
        self.log.append((round(self.now - 100.0, 6), "write"))
        if self.fails:
            raise self.fails
        return len(data)

    def flush(self):
        self.now += self.takes


@pytest.mark.parametrize(
    ("flush", "held"),
    [
        (0.0, 14 * 10 / 9600),  # an adapter that takes all at once, and sends at the line's pace
        (13 * 10 / 9600, 14 * 10 / 9600),  # one that says when the last byte left
        (0.05, 0.05),  # one that took longer: off at once
    ],
)
def test_rts_is_held_while_the_bytes_are_on_the_wire_and_no_longer(monkeypatch, flush, held):
    """Thirteen characters, and one more for the last stop bit; Modbus answers after 3.5."""
    port = FakePort(monkeypatch, flush)
    assert rs485.DirectedPort(port).write(bytes(13)) == 13
    assert port.log == [(0.0, "rts on"), (0.0, "write"), (round(held, 6), "rts off")]
    assert flush > held - 3.5 * 10 / 9600 or held < (13 + 3.5) * 10 / 9600


def test_the_bus_is_let_go_when_writing_fails(monkeypatch):
    port = FakePort(monkeypatch)
    port.fails = serial.SerialTimeoutException("Write timeout")
    with pytest.raises(serial.SerialTimeoutException):
        rs485.DirectedPort(port).write(b"x")
    assert port.log[-1] == (0.0, "rts off")


@pytest.mark.parametrize("mode", rs485.RTS_MODES)
def test_a_port_without_the_line_says_so(mode):
    with pty() as port:
        error = failure(f"serial://{port.path}?rts={mode}")
    assert type(error) is TransportError
    assert str(error) == f"{port.path} has no RTS line to switch: leave out rts={mode}."


def test_a_mode_that_does_not_exist():
    with pytest.raises(TargetError, match="rts is toggle, on or off, not 'auto'"):
        make_transport(parse_target("serial:///dev/ttyUSB0?rts=auto"))


def test_the_key_is_for_serial_ports_only():
    for target in ("tcp://host:1", "rfc2217://host:1", "modbus-tcp://host:1", "sim://"):
        with pytest.raises(TargetError, match="Unknown key 'rts'"):
            parse_target(f"{target}?rts=on")


@pytest.mark.real_time
async def test_a_pulled_adapter_is_a_lost_link_even_while_it_sends(diary):
    with pty() as port:
        async with opened(f"serial://{port.path}?rts=toggle") as (ear, transport):
            port.pull()
            with pytest.raises(LinkClosed):
                for _ in range(100):
                    await transport.write(b"x")
            await ear.until(lambda: ear.lost)


def test_two_packs_on_one_port_agree_on_the_direction():
    lines = [
        make_transport(parse_target(f"serial:///dev/ttyUSB0{query}")).line()
        for query in ("", "?rts=toggle", "?address=2")
    ]
    assert lines[0] == lines[2]
    assert lines[0].name == lines[1].name
    assert lines[1].settings == "9600 baud and rts=toggle"
