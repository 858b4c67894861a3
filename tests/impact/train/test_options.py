from __future__ import annotations

import math

import pytest

from curate.core.errors import UsageError
from curate.impact.train.options import Hyperparameters


def test_learning_rate_warms_up_and_decays() -> None:
    how = Hyperparameters(lr=0.5)
    rates = [how.rate(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.05)
    assert max(rates) == pytest.approx(0.5)
    assert rates.index(max(rates)) in (9, 10)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.001


@pytest.mark.parametrize("epochs", [1, 3, 7, 10, 61])
def test_last_epoch_is_always_evaluated(epochs: int) -> None:
    how = Hyperparameters(epochs=epochs)
    looked = [epoch for epoch in range(1, epochs + 1) if how.evaluates(epoch)]
    assert looked[-1] == epochs
    assert len(looked) <= 12


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"size": 8}, {"batch": 0}, {"lr": 0.0}, {"lr": math.nan}, {"lr": math.inf}],
)
def test_invalid_values_name_their_option(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"--{next(iter(wrong))}"):
        Hyperparameters(**wrong)  # type: ignore[arg-type]


def test_every_choice_is_described() -> None:
    how = Hyperparameters(epochs=7, size=32, batch=5, lr=0.1)
    said = how.describe()
    assert (said["epochs"], said["batch"], said["learning_rate"]) == (7, 5, 0.1)
    assert "36×36" in said["preprocessing"]["crop"]
    assert "32×32" in said["test"]
