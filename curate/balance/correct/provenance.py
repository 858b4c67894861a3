"""Hold SOURCE to its manifest: nothing goes to OUT that the manifest does not speak of.

What was put into the OUT of a run afterwards has not been obfuscated, whatever it is:
an image, a file beside the images, or a container with more in it than there was.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from curate.balance.correct.check import iter_others
from curate.balance.correct.ledger import Ledger
from curate.balance.correct.origin import Origin
from curate.core.errors import DataError, ManifestError
from curate.core.protocols import Source, iter_containers, iter_sidecars
from curate.core.records import escape_unprintable
from curate.manifest import corrections, others, store


def check_provenance(source: Source, origin: Origin, ledger: Ledger) -> None:
    """Make sure that a manifest speaks of all that is to go to OUT, and note its digests.

    Images are only known to be spoken of afterwards; their bytes are compared when they
    are read. A dataset without a manifest has nothing to be held to.

    Args:
        source: the dataset.
        origin: what it is.
        ledger: has every record; takes the digests.

    Raises:
        ManifestError: if the manifest is not as it was written.
        DataError: if there is something that it does not speak of, or a changed file.
    """
    manifest = origin.run or origin.earlier
    if manifest is None:
        return
    _check_manifest(origin, manifest)
    ledger.expect(_iter_images(origin))
    stranger = ledger.find_unexpected()
    if stranger is not None:
        raise DataError(f"{escape_unprintable(stranger)} {_STRANGE}")
    ledger.expect_files(_iter_files(origin))
    for path, found in _iter_found(source):
        expected = ledger.expected_file(path)
        if expected is None:
            raise DataError(f"{escape_unprintable(path)} {_STRANGE}")
        if found != expected:
            raise DataError(
                f"{escape_unprintable(path)} is not what the manifest of SOURCE says; see "
                "`curate verify`"
            )


_STRANGE = (
    "is not in the manifest of SOURCE, so nobody has looked for faces in it; remove it, or blur "
    "the dataset that it belongs to again"
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
                f"the manifest of SOURCE was changed: its {name} are not those that it was "
                "written with; see `curate verify`"
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
    """Files that are no images, as the manifest has them."""
    if origin.run is not None:
        for other in others.iter_others(origin.run):
            if other.sha256 is not None:
                yield other.path, other.sha256
    elif origin.earlier is not None:
        for line in iter_others(origin.earlier):
            if line["fate"] != "left_out":
                yield str(line["path"]), str(line.get("sha256"))


def _iter_found(source: Source) -> Iterator[tuple[str, str]]:
    """Files that are no images and would go to OUT, as they are."""
    for other in iter_sidecars(source):
        if other.copied:
            yield other.uri, store.digest_file(Path(source.uri) / other.path)
    for container in iter_containers(source):
        yield container, store.digest_file(Path(source.uri) / container)
