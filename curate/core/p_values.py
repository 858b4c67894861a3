"""P-values adjusted for multiple tests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def benjamini_hochberg(p: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return adjusted p-values (q-values), shape (K,).

    Benjamini and Hochberg, *Controlling the false discovery rate* (JRSS B 57, 1995).

    Args:
        p: p-values, shape (K,).
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p)[::-1]
    ranks = np.arange(len(p), 0, -1)
    q = np.empty(len(p))
    q[order] = np.minimum.accumulate(np.minimum(1.0, p[order] * (len(p) / ranks)))
    return q
