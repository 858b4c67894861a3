from __future__ import annotations

import numpy as np
import pytest

from curate.impact.experiment import Hits
from curate.impact.paired import make_bootstrap
from curate.impact.predictions.groups import by_group
from tests.impact.predictions.experiments import draw_hits

QUICK = make_bootstrap(1, draws=300)


def join(*parts: Hits) -> Hits:
    return Hits(
        np.concatenate([part.original for part in parts]),
        np.concatenate([part.obfuscated for part in parts]),
    )


def test_the_gap_is_between_the_same_groups_before_and_after() -> None:
    random = np.random.default_rng(0)
    good = draw_hits(random, 200, 0.0, 0.0, right=0.9)
    poor = draw_hits(random, 100, 0.3, 0.0, right=0.6)
    few = draw_hits(random, 5, 0.0, 0.0, right=0.0)
    values = ["a"] * 200 + ["b"] * 100 + ["c"] * 5
    found = by_group(join(good, poor, few), "tone", values, QUICK)
    assert [group.name for group in found.groups] == ["a", "b", "c"]
    assert [group.compared for group in found.groups] == [True, True, False]
    assert found.gap is not None
    assert (found.gap.best, found.gap.worst) == ("a", "b")
    first, second = found.groups[0].top1, found.groups[1].top1
    assert found.gap.original.value == pytest.approx(first.original - second.original)
    assert found.gap.obfuscated.value == pytest.approx(first.obfuscated - second.obfuscated)
    assert found.gap.growth.pairs == (("a", "b"), ("a", "b"))
    growth = found.gap.growth.estimate
    assert growth.interval.low < -second.difference < growth.interval.high
    assert found.groups[1].relative is not None
    assert found.groups[1].relative.value == pytest.approx(second.difference)
    assert found.groups[2].relative is None


def test_images_of_no_known_group_are_counted_and_one_group_has_no_gap() -> None:
    hits = draw_hits(np.random.default_rng(2), 100, 0.1, 0.0)
    found = by_group(hits, "tone", ["a"] * 60 + [None] * 40, QUICK)
    assert found.unlabeled == 40
    assert found.groups[0].top1.n == 60
    assert found.gap is None
