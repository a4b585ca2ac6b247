"""The settings that were probably meant by a name that a board does not have."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from types import MappingProxyType

from bmslink.settings.catalogue import CATALOGUE

__all__ = ["nearest", "or_nearest"]

_MOST = 3
_ALIKE = 0.9
"""From here on a name is a slip of the pen."""
_SYNONYMS: Mapping[str, str] = MappingProxyType(
    {
        "over_voltage": "ovp", "overvoltage": "ovp", "cov": "cell_ovp", "pov": "pack_ovp",
        "under_voltage": "uvp", "undervoltage": "uvp", "cuv": "cell_uvp", "puv": "pack_uvp",
        "over_current": "ocp", "overcurrent": "ocp", "coc": "charge_ocp", "doc": "discharge_ocp",
        "over_temperature": "otp", "overtemperature": "otp", "temp": "temperature",
        "under_temperature": "utp", "undertemperature": "utp", "capacity": "nominal_capacity",
        "balancing": "balance", "cells": "cell_count", "recovery": "release", "recover": "release",
    }
)  # fmt: skip
"""What vendors and manuals say -> a part of our names."""


def nearest(key: str, known: Collection[str]) -> list[str]:
    """At most three of the known names, the nearest first: those that hold all its words, else
    the limit that it belongs to, else those that are spelled alike."""
    wanted = key.lower()
    for word, ours in _SYNONYMS.items():
        if f"_{word}_" in f"_{wanted}_":
            wanted = f"_{wanted}_".replace(f"_{word}_", f"_{ours}_").strip("_")
    typed = [] if key in CATALOGUE else get_close_matches(wanted, list(known), n=1, cutoff=_ALIKE)
    if typed:
        return typed
    words = set(wanted.split("_"))
    holding = [name for name in known if words <= set(name.split("_"))]
    if holding:
        fewest = min(name.count("_") for name in holding)
        return [name for name in holding if name.count("_") == fewest][:_MOST]
    limit = wanted
    while "_" in limit:
        limit = limit.rpartition("_")[0]
        if limit in known:
            return [limit]
    return [] if key in CATALOGUE else get_close_matches(wanted, list(known), n=1)


def or_nearest(key: str, known: Collection[str]) -> str:
    """The sentence that names them, with a space before it; empty where none is near.

    What other boards have was meant: nobody is asked whether a warning was a protection.
    """
    near = " or ".join(nearest(key, known))
    if not near:
        return ""
    return f" The nearest that it has: {near}." if key in CATALOGUE else f" Did you mean {near}?"
