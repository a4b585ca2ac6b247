"""Text from outside, as a terminal may see it."""

from __future__ import annotations

__all__ = ["clean", "clean_lines"]


def clean(text: str) -> str:
    """One line of text from outside, without the characters that steer a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)


def clean_lines(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(clean(line) for line in text.split("\n"))
