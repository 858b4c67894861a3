"""Which images are trained on and which are tested on; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from curate.core.errors import DataError, UsageError
from curate.formats.files import SPLITS
from curate.impact.arrays import Bools, Ints
from curate.pipeline.training.request import HOLD_OUT

TRAIN, TEST, NEITHER = 0, 1, 2
"""What becomes of an image."""

_TRAINING = frozenset({"train", "training"})

Places = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """What the original dataset says of each image.

    Args:
        splits: names of splits; None is that of images without one.
        split: N, each image's place in ``splits``.
        classes: names of classes, sorted.
        labels: N, each image's place in ``classes``; -1 without a class.
        draws: N, a number drawn from each image's id and the seed, for a hold-out.
    """

    splits: tuple[str | None, ...]
    split: Ints
    classes: tuple[str, ...]
    labels: Ints
    draws: npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What becomes of each image.

    Args:
        places: N, ``TRAIN``, ``TEST`` or ``NEITHER``.
        holdout: the share that is held out; None where the dataset has splits.
        by_split: images by split, of those that take part.
        left_out: images that take no part, by reason.
    """

    places: Places
    holdout: float | None
    by_split: dict[str, int]
    left_out: dict[str, int]


def assign_parts(listed: Listed, holdout: float | None) -> Parts:
    """Follow the dataset's splits, or hold images out where it has one only.

    A split called train is trained on and every other known one is tested on: nothing is
    chosen by looking at any of them.

    Raises:
        DataError: if no image has a class.
        UsageError: if a hold-out is asked for and there are splits.
    """
    labelled = listed.labels >= 0
    if not labelled.any():
        raise DataError(
            "no image of ORIGINAL has a class; want folders named after classes, or a table with "
            "the columns id and label: name it with --labels"
        )
    kinds = np.array([_kind(name) for name in listed.splits], dtype=np.int8)[listed.split]
    present = {int(kind) for kind in np.unique(kinds[labelled])}
    left_out = {"without_class": int((~labelled).sum()), "other_splits": 0}
    if {TRAIN, TEST} <= present:
        if holdout is not None:
            names = ", ".join(sorted(str(name) for name in listed.splits if name))
            raise UsageError(f"--holdout is for a dataset of one split; ORIGINAL has {names}")
        places = np.where(labelled, kinds, NEITHER).astype(np.int8)
        left_out["other_splits"] = int((labelled & (kinds == NEITHER)).sum())
    else:
        holdout = HOLD_OUT if holdout is None else holdout
        places = np.full(len(kinds), NEITHER, dtype=np.int8)
        places[labelled] = TRAIN
        places[_draw_held_out(listed, holdout)] = TEST
    names_by_place = Counter(listed.split[places != NEITHER].tolist())
    by_split = {
        listed.splits[place] or "": count for place, count in sorted(names_by_place.items())
    }
    return Parts(places, holdout, by_split, left_out)


def check_classes(classes: Sequence[str], labels: Ints, places: Places) -> None:
    """Make sure that every class is trained and tested.

    Raises:
        DataError: if there is one class only, or one lacks images.
    """
    if len(classes) < 2:
        raise DataError(f"there is one class only, {classes[0]!r}; nothing can be told apart")
    for part, name in ((TRAIN, "training"), (TEST, "test")):
        counts = np.bincount(labels[places == part], minlength=len(classes))
        empty = np.flatnonzero(counts == 0)
        if len(empty):
            more = f" (and {len(empty) - 1:,} more classes have none)" if len(empty) > 1 else ""
            raise DataError(
                f"the class {classes[empty[0]]!r} has no {name} image{more}; "
                "every class needs images to train on and to test on"
            )


def _kind(split: str | None) -> int:
    name = (split or "").lower()
    if name in _TRAINING:
        return TRAIN
    return TEST if name in SPLITS else NEITHER


def _draw_held_out(listed: Listed, share: float) -> Bools:
    """The share of each class whose draws are lowest; one at least, and never all of it."""
    held = np.zeros(len(listed.labels), dtype=bool)
    order = np.lexsort((listed.draws, listed.labels))
    ends = np.searchsorted(listed.labels[order], np.arange(len(listed.classes) + 1))
    for start, end in pairwise(ends):
        count = int(end - start)
        held[order[start : start + min(count - 1, max(1, round(share * count)))]] = True
    return held
