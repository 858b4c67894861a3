"""Explain predictions on original and obfuscated images by attribution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curate.core.arguments import checked
from curate.core.protocols import Classifier
from curate.detectors import resolve_device
from curate.impact.explain.explainer import Explainer
from curate.impact.explain.images import ImagePairs, open_images
from curate.impact.explain.measure import Explained, explain
from curate.impact.explain.options import ExplainOptions
from curate.impact.explain.report import ExplainReport
from curate.impact.explain.selection import Selected, Watch, select_images
from curate.impact.explain.sheet import Sheet
from curate.impact.formatting import describe_run
from curate.impact.models import IMAGENET, open_model
from curate.impact.pairs import open_datasets
from curate.pipeline.progress import show_steps
from curate.pipeline.session import Step
from curate.report.document import describe_tool


@checked
def explain_impact(
    original: str | Path,
    obfuscated: str | Path,
    model: str | Classifier = IMAGENET,
    options: ExplainOptions | None = None,
    watch: Watch | None = None,
    *,
    quiet: bool = False,
) -> ExplainReport:
    """Measure how much of a classifier's attribution lies on faces, before and after.

    >>> report = curate.explain_impact("photos", "out")    # doctest: +SKIP

    Args:
        original: the original dataset, a path or URI.
        obfuscated: the OUT of `curate.blur`, whose manifest lists the faces.
        model: specification of a classifier, opened on the best device, or a classifier.
        options: methods, selection of images, contact sheet.
        watch: called with the progress, which is then not shown.
        quiet: show no progress.

    Raises:
        UsageError: if the options are invalid, or no method works with the classifier.
        DataError: if a dataset cannot be used, or differs from the manifest.
        MissingExtraError: if the packages of a method are not installed.
    """
    with show_steps(quiet or watch is not None) as show:
        options = options or ExplainOptions()
        return _explain(original, obfuscated, model, options, watch or show)


def _explain(
    original: str | Path,
    obfuscated: str | Path,
    model: str | Classifier,
    options: ExplainOptions,
    watch: Watch,
) -> ExplainReport:
    classifier = open_model(model, resolve_device("auto")) if isinstance(model, str) else model
    images = open_images(open_datasets(str(original), Path(obfuscated), options.layout))
    explainer = Explainer(classifier, options)
    selected = select_images(images, classifier, options.selection, watch)
    found: list[Explained] = []
    sheets: list[Sheet] = []
    outside = 0
    for number, entry in enumerate(selected.entries):
        watch(Step("explaining", "images", number, len(selected.entries)))
        image = explainer.explain(images.load(entry))
        if image is None:
            outside += 1
            continue
        found.append(image[0])
        sheets += [image[1]] if options.sheet else []
    watch(Step("explaining", "images", len(selected.entries), len(selected.entries)))
    names = [name for name in options.methods if name not in explainer.unavailable]
    return ExplainReport(
        explanation=explain(found, names, options.selection.seed),
        facts=_describe(images, classifier, options, (selected, outside), explainer),
        sheets=tuple(sheets),
        shows_originals=options.show_originals,
    )


def _describe(
    images: ImagePairs,
    classifier: Classifier,
    options: ExplainOptions,
    chosen: tuple[Selected, int],
    explainer: Explainer,
) -> dict[str, Any]:
    """What was explained; nothing about the host, the time or paths."""
    selection, counts = options.selection, images.counts
    selected, outside = chosen
    return {
        "tool": describe_tool(),
        "model": dict(classifier.describe()),
        "manifest": describe_run(images.datasets.run),
        "choice": {
            "way": selection.way,
            "max_images": selection.max_images if selection.way == "changed" else selection.sample,
            "target": options.target,
            "seed": selection.seed,
        },
        "counts": {
            "withheld": counts.withheld,
            "without_faces": counts.without_faces,
            "with_faces": counts.with_faces,
            "compared": selected.compared,
            "changed": selected.changed,
            "explained": len(selected.entries) - outside,
            "face_outside_input": outside,
            "listed_left_out": selected.left_out,
        },
        "methods": [_describe_method(name, explainer) for name in options.methods],
    }


def _describe_method(name: str, explainer: Explainer) -> dict[str, Any]:
    method = explainer.methods.get(name)
    return {
        "method": name,
        "title": None if method is None else method.title,
        "parameters": {} if method is None else dict(method.parameters),
        "unavailable": explainer.unavailable.get(name),
    }
