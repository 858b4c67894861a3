"""Checks of annotations: whether they can be written again, and whether they were."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

from curate.core.errors import DataError, SourceChangedError, WithheldError
from curate.core.protocols import ContainerSource, SidecarFile, SidecarSource, Source, iter_sidecars
from curate.layouts import open_source
from curate.layouts.editing.sidecars import format_of_companion
from curate.layouts.encodings import as_utf8
from curate.layouts.files import FileLayout
from curate.layouts.rewriters import EXCESS, NullTarget
from curate.layouts.sidecars.values import Limits
from curate.manifest import store
from curate.manifest.files import DATA
from curate.manifest.others import iter_others
from curate.pipeline.sidecars import Choices, ImageNames, SidecarFailures, make_limits


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
    if limits.match_path is None:
        limits.match_path = ImageNames(source, _iter_ids(manifest)).match_path
    listed = iter_others(manifest)
    paths = (other.path for other in listed if other.carried and not other.included)
    yield from inspect_sidecars(source, paths, limits)
    yield from inspect_containers(source, limits)


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
