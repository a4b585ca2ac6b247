"""A change whose process is killed for good, at every record of its journal."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_serve import serving

import bmslink
import bmslink.config.writer
from bmslink.config import apply, draft, resume, undo
from bmslink.storage.journal import Journal
from support import WHOLE_SWEEP

pytestmark = pytest.mark.slow

WISH = {
    "cell_ovp": 3.6,
    "cell_uvp": 2.6,
    "charge_utp": 1.0,
    "charge_otp": 54.0,
    "charge_ocp": 90.0,
    "pack_ovp": 57.6,
    "pack_uvp": 41.6,
    "cell_ovp_delay": 3.0,
    "balance_delta": 0.02,
    "jbd_led_time": 20.0,
}
"""Ten settings in ten registers: a beginning, ten writes, ten proofs and an end."""
PROFILE = "[settings]\n" + "".join(f"{key} = {value}\n" for key, value in WISH.items())
RECORDS = 2 * len(WISH) + 2


def records(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*.jsonl"))


async def killed_at(folder: Path, count: int, *words: str) -> None:
    """Run `config` with these words until the journal has so many records, and kill it there."""
    command = (sys.executable, "-m", "bmslink", "config", *words, "--yes")
    process = await asyncio.to_thread(
        subprocess.Popen,
        command,
        env={**os.environ, "BMSLINK_JOURNAL": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    limit = time.monotonic() + 60
    while records(folder) < count and process.poll() is None:
        assert time.monotonic() < limit
        await asyncio.sleep(0.002)
    process.kill()
    _, said = await asyncio.to_thread(process.communicate)
    assert records(folder) >= count, said.decode()


async def one_life(count: int, folder: Path, profile: Path) -> None:
    """A change killed at that record, and resumed."""
    journal = Journal(folder)
    async with serving(protocol="jbd", tcp="127.0.0.1:0", load="idle", speed=1) as served:
        target = served.targets[0] + "?gap=0"
        async with bmslink.connect(target).board as device:
            before = (await device.settings()).values()
        await killed_at(journal.folder, count, "apply", str(profile), target)
        back = bool(count % 2)
        async with bmslink.connect(target).board as device:
            ended = not journal.unfinished()  # it may have got further before it died
            outcome = await resume(device, rollback=back, journal=journal)
            after = (await device.settings()).values()
        wanted = "nothing" if ended else "rolled back" if back else "done"
        assert (count, outcome.result) == (count, wanted)
        planned = {**before, **WISH}
        assert (count, after) == (count, before if back and not ended else planned)
        assert not journal.unfinished()


@pytest.mark.sweep
@pytest.mark.real_time
async def test_killed_for_good_it_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first and last records and some in the middle: `test_config_resume.py` dies in every
    state, this proves that a real death is no other. `BMSLINK_WHOLE_SWEEP=1` dies at each.

    Some at a time: most of a life is waiting. This board forgets nothing within seconds."""
    monkeypatch.setattr(bmslink.config.writer, "_REST", 0.05)
    profile = tmp_path / "p.toml"
    profile.write_text(PROFILE)

    few = asyncio.Semaphore(5)

    async def live(count: int) -> None:
        async with few:
            await one_life(count, tmp_path / str(count), profile)

    chosen = range(1, RECORDS - 1) if WHOLE_SWEEP else (1, 2, 13, RECORDS - 2)
    await asyncio.gather(*(live(count) for count in chosen))


@pytest.mark.real_time
async def test_what_was_cut_off_forbids_every_other_change(tmp_path: Path) -> None:
    folder, profile = tmp_path / "journal", tmp_path / "p.toml"
    profile.write_text(PROFILE)

    def bmslink_says(*words: str) -> tuple[int, str]:
        done = subprocess.run(
            (sys.executable, "-m", "bmslink", *words),
            env={**os.environ, "BMSLINK_JOURNAL": str(folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    async with serving(protocol="jbd", tcp="127.0.0.1:0", load="idle", speed=1) as served:
        target = served.targets[0] + "?gap=0"
        await killed_at(folder, 5, "apply", str(profile), target)
        for words in (
            ("settings", "set", target, "jbd_led_time=30", "--yes"),
            ("config", "apply", str(profile), target, "--yes"),
            ("switch", target, "charge", "on", "--yes"),
        ):
            code, said = await asyncio.to_thread(bmslink_says, *words)
            assert code == 3, said
            assert "resume" in said
        off = ("switch", target, "charge", "off", "--yes")
        code, said = await asyncio.to_thread(bmslink_says, *off)
        assert code == 0, said
        assert "ending it leaves charge off" in said
        code, said = await asyncio.to_thread(bmslink_says, "config", "resume", target, "--yes")
        assert code == 0, said
        (path,) = folder.glob("*.jsonl")
        assert json.loads(path.read_text().splitlines()[-1])["event"] == "end"


@pytest.mark.real_time
async def test_an_undo_that_was_killed_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bmslink.config.writer, "_REST", 0.05)
    wish = {"cell_ovp": 3.6, "charge_utp": 1.0}

    async def live(count: int) -> None:
        journal = Journal(tmp_path / str(count))
        async with serving(protocol="jbd", tcp="127.0.0.1:0", load="idle", speed=1) as served:
            target = served.targets[0] + "?gap=0"
            async with bmslink.connect(target).board as device:
                before = (await device.settings()).values()
                plan = await draft(device, wish, journal=journal)
                await apply(device, plan, journal=journal)
            begun = records(journal.folder)
            await killed_at(journal.folder, begun + count, "undo", target, "--chemistry", "lfp")
            async with bmslink.connect(target).board as device:
                outcome = await resume(device, rollback=count == 3, journal=journal)
                after = (await device.settings()).values()
                assert outcome.result == ("rolled back" if count == 3 else "done")
                assert after == ({**before, **wish} if count == 3 else before)
                again = await undo(device, chemistry="lfp", journal=journal)
                assert again.result == "done"
                after = (await device.settings()).values()
                assert after == (before if count == 3 else {**before, **wish})

    await asyncio.gather(*map(live, (1, 3)))


@pytest.mark.real_time
async def test_killed_while_two_packs_are_written_to_each_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bmslink.config.writer, "_REST", 0.05)
    folder, profile = tmp_path / "journal", tmp_path / "p.toml"
    profile.write_text(PROFILE)
    journal = Journal(folder)
    pack = {"protocol": "jbd", "tcp": "127.0.0.1:0", "load": "idle", "speed": 1}
    async with serving(**pack) as one, serving(**pack) as two:
        targets = [served.targets[0] + "?gap=0" for served in (one, two)]
        await killed_at(folder, 12, "apply", str(profile), *targets)
        assert len(journal.unfinished()) == 2
        for target, back in zip(targets, (False, True), strict=True):
            async with bmslink.connect(target).board as device:
                outcome = await resume(device, rollback=back, journal=journal)
                assert outcome.result == ("rolled back" if back else "done")
                held = (await device.settings()).values()
                assert (held["cell_ovp"] == WISH["cell_ovp"]) is not back
        assert not journal.unfinished()
