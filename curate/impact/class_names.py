"""Class names: the order in which a classifier scores its classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.core.documents import parse_json
from curate.core.errors import DataError, UsageError
from curate.core.protocols import Classifier, Source
from curate.report.text import imagenet_classes
from curate.storage.regular import open_regular

IMAGENET = "imagenet"
"""The model and the class names used for datasets whose categories are WordNet ids."""

_MAX_BYTES = 16 << 20  # of a list of names
_PROBE_SIDE = 64  # pixels of the gray image that shows how many scores a model returns


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes in the order of their scores.

    Args:
        names: their names, or their indices as text.
        are_named: whether prediction files may refer to them by name.
    """

    names: tuple[str, ...]
    are_named: bool

    def __len__(self) -> int:
        return len(self.names)

    def find(
        self, values: npt.NDArray[Any], ids: Sequence[str], path: Path
    ) -> npt.NDArray[np.int64]:
        """Convert classes given by index or by name to indices.

        Args:
            values: shape (n,) or (n, K), int64 or text.
            ids: image ids, length n, for messages.
            path: the file, for messages.

        Raises:
            DataError: if a class is unknown.
        """
        if values.dtype.kind in "iu":
            indices = values
        else:
            if not self.are_named:
                raise DataError(
                    f"{path} names classes, such as {str(values.flat[0])!r}; "
                    "give the list of names with --classes"
                )
            known = {name: index for index, name in enumerate(self.names)}
            flat = [known.get(value, -1) for value in values.flat]
            indices = np.array(flat, dtype=np.int64).reshape(values.shape)
        outside = np.argwhere((indices < 0) | (indices >= len(self)))
        if len(outside):
            first = tuple(outside[0])
            raise DataError(
                f"{path} has the class {values[first]!s} for {ids[first[0]]!r}, "
                f"which is not one of the {len(self):,} classes"
            )
        return indices


def number_classes(count: int) -> Classes:
    """Return classes without names."""
    return Classes(tuple(str(index) for index in range(count)), are_named=False)


@cache
def imagenet_ids() -> tuple[str, ...]:
    """Return the WordNet ids of ImageNet's classes in the order of the scores."""
    return tuple(imagenet_classes())


def load_classes(given: str) -> Classes:
    """Read class names.

    Args:
        given: ``imagenet`` for ImageNet's WordNet ids; the number of classes; or a file with one
            name per line or a JSON list of names.

    Raises:
        DataError: if the file cannot be read, or a name is empty or duplicated.
    """
    if given == IMAGENET:
        return Classes(imagenet_ids(), are_named=True)
    if given.isdecimal() and 0 < int(given) <= 1_000_000:
        return number_classes(int(given))
    try:
        with open_regular(Path(given), follow_links=True) as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise DataError(f"the list of classes {given} is larger than {_MAX_BYTES >> 20} MB")
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read the list of classes {given}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"the list of classes {given} is not UTF-8 text") from None
    names = _parse(text, given)
    if not names:
        raise DataError(f"the list of classes {given} is empty")
    for index, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"the list of classes {given} has an empty class at index {index}")
    if len(set(names)) < len(names):
        duplicate = next(name for name, count in Counter(names).items() if count > 1)
        raise DataError(f"the list of classes {given} has the duplicate name {duplicate!r}")
    return Classes(tuple(names), are_named=True)


def _parse(text: str, given: str) -> list[Any]:
    if not text.lstrip().startswith("["):
        return text.rstrip("\n").split("\n") if text.strip() else []
    try:
        names = parse_json(text.encode(), f"the list of classes {given}")
    except ValueError as error:
        raise DataError(f"the list of classes {given} is not valid JSON: {error}") from None
    return list(names)


def choose_model(requested: str | None, original: Source, has_labels: bool) -> str:
    """Return the model specification: as requested, or ImageNet's for WordNet categories.

    Args:
        requested: the user's choice, or None.
        original: the dataset.
        has_labels: whether a table, not the dataset, gives the labels.

    Raises:
        UsageError: if none is requested and the categories are not ImageNet's.
    """
    if requested is not None:
        return requested
    first = next(original.records(), None)
    if first is not None and not has_labels and first.category in imagenet_ids():
        return IMAGENET
    raise UsageError(
        "name a classifier with --model; the default applies only to datasets whose categories "
        f"are ImageNet's WordNet ids ({IMAGENET})"
    )


def find_model_classes(requested: str | None, classifier: Classifier) -> Classes:
    """Return the classes in the order of the model's scores.

    Args:
        requested: a file of names, the number of classes, ``imagenet`` for ImageNet's WordNet
            ids, or None for the model's own names.
        classifier: the model.

    Raises:
        UsageError: if the names are unknown.
        DataError: if their number differs from the model's, or the file cannot be read.
    """
    count = count_scores(classifier)
    if requested is not None:
        given = load_classes(requested)
        source = f"--classes {requested} names {len(given):,}"
    elif classifier.classes is not None:
        given = Classes(classifier.classes, are_named=True)
        source = f"its own list names {len(given):,}"
    else:
        raise UsageError(
            f"the model {classifier.spec!r} does not name its {count:,} classes; list the names "
            "in the order of its scores with --classes FILE, or imagenet for WordNet ids"
        )
    if len(given) != count:
        raise DataError(
            f"the model {classifier.spec!r} returns scores for {count:,} classes, but {source}; "
            "is the list for another model?"
        )
    return given


def count_scores(classifier: Classifier) -> int:
    """Return how many classes a model scores."""
    gray = np.full((_PROBE_SIDE, _PROBE_SIDE, 3), 128, dtype=np.uint8)
    scores = classifier.predict(classifier.prepare(gray)[None])
    return int(scores.shape[1])


def describe_model(classifier: Classifier, classes: Classes, batch: int) -> Mapping[str, Any]:
    """Return the model's entry in the report."""
    return {**classifier.describe(), "classes": len(classes), "batch": batch}
