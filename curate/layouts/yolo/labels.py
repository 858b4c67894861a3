"""One line of a YOLO label: a class and numbers between 0 and 1."""

from __future__ import annotations

import math

from curate.core.errors import DataError
from curate.layouts.annotations import shorten
from curate.layouts.yolo.config import Config

_SLACK = 1e-6  # a box drawn to the border, written with six digits


def check_line(line: str, where: str, config: Config) -> int:
    """Check a box, a polygon or a pose; returns the number of its class.

    Args:
        line: ``class x y w h``, ``class x1 y1 x2 y2 x3 y3 …`` or, with ``kpt_shape``,
            a box and its keypoints; as shares of the image's size.
        where: what a message calls the line.
        config: what the dataset's configuration says.

    Raises:
        DataError: if it is none of these.
    """
    first, *rest = line.split()
    number = _class(first, where)
    if config.classes is not None and number >= config.classes:
        raise DataError(f"{where}: class {number} is none of the {config.classes} in data.yaml")
    values = [_number(text, where) for text in rest]
    if config.keypoints is not None:
        if len(values) not in (4, 4 + config.keypoints):
            raise DataError(f"{where} has {len(values)} numbers after the class; kpt_shape differs")
        values = values[:4]  # keypoints may have a visibility of 2
    elif len(values) != 4 and (len(values) < 6 or len(values) % 2):
        raise DataError(
            f"{where} has {len(values)} numbers after the class; want 4, or pairs from 3 on"
        )
    for value in values:
        if not -_SLACK <= value <= 1 + _SLACK:
            raise DataError(f"{where}: {value:g} is not between 0 and 1")
    return number


def _class(text: str, where: str) -> int:
    whole, _, zeros = text.partition(".")
    if not (whole.isascii() and whole.isdigit() and len(whole) <= 9) or zeros.strip("0"):
        raise DataError(f"{where}: the class is {shorten(text)}; want a whole number")
    return int(whole)


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: {shorten(text)} is no number")
    return value
