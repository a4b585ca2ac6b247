"""`capture --contribute`: a recording to give away, beside what the vendor's app showed."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bmslink.cli.output import Session, identified

if TYPE_CHECKING:
    from bmslink.board import Board

__all__ = ["RECORDED", "Kept", "contribute", "ready_to_write", "what_the_app_shows"]

RECORDED = 30.0
"""s that are recorded, where nobody says how long."""
_QUESTIONS = (
    ("voltage", "the voltage of the pack, V"),
    ("current", "the current, A (above 0 while charging)"),
    ("soc", "the state of charge, %"),
    ("remaining_capacity", "the remaining capacity, Ah"),
    ("cycles", "the cycles"),
    ("cell_voltages", "all cell voltages, V, separated by spaces"),
    ("app", "the name of the app and its version"),
)


class Kept(io.BytesIO):
    """A recording in memory: what is not redacted yet never reaches the disk."""

    def close(self) -> None:
        """It stays until it is read."""


def ready_to_write(output: str, *, force: bool) -> None:
    """`TargetError` where the file could not be written in the end."""
    from pathlib import Path

    from bmslink.cli.outfile import on_stdout
    from bmslink.errors import TargetError
    from bmslink.storage.atomic import require_regular

    if not on_stdout(output) and require_regular(Path(output)) and not force:
        raise TargetError(f"{output} exists already; --force overwrites it.")


async def what_the_app_shows(session: Session, given: Mapping[str, str]) -> dict[str, str]:
    """What was given, and on a terminal the answers to what was not."""
    from bmslink.app_values import read_shown
    from bmslink.cli.asking import answer, can_ask
    from bmslink.errors import UsageError

    shown = dict(given)
    if session.json or session.quiet or not can_ask():
        return shown
    session.complain("What does the vendor's app show? Leave empty what it does not.")
    for key, question in _QUESTIONS:
        while not any(each.partition(".")[0] == key for each in shown):
            told = (await answer(f"{question}:")).strip()
            if not told:
                break
            try:
                shown |= read_shown([f"{key}={told}"])
            except UsageError as error:
                session.complain(str(error))
    return shown


def contribute(
    session: Session,
    device: Board,
    recorded: bytes,
    output: str,
    *,
    shown: Mapping[str, str],
    force: bool,
) -> None:
    """Redact, check and write. Raises `CaptureError` where it cannot be given away."""
    from bmslink.cli.outfile import on_stdout, write_text
    from bmslink.contribution import contribute as redacted
    from bmslink.link.capture import from_bytes

    header, pieces = from_bytes(recorded)
    found = redacted(header, pieces, shown=shown, secrets=_places(device))
    write_text(output, found.file().decode(), force=force)
    if on_stdout(output):
        return
    if session.json:
        session.record(
            {
                **identified(device.target),
                "file": output,
                "id": found.header.id,
                "replaced": list(found.replaced),
                "shown": dict(shown),
                "agreeing": found.agreeing,
            }
        )
        return
    names = ", ".join(name.replace("_", " ") for name in found.replaced) or "nothing had to be"
    session.print(f"{output}: {len(found.pieces)} pieces; replaced: {names}.")
    _compare(session, found.agreeing)
    session.print(
        "Look through it, then attach it to an issue, or put it into the repository as "
        f"tests/fixtures/{header.protocol}/{found.header.id}.jsonl and run `make goldens`."
    )


def _compare(session: Session, agreeing: Mapping[str, bool]) -> None:
    wrong = [key for key, agrees in agreeing.items() if not agrees]
    if wrong:
        session.print(
            f"The app shows something else than was read: {', '.join(wrong)}. Worth knowing."
        )
    elif agreeing:
        session.print(f"All {len(agreeing)} values of the app were read as well.")


def _places(device: Board) -> Sequence[str | bytes]:
    """Where the pack is and what it is called: none of that may be in the file."""
    found: list[str | bytes] = [device.target.place, device.target.name or ""]
    peer = device.peer()
    if peer is not None:
        found += [peer.address, peer.name or ""]
        digits = "".join(c for c in peer.address if c in "0123456789abcdefABCDEF")
        if len(digits) == 12:
            address = bytes.fromhex(digits)
            found += [digits, address, address[::-1]]
    return [each for each in found if each]
