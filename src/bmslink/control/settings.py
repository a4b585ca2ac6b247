"""A BMS's own settings from a file of JSON lines, as `settings show --json` prints them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bmslink.errors import TargetError

__all__ = ["load_settings"]

_LONGEST = 1 << 20
_LONGEST_LINE = 1 << 16


class _Setting(msgspec.Struct):
    key: str
    value: float | int | str | bool | None = None


def load_settings(path: Path) -> dict[str, float]:
    """The settings that are numbers, by canonical key. `TargetError` names a damaged line."""
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST + 1)
    except (OSError, ValueError) as exc:
        why = getattr(exc, "strerror", None) or exc
        raise TargetError(f"{path} cannot be read: {why}.") from exc
    if len(data) > _LONGEST:
        raise TargetError(f"{path} is longer than {_LONGEST} bytes: these are no settings.")
    found: dict[str, float] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            setting = msgspec.json.decode(line[:_LONGEST_LINE], type=_Setting)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            raise TargetError(
                f"{path}, line {number}: this is no setting as `settings show --json` prints it."
            ) from exc
        value = setting.value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            found[setting.key] = float(value) if abs(value) < 1e12 else float("nan")
    if not data.strip():
        raise TargetError(f"{path} is empty: `settings show --json` prints what belongs there.")
    return found
