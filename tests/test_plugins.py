"""A protocol and a transport of another package, found by its entry points."""

from __future__ import annotations

import asyncio
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

import bmslink
from bmslink.decoding import decode
from bmslink.errors import PortNotFound, TargetError
from bmslink.link.plugins import plugins
from bmslink.protocols import DRIVERS, VENDORS
from bmslink.testing import SimulatedPack
from support import ROOT

EXAMPLE = ROOT / "examples" / "acme-bms"


def installed(folder: Path, name: str, points: dict[str, dict[str, str]]) -> None:
    """What an installer leaves of a package: its entry points."""
    info = folder / f"{name}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    lines = []
    for group, found in points.items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in found.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for packages; what was loaded from it is forgotten afterwards."""
    folder = tmp_path / "site"
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    plugins.cache_clear()
    yield folder
    plugins.cache_clear()
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("acme_bms", "broken_bms"):
            del sys.modules[name]


@pytest.fixture
def acme(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example, as its pyproject.toml says."""
    about = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    installed(site, "acme_bms", about["entry-points"])
    monkeypatch.syspath_prepend(str(EXAMPLE))


@pytest.mark.usefixtures("acme")
def test_its_protocol_is_read_decoded_and_simulated(tmp_path: Path) -> None:
    path = tmp_path / "toy.jsonl"
    with bmslink.blocking.connect("toy+sim://?cells=4", record=path.open("wb")) as device:
        reading = device.read()
        assert device.identify().vendor == "Acme"
    assert (reading.protocol, len(reading.cell_voltages)) == ("toy", 4)
    assert decode(path)[0].cell_voltages == reading.cell_voltages
    pack = SimulatedPack("toy", cells=3)
    pack.set_cell_voltage(2, 3.123)
    with bmslink.blocking.connect(pack.target) as device:
        assert device.read().cell_voltages[1] == 3.123
    assert bmslink.Decoder("toy").protocol == "toy"


@pytest.mark.usefixtures("acme")
@pytest.mark.real_time
async def test_its_transport_carries_any_protocol() -> None:
    """A gateway that shares no code with the transport: one datagram in, one out."""
    pack = SimulatedPack("jbd", cells=4)
    line = pack.transport()

    class Gateway(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.out = cast(asyncio.DatagramTransport, transport)

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            self.client = addr
            asyncio.get_running_loop().create_task(line.write(data))

    server, gateway = await asyncio.get_running_loop().create_datagram_endpoint(
        Gateway, local_addr=("127.0.0.1", 0)
    )
    await line.open(lambda data: gateway.out.sendto(data, gateway.client), lambda error: None)
    port = server.get_extra_info("sockname")[1]
    try:
        async with bmslink.connect(f"jbd+acme-udp://127.0.0.1:{port}") as device:
            reading = await device.read()
            assert reading.target == f"jbd+acme-udp://127.0.0.1:{port}"
            assert reading.cell_voltages == pack.truth().cell_voltages
    finally:
        await line.close()
        server.close()
    with pytest.raises(PortNotFound):
        async with bmslink.connect("jbd+acme-udp://no.such.host.invalid:7000"):
            pass


@pytest.mark.usefixtures("acme")
def test_its_names_are_checked_and_named() -> None:
    with pytest.raises(TargetError, match=r"Unknown key 'speed' for acme-udp://"):
        bmslink.connect("jbd+acme-udp://127.0.0.1:7000?speed=3")
    with pytest.raises(TargetError, match=r"known: .*jbd-up, toy\."):
        bmslink.connect("jdb+sim://")
    with pytest.raises(TargetError, match=r"known: .*replay, acme-udp\."):
        bmslink.connect("jbd+acme-tcp://127.0.0.1:7000")


def test_without_the_package_nothing_is_known() -> None:
    plugins.cache_clear()
    with pytest.raises(TargetError, match="Unknown protocol 'toy'"):
        bmslink.connect("toy+sim://")
    with pytest.raises(TargetError, match="Unknown scheme 'acme-udp'"):
        bmslink.connect("jbd+acme-udp://127.0.0.1:7000")


def test_ours_are_never_replaced(site: Path) -> None:
    """A package cannot put itself between us and a battery by its name."""
    ours = dict.fromkeys((*DRIVERS, *VENDORS), "broken_bms:Nothing")
    schemes = dict.fromkeys(("serial", "tcp", "sim", "ble"), "broken_bms:Nothing")
    installed(site, "broken_bms", {"bmslink.protocols": ours, "bmslink.transports": schemes})
    with bmslink.blocking.connect("sim://jbd") as device:
        assert device.read().voltage
    assert bmslink.connect("jbd+serial:///dev/ttyUSB0").target.scheme == "serial"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import no_such_module", "ModuleNotFoundError"),
        ("", "AttributeError"),
        ("Toy = 5", "broken_bms:Toy is no"),
        ("class Toy: pass", "broken_bms:Toy is no"),
    ],
)
def test_a_package_that_is_broken(site: Path, code: str, why: str) -> None:
    points = {"bmslink.protocols": {"toy": "broken_bms:Toy"}}
    points["bmslink.transports"] = {"udp": "broken_bms:Toy"}
    installed(site, "broken_bms", points)
    (site / "broken_bms.py").write_text(code)
    for target in ("toy+sim://", "jbd+udp://127.0.0.1:7000"):
        with pytest.raises(TargetError, match=f"another package.*{why}"):
            bmslink.connect(target)
