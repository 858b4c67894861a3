"""Editing of annotations after images were removed from or added to a dataset.

Each layout has a class that implements `curate.layouts.editing.changes.Editor`, and one
line in `EDITORS`. Containers are rewritten by `rebuild_edited`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

from curate.core.protocols import SidecarFile, SidecarSource, Source
from curate.core.registry import Plugin, Registry
from curate.layouts.editing.changes import (
    Editor,
    EditResult,
    Edits,
    GeneratedImage,
    NewFile,
    Outcome,
    include_none,
    name_copy,
)
from curate.layouts.editing.sidecars import Mentions, NotingEditor
from curate.layouts.sidecars.values import Limits

__all__ = [
    "EDITORS",
    "REBUILDERS",
    "EditResult",
    "Editor",
    "Edits",
    "GeneratedImage",
    "NewFile",
    "Outcome",
    "name_copy",
    "open_editor",
    "rebuild_edited",
]

_PLAIN = "curate.layouts.editing.sidecars:CopyingEditor"
_STEM = "curate.layouts.editing.sidecars:StemEditor"

EDITORS = Registry(
    "layout",
    [
        ("webdataset", Plugin(_PLAIN, "text members of samples, in the tar files")),
        ("parquet", Plugin(_PLAIN, "columns of the same tables")),
        ("arrow", Plugin(_PLAIN, "columns of the same tables")),
        ("imagefolder", Plugin(_STEM, "files with the stem of an image")),
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


def open_editor(
    source: Source, edits: Edits, includes: Callable[[str], bool] = include_none
) -> Editor:
    """Return the editor of the annotation files of a dataset.

    Args:
        source: dataset whose annotations have been checked.
        edits: edits to apply.
        includes: returns whether the user named a file to be copied unread, by its path.
    """
    editor = cast(Editor, EDITORS.resolve(source.layout)(source, edits, includes))
    return NotingEditor(editor, Mentions(cast(SidecarSource, source), edits))


def rebuild_edited(
    source: Source,
    container: str,
    edits: Edits,
    image_bytes: Callable[[str], bytes | None],
    target: BinaryIO,
    on_written: Callable[[str, str], None] = lambda record_id, output_id: None,
    limits: Limits | None = None,
) -> Iterator[SidecarFile]:
    """Rewrite a container without removed images and with generated ones after their source.

    Args:
        source: the dataset.
        container: one of ``source.containers()``.
        edits: edits to apply.
        image_bytes: returns the bytes of a kept or generated image by id; None if it is
            withheld.
        target: seekable file to write to.
        on_written: called with the id of every image written and its id in the output, since
            rows of tables move.
        limits: limits on the values of annotations; None for those that every value has.

    Yields:
        What was left out, with the reason.

    Raises:
        DataError: if the container is invalid, or contains coordinates that cannot be
            transformed for a generated image.
    """
    rebuild = REBUILDERS.resolve(source.layout)
    limits = limits or Limits(())
    yield from rebuild(source, container, edits, image_bytes, target, on_written, limits)
