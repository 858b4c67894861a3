from __future__ import annotations

import pytest

from curate.core.faces import TruthFace, TruthImage
from curate.core.geometry import Box, shift
from curate.evaluation.matching import MatchedImage, match_image, tabulate
from curate.evaluation.scores import Grouping, compare, score_heights
from tests.evaluation.scenes import FACE, RULES, cut, detection, simulate


def grouping(images: list[MatchedImage]) -> Grouping:
    return compare(tabulate(images, RULES), "tone", RULES)


def test_groups_have_their_true_recall_within_the_interval() -> None:
    truth = {"I": 0.95, "III": 0.85, "VI": 0.6}
    found = grouping(cut(simulate(truth, photos=600), 0.5))
    assert sum(group.faces for group in found.groups) > 1000
    for group in found.groups:
        for measure in RULES.measures:
            interval = group.measures[measure].interval
            assert interval.low <= truth[group.name] <= interval.high


def test_gaps_have_the_best_and_the_worst_group_and_cover_the_true_difference() -> None:
    found = grouping(cut(simulate({"I": 0.95, "III": 0.85, "VI": 0.6}, photos=600), 0.5))
    assert found.comparisons == 3
    [extremes] = [g for g in found.gaps if g.kind == "extremes" and g.measure == "recall_50"]
    assert (extremes.group, extremes.against) == ("I", "VI")
    for interval in (extremes.newcombe, extremes.clustered, extremes.interval):
        assert interval is not None
        assert interval.low <= 0.35 <= interval.high
    rest = {g.group: g for g in found.gaps if g.kind == "rest" and g.measure == "recall_50"}
    assert set(rest) == {"I", "III", "VI"}
    assert rest["VI"].interval.high < 0 < rest["I"].interval.low


def test_gaps_of_equal_groups_have_the_nominal_error_rate() -> None:
    wrong = 0
    for seed in range(60):
        found = grouping(cut(simulate({"I": 0.8, "II": 0.8}, photos=80, seed=seed), 0.5))
        [gap] = [each for each in found.gaps if each.measure == "recall_30"]
        wrong += not gap.interval.low <= 0 <= gap.interval.high
    assert wrong <= 9  # 5 % of 60 are 3; more than 9 has a chance below 0.001


def faces(count: int, tone: str, found: bool) -> list[MatchedImage]:
    truth = TruthImage("a", (TruthFace(FACE, {"tone": tone}),))
    return [match_image(truth, [detection(FACE)] if found else [], RULES) for _ in range(count)]


def test_groups_too_small_or_without_a_name_are_shown_and_not_compared() -> None:
    images = faces(12, "I", True) + faces(9, "II", False) + faces(40, "Not Sure", False)
    found = grouping(images)
    assert [group.name for group in found.groups] == ["I", "II", "Not Sure"]
    assert [group.compared for group in found.groups] == [True, False, False]
    assert (found.gaps, found.comparisons) == ((), 0)


def test_the_interval_of_equal_faces_has_a_width() -> None:
    found = grouping(faces(12, "I", True) + faces(15, "II", True))
    for gap in found.gaps:
        assert gap.clustered is None
        assert gap.interval.low < 0 < gap.interval.high
    assert found.groups[0].measures["hidden"].interval.low < 0.9


def test_unlabeled_faces_are_counted() -> None:
    plain = match_image(TruthImage("b", (TruthFace(FACE),)), [], RULES)
    assert grouping([*faces(3, "I", True), plain]).unlabeled == 1


def test_height_ranges_include_their_lower_bound() -> None:
    heights = [8, 15.9, 16, 32, 64, 300]
    boxes = [shift(Box(0, 0, 20, height), 400 * n, 0) for n, height in enumerate(heights)]
    truth = TruthImage("a", tuple(TruthFace(box) for box in boxes))
    scores = score_heights(tabulate([match_image(truth, [], RULES)], RULES), RULES)
    assert [(score.name, score.faces) for score in scores] == [
        ("8–16", 2),
        ("16–32", 1),
        ("32–64", 1),
        ("64 and more", 2),
    ]
    assert scores[0].median_height == pytest.approx(11.95)
