"""What we send to a simulated board of each protocol is what we sent before, byte by byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bmslink.protocols import DRIVERS
from wire_goldens import GOLDENS, sent_to


@pytest.mark.counted
@pytest.mark.parametrize("protocol", DRIVERS)
def test_the_same_bytes_go_out(protocol: str, tmp_path: Path) -> None:
    """If this is meant to change, run `python tools/wire_goldens.py` and read the difference."""
    assert sent_to(protocol, tmp_path) == json.loads((GOLDENS / f"{protocol}.json").read_text())
