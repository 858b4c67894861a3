"""Base rates: how often each group has a label, compared with all other groups.

The reference of a group is the rest of the population, or a stated group, not the group with the
highest rate: a maximum over small groups is high by chance. Rates are marked only if Fisher's
exact test supports a difference, at a false discovery rate of 5 % over all labels and groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from curate.balance.audit.association import fisher_p
from curate.balance.audit.noise import NoisyShare
from curate.balance.contingency import Bools, Ints
from curate.core.intervals import Interval, Share, newcombe
from curate.core.p_values import benjamini_hochberg

FOUR_FIFTHS = 0.8
"""Rates below this share of the reference are marked (EEOC, *Uniform Guidelines*, 1978)."""

MIN_REFERENCE = 30
"""Minimum size of the rest of the population, or of the stated reference group."""


@dataclass(frozen=True, slots=True)
class BaseRate:
    """The base rate of a label in a group.

    Args:
        group: its name.
        share: units with the label, of the group; None if suppressed.
        difference: the rate minus that of the reference; None if that is too small.
        interval: 95 % Newcombe interval of the difference.
        ratio: the rate divided by that of the reference; None if that is 0.
        below: whether the ratio fails the four-fifths rule and ``q`` is small; None if untested.
        p: p-value of Fisher's exact test; None if untested.
        q: p-value adjusted for the false discovery rate.
    """

    group: str
    share: Share | None
    difference: float | None = None
    interval: Interval | None = None
    ratio: float | None = None
    below: bool | None = None
    p: float | None = None
    q: float | None = None


@dataclass(frozen=True, slots=True)
class LabelRates:
    """The rates of one label over the groups of one attribute.

    Args:
        label: the label.
        attribute: the attribute.
        compared: whether groups were compared; False if counts are suppressed.
        rates: one for each group.
    """

    label: str
    attribute: str
    compared: bool
    rates: tuple[BaseRate, ...]


@dataclass(frozen=True, slots=True)
class Groups:
    """The G groups of one attribute.

    Args:
        attribute: its name.
        names: names of the groups.
        sizes: int64, shape (G,).
        hidden: bool, shape (G,); which sizes are suppressed.
        compared: bool, shape (G,); False for missing values, which are no reference.
        noise: scale of noise on every count; 0 for none.
        reference: position of the stated reference group; None for the rest of the population.
    """

    attribute: str
    names: Sequence[str]
    sizes: Ints
    hidden: Bools
    compared: Bools
    noise: float = 0.0
    reference: int | None = None


def rate(label: str, both: Ints, hidden: Bools, groups: Groups) -> LabelRates:
    """Compare the base rates of a label between groups.

    Args:
        label: the label.
        both: units of each group with the label, int64, shape (G,).
        hidden: bool, shape (G,); which of these counts are suppressed.
        groups: the groups.
    """
    unknown = hidden | groups.hidden
    shares = [
        None if secret else _share(int(hits), int(size), groups.noise)
        for hits, size, secret in zip(both, groups.sizes, unknown, strict=True)
    ]
    known = groups.compared & (groups.sizes > 0)
    if known.sum() < 2 or (unknown & groups.compared).any():
        rated = tuple(BaseRate(*each) for each in zip(groups.names, shares, strict=True))
        return LabelRates(label, groups.attribute, False, rated)
    rates = []
    for position, (name, share) in enumerate(zip(groups.names, shares, strict=True)):
        rest = known.copy()
        if groups.reference is not None:
            rest[:] = np.arange(len(rest)) == groups.reference
        rest[position] = False
        against = _share(int(both[rest].sum()), int(groups.sizes[rest].sum()), groups.noise)
        rates.append(_compare(name, share, against, tested=not groups.noise))
    return LabelRates(label, groups.attribute, True, tuple(rates))


def control_rates(found: Sequence[LabelRates], rate: float) -> list[LabelRates]:
    """Adjust the p-values of all rates for the false discovery rate, and mark low rates.

    Args:
        found: the rates of one column of labels, all attributes.
        rate: the false discovery rate.
    """
    values = [each.p for rates in found for each in rates.rates if each.p is not None]
    adjusted = iter(benjamini_hochberg(values).tolist())
    return [
        replace(
            rates,
            rates=tuple(
                each if each.p is None else _mark(each, next(adjusted), rate)
                for each in rates.rates
            ),
        )
        for rates in found
    ]


def _mark(found: BaseRate, q: float, rate: float) -> BaseRate:
    below = None if found.ratio is None else found.ratio < FOUR_FIFTHS and q <= rate
    return replace(found, q=q, below=below)


def _share(hits: int, size: int, noise: float) -> Share:
    """Share of a group; noise may have made the part larger than the whole."""
    hits, size = max(hits, 0), max(size, 0)
    if not noise:
        return Share(min(hits, size), size)
    return NoisyShare(min(hits, size), size, noise, (hits, size))


def _compare(name: str, share: Share | None, rest: Share, tested: bool) -> BaseRate:
    if share is None or not share.total or rest.total < MIN_REFERENCE:
        return BaseRate(name, share)
    total, hits = share.total + rest.total, share.hits + rest.hits
    p = fisher_p(np.array([share.hits]), hits, np.array([share.total]), total) if tested else None
    return BaseRate(
        group=name,
        share=share,
        difference=share.value - rest.value,
        interval=newcombe(share, rest) if tested else None,
        ratio=share.value / rest.value if rest.hits else None,
        p=None if p is None else float(p[0]),
    )
