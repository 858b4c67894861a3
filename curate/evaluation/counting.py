"""Faces counted by image and group, the form that the bootstrap draws from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.core.intervals import Floats, Share, resample_ratios
from curate.evaluation.judging import FaceTable


@dataclass(frozen=True, slots=True)
class Counts:
    """Faces by image and group: good ones C×G×M, and all C×G."""

    good: Floats
    all: Floats

    @property
    def rest(self) -> Counts:
        """The same for each group's complement."""
        return Counts(
            self.good.sum(axis=1, keepdims=True) - self.good,
            self.all.sum(axis=1, keepdims=True) - self.all,
        )

    def share(self, group: int, measure: int) -> Share:
        """The good ones of a group."""
        return Share(int(self.good[:, group, measure].sum()), int(self.all[:, group].sum()))

    def resample(self, seed: int) -> Floats:
        """Shares of images drawn anew, draws×G×M; a single NaN for each of no images."""
        images, groups, measures = self.good.shape
        if not images:
            return np.full((1, groups, measures), np.nan)
        below = np.repeat(self.all[:, :, None], measures, axis=2)
        ratios = resample_ratios(
            self.good.reshape(images, -1), below.reshape(images, -1), seed=seed
        )
        return ratios.reshape(-1, groups, measures)


def count(table: FaceTable, values: Sequence[str | None], names: Sequence[str]) -> Counts:
    """Faces by image and group; images without a face of any group are left out."""
    place = {name: number for number, name in enumerate(names)}
    codes = np.array([place.get(value, -1) if value is not None else -1 for value in values], int)
    known = codes >= 0
    _, images = np.unique(table.image[known], return_inverse=True)
    shape = (int(images.max()) + 1 if len(images) else 0, len(names))
    everything: Floats = np.zeros(shape)
    good: Floats = np.zeros((*shape, table.good.shape[1]))
    np.add.at(everything, (images, codes[known]), 1.0)
    np.add.at(good, (images, codes[known]), table.good[known])
    return Counts(good, everything)
