"""A program of one's own, tested against simulated packs: the fixture comes with bmslink.

pytest test_my_program.py
"""

import pytest

import bmslink
from bmslink.testing import SimulatedPack


def weakest_cell(target: str) -> int:
    """The program: the number of the lowest cell, from 1."""
    with bmslink.blocking.connect(target) as device:
        cells = device.read().cell_voltages
    return min((volts, number) for number, volts in enumerate(cells, 1) if volts is not None)[1]


@pytest.mark.parametrize("protocol", ["jbd", "jk02", "daly-a5"])
def test_the_weakest_cell_is_found(protocol: str, simulated_pack: type[SimulatedPack]) -> None:
    pack = simulated_pack(protocol, cells=8)
    pack.set_cell_voltage(5, 3.011)
    assert weakest_cell(pack.target) == 5


def test_a_line_that_is_cut(simulated_pack: type[SimulatedPack]) -> None:
    pack = simulated_pack("jbd")
    pack.fault("silent")
    with pytest.raises(bmslink.LinkTimeout):
        weakest_cell(f"{pack.target}&timeout=0.1")
