"""What of the cost is that of hiding faces: obfuscation against control arms.

An obfuscated image differs from its original in three ways at once: parts of it were
encoded again, parts of it are hidden, and these parts are faces. Each control arm takes
one of them away, so that the differences between arms, step by step, add up to the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from curate.impact.arms import Arm, Experiment, Hits
from curate.impact.arrays import Bools
from curate.impact.predictions.paired import Change, McNemar, compare, mcnemar
from curate.impact.predictions.strata import Faces
from curate.impact.resample import Bootstrap, make_bootstrap

ORIGINAL, OBFUSCATED = "original", "obfuscated"
REENCODED, RANDOM_REGION = "reencoded", "random-region"
CONTROLS = (REENCODED, RANDOM_REGION)
"""The control arms, from the least that is done to an image to the most."""

_STEPS = (
    (ORIGINAL, OBFUSCATED, "all of it"),
    (ORIGINAL, REENCODED, "encoding again, with nothing hidden"),
    (ORIGINAL, RANDOM_REGION, "encoding again, with as much hidden away from faces"),
    (REENCODED, RANDOM_REGION, "hiding anything"),
    (REENCODED, OBFUSCATED, "hiding faces"),
    (RANDOM_REGION, OBFUSCATED, "that it is faces that are hidden"),
)

_SENTENCES = {
    (ORIGINAL, OBFUSCATED): "In all, obfuscation changes top-1 accuracy by",
    (ORIGINAL, REENCODED): "Encoding the same blocks again, with nothing hidden, accounts for",
    (ORIGINAL, RANDOM_REGION): "Encoding again and hiding as much away from faces accounts for",
    (REENCODED, RANDOM_REGION): "Hiding as much of the image away from faces accounts for",
    (REENCODED, OBFUSCATED): "Hiding the faces accounts for",
    (RANDOM_REGION, OBFUSCATED): (
        "That it is faces that are hidden, and not something else, accounts for"
    ),
}


@dataclass(frozen=True, slots=True)
class Accuracy:
    """An arm by itself; shares are 0..1.

    Args:
        arm: its name.
        top1: of the best class.
        top5: of the five best; None where fewer are ranked.
    """

    arm: str
    top1: float
    top5: float | None


@dataclass(frozen=True, slots=True)
class Step:
    """The same images in two arms.

    Args:
        before: the arm that less was done to.
        after: the other one.
        meaning: what only the second has.
        top1: the change of the best class's accuracy; its ``original`` is that of
            ``before``, its ``obfuscated`` that of ``after``.
        top5: the same of the five best; None where fewer are ranked.
        test: McNemar's exact test of the best class.
        present: ``top1`` on images with faces only; None where they are not known.
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
    """Where the regions of the arm ``random-region`` came to lie.

    Args:
        images: images with regions.
        regions: how many regions they have.
        overlapping: how many of these meet a hidden face, for want of room.
        crowded: images with such regions.
        faces_share: mean share of these images' area that hides faces, 0..1.
        share: mean share of their area that the regions hide instead, 0..1.
    """

    images: int
    regions: int
    overlapping: int
    crowded: int
    faces_share: float
    share: float


@dataclass(frozen=True, slots=True)
class Controls:
    """Every arm, and what lies between each two.

    Args:
        accuracies: original, obfuscated, and the control arms that were run.
        steps: of the arms that were run.
        routes: images of the arm ``reencoded`` by how their pixels travelled; empty if it
            was not run.
        placement: of the arm ``random-region``; None if it was not run.
    """

    accuracies: tuple[Accuracy, ...]
    steps: tuple[Step, ...]
    routes: Mapping[str, int] = field(default_factory=dict)
    placement: Placement | None = None


def compare_controls(
    experiment: Experiment, controls: Mapping[str, Arm], faces: Faces | None, seed: int
) -> Controls:
    """Compare the arms of one model.

    Args:
        experiment: of one model.
        controls: the control arms by name; images in the same order.
        faces: in that order too, or None where they are not known.
        seed: of the bootstrap.
    """
    model = experiment.models[0]
    arms = {ORIGINAL: model.original, OBFUSCATED: model.obfuscated, **controls}
    has_five = experiment.depth >= 5
    accuracies = tuple(
        Accuracy(name, _share(arm, 1), _share(arm, 5) if has_five else None)
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
                top5=compare(five, bootstrap, f"top5 {name}") if has_five else None,
                test=mcnemar(hits),
                present=_among(hits, present, bootstrap, name),
            )
        )
    return Controls(accuracies, tuple(steps))


def describe_controls(controls: Controls) -> Iterator[str]:
    """What the arms tell apart, a sentence each; without control arms nothing."""
    run = [each.arm for each in controls.accuracies]
    chain = [arm for arm in (ORIGINAL, *CONTROLS, OBFUSCATED) if arm in run]
    if len(chain) == 2:
        return
    yield _sentence(controls, ORIGINAL, OBFUSCATED)
    for before, after in pairwise(chain):
        yield _sentence(controls, before, after)


def is_shown(change: Change) -> bool:
    """Whether the interval of a difference holds no 0."""
    return not change.interval.low <= 0 <= change.interval.high


def _sentence(controls: Controls, before: str, after: str) -> str:
    step = next(each for each in controls.steps if (each.before, each.after) == (before, after))
    low, high = step.top1.interval
    surely = "" if is_shown(step.top1) else ", which these images cannot tell from nothing"
    return (
        f"{_SENTENCES[before, after]} {_points(step.top1.difference)} points "
        f"({_points(low)} to {_points(high)}){surely}."
    )


def _points(value: float) -> str:
    return f"{100 * value:+.2f}".replace("-", "−")


def _hits(before: Arm, after: Arm, k: int) -> Hits:
    return Hits((before.rank < k)[:, None], (after.rank < k)[:, None])


def _share(arm: Arm, k: int) -> float:
    return float(np.mean(arm.rank < k))


def _among(hits: Hits, rows: Bools | None, bootstrap: Bootstrap, name: str) -> Change | None:
    return None if rows is None else compare(hits.of(rows), bootstrap, f"faces {name}")
