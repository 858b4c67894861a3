"""Attribution of single images, original and obfuscated."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from curate.core.entries import ManifestEntry
from curate.core.errors import UsageError
from curate.core.protocols import Classifier
from curate.impact.class_names import find_model_classes
from curate.impact.experiment import Floats
from curate.impact.explain.attribution import METHODS, Method, Subject
from curate.impact.explain.attribution.superpixels import segment
from curate.impact.explain.images import ImagePair
from curate.impact.explain.input_regions import InputMap, map_input
from curate.impact.explain.measure import (
    Explained,
    Measured,
    Shares,
    correlate,
    share_inside,
    to_cells,
)
from curate.impact.explain.options import ExplainOptions
from curate.impact.explain.selection import PredictedPair, predict_pairs
from curate.impact.explain.sheet import Sheet, draw_sheet
from curate.impact.placement import place_shapes

PLACEMENTS = 16
"""Number of random placements of equal regions in each image."""


class Explainer:
    """Explains images one by one.

    Methods are opened with the first image, when the shape of the model's input is known.
    """

    def __init__(self, classifier: Classifier, options: ExplainOptions) -> None:
        self._classifier, self._options = classifier, options
        self._names = _find_names(classifier, options.classes)
        self._map: InputMap | None = None
        self.methods: dict[str, Method] = {}
        self.randomized: dict[str, Method] = {}
        self.unavailable: dict[str, str] = {}

    def explain(self, pair: ImagePair) -> tuple[Explained, Sheet] | None:
        """Explain both images of a pair; None if no face is inside the model's input."""
        (predicted,) = predict_pairs(self._classifier, [pair], self._names)
        input_map = self._map_input(pair)
        coverage = (input_map.map_regions(pair.inside) >= 0.5).astype(np.float64)
        if not coverage.any():
            return None
        if not self.methods:
            self._open(predicted)
        seed = zlib.crc32(f"{self._options.selection.seed} {pair.entry.id}".encode())
        superpixels = segment(input_map.show(predicted.prepared[1]) / 255, coverage)
        after = predicted.obfuscated if self._options.target == "predicted" else predicted.original
        targets = (predicted.original.index, after.index)
        subjects = [
            Subject(prepared, target, superpixels, seed)
            for prepared, target in zip(predicted.prepared, targets, strict=True)
        ]
        elsewhere = place_shapes(coverage, np.random.default_rng(seed), PLACEMENTS)
        maps = {
            name: (method.attribute(subjects[0]), method.attribute(subjects[1]))
            for name, method in self.methods.items()
        }
        measured = {
            name: self._measure(name, both, coverage, elsewhere, subjects[0])
            for name, both in maps.items()
        }
        explained = _make_explained(pair.entry, predicted, coverage, measured)
        return explained, self._draw(input_map, predicted, coverage, maps, explained)

    def _map_input(self, pair: ImagePair) -> InputMap:
        height, width = pair.inside.shape
        if self._map is None or self._map.size != (height, width):
            self._map = map_input(self._classifier.prepare, height, width)
        return self._map

    def _open(self, predicted: PredictedPair) -> None:
        example, options = predicted.prepared[0], self._options.method_options
        for name in self._options.methods:
            try:
                self.methods[name] = METHODS.resolve(name)(self._classifier, example, options)
            except UsageError as error:
                if name == "gradcam" and options.layer is not None:
                    raise
                self.unavailable[name] = str(error)
        if not self.methods:
            reasons = "; ".join(f"{name}: {why}" for name, why in self.unavailable.items())
            raise UsageError(f"no method works with this model ({reasons})")
        self._open_randomized(predicted)

    def _open_randomized(self, predicted: PredictedPair) -> None:
        gradient = [name for name, method in self.methods.items() if method.is_gradient]
        if not gradient:
            return
        from curate.impact.explain.attribution.network import RandomizedClassifier

        try:
            shuffled = RandomizedClassifier(self._classifier, self._options.selection.seed)
        except UsageError:
            return
        for name in gradient:
            opener: Callable[..., Method] = METHODS.resolve(name)
            self.randomized[name] = opener(
                shuffled, predicted.prepared[0], self._options.method_options
            )

    def _measure(
        self,
        name: str,
        maps: tuple[Floats, Floats],
        coverage: Floats,
        elsewhere: Sequence[Floats],
        subject: Subject,
    ) -> Measured:
        before, after = maps
        cells = to_cells(before), to_cells(after)
        shuffled = None
        if name in self.randomized:
            shuffled = correlate(cells[0], to_cells(self.randomized[name].attribute(subject)))
        shares = Shares(
            float(coverage.mean()),
            share_inside(before, coverage),
            share_inside(after, coverage),
            _share_elsewhere(before, elsewhere),
            _share_elsewhere(after, elsewhere),
        )
        return Measured(shares, cells, shuffled)

    def _draw(
        self,
        input_map: InputMap,
        predicted: PredictedPair,
        coverage: Floats,
        maps: Mapping[str, tuple[Floats, Floats]],
        explained: Explained,
    ) -> Sheet:
        if not self._options.sheet:
            return Sheet("", ())
        shown = input_map.show(predicted.prepared[0]), input_map.show(predicted.prepared[1])
        titles = {name: method.title for name, method in self.methods.items()}
        return draw_sheet(
            shown, coverage, maps, titles, explained, hide=not self._options.show_originals
        )


def _find_names(classifier: Classifier, requested: str | None) -> tuple[str, ...] | None:
    if requested is None and classifier.classes is None:
        return None
    return tuple(find_model_classes(requested, classifier).names)


def _share_elsewhere(attribution: Floats, elsewhere: Sequence[Floats]) -> float:
    if not elsewhere:
        return float("nan")
    return share_inside(attribution, np.mean(np.stack(elsewhere), axis=0))


def _make_explained(
    entry: ManifestEntry,
    predicted: PredictedPair,
    coverage: Floats,
    measured: Mapping[str, Measured],
) -> Explained:
    return Explained(
        entry.id,
        entry.category,
        sum(0 in face.frames for face in entry.faces),
        float(coverage.mean()),
        predicted.change,
        predicted.original,
        predicted.obfuscated,
        measured,
    )
