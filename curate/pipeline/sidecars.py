"""Rewriting of the annotation files of a dataset, before any image is processed.

Annotations of the layout are written again from their parsed values; README, LICENSE and
CITATION files are copied; all other files are left out unless ``--include`` names them. A file
that the layout needs and that cannot be written ends the run at once.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol, cast

from curate.core.errors import DataError, SourceChangedError, WithheldError
from curate.core.protocols import LABEL_MAP, SidecarFile, SidecarSource, Source, iter_sidecars
from curate.layouts.access.address import is_address
from curate.layouts.access.tree import POINTER_BYTES, describe_pointer
from curate.layouts.contents import find_contained, find_unread, is_opened
from curate.layouts.editing.changes import (
    REMOVED,
    SAME,
    WITHHELD,
    Editor,
    EditResult,
    Outcome,
)
from curate.layouts.encodings import as_utf8
from curate.layouts.rewriters import NullTarget
from curate.layouts.sidecars.content import DROPPED_KINDS, Content
from curate.layouts.sidecars.values import Limits
from curate.manifest import store
from curate.pipeline.image_names import ImageNames
from curate.pipeline.workspace import Workspace
from curate.recipe import Recipe

CAPTION = "a file with the stem of an image"
TABLE = "a table beside the images"
ANNOTATIONS = "a file that may hold annotations of another format"
WANTED = frozenset({CAPTION, TABLE, ANNOTATIONS})
"""Reasons of files that users often want to include."""

_CAPTIONS = frozenset({".txt", ".caption", ".json", ".xml", ".csv", ".npy", ".npz"})
_TABLES = frozenset({".jsonl", ".csv", ".tsv", ".parquet"})
_ANNOTATIONS = frozenset(
    {".json", ".geojson", ".ndjson", ".odgt", ".xml", ".yaml", ".yml", ".txt", ".names", ".mat"}
)
_SHOWN = 5

MapCheck = Callable[[str, str], None]
_HEAD = 4096
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a]")


@dataclass(frozen=True, slots=True)
class Sidecars:
    """Rewritten files, ready to be moved to the output.

    Args:
        folder: their copies.
        listing: a line of JSON for each file beside the images, sorted by path.
        content: what they contain.
        check_map: how label maps were checked.
    """

    folder: Path
    listing: Path
    content: Content
    check_map: MapCheck

    def lines(self) -> Iterator[dict[str, Any]]:
        """Iterate over the lines for ``others.jsonl``."""
        with self.listing.open(encoding="utf-8") as file:
            yield from map(json.loads, file)


class Choices(Protocol):
    """What of the files beside the images is kept: a recipe, or the options of a correction."""

    @property
    def drop_keys(self) -> Sequence[str] | None:
        """Kinds of content, and keys, that are dropped from annotations; None for the default."""
        ...

    @property
    def include(self) -> Sequence[str]:
        """Patterns of files that are copied unread."""
        ...


def make_limits(choices: Choices, names: ImageNames) -> Limits:
    """Return the limits of a recipe, or of the options of a correction."""
    drop_keys = DROPPED_KINDS if choices.drop_keys is None else choices.drop_keys
    return Limits(drop_keys, choices.include, names.has_name, names.match_path)


def rewrite_sidecars(
    workspace: Workspace,
    source: Source,
    recipe: Recipe,
    check_map: MapCheck,
    editor: Editor | None = None,
) -> Sidecars:
    """Write the files beside the images to the work folder, in place of those written before.

    Args:
        workspace: the work folder.
        source: the dataset.
        recipe: what of the files is kept.
        check_map: raises `DataError` for a label map that must not be copied; called with its path
            and digest.
        editor: removes withheld images from the annotations, or None.

    Raises:
        DataError: if annotation files cannot be parsed; names the first ones.
        SourceChangedError: if a file that was listed is gone.
        SetupError: if SOURCE cannot be read.
    """
    folder, listing = workspace.staging / "sidecars", workspace.staging / "sidecars.jsonl"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = ImageNames(source)
    limits = make_limits(recipe, names)
    writer = SidecarWriter(source, folder, limits, names, check_map, editor, is_correction=False)
    with listing.open("w", encoding="utf-8") as file:
        for line in writer.write_all():
            file.write(json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n")
    return Sidecars(folder, listing, limits.content, check_map)


class SidecarWriter:
    """Writer of the files beside the images of a dataset, and of the lines that list them.

    Annotations are written again from their parsed values, after they were edited.

    Args:
        source: the dataset.
        folder: folder for the written files.
        limits: limits on the values, which count what the files contain.
        names: names of the images.
        check_map: raises `DataError` for a label map that must not be copied; called with its path
            and digest.
        editor: edits of the annotations, or None.
        is_correction: whether files that belong to images are written as well, and lines name
            what was edited.
    """

    def __init__(
        self,
        source: Source,
        folder: Path,
        limits: Limits,
        names: ImageNames,
        check_map: MapCheck,
        editor: Editor | None = None,
        is_correction: bool = True,
    ) -> None:
        self._source = source
        self._folder = folder
        self._limits = limits
        self._names = names
        self._editor = editor
        self._is_correction = is_correction
        self._check_map = check_map

    def write_all(self) -> Iterator[dict[str, Any]]:
        """Write all files; yields a line for each, sorted by path.

        Raises:
            DataError: if annotation files cannot be parsed; names the first ones.
        """
        failures = SidecarFailures()
        for other in iter_sidecars(self._source):
            line = self._write(other)
            if line.get("reason") not in (REMOVED, WITHHELD):
                failures.add(other, line.get("reason"))
            yield line
        failures.report()

    def write_new(self) -> Iterator[dict[str, Any]]:
        """Write the files of generated images; yields a line for each."""
        assert self._editor is not None  # noqa: S101 - without one, no image is generated
        for new in self._editor.iter_new():
            other = SidecarFile(PurePosixPath(new.path), new.path, True, format=new.format)
            is_included = self._limits.includes(new.origin)
            line = {"path": new.path, "carried": False, "edited": True}

            def fetch(original: Path, data: bytes = new.data) -> None:
                original.write_bytes(data)

            yield self._finish(other, line, fetch, is_included, is_tried=True)

    def _write(self, other: SidecarFile) -> dict[str, Any]:
        """Write one file, if it is to be written; returns its line."""
        line: dict[str, Any] = {"path": other.uri, "carried": False}
        is_included = self._limits.includes(other.uri) and "UTF-8" not in other.reason
        if not (is_included or other.format or (self._is_correction and other.copied)):
            return line | {"reason": self._reason_of(other)}
        edited = self._folder.with_name(f"{self._folder.name}.edited")
        try:
            is_unread = is_included and not self._is_correction
            result = SAME if is_unread else self._edit(other, edited)
            if result.outcome is Outcome.DROPPED:
                return line | {"reason": REMOVED if self._is_correction else WITHHELD}
            if result.outcome is Outcome.REFUSED:
                return line | {"reason": result.note}
            if not (is_included or other.format or result.format):
                return line | {"reason": self._reason_of(other)}
            is_edited = result.outcome is Outcome.EDITED
            if self._is_correction:
                line["edited"] = is_edited
            line["carried"] = not (self._is_correction and is_edited)

            def fetch(original: Path) -> None:
                if is_edited:
                    edited.replace(original)
                else:
                    self._copy(other, original)

            known = replace(other, format=other.format or result.format)
            line = self._finish(known, line, fetch, is_included, is_tried=not other.format)
        finally:
            edited.unlink(missing_ok=True)
        return line | ({"note": result.note} if result.note and "sha256" in line else {})

    def _edit(self, other: SidecarFile, edited: Path) -> EditResult:
        if self._editor is None:
            return SAME
        with edited.open("w+b") as file:
            return self._editor.edit(other, file)

    def _copy(self, other: SidecarFile, target: Path) -> None:
        """Copy a file, which SOURCE can no longer change then."""
        source = cast(SidecarSource, self._source)
        with source.open_sidecar(other) as file, target.open("wb") as copy:
            shutil.copyfileobj(file, copy)

    def _finish(
        self,
        other: SidecarFile,
        line: dict[str, Any],
        fetch: Callable[[Path], None],
        is_included: bool,
        is_tried: bool,
    ) -> dict[str, Any]:
        """Write a file from a copy; returns its line, with the reason if it cannot be written."""
        target = self._folder / other.path
        target.parent.mkdir(parents=True, exist_ok=True)
        original = self._folder.with_name(f"{self._folder.name}.original")
        try:
            fetch(original)
            if is_included:
                _check_unread(other, original)
            if is_included or not other.format:
                original.replace(target)
            else:
                self._rewrite(other, original, target, is_tried)
        except SourceChangedError:
            raise
        except (WithheldError, DataError) as error:
            target.unlink(missing_ok=True)
            detail = error.detail if isinstance(error, WithheldError) else str(error)
            unread = "it cannot be read: " if isinstance(error, WithheldError) else ""
            reason = {"path": line["path"], "carried": False, "reason": f"{unread}{detail}"}
            return reason | ({"withheld": True} if other.format == LABEL_MAP else {})
        finally:
            original.unlink(missing_ok=True)
        included = {"included": True} if is_included else {}
        digest = {"sha256": store.digest_file(target), "bytes": target.stat().st_size}
        return line | included | digest

    def _rewrite(self, other: SidecarFile, original: Path, target: Path, is_tried: bool) -> None:
        """Write a file again; after a trial, if it may fail when values were counted already."""
        source, limits = cast(SidecarSource, self._source), self._limits
        with original.open("rb") as file:
            if reason := describe_pointer(file.read(POINTER_BYTES)):
                raise WithheldError("pointer", reason)
        if is_tried:
            with as_utf8(original.open("rb"), other.uri) as file:
                trial = cast(BinaryIO, NullTarget())
                source.rewrite_sidecar(other, file, trial, limits.copy())
        limits.open(other.uri)
        with as_utf8(original.open("rb"), other.uri) as file, target.open("w+b") as written:
            source.rewrite_sidecar(other, file, written, limits)
        if other.format == LABEL_MAP:
            self._check_map(other.uri, store.digest_file(target))

    def _reason_of(self, other: SidecarFile) -> str:
        suffix, names = other.path.suffix.lower(), self._names
        if "UTF-8" in other.reason:
            return other.reason
        if reason := self._find_contained(other):
            return reason
        if suffix in _CAPTIONS and (names.has_stem(other.path) or names.has_name(other.path.stem)):
            return CAPTION
        if suffix in _TABLES:
            return TABLE
        is_annotation = suffix in _ANNOTATIONS or (not suffix and self._is_text(other))
        return ANNOTATIONS if is_annotation else other.reason

    def _is_text(self, other: SidecarFile) -> bool:
        """Return whether a file without a suffix is a text, such as XML of Stanford Dogs."""
        if other.path.name.startswith(".") or is_address(self._source.uri):
            return False
        try:
            with cast(SidecarSource, self._source).open_sidecar(other) as file:
                head = file.read(_HEAD)
        except WithheldError:
            return False
        return bool(head.strip()) and not _CONTROL.search(head)

    def _find_contained(self, other: SidecarFile) -> str | None:
        """Return why a file is not offered to be copied unread: it contains images."""
        if not is_opened(other.uri, self._source.uri):
            return None
        try:
            with cast(SidecarSource, self._source).open_sidecar(other) as file:
                found = find_contained(other.uri, file)
        except WithheldError:
            return None
        return None if found is None else found.reason


class SidecarFailures:
    """Annotation files that the layout needs and that cannot be written again."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str]] = []

    def add(self, other: SidecarFile, reason: str | None) -> None:
        """Add a file, if it is needed and has a reason.

        Raises:
            DataError: if there are many already.
        """
        if reason is None or not other.is_needed:
            return
        is_named = reason.startswith(other.uri)
        self._found.append((other.uri, reason if is_named else f"{other.uri}: {reason}"))
        if len(self._found) == _SHOWN:
            self.report()

    def report(self) -> None:
        """Raise `DataError` if there is any."""
        if self._found:
            raise DataError(
                "annotations cannot be written again from their content "
                f"({'; '.join(reason for _, reason in self._found)}); fix or remove them, or copy "
                f"them unread with --include {self._found[0][0]!r}"
            )


def _check_unread(other: SidecarFile, copy: Path) -> None:
    with copy.open("rb") as file:
        if reason := find_unread(str(other.path), file):
            raise DataError(reason)
