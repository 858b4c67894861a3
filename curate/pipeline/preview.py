"""Estimate a run from a sample of the dataset, without writing anything (``--dry-run``)."""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.core.arguments import checked
from curate.core.entries import ManifestEntry
from curate.core.errors import DataError
from curate.core.protocols import Source, iter_sidecars
from curate.core.records import ImageRecord, escape_unprintable, join_lines
from curate.engine.shards import Shard
from curate.layouts import describe, explain_no_images, open_source
from curate.layouts.sidecars.values import Limits
from curate.manifest.store import Tally
from curate.pipeline.given_faces import (
    check_matches,
    describe_matches,
    load_given,
    match_faces,
    save_face_index,
)
from curate.pipeline.image import Tools
from curate.pipeline.progress import show_progress
from curate.pipeline.session import Session, Snapshot, configure, count_workers
from curate.pipeline.shard import process_images
from curate.pipeline.tools import open_tools, prepare_recipe
from curate.pipeline.workspace import check_paths
from curate.recipe import Recipe
from curate.report.document import Printable
from curate.report.numbers import format_duration
from curate.storage.errors import describe_os_error

_SAMPLE = 24
_START = 2.0  # seconds until processes have started


@dataclass(frozen=True, slots=True, repr=False)
class Preview(Printable):
    """The results of a sample, and an estimate for the whole dataset.

    Args:
        images: images in SOURCE.
        carried: files beside the images that would be copied.
        left_out: other files.
        splits: images by split, ``-`` for none.
        workers: worker processes of a run.
        sampled: counts of the sample.
        seconds: estimated wall time of a run.
        recipe: what would be done.
        withheld: the first reasons to withhold an image of the sample.
    """

    images: int
    carried: int
    left_out: int
    splits: dict[str, int]
    workers: int
    sampled: Tally
    seconds: float
    recipe: Recipe
    withheld: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "version": 1,
            "images": self.images,
            "others": {"carried": self.carried, "left_out": self.left_out},
            "splits": self.splits,
            "workers": self.workers,
            "recipe": self.recipe.to_dict(),
            "recipe_sha256": self.recipe.digest,
            "sample": {**self.sampled.to_dict(), "withheld_examples": list(self.withheld)},
            "estimated_seconds": round(self.seconds, 1),
        }

    def to_text(self) -> str:
        """The estimate, for the terminal."""
        named = {name: count for name, count in self.splits.items() if name != "-"}
        splits = ", ".join(f"{name} {count:,}" for name, count in named.items())
        sample = self.sampled
        lines = [
            f"{self.images:,} images{f' ({splits})' if splits else ''}, "
            f"other files: {self.carried:,} copied, {self.left_out:,} left out.",
            f"Recipe {self.recipe.digest[:12]}: profile {self.recipe.profile}, "
            f"method {self.recipe.method}, device {self.recipe.device}.",
            f"Sample of {sample.images}: {sample.images_with_faces} images with "
            f"{sample.faces} faces, {sample.withheld} would be withheld.",
            *(f"  {line}" for line in self.withheld),
            f"About {format_duration(self.seconds)} with {self.workers} workers. "
            "Nothing was written.",
        ]
        return join_lines(lines)


@checked
def preview(
    source: str | Path,
    out: str | Path,
    recipe: Recipe | None = None,
    session: Session | None = None,
    *,
    quiet: bool = False,
    **options: Any,
) -> Preview:
    """Run a recipe on a random sample of a dataset and estimate a whole run.

    >>> curate.preview("photos", "out", profile="thorough").seconds    # doctest: +SKIP
    41.3

    Args:
        source: path or URI of the dataset; only read.
        out: the output folder of a run; only checked.
        recipe: what a run would do, or None for the defaults.
        session: how it would run, or None for the defaults.
        quiet: show no messages.
        options: fields of `Recipe` and of `Session`; they override both.

    Raises:
        UsageError: as for a run.
        DataError: as for a run.
        SetupError: as for a run.
    """
    recipe, session = configure(recipe, session, options)
    recipe = prepare_recipe(recipe, session)
    try:
        with show_progress(session, quiet) as session:
            return _preview(source, out, recipe, session)
    except OSError as error:
        raise describe_os_error(error, source, "read") from error


def _preview(source: str | Path, out: str | Path, recipe: Recipe, session: Session) -> Preview:
    started = time.perf_counter()
    folder = open_source(str(source), session.layout)
    check_paths(source, out)
    notes = list(folder.check())
    for line in (describe(folder), *notes):
        session.notify(escape_unprintable(line))
    sample, splits = draw_sample(folder.records(), random.Random(recipe.seed))  # noqa: S311
    images = sum(splits.values())
    if images == 0:
        raise DataError(explain_no_images(folder))
    limits = Limits(recipe.drop_keys, recipe.include)
    others = Counter(
        bool(other.format) or limits.includes(other.uri) for other in iter_sidecars(folder)
    )
    tally, withheld = Tally(), []
    with open_sample_tools(recipe, session, folder) as tools:
        began = time.perf_counter()
        load = began - started  # listing and loading, which worker processes do again
        for number, record in enumerate(sample, start=1):
            [(entry, _)] = process_images([record], Shard(0, (record,)), folder, tools)
            tally.add(entry)
            withheld += [_describe(entry)] if entry.reason else []
            session.watch(Snapshot(len(sample), number, 0, tally.faces, tally.withheld))
    per_image = (time.perf_counter() - began) / len(sample)
    workers = count_workers(recipe, session)
    return Preview(
        images=images,
        carried=others[True],
        left_out=others[False],
        splits=dict(sorted(splits.items())),
        workers=workers,
        sampled=tally,
        seconds=_START + 2 * load + per_image * images / workers,
        recipe=recipe,
        withheld=tuple(withheld[:5]),
    )


@contextmanager
def open_sample_tools(recipe: Recipe, session: Session, source: Source) -> Iterator[Tools]:
    """Open the tools, with an index of given faces in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        index = None
        if session.faces is not None:
            index = Path(folder, "faces.sqlite")
            save_face_index(load_given(session.faces), index)
            ids = (record.id for record in source.records())
            matches = match_faces(index, ids, recipe.faces_match == "suffix")
            session.notify(describe_matches(matches, session.faces))
            check_matches(matches, session.faces, session.allow_missing)
        yield open_tools(recipe, index, session.weights)


def draw_sample(
    records: Iterable[ImageRecord], draw: random.Random, size: int = _SAMPLE
) -> tuple[list[ImageRecord], dict[str, int]]:
    """Draw records from a stream (reservoir sampling, Vitter's algorithm R), and count splits."""
    kept: list[ImageRecord] = []
    splits: dict[str, int] = {}
    for seen, record in enumerate(records):
        splits[record.split or "-"] = splits.get(record.split or "-", 0) + 1
        if seen < size:
            kept.append(record)
        elif (index := draw.randint(0, seen)) < size:
            kept[index] = record
    return kept, splits


def _describe(entry: ManifestEntry) -> str:
    return f"{entry.id}: {entry.reason}"
