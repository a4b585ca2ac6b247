"""Targets as people mistype them: what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Collection

__all__ = ["is_file", "is_target", "meant", "part_of_address", "without_slash"]

_SLASHES = re.compile(r"((?:[A-Za-z0-9-]+\+)?)([A-Za-z0-9-]+):/?(?!/)(.*)")
_BARE = re.compile(r"([A-Za-z0-9-]+)\+((?:/|COM\d|tty).*)", re.IGNORECASE)
_ADDRESS = re.compile(r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}")
_HOST = re.compile(r"[A-Za-z0-9.-]+:\d{1,5}")
_DEVICE = re.compile(r"/?dev/")
_PATH = re.compile(r"(?:[a-z0-9-]+\+)?[a-z0-9-]{2,}:/")
_PAIRS = re.compile(
    r"[0-9A-Za-z]{1,2}(?::[0-9A-Za-z]{0,2}){1,7}|[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){2,7}"
)


def meant(text: str, schemes: Collection[str]) -> str:
    """The target or the order that was probably meant by what is no target, as a sentence with a
    space before it; else empty."""
    target = ""
    if is_file(text):
        return " It looks like a file: a file comes before the pack, as in FILE TARGET."
    if _ADDRESS.fullmatch(text):
        target = f"ble://{text}"
    elif found := _BARE.fullmatch(text):
        target = f"{found[1]}+serial://{found[2]}"
    elif (found := _SLASHES.fullmatch(text)) and found[2].lower() in schemes:
        place = f"/{found[3]}" if _DEVICE.match(found[3]) else found[3]
        target = f"{found[1]}{found[2].lower()}://{place}"
    elif text.startswith("dev/"):
        target = f"/{text}"
    elif _HOST.fullmatch(text):
        target = f"tcp://{text}"
    return f" Did you mean {target}?" if target else ""


def is_file(text: str) -> bool:
    """Whether it ends as files of ours do, and as no port does."""
    return text.lower().endswith((".toml", ".json", ".jsonl", ".jsonl.gz"))


def is_target(path: object) -> bool:
    """Whether the path of a file was written as a target: it keeps one of its two slashes."""
    return bool(_PATH.match(str(path)))


def without_slash(scheme: str, place: str) -> str:
    """The place with the slash that three make and two lack; empty where none is missing."""
    return f"/{place}" if scheme == "serial" and place.startswith("dev/") else ""


def part_of_address(place: str) -> bool:
    """Whether it is a Bluetooth address with a part missing, or one digit too many."""
    return bool(_PAIRS.fullmatch(place)) and not _ADDRESS.fullmatch(place)
