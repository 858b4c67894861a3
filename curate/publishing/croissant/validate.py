"""Validate Croissant with ``mlcroissant``, which needs no network."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import Any

from curate.core.errors import DataError, MissingExtraError

REQUIRED = ("name", "description", "license", "url", "creator", "datePublished")
"""Properties that Croissant 1.1 requires; ``mlcroissant`` only warns of some of them."""


def validate(croissant: Mapping[str, Any]) -> None:
    """Refuse what is not valid Croissant.

    Raises:
        DataError: naming what is wrong.
        MissingExtraError: if ``mlcroissant`` is not installed.
    """
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
            except (mlcroissant.ValidationError, ValueError) as error:
                lines = [line.strip() for line in str(error).splitlines() if line.strip()]
                told = "; ".join(lines[:4])
                raise DataError(f"croissant.json is not valid Croissant: {told}") from None
    except ImportError:
        raise MissingExtraError("croissant.json", "mlcroissant", "publish") from None
    finally:
        logging.disable(before)
