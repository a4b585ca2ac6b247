"""`bmslink decode`: captured bytes into readings, offline."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import options as o
from bmslink.cli.output import Session
from bmslink.cli.progress import Progress
from bmslink.errors import TargetError

if TYPE_CHECKING:
    from bmslink.decoding import Event

__all__ = ["command"]


def command(
    ctx: typer.Context,
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]", help="A capture file, hex text or raw bytes; - is standard input."
        ),
    ] = None,
    hex_text: Annotated[
        str | None, typer.Option("--hex", metavar="STRING", help="The bytes themselves, in hex.")
    ] = None,
    protocol: o.Protocol = None,
    frames: Annotated[
        bool, typer.Option("--frames", help="Show each frame instead of readings.")
    ] = False,
) -> None:
    """Turn captured bytes into readings; stderr lists the bytes that were skipped.

    Hex text has one chunk of the byte stream per line; spaces, 0x and : are fine. Without
    --protocol, the protocol that explains most of the bytes is used.
    """
    session = o.session_of(ctx)
    session.no_trace("decode")
    if (file is None) == (hex_text is None):
        raise TargetError("decode takes one FILE, - for standard input, or --hex STRING.")
    printer = _Printer(session, frames=frames)
    if hex_text is not None:
        from bmslink.decoding import parse_hex

        printer.run(parse_hex(hex_text), protocol)
    elif file == "-":
        with tempfile.TemporaryDirectory(prefix="bmslink-") as folder:
            spool = Path(folder, "standard-input")
            with spool.open("wb") as out:
                if sys.stdin is not None:
                    shutil.copyfileobj(sys.stdin.buffer, out)
            printer.run(spool, protocol)
    elif file is not None:
        if "://" in file:
            raise TargetError(
                f"{file} is a pack, not a file: `bmslink read` reads it, `bmslink capture` "
                "records it."
            )
        printer.run(Path(file), protocol)


class _Printer:
    """Puts out what a source holds, as it is found."""

    def __init__(self, session: Session, *, frames: bool) -> None:
        self.session = session
        self.by_frame = frames
        self.frames = 0
        self.readings = 0
        self._progress = Progress(session)

    def run(self, source: bytes | Path, protocol: str | None) -> None:
        """Decode everything; raises what `bmslink.decoding.decode` raises."""
        from bmslink.decoding import explain
        from bmslink.protocols import load_driver

        if protocol is not None:
            load_driver(protocol)
        with Progress(self.session) as self._progress:
            for event in explain(source, protocol, on_progress=self._progress.tell):
                self._take(event)
        if not self.by_frame and not self.readings:
            self.session.say(
                f"{self.frames} valid frame(s), but none of them is a reading; "
                "--frames shows what they are."
            )

    def _take(self, event: Event) -> None:
        from bmslink.cli.render import decode, read, text
        from bmslink.decoding import FrameEvent, Skip

        session = self.session
        if self.by_frame or not isinstance(event, FrameEvent):
            self._progress.clear()
        if isinstance(event, Skip):
            session.say(decode.skip(event))
        elif isinstance(event, FrameEvent):
            self.frames += 1
            if self.by_frame and session.json:
                session.record(decode.frame_object(event))
            elif self.by_frame:
                session.show(decode.frame(event))
        else:
            self.readings += 1
            if not self.by_frame and session.json:
                session.record(event.to_dict())
            elif not self.by_frame:
                g = text.glyphs(ascii_only=session.ascii)
                if self.readings > 1:
                    session.print("")
                session.show(read.block(event, g))
