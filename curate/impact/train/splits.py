"""Split of the images into training and test images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from curate.core.errors import DataError, UsageError
from curate.impact.experiment import Bools, Ints
from curate.layouts.files import SPLITS

TRAIN, TEST, UNUSED = 0, 1, 2
"""Use of an image."""

HOLDOUT = 0.2
"""Share of each class that is held out where the dataset has one split."""

_TRAINING = frozenset({"train", "training"})

Uses = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Splits and classes of the paired images.

    Args:
        splits: names of splits; None for images without one.
        split: index into ``splits`` of each image, shape (N,).
        classes: names of classes, sorted.
        labels: index into ``classes`` of each image, -1 without a class, shape (N,).
        draws: random number of each image from its id and the seed, for the hold-out.
    """

    splits: tuple[str | None, ...]
    split: Ints
    classes: tuple[str, ...]
    labels: Ints
    draws: npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Use of each image.

    Args:
        uses: ``TRAIN``, ``TEST`` or ``UNUSED``, shape (N,).
        holdout: share that is held out; None where the dataset's splits are used.
        by_split: number of used images by split.
        left_out: number of unused images by reason.
    """

    uses: Uses
    holdout: float | None
    by_split: dict[str, int]
    left_out: dict[str, int]


def split_images(images: Images, holdout: float | None) -> Split:
    """Use the dataset's splits, or hold out images where it has only one.

    A split called train is trained on and every other known split is tested on: nothing is
    selected by looking at any of them.

    Raises:
        DataError: if no image has a class.
        UsageError: if a hold-out is requested and there are splits.
    """
    labeled = images.labels >= 0
    if not labeled.any():
        raise DataError(
            "no image of ORIGINAL has a class; want folders named after classes, or a table with "
            "the columns id and label: name it with --labels"
        )
    kinds = np.array([_use_of(name) for name in images.splits], dtype=np.int8)[images.split]
    present = {int(kind) for kind in np.unique(kinds[labeled])}
    left_out = {"without_class": int((~labeled).sum()), "other_splits": 0}
    if {TRAIN, TEST} <= present:
        if holdout is not None:
            names = ", ".join(sorted(str(name) for name in images.splits if name))
            raise UsageError(f"--holdout is for a dataset with one split; ORIGINAL has {names}")
        uses = np.where(labeled, kinds, UNUSED).astype(np.int8)
        left_out["other_splits"] = int((labeled & (kinds == UNUSED)).sum())
    else:
        holdout = HOLDOUT if holdout is None else holdout
        uses = np.full(len(kinds), UNUSED, dtype=np.int8)
        uses[labeled] = TRAIN
        uses[_draw_holdout(images, holdout)] = TEST
    counts = Counter(images.split[uses != UNUSED].tolist())
    by_split = {images.splits[index] or "": count for index, count in sorted(counts.items())}
    return Split(uses, holdout, by_split, left_out)


def check_classes(classes: Sequence[str], labels: Ints, uses: Uses) -> None:
    """Check that every class has training and test images.

    Raises:
        DataError: if there is only one class, or one lacks images.
    """
    if len(classes) < 2:
        raise DataError(f"there is only one class, {classes[0]!r}; give at least two")
    for use, name in ((TRAIN, "training"), (TEST, "test")):
        counts = np.bincount(labels[uses == use], minlength=len(classes))
        empty = np.flatnonzero(counts == 0)
        if len(empty):
            more = f" (and {len(empty) - 1:,} more classes have none)" if len(empty) > 1 else ""
            raise DataError(
                f"the class {classes[empty[0]]!r} has no {name} image{more}; "
                "every class needs images to train on and to test on"
            )


def _use_of(split: str | None) -> int:
    name = (split or "").lower()
    if name in _TRAINING:
        return TRAIN
    return TEST if name in SPLITS else UNUSED


def _draw_holdout(images: Images, share: float) -> Bools:
    """The share of each class with the lowest draws; at least one image, and never all."""
    held = np.zeros(len(images.labels), dtype=bool)
    order = np.lexsort((images.draws, images.labels))
    ends = np.searchsorted(images.labels[order], np.arange(len(images.classes) + 1))
    for start, end in pairwise(ends):
        count = int(end - start)
        held[order[start : start + min(count - 1, max(1, round(share * count)))]] = True
    return held
