"""Counts of the images that people looked at, as a card states them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def count_looked_at(review: Mapping[str, Any]) -> int:
    """Images that people looked at in a review of the faces that a run was given.

    Args:
        review: an entry of ``given_faces.reviews`` of ``run.json``.
    """
    return int(review["states"]["reviewed"]) + int(review["states"]["sampled"])


def count_reviewed(report: Mapping[str, Any] | None) -> int:
    """Images that people looked at in a review: of its sample, if it has one.

    Args:
        report: as `curate.report_review` returns it, or None if there is none.

    Raises:
        KeyError, TypeError, ValueError: if it is not such a report.
    """
    if report is None:
        return 0
    bound = report["bound"]
    if bound is None:
        counts = [int(report["images"][name]) for name in ("reviewed", "queue")]
    else:
        counts = [int(bound[name]) for name in ("looked", "planned", "population", "found")]
        _ = bound["stated_upper"], bound["confidence"]  # which a card states as well
    return counts[0]
