"""Editing of WebDataset: samples are removed and added with their images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import PurePosixPath
from typing import BinaryIO

from curate.core.errors import DataError
from curate.core.protocols import SidecarFile
from curate.layouts.editing.changes import REMOVED, Edits, GeneratedImage
from curate.layouts.editing.geometry import find_geometry
from curate.layouts.sidecars.values import Limits
from curate.layouts.tables.edit import move_row, refuse_geometry
from curate.layouts.webdataset.read import WebDataset
from curate.layouts.webdataset.rewrite import MemberWriter, write_member
from curate.layouts.webdataset.tar import END, Kind, Member, is_image, is_plain, iter_members

_MAX_JSON = 1 << 26  # bytes of a JSON member

Left = tuple[Member, str]


def rebuild_tar(
    source: WebDataset,
    container: str,
    edits: Edits,
    image_bytes: Callable[[str], bytes | None],
    target: BinaryIO,
    on_written: Callable[[str, str], None],
    limits: Limits,
) -> Iterator[SidecarFile]:
    """Rewrite a tar file; for the arguments see `curate.layouts.editing.rebuild_edited`.

    A sample whose images are all removed is removed as a whole. A generated image gets a
    sample with its own key and copies of the other members of its source.
    """
    with source.open_container(container) as file:
        keys = {member.key for member in iter_members(file, container)}
        file.seek(0)
        texts = MemberWriter(file, target, container, limits)
        writer = _Writer(texts, edits, image_bytes, on_written)
        for _, group in groupby(iter_members(file, container), key=lambda member: member.key):
            members = list(group)
            generated = list(
                writer.iter_generated(members)
            )  # errors are raised before the sample is written
            for member, reason in writer.write_source(members):
                yield SidecarFile(PurePosixPath(container, member.path), "", False, reason)
            for image, each in generated:
                for member, reason in writer.write_generated(members, image, each, keys):
                    yield SidecarFile(PurePosixPath(container, member.path), "", False, reason)
    target.write(END)


class _Writer:
    """Writer of the samples of a tar file."""

    def __init__(
        self,
        texts: MemberWriter,
        edits: Edits,
        image_bytes: Callable[[str], bytes | None],
        on_written: Callable[[str, str], None],
    ) -> None:
        self._texts = texts
        self._tar = texts.tar
        self._file = texts.file
        self._target = texts.target
        self._edits = edits
        self._image_bytes = image_bytes
        self._on_written = on_written

    def iter_generated(self, members: list[Member]) -> Iterator[tuple[Member, GeneratedImage]]:
        """Iterate over the images to generate from a sample."""
        images = [member for member in members if is_image(member)]
        for image in images:
            for generated in (
                self._edits.generated_from(self._id(image)) if is_plain(image.path) else ()
            ):
                if len(images) > 1:
                    raise DataError(
                        f"the sample {image.key!r} of {self._tar!r} has several images, so no "
                        "image can be generated from one of them alone"
                    )
                yield image, generated

    def write_source(self, members: list[Member]) -> Iterator[Left]:
        """Write the kept members of a sample; yields those that are left out."""
        images = [member for member in members if is_image(member)]
        outputs = {member.path: self._output_of(member) for member in images}
        is_removed = bool(images) and not any(data is not None for data in outputs.values())
        for member in members:
            if is_image(member):
                if (data := outputs[member.path]) is not None:
                    self._write_image(member, self._id(member), data)
            elif is_removed:
                yield member, REMOVED
            elif member.kind is not Kind.FOLDER and (reason := self._texts.copy(member)):
                yield member, reason

    def write_generated(
        self, members: list[Member], image: Member, generated: GeneratedImage, keys: set[str]
    ) -> Iterator[Left]:
        """Write the sample of a generated image; yields members that are left out."""
        data = self._image_bytes(generated.id)
        if data is None:
            return
        named = _renamed(image, generated.id.removeprefix(f"{self._tar}/"))
        if named.key in keys:
            raise DataError(f"{self._tar!r} has a sample {named.key!r} already; rename it")
        keys.add(named.key)
        for member in members:
            ending = member.name[len(member.key) :]
            own = _renamed(member, named.path[: len(named.path) - _tail(named)] + ending)
            if member is image:
                self._write_image(named, generated.id, data)
            elif member.kind is not Kind.FOLDER:
                reason = self._write_text(own, member, generated)
                if reason is not None:
                    yield own, reason

    def _output_of(self, image: Member) -> bytes | None:
        is_kept = is_plain(image.path) and self._edits.is_kept(self._id(image))
        return self._image_bytes(self._id(image)) if is_kept else None

    def _write_image(self, member: Member, record_id: str, data: bytes) -> None:
        whole = replace(member, kind=Kind.FILE, size=len(data))
        write_member(whole, [data], self._target)
        self._on_written(record_id, f"{self._tar}/{member.path}")

    def _write_text(self, own: Member, member: Member, generated: GeneratedImage) -> str | None:
        """Write a text member of a generated image; returns why it is left out, or None."""
        where = f"{self._tar}/{member.path}"
        if generated.is_copy or member.kind is not Kind.FILE or not member.size:
            return self._texts.copy(member, own)
        if not member.path.lower().endswith(".json"):
            words = member.name[len(member.key) :].split(".")
            if any(find_geometry(word, "1") for word in words):
                raise DataError(
                    f"{where} seems to contain coordinates, which cannot be "
                    "transformed; use an augmentation that keeps the geometry, such as photometric"
                )
            return self._texts.copy(member, own)
        return self._texts.put(own, member, self._move_json(member, generated, where))

    def _move_json(self, member: Member, generated: GeneratedImage, where: str) -> bytes:
        self._file.seek(member.offset)
        data = self._file.read(min(member.size, _MAX_JSON + 1))
        try:
            value = json.loads(data) if len(data) <= _MAX_JSON else None
        except (ValueError, RecursionError):
            value = None
        if value is None:
            raise DataError(
                f"{where} is not valid JSON, so it cannot be transformed with its image"
            )
        if not isinstance(value, dict):
            refuse_geometry("", value, where)
            return data
        moved = move_row(value, generated, where)
        return json.dumps(moved, ensure_ascii=data.isascii()).encode()

    def _id(self, member: Member) -> str:
        return f"{self._tar}/{member.path}"


def _renamed(member: Member, path: str) -> Member:
    """Return a member with another path, with the prefix of its name."""
    before = member.name[: len(member.name) - len(member.path)]
    return replace(member, name=before + path, path=path)


def _tail(member: Member) -> int:
    """Return the number of characters of a member's name after its key."""
    return len(member.name) - len(member.key)
