"""Which of many tests hold, together."""

from __future__ import annotations

import numpy as np

from curate.impact.arrays import Floats


def control(p: Floats) -> Floats:
    """The q values: the false discovery rate at which each test would just hold.

    Benjamini and Hochberg, *Controlling the false discovery rate* (JRSS B 57, 1995).

    Args:
        p: of any number of tests.
    """
    order = np.argsort(p)[::-1]
    places = np.arange(len(p), 0, -1)
    q = np.empty(len(p))
    q[order] = np.minimum.accumulate(np.minimum(1.0, p[order] * (len(p) / places)))
    return q
