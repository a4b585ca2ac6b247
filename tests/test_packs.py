"""Named packs: what bmslink.toml may say, where an error stands, and how it is changed."""

from __future__ import annotations

import asyncio
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bmslink
from bmslink import packs
from bmslink.errors import TargetError
from bmslink.packs import NamedPack, add, config_path, load_packs, named, remove
from bmslink.target import resolve

GOOD = """\
# my batteries
[packs.van]   # the old one
target = "jbd+serial:///dev/ttyUSB0?address=1"
pin = "123456"

[packs."Küche"]
target = 'sim://jk02?cells=8'
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "conf" / "bmslink.toml"
    monkeypatch.setenv("BMSLINK_CONFIG", str(path))
    return path


def written(config: Path, text: str) -> Path:
    config.parent.mkdir(exist_ok=True)
    config.write_text(text)
    return config


def failure(config: Path, text: str) -> str:
    """How a file is refused: one sentence that names it, without the secret in it."""
    written(config, text)
    with pytest.raises(TargetError) as caught:
        load_packs()
    message = str(caught.value)
    assert message.startswith(f"{config}, line ")
    assert message.endswith(".")
    assert "\n" not in message
    assert "123456" not in message
    return message.removeprefix(f"{config}, ")


# ------------------------------------------------------------------------------------- reading


def test_names_targets_and_pins_are_read(config):
    written(config, GOOD)
    found = load_packs()
    assert list(found) == ["van", "Küche"]
    assert found["van"] == NamedPack("van", "jbd+serial:///dev/ttyUSB0?address=1", "123456")
    assert found["Küche"].pin is None
    assert "123456" not in repr(found)


def test_without_a_file_no_pack_has_a_name(config):
    assert load_packs() == {}
    written(config, "# nothing\n")
    assert load_packs() == {}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("packs = 3", 1, "packs: expected a table, got a number"),
        ("[packs]\nvan = 'sim://jbd'", 2, "[packs.van] expected a table, got text"),
        ("\n[pack.van]\ntarget = 'sim://jbd'", 2, "unknown key 'pack'; known: packs"),
        (
            "[packs.van]\ntarget = 'sim://jbd'\nfuse = '9'",
            3,
            "[packs.van] fuse: expected a number, got text in quotes",
        ),
        ("[packs.van]\ntarget = 3", 2, "[packs.van] target: expected text in quotes"),
        ("[packs.van]\ntarget = 'sim://jbd'\npin = 123456", 3, "pin: expected text in quotes"),
        ("[packs.van]\npin = '123456'\n", 1, "'target' is missing"),
        ("[packs.a]\ntarget = 'sim://jbd'\n\n[packs.b]\n\n", 4, "'target' is missing"),
        (
            "[packs.a]\ntarget = '''\nsim://jbd'''\n#\n[packs.b]\npin = '1'\nfoo = [\n1]",
            7,
            "[packs.b] unknown key 'foo'; known: target, pin",
        ),
        ("packs.van.target = 'sim://jbd'\npacks.van.password = '123456'", 2, "'password'"),
        ("[packs]\na = {target = 'sim://jbd'}\nb = {target = 'nothing'}", 3, "'nothing' is no"),
        ("[packs.van]\ntarget = 'sim://jbd?pin=123456'", 2, "A target holds no secrets"),
        ("[packs.van]\ntarget = 'frob+tcp://h:1'", 2, "Unknown protocol 'frob'; known: jk02"),
        ("[packs.van]\ntarget = 'tcp://h:x'", 2, "HOST:PORT"),
        ("[packs.van]\ntarget = 'replay://a.jsonl'", 2, "write it whole"),
        ("[packs.van]\ntarget = './port'", 2, "write it whole"),
        ("[packs.van]\ntarget = 'other'\n[packs.other]\ntarget = 'sim://jbd'", 2, "is no target"),
        ("[packs.van]\n[packs.van]", 2, "twice"),
        ("[packs.a]\ntarget='sim://jbd'\n[packs.A]\ntarget='sim://jbd'", 3, "the same name"),
        ("[packs.van]\npin = '123456", 2, ""),
        ("[packs.van]\npin = '123456'\n\n=", 4, ""),
        ("[packs.van]\npin = [", 2, ""),
        ("x = " + "[" * 5000, 1, ""),
        ("x = " + "9" * 5000, 1, ""),
        ("[packs.COM3]\ntarget = 'sim://jbd'", 1, "looks like a serial port"),
        ("[packs.ttyUSB0]\ntarget = 'sim://jbd'", 1, "looks like a serial port"),
        ("[packs.Daly]\ntarget = 'sim://jbd'", 1, "the name of a vendor"),
        ("[packs.jk02]\ntarget = 'sim://jbd'", 1, "the name of a protocol"),
        ("[packs.sim]\ntarget = 'sim://jbd'", 1, "the name of a scheme"),
        ("[packs.'a/b']\ntarget = 'sim://jbd'", 1, "cannot name a pack"),
        ("[packs.'']\ntarget = 'sim://jbd'", 1, "cannot name a pack"),
        ("[packs.'a b']\ntarget = 'sim://jbd'", 1, "cannot name a pack"),
        (f"[packs.{'a' * 65}]\ntarget = 'sim://jbd'", 1, "at most 64"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(config, text, line, words):
    message = failure(config, text)
    assert message.startswith(f"line {line}: ")
    assert words in message


def test_a_file_that_is_no_text_or_no_file_is_a_sentence(config):
    config.parent.mkdir()
    config.write_bytes(b"[packs.van]\ntarget = '\xff'")
    with pytest.raises(TargetError, match="line 2: this is no UTF-8 text"):
        load_packs()
    config.write_bytes(b"#" * 70_000)
    with pytest.raises(TargetError, match="longer than 65536"):
        load_packs()
    config.unlink()
    config.mkdir()
    with pytest.raises(TargetError, match="cannot be read: Is a directory"):
        load_packs()


@settings(max_examples=300, deadline=None)
@given(
    st.text(alphabet="[]packs.vantrgei= \n\"'{},#-_123\\:/?\x00ü", max_size=60)
    | st.lists(
        st.sampled_from(
            [
                *("[packs.van]", "[packs]", "[[packs]]", "[packs.'']", "van = {target = 1}"),
                *('target = "sim://jbd"', "target = '''", "pin = 5", "pin = '1'", '"""', "]"),
                *("packs.a.target = 'sim://jbd'", "x = [", "1, ]", "#", "[packs.van.more]"),
            ]
        ),
        max_size=8,
    ).map("\n".join)
)
def test_any_text_gives_packs_or_one_sentence(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text, encoding="utf-8", newline="")
    try:
        found = load_packs(path)
    except TargetError as error:
        line = int(str(error).removeprefix(f"{path}, line ").partition(":")[0])
        assert 1 <= line <= text.count("\n") + 1
    else:
        assert all(isinstance(p.target, str) and p.name == name for name, p in found.items())


# ------------------------------------------------------------------------------------ resolving


def test_a_name_stands_for_its_target_everywhere(config):
    written(config, '[packs.Van]\ntarget = "sim://jbd?gap=0&cells=7"\n')
    assert str(resolve("van")) == "jbd+sim://?gap=0&cells=7"
    assert str(resolve("VAN", address=3)) == "jbd+sim://?gap=0&cells=7&address=3"

    async def read() -> bmslink.Reading:
        async with bmslink.connect("van") as device:
            return await device.read()

    reading = asyncio.run(read())
    assert len(reading.cell_voltages) == 7
    assert reading.target == "jbd+sim://?gap=0&cells=7"


def test_a_path_or_port_wins_and_needs_no_readable_file(config):
    written(config, "this is no toml")
    for target in ("sim://jbd", "jbd+serial:///dev/ttyUSB0", "/dev/ttyUSB0", "COM3", "ttyUSB0"):
        assert named(target) == target
    with pytest.raises(TargetError, match="line 1"):
        named("van")


def test_an_unknown_name_says_which_there_are(config):
    with pytest.raises(TargetError, match="'vn' is no target"):
        resolve("vn")
    written(config, GOOD)
    with pytest.raises(TargetError, match=r"no pack named 'vn' in .*; there are: van, Küche\."):
        resolve("vn")


def test_where_the_file_is(monkeypatch, tmp_path):
    monkeypatch.setenv("BMSLINK_CONFIG", str(tmp_path / "x.toml"))
    assert config_path() == tmp_path / "x.toml"
    monkeypatch.delenv("BMSLINK_CONFIG")
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        assert config_path() == tmp_path / "bmslink" / "bmslink.toml"
        # the same name must mean the same battery in every folder
        (tmp_path / "bmslink.toml").write_text('[packs.van]\ntarget = "sim://jbd"\n')
        monkeypatch.chdir(tmp_path)
        assert load_packs() == {}


# ------------------------------------------------------------------------------------- writing


def test_a_new_file_is_for_its_owner_alone(config):
    assert add("van", "sim://jbd") == config
    assert config.read_text() == '[packs.van]\ntarget = "sim://jbd"\n'
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert load_packs() == {"van": NamedPack("van", "sim://jbd")}
    assert list(config.parent.iterdir()) == [config]


def test_comments_order_pins_and_mode_stay(config):
    written(config, GOOD).chmod(0o640)
    add("new", "sim://jbd")
    add("VAN", "sim://jk02", force=True)
    text = config.read_text()
    assert "# my batteries" in text
    assert "[packs.van]   # the old one" in text
    assert list(load_packs()) == ["van", "Küche", "new"]
    assert load_packs()["van"] == NamedPack("van", "sim://jk02", "123456")
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    remove("new")
    remove("küche")
    assert list(load_packs()) == ["van"]
    assert "# my batteries" in config.read_text()


@pytest.mark.parametrize(
    "text",
    [
        'packs = {van = {target = "sim://jbd"}}\n',
        'packs.van.target = "sim://jbd"\n',
        '[packs]\nvan = {target = "sim://jbd"}\n',
        '[packs]\nvan.target = "sim://jbd"\n',
        '[packs.van]\r\ntarget = "sim://jbd"\r\n',
        '[packs.van]\ntarget = "sim://jbd"',
    ],
)
def test_every_way_to_write_it_is_changed_rightly_or_not_at_all(config, text):
    written(config, "")
    config.write_bytes(text.encode())
    before = load_packs()
    for change, expected in (
        (lambda: add("b", "sim://jk02"), {**before, "b": NamedPack("b", "sim://jk02")}),
        (lambda: remove("van"), {"b": NamedPack("b", "sim://jk02")}),
    ):
        try:
            change()
        except TargetError as error:
            assert "edit it" in str(error)
            assert config.read_bytes() == text.encode()
            return
        assert load_packs() == expected


def test_what_tomlkit_writes_wrongly_is_no_fault_of_the_file(config, monkeypatch):
    """0.13.0 forgets the braces of a new table within a table on one line."""
    text = 'packs = {van = {target = "sim://jbd"}}\n'
    written(config, text)
    broken = 'packs = {van = {target = "sim://jbd"},b = target = "sim://jk02"\n}\n'
    monkeypatch.setattr("tomlkit.dumps", lambda document: broken)
    with pytest.raises(TargetError, match="cannot be changed here; edit it"):
        remove("van")
    assert config.read_text() == text


def test_what_cannot_be_leaves_the_file_alone(config):
    written(config, GOOD)
    for change, words in (
        (lambda: add("van", "sim://jbd"), "exists already"),
        (lambda: add("a/b", "sim://jbd"), "cannot name"),
        (lambda: add("b", "nothing"), "is no target"),
        (lambda: add("b", "sim://jbd?pin=1"), "holds no secrets"),
        (lambda: add("b", "./x"), "write it whole"),
        (lambda: remove("b"), "there are: van, Küche"),
    ):
        with pytest.raises(TargetError, match=words):
            change()
        assert config.read_text() == GOOD
    written(config, "[packs.van]\nfoo = 1\n")
    with pytest.raises(TargetError, match="line 2"):
        add("b", "sim://jbd")
    assert config.read_text() == "[packs.van]\nfoo = 1\n"


def test_a_write_that_fails_half_way_leaves_the_old_file(config, monkeypatch):
    written(config, GOOD)

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packs.os, "fsync", full)
    with pytest.raises(TargetError, match="cannot be written: No space left"):
        add("b", "sim://jbd")
    assert config.read_text() == GOOD
    assert list(config.parent.iterdir()) == [config]


def test_a_link_to_the_file_is_read_but_not_written_through(config, tmp_path):
    real = tmp_path / "dotfiles.toml"
    real.write_text(GOOD)
    config.parent.mkdir()
    config.symlink_to(real)
    assert "van" in load_packs()
    with pytest.raises(TargetError, match=r"symbolic link.*BMSLINK_CONFIG"):
        add("b", "sim://jbd")
    assert config.is_symlink()
    assert real.read_text() == GOOD
    add("b", "sim://jbd", path=real)
    assert "[packs.b]" in real.read_text()


def test_a_place_where_nothing_can_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError, match="cannot be"):
        add("van", "sim://jbd", path=tmp_path / "file" / "bmslink.toml")


def test_a_comment_above_the_next_pack_is_not_removed_with_this_one(config):
    text = (
        "# mine\n[packs.van]  # old\ntarget = 'sim://jbd'\n# its number\npin = '1'\n\n"
        "# the boat lies in Kiel\n[packs.boat]\ntarget = 'sim://jk02'\n# the end\n"
    )
    written(config, text)
    remove("van")
    kept = "# mine\n\n# the boat lies in Kiel\n[packs.boat]\ntarget = 'sim://jk02'\n# the end\n"
    assert config.read_text() == kept
    remove("boat")
    assert config.read_text() == "# mine\n\n# the boat lies in Kiel\n# the end\n"
