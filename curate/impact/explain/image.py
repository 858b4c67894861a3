"""Explain one image after the other, as it was and obfuscated."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from curate.core.entries import ManifestEntry
from curate.core.errors import UsageError
from curate.core.protocols import Classifier
from curate.impact.arrays import Floats
from curate.impact.evaluate.model import find_model_classes
from curate.impact.explain.agreement import correlate, to_cells
from curate.impact.explain.attribution import METHODS
from curate.impact.explain.attribution.method import Method, Subject
from curate.impact.explain.attribution.surrogate import cut
from curate.impact.explain.choice import Predicted, predict
from curate.impact.explain.face_share import Shares, share_inside
from curate.impact.explain.measure import Explained, Measured
from curate.impact.explain.pairs import Pair
from curate.impact.explain.question import Question
from curate.impact.explain.sheet import Sheet, draw_sheet
from curate.impact.explain.view import View, look_through, place_elsewhere

PLACEMENTS = 16
"""How many times equal regions are placed elsewhere in each image."""


class Explainer:
    """Explains one image after the other.

    Methods are opened with the first image, when it is known what the classifier is given.
    """

    def __init__(self, classifier: Classifier, question: Question) -> None:
        self._classifier, self._question = classifier, question
        self._names = _find_names(classifier, question.classes)
        self._view: View | None = None
        self.methods: dict[str, Method] = {}
        self.randomised: dict[str, Method] = {}
        self.unavailable: dict[str, str] = {}

    def explain(self, pair: Pair) -> tuple[Explained, Sheet] | None:
        """What the methods say of both images of a pair; None if the model sees no face of it."""
        (said,) = predict(self._classifier, [pair], self._names)
        view = self._look(pair)
        coverage = (view.map_regions(pair.inside) >= 0.5).astype(np.float64)
        if not coverage.any():
            return None
        if not self.methods:
            self._open(said)
        seed = zlib.crc32(f"{self._question.choice.seed} {pair.entry.id}".encode())
        superpixels = cut(view.show(said.prepared[1]) / 255, coverage)
        after = said.obfuscated if self._question.target == "predicted" else said.original
        targets = (said.original.place, after.place)
        subjects = [
            Subject(prepared, target, superpixels, seed)
            for prepared, target in zip(said.prepared, targets, strict=True)
        ]
        elsewhere = place_elsewhere(coverage, np.random.default_rng(seed), PLACEMENTS)
        maps = {
            name: (method.attribute(subjects[0]), method.attribute(subjects[1]))
            for name, method in self.methods.items()
        }
        measured = {
            name: self._measure(name, both, coverage, elsewhere, subjects[0])
            for name, both in maps.items()
        }
        explained = _tell(pair.entry, said, coverage, measured)
        return explained, self._draw(view, said, coverage, maps, explained)

    def _look(self, pair: Pair) -> View:
        height, width = pair.inside.shape
        if self._view is None or self._view.size != (height, width):
            self._view = look_through(self._classifier.prepare, height, width)
        return self._view

    def _open(self, said: Predicted) -> None:
        example, options = said.prepared[0], self._question.options
        for name in self._question.methods:
            try:
                self.methods[name] = METHODS.resolve(name)(self._classifier, example, options)
            except UsageError as error:
                if name == "gradcam" and options.layer is not None:
                    raise
                self.unavailable[name] = str(error)
        if not self.methods:
            reasons = "; ".join(f"{name}: {why}" for name, why in self.unavailable.items())
            raise UsageError(f"no method works with this model ({reasons})")
        self._open_randomised(said)

    def _open_randomised(self, said: Predicted) -> None:
        inside = [name for name, method in self.methods.items() if method.looks_inside]
        if not inside:
            return
        from curate.impact.explain.attribution.randomised import Randomised

        try:
            shuffled = Randomised(self._classifier, self._question.choice.seed)
        except UsageError:
            return
        for name in inside:
            opener: Callable[..., Method] = METHODS.resolve(name)
            self.randomised[name] = opener(shuffled, said.prepared[0], self._question.options)

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
        if name in self.randomised:
            shuffled = correlate(cells[0], to_cells(self.randomised[name].attribute(subject)))
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
        view: View,
        said: Predicted,
        coverage: Floats,
        maps: Mapping[str, tuple[Floats, Floats]],
        explained: Explained,
    ) -> Sheet:
        if not self._question.sheet:
            return Sheet("", ())
        shown = view.show(said.prepared[0]), view.show(said.prepared[1])
        titles = {name: method.title for name, method in self.methods.items()}
        return draw_sheet(
            shown, coverage, maps, titles, explained, hide=not self._question.show_originals
        )


def _find_names(classifier: Classifier, asked: str | None) -> tuple[str, ...] | None:
    if asked is None and classifier.classes is None:
        return None
    return tuple(find_model_classes(asked, classifier).names)


def _share_elsewhere(attribution: Floats, elsewhere: Sequence[Floats]) -> float:
    if not elsewhere:
        return float("nan")
    return share_inside(attribution, np.mean(np.stack(elsewhere), axis=0))


def _tell(
    entry: ManifestEntry, said: Predicted, coverage: Floats, measured: Mapping[str, Measured]
) -> Explained:
    return Explained(
        entry.id,
        entry.category,
        sum(0 in face.frames for face in entry.faces),
        float(coverage.mean()),
        said.change,
        said.original,
        said.obfuscated,
        measured,
    )
