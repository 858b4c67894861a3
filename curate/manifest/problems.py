"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that differs from the manifest.

    Args:
        kind: ``manifest``, ``missing``, ``extra``, ``changed``, ``leak``, ``source`` or ``pixels``.
        path: relative to OUT; as found, so it may hold what a terminal must not see.
        detail: one line for a person.
    """

    kind: str
    path: str
    detail: str
