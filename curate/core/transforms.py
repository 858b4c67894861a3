"""What was done to an image, in a form that can be written down and done again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Transform:
    """One step applied to an image.

    Args:
        name: registered name of the method.
        version: version of the method's results; changes when its bytes change.
        parameters: every option that can change the result.
    """

    name: str
    version: str
    parameters: Mapping[str, Scalar]
