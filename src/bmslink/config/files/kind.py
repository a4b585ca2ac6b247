"""Files and packs that were taken for each other: what a file is, and what to write instead."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bmslink.errors import TargetError
from bmslink.packs import find_pack
from bmslink.storage.toml import loads

__all__ = ["instead", "pack_not_file"]

_INSTEAD: Mapping[str, str] = {
    "profile": "It is a profile: `bmslink config apply {path} TARGET` writes it.",
    "backup": "It is a backup: `bmslink config restore {path} TARGET` sets a pack back to it.",
    "policies": "It is a policy file: `bmslink control check {path}` looks at it.",
    "packs": "It holds the names of packs: `bmslink packs list` shows them.",
    "capture": "It is a recording: `bmslink decode {path}` shows what it holds.",
}


def pack_not_file(path: str | os.PathLike[str], what: str) -> str:
    """The sentence for a pack in the place of a file; empty for anything else."""
    text = os.fspath(path)
    if Path(text).is_file():
        return ""
    try:
        pack = "://" in text or find_pack(text) is not None
    except TargetError:
        pack = False
    return f"{text} is a pack, not a file: write the {what} first, then the pack." if pack else ""


def instead(text: str, path: object, wanted: str) -> str:
    """The sentence for a file of another kind than `wanted` (a profile, a backup, policies); empty
    where it may be one, or is nothing that is known."""
    kind = _kind(text)
    if kind in ("", wanted):
        return ""
    return _INSTEAD[kind].format(path=path or "FILE")


def _kind(text: str) -> str:
    if text.lstrip().startswith("{"):
        return _kind_of_json(text)
    try:
        found: dict[str, Any] = loads(text)
    except ValueError:
        return ""
    for key, kind in (
        ("settings", "profile"),
        ("battery", "policies"),
        ("policies", "policies"),
        ("packs", "packs"),
    ):
        if key in found:
            return kind
    return ""


def _kind_of_json(text: str) -> str:
    try:
        first, _ = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return ""
    if not isinstance(first, dict):
        return ""
    if first.get("kind") == "bmslink-backup":
        return "backup"
    return "capture" if first.get("format") == "bmslink-capture" else ""
