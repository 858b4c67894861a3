"""Rewriting of YOLO annotations: label lines, ``data.yaml``, class names."""

from __future__ import annotations

import math
import re
from typing import BinaryIO

from curate.core.documents import MAX_YAML
from curate.core.errors import DataError
from curate.layouts.annotations import iter_lines, load_mapping
from curate.layouts.sidecars.prose import MAX_NAME
from curate.layouts.sidecars.shapes import MAX_COVERAGE, is_outline
from curate.layouts.sidecars.values import Limits

_MAX_LINES = 10_000
_MAX_READ = 1_000_000  # lines of the labels of an image
_MAX_TOKEN = 24
_FEW_LINES = 64  # whose boxes may cover the image any number of times
_CLASS = re.compile(r"\d{1,6}(?:\.0{0,16})?|[^\W\d][\w-]{0,31}")


def rewrite_labels(
    file: BinaryIO, target: BinaryIO, name: str, limits: Limits, keypoints: int | None
) -> None:
    """Write the lines of a label file that are boxes, polygons or poses.

    Boxes cover their extent a limited number of times, as those of a crowd are small: the lines
    after the last one up to which they do are left out.

    Args:
        file: the label file, seekable.
        target: file to write to.
        name: name in messages.
        limits: limits, which count the lines that are left out.
        keypoints: numbers per pose, or None if labels are not poses.

    Raises:
        DataError: if a line is not UTF-8 text.
    """
    limits.begin()
    kept = _select_lines(file, name, limits, keypoints)
    file.seek(0)
    for number, (_, line) in enumerate(iter_lines(file, name)):
        words = line.split()
        if words and number not in kept:
            limits.drop("lines")
        else:
            target.write(f"{' '.join(words)}\n".encode())


def _select_lines(
    file: BinaryIO, name: str, limits: Limits, keypoints: int | None
) -> frozenset[int]:
    """Return the numbers of the lines that are labels within the limits.

    The extent is that of the lines that are kept: with that of all lines, fewer would be kept
    when the limits are applied again.
    """
    left, top, right, bottom = math.inf, math.inf, -math.inf, -math.inf
    labels: list[int] = []
    covered, count = 0.0, 0
    for number, (_, line) in enumerate(iter_lines(file, name)):
        check_count(number, name)
        words = line.split()
        if not (words and _is_label(number, words, keypoints) and limits.accepts_key(words[0])):
            continue
        labels.append(number)
        x0, y0, x1, y1 = _find_box(words, keypoints is not None)
        covered += (x1 - x0) * (y1 - y0)
        left, top = min(left, x0), min(top, y0)
        right, bottom = max(right, x1), max(bottom, y1)
        extent = min(1.0, (right - left) * (bottom - top))  # at most the image
        if number < _FEW_LINES or covered <= MAX_COVERAGE * extent:
            count = len(labels)
    return frozenset(labels[:count])


def check_count(number: int, name: str) -> None:
    """Refuse a label file with more lines than an image has objects.

    Raises:
        DataError: naming it.
    """
    if number >= _MAX_READ:
        raise DataError(
            f"{name} has more than {_MAX_READ:,} lines, which are too many for an image"
        )


def _find_box(words: list[str], is_pose: bool) -> tuple[float, ...]:
    """Return the corners of a box, or of the extent of a polygon."""
    values = [float(word) for word in words[1:]]
    if len(values) in (4, 5) or is_pose:
        x, y, width, height = values[0], values[1], abs(values[2]) / 2, abs(values[3]) / 2
        return x - width, y - height, x + width, y + height
    xs, ys = values[::2], values[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _is_label(number: int, words: list[str], keypoints: int | None) -> bool:
    if (
        number >= _MAX_LINES
        or not _CLASS.fullmatch(words[0])
        or any(len(word) > _MAX_TOKEN for word in words)
    ):
        return False
    try:
        values = [float(word) for word in words[1:]]
    except ValueError:
        return False
    if not all(math.isfinite(value) and abs(value) < 1e6 for value in values):
        return False
    if len(values) in (4, 5) or (keypoints is not None and len(values) in (4, 4 + keypoints)):
        return True
    return len(values) % 2 == 0 and is_outline(values, is_polygon=True)


def has_labels(file: BinaryIO, name: str, keypoints: int | None) -> bool:
    """Return whether a text has a line that is a label, or no line at all.

    Raises:
        DataError: if a line is not UTF-8 text.
    """
    is_empty = True
    for number, (_, line) in enumerate(iter_lines(file, name)):
        if words := line.split():
            if number >= _MAX_LINES or _is_label(number, words, keypoints):
                return True
            is_empty = False
    return is_empty


def rewrite_config(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    """Write ``data.yaml`` again from its values; comments are not written.

    Raises:
        DataError: if it is not valid YAML.
    """
    import yaml

    value = load_mapping(file.read(MAX_YAML + 1), name)
    text = yaml.safe_dump(
        limits.document_record(value),
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=1 << 30,
    )
    target.write(text.encode())


def rewrite_names(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    """Write a list of class names again: lines of words or short codes.

    Raises:
        DataError: if it is anything else.
    """
    lines = [line.strip() for _, line in iter_lines(file, name)]
    kept = limits.document_record({"classes": lines}).get("classes")
    if kept != lines or any(len(line) > MAX_NAME for line in lines):
        raise DataError(f"{name} is not a list of class names")
    target.write("".join(f"{line}\n" for line in lines).encode())
