"""What a classifier said of all images, as ``curate impact evaluate`` has kept it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.core.entries import ManifestEntry
from curate.core.errors import DataError
from curate.core.ports import Classifier
from curate.formats.predictions import iter_batches
from curate.impact.controls import OBFUSCATED, ORIGINAL
from curate.impact.explanation import measure_change
from curate.manifest.joining import join_by_id
from curate.manifest.store import load_json
from curate.pipeline.explaining.pairs import Pairs
from curate.pipeline.impact.prediction_store import STATE, Logits


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
