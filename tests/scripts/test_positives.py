"""What `augment-positive` can mend, on simulated data of known truth."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def scores() -> dict[str, dict[str, tuple[float, float]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        from benchmarks import positives

        return {case: positives.simulate(case, range(12)) for case in positives.CASES}


def test_historical_bias_is_mended_no_better_than_by_weights(
    scores: dict[str, dict[str, tuple[float, float]]],
) -> None:
    found = scores["historical bias"]
    gaps = {name: gap for name, (_, gap) in found.items()}
    assert gaps["augment-positive"] < 0.6 * gaps["none"]
    assert gaps["reweigh"] < gaps["augment-positive"]
    assert gaps["augment-positive, highest"] < gaps["augment-positive"]
    assert all(found[name][0] > found["none"][0] + 0.01 for name in found if name != "none")


def test_a_true_difference_costs_accuracy(
    scores: dict[str, dict[str, tuple[float, float]]],
) -> None:
    accuracy = {name: value for name, (value, _) in scores["true difference"].items()}
    assert accuracy["augment-positive"] < accuracy["none"] - 0.003
    assert accuracy["augment-positive, highest"] < accuracy["augment-positive"]


def test_the_readme_has_the_simulated_figures(
    scores: dict[str, dict[str, tuple[float, float]]],
) -> None:
    text = (ROOT / "curate/balance/README.md").read_text(encoding="utf-8").replace("−", "-")
    rows = re.findall(
        r"^\| [^|]*(none|highest|overall|reweigh)[^|]*((?:\| -?\.\d{3} ){4})", text, re.M
    )
    assert len(rows) == 4
    names = {"overall": "augment-positive", "highest": "augment-positive, highest"}
    for name, cells in rows:
        gap, accuracy, true_gap, true_accuracy = map(float, re.findall(r"-?\.\d{3}", cells))
        biased, differing = (each[names.get(name, name)] for each in scores.values())
        assert biased == pytest.approx((accuracy, gap), abs=0.02)
        assert differing == pytest.approx((true_accuracy, true_gap), abs=0.02)
