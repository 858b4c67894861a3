"""Face boxes in files: reading and writing of the common formats, one module each.

A format is a module with ``recognize(path)``, ``iter_faces(path)`` and, if it has a suffix
in `SUFFIXES`, ``save_faces(faces, path)``; and one line in `FORMS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from curate.core.errors import DataError
from curate.core.registry import Plugin, Registry
from curate.layouts.faces.boxes import GivenFaces

FORMS = Registry(
    "face-box format",
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
"""Suffix of an exported file, by format."""


def iter_given_faces(path: Path) -> Iterator[GivenFaces]:
    """Read a file or folder of face boxes; the format is recognized by its content.

    Memory does not grow with the file. An image may occur several times; its faces are
    then those of all occurrences.

    Raises:
        DataError: if the format is unknown, or a box is invalid.
    """
    for name in FORMS:
        form = FORMS.resolve(name)
        try:
            if form.recognize(path):
                yield from form.iter_faces(path)
                return
        except OSError as error:
            raise DataError(
                f"the face-box file {path} cannot be read: {error.strerror or error}"
            ) from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            missing = f" (no key {error})" if isinstance(error, KeyError) else ""
            raise DataError(
                f"{path} has an entry that does not fit its format, "
                f"{dict(FORMS.describe())[name]}{missing}"
            ) from None
    forms = "; ".join(f"{name}: {summary}" for name, summary in FORMS.describe())
    raise DataError(f"{path} is not a supported face-box file ({forms})")


def save_faces(faces: Iterable[Any], path: Path, form: str) -> None:
    """Write detected faces in a format.

    Args:
        faces: `FoundFaces` of each image; omit withheld images, in which no face was
            searched.
        path: file or folder to write; must not exist.
        form: name in `SUFFIXES`.
    """
    FORMS.resolve(form).save_faces(faces, path)
