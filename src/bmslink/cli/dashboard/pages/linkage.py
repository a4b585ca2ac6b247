"""How good the link of a pack is, and the bytes on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.text import Text

from bmslink.cli.dashboard.model.pack import WatchedPack
from bmslink.cli.dashboard.pages.fit import labelled, rule, wrapped
from bmslink.cli.render import text as t
from bmslink.cli.render.text import Glyphs

__all__ = ["RawPiece", "link_lines"]

RawPiece = tuple[str, str, str]
"""When, `rx` or `tx`, and the bytes in hex; passwords are blanked."""


def link_lines(
    pack: WatchedPack, raw: Iterable[RawPiece] | None, width: int, g: Glyphs
) -> list[Text]:
    """Frames, errors, gaps; the bytes where they are asked for (`raw` is not `None`)."""
    place = wrapped(pack.target, width - 12)
    lines = [labelled("" if n else "target", line) for n, line in enumerate(place)]
    if pack.through:
        lines += [labelled("through", line) for line in wrapped(pack.through, width - 12)]
    known = pack.identity
    if known is not None:
        who = (known.vendor, known.model, known.hardware, known.firmware, known.serial_number)
        text = "  ".join(t.clean(part) for part in who if part)
        lines += [labelled("board", line) for line in wrapped(text, width - 12)]
    counted = wrapped(_counted(pack.link, g), width - 12)
    lines += [labelled("" if n else "frames", line) for n, line in enumerate(counted)]
    gaps = pack.history
    lines.append(labelled("seen", Text(f"{len(gaps)} rows of {gaps.resolution} readings each")))
    if pack.recording is not None:
        here, whole, speed = pack.recording
        said = f"{t.duration(here)} of {t.duration(whole)}, {speed:g} times as fast"
        lines.append(labelled("recording", Text(said)))
    if pack.reading is not None and pack.reading.raw:
        lines.append(rule("values without a common name", width, g))
        shown = "  ".join(f"{key}={value}" for key, value in pack.reading.raw.items())
        lines += wrapped(shown, width, "dim", 2)
    lines.append(rule("bytes", width, g))
    if raw is None:
        lines.append(Text("b shows every byte both ways, passwords blanked", "dim"))
        return lines
    if pack.through:
        said = "The line is the service's: `bmslink capture` with this pack records its bytes."
        return [*lines, *wrapped(said, width, "dim")]
    for when, direction, data in raw:
        for n, line in enumerate(wrapped(_spaced(data), width - 16)):
            head = " " * 16 if n else f"{when:<12} {direction} "
            lines.append(Text(head, "cyan" if direction == "tx" else "dim").append_text(line))
    return lines


def _counted(link: Mapping[str, Any], g: Glyphs) -> str:
    if not link:
        return g.none
    turnaround, openings = link.get("turnaround"), link.get("openings", 0)
    parts = [
        f"{link.get('requests', 0)} asked",
        f"{link.get('answers', 0)} answered",
        f"{link.get('timeouts', 0)} without an answer",
        f"{link.get('checksum_errors', 0)} damaged",
        "opened once" if openings == 1 else f"opened {openings} times",
    ]
    if isinstance(turnaround, int | float):
        parts.append(f"{1000 * turnaround:.0f} ms an answer")
    return ", ".join(parts)


def _spaced(data: str) -> str:
    return " ".join(data[n : n + 2] for n in range(0, len(data), 2))
