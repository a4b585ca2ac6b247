"""bmslink.toml as the service reads it: every error with its line, and reloading it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

import bmslink.config_place
import bmslink.packs
from bmslink.errors import TargetError
from bmslink.packs import find_pack, load_packs
from bmslink.runtime.service import Service
from bmslink.runtime.service_file import load_plan

POLICY = 'schema = 2\n[battery]\nchemistry = "lfp"\ncells = 16\ncapacity = "100 Ah"\n'
WHOLE = """
[service]
socket = "/run/bmslink/bmslink.sock"
tcp = "127.0.0.1:8720"
token_file = "token"
interval = 2

[packs.van]
target = "sim://jbd"
policies = "van.toml"
enforce = true

[packs.shed]
target = "jk-modbus+tcp://192.168.1.9:8899?address=1-2"
interval = 5
slow_interval = 3600
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    path = tmp_path / "bmslink.toml"
    monkeypatch.setenv("BMSLINK_CONFIG", str(path))
    (tmp_path / "van.toml").write_text(POLICY)
    path.write_text(WHOLE)
    return path


def rewrite(config: Path, text: str) -> None:
    config.write_text(text)


async def test_what_a_reload_takes_away_is_said(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slip of the pen, or half a file, must not switch protection off in silence."""
    service = Service(load_plan())
    alarms: list[bool] = []
    monkeypatch.setattr(service, "tell", lambda *_, **more: alarms.append(more.get("alarm", False)))
    rewrite(config, WHOLE.replace("enforce = true\n", ""))
    assert (await service.reload()).remarks == (
        "van has no enforce = true any more: its policies only watch.",
    )
    rewrite(config, WHOLE.replace("enforce = true\n", "").replace('policies = "van.toml"', ""))
    (lost,) = (await service.reload()).remarks
    assert "nothing watches it" in lost
    rewrite(config, WHOLE[: WHOLE.index("[packs.shed]")])
    told = (await service.reload()).remarks
    assert ["in the file no more" in each for each in told] == [True, True]
    assert alarms == [True, True, True]
    rewrite(config, WHOLE)
    assert (await service.reload()).remarks == ()
    assert alarms[-1] is False


def test_a_file_that_is_being_written_is_waited_for(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, whole = load_plan(path=config), WHOLE.encode()
    config.write_bytes(whole[: WHOLE.index("[packs.shed]")])
    written = iter([whole[:-9], whole])

    def sleep(seconds: float) -> None:
        for each in written:
            config.write_bytes(each)
            return

    monkeypatch.setattr("bmslink.storage.toml.time", SimpleNamespace(sleep=sleep))
    assert plan.read_again().packs == plan.packs
    monkeypatch.setattr(
        "bmslink.storage.toml.time",
        SimpleNamespace(sleep=lambda _: config.write_bytes(config.read_bytes() + b"#")),
    )
    with pytest.raises(TargetError, match="is being written"):
        plan.read_again()


def test_what_acts_may_set_untried_switches_and_feed_a_command(config: Path) -> None:
    keys = 'untested = true\nsink_command = "carry --out"\n'
    config.write_text(WHOLE.replace("enforce = true\n", f"enforce = true\n{keys}"))
    van, shed, _ = Service(load_plan()).packs.values()
    assert (van.plan.untested, van.plan.sink_command) == (True, "carry --out")
    assert van.judge.acting.waive == {"untested"}
    assert [type(sink).__name__ for sink in van.judge.acting.sinks.sinks] == ["CommandSink"]
    assert not shed.judge.acting.waive
    assert not shed.judge.acting.sinks
    config.write_text(WHOLE.replace("enforce = true\n", 'sink_command = "never \'ends"\n'))
    with pytest.raises(TargetError, match=r"line 11: sink_command: .* is no command"):
        load_plan()


def test_a_whole_file(config: Path) -> None:
    plan = load_plan()
    assert [(p.name, p.interval, p.slow_interval) for p in plan.packs] == [
        ("van", 2.0, 600.0),
        ("shed-1", 5.0, 3600.0),
        ("shed-2", 5.0, 3600.0),
    ]
    assert plan.packs[0].policies is not None
    assert (plan.options.tcp, plan.path) == ("127.0.0.1:8720", config)
    assert ([p.enforce for p in plan.packs], plan.remarks) == ([True, False, False], ())
    config.write_text(WHOLE.replace('policies = "van.toml"', ""))
    (remark,) = load_plan().remarks
    assert "enforce = true without policies does nothing (van)" in remark
    assert load_plan(["shed"]).packs[0].target.endswith("?address=1")


def test_the_keys_of_the_service_disturb_no_other_command(config: Path) -> None:
    van = find_pack("van")
    assert van is not None and van.policies == "van.toml"
    (config.parent / "van.toml").unlink()
    assert [*load_packs()] == ["van", "shed"]


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("interval = 2", "interval = 0", 6, "interval"),
        ("interval = 2", "intervall = 2", 6, "did you mean interval"),
        ('token_file = "token"', "", 4, "token_file"),
        ('tcp = "127.0.0.1:8720"', 'tcp = "8720"', 4, "HOST:PORT"),
        ("interval = 5", 'interval = "5"', 15, "expected a number"),
        ("slow_interval = 3600", "slow_interval = 1", 16, "slow_interval"),
        ('"van.toml"', '"vam.toml"', 10, "there is no file"),
        ("enforce = true", 'enforce = "yes"', 11, "expected true or false"),
    ],
)
def test_an_error_names_file_and_line(
    config: Path, old: str, new: str, line: int, says: str
) -> None:
    config.write_text(WHOLE.replace(old, new))
    with pytest.raises(TargetError) as error:
        load_plan()
    assert f"{config}, line {line}:" in str(error.value)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('severity = "loud"', 20, "[alerts.to.desk] severity: expected one of info, warning"),
        ('serverity = "info"', 20, "unknown key 'serverity'; known: webhook,"),
        ('kinds = ["conditon"]', 18, "[alerts.to.desk] kinds: There is no kind of event"),
        (
            'packs = ["vam"]',
            20,
            "[alerts.to.desk] packs: there is no pack 'vam' here. Did you mean",
        ),
        (
            '[alerts.to."my phone"]\nwebhook = "http://127.0.0.1/"',
            18,
            "the name of a receiver is of letters",
        ),
        (
            "[alerts.to.phone]",
            20,
            "it needs one of apprise, apprise_file, apprise_env, webhook,",
        ),
        ("[metrics]", 20, "unknown key 'metrics'"),
        ('packs = ["shed"]', 20, "There are: van, shed-1, shed-2."),
    ],
)
def test_an_alert_that_could_never_be_sent_is_refused(
    config: Path, text: str, line: int, says: str
) -> None:
    config.write_text(f'{WHOLE}\n[alerts.to.desk]\nwebhook = "http://127.0.0.1/"\n{text}\n')
    with pytest.raises(TargetError) as error:
        load_plan()
    assert says in str(error.value)
    assert f"{config}, line {line}:" in str(error.value)


def test_alerts_of_packs_that_are_not_served_now_and_alerts_to_nobody(config: Path) -> None:
    config.write_text(
        f'{WHOLE}\n[alerts.to.desk]\nwebhook = "http://127.0.0.1/"\npacks = ["van"]\n'
    )
    assert load_plan(["shed"]).remarks == ()
    config.write_text(f"{WHOLE}\n[alerts]\n")
    assert "names no receiver" in load_plan().remarks[0]


def test_targets_need_no_file_and_get_names_of_their_own(config: Path) -> None:
    config.unlink()
    plan = load_plan(["sim://jbd", "sim://jbd?seed=2", "daly-a5+serial:///dev/ttyUSB0"])
    assert [pack.name for pack in plan.packs] == ["jbd", "jbd-2", "ttyUSB0"]
    assert plan.path is None
    with pytest.raises(TargetError, match="twice"):
        load_plan(["sim://jbd", "sim://jbd"])
    with pytest.raises(TargetError, match="nothing to serve"):
        load_plan()
    with pytest.raises(TargetError, match="does not exist"):
        load_plan([], config)


def test_names_of_a_system_service_are_known_to_users(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = config.with_name("own.toml")
    own.write_text('[packs.boat]\ntarget = "sim://jk02"\n[packs.van]\ntarget = "sim://jk04"\n')
    monkeypatch.delenv("BMSLINK_CONFIG")
    monkeypatch.setattr(bmslink.config_place, "config_path", lambda: own)
    monkeypatch.setattr(bmslink.config_place, "SYSTEM_FILE", config)
    assert {name: pack.target for name, pack in load_packs().items()} == {
        "boat": "sim://jk02",
        "van": "sim://jk04",  # his own comes first
        "shed": "jk-modbus+tcp://192.168.1.9:8899?address=1-2",
    }
    own.unlink()
    assert load_plan().path == config
    if hasattr(os, "geteuid") and os.geteuid():
        config.chmod(0)
        assert load_packs() == {}


def write(path: Path, *lines: str) -> None:
    path.write_text("\n".join(lines))


async def test_a_reload_changes_only_what_changed_and_nothing_if_anything_is_wrong(
    config: Path,
) -> None:
    one, two = ('[packs.a]\ntarget = "sim://jbd"', '[packs.b]\ntarget = "sim://jk02"')
    write(config, one, two)
    service = Service(load_plan())
    running = asyncio.create_task(service.run())
    await asyncio.sleep(10)
    a, b = service.packs["a"], service.packs["b"]
    write(config, one, two, "x = 1")
    with pytest.raises(TargetError, match="line 5"):
        await service.reload()
    assert (service.packs["a"], service.packs["b"]) == (a, b)
    write(config, one, two, "interval = 2", "[packs.c]", 'target = "sim://jk04"')
    outcome = await service.reload()
    assert (outcome.added, outcome.restarted, outcome.kept) == (("c",), ("b",), ("a",))
    assert service.packs["a"] is a and service.packs["b"] is not b
    await asyncio.sleep(10)
    assert {pack.health.state for pack in service.packs.values()} == {"ok"}
    write(config, "[packs.c]", 'target = "sim://jk04"')
    assert (await service.reload()).removed == ("a", "b")
    await asyncio.sleep(5)
    assert service.healthy and [*service.packs] == ["c"]
    service.stop()
    await running


def test_a_file_that_is_gone_is_a_mistake_and_takes_no_policies_away(config: Path) -> None:
    (config.parent / "van.toml").write_text(POLICY)
    config.write_text('[service]\npolicies = "van.toml"\n')
    plan = load_plan(["sim://jbd"])
    assert plan.path == config
    assert plan.read_again().packs == plan.packs
    config.unlink()
    with pytest.raises(TargetError, match=f"{config} does not exist"):
        plan.read_again()


def test_one_port_under_two_names_is_one_pack(config: Path) -> None:
    port, alias = config.parent / "port", config.parent / "alias"
    port.touch()
    alias.symlink_to(port)
    text = f'[packs.a]\ntarget = "jbd+serial://{port}"\n[packs.b]\ntarget = "jbd+serial://{alias}'
    config.write_text(f'{text}"\n')
    with pytest.raises(TargetError, match="a and b are one pack"):
        load_plan()
    config.write_text(f'{text}?address=2"\n')
    assert len(load_plan().packs) == 2
