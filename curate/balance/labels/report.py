"""The label audit as JSON (manifests/labels-1.schema.json), statements and text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from curate.balance.labels.measure import RELIABLE, TENTATIVE, Agreement, LabelDecisions
from curate.balance.labels.rules import RATINGS, SAFETY, Decision, LabelRules, Tally, imageable
from curate.core.intervals import Share
from curate.core.records import escape_unprintable
from curate.report.numbers import pick, round_value

if TYPE_CHECKING:
    from curate.balance.labels.judgments import Judgments

VERSION = 1

_MAX_SHOWN = 12


def to_dict(audit: LabelDecisions) -> dict[str, Any]:
    """Rules, decisions and agreement as plain values; labels are in ``label_to_dict``."""
    return {
        "rules": _rules(audit.rules),
        "decisions": {
            **{decision.value: audit.count(decision) for decision in Decision},
            "contested": sum(verdict.contested for verdict in audit.verdicts.values()),
            "reasons": dict(
                sorted(Counter(r for v in audit.verdicts.values() for r in v.reasons).items())
            ),
        },
        "agreement": {name: _agreement(each) for name, each in audit.agreement.items()},
    }


def label_to_dict(audit: LabelDecisions, label: str) -> dict[str, Any]:
    """Judgments and decision of one label as plain values."""
    verdict, tally, rules = audit.verdicts[label], audit.tallies[label], audit.rules
    return {
        "decision": verdict.decision.value,
        "removed": verdict.removed(rules),
        "reasons": list(verdict.reasons),
        "lacking": list(verdict.lacking),
        "contested": verdict.contested,
        "safety": _safety(tally) if "safety" in rules.questions else None,
        "imageability": _imageability(tally, rules) if "imageability" in rules.questions else None,
    }


def _rules(rules: LabelRules) -> dict[str, Any]:
    return {
        "questions": sorted(rules.questions, reverse=True),
        "offensive_share": rules.offensive_share,
        "unsafe_share": rules.unsafe_share,
        "least_imageability": rules.min_imageability,
        "imageability": rules.imageability,
        "least_annotators": rules.min_annotators,
        "undecided": rules.undecided,
    }


def _safety(tally: Tally) -> dict[str, Any]:
    return {
        **dict(zip(SAFETY, tally.safety, strict=True)),
        "offensive_share": _share(Share(tally.offensive, tally.judged)),
        "unsafe_share": _share(Share(tally.unsafe, tally.judged)),
    }


def _imageability(tally: Tally, rules: LabelRules) -> dict[str, Any]:
    share = imageable(tally, rules)
    return {
        "ratings": {
            str(rating): times for rating, times in zip(RATINGS, tally.imageability, strict=True)
        },
        "mean": _number(tally.mean),
        "median": _number(tally.median),
        "imageable_share": _share(share or Share(0, 0)),
    }


def _share(share: Share) -> dict[str, Any] | None:
    """A share with its Wilson interval; None of 0 units."""
    return pick(share, "share=value", "ci95=interval") if share.total else None


def _agreement(found: Agreement) -> dict[str, Any]:
    return {
        **pick(found, "level", "labels", "judgements", "alpha", "ci95=interval"),
        "unknown": found.unknown or None,
    }


def _number(value: Fraction | None) -> float | None:
    return None if value is None else round_value(float(value))


_ABOUT = {
    "safety": "safe, sensitive or offensive",
    "unsafe": "safe or not",
    "imageability": "imageability",
}


def describe(
    audit: LabelDecisions, judgements: Judgments, lost: tuple[int, int] | None
) -> Iterator[str]:
    """Statements about what the decisions show and what they cannot show.

    Args:
        audit: the decisions.
        judgements: the judgments they follow from.
        lost: images that would be removed, and all images; None if not counted.
    """
    yield _decided(audit, judgements)
    yield from _undecided(audit)
    yield _describe_rules(audit.rules)
    yield from _lacking_questions(audit.rules)
    yield from _contested(audit)
    for name, found in audit.agreement.items():
        yield _agreed(name, found)
    yield from _tables(judgements)
    if lost is not None:
        share = 100 * lost[0] / max(lost[1], 1)
        if lost[0]:
            yield f"Removal would take {lost[0]:,} of {lost[1]:,} images ({share:.1f} %)."
        else:
            yield f"Removal would take none of {lost[1]:,} images."
    yield (
        "The decisions reflect these annotators' judgments of words, not of images. To appeal, add "
        "a table with further or revised judgments after the others, and run again."
    )


def _decided(audit: LabelDecisions, judgements: Judgments) -> str:
    keep, remove, undecided = (audit.count(decision) for decision in Decision)
    return (
        f"{len(audit.verdicts):,} labels, judged by {judgements.annotators:,} annotators: "
        f"{keep:,} kept, {remove:,} removed, {undecided:,} undecided."
    )


def _undecided(audit: LabelDecisions) -> Iterator[str]:
    count = audit.count(Decision.UNDECIDED)
    if not count:
        return
    min_annotators = audit.rules.min_annotators
    what = {
        None: "curate balance refuses this report until they are decided or --undecided is given",
        "keep": "They are kept because of --undecided keep, not because they were judged safe",
        "remove": "They are removed because of --undecided remove, not because they were judged "
        "unsafe",
    }[audit.rules.undecided]
    yield (
        f"{count:,} labels have fewer than {min_annotators} judgments of a question and are "
        f"undecided. {what}."
    )


def _describe_rules(rules: LabelRules) -> str:
    parts = []
    if "safety" in rules.questions:
        parts.append(
            f"at least {_percent(rules.offensive_share)} of its annotators rate it offensive, or "
            f"at least {_percent(rules.unsafe_share)} sensitive or offensive"
        )
    if "imageability" in rules.questions:
        parts.append(
            f"the {rules.imageability} of its ratings of imageability is below "
            f"{rules.min_imageability:g}"
        )
    return f"A label is removed if {', or if '.join(parts)}."


def _lacking_questions(rules: LabelRules) -> Iterator[str]:
    if "safety" not in rules.questions:
        yield "There are no judgments of safety; a kept label is not necessarily safe."
    if "imageability" not in rules.questions:
        yield "There are no judgments of imageability; it is not part of the decisions."


def _contested(audit: LabelDecisions) -> Iterator[str]:
    count = sum(verdict.contested for verdict in audit.verdicts.values())
    if count:
        yield f"{count:,} decisions are contested: one more judgment could change them."


def _agreed(name: str, found: Agreement) -> str:
    about = f"Agreement on {_ABOUT[name]}"
    if found.alpha is None:
        return f"{about} is undefined: {found.unknown}."
    low = found.alpha if found.interval is None else found.interval.low
    if low >= RELIABLE:
        verdict = f"at least {RELIABLE:g}, the usual minimum for conclusions"
    elif low >= TENTATIVE:
        verdict = f"above {TENTATIVE:g}, enough for tentative conclusions"
    else:
        verdict = f"the interval is not above {TENTATIVE:g}, the minimum for tentative conclusions"
    ends = ""
    if found.interval is not None:
        ends = f" ({_format(found.interval.low)} to {_format(found.interval.high)})"
    return (
        f"{about}: Krippendorff's α {_format(found.alpha)}{ends}, {found.level}, of "
        f"{found.labels:,} labels; {verdict}."
    )


def _tables(judgements: Judgments) -> Iterator[str]:
    replaced = sum(fact.replaced for fact in judgements.facts)
    changed = sum(fact.changed for fact in judgements.facts)
    if replaced:
        yield (
            f"{replaced:,} judgments replaced earlier ones of the same annotator on the same "
            f"label; {changed:,} of them differ."
        )
    for number, fact in enumerate(judgements.facts, start=1):
        if fact.unknown_labels:
            examples = ", ".join(map(repr, fact.unknown_examples))
            yield (
                f"{fact.unknown_labels:,} labels in table {number} are not in the vocabulary, "
                f"such as {examples}; their judgments are ignored."
            )


def _format(value: float) -> str:
    # Adding 0 turns what rounds to -0 into 0.
    return f"{round(value, 3) + 0.0:.3f}".replace("-", "−")


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def format_labels(report: Mapping[str, Any]) -> str:
    """The summary for the terminal.

    Args:
        report: what `LabelAudit.to_dict` returns.
    """
    lines = []
    for decision in ("remove", "undecided"):
        labels = [
            (label, entry)
            for label, entry in report["labels"].items()
            if entry["decision"] == decision
        ]
        if labels:
            lines.append(f"{decision}:")
            lines += [_format_label(*each) for each in labels[:_MAX_SHOWN]]
        if len(labels) > _MAX_SHOWN:
            lines.append(f"  … and {len(labels) - _MAX_SHOWN:,} more")
    return "\n".join(escape_unprintable(line) for line in (*lines, *report["statements"]))


def _format_label(label: str, entry: Mapping[str, Any]) -> str:
    why = " and ".join(entry["reasons"])
    why = why or f"too few judgments of {' and '.join(entry['lacking'])}"
    counts = ""
    if entry["safety"]:
        counts = ", ".join(f"{entry['safety'][answer]} {answer}" for answer in SAFETY)
    images = "" if entry["images"] is None else f", {sum(entry['images'].values()):,} images"
    contested = ", contested" if entry["contested"] else ""
    return f"  {label[:40]:<41}{why}{contested} ({counts or 'rated'}{images})"
