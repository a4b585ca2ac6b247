"""The settings of JBD's UP packs: shown, never written.

No document names the words of these two blocks; their values fall into place exactly in the one
recorded answer of each, and nobody was ever recorded writing them (`docs/protocols/jbd-up.md`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from bmslink.protocols.common.fields import Layout, fields_of
from bmslink.protocols.common.settings_map import SettingsMap, Slot
from bmslink.protocols.jbd.up.layouts import BLOCKS
from bmslink.settings.setting import Evidence, Setting, title_of

__all__ = ["SETTINGS_BLOCKS", "up_map"]

SETTINGS_BLOCKS: Mapping[int, int] = {0x1800: 0x1900, 0x1C00: 0x1CA0}
"""Start -> end of what is asked for."""

_PREFIX = "jbd_up_"
_NEVER = "no document names it, and nobody was ever recorded writing it"
_UNITS = (
    # part of the key -> unit; the first that fits
    ("_delay", "s"),
    ("_count", ""),
    ("temperature_delta", ""),  # its scale is open
    ("otp", "°C"),
    ("utp", "°C"),
    ("ocp_release", ""),  # a time, perhaps
    ("ocp_2_release", ""),
    ("ocp", "A"),
    ("soc", "%"),
    ("cell_", "V"),
    ("pack_", "V"),
    ("balance_", "V"),
)


def _unit(name: str) -> str:
    """Of the alarm at a current, the release is a current as well."""
    if "ocp_alarm" in name and not name.endswith("_delay"):
        return "A"
    return next((unit for part, unit in _UNITS if part in name), "")


def _rows(start: int, layout: Layout) -> Iterator[Setting]:
    for name, _ in fields_of(layout):
        if name.startswith(_PREFIX) and "_word_" not in name:
            yield Setting(
                key=name,
                title=title_of(name.removeprefix(_PREFIX)),
                slot=start,
                unit=_unit(name),
                step=0.001,
                evidence=Evidence.UNVERIFIED,
                reason=_NEVER,
            )


@cache
def up_map() -> SettingsMap:
    """The map of a pack that is on the line itself."""
    layouts = {start: layout for (start, _), (_, layout) in BLOCKS.items()}
    slots = tuple(Slot(address=start, layout=layouts[start]) for start in SETTINGS_BLOCKS)
    return SettingsMap(
        name="jbd-up",
        evidence="One answer of each block was recorded (docs/protocols/jbd-up.md).",
        slots=slots,
        settings=tuple(row for slot in slots for row in _rows(slot.address, slot.layout)),
        read_only_reason="nobody was ever recorded writing the settings of these packs",
    )
