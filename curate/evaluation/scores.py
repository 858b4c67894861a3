"""How well the faces of a group are found and hidden."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curate.core.intervals import (
    Floats,
    Interval,
    Share,
    hull,
    none_seen,
    percentiles,
    resample_ratios,
)
from curate.evaluation.matching import FaceTable, Rules

LEAST_FACES = 10
"""Groups with fewer faces are shown, but take no part in gaps: they say next to nothing."""

UNDECIDED = frozenset({"not sure", "unsure", "unknown", "undetermined", "unclear", "n/a", "none"})
"""Values that name no group of people; shown, but no part of any gap."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share of faces.

    Args:
        share: with Wilson's interval, which takes faces for independent.
        clustered: the cluster bootstrap's over images, which does not; None where the
            faces are too few or too much alike for it.
    """

    share: Share
    clustered: Interval | None

    @property
    def shown(self) -> Interval:
        """The hull of both: few faces and faces that hang together both widen it."""
        return hull(self.share.interval, self.clustered)


@dataclass(frozen=True, slots=True)
class GroupScore:
    """How well the faces of one group are found and hidden.

    Args:
        name: the attribute's value.
        images: how many images they are in.
        median_height: of the faces, pixels: groups that differ in it differ in more
            than what names them.
        measures: an estimate by the rules' measures.
        compared: whether it takes part in gaps.
    """

    name: str
    images: int
    median_height: float
    measures: Mapping[str, Estimate]
    compared: bool

    @property
    def faces(self) -> int:
        """How many faces that count belong to it."""
        return next(iter(self.measures.values())).share.total


def score_all(table: FaceTable, rules: Rules) -> GroupScore:
    """Every face as one group."""
    return score_groups(table, ["all"] * len(table), ["all"], rules)[0]


def score_heights(table: FaceTable, rules: Rules) -> tuple[GroupScore, ...]:
    """Faces by ranges of height, ascending; the bounds below belong to a range."""
    pairs = [pair for pair in itertools.pairwise(rules.heights) if pair[1] > rules.least_height]
    names = [
        f"{max(low, rules.least_height):g} and more" if high == np.inf
        else f"{max(low, rules.least_height):g}–{high:g}"
        for low, high in pairs
    ]  # fmt: skip
    places = np.searchsorted([high for _, high in pairs], table.height, side="right")
    first = pairs[0][0]
    values = [
        names[place] if height >= first else None
        for place, height in zip(places, table.height, strict=True)
    ]
    return score_groups(table, values, names, rules)


def score_groups(
    table: FaceTable, values: Sequence[str | None], names: Sequence[str], rules: Rules
) -> tuple[GroupScore, ...]:
    """Score the faces of each name.

    Args:
        table: faces.
        values: the name of each face's group, or None.
        names: the groups, in the order wanted.
        rules: what counts.
    """
    counts = count(table, values, names)
    ratios = counts.resample(rules.seed)
    codes = np.array(values, dtype=object)
    return tuple(
        GroupScore(
            name=name,
            images=int((counts.all[:, place] > 0).sum()),
            median_height=float(np.median(heights)) if len(heights) else 0.0,
            measures=_estimate(counts, ratios, place, rules),
            compared=len(heights) >= LEAST_FACES and name.lower() not in UNDECIDED,
        )
        for place, name in enumerate(names)
        for heights in [table.height[codes == name]]
    )


def _estimate(counts: Counts, ratios: Floats, group: int, rules: Rules) -> dict[str, Estimate]:
    return {
        measure: Estimate(counts.share(group, which), percentiles(ratios[:, group, which]))
        for which, measure in enumerate(rules.measures)
    }


@dataclass(frozen=True, slots=True)
class Counts:
    """Faces by image and group: good ones C×G×M, and all C×G."""

    good: Floats
    all: Floats

    @property
    def rest(self) -> Counts:
        """The same for each group's complement."""
        return Counts(
            self.good.sum(axis=1, keepdims=True) - self.good,
            self.all.sum(axis=1, keepdims=True) - self.all,
        )

    def share(self, group: int, measure: int) -> Share:
        """The good ones of a group."""
        return Share(int(self.good[:, group, measure].sum()), int(self.all[:, group].sum()))

    def resample(self, seed: int) -> Floats:
        """Shares of images drawn anew, draws×G×M; a single NaN for each of no images."""
        images, groups, measures = self.good.shape
        if not images:
            return np.full((1, groups, measures), np.nan)
        below = np.repeat(self.all[:, :, None], measures, axis=2)
        ratios = resample_ratios(
            self.good.reshape(images, -1), below.reshape(images, -1), seed=seed
        )
        return ratios.reshape(-1, groups, measures)


def count(table: FaceTable, values: Sequence[str | None], names: Sequence[str]) -> Counts:
    """Faces by image and group; images without a face of any group are left out."""
    place = {name: number for number, name in enumerate(names)}
    codes = np.array([place.get(value, -1) if value is not None else -1 for value in values], int)
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
    """Boxes on images without any labelled face, where each is a false one.

    Args:
        boxes: how many there are.
        with_box: images that have at least one, with Wilson's interval.
        interval: of boxes per image: the bootstrap's over images, because false boxes
            come in clusters; Garwood's exact one where there is no box at all; None
            where there is no image or the images are too much alike.
    """

    boxes: int
    with_box: Share
    interval: Interval | None

    @property
    def per_image(self) -> float | None:
        """Boxes per image; None without images."""
        return self.boxes / self.with_box.total if self.with_box.total else None


def count_false_boxes(boxes: Sequence[int], seed: int) -> FaceFree:
    """Count the boxes of face-free images.

    Args:
        boxes: how many boxes each of the images has.
        seed: of the bootstrap.
    """
    with_box = Share(sum(count > 0 for count in boxes), len(boxes))
    if not boxes:
        return FaceFree(0, with_box, None)
    if not any(boxes):
        return FaceFree(0, with_box, none_seen(len(boxes)))
    counts = np.array(boxes, dtype=np.float64)[:, None]
    means = resample_ratios(counts, np.ones_like(counts), seed=seed)
    return FaceFree(sum(boxes), with_box, percentiles(means[:, 0]))
