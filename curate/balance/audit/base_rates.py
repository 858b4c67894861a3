"""Base rates: how often each group has a label, compared with a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from curate.balance.audit.noise import NoisyShare
from curate.balance.contingency import Bools, Ints
from curate.core.intervals import Interval, Share, newcombe

FOUR_FIFTHS = 0.8
"""Rates below this share of the highest one are marked (EEOC, *Uniform Guidelines*, 1978)."""


@dataclass(frozen=True, slots=True)
class BaseRate:
    """The base rate of a label in a group.

    Args:
        group: its name.
        share: units with the label, of the group; None if suppressed.
        difference: the rate minus the reference's; None where there is no reference.
        interval: Newcombe's, 95 %, of the difference.
        ratio: the rate divided by the reference's; None where that is 0.
        below: whether the ratio fails the four-fifths rule; None where there is none.
    """

    group: str
    share: Share | None
    difference: float | None = None
    interval: Interval | None = None
    ratio: float | None = None
    below: bool | None = None


@dataclass(frozen=True, slots=True)
class LabelRates:
    """The rates of one label over the groups of one attribute.

    Args:
        label: the label.
        attribute: the attribute.
        reference: the group with the highest rate; None where a count is hidden.
        rates: one for each group.
    """

    label: str
    attribute: str
    reference: str | None
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
    """

    attribute: str
    names: Sequence[str]
    sizes: Ints
    hidden: Bools
    compared: Bools
    noise: float = 0.0


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
    best: Share | None = None
    reference = None
    if known.sum() > 1 and not (unknown & groups.compared).any():
        rates = np.where(known, both / np.maximum(groups.sizes, 1), -1.0)
        position = int(np.argmax(rates))
        best, reference = shares[position], groups.names[position]
    compare = _estimate if groups.noise else _compare
    rated = (compare(name, share, best) for name, share in zip(groups.names, shares, strict=True))
    return LabelRates(label, groups.attribute, reference, tuple(rated))


def _share(hits: int, size: int, noise: float) -> Share:
    """Share of a group; noise may have made the part larger than the whole."""
    if not noise:
        return Share(min(hits, size), size)
    return NoisyShare(min(hits, size), size, noise, (hits, size))


def _compare(name: str, share: Share | None, best: Share | None) -> BaseRate:
    if share is None or best is None or not share.total:
        return BaseRate(name, share)
    ratio = share.value / best.value if best.hits else None
    return BaseRate(
        group=name,
        share=share,
        difference=share.value - best.value,
        interval=newcombe(share, best),
        ratio=ratio,
        below=None if ratio is None else ratio < FOUR_FIFTHS,
    )


def _estimate(name: str, share: Share | None, best: Share | None) -> BaseRate:
    """For counts with noise: difference and ratio without interval or test."""
    said = _compare(name, share, best)
    return replace(said, interval=None, below=None)
