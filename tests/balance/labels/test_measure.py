"""Agreement against published values, and against annotators of known reliability."""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt
import pytest

from curate.balance.labels.measure import agree
from curate.core.errors import MissingExtraError

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), example C: four observers,
# twelve units, values 1 to 5; a dot is a missing value.
OBSERVERS = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)


def published() -> npt.NDArray[np.int64]:
    counts = np.zeros((12, 5), dtype=np.int64)
    for line in OBSERVERS:
        for unit, value in enumerate(line.split()):
            if value != ".":
                counts[unit, int(value) - 1] += 1
    return counts


def draw(
    random: np.random.Generator, labels: int, annotators: int, reliability: float, values: int
) -> npt.NDArray[np.int64]:
    """Annotators who know the true answer with a chance, and guess evenly otherwise.

    Two of them agree by more than chance in reliability² of all cases, which is α then.
    """
    truth = random.integers(0, values, size=(labels, 1))
    guesses = random.integers(0, values, size=(labels, annotators))
    said = np.where(random.random((labels, annotators)) < reliability, truth, guesses)
    return np.stack([(said == value).sum(axis=1) for value in range(values)], axis=1)


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815)])
def test_alpha_is_the_published_one(level: str, alpha: float) -> None:
    found = agree(published(), level)
    assert found.alpha == pytest.approx(alpha, abs=5e-4)
    assert (found.labels, found.judgements) == (11, 40)
    assert found.interval is not None
    assert found.interval.low < found.alpha < found.interval.high


@pytest.mark.parametrize("reliability", [0.0, 0.5, 0.9])
def test_alpha_is_that_of_annotators_of_known_reliability(reliability: float) -> None:
    counts = draw(np.random.default_rng(1), 4000, 4, reliability, 3)
    assert agree(counts, "nominal", draws=10).alpha == pytest.approx(reliability**2, abs=0.02)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(2)
    hits = 0
    for seed in range(120):
        found = agree(draw(random, 80, 3, 0.8, 3), "nominal", seed, draws=200)
        assert found.interval is not None
        hits += found.interval.low <= 0.64 <= found.interval.high
    assert hits >= 0.88 * 120


def test_labels_with_one_judgement_say_nothing() -> None:
    alone = np.eye(3, dtype=np.int64)
    found = agree(alone, "nominal")
    assert (found.alpha, found.interval, found.labels) == (None, None, 0)
    assert found.unknown == "no label has two judgments"
    both = np.concatenate([published(), np.eye(5, dtype=np.int64)])
    assert agree(both, "ordinal") == agree(published(), "ordinal")


def test_of_answers_that_are_all_the_same_alpha_cannot_be_said() -> None:
    found = agree([[3, 0, 0], [2, 0, 0]], "nominal")
    assert found.alpha is None
    assert "all judgments are the same" in found.unknown


def test_of_no_labels_at_all_nothing_is_said() -> None:
    assert agree([], "nominal").unknown == "no label has two judgments"


def test_the_same_seed_gives_the_same_interval() -> None:
    assert agree(published(), "ordinal", 3) == agree(published(), "ordinal", 3)
    assert agree(published(), "ordinal", 3) != agree(published(), "ordinal", 4)


def test_without_the_package_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "krippendorff", None)
    table = np.array([[3, 0], [1, 2], [0, 3]])
    with pytest.raises(MissingExtraError, match=r"pip install 'curate-dataset\[labels\]'"):
        agree(table, "nominal", seed=0)
