"""Control arms: how much of the effect is due to hiding faces.

An obfuscated image differs from its original in three ways at once: parts of it were encoded
again, parts of it are hidden, and these parts are faces. Each control arm removes one of these
differences, so that the steps between arms add up to the total.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from curate.impact.experiment import OBFUSCATED as OBFUSCATED
from curate.impact.experiment import ORIGINAL as ORIGINAL
from curate.impact.experiment import Arm, Bools, Experiment, Faces, Hits
from curate.impact.formatting import (
    NO_VALUE,
    draw_differences,
    format_ends,
    format_percent,
    format_points,
    pick,
    to_plain,
)
from curate.impact.paired import Bootstrap, Change, McNemar, compare, make_bootstrap, mcnemar
from curate.report.numbers import format_probability
from curate.report.values import Bar, BarChart, Block, Table

REENCODED, RANDOM_REGION = "reencoded", "random-region"
CONTROLS = (REENCODED, RANDOM_REGION)
"""The control arms, in increasing order of change to the image."""

_STEPS = (
    (ORIGINAL, OBFUSCATED, "total"),
    (ORIGINAL, REENCODED, "encoding again, with nothing hidden"),
    (ORIGINAL, RANDOM_REGION, "encoding again, with as much hidden away from faces"),
    (REENCODED, RANDOM_REGION, "hiding any region"),
    (REENCODED, OBFUSCATED, "hiding faces"),
    (RANDOM_REGION, OBFUSCATED, "that the hidden regions are faces"),
)

_SENTENCES = {
    (ORIGINAL, OBFUSCATED): "In total, obfuscation changes top-1 accuracy by",
    (ORIGINAL, REENCODED): "Encoding the same blocks again, with nothing hidden, accounts for",
    (ORIGINAL, RANDOM_REGION): "Encoding again and hiding as much away from faces accounts for",
    (REENCODED, RANDOM_REGION): "Hiding as much of the image away from faces accounts for",
    (REENCODED, OBFUSCATED): "Hiding the faces accounts for",
    (RANDOM_REGION, OBFUSCATED): "That the hidden regions are faces accounts for",
}

_EXPLANATION = (
    "An obfuscated image differs from its original in three ways at once: blocks of it were "
    "encoded again, parts of it are hidden, and these parts are faces. In the arm “reencoded” the "
    "same blocks are encoded again with nothing hidden; in “random-region” as many regions of the "
    "same sizes are hidden by the same method, at random positions away from the faces. The steps "
    "between the arms add up to the total."
)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracy of one arm, as fractions.

    Args:
        arm: its name.
        top1: top-1 accuracy.
        top5: top-5 accuracy; None where fewer classes are ranked.
    """

    arm: str
    top1: float
    top5: float | None


@dataclass(frozen=True, slots=True)
class Step:
    """The same images in two arms.

    Args:
        before: the arm with the smaller change.
        after: the other arm.
        meaning: what differs between them.
        top1: change of top-1 accuracy; ``original`` refers to ``before``, ``obfuscated`` to
            ``after``.
        top5: change of top-5 accuracy; None where fewer classes are ranked.
        test: McNemar's exact test of top-1 accuracy.
        present: ``top1`` on images with faces; None where these are unknown.
    """

    before: str
    after: str
    meaning: str
    top1: Change
    top5: Change | None
    test: McNemar
    present: Change | None


@dataclass(frozen=True, slots=True)
class Placement:
    """Positions of the regions of the arm ``random-region``.

    Args:
        images: number of images with regions.
        regions: number of regions.
        overlapping: number of regions that overlap a hidden face for lack of space.
        crowded: number of images with such regions.
        faces_share: mean share of these images' area that hides faces, 0..1.
        share: mean share of their area that the regions hide, 0..1.
    """

    images: int
    regions: int
    overlapping: int
    crowded: int
    faces_share: float
    share: float


@dataclass(frozen=True, slots=True)
class Controls:
    """All arms and the steps between them.

    Args:
        accuracies: of original, obfuscated and the control arms that were run.
        steps: between the arms that were run.
        routes: number of images of ``reencoded`` by how their pixels were written; empty if it
            was not run.
        placement: of ``random-region``; None if it was not run.
    """

    accuracies: tuple[Accuracy, ...]
    steps: tuple[Step, ...]
    routes: Mapping[str, int] = field(default_factory=dict)
    placement: Placement | None = None


def compare_arms(
    experiment: Experiment, controls: Mapping[str, Arm], faces: Faces | None, seed: int
) -> Controls:
    """Compare the arms of one model.

    Args:
        experiment: predictions of one model.
        controls: control arms by name, images in the same order.
        faces: hidden faces in that order; None where unknown.
        seed: random seed of the bootstrap.
    """
    model = experiment.models[0]
    arms = {ORIGINAL: model.original, OBFUSCATED: model.obfuscated, **controls}
    has_top5 = experiment.depth >= 5
    accuracies = tuple(
        Accuracy(name, _accuracy(arm, 1), _accuracy(arm, 5) if has_top5 else None)
        for name, arm in arms.items()
    )
    bootstrap = make_bootstrap(1, seed)
    present = faces.counts > 0 if faces is not None else None
    steps = []
    for before, after, meaning in _STEPS:
        if before not in arms or after not in arms:
            continue
        name = f"{before} {after}"
        hits = _hits(arms[before], arms[after], 1)
        five = _hits(arms[before], arms[after], 5)
        steps.append(
            Step(
                before,
                after,
                meaning,
                top1=compare(hits, bootstrap, f"top1 {name}"),
                top5=compare(five, bootstrap, f"top5 {name}") if has_top5 else None,
                test=mcnemar(hits),
                present=_compare_some(hits, present, bootstrap, name),
            )
        )
    return Controls(accuracies, tuple(steps))


def describe_controls(controls: Controls) -> Iterator[str]:
    """Describe the steps, one sentence each; nothing without control arms."""
    run = [each.arm for each in controls.accuracies]
    chain = [arm for arm in (ORIGINAL, *CONTROLS, OBFUSCATED) if arm in run]
    if len(chain) == 2:
        return
    yield _describe_step(controls, ORIGINAL, OBFUSCATED)
    for before, after in pairwise(chain):
        yield _describe_step(controls, before, after)


def excludes_zero(change: Change) -> bool:
    """Return whether the interval of a difference excludes 0."""
    return not change.interval.low <= 0 <= change.interval.high


def _describe_step(controls: Controls, before: str, after: str) -> str:
    step = next(each for each in controls.steps if (each.before, each.after) == (before, after))
    low, high = step.top1.interval
    verdict = "" if excludes_zero(step.top1) else "; the interval includes 0"
    return (
        f"{_SENTENCES[before, after]} {format_points(step.top1.difference)} points "
        f"({format_points(low)} to {format_points(high)}){verdict}."
    )


def _hits(before: Arm, after: Arm, k: int) -> Hits:
    return Hits((before.rank < k)[:, None], (after.rank < k)[:, None])


def _accuracy(arm: Arm, k: int) -> float:
    return float(np.mean(arm.rank < k))


def _compare_some(hits: Hits, rows: Bools | None, bootstrap: Bootstrap, name: str) -> Change | None:
    return None if rows is None else compare(hits.select(rows), bootstrap, f"faces {name}")


def list_controls(controls: Controls) -> dict[str, Any]:
    """Return the control arms for JSON; differences are ``to`` minus ``from``, fractions."""
    return {
        "accuracy": [pick(each, "arm", "top1", "top5") for each in controls.accuracies],
        "steps": [
            {
                "from": step.before,
                "to": step.after,
                "meaning": step.meaning,
                "top1": _list_difference(step.top1),
                "top5": _list_difference(step.top5) if step.top5 else None,
                "with_faces": _list_difference(step.present) if step.present else None,
                "mcnemar": asdict(step.test),
            }
            for step in controls.steps
        ],
        "routes": dict(sorted(controls.routes.items())),
        "placement": to_plain(controls.placement),
        "statement": list(describe_controls(controls)),
    }


def _list_difference(change: Change) -> dict[str, Any]:
    return pick(change, "n", "difference", "ci95=interval", "bootstrap")


def lay_out_controls(controls: Controls) -> Iterator[Block]:
    """The page's section on control arms."""
    yield _EXPLANATION
    yield from describe_controls(controls)
    yield _draw_steps(controls)
    yield Table(
        "Accuracy of each arm",
        ("", "top-1", "top-5"),
        [
            (
                each.arm,
                format_percent(each.top1),
                NO_VALUE if each.top5 is None else format_percent(each.top5),
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
            f"regions {format_percent(placement.faces_share)}."
        )
        if placement.overlapping:
            overlap = "overlaps" if placement.overlapping == 1 else "overlap"
            yield (
                f"For lack of space {placement.overlapping:,} of them in {placement.crowded:,} "
                f"images {overlap} a hidden face."
            )
    if controls.routes:
        routes = ", ".join(f"{count:,} {route}" for route, count in sorted(controls.routes.items()))
        yield f"How the images of “reencoded” were written: {routes}."


def _draw_steps(controls: Controls) -> BarChart:
    bars = [
        Bar(f"{step.before} → {step.after}", step.top1.difference, *step.top1.interval)
        for step in controls.steps
    ]
    return draw_differences("Change of top-1 accuracy between two arms", bars)


def _row(step: Step) -> tuple[str, ...]:
    return (
        f"{step.meaning}: {step.before} → {step.after}",
        _format(step.top1),
        NO_VALUE if step.top5 is None else _format(step.top5),
        NO_VALUE if step.present is None or not step.present.n else _format(step.present),
        format_probability(step.test.p),
    )


def _format(change: Change) -> str:
    return format_points(change.difference) + format_ends(change.interval)
