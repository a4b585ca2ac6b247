"""Secrets of containers: engines mount them readable by all."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmslink.errors import TargetError
from bmslink.storage import credentials
from bmslink.storage.credentials import read_secret


def test_what_a_container_engine_hands_over_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tmp_path / "secrets"
    engine.mkdir()
    handed, own = engine / "token", tmp_path / "token"
    for path in (handed, own):
        path.write_text("abc")
        path.chmod(0o444)
    (engine / "link").symlink_to(own)
    monkeypatch.setattr(credentials, "_CONTAINER", engine)
    assert read_secret(handed, 100, "a token") == b"abc"
    for path in (own, engine / "link"):
        with pytest.raises(TargetError, match="may read"):
            read_secret(path, 100, "a token")
    handed.chmod(0o446)
    with pytest.raises(TargetError, match=r"chmod o=,g-w"):
        read_secret(handed, 100, "a token")
