"""What an image that was made is called: beside its source, and after it."""

from __future__ import annotations

import posixpath
from pathlib import PurePosixPath

from curate.core.errors import DataError
from curate.core.ports import Source
from curate.core.records import ImageRecord
from curate.formats.containers import parse_uri

_JPEG = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".jif"})
_USUAL = (
    ".jpg",
    ".png",
    ".jpeg",
    ".JPG",
    ".PNG",
    ".JPEG",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
)
_TABLES = frozenset({"parquet", "arrow"})
_LONGEST_NAME = 255  # bytes that file systems take


def name_copy(source: Source, record: ImageRecord, number: int, suffix: str) -> str:
    """The id of an image that is made from another, in the same layout.

    ``train/dog/a.jpg`` gives ``train/dog/a_aug1.jpg``. A name that SOURCE has is left
    to it: an underscore follows. Rows of tables have no names of their own, so theirs
    says only what they were made from.

    Args:
        source: the dataset.
        record: the image that it is made from.
        number: which of the images made from it, from 1.
        suffix: of the format that it is encoded in, ``.jpg`` or ``.png``.

    Raises:
        DataError: if the name would be too long.
    """
    if source.layout in _TABLES:
        return _name_row(record, number)
    folder, name = posixpath.split(record.id)
    stem, ending = _split(name, is_sample=source.layout == "webdataset")
    inner, own = ending[: ending.rfind(".")], ending[ending.rfind(".") :]
    made = f"{stem}_aug{number}"
    if source.layout != "webdataset" and _has_twin(source, posixpath.join(folder, stem), own):
        made = f"{stem}_{own[1:]}_aug{number}"
    ending = inner + spell_suffix(own, suffix)
    while _is_taken(source, posixpath.join(folder, made), ending):
        made += "_"
    if len(f"{made}{ending}".encode()) > _LONGEST_NAME:
        raise DataError(f"the name of {record.id!r} is too long to name a copy after it")
    return posixpath.join(folder, made + ending)


def rename(written: str, record_id: str, made_id: str) -> str:
    """The name of an image as an annotation wrote it, for the image that was made.

    Raises:
        ValueError: if they are not in one folder.
    """
    if posixpath.dirname(record_id) != posixpath.dirname(made_id):
        raise ValueError(f"{made_id!r} is not in the folder of {record_id!r}")
    cut = max(written.rfind("/"), written.rfind("\\")) + 1
    return written[:cut] + posixpath.basename(made_id)


def rename_stem(written: str, record_id: str, made_id: str) -> str:
    """As ``rename``, for a name that was written without its suffix."""
    return str(PurePosixPath(rename(written, record_id, made_id)).with_suffix(""))


def _name_row(record: ImageRecord, number: int) -> str:
    container = parse_uri(record.uri)[2]
    row, slash, column = record.id[len(container) + 1 :].partition("/")
    return f"{container}/{row}_aug{number}{slash}{column}"


def _split(name: str, is_sample: bool) -> tuple[str, str]:
    """A name's stem and ending; a sample's stem, its key, ends at the first dot."""
    cut = name.index(".", 1) if is_sample else name.rindex(".")
    return name[:cut], name[cut:]


def spell_suffix(own: str, suffix: str) -> str:
    """A suffix, spelt as the source spells it where it is of the same format."""
    same = own.lower() in _JPEG if suffix == ".jpg" else own.lower() == suffix
    return own if same else suffix


def _is_taken(source: Source, stem: str, ending: str) -> bool:
    """Whether SOURCE has an image of this name; labels go by the name without its suffix."""
    endings = {ending, ".jpg", ".png"}
    return any(source.find(f"{stem}{each}") is not None for each in endings)


def _has_twin(source: Source, stem: str, own: str) -> bool:
    """Whether another image differs in its suffix only, after which copies could be called."""
    return any(each != own and source.find(f"{stem}{each}") is not None for each in _USUAL)
