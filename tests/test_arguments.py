"""Wrong arguments of everything public end in a sentence of ours, before anything is sent."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

import bmslink
import bmslink.blocking
from bmslink import config
from bmslink.arguments import checked
from bmslink.control import Engine, PolicySet
from bmslink.control.files import parse_policies
from bmslink.control.presets import preset
from bmslink.errors import BmsError, LinkClosed, TargetError, UsageError
from bmslink.simulation.transport import SimTransport

SIM = "sim://jbd?gap=0&cells=4&load=idle"
WRONG: list[Any] = [
    None, b"x", 5, -1, 10**400, 1.5, float("nan"), True, "x", "", "\0", "file.jsonl", [], ["x"],
    [None], {}, {1: 2}, {"a": object()}, (), {3}, object(), Path("nofile"),
    datetime(9999, 1, 1, tzinfo=UTC), print, int, iter("ab"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What reaches a pack only reads: no journal means that no change was begun."""
    yield
    from bmslink.storage.journal import Journal

    assert not [r for r in Journal().records() if r["event"] in ("write", "switch", "adjust")]


async def awaited(result: Any) -> None:
    if inspect.isawaitable(result):
        await asyncio.wait_for(result, 10)
    elif hasattr(result, "__anext__"):
        await asyncio.wait_for(anext(result), 10)
    elif hasattr(result, "__aenter__"):
        async with result:
            pass


def tried(call: Callable[[], Any]) -> None:
    """It works, or says in a sentence why not."""
    try:
        result = call()
        if not isinstance(result, bmslink.Device):
            asyncio.run(awaited(result))
    except BmsError as error:
        assert str(error).endswith((".", "?")), error
        assert "object at 0x" not in str(error)


CONNECT = [p for p in inspect.signature(bmslink.connect).parameters if p != "target"]
SCAN = list(inspect.signature(bmslink.scan).parameters)


@pytest.mark.parametrize("name", ["target", *CONNECT])
@pytest.mark.parametrize("module", [bmslink, bmslink.blocking], ids=["async", "blocking"])
def test_connect(module: Any, name: str) -> None:
    for wrong in WRONG:
        try:
            module.connect(**{"target": SIM, name: wrong})
        except BmsError as error:
            assert str(error).endswith("."), error


@pytest.mark.parametrize("name", SCAN)
def test_scan(name: str) -> None:
    for wrong in WRONG:
        given = {"ports": ["/nowhere/x"], "timeout": 0.01, name: wrong}
        if name in ("ports", "ble", "serial") and not isinstance(wrong, (str, bytes, list)):
            continue  # it would search this machine
        if name == "ports" and not wrong:
            continue
        if name in ("on_found", "on_progress") and callable(wrong):
            continue
        tried(lambda given=given: bmslink.scan(**given))


def test_scan_takes_a_text_for_no_list() -> None:
    with pytest.raises(TargetError, match=r"scan\(\): ports must be a list of text, not str\."):
        bmslink.blocking.scan(ports="COM3")


@pytest.mark.parametrize("name", ["source", "protocol"])
def test_decode(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for wrong in WRONG:
        tried(lambda wrong=wrong: bmslink.decode(**{"source": "dd", name: wrong}))


def required(function: Callable[..., Any]) -> Iterator[str]:
    for name in inspect.signature(function).parameters:
        if name not in ("self", "device"):
            yield name


def public() -> Mapping[str, Callable[..., Any]]:
    methods = inspect.getmembers(bmslink.Device, inspect.isfunction)
    found = {f"Device.{n}": f for n, f in methods if not n.startswith("_")}
    for name in config.__all__:
        function = getattr(config, name)
        if inspect.iscoroutinefunction(function):
            found[f"config.{name}"] = function
    return found


@pytest.mark.parametrize("name", public())
def test_methods_and_changes(name: str) -> None:
    function = public()[name]
    names = list(required(function))

    async def main(target: str, given: dict[str, Any], *, opened: bool) -> None:
        device = bmslink.connect(target)
        try:
            if opened:
                await device.open()
            await awaited(function(device, **given))
        finally:
            await device.close()

    for wrong in (None, 5, "x", b"x", ["x"], {"x": 1}, object()):
        for target, opened in ((SIM, True), ("jbd+serial:///nowhere/x", False),
                               ("serial:///nowhere/x", False)):  # fmt: skip
            given = dict.fromkeys(names, wrong)
            tried(lambda t=target, g=given, o=opened: main(t, g, opened=o))


@pytest.mark.parametrize("name", [n for n in public() if n.startswith("config.")])
@pytest.mark.real_time
async def test_what_is_no_device(name: str) -> None:
    function = public()[name]
    names = list(required(function))
    for wrong in (None, 5, "sim://jbd", object()):
        with pytest.raises(BmsError, match="must be"):
            await awaited(function(wrong, **dict.fromkeys(names)))


@pytest.mark.parametrize(
    "target", ["serial:///nowhere/x", "jbd+serial:///nowhere/x", "jk02+ble://x", "sim://jbd"]
)
def test_before_it_is_open(target: str) -> None:
    with bmslink.blocking.connect(SIM):
        pass
    device = bmslink.connect(target)

    async def ask(name: str) -> None:
        await getattr(device, name)()

    for name in ("read", "identify", "settings", "clock"):
        with pytest.raises(LinkClosed, match="not open"):
            asyncio.run(ask(name))
    with bmslink.blocking.connect(SIM) as other:
        assert other.clock() is None


def test_a_path_is_a_serial_port() -> None:
    target = bmslink.connect(Path("/dev/tty USB?0"), protocol="jbd").target
    assert (target.scheme, target.place, target.query) == ("serial", "/dev/tty USB?0", {})
    assert bmslink.connect(Path("van"), protocol="jbd").target.place == "van"


def test_the_sentences() -> None:
    for wrong in (None, 5, b"sim://jbd"):
        with pytest.raises(TargetError, match=r"connect\(\): target must be text, a path or"):
            bmslink.connect(wrong)
    with pytest.raises(TargetError, match=r"give a path: decode\(Path\('file\.jsonl'\)\)"):
        bmslink.decode("file.jsonl")
    with pytest.raises(TargetError) as caught:
        bmslink.connect(SIM, pin=123456)
    assert "123456" not in str(caught.value)


def test_decode_takes_what_is_like_bytes_and_like_a_path(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    data = bytes.fromhex("dd 03 00 00 00 00 77")
    file.write_bytes(data)
    for source in (bytearray(data), memoryview(data), file):
        with pytest.raises(BmsError):
            bmslink.decode(source, "jk02")


def test_nothing_is_sent_for_a_wrong_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    monkeypatch.setattr(SimTransport, "write", lambda self, data: sent.append(data))
    with bmslink.blocking.connect(SIM) as device:
        for call in (
            lambda: device.switch("charge"),
            lambda: device.draft(["cell_ovp"]),
            lambda: device.draft({"cell_ovp": 3.6}, waive="untested"),
            lambda: device.apply({"cell_ovp": 3.6}),
            lambda: device.set_soc("50"),
            lambda: device.set_clock("now"),
            lambda: device.undo(waive="unchanged"),
            lambda: device.switch("charge", 0),
            lambda: device.resume(rollback="yes"),
        ):
            with pytest.raises(UsageError, match="must be"):
                call()
    assert sent == []


GOOD = parse_policies(preset("lfp", "solar", cells=4, capacity=100), Path("x"))
FIRST = next(iter(GOOD.policies.values()))


@pytest.mark.parametrize(
    ("policies", "word"),
    [
        (None, "NoneType"),
        ("x", "str"),
        (msgspec.structs.replace(GOOD, battery=None), "no battery"),
        (msgspec.structs.replace(GOOD, thresholds={}), "no threshold balance_start"),
        (msgspec.structs.replace(GOOD, curves={}), "no curve"),
        (
            PolicySet(
                battery=GOOD.battery,
                thresholds=GOOD.thresholds,
                curves=GOOD.curves,
                policies={"a": msgspec.structs.replace(FIRST, quantity="luck")},
            ),
            "no quantity luck",
        ),
    ],
)
def test_a_policy_set_that_is_not_whole(policies: Any, word: str) -> None:
    with pytest.raises(TargetError, match=word):
        Engine(policies)
    with pytest.raises(TargetError, match="no policy 'luck'"):
        GOOD.policy("luck")


def test_the_decorator_itself() -> None:
    @checked()
    def call(a: int, b: float | None = None, *, c: Literal["x"] = "x", d: bool = False) -> int:
        return a

    assert call(1, 2, c="x") == 1
    assert call(a=1, b=None) == 1
    for given in ((True,), (1.5,), ("1",), (1, "2"), (1, True)):
        with pytest.raises(UsageError, match=r"call\(\): [ab] must be"):
            call(*given)
    with pytest.raises(UsageError, match="c must be 'x', not str"):
        call(1, c="y")
    with pytest.raises(UsageError, match="d must be True or False, not int"):
        call(1, d=1)
    with pytest.raises(TypeError, match="missing"):
        call()
