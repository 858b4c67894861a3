"""Whether as many images are gained as lost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from curate.impact.arms import Hits
from curate.impact.arrays import Floats


@dataclass(frozen=True, slots=True)
class McNemar:
    """Discordant images, and the exact test of them.

    Args:
        b: images that are right before and wrong after: lost.
        c: images that are wrong before and right after: gained.
        p: chance of a split at least as uneven, if both were equally likely.
    """

    b: int
    c: int
    p: float


def mcnemar(hits: Hits) -> McNemar:
    """McNemar's exact test (Psychometrika 12, 1947).

    Of several models, an image counts as lost if more models lose it than gain it:
    models that see the same image are not independent, images are. The test is then
    about these models, not about others of their kind.
    """
    net = hits.differences.sum(axis=1)
    lost, gained = int((net < 0).sum()), int((net > 0).sum())
    return McNemar(lost, gained, float(exact_p(lost, gained)))


def exact_p(b: npt.ArrayLike, c: npt.ArrayLike) -> Floats:
    """Two-sided p of the sign test, elementwise; 1 where nothing changed."""
    lost, gained = np.asarray(b), np.asarray(c)
    tail = bdtr(np.minimum(lost, gained), lost + gained, 0.5)
    return np.minimum(1.0, 2.0 * np.asarray(tail, dtype=np.float64))
