"""Other people's decoders, each set up to do what it does for its own users.

Their versions are pinned in the dependency group `bench`. What needs a port gets one that answers
at once, so that nothing but the program itself is measured. A peer that cannot run here is left
out and named in `MISSING`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Self

Work = Callable[[], object]
Rivals = dict[str, Work]

MISSING: dict[str, str] = {}
"""Peer -> why it did not take part."""

DALYBMS_IDS = (0x94, 0x90, 0x91, 0x92, 0x93, 0x95, 0x96, 0x98)  # its 97 is "not implemented"
PYDALYBMS_IDS = (0x94, 0x90, 0x91, 0x92, 0x95, 0x98)


class Port:
    """A serial port that has the answer to every request ready."""

    is_open = True

    def __init__(self, answers: dict[int, bytes]) -> None:
        self._answers = answers
        self._ready = b""
        self._at = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...

    def open(self) -> None: ...

    def close(self) -> None: ...

    def reset_input_buffer(self) -> None: ...

    def reset_output_buffer(self) -> None: ...

    def write(self, data: bytes) -> int:
        """The third byte of all these protocols' requests says what is asked for."""
        self._ready, self._at = self._answers[data[2]], 0
        return len(data)

    def read(self, size: int = 1) -> bytes:
        """The next bytes of the answer."""
        self._at += size
        return self._ready[self._at - size : self._at]


def _on(package: str, make: Callable[[], Work], needs: str = "") -> Rivals:
    """The contestant under its name and version, or a note about why it is not there."""
    try:
        return {f"{package} {version(package)}": make()}
    except (ImportError, PackageNotFoundError):
        MISSING[package] = f"it is not installed{needs}."
        return {}


def bmstools(frames: list[bytes]) -> Rivals:
    """Payloads of 03 and 04, as its registers take them."""

    def make() -> Work:
        from bmstools.jbd.registers import BasicInfoReg, CellInfoReg

        basic, cells = BasicInfoReg("basic_info", 3), CellInfoReg("cell_info", 4)
        payloads = [frame[4:-3] for frame in frames]

        def work() -> object:
            basic.unpack(payloads[0])
            cells.unpack(payloads[1])
            return basic, cells

        return work

    return _on("bmstools", make)


def bmstools_on_port(frames: list[bytes]) -> Rivals:
    """Its two reads; it cuts frames out byte by byte, and checks no checksum."""

    def make() -> Work:
        from bmstools.jbd.jbd import JBD

        peer = JBD(Port({frame[1]: frame for frame in frames}))
        return lambda: (peer.readBasicInfo(), peer.readCellInfo())

    return _on("bmstools", make)


def pydalybms(answers: dict[int, list[bytes]]) -> Rivals:
    """Its frames and models, without its checksum test, which belongs to its port."""

    def make() -> Work:
        from pydalybms import models
        from pydalybms.frame import DalyBMSResponseFrame

        singles = {
            0x90: models.SoCAnswer.from_frame,
            0x91: models.VoltageMinMaxCellAnswer.from_frame,
            0x92: models.TemperatureMinMaxCellAnswer.from_frame,
            0x94: models.StatusInformation1Answer.from_frame,
            0x98: models.BatteryFailureStatusAnswer.from_frame,
        }
        pairs = [(singles[i], answers[i][0]) for i in singles]
        cells = answers[0x95]

        def work() -> object:
            read = DalyBMSResponseFrame.from_bytes
            found = [model(read(frame)) for model, frame in pairs]
            series = [read(frame) for frame in cells]
            return found, models.CellVoltagesAnswer.from_frames(series, 14)

        return work

    return _on("pydalybms", make)


def pydalybms_on_port(answers: dict[int, list[bytes]], *, prepared: bool = False) -> Rivals:
    """Its six questions; it checks the sums, and makes the requests unless they are `prepared`."""

    def make() -> Work:
        from pydalybms.api import DalyBMS

        peer = _without_port(DalyBMS, _serial=Port(joined(answers)), _host_address=4)
        if prepared:
            make = operator.attrgetter("_build_read_frame")(peer)
            frames = {data_id: make(4, data_id) for data_id in answers}
            vars(peer)["_build_read_frame"] = lambda host_address, command: frames[command]

        def work() -> object:
            return (
                peer.get_status_information(),
                peer.get_soc(),
                peer.get_voltage_min_max_cell(),
                peer.get_temperature_min_max_cell(),
                peer.get_cell_voltages(14),
                peer.get_battery_failure_status(),
            )

        return work

    return _on("pydalybms", make)


def _without_port(kind: type, **attributes: object) -> Any:
    """An object whose constructor would open a port."""
    made: Any = object.__new__(kind)
    vars(made).update(attributes)
    return made


def joined(answers: dict[int, list[bytes]]) -> dict[int, bytes]:
    """Each answer as its bytes come off a port."""
    return {data_id: b"".join(frames) for data_id, frames in answers.items()}


def dalybms(answers: dict[int, list[bytes]]) -> Rivals:
    """Its parsers, fed with data that it has already received."""

    def make() -> Work:
        from dalybms import DalyBMS

        peer = DalyBMS()
        data = {data_id: [f[4:12] for f in frames] for data_id, frames in answers.items()}

        def work() -> object:
            return (
                peer.get_status(data[0x94][0]),
                peer.get_soc(data[0x90][0]),
                peer.get_cell_voltage_range(data[0x91][0]),
                peer.get_temperature_range(data[0x92][0]),
                peer.get_mosfet_status(data[0x93][0]),
                peer.get_cell_voltages(data[0x95]),
                peer.get_temperatures(data[0x96]),
                peer.get_errors(data[0x98][0]),
            )

        return work

    return _on("dalybms", make)


def dalybms_on_port(answers: dict[int, list[bytes]], *, prepared: bool = False) -> Rivals:
    """Its eight questions; it splits the frames and computes the sums, and makes the requests
    unless they are `prepared`."""

    def make() -> Work:
        from dalybms import DalyBMS

        peer = DalyBMS()
        peer.serial = Port(joined(answers))
        if prepared:
            make = operator.attrgetter("_format_message")(peer)
            messages = {f"{data_id:x}": make(f"{data_id:x}") for data_id in answers}
            vars(peer)["_format_message"] = lambda command, extra="": messages[command]

        def work() -> object:
            return (
                peer.get_status(),
                peer.get_soc(),
                peer.get_cell_voltage_range(),
                peer.get_temperature_range(),
                peer.get_mosfet_status(),
                peer.get_cell_voltages(),
                peer.get_temperatures(),
                peer.get_errors(),
            )

        return work

    return _on("dalybms", make)


def aiobmsble(notifications: Iterable[bytes]) -> Rivals:
    """Its JK decoder: notifications in, its own sample out, without its derived values.

    What Bluetooth would call is called directly, and no event loop is in between.
    """

    def make() -> Work:
        from aiobmsble.bms.jikong_bms import BMS
        from bleak.backends.device import BLEDevice

        peer = BMS(BLEDevice("00:00:00:00:00:00", "JK", {"path": ""}))
        vars(peer)["_sw_version"] = 14  # of the captured board; it asks for it when it connects
        notify = operator.attrgetter("_notification_handler")(peer)
        update = operator.methodcaller("_async_update")
        pieces = [bytearray(data) for data in notifications]

        def work() -> object:
            for piece in pieces:
                notify(None, piece)
            return _finished(update(peer))

        sample: Any = work()
        if len(sample["cell_voltages"]) != 16:
            raise ValueError("aiobmsble did not decode the frame")
        return work

    return _on("aiobmsble", make, " (it needs Python 3.12 or newer)")


def _finished(coroutine: Any) -> object:
    """The result of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("it waits for more data")
