"""What a classifier's answers rest on, before and after obfuscation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from curate.impact.arrays import Floats
from curate.impact.explain.agreement import correlate
from curate.impact.explain.face_share import Estimate, FaceShare, Shares, estimate, summarise


@dataclass(frozen=True, slots=True)
class Answer:
    """What a classifier says of an image.

    Args:
        place: the best class, by number.
        name: its name, or its number where the model knows none.
        confidence: its share of the softmax, 0..1.
    """

    place: int
    name: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What one method says of one image.

    Args:
        shares: of its attribution, inside faces.
        cells: its maps of the original and of the obfuscated image on a grid, each flat.
        randomised: rank correlation of the original's map with that of a model whose last
            layer was shuffled; None where that was not looked at.
    """

    shares: Shares
    cells: tuple[Floats, Floats]
    randomised: float | None = None


@dataclass(frozen=True, slots=True)
class Explained:
    """One image, as it was and obfuscated.

    Args:
        id: which image.
        category: its class as the dataset has it, or None.
        faces: how many regions are hidden.
        area: share of the model's input inside them.
        change: half the sum of absolute differences of both softmaxes, 0..1.
        original: what the classifier says of the original.
        obfuscated: what it says of the obfuscated image.
        measured: by method.
    """

    id: str
    category: str | None
    faces: int
    area: float
    change: float
    original: Answer
    obfuscated: Answer
    measured: Mapping[str, Measured]

    @property
    def label(self) -> str:
        """What it is grouped by: its category, or else what the original is taken for."""
        return self.original.name if self.category is None else self.category


@dataclass(frozen=True, slots=True)
class Agreement:
    """Mean rank correlation of two maps, NaN of nothing.

    Args:
        n: images on which both say something.
        original: on the originals.
        obfuscated: on the obfuscated images; None where there is nothing to compare.
    """

    n: int
    original: Estimate
    obfuscated: Estimate | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was found of all images.

    Args:
        images: one by one, in the order that was asked for.
        overall: by method.
        by_class: by class, those with the most images first, then by method.
        agreement: by pair of methods.
        randomised: by method that looks inside, of trained and shuffled model.
    """

    images: tuple[Explained, ...]
    overall: Mapping[str, FaceShare]
    by_class: Mapping[str, Mapping[str, FaceShare]]
    agreement: Mapping[tuple[str, str], Agreement]
    randomised: Mapping[str, Agreement]


def explain(images: Sequence[Explained], methods: Sequence[str], seed: int) -> Explanation:
    """Draw together what was found of single images.

    Args:
        images: each with all of the methods.
        methods: their names.
        seed: of the bootstrap.
    """
    labels: dict[str, list[Explained]] = {}
    for each in images:
        labels.setdefault(each.label, []).append(each)
    order = sorted(labels, key=lambda label: (-len(labels[label]), label))
    return Explanation(
        images=tuple(images),
        overall=_summarise(images, methods, seed),
        by_class={label: _summarise(labels[label], methods, seed) for label in order},
        agreement={
            (a, b): _agree(
                [(each.measured[a].cells, each.measured[b].cells) for each in images], seed
            )
            for a, b in combinations(methods, 2)
        },
        randomised={
            name: _agreement([found], seed)
            for name in methods
            for found in [[each.measured[name].randomised for each in images]]
            if any(value is not None for value in found)
        },
    )


def measure_change(before: npt.ArrayLike, after: npt.ArrayLike) -> float:
    """Half the sum of absolute differences of two softmaxes: 0 is none and 1 is all.

    That is the total variation distance.

    Args:
        before: scores before softmax, K.
        after: the same.
    """
    p, q = softmax(before), softmax(after)
    return float(np.abs(p - q).sum() / 2)


def softmax(scores: npt.ArrayLike) -> Floats:
    """Scores as shares that add up to 1, K."""
    values = np.asarray(scores, dtype=np.float64)
    raised = np.exp(values - values.max())
    return np.asarray(raised / raised.sum())


def _summarise(
    images: Sequence[Explained], methods: Sequence[str], seed: int
) -> dict[str, FaceShare]:
    return {
        name: summarise([each.measured[name].shares for each in images], seed) for name in methods
    }


def _agree(pairs: Sequence[tuple[tuple[Floats, Floats], ...]], seed: int) -> Agreement:
    sides = [[correlate(a[side], b[side]) for a, b in pairs] for side in (0, 1)]
    return _agreement(sides, seed)


def _agreement(sides: Sequence[Sequence[float | None]], seed: int) -> Agreement:
    table = np.array(sides, dtype=np.float64).reshape(len(sides), -1)
    known = table[:, np.isfinite(table).all(axis=0)]
    found = [estimate(row, seed) for row in known]
    return Agreement(known.shape[1], found[0], found[1] if len(found) > 1 else None)
