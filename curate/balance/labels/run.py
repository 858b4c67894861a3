"""Decide which labels of a dataset are kept, from what annotators said of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import curate
from curate.balance.labels.judgments import Judgements, load_judgements
from curate.balance.labels.measure import LabelAudit, asked, audit_tallies
from curate.balance.labels.report import VERSION, describe, label_to_dict, to_dict
from curate.balance.labels.rules import Decision, LabelRules
from curate.balance.labels.vocabulary import Vocabulary, load_vocabulary
from curate.balance.records import iter_categories
from curate.core.errors import DataError, SchemaVersionError
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


UNDECIDED = "undecided"
"""The reason of a label that goes because nobody has decided it."""


def load_label_decisions(path: Path) -> Mapping[str, str]:
    """Read which labels go, each with the reason.

    Reasons are ``offensive``, ``sensitive``, ``not imageable``, one of the first two ``and
    not imageable``, or ``undecided``. Labels that are left out are kept, or unknown to the
    audit.

    Args:
        path: what ``curate audit labels -o`` wrote.

    Raises:
        DataError: if it cannot be read, is no audit of labels, or leaves labels undecided
            of which nobody has said what becomes of them.
        SchemaVersionError: if it was written by a newer release.
    """
    report = _load(path)
    try:
        decided = dict(_iter_decided(report["labels"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError(f"{path} is no audit of labels; give what curate audit labels wrote") from (
            None
        )
    open_labels = sorted(label for label, removed in decided.items() if removed is None)
    if open_labels:
        raise DataError(
            f"{path} leaves {len(open_labels):,} labels undecided, such as {open_labels[0]!r}; add "
            "judgements, or say --undecided keep or remove, and run curate audit labels again"
        )
    return {label: removed for label, removed in decided.items() if removed}


def _load(path: Path) -> Mapping[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"the audit of labels {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path} is no JSON; give what curate audit labels wrote") from None
    version = report.get("version") if isinstance(report, dict) else None
    if type(version) is int and version > VERSION:
        raise SchemaVersionError(
            f"{path} has version {version}, this release reads up to {VERSION}; upgrade "
            "curate-dataset"
        )
    if version != VERSION or not isinstance(report, dict) or "decisions" not in report:
        raise DataError(f"{path} is no audit of labels; give what curate audit labels wrote")
    return report


def _iter_decided(labels: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str | None]]:
    """Each label with the reason of its removal: empty if it is kept, None if that is open."""
    for label, said in labels.items():
        decision = Decision(said["decision"])
        removed, reasons = said["removed"], said["reasons"]
        if removed not in (True, False, None) or not all(isinstance(r, str) for r in reasons):
            raise ValueError(label)
        if decision is not Decision.UNDECIDED and removed is not (decision is Decision.REMOVE):
            raise ValueError(label)
        if removed is None:
            yield label, None
        else:
            yield label, (" and ".join(reasons) or UNDECIDED) if removed else ""
