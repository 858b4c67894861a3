from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from curate.core.errors import DataError, UsageError
from curate.review import sampling
from curate.review.sampling import Plan, Stratum, Target

IDS = [f"{index:04}.jpg" for index in range(1000)]


def plan(target: Target, strata: dict[str, list[str]] | None = None) -> Plan:
    strata = strata or {"all": IDS}
    images = [(name, stratum) for stratum, names in strata.items() for name in names]
    sizes = {stratum: len(names) for stratum, names in strata.items()}
    return sampling.plan_sample(target, sizes, images)


def test_a_sample_has_the_size_that_the_target_needs_and_no_image_twice() -> None:
    drawn = plan(Target()).strata[0].drawn
    assert len(drawn) == len(set(drawn)) == 238
    assert set(drawn) <= set(IDS)


def test_a_draw_depends_on_the_seed_and_not_on_the_order() -> None:
    first = plan(Target(seed=1))
    assert plan(Target(seed=1), {"all": IDS[::-1]}) == first
    assert plan(Target(seed=2)).strata[0].drawn != first.strata[0].drawn


def test_every_image_is_as_likely_as_any_other() -> None:
    counts: Counter[str] = Counter()
    for seed in range(400):
        counts.update(plan(Target(at_most=0.5, seed=seed), {"all": IDS[:20]}).strata[0].drawn)
    values = np.array([counts[name] for name in IDS[:20]])
    expected = values.sum() / 20
    chi2 = ((values - expected) ** 2 / expected).sum()
    assert chi2 < 43.8  # the 99.9 % point of 19 degrees of freedom


def test_a_plan_survives_its_file() -> None:
    drawn = plan(Target(stratify="score", checks=2), {"a": IDS[:400], "b": IDS[400:]})
    assert Plan.from_dict(drawn.to_dict()) == drawn
    with pytest.raises(DataError, match="cannot be read"):
        Plan.from_dict({"target": {}})


@pytest.mark.parametrize(
    "values",
    [{"at_most": 0}, {"at_most": 2}, {"confidence": 1}, {"confidence": 0.3}, {"allowed": -1},
     {"stratify": "color"}, {"allowed": 1, "stratify": "score"}, {"checks": -1}],
)  # fmt: skip
def test_targets_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Target(**values)  # type: ignore[arg-type]


def test_nothing_to_draw_from_is_an_error() -> None:
    with pytest.raises(UsageError, match="no image to sample"):
        plan(Target(), {"all": []})


def test_a_complete_sample_without_a_find_meets_its_target() -> None:
    drawn = plan(Target())
    said = sampling.summarize(drawn, dict.fromkeys(drawn.strata[0].drawn, False), {})
    assert said["accepted"]
    assert said["valid_now"]
    assert said["upper_now"] <= 0.01


def test_a_fixed_sample_states_no_bound_before_its_end_and_an_early_one_does() -> None:
    for early in (False, True):
        drawn = plan(Target(early=early))
        names = drawn.strata[0].drawn
        said = sampling.summarize(drawn, dict.fromkeys(names[:-1], False), {})
        assert said["valid_now"] is early
        assert not said["accepted"] or early
        assert said["looked"] == len(names) - 1


def test_answers_after_a_gap_do_not_count() -> None:
    drawn = plan(Target())
    names = drawn.strata[0].drawn
    found = dict.fromkeys([*names[:10], *names[11:50]], False)
    assert sampling.summarize(drawn, found, {})["looked"] == 10


def test_finds_raise_the_bound() -> None:
    drawn = plan(Target())
    names = drawn.strata[0].drawn
    some = {name: index < 3 for index, name in enumerate(names)}
    said = sampling.summarize(drawn, some, {})
    assert said["found"] == 3
    assert said["upper_now"] > 0.02
    assert not said["accepted"]


@pytest.mark.parametrize("population", [60, 999, 5_000, 50_000])
@pytest.mark.parametrize("at_most", [0.3, 0.01, 0.001])
def test_the_stated_bound_has_three_digits_and_is_never_below_the_bound(
    population: int, at_most: float
) -> None:
    drawn = plan(Target(at_most=at_most), {"all": [str(n) for n in range(population)]})
    said = sampling.summarize(drawn, dict.fromkeys(drawn.strata[0].drawn, False), {})
    stated, bound = said["stated_upper"], said["upper_now"]
    assert bound <= stated <= 1.01 * bound
    assert stated == float(f"{stated:.3g}")


def test_poor_reviewers_raise_the_bound_and_none_leave_it_open() -> None:
    target = Target(at_most=0.05, checks=20)
    drawn = plan(target)
    found = dict.fromkeys(drawn.strata[0].drawn, False)
    checks = {f"c{index}": True for index in range(20)}
    good = sampling.summarize(drawn, found, {"ada": checks})["upper_now"]
    poor = sampling.summarize(
        drawn, found, {"ada": checks, "bob": {name: name < "c15" for name in checks}}
    )["upper_now"]
    assert good < poor
    assert sampling.summarize(drawn, found, {})["upper_now"] == 1


def test_strata_keep_their_pace_and_checks_are_among_them() -> None:
    drawn = Plan(
        target=Target(checks=2),
        strata=(
            Stratum(name="a", population=90, drawn=tuple(IDS[:20])),
            Stratum(name="b", population=10, drawn=tuple(IDS[20:30])),
        ),
        checks=((IDS[40], 0), (IDS[41], 1)),
    )
    order = sampling.order_sample(drawn)
    assert sorted(order) == sorted([*IDS[:30], *IDS[40:42]])
    assert [name for name in order if name in IDS[:20]] == IDS[:20]
    assert sum(name in IDS[20:30] for name in order[:16]) in (4, 5, 6)


def test_agreement_of_known_tables() -> None:
    # Krippendorff's own example of two coders and ten binary units (2011, part B): 0.095.
    first = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    second = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    pairs = [(bool(a), bool(b)) for a, b in zip(first, second, strict=True)]
    assert sampling.agreement(pairs)["alpha"] == pytest.approx(0.095, abs=1e-3)
    same = [(True, True)] * 3 + [(False, False)] * 5
    assert sampling.agreement(same)["alpha"] == 1
    assert sampling.agreement([(False, False)] * 4)["alpha"] is None


def test_chapman_is_near_the_truth_for_independent_reviewers_and_below_it_for_alike_ones() -> None:
    random = np.random.default_rng(0)
    faces, estimates, alike = 60, [], []
    for _ in range(400):
        a, b = random.random((2, faces)) < 0.8
        hard = random.random(faces) < 0.3
        c, d = random.random((2, faces)) < np.where(hard, 0.1, 0.95)
        estimates.append(sampling.agreement(list(zip(a, b, strict=True)))["chapman"])
        alike.append(sampling.agreement(list(zip(c, d, strict=True)))["chapman"])
    assert np.mean(estimates) == pytest.approx(faces, rel=0.02)
    assert np.mean(alike) < 0.85 * faces
