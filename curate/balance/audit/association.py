"""Associations between labels and groups: nPMI, Fisher's exact test, false-discovery control."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.balance.contingency import Ints
from curate.core.intervals import Floats, Interval, percentiles
from curate.core.p_values import benjamini_hochberg

FALSE_DISCOVERIES = 0.05
"""False discovery rate (Benjamini and Hochberg)."""

DRAWS = 1000
"""Bootstrap resamples."""

_CELLS = 4_000_000  # drawn at once, which bounds memory


@dataclass(frozen=True, slots=True)
class Association:
    """A label and a group.

    Args:
        label: the label.
        attribute: the attribute, or several joined by commas.
        group: its value, or several joined by bars.
        count: number of units with both.
        pmi: pointwise mutual information, bits; None if the count is 0.
        npmi: normalized PMI, -1..1 (Bouma, GSCL 2009; Aka et al., AIES 2021): 0 for
            independence, -1 if never together, 1 if always together.
        interval: 95 % bootstrap interval of ``npmi``, or None.
        p: p-value of Fisher's exact test; None for counts with noise.
        q: p-value adjusted for the false discovery rate; None without ``p``.
        flagged: whether ``q`` is at most the false discovery rate.
        pmi_interval: 95 % bootstrap interval of ``pmi``, or None.
    """

    label: str
    attribute: str
    group: str
    count: int
    pmi: float | None
    npmi: float
    interval: Interval | None
    p: float | None
    q: float | None
    flagged: bool
    pmi_interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """Counts of L labels by G groups.

    Args:
        attribute: the attribute's name.
        labels: L names.
        groups: G names of disjoint groups.
        both: int64, shape (L, G).
        of_group: group sizes, int64, shape (G,); a record may have several labels or none.
    """

    attribute: str
    labels: Sequence[str]
    groups: Sequence[str]
    both: Ints
    of_group: Ints


def compute_associations(pair: Pair, seed: int = 0, tested: bool = True) -> list[Association]:
    """Associations of every label with every group; `control` computes ``q``.

    The bootstrap resamples records; as records of one cell are exchangeable, it is a
    multinomial draw over the 2·G cells of each label.

    Args:
        pair: the counts.
        seed: random seed.
        tested: compute tests and intervals; not valid for counts with noise.
    """
    total = int(pair.of_group.sum())
    found: list[Association] = []
    for label, both in zip(pair.labels, pair.both, strict=True):
        of_label = int(both.sum())
        if not of_label:
            continue
        pmi, npmi = normalized_pmi(both, np.int64(of_label), pair.of_group, total)
        tests = _test(pair, label, both, seed) if tested else [_UNTESTED] * len(pair.groups)
        found += [
            Association(
                label=label,
                attribute=pair.attribute,
                group=group,
                count=int(both[position]),
                pmi=float(pmi[position]) if both[position] else None,
                npmi=float(npmi[position]),
                interval=tests[position].npmi,
                p=tests[position].p,
                q=None if tests[position].p is None else 1.0,
                flagged=False,
                pmi_interval=tests[position].pmi,
            )
            for position, group in enumerate(pair.groups)
            if pair.of_group[position]
        ]
    return found


def control(found: Iterable[Association], rate: float = FALSE_DISCOVERIES) -> list[Association]:
    """Flag associations, controlling the false discovery rate.

    Args:
        found: all associations; those without ``p`` are not tests.
        rate: the false discovery rate.
    """
    everything = list(found)
    values = iter(
        benjamini_hochberg([each.p for each in everything if each.p is not None]).tolist()
    )
    return [each if each.p is None else _flag(each, next(values), rate) for each in everything]


def _flag(found: Association, q: float, rate: float) -> Association:
    return replace(found, q=q, flagged=q <= rate)


def normalized_pmi(
    both: npt.NDArray[np.int64],
    of_label: npt.NDArray[np.int64] | np.int64,
    of_group: npt.NDArray[np.int64],
    total: int,
) -> tuple[Floats, Floats]:
    """PMI in bits and nPMI; -1 for a joint count of 0, NaN for a marginal count of 0.

    Args:
        both: joint counts; any shape.
        of_label: label counts; broadcast with ``both``.
        of_group: group counts; broadcast with ``both``.
        total: number of units.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        joint = both / total
        pmi = np.log2(joint * total * total / (of_label * np.float64(1) * of_group))
        npmi = pmi / -np.log2(joint)
    npmi = np.where(joint == 0, -1.0, np.where(joint == 1, 0.0, npmi))
    seen = (of_label > 0) & (of_group > 0)
    return pmi, np.where(seen, npmi, np.nan)


def fisher_p(both: Ints, of_label: int, of_group: Ints, total: int) -> Floats:
    """Two-sided Fisher's exact test: twice the smaller hypergeometric tail, at most 1.

    It is conservative.
    """
    from scipy.stats import hypergeom  # slow import

    below = hypergeom.cdf(both, total, of_label, of_group)
    above = hypergeom.sf(both - 1, total, of_label, of_group)
    p: Floats = np.minimum(1.0, 2 * np.minimum(below, above))
    return p


class _Test(NamedTuple):
    """p-value and intervals of one pair."""

    p: float | None
    pmi: Interval | None
    npmi: Interval | None


_UNTESTED = _Test(None, None, None)


def _test(pair: Pair, label: str, both: Ints, seed: int) -> list[_Test]:
    """One for each group."""
    name = zlib.crc32(f"{pair.attribute}\0{label}".encode())
    pmi, npmi = _resample(both, pair.of_group, np.random.default_rng([seed, name]))
    p = fisher_p(both, int(both.sum()), pair.of_group, int(pair.of_group.sum()))
    return [
        _Test(float(p[position]), percentiles(pmi[:, position]), percentiles(npmi[:, position]))
        for position in range(len(pair.groups))
    ]


def _resample(both: Ints, of_group: Ints, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Bootstrap samples of PMI and nPMI of one label, each of shape (DRAWS, G)."""
    total, groups = int(of_group.sum()), len(of_group)
    chances = np.concatenate([both, of_group - both]) / total
    rows = max(1, _CELLS // len(chances))
    samples: list[tuple[Floats, Floats]] = []
    for start in range(0, DRAWS, rows):
        drawn = random.multinomial(total, chances, size=min(rows, DRAWS - start))
        with_label, of = drawn[:, :groups], drawn[:, :groups] + drawn[:, groups:]
        of_label = with_label.sum(axis=1, keepdims=True)
        samples.append(normalized_pmi(with_label, of_label, of, total))
    pmi, npmi = zip(*samples, strict=True)
    return np.concatenate(pmi), np.concatenate(npmi)
