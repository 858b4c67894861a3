"""The report of `explain_impact`; schema manifests/explain-1.schema.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curate.core.records import join_lines
from curate.impact.explain.measure import (
    Agreement,
    Estimate,
    Explained,
    Explanation,
    FaceShare,
    Side,
)
from curate.impact.formatting import pick
from curate.report.document import Report
from curate.report.values import Page

if TYPE_CHECKING:
    import pandas as pd

    from curate.impact.explain.sheet import Sheet

VERSION = 1

CAUTIONS = (
    "A map shows which positions of the input a class's score depends on, by one definition; it "
    "does not show why, nor whether the prediction would change without them.",
    "Methods use different definitions and disagree; where their maps differ, no single map "
    "should be relied on. Their rank correlation is in this report.",
    "A map can follow the image's edges rather than the model: where a model with a shuffled last "
    "layer gives a similar map, it shows little of what was learned (Adebayo et al., Sanity "
    "Checks for Saliency Maps, NeurIPS 2018).",
    "Only positive attribution is counted. LIME and SHAP remove a superpixel by replacing it with "
    "the image's mean color, which is itself a change that the model can react to.",
    "A filled region is smooth, and methods that follow edges attribute little to it whatever it "
    "hides: a share that falls after obfuscation is partly an effect of the fill.",
    "Where images were selected because their prediction changed, the results need not hold "
    "for all images of the dataset.",
    "A share above that of the area does not mean that faces as such matter: they are located "
    "where people and their objects are. Compare it with equal regions elsewhere in the same "
    "images.",
)
"""Limits that are stated beside the maps."""


@dataclass(frozen=True, repr=False)
class ExplainReport(Report):
    """Share of a classifier's attribution on faces.

    Args:
        explanation: the statistics.
        facts: what was explained and how.
        sheets: contact sheet, in the order of the images; empty unless requested.
        shows_originals: whether it shows the originals.
    """

    explanation: Explanation
    facts: Mapping[str, Any]
    sheets: tuple[Sheet, ...]
    shows_originals: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the report for JSON; differences are obfuscated minus original, fractions."""
        return {"version": VERSION, **self.facts, **_list_explanation(self.explanation)}

    def to_page(self) -> Page:
        """Return the HTML page's contents."""
        from curate.impact.explain.page import make_page

        return make_page(self)

    def to_text(self) -> str:
        """Return the main figures, one per line."""
        return join_lines(_list_lines(self))

    def to_frame(self) -> pd.DataFrame:
        """Return one row per class and method: shares of attribution on faces."""
        import pandas as pd

        rows = [
            {
                "category": label,
                "method": name,
                "n": found.n,
                "area": found.area,
                "original": found.original.share.value,
                "obfuscated": found.obfuscated.share.value,
                "difference": found.difference.value,
                "ratio": found.original.ratio.value,
            }
            for label, methods in self.explanation.by_class.items()
            for name, found in methods.items()
        ]
        columns = ["category", "method", "n", "area", "original", "obfuscated"]
        columns += ["difference", "ratio"]
        return pd.DataFrame(rows, columns=columns).set_index(["category", "method"])

    def __repr__(self) -> str:
        images = len(self.explanation.images)
        return f"<ExplainReport: {images:,} images, {', '.join(self.explanation.overall)}>"


def describe_selection(facts: Mapping[str, Any]) -> str:
    """Describe which images were explained and which were left out."""
    counts, choice = facts["counts"], facts["choice"]
    if choice["way"] == "changed":
        text = (
            f"The prediction on {counts['changed']:,} of {counts['compared']:,} images with faces "
            "changed after obfuscation; "
        ) + (
            f"the {counts['explained']:,} with the largest change are explained."
            if counts["explained"]
            else "none is explained. Use --sample to explain others."
        )
    elif choice["way"] == "sample":
        images = f"{counts['with_faces']:,} images with faces, drawn at random,"
        text = (
            f"{counts['explained']:,} of {images} are explained."
            if counts["explained"]
            else f"None of the {images} is explained."
        )
    elif counts["explained"]:
        text = f"{counts['explained']:,} listed images are explained."
    else:
        text = "None of the listed images is explained."
    left_out = []
    if counts["without_faces"]:
        left_out.append(f"{counts['without_faces']:,} without a hidden face")
    if counts["withheld"]:
        left_out.append(f"{counts['withheld']:,} withheld")
    if counts["listed_left_out"]:
        left_out.append(f"among them {counts['listed_left_out']:,} that were listed")
    if counts["face_outside_input"]:
        many = counts["face_outside_input"]
        left_out.append(f"{many:,} whose faces cover no pixel of the model's input")
    return f"{text} Left out: {', '.join(left_out)}." if left_out else text


def _list_lines(report: ExplainReport) -> Iterator[str]:
    yield describe_selection(report.facts)
    titles = {each["method"]: each["title"] for each in report.facts["methods"]}
    for name, found in report.explanation.overall.items():
        if found.n:
            yield (
                f"{titles[name]}: {_percent(found.original.share)} of attribution on faces "
                f"before, {_percent(found.obfuscated.share)} after, "
                f"{100 * found.area:.1f} % of area; "
                f"{found.original.ratio.value:.2f} × chance before, "
                f"{found.obfuscated.ratio.value:.2f} × after, "
                f"{found.original.elsewhere.value:.2f} × elsewhere"
            )
    for each in report.facts["methods"]:
        if each["unavailable"] is not None:
            yield f"{each['method']}: {each['unavailable']}"


def _percent(estimate: Estimate) -> str:
    text = f"{100 * estimate.value:.1f} %"
    if estimate.interval is not None:
        low, high = estimate.interval
        text += f" ({100 * low:.1f} to {100 * high:.1f})"
    return text


_SHARES = ("original", "obfuscated", "elsewhere_original", "elsewhere_obfuscated")


def _list_explanation(explanation: Explanation) -> dict[str, Any]:
    return {
        "overall": _list_methods(explanation.overall),
        "per_class": [
            {"category": label, "methods": _list_methods(found)}
            for label, found in explanation.by_class.items()
        ],
        "agreement": [
            {"methods": list(pair), **_list_agreement(found)}
            for pair, found in explanation.agreement.items()
        ],
        "randomised": [
            {"method": name, "n": found.n, "rank_correlation": _list_estimate(found.original)}
            for name, found in explanation.randomized.items()
        ],
        "images": [_list_image(each) for each in explanation.images],
        "cautions": list(CAUTIONS),
    }


def _list_methods(found: Any) -> list[dict[str, Any]]:
    return [{"method": name, **_list_face_share(each)} for name, each in found.items()]


def _list_face_share(found: FaceShare) -> dict[str, Any]:
    return {
        **pick(found, "n", "left_out", "placed", "area"),
        "original": _list_side(found.original),
        "obfuscated": _list_side(found.obfuscated),
        "difference": _list_estimate(found.difference),
    }


def _list_side(side: Side) -> dict[str, Any]:
    return {
        "share": _list_estimate(side.share),
        "ratio": _list_estimate(side.ratio),
        "elsewhere_ratio": _list_estimate(side.elsewhere),
    }


def _list_agreement(found: Agreement) -> dict[str, Any]:
    return {
        "n": found.n,
        "original": _list_estimate(found.original),
        "obfuscated": _list_estimate(found.obfuscated) if found.obfuscated else None,
    }


def _list_image(each: Explained) -> dict[str, Any]:
    return {
        **pick(each, "id", "category", "faces", "area", "change"),
        "original": pick(each.original, "category=name", "confidence"),
        "obfuscated": pick(each.obfuscated, "category=name", "confidence"),
        "shares": {name: pick(found.shares, *_SHARES) for name, found in each.measured.items()},
    }


def _list_estimate(found: Estimate) -> dict[str, Any]:
    return pick(found, "value", "ci95=interval")
