"""The parts of the page on the model that was run and on its control arms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from curate.core.intervals import Interval
from curate.impact.evaluate.controls import Controls, Step, describe_controls
from curate.impact.predictions.paired import Change
from curate.impact.wording import format_ends, format_percent, format_points
from curate.report.values import Bar, BarChart, Block, Table

_WHAT = (
    "An obfuscated image differs from its original in three ways at once: blocks of it were "
    "encoded again, parts of it are hidden, and these parts are faces. In the arm “reencoded” the "
    "same blocks are encoded again with nothing hidden; in “random-region” as many regions of the "
    "same sizes are hidden by the same method, at random places away from the faces. The steps "
    "between the arms add up to the whole."
)


def describe_arms(controls: Controls) -> Iterator[Block]:
    """The control arms, and what they tell apart."""
    yield _WHAT
    yield from describe_controls(controls)
    yield _chart(controls)
    yield Table(
        "Accuracy of each arm",
        ("", "top-1", "top-5"),
        [
            (
                each.arm,
                format_percent(each.top1),
                "–" if each.top5 is None else format_percent(each.top5),
            )
            for each in controls.accuracies
        ],
    )
    yield Table(
        "Steps between two arms: change of top-1 accuracy (95 %)",
        ("", "all images", "top-5", "images with faces", "McNemar’s p"),
        [_row(step) for step in controls.steps],
    )
    placement = controls.placement
    if placement is not None:
        yield (
            f"In {placement.images:,} images {placement.regions:,} regions were placed at random. "
            f"They hide {format_percent(placement.share)} of these images on average, the faces’ "
            f"regions {format_percent(placement.faces_share)}. For want of room "
            f"{placement.overlapping:,} of them in {placement.crowded:,} images meet a hidden face "
            "all the same."
        )
    if controls.routes:
        routes = ", ".join(f"{count:,} {route}" for route, count in sorted(controls.routes.items()))
        yield f"How the images of “reencoded” travelled: {routes}."


def describe_model(model: Mapping[str, Any]) -> Iterator[Block]:
    """The model, and what it is fed with."""
    yield (
        f"{model['spec']}: {model['classes']:,} classes, on {model['device']} in {model['dtype']}, "
        f"{model['batch']:,} images at a time."
    )
    rows = [(f"preprocessing: {key}", _plain(value)) for key, value in model["preprocess"].items()]
    rows += [(key, value) for key, value in model["libraries"].items()]
    rows += [(f"sha256 of {key}", value) for key, value in model["weights_sha256"].items()]
    yield Table("What was run", ("", "value"), rows)


def _chart(controls: Controls) -> BarChart:
    bars = tuple(
        Bar(f"{step.before} → {step.after}", step.top1.difference, *step.top1.interval)
        for step in controls.steps
    )
    ends = [abs(end) for bar in bars for end in (bar.low or 0.0, bar.high or 0.0)]
    most = min(max(-(-max(ends) // 0.01) * 0.01, 0.01), 1.0)
    return BarChart("Change of top-1 accuracy between two arms", bars, (-most, most))


def _row(step: Step) -> tuple[str, ...]:
    return (
        f"{step.meaning}: {step.before} → {step.after}",
        _change(step.top1),
        "–" if step.top5 is None else _change(step.top5),
        "–" if step.present is None or not step.present.n else _change(step.present),
        f"{step.test.p:.2g}",
    )


def _change(change: Change) -> str:
    interval: Interval = change.interval
    return format_points(change.difference) + format_ends(interval)


def _plain(value: Any) -> str:
    return ", ".join(map(_plain, value)) if isinstance(value, list) else str(value)
