"""Selection of the images to explain."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.core.entries import ManifestEntry
from curate.core.errors import DataError
from curate.core.protocols import Classifier
from curate.impact.experiment import OBFUSCATED, ORIGINAL
from curate.impact.explain.images import ImagePair, ImagePairs
from curate.impact.explain.measure import Prediction, measure_change, softmax
from curate.impact.explain.options import Selection
from curate.impact.prediction_files import iter_batches
from curate.impact.prediction_store import STATE, Logits
from curate.manifest.store import join_by_id, load_json
from curate.pipeline.session import Step
from curate.storage.regular import open_regular

BATCH = 16

Watch = Callable[[Step], None]
"""Called with the progress."""

Compared = tuple[ManifestEntry, float, bool]
"""An image, the distance of its two softmaxes, and whether the predicted class changed."""


@dataclass(frozen=True, slots=True)
class Selected:
    """The selected images.

    Args:
        entries: in the order of the report.
        compared: number of images whose predictions were compared; None if not needed.
        changed: number of these that changed.
        left_out: number of listed ids without a hidden face or withheld.
    """

    entries: tuple[ManifestEntry, ...]
    compared: int | None = None
    changed: int | None = None
    left_out: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class PredictedPair:
    """Predictions on both images of a pair.

    Args:
        prepared: the model's input, original and obfuscated, shape (2, C, H, W).
        original: prediction on the original.
        obfuscated: prediction on the obfuscated image.
        change: total variation distance of the two softmaxes, 0..1.
    """

    prepared: npt.NDArray[np.float32]
    original: Prediction
    obfuscated: Prediction
    change: float

    @property
    def is_changed(self) -> bool:
        """Whether the predicted class changed."""
        return self.original.index != self.obfuscated.index


def select_images(
    images: ImagePairs, classifier: Classifier, selection: Selection, watch: Watch
) -> Selected:
    """Select the images to explain; ``images.counts`` is filled afterwards.

    Raises:
        DataError: if a listed id is unknown, or an image cannot be read.
    """
    if selection.ids is not None:
        return _select_listed(images, selection.ids)
    if selection.sample is not None:
        drawn = heapq.nsmallest(
            selection.sample,
            images.iter_entries(),
            key=lambda entry: _draw(entry.id, selection.seed),
        )
        return Selected(tuple(sorted(drawn, key=lambda entry: entry.id.encode())))
    if selection.predictions is None:
        compared = _iter_compared(images, classifier, watch)
    else:
        compared = iter_stored(selection.predictions, images, classifier)
    counts: Counter[bool] = Counter()
    # Of equal changes the first id comes first.
    changed = _iter_changed(compared, counts)
    largest = heapq.nlargest(selection.max_images, changed, key=lambda each: each[1])
    return Selected(tuple(entry for entry, _ in largest), counts.total(), counts[True])


def predict_pairs(
    classifier: Classifier, pairs: Sequence[ImagePair], names: Sequence[str] | None = None
) -> list[PredictedPair]:
    """Predict both images of a few pairs.

    Args:
        classifier: the classifier.
        pairs: the images.
        names: class names; None for indices.
    """
    prepared = [
        np.stack([classifier.prepare(pair.original), classifier.prepare(pair.obfuscated)])
        for pair in pairs
    ]
    if len({both.shape for both in prepared}) == 1:
        scores = classifier.predict(np.concatenate(prepared))
    else:  # a model whose input depends on the image's size
        scores = np.concatenate([classifier.predict(both) for both in prepared])
    if not np.isfinite(scores).all():
        raise DataError("the model returns scores that are not finite numbers")
    return [
        PredictedPair(
            both,
            _make_prediction(names, before),
            _make_prediction(names, after),
            measure_change(before, after),
        )
        for both, (before, after) in zip(
            prepared, scores.reshape(len(prepared), 2, -1), strict=True
        )
    ]


def _make_prediction(names: Sequence[str] | None, scores: npt.NDArray[np.float32]) -> Prediction:
    best = int(scores.argmax())
    name = str(best) if names is None else names[best]
    return Prediction(best, name, float(softmax(scores)[best]))


def _iter_changed(
    compared: Iterable[Compared], counts: Counter[bool]
) -> Iterator[tuple[ManifestEntry, float]]:
    """Images whose predicted class changed; all are counted."""
    for entry, change, is_changed in compared:
        counts[is_changed] += 1
        if is_changed:
            yield entry, change


def _iter_compared(images: ImagePairs, classifier: Classifier, watch: Watch) -> Iterator[Compared]:
    """Run the classifier on all images with faces."""
    run = images.datasets.run or {}
    total, done = run["counts"]["images_with_faces"], 0
    entries = images.iter_entries()
    while some := list(islice(entries, BATCH)):
        found = predict_pairs(classifier, [images.load(entry) for entry in some])
        done += len(some)
        watch(Step("comparing", "images", done, total))
        for entry, each in zip(some, found, strict=True):
            yield entry, each.change, each.is_changed


_MAX_LIST = 64 << 20  # bytes of a list of ids


def _select_listed(images: ImagePairs, path: Path) -> Selected:
    try:
        with open_regular(path, follow_links=True) as file:
            data = file.read(_MAX_LIST + 1)
        lines = data.decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise DataError(f"cannot read {path}: {why}") from None
    if len(data) > _MAX_LIST:
        raise DataError(f"{path} is larger than {_MAX_LIST >> 20} MB; list fewer ids")
    wanted = dict.fromkeys(line.strip() for line in lines if line.strip())
    if not wanted:
        raise DataError(f"{path} lists no id; write one per line")
    found = {entry.id: entry for entry in images.iter_entries() if entry.id in wanted}
    others = set(wanted) - set(found)
    known = set()
    if others:
        known = {each.id for each in images.datasets.iter_entries() if each.id in others}
    for name in wanted:
        if name not in found and name not in known:
            raise DataError(f"{path} lists {name!r}, which the manifest does not have")
    entries = tuple(found[name] for name in wanted if name in found)
    return Selected(entries, left_out=len(known))


def _draw(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode()).digest()


@dataclass(frozen=True, slots=True, eq=False)
class _Stored:
    """Scores of one image."""

    id: str
    logits: Logits


def iter_stored(folder: Path, images: ImagePairs, classifier: Classifier) -> Iterator[Compared]:
    """Compare the stored predictions of every image with faces.

    Args:
        folder: kept by ``curate impact evaluate --predictions``.
        images: the images.
        classifier: whose predictions they must be.

    Raises:
        DataError: if they are of another dataset or model, or incomplete.
    """
    _check_state(folder, images, classifier)
    entries = images.iter_entries()
    predicted = join_by_id(_iter_arm(folder, ORIGINAL), _iter_arm(folder, OBFUSCATED))
    entry = next(entries, None)
    for before, after in predicted:
        if entry is None:
            return
        found = before or after
        if found is None or found.id != entry.id:
            continue
        if before is None or after is None:
            break
        yield (
            entry,
            measure_change(before.logits, after.logits),
            bool(before.logits.argmax() != after.logits.argmax()),
        )
        entry = next(entries, None)
    if entry is not None:
        raise DataError(
            f"{folder} has no predictions for {entry.id!r}; let curate impact evaluate finish"
        )


def _iter_arm(folder: Path, arm: str) -> Iterator[_Stored]:
    for batch in iter_batches(folder / arm):
        if batch.listed is not None:
            raise DataError(f"{folder / arm} does not have the scores of all classes")
        for name, scores in zip(batch.ids, batch.scores, strict=True):
            yield _Stored(name, scores)


def _check_state(folder: Path, images: ImagePairs, classifier: Classifier) -> None:
    try:
        state = load_json(folder / STATE)
    except OSError as error:
        raise DataError(
            f"cannot read {folder / STATE} ({error.strerror}); give the folder that curate "
            "impact evaluate --predictions has kept"
        ) from None
    run = images.datasets.run or {}
    if state.get("manifest_sha256") != run["records"]["sha256"]:
        raise DataError(f"{folder} has predictions on another dataset than OBFUSCATED")
    recorded: Mapping[str, Any] = state.get("model") or {}
    own = classifier.describe()
    for key in ("spec", "weights_sha256", "preprocess"):
        if recorded.get(key) != own.get(key):
            raise DataError(f"{folder} has predictions of another model than {classifier.spec!r}")
