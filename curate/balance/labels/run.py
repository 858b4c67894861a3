"""Audit a label vocabulary: load judgments, decide, count images; load the decisions again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.balance.labels.judgments import Judgments, load_judgments
from curate.balance.labels.measure import LabelDecisions, audit_tallies, list_questions
from curate.balance.labels.page import make_page
from curate.balance.labels.report import VERSION, describe, format_labels, label_to_dict, to_dict
from curate.balance.labels.rules import SAFETY, Decision, LabelRules
from curate.balance.labels.vocabulary import Vocabulary, load_vocabulary
from curate.balance.records import iter_categories
from curate.core.arguments import checked
from curate.core.errors import DataError, UsageError
from curate.core.protocols import Source
from curate.core.records import as_names
from curate.layouts import open_source
from curate.report.document import Report, describe_tool, load_report
from curate.report.values import Page

if TYPE_CHECKING:
    import pandas as pd

NO_SPLIT = "(none)"
"""Name of the split of images without a split."""


@dataclass(frozen=True, slots=True)
class Images:
    """Images of a dataset by the decision for their labels.

    Args:
        total: images by split.
        removed: images with a removed label, by split.
        unlabeled: images without a label.
        unknown: images with a label that is not in the vocabulary.
        unknown_examples: some of these labels.
        of_label: images by label and split; an image with two labels counts for both.
    """

    total: Mapping[str, int]
    removed: Mapping[str, int]
    unlabeled: int
    unknown: int
    unknown_examples: tuple[str, ...]
    of_label: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True, repr=False)
class LabelAudit(Report):
    """The audit of a label vocabulary; made by `curate.audit_labels`.

    Args:
        audit: decisions and agreement.
        vocabulary: the labels.
        judgements: the judgments that the decisions follow from.
        images: images per label, or None if no dataset was given.
        seed: random seed of the bootstrap.
    """

    audit: LabelDecisions
    vocabulary: Vocabulary
    judgements: Judgments
    images: Images | None
    seed: int

    def __repr__(self) -> str:
        keep, remove, undecided = (self.audit.count(decision) for decision in Decision)
        return f"LabelAudit({keep:,} kept, {remove:,} removed, {undecided:,} undecided)"

    @property
    def tool(self) -> Mapping[str, str]:
        """Name and version of this software."""
        return describe_tool()

    @property
    def statements(self) -> tuple[str, ...]:
        """What the decisions show and what they cannot show."""
        lost = None
        if self.images is not None:
            lost = sum(self.images.removed.values()), sum(self.images.total.values())
        return tuple(describe(self.audit, self.judgements, lost))

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values for JSON; annotators are counted, never named."""
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

    def to_page(self) -> Page:
        """The contents of the HTML page."""
        return make_page(self)

    def to_text(self) -> str:
        """Labels to remove and undecided ones, then the statements."""
        return format_labels(self.to_dict())

    def to_frame(self) -> pd.DataFrame:
        """Decisions and judgments, one row per label."""
        import pandas as pd

        rows = {}
        for label, verdict in self.audit.verdicts.items():
            tally = self.audit.tallies[label]
            rows[label] = {
                "decision": verdict.decision.value,
                "reasons": " and ".join(verdict.reasons),
                "contested": verdict.contested,
                **dict(zip(SAFETY, tally.safety, strict=True)),
                "imageability": None if tally.mean is None else float(tally.mean),
                "images": (
                    None if self.images is None else sum(self.images.of_label[label].values())
                ),
            }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("label")

    def _label(self, label: str) -> dict[str, Any]:
        described = self.vocabulary.labels[label]
        return {
            "name": described.get("name"),
            "gloss": described.get("gloss"),
            **label_to_dict(self.audit, label),
            "judgements": list(self.judgements.tables[label]),
            "images": None if self.images is None else dict(self.images.of_label[label]),
        }


@checked
def audit_labels(
    vocabulary: str | Path,
    judgments: str | Path | Sequence[str | Path],
    source: str | Path | None = None,
    rules: LabelRules | None = None,
    layout: str = "auto",
    seed: int = 0,
) -> LabelAudit:
    """Decide which labels of a vocabulary to keep, and count the images of each.

    Nothing is removed; `curate.rebalance` with the strategy ``labels`` applies the report.

    >>> import curate
    >>> result = curate.audit_labels("labels.txt", ["round1.csv"])  # doctest: +SKIP
    >>> result.to_frame()                                           # doctest: +SKIP

    Args:
        vocabulary: a list or table of labels, or a dataset.
        judgments: one table of judgments, or several; a later one replaces earlier judgments
            of the same annotator on the same label.
        source: a dataset whose images are counted, or None.
        rules: when a label is removed; its questions are taken from the tables.
        layout: layout of the datasets, or ``auto``.
        seed: random seed of the bootstrap.

    Raises:
        UsageError: if the arguments contradict each other.
        DataError: if an input cannot be used.
        SetupError: if an optional package is missing.
    """
    if seed < 0:
        raise UsageError("--seed must be at least 0")
    words = load_vocabulary(str(vocabulary), layout)
    tables = load_judgments([Path(path) for path in as_names(judgments)], tuple(words.labels))
    rules = replace(rules or LabelRules(), questions=list_questions(tables.tallies))
    audit = audit_tallies(tables.tallies, rules, seed)
    images = None
    if source is not None:
        images = count_images(open_source(str(source), layout), audit)
    return LabelAudit(audit, words, tables, images, seed)


def count_images(source: Source, audit: LabelDecisions) -> Images:
    """Count the images of each label, and those with at least one removed label."""
    total: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    of_label: dict[str, Counter[str]] = {label: Counter() for label in audit.verdicts}
    unlabeled = unknown = 0
    examples: dict[str, None] = {}
    for image in iter_categories(source):
        split = image.split or NO_SPLIT
        known = [label for label in image.categories if label in of_label]
        total[split] += 1
        removed[split] += any(audit.removed(label) for label in known)
        unlabeled += not image.categories
        if len(known) < len(image.categories):
            unknown += 1
            _add_example(examples, image.categories, of_label)
        for label in known:
            of_label[label][split] += 1
    return Images(
        total=dict(sorted(total.items())),
        removed={split: removed[split] for split in sorted(total)},
        unlabeled=unlabeled,
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
        "unlabeled": images.unlabeled,
        "unknown": images.unknown,
        "unknown_examples": list(images.unknown_examples),
    }


UNDECIDED = "undecided"
"""Reason of an undecided label that is removed."""


def load_label_decisions(path: Path) -> Mapping[str, str]:
    """Load the removed labels of a report, with reasons.

    Reasons are ``offensive``, ``sensitive``, ``not imageable``, one of the first two ``and
    not imageable``, or ``undecided``. Other labels are kept or unknown.

    Args:
        path: JSON report of ``curate audit labels``.

    Raises:
        DataError: if it cannot be read, is not a label audit, or has undecided labels
            and no ``--undecided``.
        SchemaVersionError: if it was written by a newer release.
    """
    report = _load(path)
    try:
        decided = dict(_iter_decided(report["labels"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError(
            f"{path} is not a label audit; give a JSON report of curate audit labels"
        ) from (None)
    open_labels = sorted(label for label, removed in decided.items() if removed is None)
    if open_labels:
        raise DataError(
            f"{path} has {len(open_labels):,} undecided labels, such as {open_labels[0]!r}; add "
            "judgments or --undecided keep|remove, and run curate audit labels again"
        )
    return {label: removed for label, removed in decided.items() if removed}


def _load(path: Path) -> Mapping[str, Any]:
    report = load_report(path, "label audit", "curate audit labels", VERSION)
    if report.get("version") != VERSION or "decisions" not in report:
        raise DataError(f"{path} is not a label audit; give a JSON report of curate audit labels")
    return report


def _iter_decided(labels: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str | None]]:
    """Each label with the reason of its removal: empty if kept, None if undecided."""
    for label, row in labels.items():
        decision = Decision(row["decision"])
        removed, reasons = row["removed"], row["reasons"]
        if removed not in (True, False, None) or not all(isinstance(r, str) for r in reasons):
            raise ValueError(label)
        if decision is not Decision.UNDECIDED and removed is not (decision is Decision.REMOVE):
            raise ValueError(label)
        if removed is None:
            yield label, None
        else:
            yield label, (" and ".join(reasons) or UNDECIDED) if removed else ""
