"""An explanation as plain values, for JSON; its schema is manifests/explain-1.schema.json."""

from __future__ import annotations

import math
from typing import Any

from curate.core.intervals import Interval
from curate.impact.explain.face_share import Estimate, FaceShare, Shares, Side
from curate.impact.explain.measure import Agreement, Answer, Explained, Explanation

VERSION = 1

CAUTIONS = (
    "A map shows which parts of the input a class's score rests on by one definition of that; it "
    "does not show why, nor whether the model would answer otherwise without them.",
    "Methods define it differently and disagree; where their maps are not alike, no single map "
    "should be believed. Their rank correlation is in this report.",
    "A map can follow the image's edges rather than the model: where a model with a shuffled last "
    "layer gives much the same map, it shows little of what was learned (Adebayo et al., Sanity "
    "Checks for Saliency Maps, NeurIPS 2018).",
    "Only what speaks for a class is counted. LIME and SHAP take a part out by painting it over "
    "with the image's mean colour, which is itself a change that the model can react to.",
    "A filled region is smooth, and a method that follows edges gives it little whatever it hides: "
    "that a share falls once faces are obfuscated is partly the fill's own doing.",
    "Where images were picked because their prediction changed, what holds for them need not hold "
    "for all images of the dataset.",
    "A share above that of area does not mean that faces as such count: they stand where people "
    "and what they hold stand. Hold it against equal regions elsewhere in the same images.",
)
"""What must be said beside every map."""

_DIGITS = 8


def to_dict(explanation: Explanation) -> dict[str, Any]:
    """What was found; differences are obfuscated minus original, in fractions."""
    return {
        "overall": _by_method(explanation.overall),
        "per_class": [
            {"category": label, "methods": _by_method(found)}
            for label, found in explanation.by_class.items()
        ],
        "agreement": [
            {"methods": list(pair), **_agreement(found)}
            for pair, found in explanation.agreement.items()
        ],
        "randomised": [
            {"method": name, "n": found.n, "rank_correlation": _estimate(found.original)}
            for name, found in explanation.randomised.items()
        ],
        "images": [_image(each) for each in explanation.images],
        "cautions": list(CAUTIONS),
    }


def _by_method(found: Any) -> list[dict[str, Any]]:
    return [{"method": name, **_face_share(each)} for name, each in found.items()]


def _face_share(found: FaceShare) -> dict[str, Any]:
    return {
        "n": found.n,
        "left_out": found.left_out,
        "placed": found.placed,
        "area": round_(found.area),
        "original": _side(found.original),
        "obfuscated": _side(found.obfuscated),
        "difference": _estimate(found.difference),
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "share": _estimate(side.share),
        "ratio": _estimate(side.ratio),
        "elsewhere_ratio": _estimate(side.elsewhere),
    }


def _agreement(found: Agreement) -> dict[str, Any]:
    return {
        "n": found.n,
        "original": _estimate(found.original),
        "obfuscated": _estimate(found.obfuscated) if found.obfuscated else None,
    }


def _image(each: Explained) -> dict[str, Any]:
    return {
        "id": each.id,
        "category": each.category,
        "faces": each.faces,
        "area": round_(each.area),
        "change": round_(each.change),
        "original": _answer(each.original),
        "obfuscated": _answer(each.obfuscated),
        "shares": {name: _shares(found.shares) for name, found in each.measured.items()},
    }


def _answer(answer: Answer) -> dict[str, Any]:
    return {"category": answer.name, "confidence": round_(answer.confidence)}


def _shares(shares: Shares) -> dict[str, Any]:
    return {
        "original": round_(shares.original),
        "obfuscated": round_(shares.obfuscated),
        "elsewhere_original": round_(shares.elsewhere_original),
        "elsewhere_obfuscated": round_(shares.elsewhere_obfuscated),
    }


def _estimate(found: Estimate) -> dict[str, Any]:
    return {"value": round_(found.value), "ci95": _interval(found.interval)}


def _interval(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [round_(interval.low), round_(interval.high)]


def round_(value: float) -> float | None:
    """Eight digits say enough, and a share of nothing is null: JSON has no NaN."""
    return None if math.isnan(value) else round(float(value), _DIGITS)
