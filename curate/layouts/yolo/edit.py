"""Editing of YOLO lists and labels of removed and generated images."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import BinaryIO

import numpy as np

from curate.core.affine import Affine, Points
from curate.core.errors import DataError
from curate.core.geometry import Box
from curate.core.protocols import SidecarFile
from curate.layouts.annotations import iter_lines, open_annotation
from curate.layouts.editing.changes import (
    DROPPED,
    EDITED,
    SAME,
    Decide,
    EditResult,
    GeneratedImage,
    NewFile,
    edit_lines,
    rename,
)
from curate.layouts.editing.sidecars import StemEditor
from curate.layouts.yolo.config import Config
from curate.layouts.yolo.read import Yolo, check_line, label_of
from curate.storage.index import NameIndex


class YoloEditor(StemEditor[Yolo]):
    """Editor of the lists of a YOLO dataset; generates labels."""

    @cached_property
    def _labels(self) -> NameIndex:
        """Label files of kept and of removed images."""
        names = NameIndex()
        for record in self._source.records():
            kept = "kept" if self._edits.is_kept(record.id) else "removed"
            names.add(kept, label_of(record.id))
        return names

    def edit(self, other: SidecarFile, target: BinaryIO) -> EditResult:
        """Edit a list; drop the labels of removed images; copy other files."""
        path = str(other.path)
        if path in self._source.list_paths():
            with open_annotation(self._source.folder, path) as file:
                changed = edit_lines(file, path, self._decider(path), target)
            return EDITED if changed else SAME
        kept, removed = (self._labels.get(kind, path) for kind in ("kept", "removed"))
        if removed is not None and kept is None:
            return DROPPED
        is_label = kept is not None or other.path.suffix in (".yaml", ".yml")
        return SAME if is_label else super().edit(other, target)

    def iter_new(self) -> Iterator[NewFile]:
        """Iterate over the label files of generated images, and copies of their other files."""
        yield from super().iter_new()
        for record in self._source.records():
            for generated in self._edits.generated_from(record.id):
                path = label_of(record.id)
                if self._source.folder.info(path) is not None:
                    data = self._make_label(path, generated)
                    yield NewFile(label_of(generated.id), data, path, "labels")

    def _decider(self, path: str) -> Decide:
        def decide(line: str, where: str) -> tuple[bool, list[str]]:
            if not line.strip():
                return True, []
            try:
                image = self._source.find_listed(line.strip(), path, where)
            except DataError:
                return True, []
            if self._source.find(image) is None:
                return True, []  # missing in SOURCE as well
            generated = self._edits.generated_from(image)
            return self._edits.is_kept(image), [
                rename(line.rstrip(), image, m.id) for m in generated
            ]

        return decide

    def _make_label(self, path: str, generated: GeneratedImage) -> bytes:
        """Return the label file of a generated image from that of its source."""
        if generated.affine.is_identity(
            generated.width, generated.height
        ):  # labels refer to the upright image
            return self._source.folder.read(path)
        lines = []
        with open_annotation(self._source.folder, path) as file:
            for where, line in iter_lines(file, path):
                moved = (
                    move_line(line, generated, self._source.config, where) if line.strip() else line
                )
                if moved is not None:
                    lines.append(f"{moved}\n")
        return "".join(lines).encode()


_DIGITS = 8  # decimal places


def move_line(line: str, generated: GeneratedImage, config: Config, where: str) -> str | None:
    """Transform a line for a generated image; None if its object left the image.

    Args:
        line: ``class x y w h``, ``class x1 y1 x2 y2 x3 y3 …`` or a box and its keypoints,
            relative to the size of the upright image.
        generated: the generated image.
        config: configuration of the dataset.
        where: name of the line in messages.

    Raises:
        DataError: if it is malformed, or keypoints are to be mirrored without ``flip_idx``.
    """
    check_line(line, where, config)
    first, *rest = line.split()
    values = [float(text) for text in rest]
    if config.keypoints is None and len(values) != 4:
        moved = _move_polygon(values, generated)
    else:
        moved = _move_box(values[:4], generated)
        if moved and len(values) > 4:
            moved += _move_pose(values[4:], generated, config, where)
    return " ".join([first, *map(_format, moved)]) if moved else None


def _move_box(values: list[float], generated: GeneratedImage) -> list[float]:
    x, y, width, height = values
    corners = Box(
        (x - width / 2) * generated.width,
        (y - height / 2) * generated.height,
        (x + width / 2) * generated.width,
        (y + height / 2) * generated.height,
    )
    box = generated.affine.box(corners)
    if box is None:
        return []
    across, down = generated.affine.width, generated.affine.height
    center = [(box.x0 + box.x1) / 2 / across, (box.y0 + box.y1) / 2 / down]
    return [*center, box.width / across, box.height / down]


def _move_polygon(values: list[float], generated: GeneratedImage) -> list[float]:
    points = np.reshape(values, (-1, 2)) * (generated.width, generated.height)
    return _to_relative(generated.affine.polygon(points), generated.affine)


def _move_pose(
    values: list[float], generated: GeneratedImage, config: Config, where: str
) -> list[float]:
    """Transform keypoints; those that left the image become zeros, like unset ones."""
    points = np.reshape(values, (-1, config.dimensions))
    if generated.affine.flips:
        if config.flips is None:
            raise DataError(
                f"{where} has keypoints, and data.yaml has no flip_idx to mirror them; "
                "add it, or use an augmentation that does not flip"
            )
        points = points[list(config.flips)]
    affine = generated.affine
    moved_points = affine.points(points[:, :2] * (generated.width, generated.height))
    inside = (moved_points >= 0).all(axis=1) & (moved_points < (affine.width, affine.height)).all(
        axis=1
    )
    is_set = points[:, 2] > 0 if config.dimensions > 2 else points.any(axis=1)
    moved = points.copy()
    moved[:, :2] = moved_points / (affine.width, affine.height)
    moved[~(inside & is_set)] = 0
    return [float(value) for value in moved.ravel()]


def _to_relative(points: Points, affine: Affine) -> list[float]:
    return [float(value) for value in (points / (affine.width, affine.height)).ravel()]


def _format(value: float) -> str:
    return f"{value:.{_DIGITS}f}".rstrip("0").rstrip(".") or "0"
