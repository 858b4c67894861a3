from __future__ import annotations

import statistics
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.balance.labels.measure import audit_tallies, list_questions
from curate.balance.labels.rules import RATINGS, Decision, LabelRules, Tally, decide, imageable
from curate.core.errors import UsageError


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


SAFETY_ONLY = LabelRules(questions=frozenset({"safety"}))
EASY = (0, 0, 0, 0, 5)


@pytest.mark.parametrize(
    ("safety", "decision", "reasons"),
    [
        ((3, 0, 0), Decision.KEEP, ()),
        ((2, 1, 0), Decision.KEEP, ()),
        ((1, 2, 0), Decision.REMOVE, ("sensitive",)),
        ((2, 2, 0), Decision.REMOVE, ("sensitive",)),  # a tie
        ((3, 0, 1), Decision.REMOVE, ("offensive",)),  # one of four
        ((4, 0, 1), Decision.KEEP, ()),  # one of five
        ((2, 1, 1), Decision.REMOVE, ("offensive",)),
        ((5, 5, 1), Decision.REMOVE, ("sensitive",)),
        ((0, 0, 2), Decision.UNDECIDED, ()),
        ((0, 0, 0), Decision.UNDECIDED, ()),
    ],
)
def test_safety_decides(
    safety: tuple[int, ...], decision: Decision, reasons: tuple[str, ...]
) -> None:
    verdict = decide(Tally(safety), SAFETY_ONLY)
    assert (verdict.decision, verdict.reasons) == (decision, reasons)
    assert verdict.lacking == (("safety",) if decision is Decision.UNDECIDED else ())


def test_imageability_is_a_mean_or_a_median() -> None:
    tally = Tally((5, 0, 0), (1, 0, 0, 1, 3))  # mean 4.0, median 5
    assert decide(tally, LabelRules()).decision is Decision.KEEP
    tally = tally.add("imageability", 0)  # mean 3.5, median 4.5
    assert decide(tally, LabelRules()).reasons == ("not imageable",)
    assert decide(tally, LabelRules(imageability="median")).decision is Decision.KEEP


def test_what_is_hard_to_picture_goes_however_few_judged_its_safety() -> None:
    verdict = decide(Tally((1, 0, 0), (5, 0, 0, 0, 0)), LabelRules())
    assert verdict.decision is Decision.REMOVE
    assert (verdict.reasons, verdict.lacking) == (("not imageable",), ("safety",))


def test_what_is_safe_but_was_not_rated_is_undecided_where_ratings_were_asked_for() -> None:
    tally = Tally((5, 0, 0), (0, 0, 0, 0, 2))
    assert decide(tally, LabelRules()).lacking == ("imageability",)
    assert decide(tally, SAFETY_ONLY).decision is Decision.KEEP


def test_shares_are_held_against_the_number_that_was_typed() -> None:
    rules = LabelRules(questions=frozenset({"safety"}), unsafe_share=0.7)
    assert decide(Tally((3, 7, 0)), rules).decision is Decision.REMOVE
    assert decide(Tally((4, 7, 0)), rules).decision is Decision.KEEP


def test_a_decision_that_one_more_judgement_turns_is_contested() -> None:
    assert decide(Tally((2, 1, 0)), SAFETY_ONLY).contested
    assert decide(Tally((1, 2, 0)), SAFETY_ONLY).contested is False  # 2 of 4 still removes
    assert decide(Tally((2, 2, 0)), SAFETY_ONLY).contested
    assert decide(Tally((9, 0, 0)), SAFETY_ONLY).contested is False
    assert decide(Tally((0, 0, 0)), SAFETY_ONLY).contested is False  # undecided already
    assert decide(Tally((9, 0, 0), (0, 0, 0, 3, 0)), LabelRules()).contested


def test_what_becomes_of_the_undecided_is_said_or_open() -> None:
    undecided = decide(Tally(), SAFETY_ONLY)
    assert undecided.removed(LabelRules()) is None
    assert undecided.removed(LabelRules(undecided="keep")) is False
    assert undecided.removed(LabelRules(undecided="remove")) is True
    assert decide(Tally((3, 0, 0)), SAFETY_ONLY).removed(LabelRules(undecided="remove")) is False


def test_the_share_that_finds_it_imageable_goes_by_the_rule() -> None:
    tally = Tally(imageability=(1, 1, 1, 1, 1))
    share = imageable(tally, LabelRules(min_imageability=3))
    assert share is not None
    assert (share.hits, share.total) == (3, 5)
    assert imageable(Tally(), LabelRules()) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"unsafe_share": 0.0}, "--unsafe-share must be above 0"),
        ({"offensive_share": 1.5}, "--offensive-share must be above 0"),
        ({"offensive_share": float("nan")}, "--offensive-share must be above 0"),
        ({"min_imageability": 6.0}, "--min-imageability must be from 1 to 5"),
        ({"min_annotators": 0}, "--min-annotators must be at least 1"),
    ],
)
def test_rules_out_of_range_are_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        LabelRules(**options)


def test_agreement_is_of_what_was_asked() -> None:
    tallies = {"a": Tally((2, 1, 0)), "b": Tally((0, 1, 2)), "c": Tally()}
    assert list_questions(tallies) == {"safety"}
    audit = audit_tallies(tallies, SAFETY_ONLY)
    assert set(audit.agreement) == {"safety", "unsafe"}
    # Sensitive against offensive is no disagreement on whether a label is safe.
    assert audit.agreement["unsafe"].alpha > audit.agreement["safety"].alpha
    assert [audit.count(decision) for decision in Decision] == [1, 1, 1]
    assert [audit.removed(label) for label in tallies] == [False, True, None]
