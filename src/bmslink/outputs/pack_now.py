"""One pack as outputs see it: plain values at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bmslink.model import Identity, Reading

__all__ = ["PackNow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackNow:
    """A pack of the service. It holds references only, so a thousand of them cost little."""

    name: str
    state: str
    """In one word: `ok`, `silent`, `lost`, …"""
    polled: bool
    """Whether it is read."""
    reading: Reading | None = None
    """The latest one; `None` where there is none, or where it is too old to hold now."""
    heard: datetime | None = None
    """When the latest reading came, however old it is, UTC."""
    identity: Identity | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    """`cvl`, `dvl` (V), `ccl`, `dcl` (A); empty without policies."""
    permits: Mapping[str, bool] = field(default_factory=dict)
    """`charge`, `discharge`, `balance`; empty without policies."""
    link: Mapping[str, float | None] = field(default_factory=dict)
    """The counters of its link: `requests`, `answers`, `timeouts`, `checksum_errors`, `openings`,
    and `turnaround` (s)."""
    energy: Mapping[str, float] = field(default_factory=dict)
    """J since it is counted, by direction: `charge`, `discharge`. Empty where nothing counts."""
    charge: Mapping[str, float] = field(default_factory=dict)
    """The same in C."""
