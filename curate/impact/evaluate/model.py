"""The classifier of a trial, and the classes that it tells apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from curate.core.errors import DataError, UsageError
from curate.core.protocols import Classifier, Source
from curate.impact.models import IMAGENET
from curate.impact.models.imagenet_classes import imagenet_ids
from curate.impact.prediction_files import Classes, load_classes

_SIDE = 64  # of the image that shows how many scores a model gives


def choose_model(asked: str | None, original: Source, has_labels: bool) -> str:
    """The specification of the model: as asked, or ImageNet's for data with its labels.

    Args:
        asked: by the user, or None.
        original: the dataset.
        has_labels: whether a table gives the labels, and not the dataset.

    Raises:
        UsageError: if none is asked for and the labels are not ImageNet's.
    """
    if asked is not None:
        return asked
    first = next(original.records(), None)
    if first is not None and not has_labels and first.category in imagenet_ids():
        return IMAGENET
    raise UsageError(
        "name a classifier with --model; only of datasets whose categories are ImageNet's WordNet "
        f"ids it is {IMAGENET} by itself"
    )


def find_model_classes(asked: str | None, classifier: Classifier) -> Classes:
    """The classes in the order of the model's scores.

    Args:
        asked: a file of names, how many there are, ``imagenet`` for ImageNet's WordNet ids,
            or None for the model's own names.
        classifier: the model.

    Raises:
        UsageError: if nothing names them.
        DataError: if there are not as many as the model has scores, or the file cannot be read.
    """
    count = count_scores(classifier)
    if asked is not None:
        given = Classes(imagenet_ids(), True) if asked == IMAGENET else load_classes(asked)
        said = f"--classes {asked} names {len(given):,}"
    elif classifier.classes is not None:
        given = Classes(classifier.classes, are_named=True)
        said = f"its own list names {len(given):,}"
    else:
        raise UsageError(
            f"the model {classifier.spec!r} does not name its {count:,} classes; list the names "
            "in the order of its scores with --classes FILE, or imagenet for WordNet ids"
        )
    if len(given) != count:
        raise DataError(
            f"the model {classifier.spec!r} gives scores of {count:,} classes, but {said}; "
            "is it of another model?"
        )
    return given


def count_scores(classifier: Classifier) -> int:
    """How many classes a model gives scores of."""
    grey = np.full((_SIDE, _SIDE, 3), 128, dtype=np.uint8)
    scores = classifier.predict(classifier.prepare(grey)[None])
    return int(scores.shape[1])


def describe_model(classifier: Classifier, classes: Classes, batch: int) -> Mapping[str, Any]:
    """What the report says of the model."""
    return {**classifier.describe(), "classes": len(classes), "batch": batch}
