from __future__ import annotations

import statistics
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from curate.balance.labels.judgements import RATINGS, Tally


@given(st.lists(st.sampled_from(RATINGS), min_size=1, max_size=15))
def test_mean_and_median_are_those_of_the_ratings(ratings: list[int]) -> None:
    tally = Tally(imageability=tuple(ratings.count(rating) for rating in RATINGS))
    assert tally.mean == Fraction(sum(ratings), len(ratings))
    assert tally.median == Fraction(statistics.median(ratings))
    assert tally.rated == len(ratings)


def test_of_no_rating_nothing_is_said() -> None:
    assert (Tally().mean, Tally().median, Tally().rated, Tally().judged) == (None, None, 0, 0)


def test_one_more_judgement_is_one_more_of_its_question() -> None:
    tally = Tally((1, 0, 2), (0, 1, 0, 0, 0))
    assert tally.add("safety", 1) == Tally((1, 1, 2), (0, 1, 0, 0, 0))
    assert tally.add("imageability", 4) == Tally((1, 0, 2), (0, 1, 0, 0, 1))
    assert (tally.unsafe, tally.offensive, tally.judged) == (2, 2, 3)
