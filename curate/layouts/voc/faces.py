"""Face boxes in Pascal VOC XML: a folder with one file per examined image.

VOC counts pixels from 1 and includes the last one; boxes are whole pixels of the stored
image.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from curate.core.errors import DataError, describe_malformed
from curate.core.geometry import Box
from curate.layouts.access.tree import iter_files
from curate.layouts.annotations import shorten
from curate.layouts.encodings import has_document_type, iter_utf8
from curate.layouts.faces.boxes import (
    NAME,
    FoundFaces,
    GivenFaces,
    is_face_class,
    make_box,
    parse_size,
)
from curate.storage.regular import open_regular

_LARGEST = 4 << 20
_FIELDS = ("pose", "truncated", "occluded", "difficult")


def recognize(path: Path) -> bool:
    """Return whether a path is a folder with XML files."""
    return path.is_dir() and next(_iter_names(path), None) is not None


def iter_faces(path: Path) -> Iterator[GivenFaces]:
    """Iterate over the files of the folder, sorted by name.

    The id of an image is its ``filename`` if that contains folders, otherwise that name in
    the folder of the XML file. Objects of another class than face are an error.
    """
    for name in _iter_names(path):
        yield _parse(path / name, name)


def save_faces(images: Iterable[FoundFaces], path: Path) -> None:
    """Write one XML file per image, named by the whole id of the image."""
    for image in images:
        target = path / f"{image.id}.xml"
        target.parent.mkdir(parents=True, exist_ok=True)
        objects = "".join(_format(box) for box in image.boxes)
        target.write_text(
            f"<annotation>\n  <filename>{escape(image.id)}</filename>\n"
            f"  <size><width>{image.width}</width><height>{image.height}</height></size>\n"
            f"{objects}</annotation>\n",
            encoding="utf-8",
        )


def _iter_names(path: Path) -> Iterator[str]:
    return (name for name, _ in iter_files(path, str(path)) if name.lower().endswith(".xml"))


def _format(box: Box) -> str:
    x0, y0, x1, y1 = math.floor(box.x0), math.floor(box.y0), math.ceil(box.x1), math.ceil(box.y1)
    return (
        f"  <object><name>{NAME}</name><bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>\n"
    )


def _parse(file: Path, name: str) -> GivenFaces:
    with open_regular(file, follow_links=True) as opened:
        data = opened.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise DataError(f"{file} is larger than {_LARGEST >> 20} MB, which is too long for VOC")
    if has_document_type(data):  # it could define entities without end
        raise DataError(f"{file} has a document type; expected plain Pascal VOC")
    try:
        text = b"".join(iter_utf8(io.BytesIO(data), str(file))).decode()
        root = ElementTree.fromstring(text)  # noqa: S314 - without declarations there are no entities
        image = root.findtext("filename") or ""
        boxes = tuple(_parse_box(item, str(file)) for item in root.iter("object"))
        fields = tuple(_parse_fields(item) for item in root.iter("object"))
    except (ElementTree.ParseError, UnicodeError, LookupError) as error:
        raise DataError(f"{file} is not well-formed XML: {describe_malformed(error)}") from None
    if not image:
        raise DataError(f"{file} names no file")
    folder = name.rpartition("/")[0]
    name = f"{folder}/{image}" if folder and "/" not in image else image
    return GivenFaces(name, boxes, fields=fields, size=_parse_stated_size(root, str(file)))


def _parse_stated_size(root: ElementTree.Element, where: str) -> tuple[int, int] | None:
    """Return width and height, if the file states them; some tools write 0."""
    texts = {key: (root.findtext(f"size/{key}") or "").strip() for key in ("width", "height")}
    if all(text in ("", "0") for text in texts.values()):
        return None
    return parse_size(texts, where)


def _parse_fields(item: ElementTree.Element) -> dict[str, str]:
    return {key: text for key in _FIELDS if (text := item.findtext(key))}


def _parse_box(item: ElementTree.Element, where: str) -> Box:
    kind = item.findtext("name") or "nothing"
    if not is_face_class(kind):
        raise DataError(
            f"{where} has an object of class {shorten(kind)}; a face-box file has only {NAME!r}"
        )
    keys = ("xmin", "ymin", "xmax", "ymax")
    try:
        x0, y0, x1, y1 = (float(item.findtext(f"bndbox/{key}") or "") for key in keys)
    except ValueError:
        raise DataError(
            f"{where} has an object whose bndbox is not a box of {', '.join(keys)}"
        ) from None
    return make_box((x0 - 1, y0 - 1, x1, y1), where)
