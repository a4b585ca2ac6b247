"""The connection options of every command that talks to packs, and the packs they lead to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Annotated

import typer

from bmslink.cli.option_groups import OptionGroup
from bmslink.cli.options import (
    PinFile,
    Protocol,
    addresses,
    number,
    one_target,
    some_targets,
    whole,
)
from bmslink.cli.outfile import open_new
from bmslink.cli.output import Session
from bmslink.errors import BmsError, TargetError

if TYPE_CHECKING:
    from bmslink.board import Board
    from bmslink.link.transport import Endpoint, Pin

__all__ = ["ConnectionOptions", "connect_all", "connect_one", "trace_of"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions(OptionGroup):
    """What overrides the settings of a target, and where the pin is."""

    protocol: Protocol = None
    address: Annotated[
        str | None,
        typer.Option(
            parser=addresses,
            metavar="N",
            help="Its address on a shared line; 1-4 means four packs.",
        ),
    ] = None
    baudrate: Annotated[
        int | None, typer.Option(parser=whole, metavar="N", help="Speed of the port.")
    ] = None
    timeout: Annotated[
        float | None,
        typer.Option(parser=number, metavar="S", help="How long to wait for an answer, s."),
    ] = None
    pin_file: PinFile = None

    def endpoints(self, target: str) -> list[Endpoint]:
        """Where the packs of a target are; `TargetError` for anything wrong with it or with an
        option."""
        from bmslink.target import resolve_each

        return resolve_each(
            target,
            protocol=self.protocol,
            address=self.address,
            baudrate=self.baudrate,
            timeout=self.timeout,
        )


def connect_one(
    session: Session,
    target: str | None,
    options: ConnectionOptions,
    *,
    record: Callable[[], IO[bytes]] | None = None,
) -> Board:
    """The one pack of a command, not opened yet.

    `record` opens the file that takes every byte, once nothing is wrong with the target.
    """
    word = one_target(target)
    several = options.endpoints(word)
    if len(several) > 1:
        raise TargetError(
            f"{word} means {len(several)} packs, and this command takes one: give one address, "
            f"as in {several[0]}."
        )
    return connect_all(session, [word], options, record=record)[0]


def connect_all(
    session: Session,
    targets: Sequence[str] | None,
    options: ConnectionOptions,
    *,
    may_ask: bool = True,
    record: Callable[[], IO[bytes]] | None = None,
) -> list[Board]:
    """The packs at the targets (else at BMSLINK_TARGET), none opened yet, with the trace that
    --trace asked for.

    `may_ask`: whether a question for a pin may appear; not in the middle of something else.
    """
    from bmslink.cli.progress import show_progress
    from bmslink.cli.verbosity import start_logging, wire_log
    from bmslink.packs import find_pack, find_pin
    from bmslink.served_board import ServedBoard, board_at
    from bmslink.storage.credentials import read_pin

    start_logging(session)
    each = [(text, found) for text in some_targets(targets) for found in options.endpoints(text)]
    targets, endpoints = [text for text, _ in each], [found for _, found in each]
    if session.trace is not None and len(targets) > 1:
        raise TargetError("--trace takes one line: name one target with it.")
    given = read_pin(options.pin_file) if options.pin_file is not None else None
    pins = [find_pin(target, given, _ask_pin if may_ask else None) for target in targets]
    named = [find_pack(target) for target in targets]
    if len(endpoints) == 1 or not may_ask:  # else each as it is opened: one may fail alone
        _settle(session, endpoints, pins)
    if len(endpoints) == 1:
        session.target = endpoints[0]
    tell = session.say if may_ask else _log.info
    record = record or trace_of(session)
    if record is None:
        devices = [
            board_at(e, record=wire_log(session, str(e)), pin=pin, tell=tell, named=pack)
            for e, pin, pack in zip(endpoints, pins, named, strict=True)
        ]
    else:
        board_at(endpoints[0])  # what is wrong with the target is said before a file is made
        devices = [board_at(endpoints[0], record=record(), pin=pins[0], tell=tell, named=named[0])]
    if may_ask:
        show_progress(session, devices)
    else:  # later the screen is not free for it
        for device in devices:
            if isinstance(device, ServedBoard):
                device.introduce(session.say)
    return devices


def trace_of(session: Session) -> Callable[[], IO[bytes]] | None:
    """What makes the file of --trace."""
    path = session.trace
    return None if path is None else lambda: open_new(path, instead="name another file")


def _ask_pin(what: str) -> str | None:
    """Ask at the terminal; `None` where nobody can answer."""
    from bmslink.cli.asking import secret

    return secret(what)


def _settle(session: Session, endpoints: list[Endpoint], pins: Sequence[Pin]) -> None:
    """Find the protocols of the targets that do not say them; of several, one that cannot be
    found now is left to its opening."""
    from bmslink import registry
    from bmslink.target import settled

    unsettled = [
        index
        for index, endpoint in enumerate(endpoints)
        if not settled(endpoint) and registry.find(endpoint) is None  # the service knows it
    ]
    if not unsettled:
        return

    from bmslink.cli.loop import run
    from bmslink.discovery.scan import detect  # it loads every protocol

    async def ask(index: int) -> None:
        try:
            endpoints[index] = await detect(endpoints[index], pin=pins[index], tell=session.say)
        except BmsError:
            if len(endpoints) == 1:
                raise

    for index in unsettled:
        run(ask(index))
