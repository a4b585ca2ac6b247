"""A BMS's own settings from a file of JSON lines, as `bmslink settings show --json` prints them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bmslink.errors import TargetError
from bmslink.storage.atomic import read_bounded

__all__ = ["load_settings"]

_LONGEST = 1 << 20
_LONGEST_LINE = 1 << 16


class _Setting(msgspec.Struct):
    key: str
    value: float | int | str | bool | None = None


def load_settings(path: Path) -> dict[str, float]:
    """The settings that are numbers, by canonical key. `TargetError` names a damaged line."""
    try:
        data = read_bounded(path, _LONGEST, "file of settings")
    except OSError as exc:
        raise TargetError(f"{path} cannot be read: {exc.strerror or exc}.") from exc
    found: dict[str, float] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            setting = msgspec.json.decode(line[:_LONGEST_LINE], type=_Setting)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            raise TargetError(
                f"{path}, line {number}: this is no setting as `bmslink settings show --json` "
                "prints it."
            ) from exc
        value = setting.value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            found[setting.key] = float(value) if abs(value) < 1e12 else float("nan")
    if not data.strip():
        raise TargetError(
            f"{path} is empty: `bmslink settings show --json` prints what belongs there."
        )
    return found
