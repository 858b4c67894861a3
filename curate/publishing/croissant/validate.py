"""Validate Croissant with ``mlcroissant``, which needs no network."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import Any

from curate.core.errors import DataError, MissingExtraError

_MAX_DEPTH = 64
REQUIRED = ("name", "description", "license", "url", "creator", "datePublished")
"""Properties that Croissant 1.1 requires; ``mlcroissant`` only warns of some of them."""


def validate(croissant: Mapping[str, Any]) -> None:
    """Refuse what is not valid Croissant.

    Raises:
        DataError: naming what is wrong.
        MissingExtraError: if ``mlcroissant`` is not installed.
    """
    if not isinstance(croissant.get("@context"), Mapping) or _imports_context(croissant, 0):
        raise DataError(
            "croissant.json is not valid Croissant: it needs one @context, written out, at its top"
        )
    missing = [key for key in REQUIRED if croissant.get(key) in (None, "", [], {})]
    if missing:
        raise DataError(f"croissant.json is not valid Croissant: {', '.join(missing)} is missing")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it names every key of a newer context
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own dependencies are deprecated
            import mlcroissant

            try:
                mlcroissant.Dataset(jsonld=dict(croissant))
            except Exception as error:  # whatever the library makes of what it does not know
                lines = [line.strip() for line in str(error).splitlines() if line.strip()]
                message = "; ".join(lines[:4]) or type(error).__name__
                raise DataError(f"croissant.json is not valid Croissant: {message}") from None
    except ImportError:
        raise MissingExtraError("croissant.json", "mlcroissant", "publish") from None
    finally:
        logging.disable(before)


def _imports_context(value: Any, depth: int) -> bool:
    """Whether reading JSON-LD could fetch another context, or is nested too deeply to be read."""
    if depth > _MAX_DEPTH:
        return True
    if isinstance(value, Mapping):
        if "@import" in value or (depth and "@context" in value):
            return True
        return any(_imports_context(inner, depth + 1) for inner in value.values())
    return isinstance(value, list) and any(_imports_context(one, depth + 1) for one in value)
