"""An audit of labels as plain values, for JSON; its schema is manifests/labels-1.schema.json."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

from curate.balance.labels.agreement import Agreement
from curate.balance.labels.judgements import RATINGS, SAFETY, Tally
from curate.balance.labels.measure import LabelAudit
from curate.balance.labels.rules import Decision, LabelRules, imageable
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
