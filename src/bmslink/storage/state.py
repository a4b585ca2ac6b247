"""What a program remembers of a pack across restarts: one small file each, replaced as a whole.

```
{"schema": 1, "saved": "2026-01-02T03:04:05+00:00", ...}
```

What this version does not know in a file is kept when the file is written again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bmslink.errors import BmsError
from bmslink.storage.atomic import read_bounded, replace_file

__all__ = ["DamagedState", "StateFolder", "UnwritableState", "state_path"]

SCHEMA = 1
_LARGEST = 1 << 20
_LOSS = "after a restart the policies would not know what they knew"


class UnwritableState(BmsError):
    """A state cannot be written: a full disk, a missing right."""


class DamagedState(BmsError):
    """A state cannot be read; the file was put aside."""


class StateFolder:
    """The states in one folder, each under a name of any form."""

    def __init__(self, folder: Path, *, largest: int = _LARGEST, loss: str = _LOSS) -> None:
        """`largest`: bytes of a state; `loss`: what follows where one cannot be written."""
        self.folder = folder
        self._largest, self._loss = largest, loss

    def path(self, name: str) -> Path:
        """The file of a name."""
        text = name.encode("utf-8", "surrogateescape")
        return self.folder / f"{hashlib.sha256(text).hexdigest()[:24]}.json"

    def load(self, name: str) -> dict[str, Any] | None:
        """What was saved under a name; `None` where nothing was.

        Raises `DamagedState` for a file that cannot be read or is none of ours; it is renamed to
        `….damaged`, so that the next one takes its place.
        """
        try:
            return self.look(name)
        except DamagedState as error:
            aside = self.put_aside(name)
            raise DamagedState(f"{error} If it is there still, it is {aside} now.") from error

    def look(self, name: str) -> dict[str, Any] | None:
        """The same for who only looks: the file stays as it is. Raises `DamagedState`."""
        path = self.path(name)
        try:
            return _parsed(read_bounded(path, self._largest, "state of a pack"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise DamagedState(f"{path} cannot be read ({why}).") from error

    def each(self) -> Iterator[dict[str, Any]]:
        """All that is saved, under whatever name; what cannot be read is left out."""
        for path in sorted(self.folder.glob("*.json")):
            with suppress(OSError, ValueError, RecursionError):
                yield _parsed(read_bounded(path, _LARGEST, "state of a pack"))

    def forget(self, name: str) -> None:
        """Remove what is saved under a name, if anything is. Raises `UnwritableState`."""
        path = self.path(name)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UnwritableState(f"{path} cannot be removed ({error.strerror}).") from error

    def put_aside(self, name: str) -> str:
        """Rename what is saved under a name, so that the next one takes its place; the new name."""
        path = self.path(name)
        aside = path.with_suffix(".damaged")
        with suppress(OSError):
            path.replace(aside)
        return aside.name

    def save(self, name: str, values: Mapping[str, Any], before: Mapping[str, Any] | None) -> None:
        """Replace what is saved under a name. `before` is what was loaded, whose other keys stay.

        Raises `UnwritableState`.
        """
        about = {
            "schema": max(SCHEMA, int((before or {}).get("schema", 0))),
            "saved": datetime.now(UTC).isoformat(),
        }
        path = self.path(name)
        try:
            data = json.dumps({**(before or {}), **values, **about}, allow_nan=False).encode()
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_file(path, data)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise UnwritableState(
                f"{path} cannot be written ({why}): {self._loss}. Make room, or name another "
                "folder by BMSLINK_STATE."
            ) from error


def _parsed(data: bytes) -> dict[str, Any]:
    found = json.loads(data)
    if isinstance(found, dict) and isinstance(found.get("schema"), int):
        return found
    raise ValueError("it is no state of a pack")


def state_path() -> Path:
    """The folder of what programs remember: the user's, or where BMSLINK_STATE says."""
    given = os.environ.get("BMSLINK_STATE")
    if given:
        return Path(given).expanduser()
    from platformdirs import user_state_path  # only who needs it pays for it

    return user_state_path("bmslink", appauthor=False) / "control"
