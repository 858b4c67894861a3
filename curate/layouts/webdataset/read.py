"""The WebDataset layout: samples as members of tar files, with one name and several suffixes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from curate.core.errors import DataError, WithheldError
from curate.core.protocols import CarriedFile
from curate.core.records import ImageRecord
from curate.layouts.access.folder import Folder, Leaf, is_text_path
from curate.layouts.containers import (
    ContainerLayout,
    LastOpened,
    format_uri,
    is_usual_folder,
    iter_usual_places,
    parse_uri,
    split_of,
)
from curate.layouts.files import is_image_name
from curate.layouts.sidecars.text import find_in_blocks
from curate.layouts.webdataset.tar import END, Kind, Member, format_header, iter_members, padding

_COMPRESSED = re.compile(r"\.(?:tar\.(?:gz|bz2|xz|zst|lz4)|tgz|tbz2|txz)$", re.IGNORECASE)
_DRAWN = frozenset({".svg", ".eps", ".ps", ".pdf", ".xpm", ".xbm"})
"""Pictures that are written as text."""

_LONGEST_NAME = 255  # bytes that file systems take
_LONGEST_PATH = 1024  # below the work folder; systems end at 4096 for the whole
_COPIED = 1 << 20  # bytes at a time
_UNREAD = -1

Outputs = Callable[[str], bytes | None]


class WebDataset(ContainerLayout):
    """Uncompressed tar files; an image's id is the tar's path and its name in it.

    Every member with an image's suffix is an image, ``.seg.png`` included. Other
    members go to the output if they are text. The tar files are written anew in
    their order, without owners, times and extended headers.

    Args:
        folder: where the tar files are.
    """

    layout = "webdataset"
    kind = "tar"

    def __init__(self, folder: Folder) -> None:
        super().__init__(folder)
        self._listed: tuple[str, dict[str, Member]] | None = None
        self._opened: LastOpened[BinaryIO] = LastOpened()

    @classmethod
    def recognise(cls, folder: Folder) -> str | None:
        """Tar files, and neither images nor folders that could hold them beside these."""
        for place, names in iter_usual_places(folder):
            tars = sorted(name for name in names if _is_tar(name) or _COMPRESSED.search(name))
            if tars and not any(map(_is_foreign, names)):
                return f"{place}{tars[0]}"
        return None

    def is_container(self, leaf: Leaf) -> bool:
        """Whether a file is a tar file; a compressed one ends the listing."""
        if leaf.regular and _COMPRESSED.search(leaf.path):
            raise DataError(
                f"{leaf.path!r} in {self.folder.name} is compressed, so its members cannot be "
                "read one by one; decompress it to a plain .tar"
            )
        return leaf.regular and _is_tar(leaf.path)

    def records(self) -> Iterator[ImageRecord]:
        """Every image, sorted by id; of one tar at a time the names are held."""
        for tar in self.containers_by_id():
            split = split_of(tar)
            for record_id, member in self._images_of(tar).items():
                yield _record(record_id, member, tar, split)

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The keys of each sample's JSON, and its class as ``cls`` and ``category``."""
        for tar in self.containers():
            with self.open_container(tar) as file:
                for _, group in groupby(iter_members(file, tar), key=lambda member: member.key):
                    sample = list(group)
                    row = read_sample(sample, file, tar)
                    for member in sample if row else ():
                        if is_image(member):
                            yield f"{tar}/{member.path}", row

    def find(self, record_id: str) -> ImageRecord | None:
        """The record of an id, or None if there is no such image."""
        tar = self.container_of(record_id)
        member = self._images_of(tar).get(record_id) if tar is not None else None
        if tar is None or member is None:
            return None
        return _record(record_id, member, tar, split_of(tar))

    def read(self, record: ImageRecord) -> bytes:
        """The stored bytes of one image; the tar stays open for the next."""
        offset, size, tar = parse_uri(record.uri)
        if size == _UNREAD:
            raise WithheldError("sparse", "it is stored with holes; pack the tar without --sparse")
        if not is_plain(record.id):
            raise WithheldError("name", "its name is not valid UTF-8 or too long")
        file = self._opened.get(tar, self.open_container)
        file.seek(offset)
        data = file.read(size)
        if len(data) < size:
            raise DataError(f"{tar!r} was cut off while it was read; put it back as it was")
        return data

    def size(self, record: ImageRecord) -> int | None:
        """Stored bytes of one image."""
        size = parse_uri(record.uri)[1]
        return None if size == _UNREAD else size

    def rebuild(self, container: str, outputs: Outputs, target: BinaryIO) -> Iterator[CarriedFile]:
        """Write a tar anew; yields the members that are no images and stayed behind.

        A sample all of whose images are withheld goes as a whole.
        """
        self._images_of(container)  # what is malformed ends it before anything is written
        with self.open_container(container) as file:
            for _, group in groupby(iter_members(file, container), key=lambda member: member.key):
                for member, reason in _write_sample(list(group), container, outputs, file, target):
                    yield CarriedFile(PurePosixPath(container, member.path), "", False, reason)
        target.write(END)

    def inspect(self, container: str) -> Iterator[str]:
        """Whether a tar is what a rebuild would make of it, to the byte; else what it has more."""

        def outputs(record_id: str) -> bytes | None:
            record = self.find(record_id)
            return None if record is None else self.read(record)

        with self.open_container(container) as file:
            same = SameBytes(file)
            for left in self.rebuild(container, outputs, cast(BinaryIO, same)):
                yield f"its member {left.path.relative_to(container)} should not be: {left.reason}"
            place = same.find_difference()
        if place is not None:
            yield f"from byte {place} on it holds something else than its members"

    def _images_of(self, tar: str) -> dict[str, Member]:
        """The images of one tar by id, sorted; kept until another is asked for."""
        if self._listed is None or self._listed[0] != tar:
            with self.open_container(tar) as file:
                self._listed = (tar, _index_images(iter_members(file, tar), tar))
        return self._listed[1]


def _is_tar(path: str) -> bool:
    name = PurePosixPath(path).name
    return name.lower().endswith(".tar") and not name.startswith(".")


def _is_foreign(name: str) -> bool:
    """Whether a name beside tar files says that they may not be the dataset."""
    if name.endswith("/"):
        return not name.startswith(".") and not is_usual_folder(name)
    return is_image_name(name)


def is_image(member: Member) -> bool:
    """Whether a member is an image of the dataset."""
    return member.kind in (Kind.FILE, Kind.SPARSE) and is_image_name(member.path)


def is_plain(path: str) -> bool:
    """Whether an output can have this path."""
    return (
        is_text_path(path)
        and len(path.encode()) <= _LONGEST_PATH
        and all(len(name.encode()) <= _LONGEST_NAME for name in path.split("/"))
    )


def _record(record_id: str, member: Member, tar: str, split: str | None) -> ImageRecord:
    size = _UNREAD if member.kind is Kind.SPARSE else member.size
    return ImageRecord(id=record_id, uri=format_uri(member.offset, size, tar), split=split)


def _index_images(members: Iterable[Member], tar: str) -> dict[str, Member]:
    images: dict[str, Member] = {}
    seen: set[str] = set()
    for member in members:
        if member.kind is Kind.FOLDER:
            continue
        if member.path in seen or not member.path:
            raise DataError(f"{tar!r} has two members named {member.path!r}; rename one")
        seen.add(member.path)
        if is_image(member):
            images[f"{tar}/{member.path}"] = member
    for record_id in images:
        for parent in PurePosixPath(record_id).parents:
            if str(parent) in images:
                raise DataError(f"{str(parent)!r} is both an image and a folder; rename one")
    return dict(sorted(images.items(), key=lambda item: item[0].encode()))


def _write_sample(
    members: list[Member], tar: str, outputs: Outputs, file: BinaryIO, target: BinaryIO
) -> Iterator[tuple[Member, str]]:
    """Write the members of one sample; yields those that stay behind, and why."""

    def output_of(image: Member) -> bytes | None:
        return outputs(f"{tar}/{image.path}") if is_plain(image.path) else None

    images = [member for member in members if is_image(member)]
    is_withheld = bool(images) and all(output_of(image) is None for image in images)
    for member in members:
        if is_image(member):
            if (data := output_of(member)) is not None:
                write_member(replace(member, kind=Kind.FILE, size=len(data)), [data], target)
        elif is_withheld:
            yield member, "the images of its sample are withheld"
        elif member.kind is Kind.FOLDER:
            if is_text_path(member.path):
                write_member(replace(member, size=0), [], target)
        elif reason := copy_member(member, file, target):
            yield member, reason


def copy_member(member: Member, file: BinaryIO, target: BinaryIO) -> str | None:
    """Copy a member if it is text without pictures; else say why not.

    What is looked at is what is written, which the source can no longer change.
    """
    if member.kind is not Kind.FILE:
        return f"it is {member.kind.value}"
    if not is_text_path(member.path):
        return "its name is not valid UTF-8"
    if PurePosixPath(member.path).suffix.lower() in _DRAWN:
        return "it may be a drawn picture"
    start = target.tell()
    target.write(format_header(member))
    if reason := find_in_blocks(_iter_copied(member, file, target)):
        target.seek(start)
        target.truncate()
        return reason
    target.write(padding(member.size))
    return None


def _iter_copied(member: Member, file: BinaryIO, target: BinaryIO) -> Iterator[bytes]:
    file.seek(member.offset)
    left = member.size
    while left:
        block = file.read(min(left, _COPIED))
        if not block:
            raise DataError("a tar file was cut off while it was read; put it back as it was")
        target.write(block)
        left -= len(block)
        yield block


def write_member(member: Member, blocks: Iterable[bytes], target: BinaryIO) -> None:
    """Write a member with these bytes, which must be as many as it says."""
    target.write(format_header(member))
    for block in blocks:
        target.write(block)
    target.write(padding(member.size))


class SameBytes:
    """Takes the place of a target and remembers where it first differs from a file.

    Args:
        reference: the file to compare with.
    """

    def __init__(self, reference: BinaryIO) -> None:
        self._reference = reference
        self._place = 0
        self._differs: int | None = None

    def write(self, data: bytes) -> int:
        """Compare the next bytes."""
        self._reference.seek(self._place)
        if self._differs is None and self._reference.read(len(data)) != data:
            self._differs = self._place
        self._place += len(data)
        return len(data)

    def tell(self) -> int:
        """Where the next bytes belong."""
        return self._place

    def seek(self, place: int) -> int:
        """Go back to a place."""
        self._place = place
        return place

    def truncate(self) -> None:
        """Forget what was written after the current place; it differed or it did not."""

    def find_difference(self) -> int | None:
        """Where the two differ, or None if they are the same from end to end."""
        self._reference.seek(self._place)
        if self._differs is None and self._reference.read(1):
            return self._place
        return self._differs


_LARGEST = 16 << 20  # bytes of one text
_CLASS = "cls"
_CATEGORY = "category"


def read_sample(members: Sequence[Member], file: BinaryIO, tar: str) -> Mapping[str, Any]:
    """The keys of a sample's JSON as columns, and its ``.cls`` as ``cls`` and ``category``.

    Args:
        members: those of the sample.
        file: the open tar; sought in.
        tar: its path, for messages.

    Raises:
        DataError: if a JSON is malformed, or a text is far too long.
    """
    row: dict[str, Any] = {}
    for member in members:
        ending = member.path.rpartition("/")[2][1:].partition(".")[2].lower()
        if member.kind is not Kind.FILE or ending not in ("json", _CLASS):
            continue
        where = f"{tar!r}, member {member.path!r},"
        text = _read(member, file, where)
        if ending == _CLASS:
            row |= {_CLASS: text.strip(), _CATEGORY: text.strip()}
            continue
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            raise DataError(f"{where} is no JSON; is it cut off?") from None
        row |= said if isinstance(said, dict) else {}
    return row


def _read(member: Member, file: BinaryIO, where: str) -> str:
    if member.size > _LARGEST:
        raise DataError(f"{where} is longer than {_LARGEST >> 20} MB; that is no annotation")
    file.seek(member.offset)
    try:
        return file.read(member.size).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{where} is not UTF-8 text") from None
