"""Input that is large or deep costs no more than it is worth."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

import pytest

from bmslink.decoding import decode
from bmslink.errors import FrameError
from bmslink.protocols import DRIVERS, load_driver
from bmslink.storage.toml import loads
from cli_support import Cli
from support import WHOLE_SWEEP

SIZE = 1 << 15
ROUND_TRIP = "DD 03 00 1B 05 2B FD 4F 3E 22 4E 20 00 85 2C 56 00 00 00 00 00 00 17 50 03 04 02 0B"
ROUND_TRIP += " D7 0B DF FA 58 77"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", DRIVERS)
def test_a_run_of_one_byte_is_passed_over_quickly(protocol: str) -> None:
    """Generous: the tests run traced for coverage. Without the mend it is far slower."""
    for byte in range(256):
        framer = load_driver(protocol).make_framer()
        begun = time.process_time()
        assert framer.feed(bytes([byte]) * SIZE) == []
        framer.flush()
        assert time.process_time() - begun < SIZE * 80e-6, f"{byte:02x}"
        assert framer.skipped_bytes == SIZE


@pytest.mark.sweep
@pytest.mark.slow
@pytest.mark.parametrize(
    "byte", [0x00, 0x03, 0x10, 0x55, 0xA5, 0xDD] if WHOLE_SWEEP else [0x00, 0xA5]
)
def test_the_protocol_is_found_by_the_first_bytes(byte: int) -> None:
    with pytest.raises(FrameError, match=r"in (the first )?262144 "):
        decode(bytes([byte]) * 1_000_000)


@pytest.mark.slow
def test_what_the_first_bytes_say_holds_for_all_of_them() -> None:
    frame = bytes.fromhex(ROUND_TRIP)
    times = 1_000_000 // len(frame)
    assert len(decode(frame * times)) == times


def test_noise_longer_than_what_is_judged_is_decoded_with_the_protocol_named() -> None:
    frame = bytes.fromhex(ROUND_TRIP)
    with pytest.raises(FrameError, match="--protocol looks at all of them"):
        decode(bytes(300_000) + frame)
    [reading] = decode(bytes(300_000) + frame, "jbd")
    assert reading.voltage == 13.23


DEEP = {
    "key": ".".join(["a"] * 20_000) + " = 1\n",
    "table": "[" + ".".join(["a"] * 20_000) + "]\nx = 1\n",
    "quoted": ".".join(['"a"'] * 10_000) + " = 1\n",
    "spaced": " . ".join(["a"] * 10_000) + " = 1\n",
    "inline": "x = {" + ".".join(["a"] * 10_000) + " = 1}\n",
    "lists": "a = " + "[" * 30_000 + "]" * 30_000 + "\n",
    "tables": "a = " + "{a=" * 10_000 + "1" + "}" * 10_000 + "\n",
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_toml_is_refused_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name not in ("lists", "tables"):  # for these its own limit is quick
        monkeypatch.setattr(tomllib, "loads", lambda text: pytest.fail("it was read"))
    with pytest.raises(ValueError, match="nested too deeply"):
        loads(DEEP[name])


def test_what_people_write_is_still_read() -> None:
    text = "a.b.c.d.e = 1\n[x.y.z]\nt = 'It reads … and so on. And on. 1.2.3.4.5.6.7.8'\n"
    assert loads(text) == tomllib.loads(text)


@pytest.mark.parametrize("name", DEEP)
def test_every_command_that_reads_toml_refuses_it(
    name: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "deep.toml"
    file.write_text(DEEP[name])
    monkeypatch.setenv("BMSLINK_CONFIG", str(file))
    for command in (
        ["packs", "list"],
        ["config", "plan", str(file), "sim://jbd?gap=0"],
        ["control", "check", str(file)],
    ):
        begun = time.process_time()
        done = cli(*command)
        assert done.code in (2, 3), done
        assert "nested too deeply" in done.err
        assert time.process_time() - begun < 3
