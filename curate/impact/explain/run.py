"""Say what a classifier's answers rest on, before and after obfuscation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import curate
from curate.core.protocols import Classifier
from curate.impact.explain.choice import Chosen, Watch, choose
from curate.impact.explain.image import Explainer
from curate.impact.explain.measure import Explained, Explanation, explain
from curate.impact.explain.pairs import Pairs
from curate.impact.explain.question import Question
from curate.impact.explain.report import VERSION, to_dict
from curate.impact.explain.sheet import Sheet
from curate.pipeline.session import Step


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
    watch: Watch = lambda _: None,
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
    work = Explainer(classifier, question)
    chosen = choose(pairs, classifier, question.choice, watch)
    found: list[Explained] = []
    outside, sheets = 0, []
    for number, entry in enumerate(chosen.entries):
        watch(Step("explaining", "images", number, len(chosen.entries)))
        image = work.explain(pairs.read(entry))
        if image is None:
            outside += 1
            continue
        found.append(image[0])
        sheets += [image[1]] if question.sheet else []
    watch(Step("explaining", "images", len(chosen.entries), len(chosen.entries)))
    names = [name for name in question.methods if name not in work.unavailable]
    explanation = explain(found, names, question.choice.seed)
    facts = _describe(pairs, classifier, question, chosen, work, outside)
    return Answer(explanation, facts, tuple(sheets), question.show_originals)


def _describe(
    pairs: Pairs,
    classifier: Classifier,
    question: Question,
    chosen: Chosen,
    work: Explainer,
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


def _describe_method(name: str, work: Explainer) -> dict[str, Any]:
    method = work.methods.get(name)
    return {
        "method": name,
        "title": None if method is None else method.title,
        "parameters": {} if method is None else dict(method.parameters),
        "unavailable": work.unavailable.get(name),
    }
