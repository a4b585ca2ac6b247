"""Tables of settings as a service and its clients say them, in JSON, and back into objects.

Nothing here loads what changes a pack: who only looks at settings need not wait for that.
"""

from __future__ import annotations

import msgspec

from bmslink.errors import SettingError
from bmslink.protocols import load_driver
from bmslink.protocols.common.settings_map import (
    Recomputed,
    SettingsMap,
    SettingsSnapshot,
    Slot,
)
from bmslink.service_values import other_version
from bmslink.settings.setting import Setting

__all__ = ["Form", "MapForm", "SnapshotForm"]


class Form(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One object; keys of other versions are refused."""


class MapForm(Form):
    """A settings map."""

    protocol: str
    name: str
    evidence: str
    slots: list[tuple[int, int]]
    """Address, and which of the protocol's maps has its layout."""
    settings: list[Setting]
    read_only_reason: str = ""
    untested_reason: str = ""
    balancer: bool = False
    recomputed: dict[str, Recomputed] = {}
    chemistries: frozenset[str] = frozenset()

    @classmethod
    def of(cls, protocol: str, found: SettingsMap) -> MapForm:
        """The form of a map; `SettingError` for a layout that no map of the protocol has."""
        every = load_driver(protocol).every_map()
        slots = []
        for slot in found.slots:
            held = [each.by_address.get(slot.address) for each in every]
            which = [n for n, own in enumerate(held) if own and own.layout is slot.layout]
            if not which:
                raise SettingError(
                    f"Setting {slot.address:02X} of {protocol} cannot be shown through a service: "
                    "stop the service and ask the pack directly."
                )
            slots.append((slot.address, which[0]))
        return cls(
            protocol=protocol,
            name=found.name,
            evidence=found.evidence,
            slots=slots,
            settings=list(found.settings),
            read_only_reason=found.read_only_reason,
            untested_reason=found.untested_reason,
            balancer=found.balancer,
            recomputed=dict(found.recomputed),
            chemistries=found.chemistries,
        )

    def map(self) -> SettingsMap:
        """The map; `TransportError` where it cannot be one of this version."""
        every = load_driver(self.protocol).every_map()
        try:
            slots = [
                Slot(address=at, layout=every[which].by_address[at].layout)
                for at, which in self.slots
            ]
        except (IndexError, KeyError) as exc:
            raise other_version("a table of settings") from exc
        return SettingsMap(
            name=self.name,
            evidence=self.evidence,
            slots=tuple(slots),
            settings=tuple(self.settings),
            read_only_reason=self.read_only_reason,
            untested_reason=self.untested_reason,
            balancer=self.balancer,
            recomputed=self.recomputed,
            chemistries=self.chemistries,
        )


class SnapshotForm(Form):
    """All settings as they were read."""

    map: MapForm
    image: dict[int, bytes]

    @classmethod
    def of(cls, protocol: str, found: SettingsSnapshot) -> SnapshotForm:
        """Its form."""
        return cls(map=MapForm.of(protocol, found.map), image=dict(found.image))

    def snapshot(self) -> SettingsSnapshot:
        """The settings."""
        return SettingsSnapshot(map=self.map.map(), image=self.image)
