"""`bmslink scan --add NAME`: the pack that was found gets its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bmslink.discovery.scan import CERTAIN, Found
from cli_support import Cli

KEPT = '# mine\n[packs.boat]\ntarget = "sim://jk02"  # do not touch\n'
ONE = Found(target="jbd+serial:///dev/ttyUSB0", protocol="jbd", name="SP16", confidence=CERTAIN)
TWO = Found(target="jk02+ble://C8:47:8C:00:00:01", protocol="jk02", confidence=CERTAIN)
WEAKER = Found(target="daly-p81+serial:///dev/ttyUSB0", protocol="daly-p81", confidence=0.8)
NOTHING = Found(target="serial:///dev/ttyUSB1", why="silent")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "bmslink.toml"
    path.write_text(KEPT)
    monkeypatch.setenv("BMSLINK_CONFIG", str(path))
    return path


@pytest.fixture
def scan(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, path: Path
) -> Callable[..., Any]:
    def found(results: list[Found], *argv: str) -> Any:
        async def finds(*, on_found: Callable[[Found], None], **_: object) -> None:
            for one in results:
                on_found(one)

        monkeypatch.setattr("bmslink.discovery.scan.scan", finds)
        return Cli(capsys)("scan", *argv)

    return found


def test_the_one_pack_is_added_and_comments_stay(scan: Callable[..., Any], path: Path) -> None:
    result = scan([NOTHING, WEAKER, ONE], "--add", "van", "--json")
    assert result.code == 0
    assert result.objects[-1] == {
        "schema": 1,
        "name": "van",
        "target": ONE.target,
        "path": str(path),
    }
    assert path.read_text().startswith(KEPT)
    assert ONE.target in path.read_text()


def test_a_name_that_is_taken_or_none_is_refused_before_anything_is_asked(
    scan: Callable[..., Any], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, words in (("boat", "boat exists already"), ("a b", "name"), ("", "name")):
        result = scan([ONE], "--add", name)
        assert (result.code, result.out) == (2, ""), result
        assert words in result.err
    assert path.read_text() == KEPT


def test_of_several_a_person_chooses_and_nobody_else(
    scan: Callable[..., Any], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = scan([ONE, TWO], "--add", "van")
    assert result.code == 2
    assert ONE.target in result.err
    assert TWO.target in result.err
    assert path.read_text() == KEPT
    asked: list[str] = []
    said = ["3", "2"]

    async def answer(question: str) -> str:
        asked.append(question)
        return said.pop(0)

    monkeypatch.setattr("bmslink.cli.asking.can_ask", lambda: True)
    monkeypatch.setattr("bmslink.cli.asking.answer", answer)
    result = scan([ONE, TWO], "--add", "van")
    assert result.code == 2
    assert "'3' is none of them" in result.err
    assert path.read_text() == KEPT
    assert scan([ONE, TWO], "--add", "van").code == 0
    assert asked == ["Which one is van? [1-2]"] * 2
    assert TWO.target in path.read_text()


def test_where_nothing_is_found_nothing_is_added(scan: Callable[..., Any], path: Path) -> None:
    assert scan([NOTHING], "--add", "van", "--json").code == 5
    assert path.read_text() == KEPT
