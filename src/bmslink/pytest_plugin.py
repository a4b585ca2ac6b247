"""The pytest fixture `simulated_pack`; pytest finds it by itself where bmslink is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bmslink.testing import SimulatedPack

__all__ = ["simulated_pack"]


@pytest.fixture
def simulated_pack() -> type[SimulatedPack]:
    """Makes simulated packs: `pack = simulated_pack("jk02", cells=8)`, open at `pack.target`."""
    from bmslink.testing import SimulatedPack

    return SimulatedPack
