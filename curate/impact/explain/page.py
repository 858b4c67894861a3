"""What a classifier's answers rest on, as a page for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from curate.core.intervals import Interval
from curate.impact.explain.face_share import LEAST, Estimate, FaceShare
from curate.impact.explain.measure import Explanation
from curate.impact.explain.report import CAUTIONS
from curate.impact.explain.run import Answer
from curate.report.values import Bar, BarChart, Block, Gallery, Page, Section, Table

_MOST_CLASSES = 50

_WARNING = (
    "This page shows the original photos with their faces. It is for those who may see the dataset "
    "as it is; give nobody else a copy."
)

_MEASURE = (
    "Share of attribution on faces: of all that speaks for the class that the model names, how "
    "much lies inside the hidden regions, as far as the model is given them. The ratio divides "
    "it by these regions' share of the image: 1 is as much as chance. Elsewhere is the same ratio "
    "for regions of equal shape and size, put at random places of the same images where there is "
    "no face: the middle of a photo is looked at more than its corners anyhow."
)

_INTERVALS = (
    "Intervals are at 95 %, from a bootstrap over images, the same draws before and after, widened "
    f"as Student's t is for few images; of fewer than {LEAST} images none is given."
)

_COVERED = (
    "Each picture has the original's map at the left and the obfuscated image's at the right, "
    "both drawn over the obfuscated image; the lines are the hidden regions. Inside them the "
    "original's map is drawn as its mean: the page shows no pixel that the dataset hides. "
    "Light yellow is where most speaks for the class; each map has its own scale and is smoothed "
    "a little."
)

_SHOWN = (
    "Each picture has the original at the left and the obfuscated image at the right; the lines "
    "are the hidden regions. Light yellow is where most speaks for the class; each map has its "
    "own scale and is smoothed a little."
)


def make_page(answer: Answer) -> Page:
    """Lay out what was found."""
    explanation, facts = answer.explanation, answer.facts
    titles = {
        each["method"]: each["title"] or each["method"]
        for each in facts["methods"]
        if each["unavailable"] is None
    }
    sections = [
        Section("Share of attribution on faces", tuple(_shares(explanation, titles))),
        Section("By class", tuple(_classes(explanation, titles))),
        Section("Do the methods agree?", tuple(_agreement(explanation, titles))),
        Section("How the maps were made", tuple(_methods(facts))),
        Section("What a map can and cannot show", CAUTIONS),
    ]
    if answer.sheets:
        sections.append(Section("Contact sheet", tuple(_sheets(answer))))
    tool = facts["tool"]
    return Page(
        "Does the model look at faces?",
        tuple(_lead(facts)),
        tuple(sections),
        f"{tool['name']} {tool['version']}; model {facts['model'].get('spec', '')}; manifest "
        f"{facts['manifest']['records_sha256'][:12]}",
    )


def _lead(facts: Mapping[str, object]) -> Iterator[str]:
    yield describe_choice(facts)
    yield _MEASURE
    yield _INTERVALS


def describe_choice(facts: Mapping[str, object]) -> str:
    """Which images were explained, and which were not, in a few sentences."""
    counts, choice = facts["counts"], facts["choice"]
    assert isinstance(counts, Mapping) and isinstance(choice, Mapping)  # noqa: S101, PT018
    if choice["way"] == "changed":
        how = (
            f"Of {counts['compared']:,} images with faces the model names another class for "
            f"{counts['changed']:,} once they are obfuscated; "
        ) + (
            f"the {counts['explained']:,} that changed most are explained."
            if counts["explained"]
            else "so there is nothing to explain; --sample explains others."
        )
    elif choice["way"] == "sample":
        how = (
            f"{counts['explained']:,} of {counts['with_faces']:,} images with faces, drawn at "
            "random, are explained."
        )
    else:
        how = f"{counts['explained']:,} listed images are explained."
    left_out = [
        f"{counts['without_faces']:,} without a hidden face",
        f"{counts['withheld']:,} withheld",
    ]
    if counts["listed_left_out"]:
        left_out.append(f"among them {counts['listed_left_out']:,} that were listed")
    if counts["face_outside_input"]:
        many = counts["face_outside_input"]
        left_out.append(f"{many:,} whose faces are no whole pixel of what the model is given")
    return f"{how} Left out: {', '.join(left_out)}."


def _shares(explanation: Explanation, titles: Mapping[str, str]) -> Iterator[Block]:
    if not explanation.images:
        yield "No image was explained."
        return
    bars = [
        _bar(f"{titles[name]}, {side}", estimate)
        for name, found in explanation.overall.items()
        for side, estimate in (
            ("original", found.original.ratio),
            ("obfuscated", found.obfuscated.ratio),
            ("original elsewhere", found.original.elsewhere),
        )
    ]
    most = max((bar.high or bar.value or 0.0 for bar in bars), default=1.0)
    title = "Share of attribution on faces, divided by their share of the image"
    yield BarChart(title, tuple(bars), (0.0, float(max(2, math.ceil(most)))), percent=False)
    yield Table(
        "Share of attribution on faces, per cent",
        ("", "images", "area", "original (95 %)", "obfuscated (95 %)", "difference (95 %)"),
        [_share_row(titles[name], found) for name, found in explanation.overall.items()],
    )
    yield Table(
        "Ratio of that share to area: 1 is as much as chance",
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
                f"{titles[name]} is of {found.n:,} images only: in {found.left_out:,} nothing "
                "speaks for the class that is named."
            )
    room = sum(
        math.isnan(shares.elsewhere_original)
        for each in explanation.images
        for shares in [next(iter(each.measured.values())).shares]
    )
    if room:
        yield (
            f"Faces leave no room for equal regions elsewhere in {room:,} of "
            f"{len(explanation.images):,} images, which are no part of those ratios."
        )


def _classes(explanation: Explanation, titles: Mapping[str, str]) -> Iterator[Block]:
    shown = list(explanation.by_class.items())[:_MOST_CLASSES]
    if len(explanation.by_class) > len(shown):
        yield f"The {len(shown)} classes with the most images of {len(explanation.by_class):,}."
    for name, title in titles.items():
        yield Table(
            f"{title}: share of attribution on faces, per cent",
            ("", "images", "area", "original", "obfuscated", "difference", "ratio before"),
            [_class_row(label, found[name]) for label, found in shown],
        )


def _class_row(label: str, found: FaceShare) -> Sequence[str]:
    return (*_share_row(label, found), _number(found.original.ratio))


def _agreement(explanation: Explanation, titles: Mapping[str, str]) -> Iterator[Block]:
    if explanation.agreement:
        yield Table(
            "Rank correlation of two methods' maps on a grid (Spearman; 1 is alike, 0 unrelated)",
            ("", "images", "original (95 %)", "obfuscated (95 %)"),
            [
                (
                    f"{titles[a]} and {titles[b]}",
                    f"{found.n:,}",
                    _number(found.original),
                    _number(found.obfuscated) if found.obfuscated else "–",
                )
                for (a, b), found in explanation.agreement.items()
            ],
        )
    if explanation.randomised:
        yield Table(
            "Rank correlation with the map of a model whose last layer is shuffled",
            ("", "images", "original (95 %)"),
            [
                (titles[name], f"{found.n:,}", _number(found.original))
                for name, found in explanation.randomised.items()
            ],
        )
        yield (
            "The lower, the more a method's maps have to do with what the model learned. Methods "
            "that only ask the model for scores are not tried."
        )


def _methods(facts: Mapping[str, object]) -> Iterator[Block]:
    methods = facts["methods"]
    assert isinstance(methods, Sequence)  # noqa: S101 - narrows the type
    for each in methods:
        if each["unavailable"] is not None:
            yield f"{each['method']}: {each['unavailable']}."
        else:
            said = ", ".join(
                f"{key.replace('_', ' ')} {value}" for key, value in each["parameters"].items()
            )
            yield f"{each['title']}: {said}."


def _sheets(answer: Answer) -> Iterator[Block]:
    if answer.shows_originals:
        yield Gallery(_WARNING, ())
    yield _SHOWN if answer.shows_originals else _COVERED
    for sheet in answer.sheets:
        yield sheet.text
        yield Gallery("", sheet.pictures, wide=True)


def _share_row(label: str, found: FaceShare) -> Sequence[str]:
    return (
        label,
        f"{found.n:,}",
        "–" if math.isnan(found.area) else f"{100 * found.area:.1f}",
        _percent(found.original.share),
        _percent(found.obfuscated.share),
        _percent(found.difference, sign="+"),
    )


def _ratio_row(label: str, found: FaceShare) -> Sequence[str]:
    return (
        label,
        _number(found.original.ratio),
        _number(found.obfuscated.ratio),
        _number(found.original.elsewhere),
        _number(found.obfuscated.elsewhere),
    )


def _bar(label: str, estimate: Estimate) -> Bar:
    if math.isnan(estimate.value):
        return Bar(label, None)
    ends = estimate.interval
    return Bar(label, estimate.value, ends and ends.low, ends and ends.high)


def _percent(estimate: Estimate, sign: str = "") -> str:
    return _format(estimate, 100, f"{sign}.1f")


def _number(estimate: Estimate) -> str:
    return _format(estimate, 1, ".2f")


def _format(estimate: Estimate, scale: float, form: str) -> str:
    if math.isnan(estimate.value):
        return "–"
    text = f"{scale * estimate.value:{form}}"
    ends: Interval | None = estimate.interval
    if ends is not None:
        text += f" ({scale * ends.low:{form}} to {scale * ends.high:{form}})"
    return text.replace("-", "−")
