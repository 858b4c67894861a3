"""Rewriting of the annotation files of a dataset, before any image is processed.

Annotations of the layout are written again from their parsed values; README, LICENSE and
CITATION files are copied; all other files are left out unless ``--include`` names them. A file
that the layout needs and that cannot be written ends the run at once.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from curate.core.errors import DataError, SourceChangedError, WithheldError
from curate.core.protocols import ContainerSource, SidecarFile, SidecarSource, Source, iter_sidecars
from curate.layouts import open_source
from curate.layouts.access.tree import POINTER_BYTES, describe_pointer
from curate.layouts.encodings import as_utf8
from curate.layouts.files import find_image
from curate.layouts.sidecars import EXCESS, NullTarget
from curate.layouts.sidecars.content import Content
from curate.layouts.sidecars.values import Limits
from curate.manifest import store
from curate.manifest.files import DATA
from curate.manifest.others import iter_others
from curate.pipeline.workspace import Workspace
from curate.recipe import Recipe
from curate.storage.index import NameIndex

CAPTION = "a file with the stem of an image"
TABLE = "a table beside the images"
ANNOTATIONS = "a file that may hold annotations of another format"
WANTED = frozenset({CAPTION, TABLE, ANNOTATIONS})
"""Reasons of files that users often want to include."""

_CAPTIONS = frozenset({".txt", ".caption", ".json", ".xml", ".csv", ".npy", ".npz"})
_TABLES = frozenset({".jsonl", ".csv", ".tsv", ".parquet"})
_ANNOTATIONS = frozenset({".json", ".xml", ".yaml", ".yml", ".txt", ".names", ".mat"})
_SHOWN = 5
_HEAD = 1 << 12


@dataclass(frozen=True, slots=True)
class Sidecars:
    """Rewritten files, ready to be moved to the output.

    Args:
        folder: their copies.
        listing: a line of JSON for each file beside the images, sorted by path.
        content: what they contain.
    """

    folder: Path
    listing: Path
    content: Content

    def lines(self) -> Iterator[dict[str, Any]]:
        """Iterate over the lines for ``others.jsonl``."""
        with self.listing.open(encoding="utf-8") as file:
            yield from map(json.loads, file)


class ImageNames:
    """Names of the images of a dataset, indexed on first use.

    Args:
        source: the dataset.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    @cached_property
    def _names(self) -> NameIndex:
        names = NameIndex()
        for record in self._source.records():
            path = PurePosixPath(record.id)
            names.add("name", path.name)
            names.add("name", path.stem)
            names.add("stem", str(path.with_suffix("")))
        return names

    def has_name(self, name: str) -> bool:
        """Return whether an image has a file name, with or without its suffix."""
        return self._names.get("name", name) is not None

    def has_stem(self, path: PurePosixPath) -> bool:
        """Return whether an image has the path of a file up to the suffix."""
        return self._names.get("stem", str(path.with_suffix(""))) is not None


def make_limits(recipe: Recipe, names: ImageNames) -> Limits:
    """Return the limits of a recipe."""
    return Limits(recipe.drop_keys, recipe.include, names.has_name)


def rewrite_sidecars(workspace: Workspace, source: Source, recipe: Recipe) -> Sidecars:
    """Write the files beside the images to the work folder.

    Raises:
        DataError: if annotation files cannot be parsed; names the first ones.
        SourceChangedError: if a file that was listed is gone.
        SetupError: if SOURCE cannot be read.
    """
    folder, listing = workspace.staging / "sidecars", workspace.staging / "sidecars.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    names = ImageNames(source)
    limits = make_limits(recipe, names)
    failed: list[tuple[str, str]] = []
    with listing.open("w", encoding="utf-8") as file:
        for other in iter_sidecars(source):
            line = _write(source, other, folder, limits, names)
            file.write(json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n")
            if other.is_needed and "reason" in line:
                reason = str(line["reason"])
                named = reason.startswith(other.uri)
                failed.append((other.uri, reason if named else f"{other.uri}: {reason}"))
                if len(failed) == _SHOWN:
                    break
    if failed:
        raise DataError(
            "annotations cannot be written again from their content "
            f"({'; '.join(reason for _, reason in failed)}); fix or remove them, or copy them "
            f"unread with --include {failed[0][0]!r}"
        )
    return Sidecars(folder, listing, limits.content)


def _write(
    source: Source, other: SidecarFile, folder: Path, limits: Limits, names: ImageNames
) -> dict[str, Any]:
    """Write one file, if it is to be written; returns its line."""
    line: dict[str, Any] = {"path": other.uri, "carried": False}
    is_included = limits.includes(other.uri) and "UTF-8" not in other.reason
    if not isinstance(source, SidecarSource) or not (is_included or other.format):
        return line | {"reason": _reason_of(other, names)}
    target = folder / other.path
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if is_included:
            _copy(source, other, target)
        else:
            _rewrite(source, other, target, limits)
    except SourceChangedError:
        raise
    except (WithheldError, DataError) as error:
        target.unlink(missing_ok=True)
        detail = error.detail if isinstance(error, WithheldError) else str(error)
        unread = "it cannot be read: " if isinstance(error, WithheldError) else ""
        return line | {"reason": f"{unread}{detail}"}
    included = {"included": True} if is_included else {}
    digest = {"sha256": store.digest_file(target), "bytes": target.stat().st_size}
    return line | {"carried": True} | included | digest


def _copy(source: SidecarSource, other: SidecarFile, target: Path) -> None:
    with source.open_sidecar(other) as file, target.open("wb") as copy:
        shutil.copyfileobj(file, copy)
    with target.open("rb") as file:
        if reason := find_image(str(other.path), file.read(_HEAD)):
            raise DataError(reason)


def _rewrite(source: SidecarSource, other: SidecarFile, target: Path, limits: Limits) -> None:
    """Rewrite a file from a copy, which SOURCE can no longer change."""
    original = target.with_name(f"{target.name}.original"[-255:])
    try:
        with source.open_sidecar(other) as file, original.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        with original.open("rb") as file:
            if reason := describe_pointer(file.read(POINTER_BYTES)):
                raise WithheldError("pointer", reason)
        limits.open(other.uri)
        with as_utf8(original.open("rb"), other.uri) as file, target.open("w+b") as written:
            source.rewrite_sidecar(other, file, written, limits)
    finally:
        original.unlink(missing_ok=True)


def _reason_of(other: SidecarFile, names: ImageNames) -> str:
    suffix = other.path.suffix.lower()
    if "UTF-8" in other.reason:
        return other.reason
    if suffix in _CAPTIONS and (names.has_stem(other.path) or names.has_name(other.path.stem)):
        return CAPTION
    if suffix in _TABLES:
        return TABLE
    return ANNOTATIONS if suffix in _ANNOTATIONS else other.reason


def inspect_output(
    out: Path | str, manifest: Path, layout: str, limits: Limits
) -> Iterator[tuple[str, str]]:
    """Check the annotations of an output as `inspect_sidecars` and `inspect_containers` do.

    Args:
        out: the output folder, or its URI.
        manifest: its manifest.
        layout: its layout.
        limits: limits on the values, which count what the files contain.
    """
    source = open_source(f"{out}/{DATA}", layout, "OUT")
    listed = iter_others(manifest)
    paths = (other.path for other in listed if other.carried and not other.included)
    yield from inspect_sidecars(source, paths, limits)
    yield from inspect_containers(source, limits)


def inspect_sidecars(
    source: Source, paths: Iterable[str], limits: Limits
) -> Iterator[tuple[str, str]]:
    """Parse annotation files again without writing them.

    Args:
        source: dataset of the files.
        paths: their paths, sorted by bytes.
        limits: limits on the values, which count what the files contain.

    Yields:
        Path and reason of each file that is not what `rewrite_sidecars` writes.
    """
    others = iter_sidecars(source)
    other = next(others, None)
    for path in paths:
        while other is not None and other.uri.encode() < path.encode():
            other = next(others, None)
        if other is None or other.uri != path or not isinstance(source, SidecarSource):
            if source.find(path) is not None:
                yield path, "it is an image"
            continue  # missing, which is another problem
        if not other.format:
            yield path, f"it is not an annotation of {source.layout}"
        elif reason := _inspect(source, other, limits):
            yield path, reason


def _inspect(source: SidecarSource, other: SidecarFile, limits: Limits) -> str | None:
    limits.open(other.uri)
    before = limits.content.count_dropped()
    try:
        with source.open_sidecar(other) as file:
            source.rewrite_sidecar(other, file, cast(BinaryIO, NullTarget()), limits)
    except (DataError, WithheldError) as error:
        return f"it cannot be parsed: {error}"
    return EXCESS if limits.content.count_dropped() > before else None


def inspect_containers(source: Source, limits: Limits) -> Iterator[tuple[str, str]]:
    """Check the other contents of containers as `inspect_sidecars` does."""
    if not isinstance(source, ContainerSource):
        return
    for container in source.containers():
        own = Limits(tuple(limits.drop_keys), limits.include)
        for detail in source.inspect(container, own):
            yield container, detail
        limits.content.merge(own.content.to_dict())
