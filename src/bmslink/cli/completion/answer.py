"""What a shell asks for a completion, and how it is answered.

The line comes in the environment: `_BMSLINK_COMPLETE` names the shell, `_BMSLINK_LINE` is the line
up to the cursor, `_BMSLINK_BREAKS` (bash) the characters at which readline begins a new word. Each
line of the answer is a choice; for zsh and fish a tab and a remark follow. `:files` stands for the
files of the shell, `:nospace` says that a word goes on.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from contextlib import suppress

__all__ = ["SHELLS", "answer", "split"]

SHELLS = ("bash", "zsh", "fish")
_LONGEST = 1.0
"""s; whatever keeps us, the shell must have its prompt back."""
_GOES_ON = ("=", ":", "+", "/")


def answer(shell: str) -> None:
    """Print the choices; says nothing else, whatever is wrong, and never takes long."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
        signal.setitimer(signal.ITIMER_REAL, _LONGEST)
    with suppress(Exception):  # a broken completion completes nothing, and says nothing
        sys.stdout.write("".join(f"{line}\n" for line in lines(shell)))
        sys.stdout.flush()


def lines(shell: str) -> list[str]:
    """The lines of the answer."""
    from bmslink.cli.completion.line import FILES, choices

    words, current = split(os.environ.get("_BMSLINK_LINE", ""))
    found = choices(words[1:], current)
    told = [choice for choice in found if choice != FILES]
    answer = [":files"] * (len(told) != len(found))
    if told and all(word.endswith(_GOES_ON) for word, _ in told):
        answer.append(":nospace")
    if shell != "bash":
        return answer + [f"{word}\t{about}" if about else word for word, about in told]
    cut = _readline_keeps(current, os.environ.get("_BMSLINK_BREAKS", ""))
    return answer + [word[cut:] for word, _ in told]


def _readline_keeps(current: str, breaks: str) -> int:
    """How much of the word bash has taken for a word before it."""
    return max((current.rfind(sign) + 1 for sign in ":=" if sign in breaks), default=0)


def split(line: str) -> tuple[list[str], str]:
    """The words before the one that is being written, and that one; quotes may be open."""
    for closing in ("", "'", '"'):
        try:
            words = shlex.split(line + closing)
        except ValueError:
            continue
        begun = bool(closing) or not line[-1:].isspace()
        if line.rstrip() != line and line.endswith("\\ "):
            begun = True
        return (words[:-1], words[-1]) if words and begun else (words, "")
    return line.split(), ""
