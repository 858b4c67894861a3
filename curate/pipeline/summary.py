"""What became of a dataset, told from a finished run's manifest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from curate.core.entries import ManifestEntry
from curate.core.errors import DataError, SourceChangedError, UsageError
from curate.core.protocols import Source
from curate.core.records import ImageRecord
from curate.manifest import store
from curate.pipeline.shard import DATA
from curate.pipeline.workspace import describe_recipe_clash
from curate.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of a dataset.

    Args:
        out: the output folder.
        images: images in SOURCE; each is either written or withheld.
        reasons: number of withheld images by code of the reason.
        seconds: wall time of this attempt.
        images_now: images done in this attempt.
        already_done: OUT was finished before; nothing was done.
        recipe_sha256: digest of the recipe.
        records_sha256: digest over the manifest's records.
    """

    out: str
    images: int
    written: int
    withheld: int
    images_with_faces: int
    faces: int
    routes: dict[str, int]
    reasons: dict[str, int]
    others: dict[str, int]
    seconds: float
    images_now: int
    already_done: bool
    recipe_sha256: str
    records_sha256: str


def summarize(
    out: Path, run: dict[str, Any], seconds: float, images_now: int, already_done: bool = False
) -> Summary:
    """A finished run for a person.

    Args:
        out: the output folder.
        run: the content of its ``run.json``.
        seconds: wall time of this attempt.
        images_now: images done in this attempt.
        already_done: whether OUT was finished before.
    """
    counts = run["counts"]
    others = {name: run["others"][name] for name in ("carried", "rebuilt", "left_out")}
    return Summary(
        out=str(out),
        **counts,
        others=others,
        seconds=round(seconds, 3),
        images_now=images_now,
        already_done=already_done,
        recipe_sha256=run["recipe_sha256"],
        records_sha256=run["records"]["sha256"],
    )


def recall(out: Path, source: Source | None, recipe: Recipe) -> Summary:
    """The summary of an OUT that was finished before, if it is still what a run would give.

    Names and sizes are compared, not contents: for those there is ``curate verify``.

    Args:
        out: the finished OUT.
        source: the dataset; None if it is no longer at hand, and not compared.
        recipe: what a run would do.

    Raises:
        UsageError: if it was made by another recipe.
        SourceChangedError: if SOURCE has other images than it had.
        DataError: if an output is missing or has another size.
    """
    manifest = out / "manifest"
    run = store.load_run(manifest)
    if run["recipe_sha256"] != recipe.digest:
        raise UsageError(describe_recipe_clash(out, run["recipe"], recipe))
    entries = store.iter_entries(manifest / store.RECORDS_FOLDER)
    for entry in entries if source is None else _iter_same(entries, source, out):
        if entry.output_path is not None and not _is_there(out, entry):
            raise DataError(
                f"{out} was finished, but {DATA}/{entry.output_path} is no longer as it was "
                "written; see `curate verify`, or choose another OUT"
            )
    return summarize(out, run, 0.0, 0, already_done=True)


def _iter_same(
    entries: Iterator[ManifestEntry], source: Source, out: Path
) -> Iterator[ManifestEntry]:
    """The entries, as long as SOURCE has the images that they tell of."""
    for entry, record in zip_longest(entries, source.records()):
        if _differ(entry, record, source):
            raise SourceChangedError(
                f"{out} is finished, but SOURCE has changed since "
                f"(first at {(record or entry).id!r}); choose another OUT"
            )
        yield entry


def _differ(entry: ManifestEntry | None, record: ImageRecord | None, source: Source) -> bool:
    if entry is None or record is None or entry.id != record.id:
        return True
    size = source.size(record)
    return entry.source_bytes is not None and size is not None and size != entry.source_bytes


def _is_there(out: Path, entry: ManifestEntry) -> bool:
    path = out / DATA / str(entry.output_path)
    try:
        return path.stat().st_size == entry.output_bytes
    except NotADirectoryError:  # inside a container
        return next(parent for parent in path.parents if parent.exists()).is_file()
    except OSError:
        return False
