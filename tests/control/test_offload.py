"""`control offload`: the board's own settings for what a policy file stops."""

from __future__ import annotations

from pathlib import Path

import pytest

import bmslink
from bmslink.control.decide.policy import Mode
from bmslink.control.files import parse_policies
from bmslink.control.offload import Step, offload
from bmslink.control.presets import preset
from bmslink.errors import TargetError
from bmslink.protocols.common.settings_map import SettingsSnapshot
from cli_support import Cli

_DIALECTS = ("jk02", "jk-modbus", "jbd", "daly-a5", "daly-d2", "daly-p81")
_LOWER = ("_ovp", "_otp", "_ocp", "_delay", "_ovp_release", "_otp_release")


def _text(**changes: str) -> str:
    text = preset("lfp", "solar", cells=4, capacity=100.0)
    for name, value in changes.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name} = ")]
        text = text.replace(line, f'{name} = "{value}"')
    return text


async def _table(protocol: str) -> SettingsSnapshot:
    async with bmslink.connect(f"sim://{protocol}?cells=4&gap=0") as device:
        return await device.board.settings()


def _stricter(key: str, new: float, old: float) -> bool:
    lower = key.endswith(_LOWER)
    return new < old if lower else new > old


@pytest.mark.parametrize("protocol", _DIALECTS)
async def test_nothing_becomes_looser(protocol: str):
    """Whatever the file says: one as loose as a file can be, one as tight as a cautious owner's."""
    table = await _table(protocol)
    held = table.values()
    tight = {"ov_trip": "3.60 V", "ov_release": "3.38 V", "uv_trip": "2.95 V",
             "uv_release": "3.10 V", "charge_ut_trip": "4 °C", "charge_ut_release": "6 °C",
             "charge_ot_trip": "48 °C", "charge_ot_release": "44 °C"}  # fmt: skip
    loose = {"ov_trip": "3.75 V", "uv_trip": "2.45 V", "charge_ot_trip": "69 °C",
             "discharge_ut_trip": "-30 °C", "mosfet_trip": "110 °C"}  # fmt: skip
    for changes in (tight, loose):
        found = offload(parse_policies(_text(**changes), Path("x.toml")), table)
        for key, value in found.wanted.items():
            old = held[key]
            assert isinstance(old, float)
            assert _stricter(key, value, old), (key, value, old)
    assert offload(parse_policies(_text(**tight), Path("x.toml")), table).wanted["cell_ovp"] == 3.6


@pytest.mark.parametrize("protocol", _DIALECTS)
async def test_the_board_takes_it_and_then_holds_it(protocol: str):
    policies = parse_policies(_text(ov_trip="3.60 V"), Path("x.toml"))
    async with bmslink.connect(f"sim://{protocol}?cells=4&gap=0") as device:
        first = offload(policies, await device.settings())
        await device.apply(await device.plan(first.wanted, chemistry="lfp"))
        after = await device.board.settings()
    assert {key: after.values()[key] for key in first.wanted} == first.wanted
    again = offload(policies, after)
    assert again.wanted == {}
    kept = {row.key for row in again.rows if row.step is Step.KEEP}
    assert {"cell_ovp", "cell_uvp", "charge_ocp", "discharge_ocp", "charge_utp"} <= kept


async def test_what_it_cannot_hold_has_a_reason():
    table = await _table("jk02")
    found = offload(parse_policies(_text(), Path("x.toml")), table)
    unable = {row.key or row.policy: row.why for row in found.rows if row.step is Step.UNABLE}
    assert "no such setting" in unable["pack_ovp"]
    assert "one stage" in unable["charge_overcurrent_instant"]
    assert "needs a program" in unable["temperature_rise"]
    off = parse_policies(_text(), Path("x.toml")).changing("cell_undervoltage", mode=Mode.OFF)
    off = off.changing("cell_undervoltage_critical", mode=Mode.OFF)
    assert "cell_uvp" in found.wanted
    assert "cell_uvp" not in offload(off, table).wanted  # the owner wants no such policy
    five = preset("lfp", "solar", cells=5, capacity=100.0)
    with pytest.raises(TargetError, match="4 cells, the policy file is for 5"):
        offload(parse_policies(five, Path("x.toml")), table)


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    cli = Cli(capsys)
    file = tmp_path / "lfp.toml"
    file.write_text(_text(), encoding="utf-8")
    pack = "sim://jbd?gap=0&cells=4"
    shown = cli("control", "offload", pack, str(file), "--dry-run")
    assert (shown.code, "pack_uvp becomes 10.80 V" in shown.out) == (0, True)
    assert "nothing was changed" in shown.err
    declined = cli("control", "offload", pack, str(file))
    assert (declined.code, "nobody was there to agree" in declined.err) == (3, True)
    proposed, outcome = cli("control", "offload", pack, str(file), "--yes", "--json").objects
    assert proposed["offload"]["wanted"]["discharge_ocp"] == 100.0  # the board's own rating
    assert outcome["outcome"]["result"] == "done"
    refused = cli("control", "offload", "sim://jk-nw?gap=0&cells=4", str(file))
    assert (refused.code, "can hold nothing of this file" in refused.err) == (3, True)
