"""`[history]` of bmslink.toml: whether, where and how long the service remembers.

```toml
[history]
path = "history.db"    # a file, or a folder in which it is history.db; beside bmslink.toml
interval = 5           # s between two stored readings of a pack; what changes comes in at once
raw_days = 14          # days of which every stored reading is kept, beside today
minute_days = 366      # days of which each minute is kept; hours and events are kept for ever
max_size = 4096        # MB; where that is reached, the oldest readings go first
```
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

__all__ = ["HistoryOptions"]


class HistoryOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section. It may be empty: then all is as above, in the service's own state folder."""

    path: str | None = None
    interval: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 5.0
    raw_days: Annotated[int, msgspec.Meta(ge=1, le=3660)] = 14
    minute_days: Annotated[int, msgspec.Meta(ge=1, le=36600)] = 366
    max_size: Annotated[int, msgspec.Meta(ge=16, le=10_000_000)] = 4096

    @classmethod
    def at(cls, place: str, known: HistoryOptions | None = None) -> HistoryOptions:
        """The same as `known`, at a place that the command line gives."""
        path = str(Path(place).expanduser().absolute())
        return msgspec.structs.replace(known or cls(), path=path)

    def file(self, beside: Path, default: Path) -> Path:
        """The file of the store: `path` as seen from a folder, or in the default folder."""
        found = default if self.path is None else beside / Path(self.path).expanduser()
        return found if found.suffix in _SUFFIXES and not found.is_dir() else found / "history.db"


_SUFFIXES = (".db", ".sqlite", ".sqlite3")
