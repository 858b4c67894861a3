"""The HTML page of a label audit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from curate.balance.labels.measure import LabelDecisions
from curate.balance.labels.rules import SAFETY, Decision
from curate.core.intervals import Interval, Share
from curate.report.numbers import COEFFICIENT, NO_VALUE, PERCENT, RATIO
from curate.report.values import Bar, BarChart, Block, Page, Section, Table

if TYPE_CHECKING:
    from curate.balance.labels.run import Images, LabelAudit

_MAX_ROWS = 300

_WARNING = "This page contains labels that annotators judged offensive."

_NAMES = {
    "safety": "safe, sensitive or offensive (nominal)",
    "unsafe": "safe or not (nominal)",
    "imageability": "imageability (ordinal)",
}


def make_page(result: LabelAudit) -> Page:
    """The contents of the page."""
    audit = result.audit
    sections = [Section("Agreement", tuple(_agreement(audit)))]
    if result.images is not None:
        sections.append(Section("Images", tuple(_images(result.images))))
    sections += [
        Section(title, tuple(_labels(result, labels)))
        for title, labels in (
            ("Removed", _decided(audit, Decision.REMOVE)),
            ("Undecided", _decided(audit, Decision.UNDECIDED)),
            ("Contested", [x for x, verdict in audit.verdicts.items() if verdict.contested]),
            ("Kept", _decided(audit, Decision.KEEP)),
        )
    ]
    digests = ", ".join(fact.sha256[:12] for fact in result.judgements.facts)
    tool = result.tool
    return Page(
        "Label audit",
        (*_warn(audit), *result.statements[1:]),
        tuple(sections),
        f"{tool['name']} {tool['version']}; judgments {digests}",
        verdict=result.statements[0],
    )


def _warn(audit: LabelDecisions) -> Iterator[str]:
    if any(tally.offensive for tally in audit.tallies.values()):
        yield _WARNING


def _decided(audit: LabelDecisions, decision: Decision) -> list[str]:
    return [label for label, verdict in audit.verdicts.items() if verdict.decision is decision]


def _agreement(audit: LabelDecisions) -> Iterator[Block]:
    bars = tuple(
        Bar(_NAMES[name].partition(" (")[0], found.alpha, *(found.interval or (None, None)))
        for name, found in audit.agreement.items()
    )
    yield BarChart("Krippendorff's α (95 %)", bars, (-1.0, 1.0), COEFFICIENT)
    rows = [
        (_NAMES[name], f"{found.labels:,}", f"{found.judgements:,}",
         _alpha(found.alpha, found.interval))
        for name, found in audit.agreement.items()
    ]  # fmt: skip
    head = ("", "labels", "judgments", "α (95 %)")
    yield Table("Agreement on labels with at least two judgments", head, rows)
    yield (
        "α is 1 for full agreement and 0 for agreement by chance; its 95 % interval is a bootstrap "
        "over labels. Intervals of shares are 95 % Wilson intervals."
    )


def _images(images: Images) -> Iterator[Block]:
    total, removed = sum(images.total.values()), sum(images.removed.values())
    splits = [
        (f"split {name}", images.removed[name], count) for name, count in images.total.items()
    ]
    rows = [
        (name, f"{gone:,}", f"{count:,}", PERCENT.value(gone / count))
        for name, gone, count in (("all", removed, total), *(splits if len(splits) > 1 else ()))
    ]
    yield Table("Images affected by removal", ("", "removed", "images", "share"), rows)
    if images.unlabeled:
        yield f"{images.unlabeled:,} images have no label."
    if images.unknown:
        examples = ", ".join(images.unknown_examples)
        yield (
            f"{images.unknown:,} images have a label that is not in the vocabulary, such as "
            f"{examples}; those labels are not decided."
        )


def _labels(result: LabelAudit, labels: Sequence[str]) -> Iterator[Block]:
    if not labels:
        yield "None."
        return
    rows = [_row(result, label) for label in labels[:_MAX_ROWS]]
    yield Table(f"{len(labels):,} labels", _head(result), rows)
    if len(labels) > _MAX_ROWS:
        yield f"{len(labels) - _MAX_ROWS:,} more are in the JSON report."


def _head(result: LabelAudit) -> tuple[str, ...]:
    questions = result.audit.rules.questions
    return (
        "",
        "decision",
        *((*SAFETY, "unsafe (95 %)") if "safety" in questions else ()),
        *(("ratings 1 to 5", "mean", "median") if "imageability" in questions else ()),
        *(("images",) if result.images is not None else ()),
    )


def _row(result: LabelAudit, label: str) -> tuple[str, ...]:
    tally, questions = result.audit.tallies[label], result.audit.rules.questions
    verdict, described = result.audit.verdicts[label], result.vocabulary.labels[label]
    name = described.get("name")
    why = " and ".join(verdict.reasons or verdict.lacking)
    lacks = "no " if verdict.decision is Decision.UNDECIDED and why else ""
    decision = f"{verdict.decision.value}{f': {lacks}{why}' if why else ''}"
    counts: list[str] = []
    if "safety" in questions:
        counts += [*map(str, tally.safety), _percent(Share(tally.unsafe, tally.judged))]
    if "imageability" in questions:
        counts += [" ".join(map(str, tally.imageability)), _middle(tally.mean),
                   _middle(tally.median)]  # fmt: skip
    if result.images is not None:
        counts.append(f"{sum(result.images.of_label[label].values()):,}")
    return (f"{label} – {name}" if name else label, decision, *counts)


def _percent(share: Share) -> str:
    return PERCENT.estimate(share.value, share.interval) if share.total else NO_VALUE


def _middle(value: Fraction | None) -> str:
    return RATIO.value(None if value is None else float(value))


def _alpha(alpha: float | None, interval: Interval | None) -> str:
    return "undefined" if alpha is None else COEFFICIENT.estimate(alpha, interval)
