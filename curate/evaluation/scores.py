"""Scores of groups of faces, and gaps between groups, with 95 % intervals."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curate.core.intervals import (
    LEVEL,
    ClusteredShare,
    Floats,
    Interval,
    Share,
    hull,
    max_t_interval,
    newcombe,
    percentiles,
    resample_ratios,
    share_clusters,
    zero_events,
)
from curate.evaluation.matching import FaceTable, Rules

MIN_FACES = 10
"""Groups with fewer faces are shown, but are not compared with others."""

CROSS = " & "
"""Joins the values of crossed attributes."""

UNDECIDED = frozenset({"not sure", "unsure", "unknown", "undetermined", "unclear", "n/a", "none"})
"""Values that do not name a group of people; shown, but not compared."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share of faces or of detections, which are correlated within an image.

    Args:
        share: with Wilson's interval at the effective number of faces.
        clustered: interval of the cluster bootstrap over images; None if there are too few
            images or too little variation.
    """

    share: ClusteredShare
    clustered: Interval | None

    @property
    def interval(self) -> Interval:
        """The hull of both intervals."""
        return hull(self.share.interval, self.clustered)


def estimate_share(hits: Floats, totals: Floats, rules: Rules) -> Estimate:
    """Estimate a share from its counts by image.

    Args:
        hits: shape (images,).
        totals: shape (images,).
        rules: seed and number of resamples of the bootstrap.
    """
    share = share_clusters(hits, totals)
    if not share.total:
        return Estimate(share, None)
    ratios = resample_ratios(hits[:, None], totals[:, None], rules.draws, rules.seed)
    return Estimate(share, percentiles(ratios[:, 0], clusters=share.clusters))


@dataclass(frozen=True, slots=True)
class GroupScore:
    """The measures of one group of faces.

    Args:
        name: the attribute's value.
        images: number of images with such a face.
        median_height: of the faces, pixels; a possible confounder of gaps.
        measures: estimates by the names of the rules' measures.
        compared: whether it is compared with other groups.
    """

    name: str
    images: int
    median_height: float
    measures: Mapping[str, Estimate]
    compared: bool

    @property
    def faces(self) -> int:
        """Number of its faces that count."""
        return next(iter(self.measures.values())).share.total


def score_all(table: FaceTable, rules: Rules) -> GroupScore:
    """Score all faces as one group."""
    return score_groups(table, ["all"] * len(table), ["all"], rules)[0]


def score_heights(table: FaceTable, rules: Rules) -> tuple[GroupScore, ...]:
    """Score faces by ranges of height, ascending, each with its lower bound."""
    pairs = [pair for pair in itertools.pairwise(rules.heights) if pair[1] > rules.min_height]
    names = [
        f"{max(low, rules.min_height):g} and more" if high == np.inf
        else f"{max(low, rules.min_height):g}–{high:g}"
        for low, high in pairs
    ]  # fmt: skip
    indices = np.searchsorted([high for _, high in pairs], table.height, side="right")
    first = pairs[0][0]
    values = [
        names[index] if height >= first else None
        for index, height in zip(indices, table.height, strict=True)
    ]
    return score_groups(table, values, names, rules)


def score_groups(
    table: FaceTable, values: Sequence[str | None], names: Sequence[str], rules: Rules
) -> tuple[GroupScore, ...]:
    """Score the faces of each name.

    Args:
        table: faces.
        values: the name of each face's group, or None.
        names: the groups, in the order of the result.
        rules: definitions of the measures.
    """
    counts = count(table, values, names)
    ratios = counts.resample(rules)
    codes = np.array(values, dtype=object)
    return tuple(
        GroupScore(
            name=name,
            images=int((counts.all[:, index] > 0).sum()),
            median_height=float(np.median(heights)) if len(heights) else 0.0,
            measures=_estimate(counts, ratios, index, rules),
            compared=len(heights) >= MIN_FACES and _is_decided(name),
        )
        for index, name in enumerate(names)
        for heights in [table.height[codes == name]]
    )


def _is_decided(name: str) -> bool:
    """Whether a value, or every part of crossed values, names a group of people."""
    return not any(part.lower() in UNDECIDED for part in name.split(CROSS))


def _estimate(counts: Counts, ratios: Floats, group: int, rules: Rules) -> dict[str, Estimate]:
    shares = [counts.share(group, which) for which in range(len(rules.measures))]
    return {
        measure: Estimate(share, percentiles(ratios[:, group, which], clusters=share.clusters))
        for which, (measure, share) in enumerate(zip(rules.measures, shares, strict=True))
    }


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of faces by image and group.

    Args:
        good: faces for which a measure holds, shape (images, groups, measures).
        all: faces, shape (images, groups).
    """

    good: Floats
    all: Floats

    @property
    def rest(self) -> Counts:
        """The same for each group's complement."""
        return Counts(
            self.good.sum(axis=1, keepdims=True) - self.good,
            self.all.sum(axis=1, keepdims=True) - self.all,
        )

    def share(self, group: int, measure: int) -> ClusteredShare:
        """Return the share of a group's faces for which a measure holds."""
        return share_clusters(self.good[:, group, measure], self.all[:, group])

    def resample(self, rules: Rules) -> Floats:
        """Return shares of bootstrap samples of images, shape (samples, groups, measures)."""
        images, groups, measures = self.good.shape
        if not images:
            return np.full((1, groups, measures), np.nan)
        below = np.repeat(self.all[:, :, None], measures, axis=2)
        ratios = resample_ratios(
            self.good.reshape(images, -1), below.reshape(images, -1), rules.draws, rules.seed
        )
        return ratios.reshape(-1, groups, measures)


def count(table: FaceTable, values: Sequence[str | None], names: Sequence[str]) -> Counts:
    """Count faces by image and group; images without a face of any group are omitted."""
    index = {name: number for number, name in enumerate(names)}
    codes = np.array([index.get(value, -1) if value is not None else -1 for value in values], int)
    known = codes >= 0
    _, images = np.unique(table.image[known], return_inverse=True)
    shape = (int(images.max()) + 1 if len(images) else 0, len(names))
    everything: Floats = np.zeros(shape)
    good: Floats = np.zeros((*shape, table.good.shape[1]))
    np.add.at(everything, (images, codes[known]), 1.0)
    np.add.at(good, (images, codes[known]), table.good[known])
    return Counts(good, everything)


@dataclass(frozen=True, slots=True)
class FaceFree:
    """False boxes on images without any labeled face.

    Args:
        boxes: number of boxes.
        with_box: share of images with at least one, with Wilson's interval.
        interval: of boxes per image: bootstrap over images, because false boxes are
            clustered; Garwood's exact interval if there is no box; None if there is no
            image or too little variation.
    """

    boxes: int
    with_box: Share
    interval: Interval | None

    @property
    def per_image(self) -> float | None:
        """Boxes per image, or None without images."""
        return self.boxes / self.with_box.total if self.with_box.total else None


def count_false_boxes(boxes: Sequence[int], seed: int) -> FaceFree:
    """Count the boxes of face-free images.

    Args:
        boxes: number of boxes of each image.
        seed: random seed of the bootstrap.
    """
    with_box = Share(sum(count > 0 for count in boxes), len(boxes))
    if not boxes:
        return FaceFree(0, with_box, None)
    if not any(boxes):
        return FaceFree(0, with_box, zero_events(len(boxes)))
    counts = np.array(boxes, dtype=np.float64)[:, None]
    means = resample_ratios(counts, np.ones_like(counts), seed=seed)
    return FaceFree(sum(boxes), with_box, percentiles(means[:, 0], clusters=len(boxes)))


@dataclass(frozen=True, slots=True)
class Gap:
    """The difference of a measure between two groups.

    Args:
        kind: ``extremes`` for the best and the worst group, ``rest`` for a group and
            all other compared groups together.
        measure: which measure.
        group: the first group.
        against: the second group, or None for the rest.
        difference: ``group`` minus ``against``, -1..1.
        newcombe: Newcombe's interval at the effective numbers of faces.
        clustered: interval of the cluster bootstrap over images, or None.

    Both hold for all pairs of groups simultaneously if ``kind`` is ``extremes``, because the best
    and the worst group are selected after looking.
    """

    kind: str
    measure: str
    group: str
    against: str | None
    difference: float
    newcombe: Interval
    clustered: Interval | None

    @property
    def interval(self) -> Interval:
        """The hull of both intervals."""
        return hull(self.newcombe, self.clustered)


@dataclass(frozen=True, slots=True)
class Grouping:
    """Scores and gaps by the values of one attribute.

    Args:
        name: the attribute.
        groups: scores, sorted by name.
        gaps: between the compared groups.
        unlabeled: number of faces without the attribute.
    """

    name: str
    groups: tuple[GroupScore, ...]
    gaps: tuple[Gap, ...]
    unlabeled: int

    @property
    def comparisons(self) -> int:
        """Number of pairs from which the best and the worst group were chosen, per measure."""
        compared = sum(group.compared for group in self.groups)
        return compared * (compared - 1) // 2


def compare(table: FaceTable, name: str, rules: Rules) -> Grouping:
    """Score the groups of an attribute and the gaps between them.

    Args:
        table: faces; ``name`` is one of its attributes.
        name: the attribute.
        rules: definitions of the measures.
    """
    values = table.attributes[name]
    names = sorted({value for value in values if value is not None})
    scores = score_groups(table, values, names, rules)
    gaps: list[Gap] = []
    compared = [group for group in scores if group.compared]
    if len(compared) > 1:
        gaps = _find_gaps(table, values, [group.name for group in compared], rules)
    unlabeled = sum(value is None for value in values)
    return Grouping(name, scores, tuple(gaps), unlabeled)


def _find_gaps(
    table: FaceTable, values: Sequence[str | None], names: Sequence[str], rules: Rules
) -> list[Gap]:
    """Compare the best with the worst group, and each with the rest, by measure."""
    counts = count(table, values, names)
    both = Counts(
        np.concatenate([counts.good, counts.rest.good], axis=1),
        np.concatenate([counts.all, counts.rest.all], axis=1),
    )
    ratios, size = both.resample(rules), len(names)
    gaps: list[Gap] = []
    for which, measure in enumerate(rules.measures):
        shares = [both.share(index, which) for index in range(2 * size)]
        observed = np.array([share.value for share in shares[:size]])
        for one, other in _pairs(shares[:size]):
            pair, extremes = ratios[:, [one, other], which], other < size
            images = min(shares[one].clusters, shares[other].clusters)
            clustered = (
                max_t_interval(ratios[:, :size, which], observed, (one, other), images)
                if extremes
                else percentiles(pair[:, 0] - pair[:, 1], clusters=images)
            )
            level = 1 - (1 - LEVEL) / (size * (size - 1) // 2 if extremes else 1)
            gaps.append(
                Gap(
                    kind="extremes" if extremes else "rest",
                    measure=measure,
                    group=names[one],
                    against=names[other] if extremes else None,
                    difference=shares[one].value - shares[other].value,
                    newcombe=newcombe(shares[one], shares[other], level),
                    clustered=clustered,
                )
            )
    return gaps


def _pairs(shares: Sequence[Share]) -> Iterator[tuple[int, int]]:
    """Yield the best and the worst group, then each group and its rest."""
    order = sorted(range(len(shares)), key=lambda index: shares[index].value)
    yield order[-1], order[0]
    if len(shares) > 2:  # with two groups, the rest is the other group
        yield from ((index, len(shares) + index) for index in range(len(shares)))
