"""WebDataset layout: samples are members of tar files with the same key."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from curate.core.errors import DataError, WithheldError
from curate.core.protocols import SidecarFile
from curate.core.records import ImageRecord
from curate.layouts.access.folder import FileInfo, Folder, check_image_size
from curate.layouts.archives import Held, examine_archive
from curate.layouts.containers import (
    ContainerLayout,
    LastOpened,
    find_loose_image,
    format_uri,
    iter_listed_folders,
    parse_uri,
    split_of,
)
from curate.layouts.sidecars.values import Limits
from curate.layouts.webdataset.rewrite import (
    MAX_TEXT,
    ComparingTarget,
    MemberWriter,
    Outputs,
    write_sample,
)
from curate.layouts.webdataset.tar import (
    END,
    Kind,
    Member,
    is_image,
    is_plain,
    iter_members,
)

_COMPRESSED = re.compile(r"\.(?:tar\.(?:gz|bz2|xz|zst|lz4)|tgz|tbz2|txz)$", re.IGNORECASE)
_MAX_EXAMINED = 8  # tar files per folder, when recognizing the layout
_UNREAD = -1


class WebDataset(ContainerLayout):
    """Uncompressed tar files; the id of an image is the path of the tar file and its name.

    Each member with an image suffix is an image, including ``.seg.png``. JSON and short texts
    are written again from their content. Tar files are rewritten in order, without owners, times
    and extended headers.

    Args:
        folder: files of the dataset.
    """

    layout = "webdataset"
    kind = "tar"

    def __init__(self, folder: Folder) -> None:
        super().__init__(folder)
        self._listed: tuple[str, dict[str, Member]] | None = None
        self._opened: LastOpened[BinaryIO] = LastOpened()

    @classmethod
    def recognize(cls, folder: Folder) -> str | None:
        """Look for tar files that may contain images."""
        for folder_path, names in iter_listed_folders(folder):
            tars = sorted(name for name in names if _is_tar(name))
            if not tars and find_loose_image(folder) is None:  # refused with the remedy
                tars = sorted(name for name in names if _COMPRESSED.search(name))
            paths = (f"{folder_path}{name}" for name in tars[:_MAX_EXAMINED])
            seen = (Held.IMAGES, Held.UNREADABLE)  # errors are reported when it is opened
            found = next((path for path in paths if _examine(folder, path) in seen), None)
            if found is not None:
                return f"{found}, and {len(tars) - 1:,} more beside it" if len(tars) > 1 else found
        return None

    def is_container(self, info: FileInfo) -> bool:
        """Return whether a file is a tar file; raises `DataError` for compressed ones of images."""
        if not info.regular:
            return False
        is_compressed = _COMPRESSED.search(info.path) is not None
        if is_compressed and _examine(self.folder, info.path) is not Held.OTHERS:
            raise DataError(
                f"{info.path!r} in {self.folder.name} is compressed, so its members cannot be "
                "read one by one; decompress it to a plain .tar"
            )
        return _is_tar(info.path)

    def check(self, strict: bool = False) -> Iterator[str]:
        """Report images outside the tar files.

        Raises:
            DataError: if there are no tar files, or one consists of archives.
        """
        yield from super().check(strict)
        for tar in self.containers():
            if _examine(self.folder, tar) is Held.ARCHIVES:
                raise DataError(
                    f"{tar!r} in {self.folder.name} contains archives, whose images are not read; "
                    "extract it, and remove it from the dataset"
                )

    def records(self) -> Iterator[ImageRecord]:
        """Iterate over all images, sorted by id; holds the names of one tar file at a time."""
        for tar in self.containers_by_id():
            split = split_of(tar)
            for record_id, member in self._images_of(tar).items():
                yield _record(record_id, member, tar, split)

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Iterate over the JSON of each sample, with its class as ``cls`` and ``category``."""
        for tar in self.containers():
            with self.open_container(tar) as file:
                for _, group in groupby(iter_members(file, tar), key=lambda member: member.key):
                    sample = list(group)
                    row = read_sample(sample, file, tar)
                    for member in sample if row else ():
                        if is_image(member):
                            yield f"{tar}/{member.path}", row

    def find(self, record_id: str) -> ImageRecord | None:
        """Return the record with an id, or None."""
        tar = self.container_of(record_id)
        member = self._images_of(tar).get(record_id) if tar is not None else None
        if tar is None or member is None:
            return None
        return _record(record_id, member, tar, split_of(tar))

    def read(self, record: ImageRecord) -> bytes:
        """Return the stored bytes of an image; the tar file stays open for the next one."""
        offset, size, tar = parse_uri(record.uri)
        if size == _UNREAD:
            raise WithheldError("sparse", "it is stored with holes; pack the tar without --sparse")
        check_image_size(size)
        if not is_plain(record.id):
            raise WithheldError("name", "its name is not valid UTF-8 or too long")
        file = self._opened.get(tar, self.open_container)
        file.seek(offset)
        data = file.read(size)
        if len(data) < size:
            raise DataError(f"{tar!r} was truncated while it was read; restore it")
        return data

    def size(self, record: ImageRecord) -> int | None:
        """Return the size of an image in bytes."""
        size = parse_uri(record.uri)[1]
        return None if size == _UNREAD else size

    def rebuild(
        self, container: str, outputs: Outputs, target: BinaryIO, limits: Limits | None = None
    ) -> Iterator[SidecarFile]:
        """Rewrite a tar file; yields the members that were left out.

        A sample whose images are all withheld is left out as a whole.
        """
        self._images_of(container)  # errors are raised before anything is written
        with self.open_container(container) as file:
            for _, group in groupby(iter_members(file, container), key=lambda member: member.key):
                writer = MemberWriter(file, target, container, limits or Limits(()))
                for member, reason in write_sample(list(group), container, outputs, writer):
                    yield SidecarFile(PurePosixPath(container, member.path), "", False, reason)
        target.write(END)

    def inspect(self, container: str, limits: Limits | None = None) -> Iterator[str]:
        """Compare a tar file with its rewritten version; yields the differences."""

        def outputs(record_id: str) -> bytes | None:
            record = self.find(record_id)
            return None if record is None else self.read(record)

        with self.open_container(container) as file:
            same = ComparingTarget(file)
            for left in self.rebuild(container, outputs, cast(BinaryIO, same), limits):
                yield f"its member {left.path.relative_to(container)} should not be: {left.reason}"
            offset = same.find_difference()
        if offset is not None:
            yield f"from byte {offset} on it differs from its members"

    def _images_of(self, tar: str) -> dict[str, Member]:
        """Return the images of a tar file by id, sorted; cached for one tar file."""
        if self._listed is None or self._listed[0] != tar:
            with self.open_container(tar) as file:
                self._listed = (tar, _index_images(iter_members(file, tar), tar))
        return self._listed[1]


def _examine(folder: Folder, path: str) -> Held:
    try:
        with folder.open(path) as file:
            return examine_archive(file, path)
    except WithheldError:
        return Held.UNREADABLE


def _is_tar(path: str) -> bool:
    name = PurePosixPath(path).name
    return name.lower().endswith(".tar") and not name.startswith(".")


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


_CLASS = "cls"
_CATEGORY = "category"


def read_sample(members: Sequence[Member], file: BinaryIO, tar: str) -> Mapping[str, Any]:
    """Return the JSON of a sample as columns, and its ``.cls`` as ``cls`` and ``category``.

    Args:
        members: members of the sample.
        file: open tar file.
        tar: its path, for messages.

    Raises:
        DataError: if a JSON member is malformed, or a text is longer than 16 MB.
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
            values = json.loads(text)
        except (ValueError, RecursionError):
            raise DataError(f"{where} is not valid JSON; the file may be truncated") from None
        row |= values if isinstance(values, dict) else {}
    return row


def _read(member: Member, file: BinaryIO, where: str) -> str:
    if member.size > MAX_TEXT:
        raise DataError(
            f"{where} is longer than {MAX_TEXT >> 20} MB, which is too long for an annotation"
        )
    file.seek(member.offset)
    try:
        return file.read(member.size).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{where} is not UTF-8 text") from None
