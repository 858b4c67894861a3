"""Say what a classifier's answers rest on, before and after obfuscation."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import curate
from curate.core.entries import ManifestEntry
from curate.core.errors import UsageError
from curate.core.ports import Classifier
from curate.impact.agreement import correlate, to_cells
from curate.impact.arrays import Floats
from curate.impact.attribution import METHODS
from curate.impact.attribution.method import Method, Options, Subject
from curate.impact.attribution.superpixels import cut
from curate.impact.explanation import Explained, Explanation, Measured, explain
from curate.impact.explanation_report import VERSION, to_dict
from curate.impact.face_share import Shares, share_inside
from curate.impact.placing import place_elsewhere
from curate.impact.view import View, look_through
from curate.pipeline.explain_choice import Choice, Chosen, Predicted, Watch, choose, predict
from curate.pipeline.explain_pairs import Pair, Pairs
from curate.pipeline.explain_sheet import Sheet, draw_sheet

PLACEMENTS = 16
"""How many times equal regions are placed elsewhere in each image."""

TARGETS = ("predicted", "original")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is explained, and how.

    Args:
        methods: names in `curate.impact.attribution.METHODS`, each once.
        options: how they work.
        choice: which images.
        target: whose class is explained: ``predicted``, each image's own; or ``original``,
            the original's for both.
        layout: the originals' layout, or ``auto``.
        sheet: whether pictures are drawn.
        show_originals: whether these show the originals as they are.

    Raises:
        UsageError: if an option makes no sense.
    """

    methods: tuple[str, ...] = tuple(METHODS)
    options: Options = field(default_factory=Options)
    choice: Choice = field(default_factory=Choice)
    target: str = "predicted"
    layout: str = "auto"
    sheet: bool = False
    show_originals: bool = False

    def __post_init__(self) -> None:
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise UsageError(f"name methods, each once, from: {', '.join(METHODS)}")
        for name in self.methods:
            METHODS.check(name)
        if self.target not in TARGETS:
            raise UsageError(f"unknown target {self.target!r}; choose one of: {', '.join(TARGETS)}")
        if min(self.options.lime_samples, self.options.shap_samples) < 10:
            raise UsageError("--lime-samples and --shap-samples must be 10 or more")


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found.

    Args:
        explanation: the figures.
        facts: what was explained and how, for the report.
        sheets: pictures of each image, in the order of the images; empty unless asked for.
        shows_originals: whether they show the originals as they are.
    """

    explanation: Explanation
    facts: Mapping[str, Any]
    sheets: tuple[Sheet, ...]
    shows_originals: bool

    def to_dict(self) -> dict[str, Any]:
        """The report, for JSON."""
        return {"version": VERSION, **self.facts, **to_dict(self.explanation)}


def explain_predictions(
    original: str,
    obfuscated: Path,
    classifier: Classifier,
    question: Question,
    watch: Watch = lambda *_: None,
) -> Answer:
    """Explain what a classifier says of images, as they were and obfuscated.

    Args:
        original: the dataset before.
        obfuscated: the OUT of ``curate blur``, whose manifest says where faces are.
        classifier: whose answers.
        question: which images, and how.
        watch: told how far it is.

    Raises:
        UsageError: if the request contradicts itself, or no method works with the classifier.
        DataError: if a dataset cannot be used, or is not the one of the manifest.
        MissingExtraError: if the packages of a method are not installed.
    """
    pairs = Pairs(original, obfuscated, question.layout)
    chosen = choose(pairs, classifier, question.choice, watch)
    work = _Work(classifier, question)
    found: list[Explained] = []
    outside, sheets = 0, []
    for number, entry in enumerate(chosen.entries):
        watch("explained", number, len(chosen.entries))
        image = work.explain(pairs.read(entry))
        if image is None:
            outside += 1
            continue
        found.append(image[0])
        sheets += [image[1]] if question.sheet else []
    watch("explained", len(chosen.entries), len(chosen.entries))
    names = [name for name in question.methods if name not in work.unavailable]
    explanation = explain(found, names, question.choice.seed)
    facts = _describe(pairs, classifier, question, chosen, work, outside)
    return Answer(explanation, facts, tuple(sheets), question.show_originals)


class _Work:
    """Explains one image after the other.

    Methods are opened with the first image, when it is known what the classifier is given.
    """

    def __init__(self, classifier: Classifier, question: Question) -> None:
        self._classifier, self._question = classifier, question
        self._view: View | None = None
        self.methods: dict[str, Method] = {}
        self.randomised: dict[str, Method] = {}
        self.unavailable: dict[str, str] = {}

    def explain(self, pair: Pair) -> tuple[Explained, Sheet] | None:
        """What the methods say of both images of a pair; None if the model sees no face of it."""
        (said,) = predict(self._classifier, [pair])
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
        from curate.impact.attribution.randomised import Randomised

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


def _describe(
    pairs: Pairs,
    classifier: Classifier,
    question: Question,
    chosen: Chosen,
    work: _Work,
    outside: int,
) -> dict[str, Any]:
    """What was explained; nothing about the host, the time or paths."""
    run, choice, tally = pairs.run, question.choice, pairs.tally
    return {
        "tool": {"name": "curate-dataset", "version": curate.__version__},
        "model": dict(classifier.describe()),
        "manifest": {
            "records_sha256": run["records"]["sha256"],
            "recipe_sha256": run["recipe_sha256"],
            "obfuscator": run["obfuscator"]["name"],
        },
        "choice": {
            "way": choice.way,
            "most": choice.most if choice.way == "changed" else choice.sample,
            "target": question.target,
            "seed": choice.seed,
        },
        "counts": {
            "withheld": tally.withheld,
            "without_faces": tally.without_faces,
            "with_faces": tally.with_faces,
            "compared": chosen.compared,
            "changed": chosen.changed,
            "explained": len(chosen.entries) - outside,
            "face_outside_input": outside,
            "listed_left_out": chosen.left_out,
        },
        "methods": [_describe_method(name, work) for name in question.methods],
    }


def _describe_method(name: str, work: _Work) -> dict[str, Any]:
    method = work.methods.get(name)
    return {
        "method": name,
        "title": None if method is None else method.title,
        "parameters": {} if method is None else dict(method.parameters),
        "unavailable": work.unavailable.get(name),
    }
