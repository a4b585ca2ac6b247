"""The evidence for every setting, out of the maps, into `docs/configuration.md`.

    python tools/settings_table.py [--check]

Asked are the simulated boards: they have what real ones of their firmware have. With `--check`
nothing is written, and the exit code is 1 if the page is not what it would be.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import bmslink
from bmslink.protocols.common.settings_map import SettingsMap
from bmslink.protocols.names import VENDOR_PREFIXES
from bmslink.settings.setting import Evidence, Setting

__all__ = ["BOARDS", "page"]

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"
BEGIN, END = "<!-- generated: tools/settings_table.py -->", "<!-- end -->"

BOARDS: Mapping[str, str] = {
    "jbd": "sim://jbd?gap=0",
    "jbd-up": "sim://jbd-up?gap=0",
    "jk02 32S": "sim://jk02",
    "jk02 24S": "sim://jk02?firmware=10.07&cells=16",
    "jk04": "sim://jk04",
    "jk-modbus": "sim://jk-modbus?gap=0",
    "jk-nw": "sim://jk-nw?gap=0",
    "daly-a5": "sim://daly-a5?gap=0",
    "daly-d2": "sim://daly-d2?gap=0",
    "daly-p81": "sim://daly-p81?gap=0",
}
"""Column -> the board that is asked."""
_LETTERS = {
    Evidence.CAPTURE: "C",
    Evidence.APP: "A",
    Evidence.DOCUMENT: "D",
    Evidence.UNVERIFIED: "r",
}


async def _map(target: str) -> SettingsMap | None:
    async with bmslink.connect(target).board as device:
        try:
            return await device.settings_map(await device.identify())
        except bmslink.errors.SettingError:
            return None


async def _maps() -> dict[str, SettingsMap]:
    found = await asyncio.gather(*(_map(target) for target in BOARDS.values()))
    return {name: each for name, each in zip(BOARDS, found, strict=True) if each is not None}


def _letter(settings: SettingsMap, row: Setting | None) -> str:
    if row is None:
        return ""
    return "r" if settings.read_only_reason or not row.writable else _LETTERS[row.evidence]


def _common(maps: Mapping[str, SettingsMap]) -> Iterator[str]:
    keys = dict.fromkeys(
        row.key for each in maps.values() for row in each.settings if row.key[0] != "_"
    )
    yield f"| setting | {' | '.join(maps)} |"
    yield f"|---|{':-:|' * len(maps)}"
    for key in (k for k in sorted(keys) if not k.startswith(VENDOR_PREFIXES)):
        cells = (_letter(each, each.by_key.get(key)) for each in maps.values())
        yield f"| `{key}` | {' | '.join(cells)} |"


def _own(maps: Mapping[str, SettingsMap]) -> Iterator[str]:
    yield "| board | its own settings |"
    yield "|---|---|"
    for name, each in maps.items():
        rows = [row for row in each.settings if row.key.startswith(VENDOR_PREFIXES)]
        told = ", ".join(f"`{row.key}` {_letter(each, row)}" for row in rows)
        yield f"| {name} | {told or 'none'} |"


def page(text: str) -> str:
    """The page with its tables made anew."""
    maps = asyncio.run(_maps())
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    made = "\n".join([*_common(maps), "", *_own(maps)])
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    text = PAGE.read_text(encoding="utf-8")
    made = page(text)
    if "--check" in arguments:
        return int(made != text)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
