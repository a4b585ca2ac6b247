"""The rules: what they let pass, what they find, and where they do not apply."""

from __future__ import annotations

import math
import random

import pytest

from bmslink.errors import TargetError
from bmslink.settings.chemistry import CHEMISTRIES
from bmslink.settings.rules import BANDS, RULES, likely_chemistry, lint, review
from bmslink.simulation.pack.protection import default_settings


@pytest.mark.parametrize("name", CHEMISTRIES)
def test_a_sane_table_of_every_chemistry_passes_and_is_recognised(name: str) -> None:
    values = default_settings(CHEMISTRIES[name], 16, 100)
    assert lint(values, cells=16, chemistry=name) == []
    assert likely_chemistry(values["cell_ovp"]) == name
    judged = [v for v in review(values, cells=16, chemistry=name) if v.passed]
    assert len(judged) > 50


def found(chemistry: str = "lfp", cells: int = 16, **changes: float) -> list[tuple[str, str]]:
    values = default_settings(CHEMISTRIES["lfp"], 16, 100) | changes
    return [(v.severity, v.sentence) for v in lint(values, cells=cells, chemistry=chemistry)]


@pytest.mark.parametrize(
    ("changes", "severity", "sentence"),
    [
        ({"cell_ovp": 2.45}, "error", "cell_uvp (2.5) must lie below cell_ovp (2.45)."),
        ({"cell_ovp_release": 3.65}, "error", "cell_ovp_release (3.65) must lie below cell_ovp"),
        ({"cell_uvp_release": 2.5}, "error", "cell_uvp (2.5) must lie below cell_uvp_release"),
        ({"pack_uvp_release": 60}, "error", "pack_uvp_release (60) must lie below pack_ovp"),
        ({"cell_ovp_warning": 3.7}, "error", "cell_ovp_warning (3.7) must lie below cell_ovp"),
        ({"charge_ocp_warning": 101}, "error", "charge_ocp_warning (101) must lie below"),
        ({"charge_otp_release": 56}, "error", "charge_otp_release (56) must lie below charge_otp"),
        ({"charge_utp_release": -1}, "error", "charge_utp (0) must lie below charge_utp_release"),
        ({"discharge_utp": 60}, "error", "discharge_utp (60) must lie below discharge_otp (60)"),
        ({"mosfet_otp_release": 96}, "error", "mosfet_otp_release (96) must lie below mosfet_otp"),
        ({"balance_start_voltage": 3.7}, "error", "must lie below cell_ovp"),
        ({"balance_start_voltage": 2.4}, "warning", "cell_uvp (2.5) must lie below balance"),
        ({"full_charge_voltage": 3.7}, "error", "must lie below cell_ovp (3.65 V)"),
        ({"empty_voltage": 2.4}, "warning", "cell_uvp (2.5 V) must lie below empty_voltage"),
        ({"jk_power_off_voltage": 2.6}, "error", "must lie below cell_uvp (2.5)"),
        ({"jk_request_charge_voltage": 3.62}, "warning", "(3.65 V) by 0.05 V"),
        ({"jk_request_charge_voltage": 3.5, "float_voltage": 3.55}, "error", "must lie below jk_"),
        (
            {"jbd_soc_60_voltage": 3.3, "jbd_soc_80_voltage": 3.2},
            "warning",
            "jbd_soc_60_voltage (3.3) must lie below jbd_soc_80_voltage",
        ),
        ({"pack_ovp": 29.2}, "error", "pack_ovp (29.2 V) is not 16 times cell_ovp, 58.4 V"),
        ({"pack_uvp": 44}, "warning", "pack_uvp (44 V) is not 16 times cell_uvp, 40 V"),
        ({"cell_ovp_delay": 301}, "error", "protects nothing"),
        ({"cell_ovp_delay": 61}, "error", "is over 60 s: that protects nothing"),
        ({"discharge_otp_delay": 21}, "warning", "is unusually long, over 20 s"),
        ({"discharge_ocp_delay": 301}, "error", "is over 300 s: that protects nothing"),
        ({"charge_ocp_delay": 301}, "error", "is over 300 s: that protects nothing"),
        ({"short_circuit_delay": 1.0}, "error", "too long for a short circuit"),
        ({"balance_delta": 0.002}, "warning", "less than a board can measure"),
        ({"cell_count": 8}, "error", "cell_count is 8, but 16 cells are there."),
        ({"nominal_capacity": 0}, "warning", "means nothing"),
        ({"cell_ovp": 3.9, "pack_ovp": 62}, "error", "above the usual 3.55 to 3.7 V for lfp"),
        ({"cell_ovp": 3.75, "cell_ovp_release": 3.72}, "error", "cell_ovp_release (3.72) is above"),
        ({"cell_uvp": 2.2, "cell_uvp_warning": 2.3}, "error", "cell_uvp_warning (2.3) is below"),
        ({"pack_ovp": 59.3}, "error", "pack_ovp (59.3) is above 3.7 V a cell"),
        ({"pack_uvp": 38.3}, "error", "pack_uvp (38.3) is below 2.4 V a cell"),
        ({"pack_ovp": 68.65}, "error", "is made for 18.8 cells of cell_ovp (3.65 V), but 16 cells"),
        ({"pack_uvp": 32.8}, "error", "is made for 13.1 cells of cell_uvp (2.5 V), but 16 cells"),
        ({"jbd_hardware_cell_ovp": 4.8}, "error", "is above 3.9 V, the highest for lfp"),
        ({"jbd_hardware_cell_uvp": 1.9}, "error", "is below 2 V, which is deadly for lfp"),
        ({"jk_power_off_voltage": 1.2}, "error", "is below 2 V, which is deadly for lfp"),
        (
            {"jk_request_charge_voltage": 3.72, "cell_ovp": 3.8},
            "error",
            "(3.72) is above the usual",
        ),
        ({"float_voltage": 3.72}, "error", "float_voltage (3.72) is above the usual"),
        ({"charge_utp": -2, "charge_utp_release": -1}, "error", "charge_utp_release (-1) lets it"),
        ({"charge_otp": 71}, "error", "charge_otp (71) lets it charge above 70 °C"),
        ({"charge_otp": 120}, "error", "charge_otp (120 °C) is above 80 °C: that protects nothing"),
        ({"discharge_otp": 81}, "error", "discharge_otp (81 °C) is above 80 °C"),
        ({"mosfet_otp": 150}, "error", "mosfet_otp (150 °C) is above 110 °C"),
        ({"discharge_utp": -41}, "error", "discharge_utp (-41 °C) is below -40 °C"),
        ({"cell_delta": 1.5}, "error", "cell_delta (1.5 V) is above 1 V"),
        ({"temperature_delta": 60}, "error", "temperature_delta (60 K) is above 50 K"),
        ({"short_circuit_current": 65535}, "error", "(65535 A) is above 5000 A"),
        ({"short_circuit_current": 140}, "error", "discharge_ocp (150) must lie below short"),
        ({"charge_utp": -20}, "error", "lets it charge below 0 °C"),
        ({"charge_otp": 70}, "warning", "is above 60 °C"),
        ({"balance_delta": 0.002}, "warning", "is less than a board can measure"),
        ({"balance_delta": 1.5}, "warning", "is so much that balancing never begins"),
        ({"full_charge_voltage": 3.62}, "warning", "must lie below cell_ovp (3.65 V) by 0.05 V"),
        ({"balance_start_voltage": 3.2}, "warning", "voltage says little about charge"),
    ],
)
def test_what_contradicts_itself_is_found(
    changes: dict[str, float], severity: str, sentence: str
) -> None:
    assert any(s == severity and sentence in text for s, text in found(**changes)), found(**changes)


def test_makers_habits_are_no_errors() -> None:
    """Values that stand in recorded boards: warnings at the limit, JK's 300 s, functions off."""
    shipped = {
        "cell_ovp_warning": 3.65,
        "charge_ocp_warning": 100.0,
        "discharge_ocp_delay": 300.0,
        "full_charge_voltage": 0.0,
        "jk_request_charge_voltage": 0.0,
    }
    assert [text for severity, text in found(**shipped) if severity == "error"] == []


def test_limits_of_other_cells_are_found_by_their_band() -> None:
    nmc = default_settings(CHEMISTRIES["nmc"], 16, 100)
    texts = [v.sentence for v in lint(nmc, cells=16, chemistry="lfp") if v.severity == "error"]
    assert texts[0] == "cell_ovp (4.25) is above the usual 3.55 to 3.7 V for lfp cells."
    assert {text.split()[0] for text in texts} == {
        f"{what}_ovp{form}" for what in ("cell", "pack") for form in ("", "_warning", "_release")
    }


def test_what_is_unknown_is_not_applicable() -> None:
    verdicts = review({"cell_ovp": 3.65, "charge_utp": None, "pack_ovp": math.nan})
    assert {v.passed for v in verdicts} == {None}
    by_rule = {v.rule: v.sentence for v in verdicts}
    assert by_rule["ovp above band"] == "Not applicable: the chemistry is unknown."
    assert "cell_uvp unknown" in by_rule["cell_uvp<cell_ovp"]
    assert lint({"cell_ovp": "3", "cell_uvp": True}) == []


def test_a_chemistry_that_is_none_is_no_unknown_one() -> None:
    """It once switched every check of the chemistry off."""
    for name in ("gel", "lifepo4", "foo", ""):
        with pytest.raises(TargetError, match="lfp, nmc, lto, na-ion"):
            lint({"cell_ovp": 4.2}, chemistry=name)
    assert lint({"cell_ovp": 4.2}, chemistry="LFP")[0].severity == "error"


def test_to_narrow_the_cells_limits_the_packs_need_not_follow() -> None:
    values = default_settings(CHEMISTRIES["lfp"], 16, 100) | {"cell_ovp": 3.5}
    (verdict,) = [v for v in lint(values, cells=16) if v.rule == "pack_ovp for other cells"]
    assert verdict.about == ("pack_ovp",)


def test_rules_have_names_of_their_own_and_bands_do_not_overlap_into_ambiguity() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    for name, band in BANDS.items():
        assert likely_chemistry(sum(band.ovp) / 2) == name
        assert band.uvp[1] < band.ovp[0]
    assert likely_chemistry(3.1) is None
    assert likely_chemistry(None) is None


def test_lint_finds_what_review_calls_wrong() -> None:
    dice, wrong = random.Random(12), 0
    for _ in range(60):
        kind = dice.choice([None, *CHEMISTRIES])
        values: dict[str, float | bool | str | None] = {
            key: dice.choice([value, value, value * dice.uniform(0.5, 1.5), None, math.nan])
            for key, value in default_settings(CHEMISTRIES[kind or "lfp"], 16, 100).items()
        }
        cells = dice.choice([None, 4, 16])
        judged = review(values, cells=cells, chemistry=kind)
        assert lint(values, cells=cells, chemistry=kind) == [v for v in judged if v.passed is False]
        wrong += sum(v.passed is False for v in judged)
    assert wrong > 200
