"""What a rule that decides about labels must keep, whatever people say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from curate.balance.labels.rules import QUESTIONS, Decision, LabelRules, Tally, decide

small = st.integers(0, 6)
tallies = st.builds(
    Tally,
    st.tuples(small, small, small),
    st.tuples(small, small, small, small, small),
)
rules = st.builds(
    LabelRules,
    questions=st.sets(st.sampled_from(sorted(QUESTIONS)), min_size=1).map(frozenset),
    offensive_share=st.sampled_from([0.01, 0.25, 0.3, 0.5, 1.0]),
    unsafe_share=st.sampled_from([0.1, 0.33, 0.5, 0.7, 1.0]),
    min_imageability=st.sampled_from([1.0, 2.5, 3.3, 4.0, 5.0]),
    imageability=st.sampled_from(["mean", "median"]),
    min_annotators=st.integers(1, 5),
)


@given(tallies, rules)
def test_a_kind_word_never_removes_what_is_kept(tally: Tally, rule: LabelRules) -> None:
    if decide(tally, rule).decision is Decision.KEEP:
        assert decide(tally.add("safety", 0), rule).decision is Decision.KEEP
        assert decide(tally.add("imageability", 4), rule).decision is Decision.KEEP


@given(tallies, rules)
def test_a_hard_word_never_saves_what_is_removed(tally: Tally, rule: LabelRules) -> None:
    if decide(tally, rule).decision is Decision.REMOVE:
        assert decide(tally.add("safety", 2), rule).decision is Decision.REMOVE
        assert decide(tally.add("imageability", 0), rule).decision is Decision.REMOVE


@given(tallies, rules)
def test_a_harder_answer_in_the_place_of_another_never_saves(
    tally: Tally, rule: LabelRules
) -> None:
    for answer in (0, 1):
        if decide(tally.add("safety", answer), rule).decision is Decision.REMOVE:
            assert decide(tally.add("safety", answer + 1), rule).decision is Decision.REMOVE


@given(tallies, rules)
def test_every_removal_can_be_appealed(tally: Tally, rule: LabelRules) -> None:
    if decide(tally, rule).decision is Decision.REMOVE:
        kind = Tally(
            (tally.safety[0] + 2000, *tally.safety[1:]),
            (*tally.imageability[:4], tally.imageability[4] + 2000),
        )
        # A mean of 5 cannot be reached once somebody has given less.
        hopeless = rule.min_imageability == 5.0 and rule.imageability == "mean"
        assert hopeless or decide(kind, rule).decision is Decision.KEEP


@given(tallies, rules)
def test_too_few_judgements_never_keep(tally: Tally, rule: LabelRules) -> None:
    verdict = decide(tally, rule)
    enough = all(sum(getattr(tally, name)) >= rule.min_annotators for name in rule.questions)
    assert (verdict.decision is Decision.KEEP) <= enough
    assert (verdict.decision is Decision.UNDECIDED) == (
        bool(verdict.lacking) and not verdict.reasons
    )


@given(tallies, rules)
def test_contested_is_what_one_more_judgement_turns(tally: Tally, rule: LabelRules) -> None:
    verdict = decide(tally, rule)
    after = {
        decide(tally.add(question, answer), rule).decision
        for question in rule.questions
        for answer in range(QUESTIONS[question])
    }
    turned = bool(after - {verdict.decision})
    assert verdict.contested == (turned and verdict.decision is not Decision.UNDECIDED)
