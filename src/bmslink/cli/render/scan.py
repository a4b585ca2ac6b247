"""What a scan found, for people."""

from __future__ import annotations

import os
import shlex
import subprocess

from bmslink.cli.render.clean import clean
from bmslink.discovery.scan import ALSO, CERTAIN, LIKELY, OVERHEARD, POSSIBLE, SERVED, Found

__all__ = ["block", "quoted"]

_WORDS = {
    CERTAIN: "certain",
    SERVED: "served",
    OVERHEARD: "overheard",
    ALSO: "also",
    LIKELY: "likely",
    POSSIBLE: "possible",
}
_INDENT = " " * 11


def quoted(target: str) -> str:
    """A target that can be pasted into a shell."""
    if os.name == "nt":
        return subprocess.list2cmdline([target])
    return shlex.quote(target)


def block(found: Found) -> list[str]:
    """One pack, or one port without any: how sure, the target, what is known, and why."""
    word = _WORDS.get(found.confidence, "nothing")
    known = [clean(found.name or "")[:60], "" if found.signal is None else f"{found.signal} dBm"]
    head = "  ".join(part for part in (quoted(clean(found.target)), *known) if part)
    lines = [f"{word:<11}{head}", f"{_INDENT}{clean(found.why)}"]
    if found.protocol is None:
        lines += [f"{_INDENT}tried {clean(one)}" for one in found.tried]
    return lines
