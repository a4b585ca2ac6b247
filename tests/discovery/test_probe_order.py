"""The order of the questions: what every driver declares makes one list, as it was found out."""

from __future__ import annotations

import re
from itertools import groupby

from bmslink.discovery import probes
from bmslink.discovery.ble import SPOKEN
from bmslink.discovery.probes import PROBES, STEPS
from bmslink.protocols import DRIVERS, load_driver

ORDER = """
115200: jk-nw; jk-modbus 1; jk02; jk-modbus 2-15; jk-bus 1-15; jk-nw
9600: daly-d2; daly-p81 1; jbd; daly-a5; jk-modbus 1; jbd-up 1; jbd 1; daly-a5; jbd; daly-sinowealth
9600: daly-p81 2; daly-a5 2; jbd-up 2; daly-p81 3; daly-a5 3; jbd-up 3
9600: daly-p81 4; daly-a5 4; jbd-up 4
9600: daly-p81 5; daly-a5 5; ...; daly-p81 15; daly-a5 15
9600: jbd 0; jbd 2-4; jk-modbus 2-15; jbd-up 5-16
"""


def expected() -> list[tuple[str, int, int | None]]:
    """`ORDER` written out."""
    steps: list[tuple[str, int, int | None]] = []
    for line in ORDER.strip().splitlines():
        rate, _, questions = line.partition(": ")
        for each in questions.split("; "):
            name, _, addresses = each.partition(" ")
            first, _, last = addresses.partition("-")
            if each == "...":
                both = ((name, n) for n in range(6, 15) for name in ("daly-p81", "daly-a5"))
                steps += [(name, int(rate), n) for name, n in both]
            elif not first:
                steps.append((name, int(rate), None))
            else:
                numbers = range(int(first), int(last or first) + 1)
                steps += [(name, int(rate), number) for number in numbers]
    return steps


def test_the_questions_come_in_the_order_that_was_found_out() -> None:
    assert [(s.probe.protocol, s.baudrate, s.address) for s in STEPS] == expected()


def test_the_best_to_use_comes_first() -> None:
    names = "jk-nw jk-modbus jk-bus jk02 daly-d2 daly-p81 daly-a5 jbd jbd-up daly-sinowealth"
    assert [probe.protocol for probe in PROBES] == names.split()
    assert SPOKEN == ("jk02", "jk04", "jbd", "daly-d2", "daly-p81", "daly-a5")


def test_ranks_and_places_are_clear() -> None:
    """What two drivers share by chance would leave their order to a third table."""
    ranks = [probe.rank for probe in PROBES]
    assert len(set(ranks)) == len(ranks)
    spoken = [load_driver(name).radio_rank for name in SPOKEN]
    assert len(set(spoken)) == len(spoken)
    ordered = [(s.baudrate, s.probe.protocol) for s in STEPS]
    assert len(list(groupby(ordered, key=lambda step: step[0]))) == 2


def test_the_places_that_the_page_lists_are_those_in_use() -> None:
    rows = re.findall(r"\| (\d*) ?\| (\d+) \| ", probes.__doc__ or "")
    listed, rate = set(), ""
    for baudrate, place in rows:
        rate = baudrate or rate
        listed.add((int(rate), int(place)))
    turns = {(t.baudrate, t.place) for n in DRIVERS for p in load_driver(n).probes for t in p.turns}
    assert listed == turns
