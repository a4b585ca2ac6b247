"""Options that are declared once: groups, and the connection options of every command."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, get_type_hints

import pytest
import typer
from test_ble_pin import SECRET, locked
from typer.testing import CliRunner

from ble_support import ADDRESS, clear_air
from bmslink.cli.app import COMMANDS
from bmslink.cli.connection import ConnectionOptions
from bmslink.cli.option_groups import OptionGroup, with_groups
from bmslink.control.presets import preset
from cli_support import QUICK, Cli

TARGET = f"jbd+ble://{ADDRESS}?gap=0"
CONNECTION = ["--protocol", "--address", "--baudrate", "--timeout", "--pin-file"]
OFFLINE = {
    "decode", "simulate", "replay", "config journal",
    "control backtest", "packs list", "packs add", "packs remove", "packs path",
}  # fmt: skip
OWN = {
    "scan",  # it looks for packs: its --timeout and --protocol say how
    "serve", "service status", "service reload", "service stop", "service install",
    "service lend", "service release", "service test-alerts",
    "history", "life", "plot",  # of a service, or of files
}  # fmt: skip


def every_command() -> dict[str, object]:
    found = {}
    for name in COMMANDS:
        module = importlib.import_module(f"bmslink.cli.{name}")
        group = getattr(module, "COMMANDS", None)
        if group is None:
            found[name] = module.command
        else:
            found |= {f"{name} {word}": command for word, command in group.items()}
    return found


CONNECTING = [name for name in every_command() if name not in OFFLINE | OWN]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    monkeypatch.delenv("BMSLINK_TARGET", raising=False)
    monkeypatch.delenv("BMSLINK_PIN", raising=False)
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return Cli(capsys)


# ------------------------------------------------------------------------------------ groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Size(OptionGroup):
    width: Annotated[int, typer.Option(help="How wide.")] = 3
    tall: Annotated[bool, typer.Option("--tall")] = False


def made(command) -> typer.Typer:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(with_groups(command))
    return app


def test_a_group_is_its_options_in_its_place_and_one_object_for_the_command() -> None:
    seen = []

    def paint(
        name: str,
        first: Annotated[str, typer.Option()] = "a",
        *,
        size: Size,
        last: Annotated[str, typer.Option()] = "z",
    ) -> None:
        """Paint it."""
        seen.append((name, first, size, last))

    app, runner = made(paint), CliRunner()
    helped = runner.invoke(app, ["--help"]).output
    places = [helped.index(option) for option in ("--first", "--width", "--tall", "--last")]
    assert places == sorted(places)
    assert "Paint it." in helped and "How wide." in helped
    assert runner.invoke(app, ["wall"]).exit_code == 0
    assert runner.invoke(app, ["wall", "--last", "y", "--width", "5", "--tall"]).exit_code == 0
    assert seen == [("wall", "a", Size(), "z"), ("wall", "a", Size(width=5, tall=True), "y")]
    assert runner.invoke(app, ["wall", "--width", "wide"]).exit_code == 2


def test_two_options_of_one_name_are_a_mistake_of_the_program() -> None:
    def paint(width: int = 1, *, size: Size) -> None:
        raise AssertionError((width, size))

    with pytest.raises(ValueError, match="width"):
        with_groups(paint)


def test_a_command_without_groups_stays_as_it_is() -> None:
    def paint(width: int = 1) -> None:
        raise AssertionError(width)

    assert with_groups(paint) is paint


# ------------------------------------------------------------------------------------ connecting


@pytest.mark.parametrize("name", CONNECTING)
def test_every_command_that_connects_takes_the_connection_options(cli, name) -> None:
    assert ConnectionOptions in get_type_hints(every_command()[name]).values()
    helped = cli(*name.split(), "--help").out
    for option in CONNECTION:
        assert f"\n  {option} " in helped
    for field in fields(ConnectionOptions):
        assert f"--{field.name.replace('_', '-')}" in CONNECTION


def test_a_command_that_connects_to_nothing_takes_none(cli) -> None:
    assert every_command().keys() >= OFFLINE | OWN
    for name in OFFLINE - {"simulate"}:  # whose --address says what it is
        helped = cli(*name.split(), "--help").out
        assert not [o for o in CONNECTION if o != "--protocol" and f"  {o} " in helped]


LOCKED = {
    "info": ("info", TARGET),
    "settings show": ("settings", "show", TARGET),
    "settings get": ("settings", "get", TARGET, "cell_ovp"),
    "settings set": ("settings", "set", TARGET, "cell_ovp=3.6", "--dry-run"),
    "config backup": ("config", "backup", TARGET, "-o", "backup.json"),
    "config export": ("config", "export", TARGET),
    "config plan": ("config", "plan", "profile.toml", TARGET),
    "config apply": ("config", "apply", "profile.toml", TARGET, "--dry-run"),
    "config restore": ("config", "restore", "backup.json", TARGET, "--dry-run"),
    "config undo": ("config", "undo", TARGET, "--dry-run"),
    "config resume": ("config", "resume", TARGET, "--show"),
    "config verify": ("config", "verify", TARGET),
    "config diff": ("config", "diff", "profile.toml", TARGET),
    "switch": ("switch", TARGET, "charge", "off", "--dry-run"),
    "control presets": ("control", "presets", TARGET, "--chemistry", "lfp", "--capacity", "100"),
    "control check": ("control", "check", "policies.toml", TARGET),
    "control explain": ("control", "explain", TARGET, "--policies", "policies.toml"),
    "control run": (
        "control", "run", "--shadow", "--policies", "policies.toml", TARGET, "--count", "1",
    ),
}  # fmt: skip


@pytest.fixture
def air(cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A module that answers nothing without its password, and the files of `LOCKED`."""
    monkeypatch.setenv("BMSLINK_BLE_BACKEND", "ble_memory:factory")
    monkeypatch.setattr("bmslink.transports.ble.transport.SCAN_TIMEOUT", 0.3)
    monkeypatch.setattr("bmslink.cli.control_try._APART", 0.01)
    Path("profile.toml").write_text("[settings]\ncell_ovp = '3.6 V'\n")
    Path("policies.toml").write_text(preset("lfp", "solar", cells=4, capacity=100))
    Path("pin").write_text(f"{SECRET}\n")
    Path("pin").chmod(0o600)
    clear_air()
    locked()
    yield
    clear_air()


@pytest.mark.parametrize("words", LOCKED.values(), ids=LOCKED)
def test_the_pin_file_opens_the_pack_in_every_command(cli, air, words) -> None:
    if "restore" in words:
        assert cli.hurried(*LOCKED["config backup"], "--pin-file", "pin").code == 0
    result = cli.hurried(*words, "--pin-file", "pin")
    assert result.code in (0, 3, 5), result  # 3 and 5: what was read did not suit
    assert "password" not in result.err
    assert SECRET not in result.out + result.err
    hasty = [word.replace("gap=0", "gap=0&timeout=0.1") for word in words]
    without = cli.hurried(*hasty)
    assert without.code == 1 and re.search("password|No answer", without.err)


PIN_FILES = {"empty": b"\n123456\n", "no text": b"\xff\xfe1", "without end": b"1" * 5000}


@pytest.mark.parametrize("content", [*PIN_FILES.values(), None], ids=[*PIN_FILES, "folder"])
@pytest.mark.parametrize("name", ["settings set", "switch", "config apply", "control run"])
def test_a_pin_file_that_holds_no_pin_is_refused_before_anything_is_opened(
    cli, monkeypatch, tmp_path, name, content
) -> None:
    async def opened(device) -> None:
        raise AssertionError(device)

    monkeypatch.setattr("bmslink.board.Board.open", opened)
    Path("profile.toml").write_text("[settings]\ncell_ovp = '3.6 V'\n")
    Path("policies.toml").write_text(preset("lfp", "solar", cells=4, capacity=100))
    file = tmp_path / "pin"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
        file.chmod(0o600)
    words = [QUICK if word == TARGET else word for word in LOCKED[name] if word != "--dry-run"]
    result = cli(*words, "--pin-file", str(file))
    result.failed(2)
    assert "123456" not in result.err and "1111" not in result.err
