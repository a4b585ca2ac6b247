"""Tests write only below `tmp_path`, and the guard that sees to it notices what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from writing_guard import WritingGuard


def test_a_stray_write_is_noticed(writing_guard: WritingGuard) -> None:
    stray = Path(__file__).parent / "stray.txt"
    try:
        stray.write_text("x")
    finally:
        stray.unlink()
    assert writing_guard.take() == [f"open {stray}", f"os.remove {stray}"]


def test_folders_and_renames_too(writing_guard: WritingGuard, tmp_path: Path) -> None:
    here = Path(__file__).parent
    inside = tmp_path / "file"
    inside.write_text("x")
    with pytest.raises(OSError):
        inside.rename(here / "no-such-folder" / "file")
    with pytest.raises(OSError):
        (here / "no-such-folder" / "deeper").mkdir()
    assert [s.split()[0] for s in writing_guard.take()] == ["os.rename", "os.mkdir"]


def test_reading_and_tmp_path_are_free(writing_guard: WritingGuard, tmp_path: Path) -> None:
    Path(__file__).read_text()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("x")
    (tmp_path / "a" / "b").rename(tmp_path / "c")
    assert writing_guard.take() == []
