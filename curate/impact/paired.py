"""How accuracy changes between two sets of predictions of the same images."""

from __future__ import annotations

import math
from dataclasses import dataclass

from curate.core.intervals import Interval, hull, paired, percentiles
from curate.impact.arms import Hits
from curate.impact.resample import Bootstrap, over_models, resample


@dataclass(frozen=True, slots=True)
class Change:
    """An accuracy before and after; shares are 0..1, NaN of no images.

    Args:
        n: images.
        original: accuracy on original images, mean over models.
        obfuscated: accuracy on obfuscated images, mean over models.
        wald: Bonett and Price's interval of the difference, over images.
        bootstrap: the bootstrap's, over images and models; None where it says nothing.
    """

    n: int
    original: float
    obfuscated: float
    wald: Interval
    bootstrap: Interval | None

    @property
    def difference(self) -> float:
        """Obfuscated minus original: negative where accuracy is lost."""
        return self.obfuscated - self.original

    @property
    def interval(self) -> Interval:
        """Of the difference: holds both the bootstrap's and Bonett and Price's.

        Of many images and one model the two are the same. Of few changed images the
        bootstrap is too narrow; over several models the other one is.
        """
        return hull(self.wald, self.bootstrap)


def compare(hits: Hits, bootstrap: Bootstrap, stream: str) -> Change:
    """The change of accuracy, with intervals.

    Args:
        hits: of any number of images.
        bootstrap: how resamples are drawn.
        stream: names the draw.
    """
    if not len(hits):
        return Change(0, math.nan, math.nan, Interval(-1.0, 1.0), None)
    differences = hits.differences
    drawn = over_models(resample(differences, bootstrap, stream), bootstrap)
    return Change(
        n=len(hits),
        original=float(hits.original.mean()),
        obfuscated=float(hits.obfuscated.mean()),
        wald=paired(differences.mean(axis=1)),
        bootstrap=percentiles(drawn),
    )
