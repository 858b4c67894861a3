"""An audit of labels as plain values, for JSON; its schema is manifests/labels-1.schema.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from curate.balance.labels.judgments import Judgements
from curate.balance.labels.measure import RELIABLE, TENTATIVE, Agreement, LabelAudit
from curate.balance.labels.rules import RATINGS, SAFETY, Decision, LabelRules, Tally, imageable
from curate.core.intervals import Share

VERSION = 1

_DIGITS = 6


def to_dict(audit: LabelAudit) -> dict[str, Any]:
    """Rules, decisions and agreement; what is said of each label is for ``label_to_dict``."""
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


def label_to_dict(audit: LabelAudit, label: str) -> dict[str, Any]:
    """What people said of a label, and what becomes of it."""
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
        "least_imageability": rules.least_imageability,
        "imageability": rules.imageability,
        "least_annotators": rules.least_annotators,
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
    """A share with Wilson's interval; None of nothing."""
    if not share.total:
        return None
    return {
        "share": round(share.value, _DIGITS),
        "ci95": [round(end, _DIGITS) for end in share.interval],
    }


def _agreement(found: Agreement) -> dict[str, Any]:
    return {
        "level": found.level,
        "labels": found.labels,
        "judgements": found.judgements,
        "alpha": None if found.alpha is None else round(found.alpha, _DIGITS),
        "ci95": None if found.interval is None else [round(x, _DIGITS) for x in found.interval],
        "unknown": found.unknown or None,
    }


def _number(value: Fraction | None) -> float | None:
    return None if value is None else round(float(value), _DIGITS)


_ABOUT = {
    "safety": "safe, sensitive or offensive",
    "unsafe": "safe or not",
    "imageability": "how easy a label is to picture",
}


def describe(
    audit: LabelAudit, judgements: Judgements, lost: tuple[int, int] | None
) -> Iterator[str]:
    """Sentences for people.

    Args:
        audit: the decisions.
        judgements: what they were decided from.
        lost: images that would go, and all images; None where none were counted.
    """
    yield _decided(audit, judgements)
    yield from _undecided(audit)
    yield _rules_statements(audit.rules)
    yield from _lacking_questions(audit.rules)
    yield from _contested(audit)
    for name, found in audit.agreement.items():
        yield _agreed(name, found)
    yield from _tables(judgements)
    if lost is not None:
        share = 100 * lost[0] / max(lost[1], 1)
        yield f"Removal would take {lost[0]:,} of {lost[1]:,} images ({share:.1f} %)."
    yield (
        "The decisions are those of these annotators about words, not about images. They can be "
        "appealed: add a table with further judgements, or with other ones of the same "
        "annotators, after the others, and run again."
    )


def _decided(audit: LabelAudit, judgements: Judgements) -> str:
    keep, remove, undecided = (audit.count(decision) for decision in Decision)
    return (
        f"{len(audit.verdicts):,} labels, judged by {judgements.annotators:,} annotators: "
        f"{keep:,} kept, {remove:,} removed, {undecided:,} undecided."
    )


def _undecided(audit: LabelAudit) -> Iterator[str]:
    count = audit.count(Decision.UNDECIDED)
    if not count:
        return
    least = audit.rules.least_annotators
    what = {
        None: "Nothing is removed from a dataset by this report until they are decided, or "
        "--undecided says what becomes of them",
        "keep": "They are kept, as --undecided keep says, although nobody has found them safe",
        "remove": "They are removed, as --undecided remove says, although nobody has found them "
        "unsafe",
    }[audit.rules.undecided]
    yield (
        f"{count:,} labels have fewer than {least} judgements of a question and are undecided. "
        f"{what}."
    )


def _rules_statements(rules: LabelRules) -> str:
    parts = []
    if "safety" in rules.questions:
        parts.append(
            f"at least {_percent(rules.offensive_share)} of its annotators call it offensive, or "
            f"at least {_percent(rules.unsafe_share)} sensitive or offensive"
        )
    if "imageability" in rules.questions:
        parts.append(
            f"the {rules.imageability} of its ratings of imageability is below "
            f"{rules.least_imageability:g}"
        )
    return f"A label is removed if {', or if '.join(parts)}."


def _lacking_questions(rules: LabelRules) -> Iterator[str]:
    if "safety" not in rules.questions:
        yield "No judgement is about safety: that a label is kept does not mean that it is safe."
    if "imageability" not in rules.questions:
        yield "No judgement is about imageability, which is left out of the decisions."


def _contested(audit: LabelAudit) -> Iterator[str]:
    count = sum(verdict.contested for verdict in audit.verdicts.values())
    if count:
        yield f"{count:,} decisions are contested: one more judgement could turn each of them."


def _agreed(name: str, found: Agreement) -> str:
    about = f"Agreement on {_ABOUT[name]}"
    if found.alpha is None:
        return f"{about} cannot be said: {found.unknown}."
    low = found.alpha if found.interval is None else found.interval.low
    if low >= RELIABLE:
        worth = f"at least {RELIABLE:g}, the usual bar for conclusions"
    elif low >= TENTATIVE:
        worth = f"above {TENTATIVE:g}, enough for tentative conclusions"
    else:
        worth = f"not surely above {TENTATIVE:g}, too little even for tentative conclusions"
    ends = ""
    if found.interval is not None:
        ends = f" ({_number_statements(found.interval.low)} to {_number_statements(found.interval.high)})"
    return (
        f"{about}: Krippendorff's α {_number_statements(found.alpha)}{ends}, {found.level}, of "
        f"{found.labels:,} labels; {worth}."
    )


def _tables(judgements: Judgements) -> Iterator[str]:
    replaced = sum(fact.replaced for fact in judgements.facts)
    changed = sum(fact.changed for fact in judgements.facts)
    if replaced:
        yield (
            f"{replaced:,} judgements took the place of earlier ones of the same annotator on the "
            f"same label; {changed:,} of them say something else."
        )
    for number, fact in enumerate(judgements.facts, start=1):
        if fact.unknown_labels:
            examples = ", ".join(map(repr, fact.unknown_examples))
            yield (
                f"{fact.unknown_labels:,} labels in table {number} are not in the vocabulary, "
                f"such as {examples}; what is said of them is left out."
            )


def _number_statements(value: float) -> str:
    # Adding 0 turns what rounds to -0 into 0.
    return f"{round(value, 3) + 0.0:.3f}".replace("-", "−")


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
