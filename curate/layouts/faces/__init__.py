"""Faces as data, one file per form: what a person or another tool has decided.

A form is one file with ``recognise(path)``, ``iter_faces(path)`` and, if it has a
suffix in `SUFFIXES`, ``save_faces(faces, path)``; and one line in `FORMS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from curate.core.errors import DataError
from curate.core.registry import Plugin, Registry
from curate.layouts.faces.boxes import GivenFaces, one_line

FORMS = Registry(
    "form of faces",
    [
        ("table", Plugin("curate.layouts.faces.table", "curate's own Parquet: id and faces")),
        ("coco", Plugin("curate.layouts.coco.faces", "COCO JSON with a category named face")),
        ("list", Plugin("curate.layouts.faces.json_list", "JSON list of file and faces with xyxy")),
        ("widerface", Plugin("curate.layouts.faces.widerface", "WIDER FACE's text of boxes")),
        ("imagenet", Plugin("curate.layouts.faces.imagenet", "JSON list of url and bboxes")),
        ("voc", Plugin("curate.layouts.voc.faces", "folder of Pascal VOC's XML files")),
        ("yolo", Plugin("curate.layouts.yolo.faces", "folder of images.txt and labels/*.txt")),
    ],
)

SUFFIXES = {"coco": ".coco.json", "imagenet": ".imagenet.json", "voc": ".voc", "yolo": ".yolo"}
"""What is added to a table's name to name its copy in another form."""


def iter_given_faces(path: Path) -> Iterator[GivenFaces]:
    """Read a file of faces; its form is recognised by its content.

    Memory does not grow with the file. An image may come more than once; its
    faces are then all that are said of it.

    Raises:
        DataError: if it is of no known form, or one of its boxes is not a box.
    """
    for name in FORMS:
        form = FORMS.resolve(name)
        try:
            if form.recognise(path):
                yield from form.iter_faces(path)
                return
        except OSError as error:
            raise DataError(
                f"the file of faces {path} cannot be read: {error.strerror or error}"
            ) from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{path}: a key or value is not as it should be: {one_line(error)}"
            ) from None
    forms = "; ".join(f"{name}: {summary}" for name, summary in FORMS.describe())
    raise DataError(f"{path} is no known file of faces ({forms})")


def save_faces(faces: Iterable[Any], path: Path, form: str) -> None:
    """Write found faces in another form.

    Args:
        faces: `FoundFaces` by image; withheld images among them are left out, since
            nobody has looked at them.
        path: the file or folder to write; must not exist.
        form: a name in `FORMS` that has a suffix in `SUFFIXES`.
    """
    FORMS.resolve(form).save_faces(faces, path)
