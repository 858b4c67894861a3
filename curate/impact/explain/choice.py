"""Which images to explain."""

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
from curate.core.errors import DataError, UsageError
from curate.core.protocols import Classifier
from curate.impact.evaluate.controls import OBFUSCATED, ORIGINAL
from curate.impact.explain.measure import Answer, measure_change, softmax
from curate.impact.explain.pairs import Pair, Pairs
from curate.impact.prediction_files import iter_batches
from curate.impact.prediction_store import STATE, Logits
from curate.manifest.store import join_by_id, load_json
from curate.pipeline.session import Step

BATCH = 16

Watch = Callable[[Step], None]
"""Told what is being done, how much of it is done, and of how much, if that is known."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How images are chosen; the largest changes by default.

    Args:
        most: how many of those whose prediction changed.
        sample: how many at random instead, or None.
        ids: a file with an id a line instead, or None.
        kept: predictions that say which changed, kept by ``curate impact evaluate``; None to
            ask the classifier about all images with faces.
        seed: of the sample.

    Raises:
        UsageError: if a number is less than 1, or two ways are asked for.
    """

    most: int = 24
    sample: int | None = None
    ids: Path | None = None
    kept: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.most < 1 or (self.sample is not None and self.sample < 1):
            raise UsageError("--most and --sample must be 1 or more")
        if self.sample is not None and self.ids is not None:
            raise UsageError("--sample and --ids choose images in different ways; give one")
        if self.kept is not None and self.way != "changed":
            raise UsageError("--predictions say which images changed; drop --sample or --ids")

    @property
    def way(self) -> str:
        """``changed``, ``sample`` or ``ids``."""
        if self.ids is not None:
            return "ids"
        return "changed" if self.sample is None else "sample"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was chosen.

    Args:
        entries: in the order in which they are shown.
        compared: images whose predictions were compared; None where none had to be.
        changed: how many of these changed.
        left_out: listed ids whose images have no hidden face or were withheld.
    """

    entries: tuple[ManifestEntry, ...]
    compared: int | None = None
    changed: int | None = None
    left_out: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """A classifier's answers to both images of a pair.

    Args:
        prepared: both as it was given them, 2×C×H×W: original, obfuscated.
        original: its answer to the original.
        obfuscated: its answer to the obfuscated image.
        change: how far the two softmaxes are from each other, 0..1.
    """

    prepared: npt.NDArray[np.float32]
    original: Answer
    obfuscated: Answer
    change: float

    @property
    def is_changed(self) -> bool:
        """Whether another class is best."""
        return self.original.place != self.obfuscated.place


def choose(pairs: Pairs, classifier: Classifier, choice: Choice, watch: Watch) -> Chosen:
    """Choose the images to explain; ``pairs.tally`` is then filled.

    Raises:
        DataError: if a listed id is unknown, or an image cannot be read.
    """
    if choice.ids is not None:
        return _take_listed(pairs, choice.ids)
    if choice.sample is not None:
        drawn = heapq.nsmallest(
            choice.sample, pairs.iter_entries(), key=lambda entry: _draw(entry.id, choice.seed)
        )
        return Chosen(tuple(sorted(drawn, key=lambda entry: entry.id.encode())))
    if choice.kept is None:
        judged = _iter_judged(pairs, classifier, watch)
    else:
        judged = iter_kept(choice.kept, pairs, classifier)
    counts: Counter[bool] = Counter()
    # Of equal changes the first in the order of ids comes first.
    largest = heapq.nlargest(choice.most, _iter_changed(judged, counts), key=lambda each: each[1])
    return Chosen(tuple(entry for entry, _ in largest), counts.total(), counts[True])


def predict(
    classifier: Classifier, pairs: Sequence[Pair], names: Sequence[str] | None = None
) -> list[Predicted]:
    """Ask a classifier about both images of a few pairs.

    Args:
        classifier: the classifier.
        pairs: the images.
        names: of the classes; None for their numbers.
    """
    prepared = [
        np.stack([classifier.prepare(pair.original), classifier.prepare(pair.obfuscated)])
        for pair in pairs
    ]
    scores = _predict(classifier, prepared)
    return [
        Predicted(
            both,
            _answer(names, before),
            _answer(names, after),
            measure_change(before, after),
        )
        for both, (before, after) in zip(prepared, scores, strict=True)
    ]


def _predict(
    classifier: Classifier, prepared: Sequence[npt.NDArray[np.float32]]
) -> npt.NDArray[np.float32]:
    shapes = {both.shape for both in prepared}
    if len(shapes) == 1:
        scores = classifier.predict(np.concatenate(prepared))
    else:  # a model whose input follows the image's size
        scores = np.concatenate([classifier.predict(both) for both in prepared])
    if not np.isfinite(scores).all():
        raise DataError("the model gives scores that are no finite numbers")
    return scores.reshape(len(prepared), 2, -1)


def _answer(names: Sequence[str] | None, scores: npt.NDArray[np.float32]) -> Answer:
    best = int(scores.argmax())
    return Answer(best, str(best) if names is None else names[best], float(softmax(scores)[best]))


def _iter_changed(
    judged: Iterable[tuple[ManifestEntry, float, bool]], counts: Counter[bool]
) -> Iterator[tuple[ManifestEntry, float]]:
    """Those whose best class changed; all are counted."""
    for entry, change, is_changed in judged:
        counts[is_changed] += 1
        if is_changed:
            yield entry, change


def _iter_judged(
    pairs: Pairs, classifier: Classifier, watch: Watch
) -> Iterator[tuple[ManifestEntry, float, bool]]:
    """Ask the classifier about all images with faces."""
    total, done = pairs.run["counts"]["images_with_faces"], 0
    entries = pairs.iter_entries()
    while some := list(islice(entries, BATCH)):
        found = predict(classifier, [pairs.read(entry) for entry in some])
        done += len(some)
        watch(Step("comparing", "images", done, total))
        for entry, each in zip(some, found, strict=True):
            yield entry, each.change, each.is_changed


def _take_listed(pairs: Pairs, path: Path) -> Chosen:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise DataError(f"{path} cannot be read: {why}") from None
    wanted = dict.fromkeys(line.strip() for line in lines if line.strip())
    if not wanted:
        raise DataError(f"{path} lists no id; write one a line")
    found = {entry.id: entry for entry in pairs.iter_entries() if entry.id in wanted}
    known = pairs.find_ids(set(wanted) - set(found))
    for name in wanted:
        if name not in found and name not in known:
            raise DataError(f"{path} lists {name!r}, which the manifest does not know")
    entries = tuple(found[name] for name in wanted if name in found)
    return Chosen(entries, left_out=len(known))


def _draw(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode()).digest()


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """Scores of one image."""

    id: str
    logits: Logits


def iter_kept(
    folder: Path, pairs: Pairs, classifier: Classifier
) -> Iterator[tuple[ManifestEntry, float, bool]]:
    """Every image with faces, how far its predictions are apart, and whether the best changed.

    Args:
        folder: kept by ``curate impact evaluate --predictions``.
        pairs: the datasets.
        classifier: whose predictions they must be.

    Raises:
        DataError: if they are of another dataset or model, or not of all images.
    """
    _check_state(folder, pairs, classifier)
    entries = pairs.iter_entries()
    predicted = join_by_id(_iter_side(folder, ORIGINAL), _iter_side(folder, OBFUSCATED))
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
            f"{folder} has no predictions of {entry.id!r}; run curate impact evaluate to its end"
        )


def _iter_side(folder: Path, side: str) -> Iterator[_Kept]:
    for batch in iter_batches(folder / side):
        if batch.listed is not None:
            raise DataError(f"{folder / side} has no scores of all classes")
        for name, scores in zip(batch.ids, batch.scores, strict=True):
            yield _Kept(name, scores)


def _check_state(folder: Path, pairs: Pairs, classifier: Classifier) -> None:
    try:
        state = load_json(folder / STATE)
    except OSError as error:
        raise DataError(
            f"{folder / STATE} cannot be read ({error.strerror}); give the folder that curate "
            "impact evaluate --predictions has kept"
        ) from None
    if state.get("manifest_sha256") != pairs.run["records"]["sha256"]:
        raise DataError(f"{folder} holds predictions on another dataset than OBFUSCATED")
    said: Mapping[str, Any] = state.get("model") or {}
    own = classifier.describe()
    for key in ("spec", "weights_sha256", "preprocess"):
        if said.get(key) != own.get(key):
            raise DataError(f"{folder} holds predictions of another model than {classifier.spec!r}")
