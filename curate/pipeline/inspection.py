"""Checks of annotations and of texts of manifests: whether they can be written again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from curate.core.errors import DataError, SourceChangedError, WithheldError
from curate.core.protocols import ContainerSource, SidecarFile, SidecarSource, Source, iter_sidecars
from curate.layouts import open_source
from curate.layouts.editing.sidecars import format_of_companion
from curate.layouts.encodings import as_utf8
from curate.layouts.files import FileLayout
from curate.layouts.rewriters import EXCESS, REWRITERS, NullTarget
from curate.layouts.sidecars.budget import Budget, OverLimitError
from curate.layouts.sidecars.table import check_table, is_path
from curate.layouts.sidecars.text import copy_document, rewrite_facts
from curate.layouts.sidecars.values import Limits
from curate.manifest import store
from curate.manifest.files import DATA, iter_outputs
from curate.manifest.others import iter_others
from curate.pipeline.image_names import ImageNames
from curate.pipeline.sidecars import Choices, SidecarFailures, make_limits
from curate.storage.regular import open_regular


def inspect_output(
    out: Path | str, manifest: Path, layout: str, limits: Limits
) -> Iterator[tuple[str, str]]:
    """Check the annotations of an output as `inspect_sidecars` and `inspect_containers` do.

    When it ends, the content of the limits is what ``run.json`` reports.

    Args:
        out: the output folder, or its URI.
        manifest: its manifest.
        layout: its layout.
        limits: limits on the values, which count what the files and names of images contain.
    """
    source = open_source(f"{out}/{DATA}", layout, "OUT")
    if limits.match_path is None:
        limits.match_path = ImageNames(source, _iter_ids(manifest)).match_path
    listed = iter_others(manifest)
    paths = (other.path for other in listed if other.carried and not other.included)
    yield from inspect_sidecars(source, paths, limits)
    yield from inspect_containers(source, limits)
    for output in iter_outputs(manifest):
        limits.content.add_path(output)


def _iter_ids(manifest: Path) -> Iterator[str]:
    """Iterate over the ids of a manifest: annotations name images that were withheld."""
    if (manifest / store.RECORDS_FOLDER).is_dir():
        yield from (entry.id for entry in store.iter_entries(manifest / store.RECORDS_FOLDER))


def inspect_sidecars(
    source: Source, paths: Iterable[str], limits: Limits, has_companions: bool = False
) -> Iterator[tuple[str, str]]:
    """Parse annotation files again without writing them.

    Args:
        source: dataset of the files.
        paths: their paths, sorted by bytes.
        limits: limits on the values, which count what the files contain.
        has_companions: whether files that belong to images are among them, as in the output of
            a correction.

    Yields:
        Path and reason of each file that is not what `SidecarWriter` writes.
    """
    names = ImageNames(source)
    if limits.match_path is None:
        limits.match_path = names.match_path
    others = iter_sidecars(source)
    other = next(others, None)
    for path in paths:
        while other is not None and other.uri.encode() < path.encode():
            other = next(others, None)
        if other is None or other.uri != path or not isinstance(source, SidecarSource):
            if source.find(path) is not None:
                yield path, "it is an image"
            continue  # missing, which is another problem
        known = other
        if has_companions and not other.format and isinstance(source, FileLayout):
            format_name = format_of_companion(other.path, names.has_stem(other.path))
            known = replace(other, format=format_name)
        if not known.format:
            yield path, f"it is not an annotation of {source.layout}"
        elif reason := _inspect(source, known, limits):
            yield path, reason


def _inspect(source: SidecarSource, other: SidecarFile, limits: Limits) -> str | None:
    limits.open(other.uri)
    before = limits.content.count_dropped()
    if reason := _find_fault(source, other, limits):
        return f"it cannot be parsed: {reason}"
    return EXCESS if limits.content.count_dropped() > before else None


def _find_fault(
    source: SidecarSource, other: SidecarFile, limits: Limits, decoded: bool = False
) -> str | None:
    """Return why a file cannot be written again, or None."""
    try:
        file = source.open_sidecar(other)
        with as_utf8(file, other.uri) if decoded else file as opened:
            source.rewrite_sidecar(other, opened, cast(BinaryIO, NullTarget()), limits)
    except SourceChangedError:
        raise
    except (DataError, WithheldError) as error:
        return str(error)
    return None


def inspect_containers(source: Source, limits: Limits) -> Iterator[tuple[str, str]]:
    """Check the other contents of containers as `inspect_sidecars` does."""
    if not isinstance(source, ContainerSource):
        return
    for container in source.containers():
        own = limits.copy()
        for detail in source.inspect(container, own):
            yield container, detail
        limits.content.merge(own.content.to_dict())


def check_sidecars(source: Source, choices: Choices) -> None:
    """Check that the annotations of a dataset can be written again, without writing them.

    Raises:
        DataError: if annotation files cannot be parsed; names the first ones.
    """
    if not isinstance(source, SidecarSource):
        return
    failures, limits = SidecarFailures(), make_limits(choices, ImageNames(source))
    for other in source.sidecars():
        if other.is_needed and not limits.includes(other.uri):
            failures.add(other, _find_fault(source, other, limits, decoded=True))
    failures.report()


_PATHS = frozenset(
    ("id", "uri", "path", "output_path", "source_path", "source_uri", "category", "split", "image")
)
_MESSAGES = frozenset({"reason", "detail", "note", "notes"})
_MAX_PATH = 4096  # characters of a path, which names a file of the dataset
_MAX_MESSAGE = 1024


class ManifestLimits(Limits):
    """Limits on the texts of a manifest, whose paths and ids may be names of any file."""

    def _limit_text(self, key: str, value: str, kind: str | None) -> str:
        if key in _PATHS and is_path(value, _MAX_PATH):
            return value
        if key in _MESSAGES and is_path(value, _MAX_MESSAGE):
            return value
        return super()._limit_text(key, value, kind)

    def _spend_key(self, key: Any) -> None:
        try:
            super()._spend_key(key)
        except OverLimitError:
            if not is_path(str(key), _MAX_PATH):
                raise

    def _is_key(self, name: str) -> bool:
        return super()._is_key(name) or is_path(name, _MAX_PATH)

    def document_budget(self) -> Budget:
        """Return the budget of ``run.json``, which counts the keys of all annotations."""
        budget = super().document_budget()
        budget.data = budget.prose = budget.keys = 1 << 22
        return budget


def find_excess(path: Path) -> str | None:
    """Return why a text or table that curate wrote contains values over the limits, or None."""
    suffix = path.suffix[1:].lower()
    limits = ManifestLimits(())
    readers = {"json": rewrite_facts, "parquet": check_table}
    rewrite = readers.get(suffix) or REWRITERS.get(suffix, copy_document)
    target = cast(BinaryIO, NullTarget())
    try:
        with open_regular(path) as file:
            rewrite(file, target, path.name, limits)
    except DataError as error:
        is_over = suffix == "parquet" and str(error).endswith("over the limits")
        return f"{EXCESS}: {error}" if is_over else f"it cannot be parsed: {error}"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return EXCESS if limits.content.count_dropped() else None
