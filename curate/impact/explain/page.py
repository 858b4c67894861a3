"""HTML page of `explain_impact`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from curate.impact.explain.measure import MIN_IMAGES, Estimate, Explanation, FaceShare
from curate.impact.explain.report import CAUTIONS, describe_selection
from curate.impact.formatting import NO_VALUE
from curate.report.numbers import PERCENT, POINTS, RATIO, NumberFormat
from curate.report.values import Bar, BarChart, Block, Gallery, Page, Section, Table, find_domain

if TYPE_CHECKING:
    from curate.impact.explain.report import ExplainReport

_MAX_CLASSES = 50

_WARNING = (
    "This page contains visible faces of the original dataset; share it only with people who have "
    "access to that dataset."
)

_MEASURE = (
    "Share of attribution on faces: the share of positive attribution to the predicted class that "
    "lies inside the hidden regions of the model's input. The ratio divides it by the regions' "
    "share of the area: 1 is chance level. “Elsewhere” is the same ratio for regions of equal "
    "shape and size at random positions of the same images without faces, because the center of "
    "an image receives more attribution than its corners."
)

_INTERVALS = (
    "95 % intervals are from a bootstrap over images, with the same draws before and after, "
    "widened "
    f"by Student's t; none is given for fewer than {MIN_IMAGES} images."
)

_COVERED = (
    "Each picture has the original's map at the left and the obfuscated image's at the right, "
    "both drawn over the obfuscated image; the lines are the hidden regions. Inside them the "
    "original's map is drawn as its mean, so that the page shows no pixel that the dataset hides. "
    "Light yellow is the highest attribution; each map has its own scale and is slightly smoothed."
)

_SHOWN = (
    "Each picture has the original at the left and the obfuscated image at the right; the lines "
    "are the hidden regions. Light yellow is the highest attribution; each map has its own scale "
    "and is slightly smoothed."
)


def make_page(report: ExplainReport) -> Page:
    """Lay out the report."""
    explanation, facts = report.explanation, report.facts
    titles = {
        each["method"]: each["title"] or each["method"]
        for each in facts["methods"]
        if each["unavailable"] is None
    }
    sections = [
        Section("Methods", tuple(_methods(facts))),
        Section("Limits of attribution maps", CAUTIONS),
    ]
    if explanation.images:
        sections[:0] = [
            Section("Share of attribution on faces", tuple(_shares(explanation, titles))),
            Section("By class", tuple(_classes(explanation, titles))),
            Section("Agreement of the methods", tuple(_agreement(explanation, titles))),
        ]
    if report.sheets:
        sections.insert(0, Section("Contact sheet", tuple(_sheets(report))))
    tool = facts["tool"]
    return Page(
        "Attribution on faces",
        tuple(_lead(facts)),
        tuple(sections),
        f"{tool['name']} {tool['version']}; model {facts['model'].get('spec', '')}; manifest "
        f"{facts['manifest']['records_sha256'][:12]}",
        verdict=_verdict(explanation, titles),
    )


def _verdict(explanation: Explanation, titles: Mapping[str, str]) -> str:
    """The share of attribution on faces by the first method."""
    if not explanation.images or not explanation.overall:
        return "No image was explained."
    name, found = next(iter(explanation.overall.items()))
    return (
        f"{titles[name]}: {_format(found.original.share)} of the attribution lies on faces in "
        f"original images and {_format(found.obfuscated.share)} in obfuscated ones; "
        f"{found.n:,} images."
    )


def _lead(facts: Mapping[str, Any]) -> Iterator[str]:
    yield describe_selection(facts)
    yield _MEASURE
    yield _INTERVALS


def _shares(explanation: Explanation, titles: Mapping[str, str]) -> Iterator[Block]:
    bars = [
        _bar(f"{titles[name]}, {side}", estimate)
        for name, found in explanation.overall.items()
        for side, estimate in (
            ("original", found.original.ratio),
            ("obfuscated", found.obfuscated.ratio),
            ("original elsewhere", found.original.elsewhere),
        )
    ]
    title = "Share of attribution on faces, divided by their share of the image; dashed: chance"
    yield BarChart(title, tuple(bars), find_domain(bars), RATIO)
    yield Table(
        "Share of attribution on faces; differences in percentage points",
        ("", "images", "area", "original (95 %)", "obfuscated (95 %)", "difference (95 %)"),
        [_share_row(titles[name], found) for name, found in explanation.overall.items()],
    )
    yield Table(
        "Ratio of that share to the area: 1 is chance level",
        (
            "",
            "original (95 %)",
            "obfuscated (95 %)",
            "elsewhere, original",
            "elsewhere, obfuscated",
        ),
        [_ratio_row(titles[name], found) for name, found in explanation.overall.items()],
    )
    for name, found in explanation.overall.items():
        if found.left_out:
            yield (
                f"{titles[name]} covers {found.n:,} images only: {found.left_out:,} have no "
                "positive "
                "attribution."
            )
    without_space = sum(
        math.isnan(shares.elsewhere_original)
        for each in explanation.images
        for shares in [next(iter(each.measured.values())).shares]
    )
    if without_space:
        yield (
            f"Faces leave no space for equal regions elsewhere in {without_space:,} of "
            f"{len(explanation.images):,} images, which are left out of those ratios."
        )


def _classes(explanation: Explanation, titles: Mapping[str, str]) -> Iterator[Block]:
    shown = list(explanation.by_class.items())[:_MAX_CLASSES]
    if len(explanation.by_class) > len(shown):
        yield f"The {len(shown)} classes with the most images of {len(explanation.by_class):,}."
    for name, title in titles.items():
        yield Table(
            f"{title}: share of attribution on faces; differences in percentage points",
            ("", "images", "area", "original", "obfuscated", "difference", "ratio before"),
            [_class_row(label, found[name]) for label, found in shown],
        )


def _class_row(label: str, found: FaceShare) -> Sequence[str]:
    return (*_share_row(label, found), _ratio(found.original.ratio))


def _agreement(explanation: Explanation, titles: Mapping[str, str]) -> Iterator[Block]:
    if explanation.agreement:
        yield Table(
            "Rank correlation of two methods' maps on a grid (Spearman)",
            ("", "images", "original (95 %)", "obfuscated (95 %)"),
            [
                (
                    f"{titles[a]} and {titles[b]}",
                    f"{found.n:,}",
                    _ratio(found.original),
                    _ratio(found.obfuscated) if found.obfuscated else NO_VALUE,
                )
                for (a, b), found in explanation.agreement.items()
            ],
        )
    if explanation.randomized:
        yield Table(
            "Rank correlation with the map of a model whose last layer is shuffled",
            ("", "images", "original (95 %)"),
            [
                (titles[name], f"{found.n:,}", _ratio(found.original))
                for name, found in explanation.randomized.items()
            ],
        )
        yield (
            "The lower, the more a method's maps depend on what the model learned. Methods that "
            "use "
            "only the model's scores are not tested."
        )


def _methods(facts: Mapping[str, Any]) -> Iterator[Block]:
    methods = facts["methods"]
    for each in methods:
        if each["unavailable"] is not None:
            yield f"{each['method']}: {each['unavailable']}."
        else:
            settings = ", ".join(
                f"{key.replace('_', ' ')} {value}" for key, value in each["parameters"].items()
            )
            title = each["title"] or each["method"]
            yield f"{title}: {settings}." if settings else f"{title}."


def _sheets(report: ExplainReport) -> Iterator[Block]:
    if report.shows_originals:
        yield Gallery(_WARNING, ())
    yield _SHOWN if report.shows_originals else _COVERED
    for sheet in report.sheets:
        yield sheet.text
        yield Gallery("", sheet.pictures, wide=True)


def _share_row(label: str, found: FaceShare) -> Sequence[str]:
    return (
        label,
        f"{found.n:,}",
        PERCENT.value(found.area),
        _format(found.original.share),
        _format(found.obfuscated.share),
        _format(found.difference, POINTS),
    )


def _ratio_row(label: str, found: FaceShare) -> Sequence[str]:
    return (
        label,
        _ratio(found.original.ratio),
        _ratio(found.obfuscated.ratio),
        _ratio(found.original.elsewhere),
        _ratio(found.obfuscated.elsewhere),
    )


def _bar(label: str, estimate: Estimate) -> Bar:
    if math.isnan(estimate.value):
        return Bar(label, None)
    ends = estimate.interval
    return Bar(label, estimate.value, ends and ends.low, ends and ends.high, target=1.0)


def _ratio(estimate: Estimate) -> str:
    return _format(estimate, RATIO)


def _format(estimate: Estimate, form: NumberFormat = PERCENT) -> str:
    return form.estimate(estimate.value, estimate.interval)
