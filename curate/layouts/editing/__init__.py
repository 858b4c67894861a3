"""Annotations of a dataset after images were removed from it and made for it.

One file for each layout, with a class that keeps the contract of
`curate.layouts.editing.changes.Editor`, and one line in `EDITORS`. Where images
stand in containers, these are written anew by ``rebuild_edited``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

from curate.core.protocols import CarriedFile, Source
from curate.core.registry import Plugin, Registry
from curate.layouts.editing.changes import Editor, Edits, Fate, Made, Outcome, name_copy

__all__ = [
    "EDITORS",
    "REBUILDERS",
    "Editor",
    "Edits",
    "Fate",
    "Made",
    "Outcome",
    "name_copy",
    "open_editor",
    "rebuild_edited",
]

_PLAIN = "curate.layouts.editing.sidecars:PlainEditor"

EDITORS = Registry(
    "layout",
    [
        ("webdataset", Plugin(_PLAIN, "text members of samples, in the tar files")),
        ("parquet", Plugin(_PLAIN, "columns of the same tables")),
        ("arrow", Plugin(_PLAIN, "columns of the same tables")),
        ("imagefolder", Plugin(_PLAIN, "none")),
        ("hf_folder", Plugin("curate.layouts.hf_folder.edit:HfEditor", "rows of metadata")),
        ("coco", Plugin("curate.layouts.coco.edit:CocoEditor", "images and annotations")),
        ("voc", Plugin("curate.layouts.voc.edit:VocEditor", "XML, lists and segmentations")),
        ("yolo", Plugin("curate.layouts.yolo.edit:YoloEditor", "labels and lists")),
    ],
)

REBUILDERS = Registry(
    "layout",
    [
        ("webdataset", Plugin("curate.layouts.webdataset.edit:rebuild_tar", "tar files")),
        ("parquet", Plugin("curate.layouts.tables.edit:rebuild_table", "Parquet files")),
        ("arrow", Plugin("curate.layouts.tables.edit:rebuild_table", "Arrow files")),
    ],
)


def open_editor(source: Source, edits: Edits) -> Editor:
    """What edits the files beside a dataset's images.

    Args:
        source: the dataset; its annotations have been checked.
        edits: what is to be changed.
    """
    return cast(Editor, EDITORS.resolve(source.layout)(source, edits))


def rebuild_edited(
    source: Source,
    container: str,
    edits: Edits,
    image_bytes: Callable[[str], bytes | None],
    target: BinaryIO,
    placed: Callable[[str, str], None] = lambda record_id, output_id: None,
) -> Iterator[CarriedFile]:
    """Write a container without what was removed, and what was made after its source.

    Args:
        source: the dataset.
        container: one of ``source.containers()``.
        edits: what is to be changed.
        image_bytes: the bytes of an image that is kept or made, by its id; None if it
            is withheld.
        target: where to write; can be sought in.
        placed: told the id of every image written, and the id that it has in the
            output: rows of tables move.

    Yields:
        What stayed behind, and why.

    Raises:
        DataError: if the container is damaged, or holds geometry that cannot be
            transformed with an image that was made; names the place.
    """
    rebuild = REBUILDERS.resolve(source.layout)
    yield from rebuild(source, container, edits, image_bytes, target, placed)
