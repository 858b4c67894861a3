"""What a card says of reviews by people: how many images were looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.review.report import describe_assumption


def count_looked_at(review: Mapping[str, Any]) -> int:
    """Images that people looked at in a review of the faces that a run was given.

    Args:
        review: an entry of ``given_faces.reviews`` of ``run.json``.
    """
    return int(review["states"]["reviewed"]) + int(review["states"]["sampled"])


def describe_review(report: Mapping[str, Any] | None) -> dict[str, Any]:
    """How many images were looked at in a review, and what its bound rests on.

    Args:
        report: as `curate.report_review` returns it, or None if there is none.

    Returns:
        ``looked_at``, and ``assumption``, the end of the sentence that states the bound.

    Raises:
        KeyError, TypeError, AttributeError: if it is not such a report.
    """
    if report is None:
        return {"looked_at": 0, "assumption": ""}
    bound = report["bound"]
    if bound is None:
        return {"looked_at": int(report["images"]["reviewed"]), "assumption": ""}
    return {"looked_at": int(bound["looked"]), "assumption": describe_assumption(report)}
