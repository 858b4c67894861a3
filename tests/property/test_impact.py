"""The algebra of paired statistics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from curate.core.p_values import benjamini_hochberg
from curate.impact.experiment import Hits
from curate.impact.metrics import average_precision
from curate.impact.paired import compare, exact_p, find_power, make_bootstrap, mcnemar

BOOTSTRAP = {models: make_bootstrap(models, draws=100) for models in (1, 2, 3)}

counts = st.integers(0, 300)
scores = arrays.arrays(
    np.float32, st.integers(1, 40), elements=st.integers(-4, 4).map(float)
)  # few values: many ties


@st.composite
def hits(draw: st.DrawFn) -> Hits:
    shape = (draw(st.integers(1, 60)), draw(st.integers(1, 3)))
    return Hits(*(draw(arrays.arrays(np.bool_, shape)) for _ in range(2)))


@given(counts, counts)
def test_p_is_a_symmetric_probability(b: int, c: int) -> None:
    assert 0 <= exact_p(b, c) <= 1
    assert exact_p(b, c) == exact_p(c, b)


@given(hits())
def test_exchanging_sides_changes_signs(both: Hits) -> None:
    models = both.original.shape[1]
    there = compare(both, BOOTSTRAP[models], "x")
    back = compare(Hits(both.obfuscated, both.original), BOOTSTRAP[models], "x")
    assert back.difference == -there.difference
    assert back.wald == pytest.approx((-there.wald.high, -there.wald.low))
    test, tested_back = mcnemar(both), mcnemar(Hits(both.obfuscated, both.original))
    assert (test.b, test.c, test.p) == (tested_back.c, tested_back.b, tested_back.p)


@given(hits(), st.randoms(use_true_random=False))
def test_the_order_of_images_does_not_matter(both: Hits, random: object) -> None:
    order = np.arange(len(both))
    random.shuffle(order)  # type: ignore[attr-defined]
    models = both.original.shape[1]
    first = compare(both, BOOTSTRAP[models], "x")
    second = compare(both.select(order), BOOTSTRAP[models], "x")
    assert second.interval == pytest.approx(first.interval)
    powers = find_power(both), find_power(both.select(order))
    assert powers[0].discordant == powers[1].discordant
    assert powers[0].detectable == pytest.approx(powers[1].detectable)


@given(hits())
def test_the_difference_is_inside_its_interval(both: Hits) -> None:
    found = compare(both, BOOTSTRAP[both.original.shape[1]], "x")
    assert found.interval.low <= found.difference <= found.interval.high


@given(arrays.arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1)))
def test_q_is_never_below_p_and_keeps_its_order(p: np.ndarray) -> None:
    q = benjamini_hochberg(p)
    assert (q >= p).all()
    assert (q <= 1).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(q[order]) >= 0).all()


@given(scores, st.data())
def test_average_precision_is_bounded(values: np.ndarray, data: st.DataObject) -> None:
    positive = data.draw(arrays.arrays(np.bool_, len(values)))
    positive[0] = True
    found = average_precision(values, np.flatnonzero(positive))
    assert positive.mean() / len(values) <= found <= 1
    order = np.random.default_rng(0).permutation(len(values))
    again = average_precision(values[order], np.flatnonzero(positive[order]))
    assert again == pytest.approx(found)
    assert average_precision(3 * values + 1, np.flatnonzero(positive)) == found
