"""Decide which labels of a dataset are kept, from what annotators said of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import curate
from curate.balance.categories import iter_categories
from curate.balance.labels.measure import LabelAudit, asked, audit_tallies
from curate.balance.labels.report import VERSION, label_to_dict, to_dict
from curate.balance.labels.rules import LabelRules
from curate.balance.labels.statements import describe
from curate.balance.labels.tables import Judgements, load_judgements
from curate.balance.labels.vocabulary import Vocabulary, load_vocabulary
from curate.core.protocols import Source
from curate.layouts import open_source

NO_SPLIT = "(none)"
"""The name of the split of images that have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelQuestion:
    """What to judge labels by.

    Args:
        judgements: tables of judgements; a later one replaces what the same annotator said
            of the same label in an earlier one.
        rules: when a label is removed; which questions were asked is seen from the tables.
        source: a dataset of which to count the images that would go, or None.
        layout: that dataset's layout, and that of a vocabulary that is one, or ``auto``.
        seed: of the bootstrap.
    """

    judgements: tuple[Path, ...]
    rules: LabelRules = field(default_factory=LabelRules)
    source: str | None = None
    layout: str = "auto"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Images:
    """The images of a dataset, by what becomes of their labels.

    Args:
        total: by split, all of them.
        removed: by split, those of which a label is removed.
        unlabelled: how many have no label.
        unknown: how many have a label that the vocabulary does not have, and …
        unknown_examples: … some of these labels.
        of_label: by label, its images by split; an image of two labels counts for both.
    """

    total: Mapping[str, int]
    removed: Mapping[str, int]
    unlabelled: int
    unknown: int
    unknown_examples: tuple[str, ...]
    of_label: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class LabelAnswer:
    """An audit of labels and how it came about.

    Args:
        audit: the decisions.
        vocabulary: the labels.
        judgements: what they were decided from.
        images: what a removal would take, or None where no dataset was given.
        seed: of the bootstrap.
    """

    audit: LabelAudit
    vocabulary: Vocabulary
    judgements: Judgements
    images: Images | None
    seed: int

    @property
    def tool(self) -> Mapping[str, str]:
        """What made it."""
        return {"name": "curate-dataset", "version": curate.__version__}

    @property
    def statements(self) -> tuple[str, ...]:
        """What the decisions can show and what they cannot, for people."""
        lost = None
        if self.images is not None:
            lost = sum(self.images.removed.values()), sum(self.images.total.values())
        return tuple(describe(self.audit, self.judgements, lost))

    def to_dict(self) -> dict[str, Any]:
        """The report, for JSON; annotators are counted, never named."""
        return {
            "version": VERSION,
            "tool": dict(self.tool),
            "input": {
                "vocabulary": {
                    "form": self.vocabulary.form,
                    "sha256": self.vocabulary.sha256,
                    "labels": len(self.vocabulary.labels),
                },
                "judgements": [fact.to_dict() for fact in self.judgements.facts],
                "annotators": self.judgements.annotators,
                "seed": self.seed,
            },
            **to_dict(self.audit),
            "images": None if self.images is None else _images(self.images),
            "labels": {label: self._label(label) for label in self.vocabulary.labels},
            "statements": list(self.statements),
        }

    def _label(self, label: str) -> dict[str, Any]:
        said = self.vocabulary.labels[label]
        return {
            "name": said.get("name"),
            "gloss": said.get("gloss"),
            **label_to_dict(self.audit, label),
            "judgements": list(self.judgements.tables[label]),
            "images": None if self.images is None else dict(self.images.of_label[label]),
        }


def audit_labels(vocabulary: str, question: LabelQuestion) -> LabelAnswer:
    """Decide every label of a vocabulary, and count the images that its removal would take.

    Nothing is removed: that is for ``curate balance``, which reads the report.

    Args:
        vocabulary: a list or table of labels, or a dataset.
        question: what to judge them by.

    Raises:
        UsageError: if the request contradicts itself.
        DataError: if what is given cannot be used.
        SetupError: if the environment lacks something.
    """
    words = load_vocabulary(vocabulary, question.layout)
    judgements = load_judgements(question.judgements, tuple(words.labels))
    rules = replace(question.rules, questions=asked(judgements.tallies))
    audit = audit_tallies(judgements.tallies, rules, question.seed)
    images = None
    if question.source is not None:
        images = count_images(open_source(question.source, question.layout), audit)
    return LabelAnswer(audit, words, judgements, images, question.seed)


def count_images(source: Source, audit: LabelAudit) -> Images:
    """Count the images of each label, and those that would go: an image goes with any label."""
    total: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    of_label: dict[str, Counter[str]] = {label: Counter() for label in audit.verdicts}
    unlabelled = unknown = 0
    examples: dict[str, None] = {}
    for image in iter_categories(source):
        split = image.split or NO_SPLIT
        known = [label for label in image.categories if label in of_label]
        total[split] += 1
        removed[split] += any(audit.removed(label) for label in known)
        unlabelled += not image.categories
        if len(known) < len(image.categories):
            unknown += 1
            _add_example(examples, image.categories, of_label)
        for label in known:
            of_label[label][split] += 1
    return Images(
        total=dict(sorted(total.items())),
        removed={split: removed[split] for split in sorted(total)},
        unlabelled=unlabelled,
        unknown=unknown,
        unknown_examples=tuple(examples),
        of_label={label: dict(sorted(counts.items())) for label, counts in of_label.items()},
    )


def _add_example(
    examples: dict[str, None], categories: Sequence[str], known: Mapping[str, Any]
) -> None:
    for label in categories:
        if label not in known and len(examples) < 5:
            examples[label] = None


def _images(images: Images) -> dict[str, Any]:
    return {
        "total": sum(images.total.values()),
        "removed": sum(images.removed.values()),
        "splits": {
            split: {"total": count, "removed": images.removed[split]}
            for split, count in images.total.items()
        },
        "unlabelled": images.unlabelled,
        "unknown": images.unknown,
        "unknown_examples": list(images.unknown_examples),
    }
