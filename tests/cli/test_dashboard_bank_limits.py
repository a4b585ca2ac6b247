"""What the service lets a bank take and give, in monitor's first line."""

from __future__ import annotations

from dashboard_support import bank, screen

from bmslink.cli.dashboard.desk import Desk


def test_the_bank_of_a_service_says_what_it_may_take_and_give() -> None:
    packs = bank(3)
    for each in packs:
        each.bank = {"bank": "house", "ccl": 165.0, "dcl": 335.0}
    assert "may take 165 A, give 335 A" in screen(Desk(packs), 100)[0]
    assert "may take" not in screen(Desk(packs), 80)[0]
    packs[0].bank = {}
    assert "may take" not in screen(Desk(packs), 100)[0]
    packs[0].bank = {"bank": "house", "ccl": None}
    assert "may take" not in screen(Desk(packs), 100)[0]
