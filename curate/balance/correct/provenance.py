"""Check a SOURCE before it is corrected against the manifest of the run that wrote it.

A file that was added to the OUT of `curate blur` afterwards has not been obfuscated; it must not
enter the output of a correction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from curate.balance.correct.decisions import DecisionIndex
from curate.balance.correct.source import Origin
from curate.balance.correct.verify import iter_others
from curate.core.errors import DataError, ManifestError
from curate.core.protocols import Source, iter_containers, iter_sidecars
from curate.core.records import escape_unprintable
from curate.layouts.sidecars.values import Limits
from curate.manifest import corrections, others, store


def check_provenance(
    source: Source, origin: Origin, decisions: DecisionIndex, include: Sequence[str] = ()
) -> None:
    """Check that SOURCE's manifest lists everything that would enter OUT; store the digests.

    Image bytes are compared later, when they are read. Without a manifest nothing is checked.

    Args:
        source: the dataset.
        origin: the kind of SOURCE.
        decisions: contains every record; receives the digests.
        include: patterns of files that are copied unread.

    Raises:
        ManifestError: if the manifest was changed.
        DataError: if a file is not listed or was changed.
    """
    manifest = origin.run or origin.earlier
    if manifest is None:
        return
    _check_manifest(origin, manifest)
    decisions.expect(_iter_images(origin))
    unexpected = decisions.find_unexpected()
    if unexpected is not None:
        raise DataError(f"{escape_unprintable(unexpected)} {_STRANGE}")
    decisions.expect_files(_iter_files(origin))
    for path, found in _iter_found(source, include):
        expected = decisions.expected_file(path)
        if expected is None:
            raise DataError(f"{escape_unprintable(path)} {_STRANGE}")
        if found != expected:
            raise DataError(
                f"{escape_unprintable(path)} differs from the manifest of SOURCE; see "
                "`curate verify`"
            )


_STRANGE = (
    "is not in the manifest of SOURCE, so it was not checked for faces; remove it, or run "
    "`curate blur` again on the dataset that it belongs to"
)


def _check_manifest(origin: Origin, manifest: Path) -> None:
    facts = store.load_run(manifest) if origin.run else corrections.load_facts(manifest)
    found = {
        "records": store.digest_parts(manifest / store.RECORDS_FOLDER),
        "others": store.digest_regular(manifest / store.OTHERS),
    }
    for name, digest in found.items():
        if facts[name]["sha256"] != digest:
            raise ManifestError(
                f"the manifest of SOURCE was changed: the digest of its {name} differs; "
                "see `curate verify`"
            )


def _iter_images(origin: Origin) -> Iterator[tuple[str, str]]:
    if origin.run is not None:
        for entry in store.iter_entries(origin.run / store.RECORDS_FOLDER):
            if entry.output_path is not None and entry.output_sha256 is not None:
                yield entry.output_path, entry.output_sha256
    elif origin.earlier is not None:
        for row in corrections.iter_rows(origin.earlier / store.RECORDS_FOLDER):
            if row.output_path is not None and row.output_sha256 is not None:
                yield row.output_path, row.output_sha256


def _iter_files(origin: Origin) -> Iterator[tuple[str, str]]:
    """Annotation files and containers listed in the manifest."""
    if origin.run is not None:
        for other in others.iter_others(origin.run):
            if other.sha256 is not None:
                yield other.path, other.sha256
    elif origin.earlier is not None:
        for line in iter_others(origin.earlier):
            if line["fate"] != "left_out":
                yield str(line["path"]), str(line.get("sha256"))


def _iter_found(source: Source, include: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Annotation files and containers of SOURCE that would enter OUT."""
    limits = Limits((), include)
    for other in iter_sidecars(source):
        if other.copied or limits.includes(other.uri):
            yield other.uri, store.digest_file(Path(source.uri) / other.path)
    for container in iter_containers(source):
        yield container, store.digest_file(Path(source.uri) / container)
