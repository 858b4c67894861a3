"""The section on `curate balance --strategy augment-positive`: two simulations of known truth.

Labels of the smaller group are wrong (historical bias), or its rate truly differs. A logistic
regression is trained on the data as observed, with added positives and with the weights of
`reweigh`, and tested on true labels.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from benchmarks.plan import Plan
from benchmarks.tables import Report
from curate.balance.correct.goal import Allocation, Goal, resolve_targets
from curate.balance.correct.reweigh import reweigh
from curate.balance.correct.strata import Strata, collect_strata
from curate.balance.correct.strategies import add_positives
from curate.core.intervals import Floats

_METHOD = """\
Simulated people of two groups (70 % and 30 %), mean over {datasets} datasets of 4,000 for \
training and 20,000 for testing. *Historical bias*: merit and true rates are the same, and 40 % \
of the positives of the smaller group are labeled negative. *True difference*: every label is \
right, and the smaller group has fewer positives. A logistic regression on two noisy \
measurements of merit and on the group is tested on true labels. TPR gap: true positive rate of \
the larger group minus that of the smaller one."""

TRAIN, TEST = 4_000, 20_000
CASES = ("historical bias", "true difference")
CORRECTIONS = ("none", "augment-positive", "augment-positive, highest", "reweigh")


class Scores(NamedTuple):
    """Accuracy and difference of true positive rates, on true labels."""

    accuracy: float
    tpr_gap: float


class People(NamedTuple):
    """Features with an intercept, group (1 for the smaller one), true and observed labels."""

    features: Floats
    group: Floats
    true: Floats
    observed: Floats


def positives(plan: Plan) -> Report:
    """What added positives mend, by what is wrong with the labels."""
    datasets = 2 if plan.quick else 100
    report = Report("What augment-positive assumes", _METHOD.format(datasets=datasets))
    rows = []
    for case in CASES:
        for name, scores in simulate(case, range(datasets)).items():
            rows.append((case, name, f"{scores.accuracy:.3f}", f"{scores.tpr_gap:.3f}"))
            report.figures.append({"case": case, "correction": name, **scores._asdict()})
    report.tables.append(("", ("case", "correction", "accuracy", "TPR gap"), rows))
    return report


def simulate(case: str, seeds: range) -> dict[str, Scores]:
    """Mean scores by correction.

    Args:
        case: one of `CASES`.
        seeds: one dataset for each.
    """
    found: dict[str, list[Scores]] = {name: [] for name in CORRECTIONS}
    for seed in seeds:
        random = np.random.default_rng(seed)
        train, test = draw_people(random, TRAIN, case), draw_people(random, TEST, case)
        for name, weights in weigh(train).items():
            found[name].append(score(fit(train, weights), test))
    return {name: Scores(*np.mean(scores, axis=0).tolist()) for name, scores in found.items()}


def draw_people(random: np.random.Generator, n: int, case: str) -> People:
    """Draw people of one of `CASES`."""
    group = (random.random(n) < 0.3).astype(np.float64)
    merit = random.normal(size=n) - (0.8 * group if case == "true difference" else 0.0)
    true = (random.random(n) < 1 / (1 + np.exp(-4 * merit))).astype(np.float64)
    mislabeled = (case == "historical bias") & (group == 1) & (random.random(n) < 0.4)
    measured = merit[:, None] + random.normal(0, 0.5, (n, 2))
    features = np.column_stack([np.ones(n), measured, group])
    return People(features, group, true, np.where(mislabeled, 0.0, true))


def weigh(people: People) -> dict[str, Floats]:
    """Weight of each person by correction; a copy adds 1."""
    keys = [(str(int(g)), str(int(y))) for g, y in zip(people.group, people.observed, strict=True)]
    counted = Counter((((group,),), (label,)) for group, label in keys)
    strata = collect_strata(("group",), counted)
    by = (("group",),)
    goal = Goal(resolve_targets(strata, by, "uniform"), max_copies=100)
    joint = Goal(resolve_targets(strata, by, "observed"), within=True)
    allocations = {
        "augment-positive": add_positives(strata, goal, "1", "overall"),
        "augment-positive, highest": add_positives(strata, goal, "1", "highest"),
        "reweigh": reweigh(strata, joint),
    }
    corrected = {name: _per_person(keys, strata, each) for name, each in allocations.items()}
    return {"none": np.ones(len(keys)), **corrected}


def _per_person(keys: list[tuple[str, str]], strata: Strata, allocation: Allocation) -> Floats:
    mass = allocation.mass / strata.counts
    of_key = {
        (people[0][0], labels[0]): float(weight)
        for people, labels, weight in zip(strata.people, strata.labels, mass, strict=True)
    }
    return np.array([of_key[key] for key in keys])


def fit(people: People, weights: Floats) -> Floats:
    """Coefficients of a weighted logistic regression on observed labels, by Newton's method."""
    coefficients = np.zeros(people.features.shape[1])
    for _ in range(25):
        chance = 1 / (1 + np.exp(-people.features @ coefficients))
        gradient = people.features.T @ (weights * (people.observed - chance))
        curvature = weights * chance * (1 - chance)
        hessian = people.features.T @ (people.features * curvature[:, None])
        coefficients += np.linalg.solve(hessian, gradient)
    return coefficients


def score(coefficients: Floats, people: People) -> Scores:
    """Scores on true labels at a threshold of one half."""
    predicted = people.features @ coefficients > 0
    larger, smaller = (
        float(predicted[(people.true == 1) & (people.group == group)].mean()) for group in (0, 1)
    )
    return Scores(float((predicted == people.true).mean()), larger - smaller)
