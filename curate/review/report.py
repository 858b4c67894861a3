"""The result of a review, as ``review.json`` and as an HTML page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from curate.report.values import Bar, BarChart, Block, Page, Section, Table

VERSION = 1
_SMALL = 10
"""Below as many images, a bound is written as their number."""

_HASTY = 1.0
"""Seconds an image below which a reviewer is named: nobody searches a photo in less."""

CAVEAT = (
    "A bound on what reviewers can see: a face that no person recognizes at this size and "
    "quality is not counted."
)
"""What a reader must know before quoting the bound."""

CHECKS_CAVEAT = (
    "Hidden checks show faces that a detector or a person found. Faces that were missed are "
    "harder, so that the measured sensitivity is optimistic."
)
"""What a reader must know as well if reviewers were measured by hidden checks."""


def make_page(report: Mapping[str, Any]) -> Page:
    """The page of a review.

    Args:
        report: as `curate.report_review` returns it.
    """
    sections = [_images(report), _reviewers(report)]
    if report["bound"] is not None:
        sections.insert(0, _sample(report["bound"]))
    if report["agreement"] is not None:
        sections.append(_agreement(report["agreement"]))
    tool = report["tool"]
    return Page(
        title="Review",
        lead=(),
        sections=tuple(sections),
        verdict=describe_result(report),
        about=f"{tool['name']} {tool['version']}, review {report['review']}, "
        f"journal {report['journal_sha256'][:12]}",
    )


def describe_result(report: Mapping[str, Any]) -> str:
    """The result in a sentence, for the page, the dataset card and the terminal."""
    sample = report["bound"]
    images = report["images"]
    if sample is None:
        return (
            f"People reviewed {images['reviewed']:,} of {images['queue']:,} images: "
            f"{report['boxes']['added']:,} boxes added, {report['boxes']['rejected']:,} "
            f"rejected, {report['boxes']['changed']:,} changed. No sample was drawn, so "
            "nothing is stated about what is still missed."
        )
    if not sample["looked"]:
        return (
            f"None of the {sample['planned']:,} sampled images has been looked at, so that no "
            "bound is stated yet."
        )
    found = f"{sample['found']:,}" if sample["found"] else "none"
    text = (
        f"{sample['looked']:,} of {sample['planned']:,} sampled images were looked at, and "
        f"{found} showed a visible face"
    )
    if not sample["valid_now"]:
        return f"{text}. The sample is not complete, so that no bound is stated yet."
    if sample["upper_now"] >= 1:
        return f"{text}: {_explain_no_bound(sample)}."
    return (
        f"{text}: with {100 * sample['confidence']:g} % confidence, at most "
        f"{_percent(sample['stated_upper'])} of the {sample['population']:,} images show a face"
        f"{describe_assumption(report)}."
    )


def describe_assumption(report: Mapping[str, Any]) -> str:
    """What a bound rests on that was not measured, as the end of a sentence."""
    reviewers = report["bound"]["reviewers"]
    texts = []
    if not any(each["checks"] for each in reviewers):
        texts.append("if the reviewers see every face, which no hidden check measured")
    hasty = sum(0 < each["seconds_per_image"] < _HASTY for each in report["reviewers"])
    if hasty:
        who = "1 reviewer" if hasty == 1 else f"{hasty:,} reviewers"
        texts.append(f"{who} took less than {_HASTY:g} s an image")
    return "".join(f"; {text}" if text[0].isdigit() else f", {text}" for text in texts)


def format_bound(bound: Mapping[str, Any]) -> str:
    """What a sample says, in one line."""
    text = f"{bound['looked']:,} of {bound['planned']:,} looked at, {bound['found']:,} with a "
    text += "visible face: "
    if not bound["valid_now"]:
        return f"{text}no bound is stated before the whole sample is looked at."
    if bound["upper_now"] >= 1:
        return f"{text}{_explain_no_bound(bound)}."
    at_most = _count_or_share(bound["upper_now"], bound["population"])
    return f"{text}{at_most} show one ({100 * bound['confidence']:g} % confidence)."


def _count_or_share(upper: float, population: int) -> str:
    """An upper bound on images: a share, or their number where that is small."""
    if upper * population < _SMALL:
        return f"at most {math.floor(upper * population + 1e-9):,} of the {population:,} images"
    return f"at most {100 * upper:.3g} % of the {population:,} images"


def _explain_no_bound(bound: Mapping[str, Any]) -> str:
    """Why nothing is stated about the images that were not looked at, and what to do."""
    reviewers = bound["reviewers"]
    blank = sum(not each["checks"] for each in reviewers)
    blind = sum(bool(each["checks"]) and not each["sensitivity_lower"] for each in reviewers)
    if not blank and not blind:
        return "no bound can be stated, since the sample has too many visible faces"
    causes = [
        f"{count:,} of {len(reviewers):,} reviewers {why}"
        for count, why in ((blank, "decided none"), (blind, "found no face in theirs"))
        if count
    ]
    return (
        "no bound can be stated, because it is unknown how many faces the reviewers find: of the "
        f"hidden checks, {' and '.join(causes)}. Draw another sample, with a new --seed and more "
        "--checks, and let each reviewer decide a good part of it"
    )


def describe_sample(bound: Mapping[str, Any]) -> str:
    """How many images are to be looked at, and what that can show, in one line."""
    left, upper = bound["planned"] - bound["looked"], bound["upper_end"]
    text = (
        f"Sample: {left:,} of {bound['planned']:,} images are left to look at, drawn from "
        f"{bound['population']:,}"
    )
    if upper >= 1:
        return f"{text}; a bound can be stated once every reviewer has found faces in checks."
    at_most = _count_or_share(upper, bound["population"])
    return (
        f"{text}; if no more faces are found, {at_most} show one "
        f"({100 * bound['confidence']:g} % confidence)."
    )


def _sample(sample: Mapping[str, Any]) -> Section:
    blocks: list[Block] = [
        f"Target: at most {_percent(sample['at_most'])} of the images, "
        f"{100 * sample['confidence']:g} % confidence, one-sided. "
        + ("The target is met." if sample["accepted"] else "The target is not met."),
        f"Method: {sample['method']}.",
    ]
    if len(sample["strata"]) > 1:
        top = max([sample["at_most"], *(each["upper"] for each in sample["strata"])])
        blocks.append(
            BarChart(
                "Upper bound by stratum; dashed: target for all images",
                tuple(
                    Bar(each["name"], each["upper"], target=sample["at_most"])
                    for each in sample["strata"]
                ),
                domain=(0.0, min(1.0, 1.1 * top)),
            )
        )
    blocks.append(
        Table(
            "The sample",
            ("stratum", "images", "planned", "looked at", "visible face", "upper bound"),
            [
                (
                    each["name"], f"{each['population']:,}", f"{each['planned']:,}",
                    f"{each['looked']:,}", f"{each['found']:,}", _percent(each["upper"]),
                )
                for each in sample["strata"]
            ],
        )
    )  # fmt: skip
    blocks.append(CAVEAT)
    if any(each["checks"] for each in sample["reviewers"]):
        blocks.append(CHECKS_CAVEAT)
    return Section("Bound on what is missed", tuple(blocks))


def _images(report: Mapping[str, Any]) -> Section:
    images, boxes = report["images"], report["boxes"]
    kinds = (
        ("listed images looked at", images["reviewed"]),
        ("images of the sample looked at", images["sampled"]),
        ("hidden checks answered", images["checks"]),
    )
    rows = [("listed for review", f"{images['queue']:,}")]
    rows += [(name, f"{count:,}") for name, count in kinds if count]
    return Section(
        "What was reviewed",
        (
            Table("Images", ("", "images"), rows),
            Table(
                "Boxes of reviewed images",
                ("what became of them", "boxes"),
                [(name, f"{count:,}") for name, count in boxes.items()],
            ),
        ),
    )


def _reviewers(report: Mapping[str, Any]) -> Section:
    head = ("reviewer", "images", "seconds an image", "checks", "found", "sensitivity, at least")
    measured = {}
    if report["bound"] is not None:
        measured = {each["reviewer"]: each for each in report["bound"]["reviewers"]}
    rows: list[Sequence[str]] = []
    for each in report["reviewers"]:
        check = measured.get(each["reviewer"])
        lower = "–" if check is None else "unknown"
        if check is not None and check["checks"]:
            lower = _percent(check["sensitivity_lower"])
        rows.append(
            (
                each["reviewer"], f"{each['images']:,}", f"{each['seconds_per_image']:.1f}",
                f"{check['checks']:,}" if check else "–", f"{check['found']:,}" if check else "–",
                lower,
            )
        )  # fmt: skip
    return Section("Reviewers", (Table("Who decided", head, rows),))


def _agreement(agreement: Mapping[str, Any]) -> Section:
    alpha = "not defined, since all answers are alike"
    if agreement["alpha"] is not None:
        alpha = f"{agreement['alpha']:.2f}"
    return Section(
        "Two blind reviewers",
        (
            Table(
                "Images in which a face was found",
                ("by", "images"),
                [
                    ("both", f"{agreement['both']:,}"),
                    ("the first only", f"{agreement['only_first']:,}"),
                    ("the second only", f"{agreement['only_second']:,}"),
                ],
            ),
            f"Krippendorff's alpha is {alpha}, over {agreement['images']:,} images.",
            f"Chapman's estimate of the images with a face is {agreement['chapman']:.1f} "
            f"(standard error {agreement['chapman_se']:.1f}): a lower bound, since a face that "
            "one reviewer misses is likelier missed by the other as well.",
        ),
    )


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"
