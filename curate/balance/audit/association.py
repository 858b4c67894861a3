"""Which labels go with which groups more, or less, often than chance would have it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.balance.contingency import Ints
from curate.core.intervals import Floats, Interval, percentiles

FALSE_DISCOVERIES = 0.05
"""The share of what is flagged that may be chance (Benjamini and Hochberg)."""

DRAWS = 1000
"""Resamples for an interval."""

_CELLS = 4_000_000  # drawn at once, so that memory stays small whatever the data


@dataclass(frozen=True, slots=True)
class Association:
    """A label and a group.

    Args:
        label: the label.
        attribute: the attribute, or several joined by commas.
        group: its value, or several joined by bars.
        count: how many have both.
        pmi: pointwise mutual information, bits; None where none has both.
        npmi: the same, normalised to -1..1 (Bouma, GSCL 2009, as Aka et al., AIES 2021,
            use it); 0 is chance, -1 never together, 1 never apart.
        interval: the bootstrap's, 95 %, of ``npmi``; None where it can say nothing.
        p: of Fisher's exact test: chance of a count as far off, were groups dealt at random;
            None of counts with noise, which the test would take for telling.
        q: the share of chance among all that are at least as telling; None without ``p``.
        flagged: whether ``q`` is small enough.
        pmi_interval: the bootstrap's, 95 %, of ``pmi``; None where it can say nothing.
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
    """A column of labels and an attribute, with the counts that associations are made of.

    Args:
        attribute: the attribute's name.
        labels: L names.
        groups: G names; no record is of two.
        both: L×G, how many have both.
        of_group: G, how many are of each group; a record may have several labels or none.
    """

    attribute: str
    labels: Sequence[str]
    groups: Sequence[str]
    both: Ints
    of_group: Ints


def associate(pair: Pair, seed: int = 0, tested: bool = True) -> list[Association]:
    """Every label with every group; ``q`` is left at 1 for ``control`` to fill.

    The bootstrap draws as many records anew with replacement. Records with the same
    labels and group are alike, so that only their counts need drawing: multinomially,
    for each label over its 2×G cells.

    Args:
        pair: the counts.
        seed: the same seed and names give the same intervals.
        tested: whether the counts are exact; of others there are estimates and nothing else.
    """
    total = int(pair.of_group.sum())
    found: list[Association] = []
    for label, both in zip(pair.labels, pair.both, strict=True):
        of_label = int(both.sum())
        if not of_label:
            continue
        pmi, npmi = normalised_pmi(both, np.int64(of_label), pair.of_group, total)
        tests = _test(pair, label, both, seed) if tested else [_UNTESTED] * len(pair.groups)
        found += [
            Association(
                label=label,
                attribute=pair.attribute,
                group=group,
                count=int(both[place]),
                pmi=float(pmi[place]) if both[place] else None,
                npmi=float(npmi[place]),
                interval=tests[place].npmi,
                p=tests[place].p,
                q=None if tests[place].p is None else 1.0,
                flagged=False,
                pmi_interval=tests[place].pmi,
            )
            for place, group in enumerate(pair.groups)
            if pair.of_group[place]
        ]
    return found


def control(found: Iterable[Association], rate: float = FALSE_DISCOVERIES) -> list[Association]:
    """Flag what is no chance, with at most a share of false flags among all flags.

    Args:
        found: every association that was looked at, flagged or not; those without ``p``
            are no test.
        rate: the false-discovery rate.
    """
    everything = list(found)
    values = iter(benjamini_hochberg([each.p for each in everything if each.p is not None]))
    return [each if each.p is None else _flag(each, next(values), rate) for each in everything]


def _flag(found: Association, q: float, rate: float) -> Association:
    return replace(found, q=q, flagged=q <= rate)


def benjamini_hochberg(values: Sequence[float]) -> list[float]:
    """Adjusted p-values (Benjamini and Hochberg, JRSS B 57, 1995), in the order given."""
    p = np.asarray(values, dtype=np.float64)
    if not len(p):
        return []
    order = np.argsort(p)
    steps = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(steps[::-1])[::-1])
    return [float(value) for value in adjusted]


def normalised_pmi(
    both: npt.NDArray[np.int64],
    of_label: npt.NDArray[np.int64] | np.int64,
    of_group: npt.NDArray[np.int64],
    total: int,
) -> tuple[Floats, Floats]:
    """PMI in bits and nPMI; -1 where the two are never together, NaN where one is never seen.

    Args:
        both: how many have the label and are of the group; any shape.
        of_label: how many have the label; broadcast with ``both``.
        of_group: how many are of the group; broadcast with ``both``.
        total: how many there are.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        joint = both / total
        pmi = np.log2(joint * total * total / (of_label * np.float64(1) * of_group))
        npmi = pmi / -np.log2(joint)
    npmi = np.where(joint == 0, -1.0, np.where(joint == 1, 0.0, npmi))
    seen = (of_label > 0) & (of_group > 0)
    return pmi, np.where(seen, npmi, np.nan)


def fisher_p(both: Ints, of_label: int, of_group: Ints, total: int) -> Floats:
    """Fisher's exact test, two-sided: the exact law of a permutation test of one group.

    Twice the smaller tail, at most 1, which never rejects more often than it says.
    """
    from scipy.stats import hypergeom  # takes its time to import

    below = hypergeom.cdf(both, total, of_label, of_group)
    above = hypergeom.sf(both - 1, total, of_label, of_group)
    p: Floats = np.minimum(1.0, 2 * np.minimum(below, above))
    return p


class _Test(NamedTuple):
    """What is said of a label and a group beside the estimates."""

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
        _Test(float(p[place]), percentiles(pmi[:, place]), percentiles(npmi[:, place]))
        for place in range(len(pair.groups))
    ]


def _resample(both: Ints, of_group: Ints, random: np.random.Generator) -> tuple[Floats, Floats]:
    """PMI and nPMI of one label with each group, drawn anew, DRAWS×G each."""
    total, groups = int(of_group.sum()), len(of_group)
    chances = np.concatenate([both, of_group - both]) / total
    rows = max(1, _CELLS // len(chances))
    samples: list[tuple[Floats, Floats]] = []
    for start in range(0, DRAWS, rows):
        drawn = random.multinomial(total, chances, size=min(rows, DRAWS - start))
        with_label, of = drawn[:, :groups], drawn[:, :groups] + drawn[:, groups:]
        of_label = with_label.sum(axis=1, keepdims=True)
        samples.append(normalised_pmi(with_label, of_label, of, total))
    pmi, npmi = zip(*samples, strict=True)
    return np.concatenate(pmi), np.concatenate(npmi)
